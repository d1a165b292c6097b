//! Checks that the published keys are the keys that sign.

#[cfg(test)]
mod broken;
mod mailjet;
pub(super) mod published;

pub(super) use mailjet::{mailjet, seen};

use super::finding::{Check, Finding, Item, Need, Severity};
use super::rotation::{Shown, Wanted};
use super::{Settings, delegation};
use crate::customers::SigningDomain;
use crate::dkim::{KeyType, Signer};
use crate::resolver::Resolver;
use crate::smtp::Domain;

/// Checks every key that signs for the domain, and the further records that a key rotation needs. Delegated keys are rotated in webCRM's
/// zone only.
pub async fn check(
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    signing: &SigningDomain,
    wanted: &Result<Vec<Wanted>, String>,
    need: Need,
) -> Check {
    let mut check = Check::new(Item::Dkim, need);
    match signing {
        SigningDomain::Broken(reason) => check.say(Finding::DkimKeyUnusable { reason: reason.clone() }),
        SigningDomain::Ready(signer) => {
            all(&mut check, resolver, settings, domain, signer).await;
            let is_on_the_way = wanted.iter().flatten().any(|it| settings.delegation_of(&it.selector).is_some());
            if let Some(delegation) = settings.delegation_to_offer(domain, signer)
                && delegation::offer(&mut check, resolver, domain, delegation).await
                && !is_on_the_way
            {
                check.say(Finding::DelegationReady { zone: delegation.zone.to_string() });
            }
        }
    }
    match wanted {
        Ok(wanted) => {
            for wanted in wanted.iter().filter(|wanted| settings.delegation_of(&wanted.selector).is_none()) {
                rotating(&mut check, resolver, domain, wanted).await;
            }
        }
        Err(reason) => check.say(Finding::DkimRotationUnreadable { reason: reason.clone() }),
    }
    check
}

/// Checks the keys that sign. An Ed25519 key makes a second signature, for the few receivers that verify it (RFC 8463). Mail depends on it
/// only if the RSA key is known to fail.
async fn all(check: &mut Check, resolver: &dyn Resolver, settings: &Settings, domain: &Domain, signer: &Signer) {
    let mut places = Vec::new();
    for profile in signer.profiles_of(domain) {
        let mut place = Check::new(check.item, check.need);
        let (selector, key) = (&profile.selector, &profile.key);
        match settings.delegation_of(selector.as_str()) {
            Some(delegation) => {
                delegation::signing(&mut place, resolver, domain, delegation, selector, key).await;
                delegation::idle(&mut place, resolver, domain, delegation, selector).await;
            }
            None => published::one(&mut place, resolver, domain, selector, key).await,
        }
        places.push((profile.key.key_type(), place));
    }
    let first = places.iter().filter(|(kind, _)| *kind == KeyType::Rsa).map(|(_, place)| place.severity()).min();
    let rests_on_second = first.is_none_or(|severity| severity == Severity::Fault);
    let first_known = first != Some(Severity::Unknown);
    for (kind, place) in places {
        check.found.extend(place.found);
        check.expected.extend(place.expected);
        for finding in place.findings {
            let counts = kind == KeyType::Rsa || rests_on_second || finding.severity() <= Severity::Warning;
            check.say(match counts {
                true => finding,
                false => Finding::DkimSecond { said: Box::new(finding), first_known },
            });
        }
    }
}

/// Checks a key that does not sign. Nothing about it makes the domain's mail fail now, so the worst finding is a warning.
async fn rotating(check: &mut Check, resolver: &dyn Resolver, domain: &Domain, wanted: &Wanted) {
    let host = wanted.host(domain);
    match wanted.look(resolver, domain).await {
        Ok(shown) => {
            if shown != Shown::Right {
                check.expected.push(format!("{host} TXT \"{}\"", wanted.value));
            }
            check.say(Finding::DkimRotating { host, role: wanted.role, shown });
        }
        Err(error) => check.say(Finding::DkimRotatingUnanswered { host, reason: error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::{Profile, Selector, SigningKey};
    use crate::onboarding::rotation::Role;
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn a_second_key_that_is_not_there_breaks_nothing_while_the_first_one_is() {
        let domain = Domain::parse("test.dk").unwrap();
        let (rsa, second) = (SigningKey::generate_rsa(2048).unwrap(), SigningKey::generate_ed25519().unwrap());
        let selector = |text| Selector::parse(text).unwrap();
        let record = crate::dkim::record::render(&domain, &selector("one"), &rsa).unwrap();
        let profiles = [("one", rsa), ("two", second)].map(|(at, key)| Profile::new(domain.clone(), selector(at), key));
        let signing = SigningDomain::Ready(Signer::new(profiles.into()).unwrap().into());
        let zone = FixedZone::new();
        let settings = Settings::default();
        let look = async || check(&zone, &settings, &domain, &signing, &Ok(Vec::new()), Need::Required).await;
        assert_eq!(look().await.severity(), Severity::Fault, "neither is there");
        zone.add_txt(&record.name, &record.value);
        let found = look().await;
        let missing = Finding::DkimMissing { host: "two._domainkey.test.dk".to_owned() };
        let second = |first_known| Finding::DkimSecond { said: Box::new(missing.clone()), first_known };
        assert!(found.findings.contains(&second(true)), "{:?}", found.findings);
        assert_eq!(found.severity(), Severity::Warning);
        assert!(found.expected[0].starts_with("two._domainkey.test.dk TXT"), "{:?}", found.expected);
        zone.fail("one._domainkey.test.dk");
        let found = look().await;
        assert_eq!(found.severity(), Severity::Unknown, "{:?}", found.findings);
        assert!(found.findings.contains(&second(false)), "{:?}", found.findings);
        zone.heal("one._domainkey.test.dk");
        zone.fail("two._domainkey.test.dk");
        assert_eq!(look().await.severity(), Severity::Warning, "what carries the mail is known");
    }

    #[tokio::test]
    async fn no_answer_about_a_key_that_does_not_sign_leaves_the_result_of_those_that_do() {
        let (zone, domain) = (FixedZone::new(), Domain::parse("test.dk").unwrap());
        zone.fail("postbud2._domainkey.test.dk");
        let mut check = Check::new(Item::Dkim, Need::Required);
        check.say(Finding::DkimGood { host: "postbud1._domainkey.test.dk".to_owned() });
        let wanted = Wanted { role: Role::Incoming, selector: "postbud2".to_owned(), value: "v=DKIM1; p=".to_owned() };
        rotating(&mut check, &zone, &domain, &wanted).await;
        assert_eq!(check.severity(), Severity::Warning, "{:?}", check.findings);
    }
}
