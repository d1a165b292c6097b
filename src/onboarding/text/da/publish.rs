//! The texts about records to publish, in Danish: reasons, explanations and the mail.

use std::fmt::Write as _;

use super::{item, need, word};
use crate::onboarding::finding::Item;
use crate::onboarding::records::{InTheWay, RecordTable, Row, SentThrough};
use crate::onboarding::rotation::Role;
use crate::onboarding::text::names::in_own_letters;
use crate::onboarding::text::{Lang, Word, distinct};
use crate::visible::visible;

pub(in crate::onboarding::text) fn reason(item: Item, own_server: bool) -> &'static str {
    match item {
        Item::FromDomain => "Massemails kræver jeres eget domæne.",
        Item::Ownership => "Beviser, at domænet er jeres.",
        Item::Spf if own_server => {
            "Nævner de servere, der sender for domænet, også jeres egen. Der må kun være én SPF-record."
        }
        Item::Spf => "Lader webCRM og Mailjet sende for domænet. Der må kun være én SPF-record.",
        Item::Dkim => "Lader modtagerne kontrollere den signatur, webCRM sætter på jeres mail.",
        Item::MailjetAccount => "Lader Mailjet tage imod mails fra domænet.",
        Item::MailjetDkim => "Lader modtagerne kontrollere den signatur, Mailjet tilføjer.",
        Item::Dmarc => {
            "Fortæller modtagerne, hvad de skal gøre med mail, der udgiver sig for at være fra jer. Den begynder med kun at overvåge og giver rapporter. Der må kun være én DMARC-record."
        }
        Item::ReturnPath => {
            "Får også SPF til at tælle med i DMARC, fordi returmail så går til et navn under jeres domæne."
        }
        Item::Mx => "Svar skal kunne komme frem til jer.",
        Item::OwnServer => "Tager imod mailen.",
        Item::InternalMail => "Lader webCRM sende til jeres egne medarbejdere.",
    }
}

/// Returns the reason for a DMARC record that only watches, and sends reports to nobody.
pub(in crate::onboarding::text) fn watching() -> &'static str {
    "Fortæller modtagerne, hvad de skal gøre med mail, der udgiver sig for at være fra jer. I begyndelsen ændrer den ikke noget. Der må kun være én DMARC-record."
}

/// Returns the reason for a DMARC record whose policy does more than watch.
pub(in crate::onboarding::text) fn enforcing() -> &'static str {
    "Fortæller modtagerne, hvad de skal gøre med mail, der udgiver sig for at være fra jer. Der må kun være én DMARC-record."
}

/// Returns the reason for the aliases of a customer that publishes its key by hand.
pub(in crate::onboarding::text) fn delegating() -> &'static str {
    "Med de to aliasser (CNAME) skifter vi selv DKIM-nøglen fremover. Den TXT-record med nøglen, som I har nu, skal blive stående: vi siger til, når den kan slettes."
}

pub(in crate::onboarding::text) fn replaces(count: usize) -> String {
    match count {
        1 => "Den erstatter den, I har.".into(),
        count => format!("Den erstatter alle {count}, I har."),
    }
}

pub(in crate::onboarding::text) fn role(role: Role) -> &'static str {
    match role {
        Role::Incoming => "Den nøgle, der skal signere fremover. Lad den, der signerer nu, blive stående.",
        Role::Outgoing => {
            "Den nøgle, der signerede før. Lad den blive stående: mail, der er signeret med den, er stadig undervejs."
        }
        Role::Revoked => "Trækker den nøgle tilbage, der signerede før: den tomme record erstatter nøglens record.",
    }
}

pub(in crate::onboarding::text) fn to_come(host: &str) -> String {
    format!("Der skal også oprettes en nøgle på {host}. webCRM får værdien fra Mailjet og sender den til jer.")
}

/// Explains how to replace the alias if a From domain is one.
pub(super) fn without_alias(target: &str) -> String {
    format!(
        "Send fra et andet domæne, eller få aliasset erstattet af adresser (A og AAAA, eller ALIAS/ANAME, hvis jeres DNS-panel har det), før recorden bliver oprettet. Hører {target} til jer, kan den i stedet oprettes dér."
    )
}

pub(in crate::onboarding::text) fn in_the_way(host: &str, what: &InTheWay) -> String {
    match what {
        InTheWay::DomainAlias { target } => format!(
            "{host} er et alias (CNAME) for {target}, og ved siden af et alias kan der ikke stå andre records. {}",
            without_alias(target)
        ),
        InTheWay::Alias { target } => format!(
            "{host} er i dag et alias (CNAME) for {target}. Slet aliasset, før recorden bliver oprettet: ved siden af et alias kan der ikke stå andre records."
        ),
        InTheWay::Address { address } => format!(
            "{host} svarer i dag med adressen {address}. Slå proxyen fra for navnet (i Cloudflare: \"DNS only\"); står der i stedet en A- eller AAAA-record, så slet den, før aliasset bliver oprettet."
        ),
    }
}

