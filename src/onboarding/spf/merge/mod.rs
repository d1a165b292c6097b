//! Makes the record that a customer should publish: the present record as it was meant, with webCRM's include before the final `all` if it
//! is wanted.
//!
//! Every sender that passes today also passes afterwards. So does every sender that the published record clearly means but does not reach,
//! because its term cannot be read or comes after `all`. Each such change is reported. Unreadable terms are reported as well, and the
//! record then ends no stricter than `~all`, because such a term may have been a sender.

mod parts;

use self::parts::{Parts, is_redirect};
use super::is_spf;
use super::obstacle::Obstacle;
use super::record::{Directive, MOST_OCTETS, Mechanism, Qualifier, Record};
use super::repair::Repair;
use crate::smtp::Domain;

/// The merged record, and how it differs from the published one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The only record to publish.
    pub record: String,
    /// True if it differs from the one published.
    pub changed: bool,
    /// The changes besides the include.
    pub notes: Vec<Note>,
}

impl Merged {
    /// The published record as it is.
    pub fn unchanged(record: String) -> Self {
        Merged { record, changed: false, notes: Vec::new() }
    }
}

/// A change in the merged record other than the include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Several records became one.
    Joined(usize),
    /// A misspelt part was corrected. A part without meaning was left out.
    Repaired(Repair),
    /// Terms that nobody can read were left out.
    Unread(Vec<String>),
    /// The record ends milder than the published one, which ended with this.
    Softened(&'static str),
    /// A term after `all` never counted and was left out.
    Dead(String),
    /// A sender after `all` never counted. It is now before `all`.
    Moved(String),
    PlusAll,
    /// There was no `all`, so `~all` was added.
    AddedAll,
    /// There was no record, so these terms are a guess at the domain's own mail servers.
    Guessed(Vec<String>),
    /// `ptr` was kept, and should be replaced by addresses.
    Ptr,
    /// The published value was not a record. Its beginning was corrected.
    Begun,
}

/// Merges the domain's SPF records, or the TXT values that were meant to be one, in any order. `include` is added if it is given. `own` are
/// terms for the domain's own mail servers, which are only used if nothing is published. The error says why no record can be proposed,
/// because only the customer knows its intended content.
pub fn merge(published: &[String], include: Option<&Domain>, own: &[String]) -> Result<Merged, Obstacle> {
    if published.is_empty() {
        return Ok(first(include, own));
    }
    if let Some(octets) = published.iter().map(String::len).find(|octets| *octets > MOST_OCTETS) {
        return Err(Obstacle::TooLong { octets });
    }
    let mut published: Vec<&String> = published.iter().collect();
    published.sort();
    let mut parts = Parts::default();
    if published.len() > 1 {
        parts.notes.push(Note::Joined(published.len()));
    }
    published.iter().for_each(|text| parts.add(text, include));
    parts.redirects_become_includes();
    if parts.directives.iter().any(|d| matches!(d.mechanism, Mechanism::Ptr(_))) {
        parts.notes.push(Note::Ptr);
    }
    if let Some(include) = include {
        parts.include(include);
    }
    let Parts { mut directives, modifiers, mut notes, unread, .. } = parts;
    let has_redirect = modifiers.iter().any(|modifier| is_redirect(modifier));
    if !unread.is_empty() {
        notes.push(Note::Unread(unread.clone()));
    }
    let end = match (parts.all, unread.is_empty()) {
        // Everybody may send as the customer today. There is no milder end, and a stricter one might stop a sender.
        (Some(Qualifier::Pass), false) => return Err(Obstacle::Unread { terms: unread }),
        (Some(Qualifier::Pass), true) => {
            notes.push(Note::PlusAll);
            Some("~all".to_owned())
        }
        (Some(Qualifier::Fail), false) => {
            notes.push(Note::Softened("-all"));
            Some("~all".to_owned())
        }
        (Some(qualifier), _) => Some(format!("{}all", qualifier.as_char())),
        (None, _) if has_redirect => None,
        (None, true) => {
            notes.push(Note::AddedAll);
            Some("~all".to_owned())
        }
        // RFC 7208 §4.7: without `all` a record says nothing about other senders. Senders that are missing in it must not be worse off.
        (None, false) => Some("?all".to_owned()),
    };
    if let Some(text) = end {
        directives.push(Directive { qualifier: Qualifier::Neutral, mechanism: Mechanism::All, text });
    }
    let record = Record { directives, redirect: None, modifiers }.to_string();
    if record.len() > MOST_OCTETS {
        return Err(Obstacle::TooLong { octets: record.len() });
    }
    debug_assert!(Record::parse(&record).is_ok(), "{record}");
    let is_same = published.len() == 1 && is_spf(published[0].as_bytes()) && normal(published[0]) == normal(&record);
    Ok(match is_same {
        false => Merged { record, changed: true, notes },
        // Only spacing or case differ, so the customer's own text stays.
        true => Merged { record: published[0].clone(), changed: false, notes },
    })
}

