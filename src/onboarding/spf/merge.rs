//! The record a customer should publish: what is there now, with webCRM's include before the final `all` where it is wanted.
//!
//! Nothing that passes today stops passing, and nothing new passes but us; except where the published record is so broken
//! that receivers reject it, and there each change is named.

use super::record::{Directive, Mechanism, Qualifier, Record};
use super::{is_spf, macros::MacroString};
use crate::smtp::Domain;

/// The record, and how it differs from what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The record to publish, as the only one.
    pub record: String,
    /// Whether it differs from the one published.
    pub changed: bool,
    /// What else changes besides the include.
    pub notes: Vec<Note>,
}

impl Merged {
    /// The published record as it is.
    pub fn unchanged(record: String) -> Self {
        Merged { record, changed: false, notes: Vec::new() }
    }
}

/// Why a part of the published record is not in the merged one, or something is that was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Several records became one.
    Joined(usize),
    /// A term that is not SPF was left out.
    Dropped(String),
    /// A term after `all` never counted and was left out.
    Dead(String),
    /// `+all` became `~all`.
    PlusAll,
    /// There was no `all`; `~all` was added.
    AddedAll,
    /// There was no record; these terms are a guess at the domain's own mail servers.
    Guessed(Vec<String>),
    /// `ptr` is kept, and should be replaced by addresses.
    Ptr,
    /// The record was no record for the quotation marks, backslashes or blanks around it.
    Unquoted,
}

/// Merges. `published` are the domain's TXT values that begin with `v=spf1`, in any order; `include` is what the record shall
/// have besides, if anything; `own` are terms for the domain's own mail servers, used only where nothing is published.
pub fn merge(published: &[String], include: Option<&Domain>, own: &[String]) -> Merged {
    let mut notes = Vec::new();
    let is_ours = |d: &Directive| matches!((&d.mechanism, include), (Mechanism::Include(name), Some(include)) if names(name, include));
    let mut published: Vec<&String> = published.iter().filter(|text| is_spf(text.as_bytes())).collect();
    published.sort();
    if published.len() > 1 {
        notes.push(Note::Joined(published.len()));
    }
    if published.is_empty() {
        let ours = include.map(|include| format!("include:{include}"));
        let terms: String = own.iter().chain(&ours).map(|term| format!("{term} ")).collect();
        if !own.is_empty() {
            notes.push(Note::Guessed(own.to_vec()));
        }
        return Merged { record: format!("v=spf1 {terms}~all"), changed: true, notes };
    }

    let mut directives: Vec<Directive> = Vec::new();
    let mut modifiers: Vec<String> = Vec::new();
    let mut all: Option<Qualifier> = None;
    let mut redirected = false;
    for text in &published {
        let (record, faults) = Record::parse_leniently(text);
        notes.extend(faults.into_iter().map(|fault| Note::Dropped(fault.term)));
        let ends_in_all = record.all().is_some();
        let end = record.all().unwrap_or(record.directives.len());
        if let Some(last) = record.directives.get(end) {
            // Of two records the milder one wins: nothing that passed may fail.
            all = Some(milder(all, last.qualifier));
        }
        for dead in record.directives.iter().skip(end + 1).filter(|dead| !is_ours(dead)) {
            notes.push(Note::Dead(dead.text.clone()));
        }
        for directive in record.directives.into_iter().take(end) {
            let same =
                |other: &Directive| other.mechanism == directive.mechanism && other.qualifier == directive.qualifier;
            if !directives.iter().any(same) {
                directives.push(directive);
            }
        }
        for modifier in record.modifiers {
            let is = |modifier: &str, name: &str| modifier.to_ascii_lowercase().starts_with(name);
            let is_redirect = is(&modifier, "redirect=");
            // Its own `all` makes it dead (RFC 7208 §6.1), not that of another record.
            if is_redirect && ends_in_all {
                notes.push(Note::Dead(modifier));
            } else if modifiers.iter().any(|known| known.eq_ignore_ascii_case(&modifier)) {
            } else if is(&modifier, "exp=") && modifiers.iter().any(|known| is(known, "exp=")) {
                // RFC 7208 §6: two of them, and the whole record is void.
                notes.push(Note::Dropped(modifier));
            } else {
                redirected |= is_redirect;
                modifiers.push(modifier);
            }
        }
    }
    if redirected && published.len() > 1 {
        // One record can redirect only where it does not end in `all`: the targets become includes.
        let (targets, rest): (Vec<_>, Vec<_>) =
            modifiers.into_iter().partition(|m| m.to_ascii_lowercase().starts_with("redirect="));
        modifiers = rest;
        redirected = false;
        for target in targets {
            let text = format!("include:{}", &target["redirect=".len()..]);
            let known = directives.iter().any(|directive| directive.text.eq_ignore_ascii_case(&text));
            let parsed = Record::parse(&format!("v=spf1 {text}")).ok().and_then(|mut record| record.directives.pop());
            directives.extend(parsed.filter(|_| !known));
        }
    }
    if directives.iter().any(|d| matches!(d.mechanism, Mechanism::Ptr(_))) {
        notes.push(Note::Ptr);
    }

    // Ours counts only as a pass, and only where nothing before it can catch us with another verdict.
    let first_catch = directives.iter().position(|d| d.qualifier != Qualifier::Pass).unwrap_or(directives.len());
    let in_place = directives
        .iter()
        .position(|d| is_ours(d) && d.qualifier == Qualifier::Pass)
        .is_some_and(|at| at <= first_catch);
    if in_place {
        // Once is enough: each costs a lookup.
        let mut seen = false;
        directives.retain(|d| !is_ours(d) || (d.qualifier == Qualifier::Pass && !std::mem::replace(&mut seen, true)));
    } else if let Some(include) = include {
        directives.retain(|d| !is_ours(d));
        let at = directives.iter().position(|d| d.qualifier != Qualifier::Pass).unwrap_or(directives.len());
        // The mechanism itself is not looked at again; the text is what gets published.
        let text = format!("include:{include}");
        directives.insert(at, Directive { qualifier: Qualifier::Pass, mechanism: Mechanism::All, text });
    }
    let end = match all {
        Some(Qualifier::Pass) => {
            notes.push(Note::PlusAll);
            Some("~all".to_owned())
        }
        Some(qualifier) => Some(format!("{}all", qualifier.as_char())),
        None if redirected => None,
        None => {
            notes.push(Note::AddedAll);
            Some("~all".to_owned())
        }
    };
    if let Some(text) = end {
        directives.push(Directive { qualifier: Qualifier::Neutral, mechanism: Mechanism::All, text });
    }
    let record = Record { directives, redirect: None, modifiers }.to_string();
    let changed = published.len() != 1 || normal(published[0]) != normal(&record);
    match changed {
        true => Merged { record, changed, notes },
        // Only spacing or case differ: leave the customer's own text alone.
        false => Merged { record: published[0].clone(), changed, notes },
    }
}

