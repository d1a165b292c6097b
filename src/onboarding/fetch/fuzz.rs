//! For `tests/fuzz` only (feature `fuzzing`): the parts of the fetcher that read what a web server sent.

use url::{Host, Url};

use super::hop::Hop;
use super::{BLANK, is_blank};
use crate::smtp::Domain;

/// Reads the content of a file.
///
/// # Panics
/// Panics if a file with a visible octet counts as empty.
pub(in crate::onboarding) fn body(octets: &[u8]) {
    assert!(!is_blank(octets) || octets.iter().all(|octet| BLANK.contains(octet)), "{octets:?}");
}

/// Follows a redirect from the file to `location`.
///
/// # Panics
/// Panics if the request would leave the domain, its ports or HTTP.
pub(in crate::onboarding) fn redirect(location: &str, domain: &Domain) {
    let from = Url::parse(&format!("http://{domain}/x.txt")).expect("a web address");
    let Ok(to) = from.join(location) else { return };
    let Ok(hop) = Hop::to(&to, domain, 80, 443) else { return };
    let url = hop.url();
    // Read it again, as the HTTP client does.
    let again = Url::parse(url.as_str()).expect("it was read before");
    let Some(Host::Domain(host)) = again.host() else { panic!("{location:?}: {again}") };
    assert!(host == domain.as_str() || host.strip_suffix(domain.as_str()).is_some_and(|sub| sub.ends_with('.')));
    assert!(matches!((again.scheme(), again.port_or_known_default()), ("http", Some(80)) | ("https", Some(443))));
    assert!(again.username().is_empty() && again.password().is_none(), "{again}");
}
