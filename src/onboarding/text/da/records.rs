//! The texts about mistakes in records and changes of them, in Danish.

use crate::dkim::record::Flaw;
use crate::dkim::tags::Mistake;
use crate::onboarding::finding::NoKey;
use crate::onboarding::spf::merge::Note;
use crate::onboarding::spf::obstacle::Obstacle;
use crate::onboarding::spf::repair::Repair;
use crate::plain::{self, Meant};

pub(super) fn included(fault: &str) -> &'static str {
    match fault {
        "none" => "som ikke har en SPF-record",
        "several" => "som har flere SPF-records",
        "loop" => "der fører tilbage igen",
        _ => "hvis SPF-record har fejl",
    }
}

/// Explains what is wrong with a term of an SPF record.
pub(super) fn spf_fault(term: &str, fault: &str) -> String {
    let strange = plain::first_strange(term).or_else(|| term.chars().find(|c| !c.is_ascii()));
    match (fault, strange) {
        ("character", Some(strange)) => format!("har {}", character(strange)),
        ("address", _) => "har ingen gyldig IP-adresse".into(),
        ("name", _) => "har intet gyldigt domænenavn".into(),
        ("twice", _) => "står to gange".into(),
        _ => "findes ikke i SPF".into(),
    }
}

/// Explains what keeps an SPF record, published or proposed, from working, and what to do first.
pub(in crate::onboarding::text) fn obstacle(obstacle: &Obstacle, present: bool) -> (String, String) {
    let (record, fails, first) = match present {
        true => ("Den record, I har,", "den fejler", ""),
        false => ("Den record, der skal oprettes,", "den ville fejle", " først"),
    };
    match obstacle {
        Obstacle::Lookups { count } => (
            format!("{record} kræver {count} DNS-opslag, og modtagerne stopper ved 10: {fails}."),
            format!("Fjern{first} includes, der ikke bruges mere, eller skriv adresser i stedet."),
        ),
        Obstacle::Voids { count } => (
            format!(
                "{record} slår {count} navne op, som ikke har nogen adresse, og modtagerne stopper efter 2: {fails}."
            ),
            format!("Fjern{first} de led, hvis navne ikke har nogen adresse."),
        ),
        Obstacle::Exchanges { domain } => (
            format!("{record} har mx for {domain}, som har mere end 10 mailservere: {fails}."),
            format!("Skriv{first} deres adresser i stedet for mx."),
        ),
        Obstacle::Included { domain, fault } => (
            format!("{record} henviser til {domain}, {}: {fails}.", included(fault)),
            format!("Fjern{first} den include eller redirect, eller få den rettet."),
        ),
        Obstacle::Unread { terms } => (
            format!("{record} har {}, som ikke kan læses, og lader enhver sende (+all).", terms.join(" ")),
            "Ret det, eller fjern det, hvis det ikke bruges, og lad så recorden slutte med ~all.".into(),
        ),
        Obstacle::TooLong { octets } => (
            format!("{record} fylder {octets} tegn, og det er mere, end man kan regne med, at modtagerne læser."),
            format!("Fjern{first} det, der ikke bruges, eller flyt dele af den til egne records (include:)."),
        ),
        Obstacle::Ours { include } => (
            format!("{record} inkluderer {include}, som ikke selv tillader os at sende lige nu."),
            match present {
                true => "Det er webCRM, der skal rette det; I behøver ikke gøre noget.",
                false => "Det er webCRM, der skal rette det; opret recorden derefter.",
            }
            .into(),
        ),
    }
}

pub(super) fn no_key(host: &str, why: &NoKey) -> String {
    match why {
        NoKey::Missing => format!("Der er ingen nøgle på {host}."),
        NoKey::Several { count } => format!("Der er {count} records på {host}; modtagerne tager en tilfældig af dem."),
        NoKey::Flawed { flaws } => {
            let flaws: String = flaws.iter().map(|flaw| format!(" {}", dkim_flaw(&flaw.0).0)).collect();
            format!("Der er ingen brugbar nøgle på {host}:{flaws}")
        }
    }
}

