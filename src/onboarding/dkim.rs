//! Checks that the published keys are the keys that sign.

use super::finding::{Check, DkimFlaw, Finding, Item, Need, NoKey, Severity};
use super::misplaced::{doubled, wrong_host};
use super::rotation::{Shown, Wanted};
use super::{Seen, Settings, delegation};
use crate::customers::SigningDomain;
use crate::dkim::record::Flaw;
use crate::dkim::tags::TagList;
use crate::dkim::{KeyRecord, KeyType, Selector, Signer, SigningKey, key_host};
use crate::plain;
use crate::resolver::{Resolver, joined};
use crate::smtp::Domain;

/// Checks every key that signs for the domain, and what a change of keys wants to stand there besides. Keys that are delegated
/// change in webCRM's zone alone.
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
        SigningDomain::Ready(signer) => all(&mut check, resolver, settings, domain, signer).await,
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
            None => one(&mut place, resolver, domain, selector, key).await,
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

/// Checks one key at its selector.
pub async fn one(check: &mut Check, resolver: &dyn Resolver, domain: &Domain, selector: &Selector, key: &SigningKey) {
    let host = selector.dns_name(domain);
    let value = match crate::dkim::record::render(domain, selector, key) {
        Ok(record) => record.value,
        Err(error) => return check.say(Finding::DkimKeyUnusable { reason: error.to_string() }),
    };
    let expected = format!("{host} TXT \"{value}\"");
    let record = match published(check, resolver, domain, &host).await {
        Published::One(record) => {
            flaws(check, &host, &record);
            record
        }
        nothing => {
            match nothing {
                Published::Missing => check.say(Finding::DkimMissing { host }),
                Published::Several(count) => check.say(Finding::DkimSeveral { host, count }),
                Published::One(_) | Published::Unknown => {}
            }
            return check.expected.push(expected);
        }
    };
    if record.flaws.iter().any(is_worth_mending) || !record.is_of(key) {
        check.expected.push(expected);
    }
    if record.public_key.is_empty() {
        // The key is revoked, missing or unreadable. That is noted, and there is nothing to compare.
        return;
    }
    match record.is_of(key) {
        true if record.is_usable() => check.say(Finding::DkimGood { host }),
        true => {}
        false => check.say(Finding::DkimMismatch { host }),
    }
}

/// Checks Mailjet's key. If the value that Mailjet has issued is known, it is compared. Otherwise the check is only that a usable key is
/// published, and it says who has to get the value.
pub async fn mailjet(resolver: &dyn Resolver, settings: &Settings, domain: &Domain) -> Check {
    let mut check = Check::new(Item::MailjetDkim, Need::Recommended);
    let host = key_host(&settings.mailjet_selector, domain);
    let published = published(&mut check, resolver, domain, &host).await;
    match &settings.mailjets_keys(domain)[..] {
        [value, others @ ..] => compare(&mut check, host, published, value, others),
        [] => without_value(&mut check, host, domain, published),
    }
    check
}

/// `others` are keys of Mailjet's other accounts, which may sign as well.
fn compare(check: &mut Check, host: String, published: Published, value: &str, others: &[&str]) {
    check.expected.push(format!("{host} TXT \"{value}\""));
    match published {
        Published::Missing => check.say(Finding::DkimMissing { host }),
        Published::Several(count) => check.say(Finding::DkimSeveral { host, count }),
        Published::Unknown => {}
        Published::One(record) => {
            mailjets_flaws(check, &host, &record);
            if record.public_key.is_empty() {
                // Already said, and nothing to compare.
            } else if record.public_key != KeyRecord::parse(value).public_key {
                check.say(match others.iter().any(|other| record.public_key == KeyRecord::parse(other).public_key) {
                    true => Finding::MailjetKeyOfOther { host },
                    false => Finding::DkimMismatch { host },
                });
            } else if record.is_usable_for_others() {
                check.say(Finding::DkimGood { host });
            }
        }
    }
}

/// Whatever is wrong with a key whose value nobody here knows, the customer cannot mend it: the one next step is to get the
/// value.
fn without_value(check: &mut Check, host: String, domain: &Domain, published: Published) {
    let domain = domain.to_string();
    let why = match published {
        Published::Unknown => return,
        Published::One(record) if record.is_usable_for_others() => {
            mailjets_flaws(check, &host, &record);
            return check.say(Finding::MailjetKeyUnset { host, domain });
        }
        Published::Missing => NoKey::Missing,
        Published::Several(count) => NoKey::Several { count },
        Published::One(record) => {
            let fatal = record.flaws.into_iter().filter(Flaw::is_fatal_to_others);
            NoKey::Flawed { flaws: fatal.map(DkimFlaw).collect() }
        }
    };
    check.say(Finding::MailjetKeyMissing { host, domain, why });
}

