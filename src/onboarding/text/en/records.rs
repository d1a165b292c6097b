//! The texts about mistakes in records and corrections of them.

use crate::dkim::record::Flaw;
use crate::dkim::tags::Mistake;
use crate::onboarding::finding::NoKey;
use crate::onboarding::spf::merge::Note;
use crate::onboarding::spf::obstacle::Obstacle;
use crate::onboarding::spf::repair::Repair;
use crate::plain::{self, Meant};

pub(super) fn included(fault: &str) -> &'static str {
    match fault {
        "none" => "which has no SPF record",
        "several" => "which has several SPF records",
        "loop" => "from where it leads back to itself",
        _ => "whose SPF record has mistakes",
    }
}

/// Explains what is wrong with a term of an SPF record.
pub(super) fn spf_fault(term: &str, fault: &str) -> String {
    let strange = plain::first_strange(term).or_else(|| term.chars().find(|c| !c.is_ascii()));
    match (fault, strange) {
        ("character", Some(strange)) => format!("holds {}", character(strange)),
        ("address", _) => "has no valid IP address".into(),
        ("name", _) => "has no valid domain name".into(),
        ("twice", _) => "stands there twice".into(),
        _ => "is nothing SPF knows".into(),
    }
}

/// Explains what keeps an SPF record, published or proposed, from working, and what to do first.
pub(in crate::onboarding::text) fn obstacle(obstacle: &Obstacle, present: bool) -> (String, String) {
    let (record, fails, remove, write) = match present {
        true => ("The record you have", "it fails", "Remove", "Write"),
        false => ("The record to publish", "it would fail", "First remove", "First write"),
    };
    match obstacle {
        Obstacle::Lookups { count } => (
            format!("{record} needs {count} DNS lookups, and receivers stop at 10: {fails}."),
            format!("{remove} includes that are not used any more, or write addresses in their place."),
        ),
        Obstacle::Voids { count } => (
            format!("{record} asks for {count} names without an address, and receivers stop after 2: {fails}."),
            format!("{remove} terms whose names have no address."),
        ),
        Obstacle::Exchanges { domain } => (
            format!("{record} has an mx for {domain}, which has more than 10 mail exchangers: {fails}."),
            format!("{write} their addresses instead of mx."),
        ),
        Obstacle::Included { domain, fault } => (
            format!("{record} leads to {domain}, {}: {fails}.", included(fault)),
            format!("{remove} that include or redirect, or have it mended."),
        ),
        Obstacle::Unread { terms } => (
            format!("{record} has {}, which cannot be read, and lets anybody send (+all).", terms.join(" ")),
            "Correct it, or remove it where it is not used, and then end the record in ~all.".into(),
        ),
        Obstacle::TooLong { octets } => (
            format!("{record} has {octets} characters, more than receivers can be expected to read."),
            format!("{remove} what is not used, or move parts of it into records of their own (include:)."),
        ),
        Obstacle::Ours { include } => (
            format!("{record} includes {include}, which does not let us send at present."),
            match present {
                true => "This is for webCRM to mend, not for the customer.",
                false => "This is for webCRM to mend, not for the customer; publish the record afterwards.",
            }
            .into(),
        ),
    }
}

pub(super) fn no_key(host: &str, why: &NoKey) -> String {
    match why {
        NoKey::Missing => format!("There is no key at {host}."),
        NoKey::Several { count } => format!("There are {count} records at {host}; receivers take any of them."),
        NoKey::Flawed { flaws } => {
            let flaws: String = flaws.iter().map(|flaw| format!(" {}", dkim_flaw(&flaw.0).0)).collect();
            format!("There is no usable key at {host}:{flaws}")
        }
    }
}

pub(super) fn dkim_flaw(flaw: &Flaw) -> (String, &'static str) {
    match flaw {
        Flaw::NoVersion => ("v=DKIM1 is missing, which is allowed.".into(), ""),
        Flaw::Version(found) => {
            (format!("v={found} is not v=DKIM1, which the record must begin with."), "Replace it by the record shown.")
        }
        Flaw::VersionNotFirst => ("v=DKIM1 must stand first in the record.".into(), "Replace it by the record shown."),
        Flaw::Case(name) => {
            (format!("{name}= is in upper case, which receivers do not know."), "Replace it by the record shown.")
        }
        Flaw::NoRecord(text) => {
            (format!("the TXT record \"{text}\" is no DKIM key."), "Replace it by the record shown.")
        }
        Flaw::NoKey => ("p= is missing.".into(), "Replace it by the record shown."),
        Flaw::Bare(missing) => {
            (format!("the key stands there without \"{missing}\" in front of it."), "Replace it by the record shown.")
        }
        Flaw::OtherName(name) => {
            (format!("{name}= is no tag of a key record: the key must be in p=."), "Replace it by the record shown.")
        }
        Flaw::Pem => (
            "the key stands there as in a PEM file, with lines BEGIN and END around it.".into(),
            "Replace it by the record shown: the tags, and only what is between those lines.",
        ),
        Flaw::Private => (
            "this is a private key, so everybody can sign in your name now.".into(),
            "Remove it at once, and tell webCRM: it needs a new key under a new selector.",
        ),
        Flaw::OtherKeyType(kind) => (
            format!("p= is a key of the type {kind}, and the record says otherwise: it must be k={kind}."),
            "Replace it by the record shown.",
        ),
        Flaw::Wrapped => (
            "p= must have the 32 octets of an Ed25519 key alone, without its type around them.".into(),
            "Replace it by the record shown.",
        ),
        Flaw::Revoked => ("p= is empty: the key is revoked.".into(), "Replace it by the record shown."),
        Flaw::NotBase64(c) => {
            (format!("p= holds \"{c}\", which is not base64."), "Copy the value again, as one string without spaces.")
        }
        Flaw::NoPadding => (
            "The equals signs at the end of p= are missing, and some receivers cannot read the key without them."
                .into(),
            "Replace it by the record shown.",
        ),
        Flaw::Truncated => (
            "p= is cut off or damaged.".into(),
            "Copy the whole value again. A panel that takes only 255 characters wants it in two strings, without a space between.",
        ),
        Flaw::KeyType(k) => (format!("k={k} is no kind of key receivers know."), "Replace it by the record shown."),
        Flaw::Weak(bits) => {
            (format!("RSA with {bits} bits is too weak."), "It needs a key of 2048 bits under a new selector.")
        }
        Flaw::Hash(h) => (format!("h={h} does not allow sha256."), "Remove h=."),
        Flaw::Service(s) => (format!("s={s} does not allow mail, or not with all receivers."), "Remove s=."),
        Flaw::Testing => ("t=y says that DKIM is only being tested.".into(), "Remove t=y."),
        Flaw::Strict => ("t=s is set, which fits our signatures.".into(), ""),
        Flaw::Tags(mistake) => {
            let (what, _) = tag_mistake(mistake);
            (what, "Replace it by the record shown.")
        }
    }
}