pub(super) fn dkim_flaw(flaw: &Flaw) -> (String, &'static str) {
    match flaw {
        Flaw::NoVersion => ("v=DKIM1 mangler, men det er tilladt.".into(), ""),
        Flaw::Version(found) => {
            (format!("v={found} er ikke v=DKIM1, som recorden skal begynde med."), "Erstat den med den viste record.")
        }
        Flaw::VersionNotFirst => ("v=DKIM1 skal stå først i recorden.".into(), "Erstat den med den viste record."),
        Flaw::Case(name) => (
            format!("{name}= står med store bogstaver, og det kender modtagerne ikke."),
            "Erstat den med den viste record.",
        ),
        Flaw::NoRecord(text) => {
            (format!("TXT-recorden \"{text}\" er ikke en DKIM-nøgle."), "Erstat den med den viste record.")
        }
        Flaw::NoKey => ("p= mangler.".into(), "Erstat den med den viste record."),
        Flaw::Bare(missing) => {
            (format!("nøglen står der uden \"{missing}\" foran."), "Erstat den med den viste record.")
        }
        Flaw::OtherName(name) => (
            format!("{name}= er ikke et tag i en nøglerecord: nøglen skal stå i p=."),
            "Erstat den med den viste record.",
        ),
        Flaw::Pem => (
            "nøglen står der som i en PEM-fil, med linjerne BEGIN og END omkring.".into(),
            "Erstat den med den viste record: først tags, og så kun det, der står mellem de to linjer.",
        ),
        Flaw::Private => (
            "det er en privat nøgle, så nu kan alle signere i jeres navn.".into(),
            "Fjern den straks, og giv webCRM besked: der skal bruges en ny nøgle med en ny selector.",
        ),
        Flaw::OtherKeyType(kind) => (
            format!("p= er en nøgle af typen {kind}, men det siger recorden ikke: der skal stå k={kind}."),
            "Erstat den med den viste record.",
        ),
        Flaw::Wrapped => (
            "p= må kun have Ed25519-nøglens 32 oktetter, uden typen omkring dem.".into(),
            "Erstat den med den viste record.",
        ),
        Flaw::Revoked => ("p= er tom: nøglen er trukket tilbage.".into(), "Erstat den med den viste record."),
        Flaw::NotBase64(c) => (
            format!("p= indeholder \"{c}\", som ikke er base64."),
            "Kopiér værdien igen, som én streng uden mellemrum.",
        ),
        Flaw::NoPadding => (
            "Lighedstegnene i slutningen af p= mangler, og så kan nogle modtagere ikke læse nøglen.".into(),
            "Erstat den med den viste record.",
        ),
        Flaw::Truncated => (
            "p= er afkortet eller beskadiget.".into(),
            "Kopiér hele værdien igen. Et panel, der kun tager 255 tegn, skal have den i to strenge uden mellemrum imellem.",
        ),
        Flaw::KeyType(k) => {
            (format!("k={k} er en nøgletype, som modtagerne ikke kender."), "Erstat den med den viste record.")
        }
        Flaw::Weak(bits) => (
            format!("en RSA-nøgle på {bits} bit er for svag."),
            "Der skal bruges en nøgle på 2048 bit med en ny selector.",
        ),
        Flaw::Hash(h) => (format!("h={h} tillader ikke sha256."), "Fjern h=."),
        Flaw::Service(s) => (format!("s={s} tillader ikke mail, eller ikke hos alle modtagere."), "Fjern s=."),
        Flaw::Testing => ("t=y siger, at DKIM kun bliver afprøvet.".into(), "Fjern t=y."),
        Flaw::Strict => ("t=s er sat, og det passer til vores signaturer.".into(), ""),
        Flaw::Tags(mistake) => {
            let (what, _) = tag_mistake(mistake);
            (what, "Erstat den med den viste record.")
        }
    }
}

