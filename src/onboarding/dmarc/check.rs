//! Finds the policy that applies to a domain, and what is wrong with its record.

use super::judgement::{Applies, Found};
use super::record::{NAMES, Policy, Record, amended, destination, is_dmarc, looks_like_dmarc};
use super::tree::{At, at, organization, tree};
use crate::dkim::tags::{Mistake, TagList};
use crate::onboarding::Settings;
use crate::onboarding::finding::{Check, Finding, Item, Need, Severity, TagMistake};
use crate::onboarding::misplaced::{doubled, wrong_host};
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::smtp::{Domain, Mailbox};

/// Looks up the policy that applies to the domain.
pub async fn look(resolver: &dyn Resolver, settings: &Settings, domain: &Domain, need: Need) -> Found {
    let mut found = Found {
        check: Check::new(Item::Dmarc, need),
        applies: None,
        domain: domain.clone(),
        alias: format!("{}.{domain}", settings.return_path_label),
        proposed: None,
    };
    let mut meant = Vec::new();
    if let Err(error) = policy(&mut found, &mut meant, resolver, settings, domain).await {
        found.check.say(Finding::Unanswered { reason: error });
    }
    // If a policy applies, the record to begin with would be a step back.
    if found.check.severity() == Severity::Fault {
        found.proposed = Some(replacement(&meant, settings));
    }
    found
}

/// Returns the record to publish if `published` does not count, or does not count with all receivers. It is the record as it was meant,
/// with the mildest policy of several, or the first record if the meaning is unknown.
fn replacement(published: &[String], settings: &Settings) -> String {
    let policy = |record: &String| Record::parse(record).map(|record| record.policy).ok();
    match published.iter().filter_map(|text| amended(text)).min_by_key(policy) {
        // A policy that does nothing is only useful for its reports.
        Some(record) if policy(&record) == Some(Policy::None) && !record.contains("; rua=") => {
            with_reports(record, settings)
        }
        Some(record) => record,
        None => proposed(settings),
    }
}

/// The policy that applies to a domain, as the start of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The host of the domain's own record, whether it exists or not.
    pub host: String,
    /// The domain's own record. `None` if it has none, or several.
    pub own: Option<String>,
    /// The policy that it inherits, if it has no record of its own.
    pub inherited: Option<Policy>,
}

/// Asks for the policy that applies to a domain.
pub async fn published(resolver: &dyn Resolver, domain: &Domain) -> Result<Published, resolver::Error> {
    let host = format!("_dmarc.{domain}");
    let tree = tree(resolver, domain.as_str()).await?;
    let own = tree.records.iter().find(|(at, _)| at == domain.as_str()).map(|(_, text)| text.clone());
    let above = tree.records.iter().find(|(at, _)| *at == tree.organization).or(tree.records.last());
    let inherited = match (&own, above) {
        (None, Some((_, text))) => Record::parse(text).ok().map(|it| it.subdomain_policy.unwrap_or(it.policy)),
        _ => None,
    };
    Ok(Published { host, own, inherited })
}

/// Returns the first record to publish. It changes nothing for mail, and brings reports if there is an address for them.
pub fn proposed(settings: &Settings) -> String {
    with_reports("v=DMARC1; p=none".to_owned(), settings)
}

fn with_reports(record: String, settings: &Settings) -> String {
    match &settings.rua {
        Some(address) => format!("{record}; rua=mailto:{address}"),
        None => record,
    }
}

/// Finds the policy. Adds to `meant` everything that the domain itself publishes, valid or not.
async fn policy(
    found: &mut Found,
    meant: &mut Vec<String>,
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
) -> Result<(), resolver::Error> {
    let name = domain.as_str();
    let own_host = format!("_dmarc.{name}");
    let check = &mut found.check;
    match at(resolver, name).await? {
        At::Nothing(near_misses) => {
            for text in near_misses {
                let mistake = what_broke_it(&text).map(TagMistake);
                check.say(Finding::DmarcNearMiss { host: own_host.clone(), text: text.clone(), mistake });
                meant.push(text);
            }
        }
        At::One(_) => {}
        At::Several(records) => {
            check.say(Finding::DmarcSeveral { host: own_host.clone(), count: records.len() });
            meant.clone_from(&records);
            check.found = records;
            return Ok(());
        }
    }
    let tree = tree(resolver, name).await?;
    let applies = tree
        .records
        .iter()
        .find(|(at, _)| at == name)
        .or_else(|| tree.records.iter().find(|(at, _)| *at == tree.organization))
        .or(tree.records.last());
    let Some((at, text)) = applies else {
        meant.extend(misplaced(check, resolver, domain).await);
        check.say(Finding::DmarcMissing { host: own_host });
        return Ok(());
    };
    let host = format!("_dmarc.{at}");
    check.found.push(text.clone());
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(unusable) => {
            unusable.into_iter().for_each(|unusable| check.say(Finding::unusable_dmarc(&host, unusable)));
            meant.push(text.clone());
            return Ok(());
        }
    };
    say_policy(found, &record, &host, text, at != name);
    let ours = settings.report_address.as_ref().and_then(Mailbox::domain);
    reports(&mut found.check, resolver, &record, at, ours).await
}

