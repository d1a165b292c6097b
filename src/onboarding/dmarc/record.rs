//! Reads DMARC records (RFC 9989 §4.7, §4.8) as receivers do, and as they were meant.

use crate::dkim::tags::{Mistake, Tag, TagList};
use crate::plain;
use crate::smtp::Mailbox;

/// The tags of RFC 9989, and those of RFC 7489 that it has removed.
pub(super) const TAGS: [&str; 14] =
    ["v", "p", "sp", "np", "rua", "ruf", "adkim", "aspf", "fo", "psd", "t", "pct", "rf", "ri"];
/// The most tags without meaning that are named.
const MOST_UNREAD: usize = 20;
/// The most addresses for reports that a proposal keeps. Receivers need to heed two (RFC 7489 §6.2).
const MOST_ADDRESSES: usize = 10;
/// Tags that RFC 9989 has removed.
const OBSOLETE: [&str; 3] = ["pct", "rf", "ri"];

/// A record that receivers can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The policy for the domain itself (`p=`).
    pub policy: Policy,
    /// The policy for names below it (`sp=`).
    pub subdomain_policy: Option<Policy>,
    /// True if SPF must align strictly (`aspf=s`).
    pub strict_spf: bool,
    /// The value of `psd=`: true for y, false for n.
    pub public_suffix: Option<bool>,
    /// True if the policy is in test mode (`t=y`).
    pub testing: bool,
    /// Where aggregate reports go (`rua=`).
    pub reports: Vec<String>,
    /// The value of `pct=` if it is below 100. Receivers that follow RFC 9989 act on all mail, others on this percentage of it.
    pub percent: Option<u8>,
    /// The tags that RFC 9989 has removed and that change nothing.
    pub obsolete: Vec<String>,
    /// The tags that are unknown, or have an unknown value that receivers ignore.
    pub unread: Vec<String>,
}

/// Why some or all receivers cannot use a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The value of a policy tag is not a policy. Holds the tag as written.
    Policy(String),
    /// There is no `p=`. Holds the other tags that name a policy: `sp`, `np`.
    NoPolicy(Vec<String>),
    /// A value makes many receivers ignore the whole record. Holds the tag as written.
    Value(String),
    /// The record breaks the grammar of tag lists.
    Tags(Mistake),
}

/// What receivers should do with mail that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Receivers do nothing about it (`none`).
    None,
    /// Receivers put it into the spam folder (`quarantine`).
    Quarantine,
    /// Receivers refuse it (`reject`).
    Reject,
}

impl Policy {
    /// Returns the word that records have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    /// Reads the word of a record, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }
}

/// Returns true if a TXT value claims to be a DMARC record: its first tag is `v=DMARC1`, with the name in any case and the value in exactly
/// this case (RFC 9989 §4.7, §4.8).
pub fn is_dmarc(text: &str) -> bool {
    let trimmed = |text: &str| text.trim_matches([' ', '\t', '\r', '\n']).to_owned();
    let first = text.split(';').next().unwrap_or_default();
    first
        .split_once('=')
        .is_some_and(|(tag, value)| trimmed(tag).eq_ignore_ascii_case("v") && trimmed(value) == "DMARC1")
}

/// Returns true if a TXT value was meant to be a DMARC record but is not one. It may have quotation marks from a web form, a comma for a
/// semicolon, lower case letters, a byte order mark, or the rest of a zone file's line.
pub(super) fn looks_like_dmarc(text: &str) -> bool {
    let begins = |text: &str| {
        let squeezed: String = text.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let squeezed = squeezed.to_ascii_lowercase();
        squeezed.starts_with("vdmarc") || squeezed.starts_with("dmarc")
    };
    if is_dmarc(text) {
        return false;
    }
    let meant = plain::as_meant(text);
    let list = TagList::read(&meant, &TAGS);
    begins(&meant) || list.tags.first().is_some_and(|tag| tag.name.eq_ignore_ascii_case("v") && begins(&tag.value))
}

