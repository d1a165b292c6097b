//! The name by which a request calls the pages: one that is let in means this machine to a browser, too, so that no page from
//! elsewhere reads what is answered here.
//!
//! `tests/fuzz/run 120 page_names`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::web::Hosts;
use url::{Host, Url};

fuzz_target!(|host: &[u8]| {
    // The HTTP library lets no other Host header through.
    let Ok(host) = std::str::from_utf8(host) else { return };
    if !host.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return;
    }
    for (address, is_anywhere) in [("10.0.0.4:8025", false), ("0.0.0.0:8025", true)] {
        let hosts = Hosts::new(address.parse().expect("an address"), ["Relay.Internal.".to_owned()]);
        if !hosts.include(host) {
            continue;
        }
        let url = Url::parse(&format!("http://{host}/")).unwrap_or_else(|error| panic!("{host:?}: {error}"));
        let is_ours = match url.host().expect("http has a host") {
            Host::Domain(name) => matches!(name.trim_end_matches('.'), "localhost" | "relay.internal"),
            Host::Ipv4(ip) => is_anywhere || ip.is_loopback() || ip.octets() == [10, 0, 0, 4],
            Host::Ipv6(ip) => {
                is_anywhere || ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback() || ip.octets() == [10, 0, 0, 4])
            }
        };
        assert!(is_ours, "{host:?} is let in, and a browser goes to {url}");
    }
});