fn names(name: &MacroString, domain: &Domain) -> bool {
    name.literal().is_some_and(|text| text.trim_end_matches('.').eq_ignore_ascii_case(domain.as_str()))
}

fn milder(before: Option<Qualifier>, now: Qualifier) -> Qualifier {
    let rank = |q| match q {
        Qualifier::Fail => 0,
        Qualifier::SoftFail => 1,
        Qualifier::Neutral => 2,
        Qualifier::Pass => 3,
    };
    match before {
        Some(before) if rank(before) > rank(now) => before,
        _ => now,
    }
}

fn normal(text: &str) -> String {
    text.split(' ').filter(|term| !term.is_empty()).collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::onboarding::spf::walk::{Limits, Query, Verdict, walk};
    use crate::resolver::FixedZone;

    fn merged(published: &[&str]) -> Merged {
        let published: Vec<String> = published.iter().map(|t| (*t).to_owned()).collect();
        merge(&published, Some(&Domain::parse("spf.webcrm.com").unwrap()), &["mx".to_owned()])
    }

    #[test]
    fn records_that_repeat_each_other_become_one_that_can_be_evaluated() {
        for (published, expected) in [
            (
                ["v=spf1 redirect=_spf.x.dk", "v=spf1 redirect=_SPF.x.dk"],
                "v=spf1 include:_SPF.x.dk include:spf.webcrm.com ~all",
            ),
            (
                ["v=spf1 include:_spf.x.dk ~all", "v=spf1 redirect=_spf.x.dk"],
                "v=spf1 include:_spf.x.dk include:spf.webcrm.com ~all",
            ),
            (
                ["v=spf1 include:SPF.webcrm.com a ~all", "v=spf1 include:spf.webcrm.com ~all"],
                "v=spf1 include:SPF.webcrm.com a ~all",
            ),
            (
                ["v=spf1 a -all exp=e.x.dk", "v=spf1 a ~all exp=f.x.dk"],
                "v=spf1 a include:spf.webcrm.com ~all exp=e.x.dk",
            ),
        ] {
            let merged = merged(&published);
            assert_eq!(merged.record, expected);
            assert!(Record::parse(&merged.record).is_ok());
            assert_eq!(super::tests::merged(&[&merged.record]).record, merged.record);
        }
    }

    #[test]
    fn the_include_goes_before_the_final_all() {
        for (published, expected) in [
            ("v=spf1 mx -all", "v=spf1 mx include:spf.webcrm.com -all"),
            (
                "v=spf1 include:spf.protection.outlook.com -all",
                "v=spf1 include:spf.protection.outlook.com include:spf.webcrm.com -all",
            ),
            ("v=spf1 ip4:192.0.2.7 ~all", "v=spf1 ip4:192.0.2.7 include:spf.webcrm.com ~all"),
            ("v=spf1 -all", "v=spf1 include:spf.webcrm.com -all"),
            ("v=spf1 redirect=_spf.test.dk", "v=spf1 include:spf.webcrm.com redirect=_spf.test.dk"),
            ("v=spf1 a -ip4:40.0.0.0/8 mx ?all", "v=spf1 a include:spf.webcrm.com -ip4:40.0.0.0/8 mx ?all"),
            ("v=spf1 mx ALL exp=e.test.dk", "v=spf1 mx include:spf.webcrm.com ~all exp=e.test.dk"),
        ] {
            let merged = merged(&[published]);
            assert_eq!((merged.record.as_str(), merged.changed), (expected, true), "{published}");
        }
    }

    #[test]
    fn a_record_that_is_right_is_left_alone() {
        for published in [
            "v=spf1 include:spf.webcrm.com -all",
            "v=spf1  mx   include:SPF.webcrm.com -ALL",
            "v=spf1 include:spf.webcrm.com redirect=_spf.test.dk",
        ] {
            assert_eq!(merged(&[published]), Merged { record: published.to_owned(), changed: false, notes: vec![] });
        }
    }

    #[test]
    fn what_is_broken_is_mended_and_named() {
        let note = |t: &str| t.to_owned();
        for (published, record, notes) in [
            (
                vec!["v=spf1 ip4:111.222.333.444 -all"],
                "v=spf1 include:spf.webcrm.com -all",
                vec![Note::Dropped(note("ip4:111.222.333.444"))],
            ),
            (vec!["v=spf1 mx +all"], "v=spf1 mx include:spf.webcrm.com ~all", vec![Note::PlusAll]),
            (
                vec!["v=spf1 mx -all include:spf.webcrm.com a:x.dk"],
                "v=spf1 mx include:spf.webcrm.com -all",
                vec![Note::Dead(note("a:x.dk"))],
            ),
            (vec!["v=spf1 mx"], "v=spf1 mx include:spf.webcrm.com ~all", vec![Note::AddedAll]),
            (vec!["v=spf1 ptr -all"], "v=spf1 ptr include:spf.webcrm.com -all", vec![Note::Ptr]),
            (
                vec!["v=spf1 mx -all", "v=spf1 include:spf.webcrm.com ~all"],
                "v=spf1 include:spf.webcrm.com mx ~all",
                vec![Note::Joined(2)],
            ),
            (
                vec!["v=spf1 a redirect=x.dk", "v=spf1 mx -all"],
                "v=spf1 a mx include:x.dk include:spf.webcrm.com -all",
                vec![Note::Joined(2)],
            ),
            (
                vec!["v=spf1 a -all", "v=spf1 mx redirect=x.dk"],
                "v=spf1 a mx include:x.dk include:spf.webcrm.com -all",
                vec![Note::Joined(2)],
            ),
            (
                vec!["v=spf1 a -all redirect=x.dk"],
                "v=spf1 a include:spf.webcrm.com -all",
                vec![Note::Dead(note("redirect=x.dk"))],
            ),
            (vec![], "v=spf1 mx include:spf.webcrm.com ~all", vec![Note::Guessed(vec![note("mx")])]),
        ] {
            assert_eq!(merged(&published), Merged { record: record.to_owned(), changed: true, notes }, "{published:?}");
        }
    }

    proptest! {
        #[test]
        fn we_pass_afterwards_and_so_does_whoever_passed_before(
            terms in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "mx", "ip4:192.0.2.0/24", "-ip4:40.74.0.0/16", "include:other.dk", "~a:x.dk", "-include:spf.webcrm.com"]),
                0..5),
            end in prop::sample::select(vec!["-all", "~all", "?all", "", "redirect=other.dk"]),
            ip in prop::sample::select(vec!["192.0.2.1", "198.51.100.1", "203.0.113.5", "40.74.1.1"]),
        ) {
            let zone = FixedZone::parse(
                "other.dk TXT \"v=spf1 ip4:198.51.100.1 -all\"\nspf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"\n\
                 x.dk A 203.0.113.9\ntest.dk A 203.0.113.5\ntest.dk MX 1 x.dk").unwrap();
            let before = format!("v=spf1 {} {end}", terms.join(" "));
            let after = merged(&[&before]).record;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let verdict = |record: &str, ip: &str| {
                let query = Query { ip: ip.parse().unwrap(), domain: "test.dk", local: "x", helo: "x.dk", instead: Some(record) };
                runtime.block_on(walk(&zone, &query, Limits::receiver())).verdict
            };
            prop_assert_eq!(verdict(&after, "40.74.40.57"), Verdict::Pass, "{}", after);
            if verdict(&before, ip) == Verdict::Pass {
                prop_assert_eq!(verdict(&after, ip), Verdict::Pass, "{} became {}", before, after);
            }
            let again = merged(&[&after]);
            prop_assert!(!again.changed, "{} became {}", after, again.record);
        }
    }
}