impl Record {
    /// Reads a record. The error says why some or all receivers cannot use it.
    pub fn parse(text: &str) -> Result<Self, Vec<Unusable>> {
        let list = TagList::read(text, &TAGS);
        let mut unusable: Vec<Unusable> = list.mistakes.iter().cloned().map(Unusable::Tags).collect();
        let mut record = Record {
            policy: Policy::None,
            subdomain_policy: None,
            strict_spf: false,
            public_suffix: None,
            testing: false,
            reports: Vec::new(),
            percent: None,
            obsolete: Vec::new(),
            unread: Vec::new(),
        };
        let mut has_policy = false;
        for Tag { name, value } in list.tags.iter().skip_while(|tag| tag.name.eq_ignore_ascii_case("v")) {
            let written = || format!("{name}={value}");
            let is = |text: &str| value.eq_ignore_ascii_case(text);
            match name.to_ascii_lowercase().as_str() {
                tag @ ("p" | "sp" | "np") => {
                    has_policy |= tag == "p";
                    match (Policy::parse(value), tag) {
                        (None, _) => unusable.push(Unusable::Policy(written())),
                        (Some(found), "p") => record.policy = found,
                        (found, "sp") => record.subdomain_policy = found,
                        _ => {}
                    }
                }
                tag @ ("aspf" | "adkim") if is("r") || is("s") => record.strict_spf |= tag == "aspf" && is("s"),
                "fo" if value.split(':').all(|v| matches!(blank(v), "0" | "1" | "d" | "s" | "D" | "S")) => {}
                "rua" if is_uris(value) => {
                    record.reports = value.split(',').map(|uri| blank(uri).to_owned()).collect();
                }
                "ruf" if is_uris(value) => {}
                "aspf" | "adkim" | "fo" | "rua" | "ruf" => unusable.push(Unusable::Value(written())),
                "psd" if is("y") || is("n") || is("u") => record.public_suffix = (!is("u")).then(|| is("y")),
                "t" if is("y") || is("n") => record.testing = is("y"),
                "pct" if value.parse::<u8>().is_ok_and(|percent| percent < 100) => record.percent = value.parse().ok(),
                tag if OBSOLETE.contains(&tag) => record.obsolete.push(tag.to_owned()),
                _ if record.unread.len() < MOST_UNREAD => record.unread.push(written()),
                _ => {}
            }
        }
        if !has_policy {
            let has = |name: &&str| list.tags.iter().any(|tag| tag.name.eq_ignore_ascii_case(name));
            unusable.push(Unusable::NoPolicy(
                ["sp", "np"].iter().filter(|name| has(name)).map(|name| (*name).to_owned()).collect(),
            ));
        }
        if unusable.is_empty() { Ok(record) } else { Err(unusable) }
    }
}

/// Returns the record that `text` was meant to be, in a form that every receiver can use. Returns `None` if it names no policy. Breaks of
/// the grammar are corrected. If a tag is there twice, the milder policy stays, or all addresses for reports. `pct=0`, which many receivers
/// read as "act on nothing", becomes `t=y`.
pub fn amended(text: &str) -> Option<String> {
    let list = TagList::read(text, &TAGS);
    let values = |name: &str| -> Vec<&str> {
        let all = list.tags.iter().chain(&list.repeated);
        all.filter(|tag| tag.name.eq_ignore_ascii_case(name)).map(|tag| tag.value.as_str()).collect()
    };
    let policy =
        |name: &str| values(name).into_iter().map(Policy::parse).collect::<Option<Vec<_>>>()?.into_iter().min();
    let first = policy("p")?;
    let mut record = format!("v=DMARC1; p={}", first.as_str());
    let mut add = |name: &str, value: &str| record.push_str(&format!("; {name}={value}"));
    for name in ["sp", "np"] {
        if let Some(policy) = policy(name) {
            add(name, policy.as_str());
        }
    }
    for name in ["adkim", "aspf", "psd"] {
        let known: &[&str] = if name == "psd" { &["y", "n", "u"] } else { &["r", "s"] };
        let found =
            values(name).into_iter().find_map(|value| known.iter().find(|known| known.eq_ignore_ascii_case(value)));
        if let Some(value) = found {
            add(name, value);
        }
    }
    let is_testing = values("t").iter().any(|value| value.eq_ignore_ascii_case("y"));
    let acts_on_nothing = values("pct").iter().any(|value| value.parse() == Ok(0)) && first > Policy::None;
    if is_testing || acts_on_nothing {
        add("t", "y");
    }
    if let Some(fo) = values("fo").into_iter().find(|fo| fo.split(':').all(|v| matches!(v, "0" | "1" | "d" | "s"))) {
        add("fo", fo);
    }
    // A semicolon in place of a comma makes a piece of an address that stands behind it.
    let astray = list.mistakes.iter().filter_map(|mistake| match mistake {
        Mistake::NoTag(text) => Some(text.as_str()),
        _ => None,
    });
    let astray: Vec<&str> = astray.collect();
    for name in ["rua", "ruf"] {
        let written = values(name);
        let more = if name == "rua" { &astray[..] } else { &[] };
        let words = written.iter().chain(more).flat_map(|value| value.split([',', ' ', '\t', '\r', '\n']));
        let mut kept: Vec<String> = Vec::new();
        for uri in words.filter_map(report_uri) {
            if !kept.contains(&uri) && kept.len() < MOST_ADDRESSES {
                kept.push(uri);
            }
        }
        if !kept.is_empty() {
            add(name, &kept.join(","));
        }
    }
    Some(record)
}

