//! The key that Mailjet makes for a domain and signs with (`mailjet._domainkey`).

use super::published::{Published, published};
use crate::dkim::record::Flaw;
use crate::dkim::{KeyRecord, key_host};
use crate::onboarding::finding::{Check, DkimFlaw, Finding, Item, Need, NoKey};
use crate::onboarding::{Seen, Settings};
use crate::resolver::Resolver;
use crate::smtp::Domain;

/// Checks Mailjet's key. If the value that Mailjet has issued is known, it is compared. Otherwise the check only finds out whether a usable
/// key is published, and reports who must get the value.
pub(in crate::onboarding) async fn mailjet(resolver: &dyn Resolver, settings: &Settings, domain: &Domain) -> Check {
    let mut check = Check::new(Item::MailjetDkim, Need::Recommended);
    let host = key_host(&settings.mailjet_selector, domain);
    let published = published(&mut check, resolver, domain, &host).await;
    match &settings.mailjets_keys(domain)[..] {
        [value, others @ ..] => compare(&mut check, host, published, value, others),
        [] => without_value(&mut check, host, domain, published),
    }
    check
}

/// Compares the published key with the issued value. `others` are keys of Mailjet's other accounts, which may also sign.
fn compare(check: &mut Check, host: String, published: Published, value: &str, others: &[&str]) {
    check.expected.push(format!("{host} TXT \"{value}\""));
    match published {
        Published::Missing => check.say(Finding::DkimMissing { host }),
        Published::Several(count) => check.say(Finding::DkimSeveral { host, count }),
        Published::Unknown => {}
        Published::One(record) => {
            mailjets_flaws(check, &host, &record);
            if record.public_key.is_empty() {
                // This is already reported, and there is nothing to compare.
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

/// Reports a key whose value is unknown here. The customer cannot correct it, whatever is wrong: the next step is to get the value.
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

/// Returns whether the key is good, as far as DMARC may depend on it. A key that cannot be compared may be anybody's.
pub(in crate::onboarding) fn seen(check: &Check) -> Seen {
    match check.findings.iter().any(|finding| matches!(finding, Finding::MailjetKeyUnset { .. })) {
        true => Seen::Unknown,
        false => check.severity().into(),
    }
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
    use crate::dkim::tags::Mistake;
    use crate::dkim::{Selector, SigningKey};
    use crate::onboarding::MailjetRecords;
    use crate::onboarding::finding::Severity;
    use crate::resolver::FixedZone;

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
}
