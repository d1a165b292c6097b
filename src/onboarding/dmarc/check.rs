//! Judges the policy that applies to a domain.

use super::record::{Policy, Record, Unusable, destination, is_dmarc};
use super::tree::{At, at, organization, tree};
use crate::onboarding::finding::{Check, Finding, Item, Need, Severity};
use crate::onboarding::misplaced::{doubled, wrong_host};
use crate::onboarding::{Seen, Settings};
use crate::resolver::{self, Resolver, joined};
use crate::smtp::{Domain, Mailbox};

/// How mail of the domain leaves, as far as alignment depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through Mailjet; whether its return-path alias stands.
    Mailjet {
        /// `bnc3.<domain>` points to Mailjet.
        alias: bool,
    },
    /// Through the customer's own server.
    OwnServer,
}

impl Path {
    /// The check of the key whose signature receivers find on our mail.
    fn key(self) -> Item {
        match self {
            Path::Mailjet { .. } => Item::MailjetDkim,
            Path::OwnServer => Item::Dkim,
        }
    }
}

/// Checks the policy that applies to the domain. `dkim`: how the key was seen whose signature receivers find
/// on our mail.
pub async fn check(
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    path: Path,
    dkim: Seen,
    need: Need,
) -> Check {
    let mut check = Check::new(Item::Dmarc, need);
    if let Err(error) = look(&mut check, resolver, settings, domain, path, dkim).await {
        check.say(Finding::Unanswered { reason: error });
    }
    // Where a policy applies, the record to begin with would be a step back.
    if check.severity() == Severity::Fault {
        check.expected.push(format!("_dmarc.{domain} TXT \"{}\"", replacement(&check.found, settings, domain)));
    }
    check
}

/// The record to publish where those found do not count: of several the mildest, since none has counted until now; else the
/// one to begin with.
pub fn replacement(found: &[String], settings: &Settings, domain: &Domain) -> String {
    let usable = found.iter().filter_map(|text| Some((Record::parse(text).ok()?.policy, text)));
    match usable.min() {
        Some((_, text)) if found.len() > 1 => text.clone(),
        _ => proposed(settings, domain),
    }
}

/// The record to begin with: it changes nothing for anybody's mail and brings reports.
pub fn proposed(settings: &Settings, domain: &Domain) -> String {
    let rua = settings.rua.as_ref().map_or_else(|| format!("dmarc@{domain}"), Mailbox::to_string);
    format!("v=DMARC1; p=none; rua=mailto:{rua}")
}

async fn look(
    check: &mut Check,
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    path: Path,
    dkim: Seen,
) -> Result<(), resolver::Error> {
    let name = domain.as_str();
    let own_host = format!("_dmarc.{name}");
    match at(resolver, name).await? {
        At::Nothing(near_misses) => {
            for text in near_misses {
                check.say(Finding::DmarcNearMiss { host: own_host.clone(), text });
            }
        }
        At::One(_) => {}
        At::Several(records) => {
            check.say(Finding::DmarcSeveral { host: own_host.clone(), count: records.len() });
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
        misplaced(check, resolver, domain).await;
        check.say(Finding::DmarcMissing { host: own_host });
        return Ok(());
    };
    let host = format!("_dmarc.{at}");
    check.found.push(text.clone());
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(Unusable::Policy(reason)) => {
            check.say(Finding::DmarcInvalid { host, reason });
            return Ok(());
        }
        Err(Unusable::Twice(tag)) => {
            check.say(Finding::DmarcTwice { host, tag });
            return Ok(());
        }
    };
    let inherited = at != name;
    let policy = if inherited { record.subdomain_policy.unwrap_or(record.policy) } else { record.policy };
    check.say(Finding::DmarcGood { host: host.clone(), policy: policy.as_str().to_owned() });
    if inherited {
        check.say(Finding::DmarcInherited { host: host.clone() });
    }
    if policy == Policy::None {
        check.say(Finding::DmarcMonitoring);
    }
    if record.testing {
        check.say(Finding::DmarcTesting);
    }
    if let Some(tag) = record.fallback.clone() {
        check.say(Finding::DmarcFallback { host: host.clone(), tag });
    }
    for tag in &record.obsolete {
        check.say(Finding::DmarcObsolete { tag: tag.clone() });
    }
    for tag in &record.unread {
        check.say(Finding::DmarcTag { host: host.clone(), tag: tag.clone() });
    }
    reports(check, resolver, &record, at, &host).await?;

    // Our d= is the From domain itself, and Mailjet's too, so the signature aligns in strict mode as well (RFC 9989 §4.4.1).
    let spf_aligns = path == Path::Mailjet { alias: true } && !record.strict_spf;
    match dkim {
        Seen::Verified => check.say(Finding::DmarcDkimAligned { domain: name.to_owned() }),
        Seen::Missing if policy > Policy::None => {
            let (policy, key) = (policy.as_str().to_owned(), path.key());
            check.say(match spf_aligns {
                true => Finding::DmarcOnSpfAlone { policy, key },
                false => Finding::DmarcWithoutDkim { policy, key },
            });
        }
        Seen::Missing | Seen::Unknown => {}
    }
    if let Path::Mailjet { alias } = path {
        let name_of_alias = format!("{}.{domain}", settings.return_path_label);
        match alias {
            false => check.say(Finding::DmarcSpfUnaligned { alias: name_of_alias }),
            true if record.strict_spf => check.say(Finding::DmarcSpfStrict { alias: name_of_alias }),
            true => {}
        }
    }
    Ok(())
}