pub(in crate::onboarding::text) fn label_hint(table: &RecordTable) -> String {
    match &table.zone {
        Some(zone) => format!(
            "Navn er det, der skal skrives i et DNS-panel, der selv tilføjer zonens navn ({zone}); @ eller ingenting er zonen selv. Skal panelet have hele navnet, så brug host."
        ),
        None => format!(
            "Det kunne ikke slås op, hvilken zone {} ligger i, så her står hele navnet. Mange DNS-paneler tilføjer selv zonens navn: skriv så kun det, der står foran det (@ eller ingenting for zonen selv).",
            table.domain
        ),
    }
}

pub(in crate::onboarding::text) fn other_steps(table: &RecordTable) -> Vec<String> {
    let egress = &table.egress;
    match &table.sent_through {
        SentThrough::Mailjet { include } => vec![format!(
            "Hvis mail fra webCRM til jeres egne medarbejdere bliver afvist, så tillad Mailjets adresser på den mailserver, der tager imod jeres mail. De står i SPF-recorden for {include}."
        )],
        SentThrough::OwnServer { server, logs_in } => {
            let relay = format!(
                "webCRM logger ikke ind på {server}: serveren skal tillade adressen {egress} at sende mail gennem den."
            );
            let internal = format!(
                "Hvis mail fra webCRM til jeres egne medarbejdere bliver afvist, så tillad {egress} på den mailserver, der tager imod jeres mail."
            );
            [relay, internal].into_iter().skip(usize::from(*logs_in)).collect()
        }
    }
}

pub(in crate::onboarding::text) fn mail(customer: &str, tables: &[RecordTable]) -> (String, String) {
    let domains: Vec<_> = tables.iter().map(|table| in_own_letters(&table.domain)).collect();
    let subject = format!("DNS-records til mail fra webCRM: {}", domains.join(", "));
    let mut body = format!(
        "Kære {customer}\n\nFor at den mail, I sender fra webCRM, når frem, beder vi jer oprette disse DNS-records eller bede jeres \
         DNS-udbyder om det. Kun I kan gøre det: det er dét, der gør det til et bevis.\n"
    );
    for table in tables {
        let _ = write!(body, "\n== {} ==\n", in_own_letters(&table.domain));
        for (at, row) in table.rows.iter().filter(|row| !row.present).enumerate() {
            let _ = write!(body, "\n{}. ", at + 1);
            record(&mut body, table, row);
        }
        for row in table.rows.iter().filter(|row| row.present && !row.obstacles.is_empty()) {
            let _ = write!(body, "\n{}: der er noget at rette i den record, I har på {}.\n", item(row.item), row.host);
            for text in row.remarks(Lang::Da) {
                let _ = writeln!(body, "   {text}");
            }
        }
        if let Some(host) = &table.mailjet_key_to_come {
            let _ = write!(body, "\n{}: {}\n", item(Item::MailjetDkim), to_come(host));
        }
        if table.unknown {
            let _ = write!(body, "\n{}\n", word(Word::Unknown));
        }
        if table.is_done() {
            let _ = write!(body, "\nAlt er allerede oprettet. Mange tak.\n");
        }
    }
    body.push('\n');
    for hint in distinct(tables.iter().map(label_hint)) {
        let _ = writeln!(body, "{}", in_own_letters(&hint));
    }
    let _ = writeln!(body, "{}", word(Word::OneLineHint));
    for step in distinct(tables.iter().flat_map(other_steps)) {
        let _ = write!(body, "\n{}\n", in_own_letters(&step));
    }
    body.push_str(
        "\nVi tjekker selv recordene flere gange om dagen; I behøver ikke skrive tilbage, når de er oprettet.\n\nVenlig hilsen\nwebCRM\n",
    );
    (subject, body)
}

fn record(body: &mut String, table: &RecordTable, row: &Row) {
    let _ = writeln!(body, "{} ({})\n   {}", item(row.item), need(row.need), Lang::Da.why(table, row));
    let _ = writeln!(body, "   Type:  {}", row.kind);
    if let Some(zone) = &row.zone {
        let _ = writeln!(body, "   Navn:  {}", row.label);
        if table.zone.as_ref() != Some(zone) {
            let _ = writeln!(body, "   Zone:  {zone}");
        }
    }
    let _ = writeln!(body, "   Host:  {}\n   Værdi: {}", row.host, visible(&row.value));
    if let Some(url) = &row.alternative {
        let _ = writeln!(body, "   Eller i stedet for recorden: en tom tekstfil på {}", in_own_letters(url));
    }
    for text in row.remarks(Lang::Da) {
        let _ = writeln!(body, "   Bemærk: {text}");
    }
}
