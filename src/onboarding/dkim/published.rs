//! Looks up one key's record in DNS, and finds out what is wrong with it.

use crate::dkim::record::Flaw;
use crate::dkim::{KeyRecord, Selector, SigningKey};
use crate::onboarding::alias;
use crate::onboarding::finding::{Check, DkimFlaw, Finding};
use crate::onboarding::misplaced::{doubled, wrong_host};
use crate::plain;
use crate::resolver::{Resolver, joined};
use crate::smtp::Domain;

/// Checks one key at its selector.
pub(in crate::onboarding) async fn one(
    check: &mut Check,
    resolver: &dyn Resolver,
    domain: &Domain,
    selector: &Selector,
    key: &SigningKey,
) {
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

/// The records at a key's host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Published {
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
pub(super) async fn published(check: &mut Check, resolver: &dyn Resolver, domain: &Domain, host: &str) -> Published {
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
    let is_key = texts.iter().any(|text| KeyRecord::is_meant(text));
    // A domain without mail revokes the keys of all selectors at once: `*._domainkey TXT v=DKIM1; p=`.
    let holds_none = !texts.iter().any(|text| !KeyRecord::parse(text).public_key.is_empty());
    if holds_none && is_wildcards(resolver, host, &texts).await.unwrap_or(!is_key) {
        // A wildcard answers for every name that does not exist. Its record must not be replaced; the key must be added. Where DNS does
        // not say, a key record is the name's own: a second one beside it would make both useless.
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
        [one] if is_key => Published::One(KeyRecord::parse(one)),
        [other] => Published::One(KeyRecord::of_another_kind(other)),
        // RFC 6376 §3.6.2.2: the result is undefined, and receivers use any of them.
        several => Published::Several(several.len()),
    }
}

/// Returns true if a name that cannot exist has the same TXT records, and `None` if DNS does not say.
async fn is_wildcards(resolver: &dyn Resolver, host: &str, texts: &[String]) -> Option<bool> {
    let Some(sibling) = alias::sibling(host).filter(|_| !texts.is_empty()) else { return Some(true) };
    let others = resolver.txt(&sibling).await.ok()?;
    let mut others: Vec<String> = others.iter().map(|strings| plain::text(&joined(strings))).collect();
    others.sort();
    Some(others == texts)
}

fn flaws(check: &mut Check, host: &str, record: &KeyRecord) {
    for flaw in record.flaws.iter().filter(|flaw| **flaw != Flaw::Strict) {
        check.say(Finding::DkimFlaw { host: host.to_owned(), flaw: DkimFlaw(flaw.clone()) });
    }
}

/// Returns true if the flaw matters to receivers. Our signatures are of the domain itself, so `t=s` does not matter.
fn is_worth_mending(flaw: &Flaw) -> bool {
    !matches!(flaw, Flaw::NoVersion | Flaw::Strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::finding::{Item, Need};
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn what_a_wildcard_answers_is_not_taken_for_a_bad_key() {
        let (domain, selector) = (Domain::parse("test.dk").unwrap(), Selector::parse("postbud1").unwrap());
        let (key, host) = (SigningKey::from_ed25519_seed(&[1; 32]).unwrap(), "postbud1._domainkey.test.dk".to_owned());
        let zone = FixedZone::new();
        zone.add_txt("*.test.dk", "v=spf1 -all");
        zone.add_txt("*.test.dk", "google-site-verification=k; x");
        let mut check = Check::new(Item::Dkim, Need::Required);
        one(&mut check, &zone, &domain, &selector, &key).await;
        assert_eq!(check.findings, [Finding::DkimMissing { host: host.clone() }]);
        let zone = FixedZone::new();
        zone.add_txt("*._domainkey.test.dk", "v=DKIM1; p=");
        let mut check = Check::new(Item::Dkim, Need::Required);
        one(&mut check, &zone, &domain, &selector, &key).await;
        assert_eq!(check.findings, [Finding::DkimMissing { host: host.clone() }]);
        // Where DNS does not say what a wildcard answers, a second record beside this one could be one too many.
        let zone = FixedZone::parse("*._domainkey.test.dk CNAME dead.dk\ndead.dk FAIL").unwrap();
        zone.add_txt(&host, "v=DKIM1; p=");
        let mut check = Check::new(Item::Dkim, Need::Required);
        one(&mut check, &zone, &domain, &selector, &key).await;
        assert!(!check.findings.is_empty() && !check.findings.contains(&Finding::DkimMissing { host: host.clone() }));
        // What stands at the host itself must go.
        for (texts, finding) in [
            (
                &["dkim.mcsv.net"][..],
                Finding::DkimFlaw { host: host.clone(), flaw: DkimFlaw(Flaw::NoRecord("dkim.mcsv.net".into())) },
            ),
            (&["v=spf1 -all", "x"], Finding::DkimSeveral { host: host.clone(), count: 2 }),
        ] {
            let zone = FixedZone::parse("*.test.dk TXT \"v=spf1 -all\"").unwrap();
            texts.iter().for_each(|text| zone.add_txt(&host, text));
            let mut check = Check::new(Item::Dkim, Need::Required);
            one(&mut check, &zone, &domain, &selector, &key).await;
            assert_eq!(check.findings, [finding]);
            assert_eq!(check.expected.len(), 1);
        }
        for text in ["v=DKIM1", "\"v=DKIM1; p=AA\"", "k=rsa", " p = AAAA", "V=DKIM1\\; p=x", "v=dkim2;p="] {
            assert!(KeyRecord::is_meant(text), "{text}");
        }
    }
}
