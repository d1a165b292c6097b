//! Checks the return-path alias. It gives Mailjet's return path a name below the From domain, so that SPF aligns for DMARC.

use super::Settings;
use super::alias::{self, Alias};
use super::finding::{Check, Finding, Item, Need};
use crate::resolver::{self, RecordType, Resolver};
use crate::smtp::Domain;

/// The most aliases that are followed. A longer chain counts as a loop.
const LONGEST_CHAIN: usize = 8;

/// Checks the return-path alias of a domain.
pub async fn check(resolver: &dyn Resolver, settings: &Settings, domain: &Domain) -> Check {
    let mut check = Check::new(Item::ReturnPath, Need::Optional);
    let host = format!("{}.{domain}", settings.return_path_label);
    let target = settings.return_path_target.to_string();
    check.expected.push(format!("{host} {} {target}.", RecordType::Cname));
    if let Err(reason) = look(&mut check, resolver, host, target).await {
        check.say(Finding::Unanswered { reason });
    }
    check
}

async fn look(check: &mut Check, resolver: &dyn Resolver, host: String, target: String) -> Result<(), resolver::Error> {
    // The alias may lead to the target through other aliases, which receivers follow.
    let mut at = host.clone();
    for _ in 0..LONGEST_CHAIN {
        match resolver.cname(&at).await? {
            Some(found) if found == target => {
                check.found.clear();
                check.say(Finding::ReturnPathGood { host });
                return Ok(());
            }
            Some(found) => {
                check.found.push(found.clone());
                at = found;
            }
            None => break,
        }
    }
    if let Some(found) = check.found.first().cloned() {
        match alias::of(resolver, &host).await? {
            Some(Alias::Wildcard(_)) => check.say(Finding::ReturnPathMissing { host, target }),
            _ => check.say(Finding::ReturnPathWrong { host, found, target }),
        }
        return Ok(());
    }
    match own_address(resolver, &host).await? {
        Some(address) => {
            check.found.push(address.clone());
            check.say(Finding::ReturnPathAddress { host, target, address });
        }
        None => check.say(Finding::ReturnPathMissing { host, target }),
    }
    Ok(())
}

/// Returns an address of the name that does not come from a wildcard. A proxy, for example Cloudflare's, answers with its own address
/// instead of the alias.
async fn own_address(resolver: &dyn Resolver, host: &str) -> Result<Option<String>, resolver::Error> {
    let Some(address) = resolver.addresses(host).await?.first().copied() else { return Ok(None) };
    let others = match alias::sibling(host) {
        Some(sibling) => resolver.addresses(&sibling).await?,
        None => Vec::new(),
    };
    Ok((!others.contains(&address)).then(|| address.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Severity;
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn the_return_path_may_lead_to_mailjet_by_other_aliases() {
        let zone = "bnc3.test.dk CNAME b.test.dk\nb.test.dk CNAME bnc3.mailjet.com\n\
                    bnc3.loop.dk CNAME bnc3.loop.dk\nbnc3.else.dk CNAME b.else.dk\nb.else.dk CNAME c.else.dk";
        let zone = FixedZone::parse(zone).unwrap();
        for (name, severity, found) in [
            ("test.dk", Severity::Good, 0),
            ("loop.dk", Severity::Fault, LONGEST_CHAIN),
            ("else.dk", Severity::Fault, 2),
            ("none.dk", Severity::Fault, 0),
        ] {
            let check = check(&zone, &Settings::default(), &Domain::parse(name).unwrap()).await;
            assert_eq!((check.severity(), check.found.len()), (severity, found), "{name}: {:?}", check.findings);
        }
    }

    #[tokio::test]
    async fn a_target_to_which_a_panel_has_appended_the_zone_is_named_so() {
        use crate::onboarding::Lang;
        let zone =
            FixedZone::parse("bnc3.test.dk CNAME bnc3.mailjet.com.test.dk\nbnc3.else.dk CNAME mail.else.dk").unwrap();
        for (name, is_appended) in [("test.dk", true), ("else.dk", false)] {
            let check = check(&zone, &Settings::default(), &Domain::parse(name).unwrap()).await;
            for (lang, dot) in
                [(Lang::En, "bnc3.mailjet.com, with a dot at the end"), (Lang::Da, "bnc3.mailjet.com, med et punktum")]
            {
                let next = lang.finding(&check.findings[0]).next;
                assert_eq!(next.contains(dot), is_appended, "{next}");
            }
        }
    }

    #[tokio::test]
    async fn an_address_in_place_of_the_alias_is_told_from_a_wildcards() {
        let zone = "bnc3.proxied.dk A 104.16.1.1\nbnc3.six.dk AAAA 2606:4700::1\n\
                    bnc3.both.dk A 104.16.1.1\n*.both.dk A 192.0.2.7\n*.wild.dk A 192.0.2.7\n*.alias.dk CNAME web.host.dk\n\
                    bnc3.dead.dk FAIL";
        let zone = FixedZone::parse(zone).unwrap();
        for (name, code) in [
            ("proxied.dk", "return-path-address"),
            ("six.dk", "return-path-address"),
            ("both.dk", "return-path-address"),
            ("wild.dk", "return-path-missing"),
            ("alias.dk", "return-path-missing"),
            ("dead.dk", "unanswered"),
        ] {
            let check = check(&zone, &Settings::default(), &Domain::parse(name).unwrap()).await;
            let said = serde_json::to_value(&check.findings).unwrap();
            assert_eq!((said[0]["code"].as_str(), check.findings.len()), (Some(code), 1), "{name}: {said}");
        }
    }
}
