//! Proposes the SPF record to publish. It uses the findings of the check of the published record, so that both tell the customer the same.

use std::net::IpAddr;

use super::merge::{Merged, merge};
use super::obstacle::Obstacle;
use super::walk::{Limits, MOST_LOOKUPS, Problem, Query, SpfResult, Walk, walk};
use crate::customers::Via;
use crate::onboarding::Settings;
use crate::onboarding::finding::{Check, Finding, Provider, Severity};
use crate::resolver::Resolver;
use crate::smtp::Domain;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The record, and how it differs from the published one.
    pub merged: Merged,
    /// Why receivers could not use it. If the record stays as it is, only the obstacles that the customer can remove.
    pub obstacles: Vec<Obstacle>,
}

/// Returns the record to publish. It is based on the records that `check` found, or else on `meant`: values that were meant to be the
/// record. A record that works stays as it is. Returns `None` if DNS did not answer.
///
/// If mail is sent through the customer's own server, receivers see that server's address. Our include would be useless there, and would
/// let Mailjet send as the customer. So a record is proposed only if the present one is missing or broken.
pub async fn proposal(
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    via: &Via,
    check: &Check,
    meant: &[String],
) -> Option<Proposal> {
    let published = &check.found;
    let own_server = matches!(via, Via::OwnServer(_));
    let says = |what: fn(&Finding) -> bool| check.findings.iter().any(what);
    let works = match check.severity() {
        // An unanswered part may let us send, or need more lookups than receivers make.
        Severity::Unknown => return None,
        Severity::Warning => own_server && !says(|finding| matches!(finding, Finding::SpfNoEffect { .. })),
        severity => severity <= Severity::Hint,
    };
    if works {
        let merged = Merged::unchanged(published.first()?.clone());
        return Some(Proposal { merged, obstacles: Vec::new() });
    }
    let texts = if published.is_empty() { meant } else { published.as_slice() };
    let own = match texts.is_empty() {
        true => own_servers(resolver, domain, via, check).await?,
        false => Vec::new(),
    };
    // If our include is already reached, possibly through a redirect or another include, a second one would only cost lookups.
    let is_reached = says(|finding| matches!(finding, Finding::SpfPasses { .. }));
    let include = (!is_reached && !own_server).then_some(&settings.spf_include);
    let merged = match merge(texts, include, &own) {
        Ok(merged) => merged,
        Err(obstacle) => {
            let merged = Merged::unchanged(texts.first().cloned().unwrap_or_default());
            return Some(Proposal { merged, obstacles: vec![obstacle] });
        }
    };
    // If the record stays as it is, the check has reported whether it stops our mail.
    let mut obstacles = match merged.changed || check.severity() == Severity::Fault {
        true => obstacles(resolver, settings, domain, &merged.record).await,
        false => Vec::new(),
    };
    // If there is nothing to publish, nothing must come first. The check has reported whether our own record is broken.
    obstacles.retain(|obstacle| merged.changed || !matches!(obstacle, Obstacle::Ours { .. }));
    Some(Proposal { merged, obstacles })
}

/// Finds the obstacles that would keep a record from working if it were published.
async fn obstacles(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, record: &str) -> Vec<Obstacle> {
    let query = Query { instead: Some(record), ..Query::of_domain(settings.egress, domain.as_str()) };
    let received = walk(resolver, &query, Limits::receiver()).await;
    let survey = walk(resolver, &query, Limits::survey()).await;
    let mut found = Vec::new();
    let include = settings.spf_include.to_string();
    let mut others: Vec<Problem> = Vec::new();
    if survey.visited.contains(&include) {
        let (ours, result) = our_own(resolver, settings).await;
        others = ours.problems;
        if !matches!(result, SpfResult::Pass | SpfResult::TempError) {
            found.push(Obstacle::Ours { include });
        }
    }
    for problem in survey.problems.iter().filter(|problem| !others.contains(problem)) {
        if let Some((domain, fault)) = problem.of_included() {
            found.push(Obstacle::Included { domain: domain.to_owned(), fault });
        }
    }
    for problem in &received.problems {
        match problem {
            Problem::TooManyExchanges { domain } => found.push(Obstacle::Exchanges { domain: domain.clone() }),
            Problem::TooManyVoidLookups => found.push(Obstacle::Voids { count: survey.void_lookups }),
            _ => {}
        }
    }
    // The count means nothing in a loop.
    let loops = survey.problems.iter().any(|problem| matches!(problem, Problem::Loop { .. }));
    if survey.lookups > MOST_LOOKUPS && !loops {
        found.push(Obstacle::Lookups { count: survey.lookups });
    }
    found
}

