//! SPF as a customer hears about it: the two walks, put into findings, and the record to publish instead.

use std::net::IpAddr;

use super::is_spf;
use super::merge::{Merged, merge};
use super::record::Record;
use super::walk::{Limits, MOST_LOOKUPS, Problem, Query, Verdict, Walk, walk};
use crate::customer::Via;
use crate::onboarding::Settings;
use crate::onboarding::finding::{Check, Finding, Item, Need, Provider, Severity};
use crate::resolver::{Resolver, joined};
use crate::smtp::Domain;

/// From this many lookups on, one more include of somebody else's breaks the record.
const MANY_LOOKUPS: u32 = 9;

/// Checks the domain's SPF. Mail that leaves through the customer's own server shows other receivers that server's address
/// and never ours: there our include is only of use for internal mail.
pub async fn check(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, via: &Via, need: Need) -> Check {
    let mut check = look(resolver, settings, domain, matches!(via, Via::OwnServer(_)), need).await;
    if check.severity() > Severity::Hint
        && let Some(merged) = proposal(resolver, settings, domain, via).await
        && merged.changed
    {
        check.expected.push(format!("{domain} TXT \"{}\"", merged.record));
    }
    check
}

/// The record to publish, built on what the domain publishes now; `None` where DNS did not answer.
pub async fn proposal(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, via: &Via) -> Option<Merged> {
    let published = published(resolver, domain).await?;
    let mut own: Vec<String> = Vec::new();
    if published.is_empty() {
        let exchanges = resolver.mx(domain.as_str()).await.ok()?;
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
    }
    Some(merge(&published, &settings.spf_include, &own))
}

async fn look(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, own_server: bool, need: Need) -> Check {
    let mut check = Check::new(Item::Spf, need);
    check.found = published(resolver, domain).await.unwrap_or_default();
    let query = Query {
        ip: settings.egress,
        domain: domain.as_str(),
        local: "postmaster",
        helo: domain.as_str(),
        instead: None,
    };
    let received = walk(resolver, &query, Limits::receiver()).await;
    check.steps = steps(&received);
    if let Some(Problem::Unanswered(reason)) = unanswered(&received) {
        check.say(Finding::Unanswered { reason: reason.clone() });
        return check;
    }
    let survey = walk(resolver, &query, Limits::survey()).await;
    remarks(&mut check, domain, &received, &survey);

    let ip = settings.egress.to_string();
    let include = settings.spf_include.to_string();
    if own_server {
        match received.verdict {
            Verdict::Pass => check.say(Finding::SpfPasses { ip, lookups: received.lookups }),
            Verdict::None | Verdict::PermError | Verdict::TempError => {}
            _ => {
                check.say(Finding::SpfUsable { lookups: survey.lookups });
                check.say(Finding::SpfWithoutUs { ip });
            }
        }
        return check;
    }
    let included = survey.visited.contains(&include);
    let shadow = shadow(&received, &survey, &include);
    match (received.verdict, included) {
        (Verdict::Pass, true) => check.say(Finding::SpfPasses { ip, lookups: received.lookups }),
        // Nothing is known of what an unanswered part of the record includes.
        (Verdict::Pass, false) if unanswered(&survey).is_some() => {
            if let Some(Problem::Unanswered(reason)) = unanswered(&survey) {
                check.say(Finding::Unanswered { reason: reason.clone() });
            }
        }
        (Verdict::Pass, false) => check.say(Finding::SpfAddressOnly { ip, include }),
        (Verdict::None, _) => {}
        (verdict, _) => {
            match (shadow, included) {
                (Some(by), _) => check.say(Finding::SpfIncludeShadowed { include, by }),
                (None, false) => check.say(Finding::SpfIncludeMissing { include }),
                (None, true) => {}
            }
            check.say(Finding::SpfDoesNotPass { ip, verdict: verdict.as_str() });
        }
    }
    check
}

/// The domain's SPF records as published, sorted; `None` where DNS did not answer.
pub async fn published(resolver: &dyn Resolver, domain: &Domain) -> Option<Vec<String>> {
    let texts = resolver.txt(domain.as_str()).await.ok()?;
    let mut records: Vec<String> = texts
        .iter()
        .map(|strings| joined(strings))
        .filter(|text| is_spf(text))
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect();
    records.sort();
    Some(records)
}

