//! DKIM by delegation: the customer publishes two aliases (CNAME) once, and webCRM publishes the keys behind them in a zone of its own.
//!
//! ```text
//!   postbud-a._domainkey.test.dk  CNAME  postbud-a.test.dk.dkim.webcrm.com  TXT  the key that signs
//!   postbud-b._domainkey.test.dk  CNAME  postbud-b.test.dk.dkim.webcrm.com  TXT  revoked, or the key to come, or the one before
//! ```
//!
//! The two selectors sign in turn, so a key changes without the customer. A customer takes part if the selector in its file is one of
//! the two. It may publish the key itself (TXT) at that selector instead, but then it has to publish each new key.
//!
//! A customer with a selector of its own is offered the aliases. They stand beside its record, which stays. Once both are there, the next
//! rotation of its key goes to a delegated selector.

use super::dkim::published;
use super::finding::{Check, Finding};
use super::rotation::{REVOKED, Rotation, wanted};
use super::settings::Delegation;
use crate::customers::{Customer, SigningDomain};
use crate::dkim::record::{Flaw, render};
use crate::dkim::{Selector, SigningKey, key_host};
use crate::resolver::update::Txt;
use crate::resolver::{self, Resolver};
use crate::smtp::Domain;

impl Delegation {
    /// Returns the records that the zone must have for a customer, or why there are none. A selector without a key is revoked.
    pub fn records(&self, customer: &Customer, rotations: &[Rotation]) -> Result<Vec<Txt>, String> {
        let mut records = Vec::new();
        for (domain, signing) in &customer.domains {
            let signer = match signing {
                SigningDomain::Ready(signer) => signer,
                SigningDomain::Broken(reason) => return Err(format!("the key of {domain} cannot be used: {reason}")),
            };
            let signing: Vec<&Selector> = signer.profiles_of(domain).map(|profile| &profile.selector).collect();
            let rotating = wanted(rotations, &signing);
            // A key that was published by hand may be changed for a delegated one.
            let mut selectors = signing.iter().map(|selector| selector.as_str());
            if !selectors.any(|name| self.has(name)) && !rotating.iter().any(|wanted| self.has(&wanted.selector)) {
                continue;
            }
            for selector in &self.selectors {
                let signs = signer.profiles_of(domain).find(|profile| profile.selector == *selector);
                let value = match signs {
                    Some(profile) => render(domain, selector, &profile.key).map_err(|error| error.to_string())?.value,
                    None => {
                        let rotating = rotating.iter().find(|wanted| wanted.selector == selector.as_str());
                        rotating.map_or_else(|| REVOKED.to_owned(), |wanted| wanted.value.clone())
                    }
                };
                let name = self.target(selector.as_str(), domain);
                let name = name.ok_or_else(|| format!("{selector}.{domain}.{} is too long for DNS", self.zone))?;
                records.push(Txt { name, value, ttl: u32::try_from(self.ttl.as_secs()).unwrap_or(u32::MAX) });
            }
        }
        Ok(records)
    }
}