/// Walks the record that customers include, separately and to its end. Also returns the result for our address.
pub(super) async fn our_own(resolver: &dyn Resolver, settings: &Settings) -> (Walk, SpfResult) {
    let query = Query::of_domain(settings.egress, settings.spf_include.as_str());
    let result = walk(resolver, &query, Limits::receiver()).await.result;
    (walk(resolver, &query, Limits::survey()).await, result)
}

/// Guesses the senders of a domain without a record. Returns `None` if it is unknown whether it has one.
async fn own_servers(resolver: &dyn Resolver, domain: &Domain, via: &Via, check: &Check) -> Option<Vec<String>> {
    if !check.findings.iter().any(|finding| matches!(finding, Finding::SpfMissing { .. })) {
        return None;
    }
    let exchanges = resolver.mx(domain.as_str()).await.ok()?;
    let mut own: Vec<String> = Vec::new();
    if exchanges.iter().any(|(_, host)| !host.is_empty()) {
        own.extend(Provider::of(&exchanges).spf_terms().iter().map(|term| (*term).to_owned()));
    }
    if let Via::OwnServer(route) = via {
        own.push(match route.host.parse() {
            Ok(IpAddr::V4(ip)) => format!("ip4:{ip}"),
            Ok(IpAddr::V6(ip)) => format!("ip6:{ip}"),
            Err(_) => format!("a:{}", route.host),
        });
    }
    Some(own)
}

#[cfg(test)]
mod tests {
    use super::super::check::check;
    use super::super::merge::Note;
    use super::*;
    use crate::onboarding::Need;
    use crate::resolver::FixedZone;
    use crate::test_customers;

    const OURS: &str = "spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 include:spf.mailjet.com -all\"\n\
                        spf.mailjet.com TXT \"v=spf1 ip4:87.253.232.0/21 -all\"\n";

    fn run(zone: &str, via: &Via) -> (Check, Option<Proposal>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(&format!("{OURS}{zone}")).unwrap();
        let (settings, domain) = (Settings::default(), Domain::parse("test.dk").unwrap());
        runtime.block_on(check(&zone, &settings, &domain, via, Need::Required))
    }

    fn mailjet(zone: &str) -> (Check, Proposal) {
        let (check, proposal) = run(zone, &test_customers::mailjet());
        (check, proposal.expect("DNS answers"))
    }

    #[test]
    fn a_record_that_reaches_our_include_by_another_one_is_left_as_it_is() {
        for (record, other) in [
            ("v=spf1 redirect=_spf.test.dk", "v=spf1 include:spf.webcrm.com -all"),
            ("v=spf1 mx include:_spf.test.dk -all", "v=spf1 include:spf.webcrm.com ~all"),
        ] {
            let zone = format!(
                "test.dk TXT \"{record}\"\n_spf.test.dk TXT \"{other}\"\ntest.dk MX 1 m.test.dk\nm.test.dk A 192.0.2.9"
            );
            let (check, proposal) = mailjet(&zone);
            assert_eq!(check.severity(), Severity::Good, "{:?}", check.findings);
            assert_eq!(proposal.merged, Merged::unchanged(record.to_owned()));
        }
        let zone = "test.dk TXT \"v=spf1 include:_spf.test.dk -all a\"\n_spf.test.dk TXT \"v=spf1 include:spf.webcrm.com ~all\"";
        let (check, proposal) = mailjet(zone);
        assert_eq!(check.severity(), Severity::Warning, "{:?}", check.findings);
        assert_eq!(proposal.merged.record, "v=spf1 include:_spf.test.dk a -all", "only what is to be mended");
        assert_eq!(check.expected, ["test.dk TXT \"v=spf1 include:_spf.test.dk a -all\""]);
    }