/// Returns the mistake that keeps a value from being a DMARC record. `None` if its version is wrong, whatever other mistakes it has.
fn what_broke_it(text: &str) -> Option<Mistake> {
    let list = TagList::read(text, &NAMES);
    let is_version = list.tags.first().is_some_and(|tag| tag.name.eq_ignore_ascii_case("v") && tag.value == "DMARC1");
    let is_bare = |mistake: &Mistake| matches!(mistake, Mistake::NoTag(text) if text.starts_with("DMARC1"));
    list.mistakes.into_iter().next().filter(|mistake| is_version || is_bare(mistake))
}

/// Says what the record that applies asks of receivers. `inherited` is true if it is a parent domain's.
fn say_policy(found: &mut Found, record: &Record, host: &str, text: &str, inherited: bool) {
    let check = &mut found.check;
    let policy = if inherited { record.subdomain_policy.unwrap_or(record.policy) } else { record.policy };
    found.applies = Some(Applies { policy, strict_spf: record.strict_spf });
    check.say(Finding::DmarcGood { host: host.to_owned(), policy: policy.as_str().to_owned() });
    if inherited {
        check.say(Finding::DmarcInherited { host: host.to_owned() });
    }
    if policy == Policy::None {
        check.say(Finding::DmarcMonitoring);
    }
    if record.testing {
        check.say(Finding::DmarcTesting);
    }
    match record.percent.map(|percent| (percent, record.acting())) {
        // A percentage of nothing is nothing.
        Some((_, None)) => check.say(Finding::DmarcObsolete { tag: "pct".to_owned() }),
        Some((percent, Some(policy))) => {
            check.say(Finding::DmarcPercent { percent, policy });
            if percent == 0 && !inherited {
                found.proposed = amended(text);
            }
        }
        None => {}
    }
    for tag in &record.obsolete {
        check.say(Finding::DmarcObsolete { tag: tag.clone() });
    }
    for tag in &record.unread {
        check.say(Finding::DmarcTag { host: host.to_owned(), tag: tag.clone() });
    }
}

/// Checks that reports reach somebody. A destination in another organization must say that it wants them (RFC 9990 §4).
async fn reports(
    check: &mut Check,
    resolver: &dyn Resolver,
    record: &Record,
    policy_domain: &str,
    ours: Option<&Domain>,
) -> Result<(), resolver::Error> {
    let host = format!("_dmarc.{policy_domain}");
    if record.reports.is_empty() {
        check.say(Finding::DmarcNoReports { host: host.clone(), wanted: ours.is_some() });
    }
    // A comma with nothing before or after it.
    let is_list = record.reports.len() > 1;
    if is_list && record.reports.iter().any(String::is_empty) {
        check.say(Finding::DmarcTag { host: host.clone(), tag: format!("rua={}", record.reports.join(",")) });
    }
    // A record may list any number of destinations. A real one has few.
    for uri in record.reports.iter().filter(|uri| !is_list || !uri.is_empty()).take(10) {
        let Some(to) = destination(uri).and_then(|mailbox| mailbox.domain().cloned()) else {
            check.say(Finding::DmarcTag { host: host.clone(), tag: format!("rua={uri}") });
            continue;
        };
        let same = to.as_str() == policy_domain
            || organization(resolver, to.as_str()).await? == organization(resolver, policy_domain).await?;
        if same {
            continue;
        }
        let permission = format!("{policy_domain}._report._dmarc.{to}");
        let granted = match resolver.txt(&permission).await {
            Err(resolver::Error::Name(_)) => false,
            texts => texts?.iter().any(|strings| is_dmarc(&plain::text(&joined(strings)))),
        };
        if !granted {
            check.say(match ours == Some(&to) {
                true => Finding::DmarcReportsNotAllowed { destination: to.to_string(), host: permission },
                false => Finding::DmarcReportsRefused { destination: to.to_string(), host: permission },
            });
        }
    }
    Ok(())
}