/// The walk as lines: indented by depth, the term that matched marked, the verdict with its counts last.
fn steps(walk: &Walk) -> Vec<String> {
    let mark = |matched| if matched { "  <- match" } else { "" };
    let line = |step: &super::walk::Step| {
        format!("{:indent$}{}: {}{}", "", step.domain, step.term, mark(step.matched), indent = 2 * step.depth)
    };
    let mut lines: Vec<String> = walk.steps.iter().map(line).collect();
    lines.push(format!("{} ({} lookups, {} void)", walk.verdict.as_str(), walk.lookups, walk.void_lookups));
    lines
}

fn unanswered(walk: &Walk) -> Option<&Problem> {
    walk.problems.iter().find(|problem| matches!(problem, Problem::Unanswered(_)))
}

/// The term that keeps our include from being reached: one that matched us before it, or the `all` it stands behind.
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

fn remarks(check: &mut Check, domain: &Domain, received: &Walk, survey: &Walk) {
    let own = domain.as_str();
    let on_the_way = |problem: &Problem| received.problems.contains(problem);
    for problem in survey.problems.iter().chain(received.problems.iter().filter(|p| !survey.problems.contains(p))) {
        match problem {
            Problem::NoRecord { domain, near_misses } if domain == own => {
                check.say(Finding::SpfMissing { domain: domain.clone() });
                near_misses.iter().for_each(|text| check.say(Finding::SpfNearMiss { text: text.clone() }));
            }
            Problem::NoRecord { domain, .. } => {
                check.say(Finding::SpfIncludeWithoutRecord { domain: domain.clone() });
            }
            Problem::Several { domain, records } => {
                check.say(Finding::SpfSeveral { domain: domain.clone(), count: records.len() });
            }
            Problem::Syntax { domain, faults } => {
                faults.iter().for_each(|fault| check.say(Finding::spf_syntax(domain, fault)));
            }
            // What others' records look like is their matter, unless everybody passes.
            Problem::AfterAll { domain, terms } if domain == own => {
                check.say(Finding::SpfAfterAll { domain: domain.clone(), terms: terms.clone() });
            }
            Problem::Ptr { domain } if domain == own => check.say(Finding::SpfPtr { domain: domain.clone() }),
            Problem::AfterAll { .. } | Problem::Ptr { .. } => {}
            Problem::EverybodyPasses { domain } => check.say(Finding::SpfEverybody { domain: domain.clone() }),
            Problem::Loop { domain } => check.say(Finding::SpfLoop { domain: domain.clone() }),
            Problem::TooManyLookups if on_the_way(problem) => {
                check.say(Finding::SpfTooManyLookups { count: survey.lookups });
            }
            Problem::TooManyVoidLookups if on_the_way(problem) => {
                check.say(Finding::SpfTooManyVoidLookups { count: survey.void_lookups });
            }
            Problem::TooManyLookups | Problem::TooManyVoidLookups => {}
            Problem::TooManyExchanges { domain } => check.say(Finding::SpfTooManyExchanges { domain: domain.clone() }),
            // The caller has looked at it.
            Problem::Unanswered(_) => {}
        }
    }
    let too_many = received.problems.contains(&Problem::TooManyLookups);
    if survey.lookups >= MANY_LOOKUPS && !too_many {
        check.say(Finding::SpfNearLookupLimit { count: survey.lookups });
    }
    debug_assert!(received.lookups <= MOST_LOOKUPS + 1);
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let check = runtime.block_on(check(&zone, &Settings::default(), &domain, &via, Need::Required));
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
    fn an_own_server_needs_no_include() {
        let check = run("test.dk TXT \"v=spf1 mx -all\"\ntest.dk MX 1 mail.test.dk\nmail.test.dk A 192.0.2.1", true);
        assert_eq!(check.severity(), Severity::Hint, "{:?}", check.findings);
        assert_eq!(run("", true).severity(), Severity::Fault);
    }
}