/// Returns the URI that a word in a list of addresses was meant to be: `a@b.dk`, `<mailto:a@b.dk>` and `mail:a@b.dk` are all
/// `mailto:a@b.dk`. A size limit is kept.
fn report_uri(word: &str) -> Option<String> {
    let bare = word.trim_matches(['<', '>', '"', '\'', '(', ')', '[', ']', ';', '.', '\\']);
    let is_usable = |uri: &str| {
        destination(uri).is_some()
            && is_uris(uri)
            && uri.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\;()".contains(&b))
    };
    if is_usable(bare) {
        return Some(bare.to_owned());
    }
    if bare.contains("://") {
        return None;
    }
    let small = bare.to_ascii_lowercase();
    let name = ["rua:", "rua=", "mailto", "email", "mail"].iter().find(|name| small.starts_with(**name));
    let rest = bare[name.map_or(0, |name| name.len())..].trim_start_matches([':', '/', '=', '<']);
    let rest = rest.strip_prefix("mailto:").unwrap_or(rest);
    // The rest of `mailbox@b.dk` is no address of anybody.
    let address = if rest.len() < bare.len() && bare[..bare.len() - rest.len()].ends_with([':', '/', '=', '<']) {
        rest
    } else {
        bare
    };
    let uri = format!("mailto:{address}");
    is_usable(&uri).then_some(uri)
}

/// Returns true if a value is a list of URIs as all receivers read it: an escape is a percent sign and two digits, and an exclamation mark
/// is followed only by a size (RFC 7489 §6.4; `!` inside a URI must be escaped).
fn is_uris(value: &str) -> bool {
    value.split(',').all(|uri| {
        let (uri, size) = match blank(uri).split_once('!') {
            Some((uri, size)) => (uri, Some(size)),
            None => (blank(uri), None),
        };
        let is_size = |size: &str| {
            let digits = size.trim_end_matches(['k', 'm', 'g', 't', 'K', 'M', 'G', 'T']);
            !digits.is_empty() && size.len() <= digits.len() + 1 && digits.bytes().all(|b| b.is_ascii_digit())
        };
        let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        size.is_none_or(is_size) && uri.split('%').skip(1).all(is_escape)
    })
}

