//! The settings for returned mail, which are already checked.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::smtp::{Domain, Mailbox};
use crate::submission::{Limits, ListenerSettings};

/// The settings for returned mail.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain of all return paths. Its MX record names this machine.
    pub domain: Domain,
    /// The address to listen on, TLS, and who may connect.
    pub listener: ListenerSettings,
    /// The addresses for complaints.
    pub complaints: Vec<Mailbox>,
    /// The networks whose complaints are believed without a return path of ours in them.
    pub complaints_from: Vec<IpNet>,
    /// The addresses for DMARC reports.
    pub dmarc: Vec<Mailbox>,
    /// Which mail is forwarded to the original envelope sender.
    pub forward: Forward,
    /// The limits for a client. Limits of logins are not used.
    pub limits: Limits,
    /// The most messages per minute from all clients together; more get 451 4.7.1.
    pub messages_per_minute: u32,
    /// The most octets of mail that may wait to be read; more get 452 4.3.1.
    pub inbox_size: u64,
    /// How long mail to a return path is accepted: as long as the event log keeps the original mail.
    pub keep: Duration,
}

/// Which returned mail is forwarded to the original envelope sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    Nothing,
    /// Failures, and reports of success, which exist only if the sender asked for them.
    Failures,
    /// All mail to a return path except complaints: also delays, automatic replies and people's answers.
    Everything,
}

impl Settings {
    /// Returns true if this client's complaints are believed.
    pub(super) fn believes(&self, client: IpAddr) -> bool {
        self.complaints_from.iter().any(|network| network.contains(&client.to_canonical()))
    }

    /// Returns the default limits. They are separate from submission's, so returned mail never takes resources that webCRM needs to submit.
    pub fn default_limits() -> Limits {
        Limits {
            connections: 200,
            connections_per_address: 20,
            recipients: 20,
            messages_per_connection: 100,
            errors_per_connection: 10,
            commands_per_minute: 60,
            commands_without_mail: 30,
            message_size: 10 << 20,
            transaction_timeout: Duration::from_secs(600),
            bytes_in_flight: 64 << 20,
            ..Limits::default()
        }
    }

    /// The default limit of messages per minute.
    pub const MESSAGES_PER_MINUTE: u32 = 600;
    /// The default limit of octets that may wait to be read.
    pub const INBOX_SIZE: u64 = 256 << 20;
}