    #[test]
    fn an_own_servers_record_is_proposed_without_us_and_only_where_it_does_not_work() {
        let via = Via::OwnServer(test_customers::route("own-server.test", "mail.test.dk").into());
        for (zone, severity, proposed) in [
            ("", Severity::Fault, Some("v=spf1 a:mail.test.dk ~all")),
            ("test.dk TXT \"v=spf1 ip4:1.2.3 a -all\"", Severity::Fault, Some("v=spf1 a ~all")),
            ("test.dk TXT \"v=spf1 ip4: 192.0.2.7 a -all\"", Severity::Fault, Some("v=spf1 ip4:192.0.2.7 a -all")),
            (
                "test.dk TXT \"v=spf1 a ip4=192.0.2.7 -all\"\ntest.dk A 192.0.2.9",
                Severity::Warning,
                Some("v=spf1 a ip4:192.0.2.7 -all"),
            ),
            ("test.dk TXT \"v=spf1 a ptr -all\"\ntest.dk A 192.0.2.9", Severity::Warning, None),
            ("test.dk TXT \"v=spf1 a -all\"\ntest.dk A 192.0.2.9", Severity::Hint, None),
        ] {
            let (check, proposal) = run(zone, &via);
            assert_eq!(check.severity(), severity, "{zone}: {:?}", check.findings);
            let merged = proposal.expect("DNS answers").merged;
            assert_eq!(merged.changed.then_some(merged.record.as_str()), proposed, "{zone}");
            assert_eq!(check.expected.is_empty(), proposed.is_none(), "{zone}: {:?}", check.expected);
        }
    }

    #[test]
    fn what_would_keep_the_record_from_working_is_said_with_it() {
        // Nine lookups today; ours and Mailjet's make eleven.
        let nine: String = (1..=9).map(|i| format!(" a:a{i}.dk")).collect();
        let addresses: String = (1..=9).map(|i| format!("a{i}.dk A 192.0.2.{i}\n")).collect();
        let included = |domain: &str, fault| Obstacle::Included { domain: domain.to_owned(), fault };
        for (zone, obstacle) in [
            (format!("test.dk TXT \"v=spf1{nine} -all\"\n{addresses}"), Obstacle::Lookups { count: 11 }),
            ("test.dk TXT \"v=spf1 include:gone.dk -all\"".to_owned(), included("gone.dk", "none")),
            (
                "test.dk TXT \"v=spf1 include:x.dk -all\"\ntest.dk TXT \"v=spf1 a -all\"\nx.dk TXT \"v=spf1 ip4:1.2 -all\""
                    .to_owned(),
                included("x.dk", "syntax"),
            ),
            (
                "test.dk TXT \"v=spf1 a:x1.dk a:x2.dk a:x3.dk -all\"".to_owned(),
                Obstacle::Voids { count: 3 },
            ),
        ] {
            let (check, proposal) = mailjet(&zone);
            assert!(proposal.merged.changed);
            assert!(proposal.obstacles.contains(&obstacle), "{zone}: {:?}", proposal.obstacles);
            assert!(check.findings.contains(&Finding::SpfProposalFails { obstacle }), "{zone}: {:?}", check.findings);
        }
        let (check, proposal) = mailjet("test.dk TXT \"v=spf1 a -all\"\ntest.dk A 192.0.2.9");
        assert_eq!((proposal.merged.notes, proposal.obstacles), (vec![], vec![]));
        assert!(!check.findings.iter().any(|f| matches!(f, Finding::SpfProposalFails { .. })), "{:?}", check.findings);
    }