fn blank(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Returns the mailbox that an `rua` URI names. Only mailto is used, and an obsolete size limit (`!10m`) is cut off.
pub(super) fn destination(uri: &str) -> Option<Mailbox> {
    let (scheme, address) = uri.split_once(':')?;
    let address = address.split(['?', '!']).next()?;
    scheme.eq_ignore_ascii_case("mailto").then(|| Mailbox::parse(address).ok())?
}

#[cfg(test)]
mod tests {
    use mail_auth::common::parse::TxtRecordParser;
    use mail_auth::dmarc::{Dmarc, Policy as Theirs};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guides_own_record_is_read_and_its_obsolete_tag_named() {
        let text = "v=DMARC1; p=none; pct=100; rua=mailto:yourmail@yourdomain.com; sp=none; aspf=r;";
        let record = Record::parse(text).unwrap();
        assert_eq!(
            (record.policy, &record.obsolete[..], record.percent, record.unread.len()),
            (Policy::None, &["pct".to_owned()][..], None, 0)
        );
    }

    #[test]
    fn what_keeps_receivers_from_using_a_record_is_named_for_what_it_is() {
        let policy = |tag: &str| vec![Unusable::Policy(tag.to_owned())];
        let value = |tag: &str| vec![Unusable::Value(tag.to_owned())];
        let tags = |mistake: Mistake| vec![Unusable::Tags(mistake)];
        for (text, refused) in [
            ("v=DMARC1; p=maybe", policy("p=maybe")),
            ("v=DMARC1; p=maybe; rua=mailto:a@b.dk", policy("p=maybe")),
            ("v=DMARC1; p=reject; sp=maybe", policy("sp=maybe")),
            ("v=DMARC1; p=reject; np=maybe; rua=mailto:d@test.dk", policy("np=maybe")),
            ("v=DMARC1", vec![Unusable::NoPolicy(vec![])]),
            ("v=DMARC1; rua=mailto:a@b.dk", vec![Unusable::NoPolicy(vec![])]),
            ("v=DMARC1; sp=reject; rua=mailto:a@b.dk", vec![Unusable::NoPolicy(vec!["sp".to_owned()])]),
            ("v=DMARC1; p=none; P=reject; rua=mailto:d@test.dk", tags(Mistake::Twice("P".to_owned()))),
            ("v=DMARC1; v=DMARC1; p=none", tags(Mistake::Twice("v".to_owned()))),
            ("v=DMARC1; p=none, rua=mailto:d@test.dk", tags(Mistake::NoSemicolon("rua".to_owned()))),
            ("v=DMARC1; p=none rua=mailto:d@test.dk", tags(Mistake::NoSemicolon("rua".to_owned()))),
            ("v=DMARC1;\u{a0}p=reject", tags(Mistake::Character('\u{a0}'))),
            ("v=DMARC1; p=reject\u{200b}", tags(Mistake::Character('\u{200b}'))),
            ("v=DMARC1; p=reject;; rua=mailto:d@test.dk", tags(Mistake::EmptyTag)),
            ("v=DMARC1; p=reject\\; rua=mailto:d@test.dk", tags(Mistake::Quoting('\\'))),
            ("v=DMARC1; p=reject; my rua=mailto:d@test.dk", tags(Mistake::NoTag("my rua=mailto:d@test.dk".to_owned()))),
            ("v=DMARC1; p=reject; aspf=strict", value("aspf=strict")),
            ("v=DMARC1; p=reject; fo=1:2", value("fo=1:2")),
            ("v=DMARC1; p=reject; rua=mailto:d@test.dk!10mb", value("rua=mailto:d@test.dk!10mb")),
            ("v=DMARC1; p=reject; rua=mailto:d%4@test.dk", value("rua=mailto:d%4@test.dk")),
        ] {
            assert_eq!(Record::parse(text), Err(refused), "{text}");
        }
    }

    #[test]
    fn names_and_policies_may_be_in_any_case() {
        let record =
            Record::parse("V=DMARC1; P=Reject; SP=none; t=Y; PCT=20; RUA=mailto:a@b.dk!10m , mailto:c@d.dk;").unwrap();
        assert_eq!((record.policy, record.subdomain_policy), (Policy::Reject, Some(Policy::None)));
        assert_eq!((record.testing, record.percent), (true, Some(20)));
        assert_eq!(record.reports, ["mailto:a@b.dk!10m", "mailto:c@d.dk"]);
    }

    #[test]
    fn only_the_exact_version_is_dmarc() {
        assert!(is_dmarc("V=DMARC1; p=none") && !is_dmarc("v=dmarc1; p=none"));
        assert!(!is_dmarc("v=DMARC1x; p=none") && !is_dmarc("p=none; v=DMARC1") && is_dmarc("v = DMARC1;p=none"));
        for near in [
            "v=dmarc1; p=none",
            "\u{feff}v=DMARC1; p=none",
            "v=DMARC1\u{a0}; p=none",
            "v=DMARC1, p=none",
            "“v=DMARC1; p=none”",
            "_dmarc IN TXT v=DMARC1; p=none",
            "_dmarc.test.dk. 3600 IN TXT \"v=DMARC1; p=none\"",
            "ｖ=DMARC1; p=none",
            "DMARC1; p=none",
        ] {
            assert!(looks_like_dmarc(near) && !is_dmarc(near), "{near}");
        }
        for other in ["v=DMARC1; p=none", "v=spf1 -all", "google-site-verification=v=DMARC1", ""] {
            assert!(!looks_like_dmarc(other), "{other}");
        }
    }

    #[test]
    fn what_was_meant_is_what_is_proposed() {
        for (text, meant) in [
            (
                "v=DMARC1; p=reject; rua=mailto:a@b.dk; rua=mailto:c@d.dk",
                "v=DMARC1; p=reject; rua=mailto:a@b.dk,mailto:c@d.dk",
            ),
            ("v=DMARC1; p=reject; p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1; p=reject; p=none", "v=DMARC1; p=none"),
            ("v=DMARC1; p=reject; aspf=s; aspf=r; x=y", "v=DMARC1; p=reject; aspf=s"),
            ("v=DMARC1; p=none, rua=mailto:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1;\u{a0}p=Quarantine; pct=0; rua=mailto:a@b.dk", "v=DMARC1; p=quarantine; t=y; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; pct=0", "v=DMARC1; p=none"),
            ("v=DMARC1; p=reject; pct=50; ri=86400", "v=DMARC1; p=reject"),
            ("_dmarc IN TXT \"v=DMARC1; p=reject; sp=none\"", "v=DMARC1; p=reject; sp=none"),
            ("v=dmarc1; p=reject; adkim=strict; fo=1", "v=DMARC1; p=reject; fo=1"),
            ("v=DMARC1; p=reject; rua=a@b.dk,mailto:c@d.dk", "v=DMARC1; p=reject; rua=mailto:a@b.dk,mailto:c@d.dk"),
            // Addresses as people write them.
            ("v=DMARC1;p=none;rua=a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=mailto: a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=mailto:a@b.dk; mailto:c@d.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk,mailto:c@d.dk"),
            ("v=DMARC1; p=none; rua=mailto:a@b.dk mailto:c@d.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk,mailto:c@d.dk"),
            ("v=DMARC1; p=none; rua:mailto:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=\"mailto:a@b.dk\"", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=<mailto:a@b.dk>", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=mailto//a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=mail:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
            ("v=DMARC1; p=none; rua=mailbox@b.dk", "v=DMARC1; p=none; rua=mailto:mailbox@b.dk"),
            ("v=DMARC1; p=none; ruf=a@b.dk; rua=https://b.dk/x", "v=DMARC1; p=none; ruf=mailto:a@b.dk"),
            // The version, and what stands around the record.
            ("v=DMARC; p=quarantine", "v=DMARC1; p=quarantine"),
            ("v=DMARC 1; p=reject", "v=DMARC1; p=reject"),
            ("v:DMARC1; p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1|p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1\\;p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1;&nbsp;p=reject", "v=DMARC1; p=reject"),
            ("Value v=DMARC1; p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1; p=reject v=DMARC1; p=none", "v=DMARC1; p=none"),
            ("v=DMARC1;\u{202f}p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1;\u{85}p=reject", "v=DMARC1; p=reject"),
            ("v=DMARC1; p\u{200b}=re\u{ad}ject\u{37e}", "v=DMARC1; p=reject"),
            ("v=DMARC1; p=reject; adkim=relaxed; aspf=S; pct=100%", "v=DMARC1; p=reject; aspf=s"),
        ] {
            assert_eq!(amended(text).as_deref(), Some(meant), "{text}");
            assert!(Record::parse(meant).is_ok(), "{meant}");
        }
        // A misspelt policy, a policy of another protocol, a letter of another alphabet.
        for unknown in ["v=DMARC1; p=monitor", "v=DMARC1; policy=none", "v=DMARC1; p:none", "v=DMARC1; \u{440}=none"] {
            assert_eq!(amended(unknown), None, "{unknown}");
            assert!(Record::parse(unknown).is_err(), "{unknown}");
        }
        for unknown in ["v=DMARC1; p=maybe", "v=DMARC1; sp=reject", "v=DMARC1; p=reject; p=maybe", ""] {
            assert_eq!(amended(unknown), None, "{unknown}");
        }
    }

    /// Pieces that records are made of, right and wrong.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "v=DMARC1",
            "; ",
            ";",
            " ",
            "\t",
            ",",
            "p=reject",
            "p=none",
            "p = quarantine",
            "sp=none",
            "np=",
            "P=reject",
            "rua=mailto:a@b.dk",
            "mailto:c@d.dk!10m",
            "!",
            "%",
            "aspf=s",
            "adkim=x",
            "fo=1:d",
            "fo=",
            "pct=0",
            "t=y",
            "psd=n",
            "\u{a0}",
            "\u{feff}",
            "\u{200b}",
            "\"",
            "\\",
            "=",
            "x",
            "rua",
            "\r\n",
            "ø",
            "\u{c}",
        ]);
        let any = prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat());
        prop_oneof![any.clone(), any.prop_map(|rest| format!("v=DMARC1; p=reject; {rest}"))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_counts_as_verified_is_the_same_policy_to_a_strangers_parser(text in text()) {
            if is_dmarc(&text) && let Ok(record) = Record::parse(&text) {
                let theirs = Dmarc::parse(text.as_bytes());
                let theirs = theirs.map_err(|error| TestCaseError::fail(format!("{text:?}: {error:?}")))?;
                let same = |ours: Policy| match ours {
                    Policy::None => Theirs::None,
                    Policy::Quarantine => Theirs::Quarantine,
                    Policy::Reject => Theirs::Reject,
                };
                prop_assert_eq!(&theirs.p, &same(record.policy), "{:?}", text);
                prop_assert_eq!(&theirs.sp, &same(record.subdomain_policy.unwrap_or(record.policy)), "{:?}", text);
            }
        }

        #[test]
        fn what_is_proposed_can_be_used(text in text()) {
            if let Some(proposed) = amended(&text) {
                prop_assert!(is_dmarc(&proposed), "{} became {}", text, proposed);
                let record = Record::parse(&proposed);
                prop_assert!(record.is_ok(), "{} became {}: {:?}", text, proposed, record);
                prop_assert!(Dmarc::parse(proposed.as_bytes()).is_ok(), "{} became {}", text, proposed);
                prop_assert_eq!(amended(&proposed), Some(proposed.clone()));
                if let Ok(before) = Record::parse(&text) {
                    prop_assert_eq!(before.policy, record.unwrap().policy);
                }
            }
        }
    }

    #[test]
    fn a_record_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| {
                let _ = Record::parse(text);
                amended(text);
                looks_like_dmarc(text);
            },
            &[
                ("different tags", |size| {
                    format!("v=DMARC1; p=none; {}", (0..size / 8).map(|at| format!("x{at:05}=;")).collect::<String>())
                }),
                ("the same tag", |size| format!("v=DMARC1; {}", "p=none; ".repeat(size / 8))),
                ("no semicolons", |size| format!("v=DMARC1; {}", "p=none, ".repeat(size / 8))),
                ("addresses", |size| format!("v=DMARC1; p=none; rua={}", "mailto:a@b.dk,".repeat(size / 14))),
                ("addresses at fault", |size| format!("v=DMARC1; p=none; rua={}", "x!%,".repeat(size / 4))),
                ("failure options", |size| format!("v=DMARC1; p=none; fo={}", "1:".repeat(size / 2))),
                ("words before", |size| format!("{}v=DMARC1; p=none", "word ".repeat(size / 5))),
                ("semicolons", |size| format!("v=DMARC1{}", ";".repeat(size))),
                ("no-break spaces", |size| format!("v=DMARC1;{}p=none", "\u{a0}".repeat(size / 2))),
            ],
        );
    }
}
