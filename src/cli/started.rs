//! The line of the log that says that the relay has started: the version, the configuration, and the state that it found.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::delivery::{Egress, EgressPath};
use crate::server::{Relay, Settings};
use crate::version;

/// The data from the configuration, read before the relay takes the settings.
pub(super) struct Configured {
    file: PathBuf,
    state_dir: PathBuf,
    customers: usize,
    egress: Egress,
}

impl Configured {
    pub(super) fn of(file: &Path, settings: &Settings) -> Self {
        Configured {
            file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            state_dir: settings.state_dir.clone(),
            customers: settings.directory.customers().count(),
            egress: settings.egress.clone(),
        }
    }

    /// Writes the line that says what runs.
    pub(super) async fn tell(&self, relay: &Relay) {
        let listeners: Vec<String> = relay.addresses().iter().map(ToString::to_string).collect();
        let shown = |address: Option<std::net::SocketAddr>| address.map_or("none".to_owned(), |it| it.to_string());
        let (waiting, held) = match relay.waiting().await {
            Ok(lanes) => {
                let sum = |count: fn(&crate::spool::LaneStats) -> u64| lanes.values().map(count).sum::<u64>();
                (sum(|lane| lane.records).to_string(), sum(|lane| lane.held).to_string())
            }
            Err(_) => ("unknown".to_owned(), "unknown".to_owned()),
        };
        tracing::info!(
            version = version::VERSION,
            commit = version::COMMIT,
            config = %self.file.display(),
            state_dir = %self.state_dir.display(),
            customers = self.customers,
            waiting = %waiting,
            held = %held,
            listeners = %listeners.join(", "),
            pages = %shown(relay.web_address()),
            egress = %Leaving(&self.egress),
            api = %shown(relay.api_address()),
            customers_pages = %shown(relay.customers_address()),
            operators_pages = %shown(relay.operators_address()),
            "postbud takes mail"
        );
    }
}

/// Describes how mail leaves from the egress address.
struct Leaving<'a>(&'a Egress);

impl fmt::Display for Leaving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.address;
        match &self.0.path {
            EgressPath::Bind(local) if *local == address => write!(f, "{address}"),
            EgressPath::Bind(local) if local.is_unspecified() => write!(f, "{address}, given by the network"),
            EgressPath::Bind(local) => write!(f, "{address}, bound to {local}"),
            EgressPath::Socks5 { proxy, .. } => write!(f, "{address}, through the proxy {proxy}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_said_without_the_proxys_password() {
        let address = "192.0.2.1".parse().unwrap();
        let proxy = "127.0.0.1:1080".parse().unwrap();
        let login = Some(("user".to_owned(), "password".to_owned()));
        for (path, said) in [
            (EgressPath::Bind(address), "192.0.2.1"),
            (EgressPath::Bind("0.0.0.0".parse().unwrap()), "192.0.2.1, given by the network"),
            (EgressPath::Bind("10.0.0.4".parse().unwrap()), "192.0.2.1, bound to 10.0.0.4"),
            (EgressPath::Socks5 { proxy, login }, "192.0.2.1, through the proxy 127.0.0.1:1080"),
        ] {
            let egress = Egress { address, path, expect_seen_as: None };
            assert_eq!(Leaving(&egress).to_string(), said);
        }
    }
}