/// Explains what is wrong with the grammar of a DKIM or DMARC record, and what to do.
pub(super) fn tag_mistake(mistake: &Mistake) -> (String, String) {
    let what = match mistake {
        Mistake::Character(c) => format!("the value holds {}.", character(*c)),
        Mistake::Quoting(_) => "quotation marks, brackets or backslashes have become part of the value.".into(),
        Mistake::Markup(written) => {
            format!("the value holds \"{written}\", which a web page or a web address writes for another character.")
        }
        Mistake::NoSign(name) => format!("{name} must have exactly one equals sign behind it."),
        Mistake::ZoneLine => {
            "the value is a whole line of a zone file: only what stands from v= on is the value.".into()
        }
        Mistake::NoSemicolon(name) => format!("a semicolon is missing before {name}=."),
        Mistake::EmptyTag => "there is a semicolon too many.".into(),
        Mistake::NoTag(text) => format!("\"{text}\" is not tag=value."),
        Mistake::Twice(name) => format!("{name}= stands there twice."),
    };
    (what, "Correct it, or replace it by the record shown.".to_owned())
}

/// Names a character that does not belong in a record, so that a reader knows what to look for.
pub(super) fn character(c: char) -> String {
    let code = u32::from(c);
    match (c, plain::meant(c)) {
        ('\u{a0}', _) => "a no-break space (U+00A0)".into(),
        ('\u{feff}', _) => "an invisible byte order mark (U+FEFF)".into(),
        ('\u{fffd}', _) => "a character that was lost when the record was stored (U+FFFD)".into(),
        (_, Meant::Plain(' ')) => format!("a space of another kind (U+{code:04X})"),
        (_, Meant::Nothing) => format!("an invisible character (U+{code:04X})"),
        (_, Meant::Plain('-')) => format!("the dash \"{c}\" (U+{code:04X}) in place of a hyphen"),
        (_, Meant::Plain(plain)) => format!("\"{c}\" (U+{code:04X}) in place of {plain}"),
        (_, Meant::Same) if let Some(latin) = plain::look_alike(c) => {
            format!("\"{c}\" (U+{code:04X}), which only looks like {latin}")
        }
        (_, Meant::Same) => format!("the character \"{c}\" (U+{code:04X})"),
    }
}

pub(in crate::onboarding::text) fn note(note: &Note) -> String {
    match note {
        Note::Joined(count) => format!("{count} SPF records became one: receivers count none where there are several."),
        Note::Repaired(Repair { written, meant }) if meant.is_empty() => {
            format!("\"{written}\" is left out: it says nothing there.")
        }
        Note::Repaired(Repair { written, meant }) => format!("\"{written}\" was meant as \"{meant}\"."),
        Note::Unread(terms) => format!(
            "\"{}\" is left out, since it cannot be read. If it is a sender of yours, correct it before you publish the record.",
            terms.join(" ")
        ),
        Note::Softened(all) => {
            format!("{all} became ~all, since not everything could be read: what is left out would be refused otherwise.")
        }
        Note::Moved(term) => format!("\"{term}\" stands before \"all\" now: behind it, it never counted."),
        Note::Dead(term) => format!("\"{term}\" is left out: it stood after \"all\" and never counted."),
        Note::PlusAll => "+all became ~all: +all lets anybody send as you.".to_owned(),
        Note::AddedAll => "~all was added: without it the record says nothing about others.".to_owned(),
        Note::Guessed(terms) => format!(
            "The domain has no SPF record today. \"{}\" stands for your own mail servers: check that it covers all of them.",
            terms.join(" ")
        ),
        Note::Begun => "Taken from the TXT record that was meant to be SPF; what kept it from being one is mended. Replace that one.".to_owned(),
        Note::Ptr => "ptr is kept and should be replaced by addresses.".to_owned(),
    }
}