/// Makes the record of a domain that has none yet.
fn first(include: Option<&Domain>, own: &[String]) -> Merged {
    let ours = include.map(|include| format!("include:{include}"));
    let terms: String = own.iter().chain(&ours).map(|term| format!("{term} ")).collect();
    let notes = if own.is_empty() { Vec::new() } else { vec![Note::Guessed(own.to_vec())] };
    Merged { record: format!("v=spf1 {terms}~all"), changed: true, notes }
}

fn normal(text: &str) -> String {
    text.split(' ').filter(|term| !term.is_empty()).collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::onboarding::spf::walk::{Limits, Query, SpfResult, walk};
    use crate::resolver::FixedZone;

    fn merged(published: &[&str]) -> Merged {
        let published: Vec<String> = published.iter().map(|t| (*t).to_owned()).collect();
        merge(&published, Some(&Domain::parse("spf.webcrm.com").unwrap()), &["mx".to_owned()]).unwrap()
    }

    /// Returns the reading of two strict parsers, ours and mail-auth's.
    fn sound(record: &str) -> Result<(), TestCaseError> {
        use mail_auth::common::parse::TxtRecordParser;
        prop_assert!(is_spf(record.as_bytes()), "{}", record);
        prop_assert!(Record::parse(record).is_ok(), "{}: {:?}", record, Record::parse(record));
        prop_assert!(mail_auth::spf::Spf::parse(record.as_bytes()).is_ok(), "{}", record);
        Ok(())
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
                "v=spf1 include:spf.webcrm.com ~all",
                vec![Note::Unread(vec![note("ip4:111.222.333.444")]), Note::Softened("-all")],
            ),
            (
                vec!["v=spf1 ip4:111.222.333.444 ?all"],
                "v=spf1 include:spf.webcrm.com ?all",
                vec![Note::Unread(vec![note("ip4:111.222.333.444")])],
            ),
            (
                vec!["v=spf1 a mail.x.dk"],
                "v=spf1 a include:spf.webcrm.com ?all",
                vec![Note::Unread(vec![note("mail.x.dk")])],
            ),
            (
                vec!["v=spf1 ip4: 203.0.113.7 -all"],
                "v=spf1 ip4:203.0.113.7 include:spf.webcrm.com -all",
                vec![Note::Repaired(Repair { written: note("ip4: 203.0.113.7"), meant: note("ip4:203.0.113.7") })],
            ),
            (vec!["\u{feff}v=spf1 mx -all"], "v=spf1 mx include:spf.webcrm.com -all", vec![Note::Begun]),
            (
                vec!["v=spf1 mx redirect=x.dk redirect=y.dk"],
                "v=spf1 mx include:x.dk include:y.dk include:spf.webcrm.com ~all",
                vec![Note::AddedAll],
            ),
            (vec!["v=spf1 mx +all"], "v=spf1 mx include:spf.webcrm.com ~all", vec![Note::PlusAll]),
            (
                vec!["v=spf1 mx -all include:spf.webcrm.com a:x.dk"],
                "v=spf1 mx a:x.dk include:spf.webcrm.com -all",
                vec![Note::Moved(note("a:x.dk"))],
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
                "v=spf1 a include:x.dk include:spf.webcrm.com -all",
                vec![Note::Repaired(Repair { written: note("redirect=x.dk"), meant: note("include:x.dk") })],
            ),
            (vec![], "v=spf1 mx include:spf.webcrm.com ~all", vec![Note::Guessed(vec![note("mx")])]),
        ] {
            assert_eq!(merged(&published), Merged { record: record.to_owned(), changed: true, notes }, "{published:?}");
        }
    }

    #[test]
    fn everybody_is_not_cut_off_for_what_cannot_be_read() {
        let published = ["v=spf1 ip4:oops mx +all".to_owned()];
        assert_eq!(merge(&published, None, &[]), Err(Obstacle::Unread { terms: vec!["ip4:oops".to_owned()] }));
        let long = format!("v=spf1 {}-all", "ip4:192.0.2.1 ".repeat(700));
        assert_eq!(merge(std::slice::from_ref(&long), None, &[]), Err(Obstacle::TooLong { octets: long.len() }));
    }

    /// Returns pieces that customers put into records, with the terms that they clearly mean; `None` if nobody can know.
    fn piece() -> impl Strategy<Value = (&'static str, Option<&'static str>)> {
        prop::sample::select(vec![
            ("mx", Some("mx")),
            ("a:mail.x.dk", Some("a:mail.x.dk")),
            ("ip4: 203.0.113.7", Some("ip4:203.0.113.7")),
            ("ipv4:203.0.113.8", Some("ip4:203.0.113.8")),
            ("203.0.113.0/24", Some("ip4:203.0.113.0/24")),
            ("mx:203.0.113.9", Some("ip4:203.0.113.9")),
            ("include=other.dk", Some("include:other.dk")),
            ("include:\u{a0}third.dk", Some("include:third.dk")),
            ("include:a.dkinclude:b.dk", Some("include:a.dk include:b.dk")),
            ("ip6:2001:db8::1,ip4:203.0.113.10", Some("ip6:2001:db8::1 ip4:203.0.113.10")),
            ("~include:soft.dk", Some("~include:soft.dk")),
            ("v=spf1", Some("")),
            ("ip4:203.0.113", None),
            ("mail.x.dk", None),
            ("include:localhost", None),
            ("søren", None),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(800))]
        #[test]
        fn no_sender_that_is_plainly_meant_is_forgotten(
            pieces in prop::collection::vec(piece(), 0..6),
            begin in prop::sample::select(vec!["v=spf1 ", "\u{feff}v=spf1 ", "v=spf1;", "\"v=spf1 ", "V = SPF1 "]),
            blank in prop::sample::select(vec![" ", "\u{a0}", ", ", "  ", "\t"]),
            end in prop::sample::select(vec!["-all", "~all", "?all", "+all", "–all", "", "-all mx:late.dk"]),
            include in any::<bool>(),
        ) {
            let written: Vec<&str> = pieces.iter().map(|(written, _)| *written).chain(Some(end).filter(|end| !end.is_empty())).collect();
            let text = format!("{begin}{}", written.join(blank));
            let include = include.then(|| Domain::parse("spf.webcrm.com").unwrap());
            let everything_read = pieces.iter().all(|(_, meant)| meant.is_some());
            match merge(std::slice::from_ref(&text), include.as_ref(), &[]) {
                Err(obstacle) => prop_assert!(end == "+all" && !everything_read, "{:?}: {:?}", text, obstacle),
                Ok(merged) => {
                    sound(&merged.record)?;
                    let terms: Vec<&str> = merged.record.split(' ').collect();
                    let meant = pieces.iter().filter_map(|(_, meant)| *meant).flat_map(|meant| meant.split(' ')).filter(|t| !t.is_empty());
                    for term in meant.chain(end.contains("late").then_some("mx:late.dk")) {
                        prop_assert!(terms.contains(&term), "{:?} became {}: {}", text, merged.record, term);
                    }
                    prop_assert_eq!(include.is_some(), terms.contains(&"include:spf.webcrm.com"));
                    let strictness = |end: &str| ["+all", "?all", "~all", "-all"].iter().position(|all| *all == end);
                    let before = if end.contains("–") || end.starts_with("-all") { "-all" } else { end };
                    let after = terms.iter().find(|term| term.ends_with("all")).expect("an all");
                    if !everything_read {
                        let before = if before.is_empty() { "?all" } else { before };
                        prop_assert!(strictness(after) <= strictness(before).min(strictness("~all")), "{:?} became {}", text, merged.record);
                        prop_assert!(merged.notes.iter().any(|note| matches!(note, Note::Unread(_))));
                    } else if before != "+all" && !before.is_empty() {
                        prop_assert_eq!(*after, before, "{:?} became {}", text, merged.record);
                    }
                }
            }
        }

        #[test]
        fn whatever_stands_there_what_is_proposed_works(texts in prop::collection::vec("(v=spf1 )?[ -~\u{a0}ø]{0,60}", 1..3), include in any::<bool>()) {
            let include = include.then(|| Domain::parse("spf.webcrm.com").unwrap());
            if let Ok(merged) = merge(&texts, include.as_ref(), &["mx".to_owned()]) {
                sound(&merged.record)?;
                let again = merge(std::slice::from_ref(&merged.record), include.as_ref(), &[]).expect("all of it is read");
                prop_assert!(!again.changed, "{:?} became {}, and then {}", texts, merged.record, again.record);
            }
        }

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
            let result = |record: &str, ip: &str| {
                let query = Query { ip: ip.parse().unwrap(), domain: "test.dk", local: "x", helo: "x.dk", instead: Some(record) };
                runtime.block_on(walk(&zone, &query, Limits::receiver())).result
            };
            prop_assert_eq!(result(&after, "40.74.40.57"), SpfResult::Pass, "{}", after);
            if result(&before, ip) == SpfResult::Pass {
                prop_assert_eq!(result(&after, ip), SpfResult::Pass, "{} became {}", before, after);
            }
            let again = merged(&[&after]);
            prop_assert!(!again.changed, "{} became {}", after, again.record);
        }
    }

    #[test]
    fn a_proposal_costs_in_proportion_to_what_is_published() {
        let include = Domain::parse("spf.webcrm.com").unwrap();
        crate::test_cost::is_linear(
            crate::test_cost::SHORT,
            |published: &Vec<String>| drop(merge(published, Some(&include), &[])),
            &[
                ("different terms", |size| {
                    vec![format!(
                        "v=spf1 {}-all",
                        (0..size / 16).map(|at| format!("ip4:10.{}.{}.1 ", at / 250, at % 250)).collect::<String>()
                    )]
                }),
                ("the same term", |size| vec![format!("v=spf1 {}-all", "mx ".repeat(size / 3))]),
                ("redirects", |size| {
                    vec![format!(
                        "v=spf1 {}",
                        (0..size / 19).map(|at| format!("redirect=a{at:04}.dk ")).collect::<String>()
                    )]
                }),
                ("modifiers", |size| {
                    vec![format!("v=spf1 {}", (0..size / 8).map(|at| format!("x{at:05}= ")).collect::<String>())]
                }),
                ("behind all", |size| {
                    vec![format!(
                        "v=spf1 -all {}",
                        (0..size / 11).map(|at| format!("a:a{at:04}.dk ")).collect::<String>()
                    )]
                }),
                ("ours", |size| vec![format!("v=spf1 {}-all", "?include:spf.webcrm.com ".repeat(size / 24))]),
                ("records", |size| vec!["v=spf1 mx ~all".to_owned(); size / 14]),
                ("what cannot be read", |size| vec![format!("v=spf1 {}-all", "ip4:1.2 ".repeat(size / 8))]),
            ],
        );
    }
}