/// Looks for the record where common mistakes put it: without the underscore, with the zone's name twice, or at the domain itself.
/// Returns the records found there.
async fn misplaced(check: &mut Check, resolver: &dyn Resolver, domain: &Domain) -> Vec<String> {
    let right = format!("_dmarc.{domain}");
    let mut hosts = vec![format!("dmarc.{domain}"), domain.to_string()];
    hosts.extend(doubled(resolver, &right, domain).await);
    let mut found = Vec::new();
    for wrong in hosts {
        let texts = resolver.txt(&wrong).await.unwrap_or_default();
        let texts = texts.iter().map(|strings| plain::text(&joined(strings)));
        let there: Vec<String> = texts.filter(|text| is_dmarc(text) || looks_like_dmarc(text)).collect();
        if !there.is_empty() {
            check.say(wrong_host(resolver, wrong, &right).await);
        }
        found.extend(there);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Seen;
    use crate::onboarding::dmarc::Path;
    use crate::resolver::FixedZone;

    /// Settings in which reports go to dmarc@test.dk.
    fn settings() -> Settings {
        Settings { rua: Mailbox::parse("dmarc@test.dk").ok(), ..Settings::default() }
    }

    fn run(zone: &str, domain: &str, path: Path, dkim: Seen) -> Vec<Finding> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(zone).unwrap();
        let domain = Domain::parse(domain).unwrap();
        let found = runtime.block_on(look(&zone, &settings(), &domain, Need::Optional));
        found.judge(path, dkim).0.findings
    }

    /// Returns the record to publish at test.dk.
    fn to_publish(texts: &[(&str, &str)]) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::new();
        texts.iter().for_each(|(host, text)| zone.add_txt(host, text));
        let domain = Domain::parse("test.dk").unwrap();
        let found = runtime.block_on(look(&zone, &settings(), &domain, Need::Optional));
        let (check, proposed) = found.judge(Path::OwnServer, Seen::Verified);
        let expected: Vec<String> = proposed.iter().map(|record| format!("_dmarc.test.dk TXT \"{record}\"")).collect();
        assert_eq!(check.expected, expected);
        proposed
    }

    const MAILJET: Path = Path::Mailjet { alias: Seen::Verified };
    const WITHOUT_ALIAS: Path = Path::Mailjet { alias: Seen::Missing };

    #[test]
    fn a_subdomain_inherits_the_organizations_subdomain_policy() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@test.dk\"";
        let findings = run(zone, "nyt.test.dk", Path::OwnServer, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "quarantine".into() }));
        assert!(findings.contains(&Finding::DmarcInherited { host: "_dmarc.test.dk".into() }));
    }

    #[test]
    fn reports_are_asked_for_only_where_somebody_reads_them() {
        assert_eq!(proposed(&Settings::default()), "v=DMARC1; p=none");
        assert_eq!(proposed(&settings()), "v=DMARC1; p=none; rua=mailto:dmarc@test.dk");
    }

    #[test]
    fn a_record_that_webcrms_own_zone_lacks_is_webcrms_part() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let settings = Settings { report_address: Mailbox::parse("dmarc@reports.webcrm.com").ok(), ..settings() };
        let domain = Domain::parse("test.dk").unwrap();
        let record = "_dmarc.test.dk TXT \"v=DMARC1; p=none; rua=mailto:dmarc@reports.webcrm.com\"";
        let permission = "test.dk._report._dmarc.reports.webcrm.com";
        for (zone, lacks) in [(record.to_owned(), true), (format!("{record}\n{permission} TXT \"v=DMARC1;\""), false)] {
            let zone = FixedZone::parse(&zone).unwrap();
            let found = runtime.block_on(look(&zone, &settings, &domain, Need::Optional));
            let findings = found.judge(Path::OwnServer, Seen::Verified).0.findings;
            let (destination, host) = ("reports.webcrm.com".to_owned(), permission.to_owned());
            assert_eq!(
                findings.contains(&Finding::DmarcReportsNotAllowed { destination, host }),
                lacks,
                "{findings:?}"
            );
        }
    }

    #[test]
    fn the_policy_for_whoever_changes_it_is_the_domains_own_or_the_one_above() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(
            "_dmarc.test.dk TXT \"v=DMARC1; p=reject; sp=quarantine\"\n_dmarc.own.test.dk TXT \"v=DMARC1; p=none\"",
        )
        .unwrap();
        let of = |name: &str| runtime.block_on(published(&zone, &Domain::parse(name).unwrap())).unwrap();
        let own = of("own.test.dk");
        assert_eq!((own.own.as_deref(), own.inherited), (Some("v=DMARC1; p=none"), None));
        assert_eq!(own.host, "_dmarc.own.test.dk");
        assert_eq!((of("nyt.test.dk").own, of("nyt.test.dk").inherited), (None, Some(Policy::Quarantine)));
        assert_eq!((of("other.dk").own, of("other.dk").inherited), (None, None));
    }

    #[test]
    fn several_records_count_as_none() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=none\"\n_dmarc.test.dk TXT \"v=DMARC1; p=reject\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Verified);
        // A further finding that no policy applies, and a third record, would only confuse.
        assert_eq!(findings, [Finding::DmarcSeveral { host: "_dmarc.test.dk".into(), count: 2 }]);
    }

    #[test]
    fn what_the_customer_published_is_kept_as_it_was_meant() {
        let first = "v=DMARC1; p=none; rua=mailto:dmarc@test.dk";
        let here = |texts: &[&str]| {
            let texts: Vec<(&str, &str)> = texts.iter().map(|text| ("_dmarc.test.dk", *text)).collect();
            to_publish(&texts)
        };
        for (texts, record) in [
            (&["v=DMARC1; p=reject", "v=DMARC1; p=quarantine"][..], Some("v=DMARC1; p=quarantine")),
            (&["v=DMARC1; p=reject", "v=DMARC1; p=maybe"], Some("v=DMARC1; p=reject")),
            (&["v=DMARC1; p=never", "v=DMARC1; p=maybe"], Some(first)),
            (
                &["v=DMARC1; p=reject; rua=mailto:a@test.dk; aspf=r; aspf=r"],
                Some("v=DMARC1; p=reject; aspf=r; rua=mailto:a@test.dk"),
            ),
            (&["v=DMARC1; p=reject; p=none"], Some(first)),
            (&["v=DMARC1;\u{a0}p=reject"], Some("v=DMARC1; p=reject")),
            (&["v=DMARC1; sp=reject"], Some("v=DMARC1; p=none; sp=reject; rua=mailto:dmarc@test.dk")),
            (&["v=DMARC1; sp=maybe"], Some(first)),
            (&["\"v=DMARC1; p=quarantine\""], Some("v=DMARC1; p=quarantine")),
            (
                &["v=DMARC1; p=quarantine; pct=0; rua=mailto:a@test.dk"],
                Some("v=DMARC1; p=quarantine; t=y; rua=mailto:a@test.dk"),
            ),
            (&["v=DMARC1; p=quarantine; pct=50; rua=mailto:a@test.dk"], None),
            (&["v=DMARC1; p=none; pct=0; rua=mailto:a@test.dk"], None),
            (&[], Some(first)),
        ] {
            assert_eq!(here(texts).as_deref(), record, "{texts:?}");
        }
        let elsewhere = to_publish(&[("_dmarc.test.dk.test.dk", "v=DMARC1; p=reject; rua=mailto:a@test.dk")]);
        assert_eq!(elsewhere.as_deref(), Some("v=DMARC1; p=reject; rua=mailto:a@test.dk"));
    }

    #[test]
    fn a_share_of_the_mail_is_no_share_any_more() {
        let said =
            |record: &str| run(&format!("_dmarc.test.dk TXT \"{record}\""), "test.dk", Path::OwnServer, Seen::Verified);
        let percent = |percent| Finding::DmarcPercent { percent, policy: "reject".into() };
        let obsolete = Finding::DmarcObsolete { tag: "pct".into() };
        for (record, finding) in [
            ("v=DMARC1; p=reject; pct=0; rua=mailto:d@test.dk", percent(0)),
            ("v=DMARC1; p=reject; pct=20; rua=mailto:d@test.dk", percent(20)),
            ("v=DMARC1; p=reject; pct=100; rua=mailto:d@test.dk", obsolete.clone()),
            ("v=DMARC1; p=none; pct=0; rua=mailto:d@test.dk", obsolete.clone()),
        ] {
            let findings = said(record);
            assert!(findings.contains(&finding), "{record}: {findings:?}");
            let about = |f: &&Finding| matches!(f, Finding::DmarcPercent { .. } | Finding::DmarcObsolete { .. });
            assert_eq!(findings.iter().filter(about).count(), 1, "{record}: {findings:?}");
        }
    }

    #[test]
    fn what_is_not_known_of_the_alias_is_not_taken_for_missing() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let path = Path::Mailjet { alias: Seen::Unknown };
        let good = Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "reject".into() };
        assert_eq!(run(zone, "test.dk", path, Seen::Missing), [good]);
    }

    #[test]
    fn what_was_meant_to_be_a_record_is_named() {
        for text in
            ["v=DMARC1, p=none", "v=DMARC1 p=none", "v=dmarc1; p=none", "\"v=DMARC1; p=none\"", "DMARC1; p=none"]
        {
            let zone = FixedZone::new();
            zone.add_txt("_dmarc.test.dk", text);
            zone.add_txt("_dmarc.test.dk", "v=spf1 -all");
            let domain = Domain::parse("test.dk").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(look(&zone, &settings(), &domain, Need::Optional));
            let (check, _) = found.judge(Path::OwnServer, Seen::Verified);
            let near = |f: &Finding| matches!(f, Finding::DmarcNearMiss { text: found, .. } if found == text);
            assert!(check.findings.iter().any(near), "{:?}", check.findings);
            assert_eq!(check.findings.len(), 2, "{:?}", check.findings);
        }
    }

    #[test]
    fn reports_to_another_organization_need_its_consent() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=none; rua=mailto:a@reports.test.dk, mailto:b@agrees.com!10m,mailto:c@silent.com,https://x\"\n\
                    test.dk._report._dmarc.agrees.com TXT \"v=DMARC1;\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Verified);
        let refused = |destination: &str, host: &str| Finding::DmarcReportsRefused {
            destination: destination.into(),
            host: host.into(),
        };
        assert!(findings.contains(&refused("silent.com", "test.dk._report._dmarc.silent.com")));
        assert!(
            !findings
                .iter()
                .any(|f| matches!(f, Finding::DmarcReportsRefused { destination, .. } if destination != "silent.com")),
            "{findings:?}"
        );
        assert!(findings.contains(&Finding::DmarcTag { host: "_dmarc.test.dk".into(), tag: "rua=https://x".into() }));
    }

    #[test]
    fn wrong_hosts_are_found() {
        for at in ["dmarc.test.dk", "_dmarc.test.dk.test.dk", "test.dk"] {
            let findings = run(&format!("{at} TXT \"v=DMARC1; p=none\""), "test.dk", Path::OwnServer, Seen::Verified);
            let wrong = Finding::WrongHost { found_at: at.into(), right_host: "_dmarc.test.dk".into(), zone: None };
            assert!(findings.contains(&wrong), "{findings:?}");
        }
    }

    #[test]
    fn a_policy_that_hits_our_own_mail_is_named() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; aspf=s; rua=mailto:d@test.dk\"";
        let findings = run(zone, "test.dk", MAILJET, Seen::Missing);
        assert!(findings.contains(&Finding::DmarcWithoutDkim { policy: "reject".into(), key: Item::MailjetDkim }));
        assert!(findings.contains(&Finding::DmarcSpfStrict { alias: "bnc3.test.dk".into() }));
        let findings = run(zone, "test.dk", WITHOUT_ALIAS, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcSpfUnaligned { alias: "bnc3.test.dk".into() }));
    }

    #[test]
    fn a_policy_hits_only_what_is_forwarded_where_spf_aligns() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let (policy, key) = (|| "reject".to_owned(), Item::MailjetDkim);
        for (alias, said) in [
            (Seen::Verified, Finding::DmarcOnSpfAlone { policy: policy(), key }),
            (Seen::Missing, Finding::DmarcWithoutDkim { policy: policy(), key }),
        ] {
            let findings = run(zone, "test.dk", Path::Mailjet { alias }, Seen::Missing);
            let hits = |f: &&Finding| matches!(f, Finding::DmarcOnSpfAlone { .. } | Finding::DmarcWithoutDkim { .. });
            assert_eq!(findings.iter().filter(hits).collect::<Vec<_>>(), [&said]);
        }
    }

    #[test]
    fn of_a_key_that_nobody_could_ask_for_nothing_is_said() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Unknown);
        assert_eq!(findings, [Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "reject".into() }]);
    }

    #[test]
    fn a_dead_name_server_is_no_missing_record() {
        let findings = run("test.dk FAIL", "test.dk", Path::OwnServer, Seen::Verified);
        assert!(matches!(&findings[..], [Finding::Unanswered { .. }]), "{findings:?}");
    }
}
