//! Reads DMARC records (RFC 9989 §4.7, §4.8) as receivers do, and as they were meant.

mod meant;

use std::collections::BTreeSet;

use crate::digits::digits;
use crate::dkim::tags::{Mistake, Tag, TagList};
use crate::plain::{self, escaped};
use crate::smtp::Mailbox;

/// The tags of RFC 9989, and those of RFC 7489 that it has removed.
pub(super) const TAGS: [&str; 14] =
    ["v", "p", "sp", "np", "rua", "ruf", "adkim", "aspf", "fo", "psd", "t", "pct", "rf", "ri"];
/// The names of tags that help to find where a tag begins: those above, and what people write for `p`.
pub(super) const NAMES: [&str; 20] = [
    "v",
    "p",
    "sp",
    "np",
    "rua",
    "ruf",
    "adkim",
    "aspf",
    "fo",
    "psd",
    "t",
    "pct",
    "rf",
    "ri",
    "policy",
    "pol",
    "pp",
    "politik",
    "dmarc_policy",
    "dmarcpolicy",
];
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
    /// The policy for names below it that do not exist (`np=`).
    pub nonexistent_policy: Option<Policy>,
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
    /// A tag has a name that no receiver knows, in place of `p`. Holds the name as written.
    PolicyName(String),
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

/// Returns the policy of a record that can be used.
pub fn policy_of(record: &str) -> Option<Policy> {
    Record::parse(record).ok().map(|record| record.policy)
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
    let list = TagList::read(&meant, &NAMES);
    let is_version = |tag: &Tag| tag.name.eq_ignore_ascii_case("v") && begins(&tag.value);
    // A record of known tags that names a policy lacks only its version.
    let is_known = |tag: &Tag| TAGS.iter().any(|known| tag.name.eq_ignore_ascii_case(known));
    begins(&meant)
        || list.tags.iter().any(is_version)
        || list.tags.iter().all(is_known) && policy_tag(&list).is_some_and(|tag| meant::policy(&tag.value).is_some())
}

/// Returns the tag that was meant to be `p=`: one with a name that people write for it, or the only unknown one that holds a policy.
fn policy_tag(list: &TagList) -> Option<&Tag> {
    let is = |tag: &&Tag| tag.name.eq_ignore_ascii_case("p");
    let is_known = |tag: &Tag| TAGS.iter().any(|known| tag.name.eq_ignore_ascii_case(known));
    // `ssp` or `subdomain` was meant to be `sp` or `np`, which says nothing of the domain itself.
    let is_of_names_below = |tag: &Tag| {
        let name = tag.name.to_ascii_lowercase();
        name.starts_with(['s', 'n']) || name.contains("sub")
    };
    let by_value = || {
        let may_be = |tag: &&Tag| !is_known(tag) && !is_of_names_below(tag);
        let mut holds = list.tags.iter().filter(may_be).filter(|tag| Policy::parse(&tag.value).is_some());
        holds.next().filter(|_| holds.next().is_none())
    };
    let by_name = || list.tags.iter().find(|tag| meant::is_policy_name(&tag.name));
    list.tags.iter().find(is).or_else(by_name).or_else(by_value)
}

impl Record {
    /// Reads a record. The error says why some or all receivers cannot use it.
    pub fn parse(text: &str) -> Result<Self, Vec<Unusable>> {
        let list = TagList::read(text, &NAMES);
        let mut unusable: Vec<Unusable> = list.mistakes.iter().cloned().map(Unusable::Tags).collect();
        let mut record = Record {
            policy: Policy::None,
            subdomain_policy: None,
            nonexistent_policy: None,
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
                        (found, _) => record.nonexistent_policy = found,
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
                "pct" if is_zero(value) => record.percent = Some(0),
                "pct" if digits::<u8>(value).is_some_and(|percent| percent < 100) => record.percent = digits(value),
                tag if OBSOLETE.contains(&tag) => record.obsolete.push(tag.to_owned()),
                _ if record.unread.len() < MOST_UNREAD => record.unread.push(written()),
                _ => {}
            }
        }
        if let Some(tag) = policy_tag(&list).filter(|_| !has_policy) {
            let written = format!("{}={}", tag.name, tag.value);
            record.unread.retain(|unread| *unread != written);
            // With the right name the whole tag is written anew.
            unusable.retain(|why| !matches!(why, Unusable::Tags(Mistake::NoSign(name)) if *name == tag.name));
            unusable.push(Unusable::PolicyName(tag.name.clone()));
        } else if !has_policy {
            let has = |name: &&str| list.tags.iter().any(|tag| tag.name.eq_ignore_ascii_case(name));
            unusable.push(Unusable::NoPolicy(
                ["sp", "np"].iter().filter(|name| has(name)).map(|name| (*name).to_owned()).collect(),
            ));
        }
        // A letter of a policy's word is no stray character: the word is wrong.
        let letters: BTreeSet<char> = unusable
            .iter()
            .filter_map(|why| if let Unusable::Policy(written) = why { Some(written.chars()) } else { None })
            .flatten()
            .filter(|c| c.is_alphabetic())
            .collect();
        unusable.retain(|why| !matches!(why, Unusable::Tags(Mistake::Character(c)) if letters.contains(c)));
        if unusable.is_empty() { Ok(record) } else { Err(unusable) }
    }
}