    #[test]
    fn an_include_of_ours_that_does_not_work_is_not_asked_for_without_a_word() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse("test.dk TXT \"v=spf1 a -all\"\ntest.dk A 192.0.2.9").unwrap();
        let domain = Domain::parse("test.dk").unwrap();
        let found =
            runtime.block_on(obstacles(&zone, &Settings::default(), &domain, "v=spf1 a include:spf.webcrm.com -all"));
        assert_eq!(found, [Obstacle::Ours { include: "spf.webcrm.com".to_owned() }]);
    }

    #[test]
    fn a_record_in_quotation_marks_keeps_the_customers_senders() {
        let run = |texts: &[&str]| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let zone =
                FixedZone::parse(&format!("{OURS}test.dk MX 1 m.dk\nm.dk A 192.0.2.9\na.dk TXT \"v=spf1 -all\""))
                    .unwrap();
            texts.iter().for_each(|text| zone.add_txt("test.dk", text));
            let (settings, domain) = (Settings::default(), Domain::parse("test.dk").unwrap());
            let via = test_customers::mailjet();
            runtime.block_on(check(&zone, &settings, &domain, &via, Need::Required)).1.unwrap().merged
        };
        for text in [
            "\"v=spf1 include:a.dk -all\"",
            "\\\"v=spf1 include:a.dk -all\\\" ",
            " v=spf1 include:a.dk -all",
            "“v=spf1 include:a.dk -all”",
        ] {
            let record = "v=spf1 include:a.dk include:spf.webcrm.com -all".to_owned();
            let merged = run(&[text]);
            assert_eq!((merged.record, merged.changed), (record, true), "{text}");
            assert_eq!(merged.notes.first(), Some(&Note::Begun), "{text}");
        }
        let whole = run(&["\"v=spf1 include:spf.webcrm.com -all\""]);
        assert!(whole.changed && whole.record == "v=spf1 include:spf.webcrm.com -all", "{whole:?}");
        for (texts, record) in [
            (&["\"v=spf1 -all\"", "\"v=spf1 a -all\""][..], "v=spf1 a include:spf.webcrm.com -all"),
            (&["\"v=spf1 a\" \"-all\""], "v=spf1 a include:spf.webcrm.com -all"),
            (&["v=spf10 a -all"], "v=spf1 a include:spf.webcrm.com -all"),
        ] {
            assert_eq!(run(texts).record, record, "{texts:?}");
        }
    }

    #[test]
    fn a_record_at_the_zones_name_twice_is_named_and_kept() {
        let (check, proposal) = mailjet("test.dk.test.dk TXT \"v=spf1 include:a.dk -all\"\na.dk TXT \"v=spf1 -all\"");
        let wrong = Finding::WrongHost { found_at: "test.dk.test.dk".into(), right_host: "test.dk".into(), zone: None };
        assert!(check.findings.contains(&wrong), "{:?}", check.findings);
        assert_eq!(proposal.merged.record, "v=spf1 include:a.dk include:spf.webcrm.com -all");
    }

    #[test]
    fn each_repair_is_named_and_what_cannot_be_read_is_asked_for() {
        let (check, proposal) = mailjet("test.dk TXT \"v=spf1 ip4: 203.0.113.7 ip4:203.0.113 -all\"");
        assert_eq!(proposal.merged.record, "v=spf1 ip4:203.0.113.7 include:spf.webcrm.com ~all");
        for said in [
            Finding::SpfMeant { written: "ip4: 203.0.113.7".into(), meant: "ip4:203.0.113.7".into() },
            Finding::SpfUnread { terms: vec!["ip4:203.0.113".into()] },
        ] {
            assert!(check.findings.contains(&said), "{said:?}: {:?}", check.findings);
        }
        let (check, proposal) = mailjet("test.dk TXT \"v=spf1 ip4:203.0.113 +all\"");
        assert!(!proposal.merged.changed && check.expected.is_empty(), "{proposal:?}");
        assert_eq!(proposal.obstacles, [Obstacle::Unread { terms: vec!["ip4:203.0.113".into()] }]);
        assert!(check.findings.contains(&Finding::SpfUnread { terms: vec!["ip4:203.0.113".into()] }));
    }

    #[test]
    fn nothing_is_proposed_while_a_part_of_the_record_is_not_known() {
        for record in ["v=spf1 redirect=_spf.test.dk", "v=spf1 ip4:40.74.40.57 include:_spf.test.dk -all"] {
            let zone = format!("test.dk TXT \"{record}\"\n_spf.test.dk FAIL");
            let (check, proposal) = run(&zone, &test_customers::mailjet());
            assert_eq!(check.severity(), Severity::Unknown, "{record}: {:?}", check.findings);
            assert_eq!((check.expected, proposal), (Vec::new(), None), "{record}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_nobody_knows_that_there_is_no_record() {
        assert_eq!(run("test.dk FAIL", &test_customers::mailjet()).1, None);
    }
}