/// Returns how the check saw the key, as far as DMARC may depend on it. A key that cannot be compared may be anybody's.
pub fn seen(check: &Check) -> Seen {
    match check.findings.iter().any(|finding| matches!(finding, Finding::MailjetKeyUnset { .. })) {
        true => Seen::Unknown,
        false => check.severity().into(),
    }
}

/// The records at a key's host.
#[derive(Debug, PartialEq, Eq)]
enum Published {
    /// There is one record. The caller notes its flaws.
    One(KeyRecord),
    /// There are this many records, and receivers use any of them.
    Several(usize),
    /// There is no record. It is noted if the record is elsewhere.
    Missing,
    /// The name server did not answer, which is noted.
    Unknown,
}

/// Looks up the record at `host`. Notes where a missing record is instead, and why the answer is not known. The caller notes what to do.
async fn published(check: &mut Check, resolver: &dyn Resolver, domain: &Domain, host: &str) -> Published {
    let texts = match resolver.txt(host).await {
        Ok(texts) => texts,
        Err(error) => {
            check.say(Finding::Unanswered { reason: error });
            return Published::Unknown;
        }
    };
    let mut texts: Vec<String> = texts.iter().map(|strings| plain::text(&joined(strings))).collect();
    texts.sort();
    check.found.extend(texts.iter().cloned());
    if !texts.iter().any(|text| is_meant_as_key(text)) {
        // A wildcard answers for every name that does not exist. Its record must not be replaced; the key must be added.
        texts.clear();
    }
    match &texts[..] {
        [] => {
            let mut hosts = doubled(resolver, host, domain).await;
            hosts.extend([host.replacen("._domainkey", "", 1), host.replacen("._", ".", 1)]);
            for wrong in hosts {
                let there = resolver.txt(&wrong).await.is_ok_and(|texts| {
                    texts.iter().any(|strings| !KeyRecord::parse(&plain::text(&joined(strings))).public_key.is_empty())
                });
                if there {
                    check.say(wrong_host(resolver, wrong, host).await);
                }
            }
            Published::Missing
        }
        [one] => Published::One(KeyRecord::parse(one)),
        // RFC 6376 §3.6.2.2: the result is undefined, and receivers use any of them.
        several => Published::Several(several.len()),
    }
}

/// Returns true if a TXT value is a key record, good or bad.
fn is_meant_as_key(text: &str) -> bool {
    let list = TagList::read(text, &["v", "k", "p"]);
    list.tags.iter().any(|tag| match tag.name.as_str() {
        "v" | "V" => tag.value.to_ascii_lowercase().starts_with("dkim"),
        name => matches!(name, "p" | "P" | "k" | "K"),
    })
}

fn flaws(check: &mut Check, host: &str, record: &KeyRecord) {
    for flaw in record.flaws.iter().filter(|flaw| **flaw != Flaw::Strict) {
        check.say(Finding::DkimFlaw { host: host.to_owned(), flaw: DkimFlaw(flaw.clone()) });
    }
}

/// Returns true if two records mean the same to receivers. Our signatures are of the domain itself, so `t=s` does not matter.
fn is_worth_mending(flaw: &Flaw) -> bool {
    !matches!(flaw, Flaw::NoVersion | Flaw::Strict)
}