/// Checks the key that signs at a delegated selector, and finds out whether the customer's alias or webCRM's zone is wrong.
pub(super) async fn signing(
    check: &mut Check,
    resolver: &dyn Resolver,
    domain: &Domain,
    delegation: &Delegation,
    selector: &Selector,
    key: &SigningKey,
) {
    let Some(target) = delegation.target(selector.as_str(), domain) else {
        return published::one(check, resolver, domain, selector, key).await;
    };
    let (host, target) = (selector.dns_name(domain), target.to_string());
    let alias = match resolver.cname(&host).await {
        Ok(alias) => alias,
        Err(reason) => return check.say(Finding::Unanswered { reason }),
    };
    let mut seen = Check::new(check.item, check.need);
    published::one(&mut seen, resolver, domain, selector, key).await;
    check.found.extend(alias.iter().map(|found| format!("{host} CNAME {found}")));
    let is_good = seen.findings.iter().any(|finding| matches!(finding, Finding::DkimGood { .. }));
    let own = alias.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(&target));
    match alias {
        Some(_) if own => {
            let faults: Vec<Finding> = seen.findings;
            for said in faults {
                check.say(match said {
                    Finding::DkimGood { .. } | Finding::Unanswered { .. } => said,
                    said => Finding::DelegationZone { host: target.clone(), said: Box::new(said) },
                });
            }
        }
        // The key is reachable in another way.
        Some(_) if is_good => seen.findings.into_iter().for_each(|finding| check.say(finding)),
        Some(found) => {
            check.expected.push(format!("{host} CNAME {target}"));
            check.say(Finding::DelegationWrong { host, found, target });
        }
        // The customer publishes the key itself.
        None if !seen.found.is_empty() && !seen.findings.iter().any(is_no_key) => {
            check.found.extend(seen.found);
            check.expected.push(format!("{host} CNAME {target}"));
            seen.findings.into_iter().for_each(|finding| check.say(finding));
            check.say(Finding::DelegationByHand { host, target });
        }
        None => {
            check.expected.push(format!("{host} CNAME {target}"));
            let unanswered = |finding: &&Finding| matches!(finding, Finding::Unanswered { .. });
            if let Some(finding) = seen.findings.iter().find(unanswered) {
                return check.say(finding.clone());
            }
            // The target of the alias was published as a text, for example.
            let other = seen.findings.into_iter().find(|finding| matches!(finding, Finding::DkimFlaw { .. }));
            other.into_iter().for_each(|finding| check.say(finding));
            check.say(Finding::DelegationMissing { host, target });
        }
    }
}

/// Returns true if the finding says that nothing at the host is a key, whatever stands there.
fn is_no_key(finding: &Finding) -> bool {
    match finding {
        Finding::DkimMissing { .. } => true,
        Finding::DkimFlaw { flaw, .. } => matches!(flaw.0, Flaw::NoRecord(_)),
        _ => false,
    }
}

/// Offers the aliases to a customer that publishes its keys by hand. Mail needs neither, so nothing here is worse than a hint. Returns true
/// if both are there.
pub(super) async fn offer(
    check: &mut Check,
    resolver: &dyn Resolver,
    domain: &Domain,
    delegation: &Delegation,
) -> bool {
    let mut has_all = true;
    for selector in &delegation.selectors {
        let Some(target) = delegation.target(selector.as_str(), domain) else { return false };
        // An alias that could not be looked up is offered, too.
        let is_there = is_alias(resolver, selector, domain, &target).await;
        if !matches!(is_there, Ok(true)) {
            has_all = false;
            let (host, target) = (selector.dns_name(domain), target.to_string());
            check.say(Finding::DelegationOffered { host, target, unanswered: is_there.is_err() });
        }
    }
    has_all
}

