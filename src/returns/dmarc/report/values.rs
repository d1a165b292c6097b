//! The values that elements hold.

use std::net::IpAddr;

use crate::smtp::Domain;

/// Returns true for the result "pass".
pub(super) fn passes(text: &str) -> bool {
    text.eq_ignore_ascii_case("pass")
}

/// Reads a domain, even if it is written as an address or with a final dot.
pub(super) fn domain(text: &str) -> Option<Domain> {
    let text = text.rsplit('@').next().unwrap_or_default().trim_matches(['<', '>', '"', '\'', ' ']);
    Domain::parse(text).ok().filter(|domain| domain.as_str().contains('.'))
}

/// Reads an address, even if it has brackets or a port, or is an IPv4 address in IPv6 form.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(['[', ']', ' ']);
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    let parsed =
        text.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}
