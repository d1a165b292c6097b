//! The permitted targets of a load: an operator's own machines, unless the operator confirms another one.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};

/// The relay under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The address that the relay accepts mail on.
    pub address: SocketAddr,
    /// The name that its certificate must have.
    pub host: String,
}

/// Resolves `HOST:PORT`. An address that is neither this machine's nor in a private network must be confirmed.
pub(super) async fn find(relay: &str, is_meant: bool) -> anyhow::Result<Target> {
    let (host, _) = relay
        .rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        .with_context(|| format!("\"{relay}\" is not a host and a port, like relay.staging.internal:2525"))?;
    let mut found = tokio::net::lookup_host(relay).await.with_context(|| format!("{host} is not found"))?;
    let address = found.next().with_context(|| format!("{host} has no address"))?;
    if !is_meant && !is_of_ones_own(address.ip()) {
        bail!(
            "{} is neither this machine nor in a private network: a load is not for relays that carry real mail, nor for others' \
             servers. If it is your own staging relay, say --yes-this-is-staging",
            address.ip()
        );
    }
    Ok(Target { address, host: host.trim_matches(['[', ']']).to_owned() })
}

/// Returns true for this machine and for networks that cannot be reached from outside.
fn is_of_ones_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 6598: addresses between a provider and its customers.
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_networks_need_no_word() {
        for (address, own) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.9", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("40.74.40.57", false),
            ("::ffff:8.8.8.8", false),
            ("2a00::1", false),
        ] {
            assert_eq!(is_of_ones_own(address.parse().unwrap()), own, "{address}");
        }
    }

    #[tokio::test]
    async fn a_target_is_a_host_and_a_port_and_a_strangers_has_to_be_meant() {
        let found = find("[::1]:2525", false).await.unwrap();
        assert_eq!((found.address, found.host.as_str()), ("[::1]:2525".parse().unwrap(), "::1"));
        for wrong in ["127.0.0.1", ":25", "127.0.0.1:0", "127.0.0.1:smtp", ""] {
            assert!(find(wrong, true).await.unwrap_err().to_string().contains("is not a host and a port"), "{wrong}");
        }
        let refused = find("192.0.2.1:25", false).await.unwrap_err().to_string();
        assert!(refused.contains("--yes-this-is-staging"), "{refused}");
        assert!(find("192.0.2.1:25", true).await.is_ok());
    }
}
