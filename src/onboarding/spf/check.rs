//! Checks SPF for a customer: converts the two walks into findings, and proposes the record to publish.

use super::merge::{Merged, Note};
use super::obstacle::Obstacle;
use super::proposal::{Proposal, our_own, proposal};
use super::record::{MOST_OCTETS, Record};
use super::remarks::{Seen, remarks};
use super::repair::{self, Repair};
use super::walk::{Limits, Problem, Query, SpfResult, Walk, walk};
use super::{is_spf, looks_like_spf};
use crate::customers::Via;
use crate::onboarding::Settings;
use crate::onboarding::finding::{Check, Finding, Item, Need};
use crate::onboarding::misplaced::{doubled, wrong_host};
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::smtp::Domain;

/// Checks the domain's SPF, and also returns the record to publish (see [`proposal`]). If mail is sent through the customer's own server,
/// other receivers see that server's address and never ours, so our include is only useful for internal mail.
pub async fn check(
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    via: &Via,
    need: Need,
) -> (Check, Option<Proposal>) {
    let mut check = look(resolver, settings, domain, matches!(via, Via::OwnServer(_)), need).await;
    let meant = if check.found.is_empty() { meant(&mut check, resolver, domain).await } else { Vec::new() };
    let proposal = proposal(resolver, settings, domain, via, &check, &meant).await;
    if let Some(Proposal { merged, obstacles }) = &proposal {
        say_changes(&mut check, domain, merged, obstacles);
    }
    (check, proposal)
}

/// Reports the record to publish, and how it differs from the published one.
fn say_changes(check: &mut Check, domain: &Domain, merged: &Merged, obstacles: &[Obstacle]) {
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Unread { terms } => check.say(Finding::SpfUnread { terms: terms.clone() }),
            obstacle if merged.changed => check.say(Finding::SpfProposalFails { obstacle: obstacle.clone() }),
            _ => {}
        }
    }
    if !merged.changed {
        return;
    }
    check.expected.push(format!("{domain} TXT \"{}\"", merged.record));
    for note in &merged.notes {
        match note {
            Note::Repaired(Repair { written, meant }) => {
                check.say(Finding::SpfMeant { written: written.clone(), meant: meant.clone() });
            }
            Note::Unread(terms) => check.say(Finding::SpfUnread { terms: terms.clone() }),
            _ => {}
        }
    }
}

/// Finds values that were meant to be the record of a domain without one: values with a mistake, and records at a host with the zone's name
/// twice. Reports each of them.
async fn meant(check: &mut Check, resolver: &dyn Resolver, domain: &Domain) -> Vec<String> {
    let near = check.findings.iter().filter_map(|finding| match finding {
        Finding::SpfNearMiss { text } => Some(text.clone()),
        _ => None,
    });
    let near: Vec<String> = near.collect();
    let is_missing = check.findings.iter().any(|finding| matches!(finding, Finding::SpfMissing { .. }));
    if !near.is_empty() || !is_missing {
        return near;
    }
    let mut found = Vec::new();
    for wrong in doubled(resolver, domain.as_str(), domain).await {
        let texts = resolver.txt(&wrong).await.unwrap_or_default();
        let texts: Vec<Vec<u8>> = texts.iter().map(|strings| joined(strings)).collect();
        let there = texts.iter().filter(|text| is_spf(text) || looks_like_spf(text));
        let there: Vec<String> = there.map(|text| plain::text(text)).collect();
        if !there.is_empty() {
            check.say(wrong_host(resolver, wrong, domain.as_str()).await);
        }
        found.extend(there);
    }
    found
}