/// Replaces the finding about a short key of Mailjet's, because the customer cannot correct it.
fn mailjets_flaws(check: &mut Check, host: &str, record: &KeyRecord) {
    for flaw in record.flaws.iter().filter(|flaw| **flaw != Flaw::Strict) {
        check.say(match flaw {
            Flaw::Weak(bits) => Finding::MailjetKeyShort { host: host.to_owned(), bits: *bits },
            flaw => Finding::DkimFlaw { host: host.to_owned(), flaw: DkimFlaw(flaw.clone()) },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::Profile;
    use crate::dkim::tags::Mistake;
    use crate::onboarding::MailjetRecords;
    use crate::onboarding::rotation::Role;
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn what_a_wildcard_answers_is_not_taken_for_a_bad_key() {
        let (domain, selector) = (Domain::parse("test.dk").unwrap(), Selector::parse("postbud1").unwrap());
        let (key, host) = (SigningKey::from_ed25519_seed(&[1; 32]).unwrap(), "postbud1._domainkey.test.dk".to_owned());
        let zone = FixedZone::new();
        zone.add_txt(&host, "v=spf1 -all");
        zone.add_txt(&host, "google-site-verification=k; x");
        let mut check = Check::new(Item::Dkim, Need::Required);
        one(&mut check, &zone, &domain, &selector, &key).await;
        assert_eq!(check.findings, [Finding::DkimMissing { host: host.clone() }]);
        for text in ["v=DKIM1", "\"v=DKIM1; p=AA\"", "k=rsa", " p = AAAA", "V=DKIM1\\; p=x", "v=dkim2;p="] {
            assert!(is_meant_as_key(text), "{text}");
        }
    }

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
    async fn a_short_key_of_mailjets_is_only_worth_knowing() {
        const SHORT: &str = "k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
        let domain = Domain::parse("test.dk").unwrap();
        let host = "mailjet._domainkey.test.dk".to_owned();
        let zone = FixedZone::new();
        zone.add_txt(&host, SHORT);
        let mut settings = Settings::default();
        for configured in [None, Some(SHORT.to_owned())] {
            settings.mailjet.insert(domain.clone(), MailjetRecords { dkim: configured, ..MailjetRecords::default() });
            let found = mailjet(&zone, &settings, &domain).await;
            assert_eq!(found.severity(), Severity::Hint, "{:?}", found.findings);
            assert!(found.findings.contains(&Finding::MailjetKeyShort { host: host.clone(), bits: 1024 }));
        }
    }

    #[tokio::test]
    async fn nobody_is_told_to_publish_a_value_of_mailjets_that_is_not_shown() {
        use crate::onboarding::Lang;
        const OF_512_BITS: &str = "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK+QULqwLTV+h2gnf6flCljRVsLKzvZtUW+4eO/NudOSOMYTzmd06wGoyuLhM+aqqsxpOaHBoIOdmgO0+NZBp68CAwEAAQ==";
        let domain = Domain::parse("test.dk").unwrap();
        let good = SigningKey::generate_rsa(2048).unwrap();
        let good = crate::dkim::record::render(&domain, &Selector::parse("mailjet").unwrap(), &good).unwrap().value;
        let missing = |why| Finding::MailjetKeyMissing {
            host: "mailjet._domainkey.test.dk".to_owned(),
            domain: "test.dk".to_owned(),
            why,
        };
        let flawed = |flaw| NoKey::Flawed { flaws: vec![DkimFlaw(flaw)] };
        for (published, why) in [
            (vec![], NoKey::Missing),
            (vec!["v=DKIM1; p=".to_owned()], flawed(Flaw::Revoked)),
            (vec![good.replace("DKIM1", "DKIM2")], flawed(Flaw::Version("DKIM2".to_owned()))),
            (vec![format!("{good}; k=rsa")], flawed(Flaw::Tags(Mistake::Twice("k".to_owned())))),
            (vec![OF_512_BITS.to_owned()], flawed(Flaw::Weak(512))),
            (vec![good.clone(), "v=DKIM1; p=".to_owned()], NoKey::Several { count: 2 }),
        ] {
            let zone = FixedZone::new();
            published.iter().for_each(|text| zone.add_txt("mailjet._domainkey.test.dk", text));
            let found = mailjet(&zone, &Settings::default(), &domain).await;
            assert_eq!((&found.findings[..], found.expected.len()), (&[missing(why)][..], 0), "{published:?}");
            for (lang, shown) in [(Lang::En, "shown"), (Lang::Da, "viste")] {
                assert!(!lang.finding(&found.findings[0]).next.contains(shown), "{published:?}");
            }
        }
    }

    #[tokio::test]
    async fn no_answer_about_a_key_that_does_not_sign_leaves_the_verdict_on_those_that_do() {
        let (zone, domain) = (FixedZone::new(), Domain::parse("test.dk").unwrap());
        zone.fail("postbud2._domainkey.test.dk");
        let mut check = Check::new(Item::Dkim, Need::Required);
        check.say(Finding::DkimGood { host: "postbud1._domainkey.test.dk".to_owned() });
        let wanted = Wanted { role: Role::Incoming, selector: "postbud2".to_owned(), value: "v=DKIM1; p=".to_owned() };
        rotating(&mut check, &zone, &domain, &wanted).await;
        assert_eq!(check.severity(), Severity::Warning, "{:?}", check.findings);
    }
}