impl Record {
    /// Returns the first of the record's policies that acts on mail, as a text names it: `reject` for the domain itself, else the tag with it,
    /// `sp=reject`.
    pub fn acting(&self) -> Option<String> {
        let acts = |policy: &Policy| *policy > Policy::None;
        let of =
            |tag: &str, policy: Option<Policy>| policy.filter(acts).map(|policy| format!("{tag}{}", policy.as_str()));
        of("", Some(self.policy))
            .or_else(|| of("sp=", self.subdomain_policy))
            .or_else(|| of("np=", self.nonexistent_policy))
    }
}

/// Returns true if the value of `pct=` means no mail at all: `0`, `00`, `0%`, `0.0`.
fn is_zero(value: &str) -> bool {
    let number = blank(value.trim_end_matches('%'));
    number.starts_with('0') && number.chars().all(|c| matches!(c, '0' | '.' | ','))
}

/// Returns the record that `text` was meant to be, in a form that every receiver can use. Returns `None` if it names no policy. If it names
/// a policy only for names below the domain, the domain's own policy becomes `none`. Breaks of the grammar are corrected, and so is a policy
/// that is misspelt. If a tag is there twice, the milder policy stays, or all addresses for reports. `pct=0`, which many receivers read as
/// "act on nothing", becomes `t=y`. Another percentage stays: without it, the policy would hit more mail than before with receivers that
/// follow RFC 7489.
pub fn amended(text: &str) -> Option<String> {
    let list = TagList::read(text, &NAMES);
    let values = |name: &str| -> Vec<&str> {
        let all = list.tags.iter().chain(&list.repeated);
        all.filter(|tag| tag.name.eq_ignore_ascii_case(name)).map(|tag| tag.value.as_str()).collect()
    };
    let policy =
        |name: &str| values(name).into_iter().map(meant::policy).collect::<Option<Vec<_>>>()?.into_iter().min();
    let below = ["sp", "np"].map(policy);
    let of_others = || match policy_tag(&list) {
        Some(tag) => meant::policy(&tag.value),
        None => below.iter().any(Option::is_some).then_some(Policy::None),
    };
    let first = policy("p").or_else(|| values("p").is_empty().then(of_others)?)?;
    let mut record = format!("v=DMARC1; p={}", first.as_str());
    let mut add = |name: &str, value: &str| record.push_str(&format!("; {name}={value}"));
    for (name, policy) in ["sp", "np"].into_iter().zip(below) {
        if let Some(policy) = policy {
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
    let acts = below.into_iter().flatten().chain([first]).any(|policy| policy > Policy::None);
    let acts_on_nothing = acts && values("pct").iter().any(|value| is_zero(value));
    if is_testing || acts_on_nothing {
        add("t", "y");
    }
    let percents = values("pct").into_iter().filter_map(|value| digits::<u8>(value.trim_end_matches('%')));
    if let Some(percent) = percents.min().filter(|percent| acts && (1..100).contains(percent)) {
        add("pct", &percent.to_string());
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

/// Returns the policy that a tag was meant to name, if it is plain: `p=reject.` means reject.
pub fn policy_meant(tag: &str) -> Option<Policy> {
    meant::policy(tag.split_once('=')?.1)
}

/// Returns the addresses for reports that a value of `rua=` or `ruf=` was meant to have, or `None` if nobody knows any.
pub fn reports_meant(value: &str) -> Option<String> {
    let uris: Vec<String> =
        value.split([',', ' ', '\t', '\r', '\n']).filter_map(report_uri).take(MOST_ADDRESSES).collect();
    (!uris.is_empty()).then(|| uris.join(","))
}

/// Returns the URI that a word in a list of addresses was meant to be: `a@b.dk`, `<mailto:a@b.dk>` and `mail:a@b.dk` are all
/// `mailto:a@b.dk`. A size limit is kept.
fn report_uri(word: &str) -> Option<String> {
    let word = escaped::without_links(word).replace('\\', "");
    let bare = word.trim_matches(['<', '>', '"', '\'', '(', ')', '[', ']', ';', '.', '\\']);
    let is_usable = |uri: &str| {
        destination(uri).is_some()
            && is_uris(uri)
            && uri.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\;()".contains(&b))
    };
    if is_usable(bare) {
        return Some(bare.to_owned());
    }
    let small = bare.to_ascii_lowercase();
    if small.contains("://") && !small.starts_with("mailto:") {
        return None;
    }
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
    // `mailto://a@b.dk` would be the mailbox `//a`.
    (scheme.eq_ignore_ascii_case("mailto") && !address.starts_with('/')).then(|| Mailbox::parse(address).ok())?
}

#[cfg(test)]
mod tests;