async fn look(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, own_server: bool, need: Need) -> Check {
    let mut check = Check::new(Item::Spf, need);
    check.found = published(resolver, domain).await.unwrap_or_default();
    let query = Query::of_domain(settings.egress, domain.as_str());
    let received = walk(resolver, &query, Limits::receiver()).await;
    check.steps = steps(&received);
    if let Some(reason) = unanswered(&received) {
        check.say(Finding::Unanswered { reason });
        return check;
    }
    let survey = walk(resolver, &query, Limits::survey()).await;
    // Terms after our include only matter to other senders. A customer's own server is one of them.
    let passes_before = received.result == SpfResult::Pass && !own_server;
    let included = survey.visited.iter().any(|name| name == settings.spf_include.as_str());
    let ours = match received.result {
        SpfResult::None => None,
        _ if own_server => None,
        SpfResult::Pass if included => None,
        _ => Some(our_own(resolver, settings).await),
    };
    let (broken, to_come) = match &ours {
        Some((walk, result)) if included => {
            (Some(walk).filter(|_| !matches!(result, SpfResult::Pass | SpfResult::TempError)), 0)
        }
        // The include itself costs a lookup, too.
        Some((walk, _)) => (None, walk.lookups + 1),
        None => (None, 0),
    };
    let others = broken.map(|walk| walk.problems.as_slice()).unwrap_or_default();
    remarks(&mut check, domain, &Seen { received: &received, survey: &survey, passes_before, others, to_come });

    if own_server {
        about_own_server(&mut check, settings, &received, &survey);
    } else {
        about_relay(&mut check, settings, &received, &survey, broken.is_some());
    }
    check
}

/// Reports what receivers think of mail from the customer's own server, which the record must allow, and of mail from the relay.
fn about_own_server(check: &mut Check, settings: &Settings, received: &Walk, survey: &Walk) {
    let ip = settings.egress.to_string();
    match received.result {
        SpfResult::Pass => check.say(Finding::SpfPasses { ip, lookups: received.lookups }),
        SpfResult::None | SpfResult::PermError | SpfResult::TempError => {}
        _ => {
            check.say(Finding::SpfUsable { lookups: survey.lookups });
            check.say(Finding::SpfWithoutUs { ip });
        }
    }
}

/// Reports what receivers think of mail from the relay, and why. `is_ours_broken`: the record that customers include is itself faulty.
fn about_relay(check: &mut Check, settings: &Settings, received: &Walk, survey: &Walk, is_ours_broken: bool) {
    let (ip, include) = (settings.egress.to_string(), settings.spf_include.to_string());
    let included = survey.visited.contains(&include);
    match (received.result, included) {
        (SpfResult::Pass, true) => check.say(Finding::SpfPasses { ip, lookups: received.lookups }),
        (SpfResult::Pass, false) => check.say(match unanswered(survey) {
            // If a part of the record is not answered, nobody knows what it includes.
            Some(reason) => Finding::Unanswered { reason },
            None => Finding::SpfAddressOnly { ip, include },
        }),
        (SpfResult::None, _) => {}
        // This is not the customer's mistake, and the customer cannot correct it.
        _ if is_ours_broken => check.say(Finding::SpfOursBroken { include, ip }),
        (result, _) => {
            match (shadow(received, survey, &include), included) {
                (Some(by), _) => check.say(Finding::SpfIncludeShadowed { include, by }),
                // The check has already reported that the include cannot be read, or is in several records.
                (None, false) if check.found.iter().any(|text| means(text, &include)) => {}
                (None, false) => check.say(Finding::SpfIncludeMissing { include }),
                (None, true) => {}
            }
            check.say(Finding::SpfDoesNotPass { ip, verdict: result.as_str() });
        }
    }
}

/// Returns the domain's SPF records as published, sorted. Returns `None` if DNS did not answer.
async fn published(resolver: &dyn Resolver, domain: &Domain) -> Option<Vec<String>> {
    let texts = resolver.txt(domain.as_str()).await.ok()?;
    let mut records: Vec<String> = texts
        .iter()
        .map(|strings| joined(strings))
        .filter(|text| is_spf(text))
        .map(|text| plain::text(&text))
        .collect();
    records.sort();
    Some(records)
}

/// Returns true if a record includes a name, as far as it can be read.
fn means(text: &str, include: &str) -> bool {
    let ours = format!("include:{include}");
    let is_ours = |term: &String| term.trim_start_matches('+').trim_end_matches('.').eq_ignore_ascii_case(&ours);
    text.len() <= MOST_OCTETS && repair::read(text).terms.iter().any(is_ours)
}

/// Writes the walk as lines, indented by depth. The term that matched is marked, and the result with its counts comes last.
fn steps(walk: &Walk) -> Vec<String> {
    let mark = |matched| if matched { "  <- match" } else { "" };
    let line = |step: &super::walk::Step| {
        format!("{:indent$}{}: {}{}", "", step.domain, step.term, mark(step.matched), indent = 2 * step.depth)
    };
    let mut lines: Vec<String> = walk.steps.iter().map(line).collect();
    lines.push(format!("{} ({} lookups, {} void)", walk.result.as_str(), walk.lookups, walk.void_lookups));
    lines
}