/// Explains what is wrong with the grammar of a DKIM or DMARC record, and what to do.
pub(super) fn tag_mistake(mistake: &Mistake) -> (String, String) {
    let what = match mistake {
        Mistake::Character(c) => format!("der står {} i værdien.", character(*c)),
        Mistake::Quoting(_) => {
            "anførselstegn, parenteser eller omvendte skråstreger er blevet en del af værdien.".into()
        }
        Mistake::Markup(written) => {
            format!("der står \"{written}\" i værdien, som websider og webadresser skriver i stedet for et andet tegn.")
        }
        Mistake::NoSign(name) => format!("der skal stå præcis ét lighedstegn efter {name}."),
        Mistake::ZoneLine => {
            "værdien er en hel linje fra en zonefil: kun det, der står fra v= og frem, er værdien.".into()
        }
        Mistake::NoSemicolon(name) => format!("der mangler et semikolon foran {name}=."),
        Mistake::EmptyTag => "der står et semikolon for meget.".into(),
        Mistake::NoTag(text) => format!("\"{text}\" er ikke tag=værdi."),
        Mistake::Twice(name) => format!("{name}= står der to gange."),
    };
    (what, "Ret det, eller erstat den med den viste record.".to_owned())
}

/// Names a character that does not belong in a record, so that a reader knows what to look for.
pub(super) fn character(c: char) -> String {
    let code = u32::from(c);
    match (c, plain::meant(c)) {
        ('\u{a0}', _) => "et hårdt mellemrum (U+00A0)".into(),
        ('\u{feff}', _) => "et usynligt tegn (byte order mark, U+FEFF)".into(),
        ('\u{fffd}', _) => "et tegn, der gik tabt, da recorden blev gemt (U+FFFD)".into(),
        (_, Meant::Plain(' ')) => format!("et mellemrum af en anden slags (U+{code:04X})"),
        (_, Meant::Nothing) => format!("et usynligt tegn (U+{code:04X})"),
        (_, Meant::Plain('-')) => format!("tankestregen \"{c}\" (U+{code:04X}) i stedet for en bindestreg"),
        (_, Meant::Plain(plain)) => format!("\"{c}\" (U+{code:04X}) i stedet for {plain}"),
        (_, Meant::Same) if let Some(latin) = plain::look_alike(c) => {
            format!("\"{c}\" (U+{code:04X}), der kun ligner {latin}")
        }
        (_, Meant::Same) => format!("tegnet \"{c}\" (U+{code:04X})"),
    }
}

pub(in crate::onboarding::text) fn note(note: &Note) -> String {
    match note {
        Note::Joined(count) => {
            format!("{count} SPF-records er blevet til én: hvis der er flere, ser modtagerne bort fra dem alle.")
        }
        Note::Repaired(Repair { written, meant }) if meant.is_empty() => {
            format!("\"{written}\" er udeladt: det siger ikke noget dér.")
        }
        Note::Repaired(Repair { written, meant }) => format!("\"{written}\" var ment som \"{meant}\"."),
        Note::Unread(terms) => format!(
            "\"{}\" er udeladt, fordi det ikke kan læses. Er det en af jeres afsendere, så ret det, før recorden oprettes.",
            terms.join(" ")
        ),
        Note::Softened(all) => {
            format!("{all} er blevet ~all, fordi ikke alt kunne læses: ellers ville det, der er udeladt, blive afvist.")
        }
        Note::Moved(term) => format!("\"{term}\" står nu foran \"all\": bag det talte det aldrig."),
        Note::Dead(term) => format!("\"{term}\" er udeladt: det stod efter \"all\" og talte aldrig."),
        Note::PlusAll => "+all er blevet ~all: +all lader enhver sende som jer.".to_owned(),
        Note::AddedAll => "~all er tilføjet: uden det siger recorden intet om andre.".to_owned(),
        Note::Guessed(terms) => format!(
            "Domænet har ingen SPF-record i dag. \"{}\" står for jeres egne mailservere: kontrollér, at det dækker dem alle.",
            terms.join(" ")
        ),
        Note::Begun => {
            "Taget fra den TXT-record, der skulle være SPF; det, der forhindrede det, er rettet. Erstat den.".to_owned()
        }
        Note::Ptr => "ptr er beholdt og bør erstattes af adresser.".to_owned(),
    }
}