/// Whether reports reach anybody: a destination in another organization has to say that it wants them (RFC 9990 §4).
async fn reports(
    check: &mut Check,
    resolver: &dyn Resolver,
    record: &Record,
    policy_domain: &str,
    host: &str,
) -> Result<(), resolver::Error> {
    if record.reports.is_empty() {
        check.say(Finding::DmarcNoReports { host: host.to_owned() });
    }
    // A record may list any number; a real one has few.
    for uri in record.reports.iter().take(10) {
        let Some(to) = destination(uri).and_then(|mailbox| mailbox.domain().cloned()) else {
            check.say(Finding::DmarcTag { host: host.to_owned(), tag: format!("rua={uri}") });
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
            texts => texts?.iter().any(|strings| is_dmarc(&String::from_utf8_lossy(&joined(strings)))),
        };
        if !granted {
            check.say(Finding::DmarcReportsRefused { destination: to.to_string(), host: permission });
        }
    }
    Ok(())
}

/// Where the record lands by common mistakes: without the underscore (the guide's own example), with the zone's name twice,
/// or at the domain itself.
async fn misplaced(check: &mut Check, resolver: &dyn Resolver, domain: &Domain) {
    let right = format!("_dmarc.{domain}");
    let mut hosts = vec![format!("dmarc.{domain}"), domain.to_string()];
    hosts.extend(doubled(resolver, &right, domain).await);
    for wrong in hosts {
        let there = resolver
            .txt(&wrong)
            .await
            .is_ok_and(|texts| texts.iter().any(|strings| is_dmarc(&String::from_utf8_lossy(&joined(strings)))));
        if there {
            check.say(wrong_host(resolver, wrong, &right).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::FixedZone;

    fn run(zone: &str, domain: &str, path: Path, dkim: Seen) -> Vec<Finding> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(zone).unwrap();
        let domain = Domain::parse(domain).unwrap();
        runtime.block_on(check(&zone, &Settings::default(), &domain, path, dkim, Need::Optional)).findings
    }

    #[test]
    fn a_subdomain_inherits_the_organizations_subdomain_policy() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@test.dk\"";
        let findings = run(zone, "nyt.test.dk", Path::OwnServer, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "quarantine".into() }));
        assert!(findings.contains(&Finding::DmarcInherited { host: "_dmarc.test.dk".into() }));
    }

    #[test]
    fn several_records_count_as_none() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=none\"\n_dmarc.test.dk TXT \"v=DMARC1; p=reject\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Verified);
        // To say besides that there is none, and to show a third one, would only confuse.
        assert_eq!(findings, [Finding::DmarcSeveral { host: "_dmarc.test.dk".into(), count: 2 }]);
    }

    #[test]
    fn of_several_records_the_mildest_is_to_be_kept() {
        let domain = Domain::parse("test.dk").unwrap();
        let keep = |found: &[&str]| {
            let found: Vec<String> = found.iter().map(|text| (*text).to_owned()).collect();
            replacement(&found, &Settings::default(), &domain)
        };
        let first = "v=DMARC1; p=none; rua=mailto:dmarc@test.dk";
        assert_eq!(keep(&["v=DMARC1; p=reject", "v=DMARC1; p=quarantine"]), "v=DMARC1; p=quarantine");
        assert_eq!(keep(&["v=DMARC1; p=reject", "v=DMARC1; p=maybe"]), "v=DMARC1; p=reject");
        assert_eq!(keep(&["v=DMARC1; p=never", "v=DMARC1; p=maybe"]), first);
        assert_eq!(keep(&["v=DMARC1; p=reject; p=none"]), first);
        assert_eq!(keep(&[]), first);
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
            let check = runtime.block_on(check(
                &zone,
                &Settings::default(),
                &domain,
                Path::OwnServer,
                Seen::Verified,
                Need::Optional,
            ));
            let near = Finding::DmarcNearMiss { host: "_dmarc.test.dk".into(), text: text.into() };
            assert!(check.findings.contains(&near), "{:?}", check.findings);
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
        let findings = run(zone, "test.dk", Path::Mailjet { alias: true }, Seen::Missing);
        assert!(findings.contains(&Finding::DmarcWithoutDkim { policy: "reject".into(), key: Item::MailjetDkim }));
        assert!(findings.contains(&Finding::DmarcSpfStrict { alias: "bnc3.test.dk".into() }));
        let findings = run(zone, "test.dk", Path::Mailjet { alias: false }, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcSpfUnaligned { alias: "bnc3.test.dk".into() }));
    }

    #[test]
    fn a_policy_hits_only_what_is_forwarded_where_spf_aligns() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let (policy, key) = (|| "reject".to_owned(), Item::MailjetDkim);
        for (alias, said) in [
            (true, Finding::DmarcOnSpfAlone { policy: policy(), key }),
            (false, Finding::DmarcWithoutDkim { policy: policy(), key }),
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