/// Returns why DNS gave no answer to a question of the walk, if one was not answered.
fn unanswered(walk: &Walk) -> Option<resolver::Error> {
    walk.problems.iter().find_map(|problem| match problem {
        Problem::Unanswered(reason) => Some(reason.clone()),
        _ => None,
    })
}

/// Returns the term that prevents receivers from reaching our include: one that matched us before it, or the `all` before it.
fn shadow(received: &Walk, survey: &Walk, include: &str) -> Option<String> {
    let ours = format!("include:{include}");
    let is_ours = |term: &String| term.trim_start_matches('+').eq_ignore_ascii_case(&ours);
    let record = Record::parse_leniently(received.record.as_deref()?).0;
    let at = record.directives.iter().position(|directive| is_ours(&directive.text))?;
    if let Some(all) = record.all().filter(|all| *all < at) {
        return Some(record.directives[all].text.clone());
    }
    let matched = received.steps.iter().find(|step| step.depth == 0 && step.matched)?;
    let before = record.directives[..at].iter().any(|directive| directive.text == matched.term);
    (before && survey.visited.contains(&include.to_owned())).then(|| matched.term.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Severity;
    use crate::resolver::FixedZone;

    const OURS: &str = "spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 include:spf.mailjet.com -all\"\n\
                        spf.mailjet.com TXT \"v=spf1 ip4:87.253.232.0/21 -all\"\n";

    fn run(zone: &str, own_server: bool) -> Check {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(&format!("{OURS}{zone}")).unwrap();
        let domain = Domain::parse("test.dk").unwrap();
        runtime.block_on(look(&zone, &Settings::default(), &domain, own_server, Need::Required))
    }

    fn record(record: &str) -> Check {
        run(&format!("test.dk TXT \"{record}\""), false)
    }

    #[test]
    fn what_is_missing_comes_with_the_record_to_publish() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(&format!("{OURS}test.dk TXT \"v=spf1 mx -all\"")).unwrap();
        let domain = Domain::parse("test.dk").unwrap();
        let via = Via::Mailjet { tier: None };
        let (check, _) = runtime.block_on(check(&zone, &Settings::default(), &domain, &via, Need::Required));
        assert_eq!(check.expected, ["test.dk TXT \"v=spf1 mx include:spf.webcrm.com -all\""]);
    }

    #[test]
    fn the_steps_show_what_matched() {
        let check = record("v=spf1 ip4:192.0.2.1 include:spf.webcrm.com -all");
        assert_eq!(
            check.steps,
            [
                "test.dk: ip4:192.0.2.1",
                "test.dk: include:spf.webcrm.com  <- match",
                "  spf.webcrm.com: ip4:40.74.40.57  <- match",
                "pass (1 lookups, 0 void)",
            ]
        );
    }

    #[test]
    fn the_include_alone_verifies() {
        let check = record("v=spf1 include:spf.webcrm.com -all");
        assert_eq!(check.findings, [Finding::SpfPasses { ip: "40.74.40.57".into(), lookups: 1 }]);
    }

    #[test]
    fn what_keeps_the_include_from_counting_is_named() {
        let (ip, include) = ("40.74.40.57".to_owned(), "spf.webcrm.com".to_owned());
        let shadowed = |by: &str| Finding::SpfIncludeShadowed { include: include.clone(), by: by.into() };
        for (text, finding) in [
            ("v=spf1 mx -all include:spf.webcrm.com", shadowed("-all")),
            ("v=spf1 -ip4:40.74.0.0/16 include:spf.webcrm.com -all", shadowed("-ip4:40.74.0.0/16")),
            ("v=spf1 mx -all", Finding::SpfIncludeMissing { include: include.clone() }),
            ("v=spf1 ip4:40.74.40.57 -all", Finding::SpfAddressOnly { ip: ip.clone(), include: include.clone() }),
            ("v=spf1 ?include:spf.webcrm.com -all", Finding::SpfDoesNotPass { ip: ip.clone(), verdict: "neutral" }),
        ] {
            let check = record(text);
            assert!(check.findings.contains(&finding), "{text}: {:?}", check.findings);
            assert_eq!(check.severity(), Severity::Fault, "{text}");
        }
    }

    #[test]
    fn an_address_before_the_include_does_no_harm() {
        assert!(record("v=spf1 ip4:40.74.40.57 include:spf.webcrm.com -all").severity() <= Severity::Hint);
    }

    #[test]
    fn a_dead_name_server_is_unknown_and_never_a_fault() {
        for zone in [
            "test.dk FAIL",
            "test.dk TXT \"v=spf1 include:dead.dk include:spf.webcrm.com -all\"\ndead.dk FAIL",
            "test.dk TXT \"v=spf1 ip4:40.74.40.57 include:dead.dk -all\"\ndead.dk FAIL",
        ] {
            assert_eq!(run(zone, false).severity(), Severity::Unknown, "{zone}");
        }
    }

    #[test]
    fn what_is_broken_behind_our_include_is_no_fault_of_our_mail() {
        let several = "x.dk TXT \"v=spf1 -all\"\nx.dk TXT \"v=spf1 ~all\"";
        for (includes, zone, fault) in [
            ("include:x.dk", "", "none"),
            ("include:x.dk", several, "several"),
            ("include:x.dk", "x.dk TXT \"v=spf1 ip4:1.2.3\"", "syntax"),
            ("include:x.dk", "x.dk TXT \"v=spf1 include:test.dk -all\"", "loop"),
        ] {
            let ours_first = format!("test.dk TXT \"v=spf1 include:spf.webcrm.com {includes} -all\"\n{zone}");
            let check = run(&ours_first, false);
            assert_eq!(check.severity(), Severity::Warning, "{fault}: {:?}", check.findings);
            let named = |f: &Finding| matches!(f, Finding::SpfBeyondUs { fault: found, .. } if *found == fault);
            assert!(check.findings.iter().any(named), "{fault}: {:?}", check.findings);
            assert_eq!(run(&ours_first, true).severity(), Severity::Fault, "an own server meets it: {fault}");
            let ours_last = format!("test.dk TXT \"v=spf1 {includes} include:spf.webcrm.com -all\"\n{zone}");
            assert_eq!(run(&ours_last, false).severity(), Severity::Fault, "{fault}");
        }
        let voids = record("v=spf1 include:spf.webcrm.com a:x1.dk a:x2.dk a:x3.dk -all");
        assert_eq!(voids.findings[0], Finding::SpfManyVoidLookups { count: 3 });
        assert_eq!(
            record("v=spf1 include:spf.webcrm.com exists:%{i}.a.dk exists:%{i}.b.dk a:%{i}.c.dk -all").severity(),
            Severity::Good
        );
    }

    #[test]
    fn a_loop_is_not_called_too_many_lookups() {
        let check = run(
            "test.dk TXT \"v=spf1 include:x.dk include:spf.webcrm.com -all\"\nx.dk TXT \"v=spf1 include:test.dk -all\"",
            false,
        );
        let loops = check.findings.iter().filter(|f| matches!(f, Finding::SpfLoop { .. })).count();
        assert_eq!(loops, 1, "{:?}", check.findings);
        assert!(!check.findings.iter().any(|f| matches!(f, Finding::SpfTooManyLookups { .. })), "{:?}", check.findings);
    }

    #[test]
    fn what_webcrm_has_to_mend_is_not_asked_of_the_customer() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let domain = Domain::parse("test.dk").unwrap();
        let ours = Finding::SpfOursBroken { include: "spf.webcrm.com".into(), ip: "40.74.40.57".into() };
        for zone in
            ["", "spf.webcrm.com TXT \"v=spf1 ip4:192.0.2.1 -all\"", "spf.webcrm.com TXT \"v=spf1 ip4:oops -all\""]
        {
            let zone = format!(
                "test.dk TXT \"v=spf1 mx include:spf.webcrm.com -all\"\ntest.dk MX 1 m.dk\nm.dk A 192.0.2.9\n{zone}"
            );
            let zone = FixedZone::parse(&zone).unwrap();
            let via = Via::Mailjet { tier: None };
            let (check, _) = runtime.block_on(check(&zone, &Settings::default(), &domain, &via, Need::Required));
            assert_eq!(check.severity(), Severity::Fault);
            assert!(check.findings.contains(&ours), "{:?}", check.findings);
            let asked =
                |f: &Finding| matches!(f, Finding::SpfIncludeWithoutRecord { .. } | Finding::SpfDoesNotPass { .. });
            assert!(!check.findings.iter().any(asked), "{:?}", check.findings);
            assert!(check.expected.is_empty(), "{:?}", check.expected);
        }
    }

    #[test]
    fn lookups_that_our_include_will_cost_are_counted() {
        let near = |names: u32| {
            let terms: String = (0..names).map(|i| format!(" a:a{i}.dk")).collect();
            let addresses: String = (0..names).map(|i| format!("a{i}.dk A 192.0.2.{i}\n")).collect();
            let zone = format!("test.dk TXT \"v=spf1{terms} -all\"\n{addresses}");
            let count = |f: &Finding| if let Finding::SpfNearLookupLimit { count } = f { Some(*count) } else { None };
            [false, true].map(|own_server| run(&zone, own_server).findings.iter().find_map(count))
        };
        assert_eq!(near(6), [None, None]);
        assert_eq!(near(7), [Some(9), None], "ours and Mailjet's");
        assert_eq!(near(9), [None, Some(9)], "over the limit with ours");
    }

    #[test]
    fn of_several_records_it_is_not_said_that_ours_is_not_included_where_it_is() {
        let zone =
            |second: &str| format!("test.dk TXT \"v=spf1 include:spf.webcrm.com -all\"\ntest.dk TXT \"{second}\"");
        let missing = Finding::SpfIncludeMissing { include: "spf.webcrm.com".into() };
        for (second, said) in [("v=spf1 mx include:spf.webcrm.com ~all", false), ("v=spf1 mx ~all", false)] {
            let check = run(&zone(second), false);
            assert!(check.findings.contains(&Finding::SpfSeveral { domain: "test.dk".into(), count: 2 }));
            assert_eq!(check.findings.contains(&missing), said, "{second}: {:?}", check.findings);
        }
        let neither = run("test.dk TXT \"v=spf1 a -all\"\ntest.dk TXT \"v=spf1 mx -all\"", false);
        assert!(neither.findings.contains(&missing), "{:?}", neither.findings);
        let glued = record("v=spf1 include:a.dk\u{a0}include:spf.webcrm.com -all");
        assert!(!glued.findings.contains(&missing), "{:?}", glued.findings);
    }

    #[test]
    fn what_is_legal_and_without_effect_is_a_warning() {
        for (text, term) in [
            ("v=spf1 include=other.dk include:spf.webcrm.com -all", "include=other.dk"),
            ("v=spf1 ip4=192.0.2.1 include:spf.webcrm.com -all", "ip4=192.0.2.1"),
            ("v=spf1 include:spf.webcrm.com v=spf1 -all", "v=spf1"),
        ] {
            let check = record(text);
            let said = Finding::SpfNoEffect { domain: "test.dk".into(), terms: vec![term.into()] };
            assert!(check.findings.contains(&said), "{text}: {:?}", check.findings);
            assert_eq!(check.severity(), Severity::Warning, "{text}");
        }
        assert!(record("v=spf1 future=x include:spf.webcrm.com -all").severity() <= Severity::Hint);
    }

    #[test]
    fn a_record_of_endless_length_is_a_fault_and_not_evaluated() {
        let long = format!("v=spf1 {}include:spf.webcrm.com -all", "ip4:192.0.2.1 ".repeat(700));
        let check = record(&long);
        assert!(check.findings.contains(&Finding::SpfTooLong { domain: "test.dk".into(), octets: long.len() }));
        assert_eq!(check.severity(), Severity::Fault);
        let included = run(
            &format!("test.dk TXT \"v=spf1 include:x.dk include:spf.webcrm.com -all\"\nx.dk TXT \"{long}\""),
            false,
        );
        assert_eq!(included.severity(), Severity::Fault);
    }

    #[test]
    fn an_own_server_needs_no_include() {
        let check = run("test.dk TXT \"v=spf1 mx -all\"\ntest.dk MX 1 mail.test.dk\nmail.test.dk A 192.0.2.1", true);
        assert_eq!(check.severity(), Severity::Hint, "{:?}", check.findings);
        assert_eq!(run("", true).severity(), Severity::Fault);
    }
}