/// Returns true if all these domains have both aliases.
pub async fn has_aliases<'a>(
    resolver: &dyn Resolver,
    domains: impl IntoIterator<Item = &'a Domain>,
    delegation: &Delegation,
) -> Result<bool, resolver::Error> {
    for domain in domains {
        for selector in &delegation.selectors {
            let Some(target) = delegation.target(selector.as_str(), domain) else { return Ok(false) };
            if !is_alias(resolver, selector, domain, &target).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn is_alias(
    resolver: &dyn Resolver,
    selector: &Selector,
    domain: &Domain,
    target: &Domain,
) -> Result<bool, resolver::Error> {
    let found = resolver.cname(&selector.dns_name(domain)).await?;
    Ok(found.is_some_and(|found| found.eq_ignore_ascii_case(target.as_str())))
}

/// Checks the alias of the selector that does not sign. Mail passes without it, but the key cannot change.
pub(super) async fn idle(
    check: &mut Check,
    resolver: &dyn Resolver,
    domain: &Domain,
    delegation: &Delegation,
    signing: &Selector,
) {
    let selector = delegation.other(signing);
    let Some(target) = delegation.target(selector.as_str(), domain) else { return };
    let (host, target) = (key_host(selector.as_str(), domain), target.to_string());
    match resolver.cname(&host).await {
        Ok(Some(found)) if found.eq_ignore_ascii_case(&target) => {}
        Ok(_) => {
            check.expected.push(format!("{host} CNAME {target}"));
            check.say(Finding::DelegationIdle { host, target });
        }
        Err(reason) => check.say(Finding::DkimRotatingUnanswered { host, reason }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::onboarding::finding::{Item, Need};
    use crate::onboarding::{Lang, Severity};
    use crate::resolver::FixedZone;

    fn delegation() -> Delegation {
        Delegation {
            zone: Domain::parse("dkim.webcrm.com").unwrap(),
            selectors: ["postbud-a", "postbud-b"].map(|name| Selector::parse(name).unwrap()),
            rotate_every: Duration::from_secs(1),
            ttl: Duration::from_secs(300),
            updates: None,
        }
    }

    #[tokio::test]
    async fn whose_part_is_wrong_is_told_by_following_the_alias() {
        let (domain, delegation) = (Domain::parse("test.dk").unwrap(), delegation());
        let [key, other] = [1, 2].map(|seed| SigningKey::from_ed25519_seed(&[seed; 32]).unwrap());
        let selector = &delegation.selectors[0];
        let value = |key| render(&domain, selector, key).unwrap().value;
        let (right, wrong) = (value(&key), value(&other));
        let (host, target) = ("postbud-a._domainkey.test.dk", "postbud-a.test.dk.dkim.webcrm.com");
        let alias = format!("{host} CNAME {target}\n");
        let txt = |at: &str, value: &str| format!("{at} TXT \"{value}\"\n");
        let fault = Severity::Fault;
        for (zone, severity, says, not) in [
            (alias.clone() + &txt(target, &right), Severity::Good, "", "webCRM's zone"),
            (alias.clone(), fault, "webCRM's zone", "Publish"),
            (alias.clone() + &txt(target, &wrong), fault, "webCRM's zone", "Publish"),
            (alias.clone() + &txt(target, "v=DKIM1; p="), fault, "webCRM's zone", "Publish"),
            (alias.clone() + &txt(target, &right) + &txt(target, &wrong), fault, "webCRM's zone", "Publish"),
            (format!("{host} CNAME elsewhere.dk\n"), fault, "elsewhere.dk", "webCRM's zone"),
            (
                format!("{host} CNAME elsewhere.dk\n") + &txt("elsewhere.dk", &right),
                Severity::Good,
                "",
                "webCRM's zone",
            ),
            (String::new(), fault, "There is no alias", "webCRM's zone"),
            (txt(host, &right), Severity::Hint, "by hand", "webCRM's zone"),
            (txt(host, &wrong), fault, "by hand", "webCRM's zone"),
            (format!("{host} FAIL\n"), Severity::Unknown, "", "webCRM's zone"),
        ] {
            let mut check = Check::new(Item::Dkim, Need::Required);
            signing(&mut check, &FixedZone::parse(&zone).unwrap(), &domain, &delegation, selector, &key).await;
            let texts: Vec<_> = check.findings.iter().map(|it| Lang::En.finding(it)).collect();
            let texts: String = texts.iter().map(|text| format!("{} {} ", text.what, text.next)).collect();
            assert_eq!(check.severity(), severity, "{zone}: {texts}");
            assert!(texts.contains(says) && !texts.contains(not), "{zone}: {texts}");
        }
    }

    #[tokio::test]
    async fn the_alias_of_the_selector_that_rests_is_wanted_before_the_key_changes() {
        let (domain, delegation) = (Domain::parse("test.dk").unwrap(), delegation());
        for (zone, severity) in [
            ("postbud-b._domainkey.test.dk CNAME postbud-b.test.dk.dkim.webcrm.com", Severity::Good),
            ("postbud-b._domainkey.test.dk CNAME postbud-a.test.dk.dkim.webcrm.com", Severity::Warning),
            ("test.dk SOA", Severity::Warning),
            ("postbud-b._domainkey.test.dk FAIL", Severity::Warning),
        ] {
            let mut check = Check::new(Item::Dkim, Need::Required);
            let zone = FixedZone::parse(zone).unwrap();
            idle(&mut check, &zone, &domain, &delegation, &delegation.selectors[0]).await;
            assert_eq!(check.severity(), severity, "{:?}", check.findings);
        }
    }

    #[test]
    fn a_name_too_long_for_dns_is_refused() {
        let long = Domain::parse(&format!("{0}.{0}.{0}.{1}.dk", "x".repeat(60), "y".repeat(50))).unwrap();
        assert_eq!(delegation().target("postbud-a", &long), None);
    }
}
