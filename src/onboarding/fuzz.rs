//! For `tests/fuzz` only (feature `fuzzing`): the answers of a customer's web server and name server about the proof of ownership, and those
//! of a DNS provider that the zone names (Domain Connect).

use url::Host;

use super::connect::{ZoneProvider, below};
use super::ownership::{Challenge, Secret, check};
use super::{Finding, Need, Settings, fetch};
use crate::message::CustomerId;
use crate::plain;
use crate::resolver::{FixedZone, Record};
use crate::smtp::Domain;

/// Uses `answer` as the file's content, as the target of a redirect, and as the strings of the TXT record, which are divided at each NUL.
///
/// # Panics
/// Panics if a redirect leads out of the domain, or if anything but the token counts as a proof.
pub fn ownership(answer: &[u8]) {
    let domain = Domain::parse("a.dk").expect("a name");
    fetch::fuzz::body(answer);
    fetch::fuzz::redirect(&String::from_utf8_lossy(answer), &domain);

    let settings = Settings::default();
    let challenge = Challenge::new(&settings, &Secret::from_octets(&[7; 32]), &CustomerId::new("a"), &domain);
    let zone = FixedZone::new();
    let strings: Vec<Vec<u8>> = answer.split(|octet| *octet == 0).map(<[u8]>::to_vec).collect();
    zone.add(&challenge.host, Record::Txt(strings.clone()));
    let fetcher = fetch::Fetcher::new(&settings);
    // The zone answers at once and has no web server, so nothing waits, but a deadline needs a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let check = runtime.block_on(check(&zone, &fetcher, &challenge, &domain, Need::Required));
    let is_proven = check.findings.iter().any(|finding| matches!(finding, Finding::OwnershipByTxt { .. }));
    let text = plain::as_meant(&plain::text(&strings.concat())).to_ascii_lowercase();
    assert!(!is_proven || text.contains(&challenge.token), "{check:?}");
}

/// Reads what a DNS provider answers about a zone.
///
/// # Panics
/// Panics if a request to one of its addresses would not go to a host by HTTPS, or if its name is long.
pub fn domain_connect(answer: &[u8]) {
    let Some(ZoneProvider { name, api, pages }) = ZoneProvider::read(answer, "https") else { return };
    assert!(name.is_none_or(|name| name.chars().count() <= 100));
    for base in [&api, &pages] {
        let Some(asked) = below(base, "v2/domainTemplates/providers/webcrm.com/services/mail") else { continue };
        assert!(asked.scheme() == "https" && matches!(asked.host(), Some(Host::Domain(_))), "{asked}");
        assert_eq!(asked.host(), base.host(), "{asked}");
        assert!(asked.username().is_empty() && asked.password().is_none() && asked.query().is_none(), "{asked}");
        assert!(asked.path().ends_with("/services/mail"), "{asked}");
    }
}
