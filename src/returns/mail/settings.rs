//! The settings of returned mail, already checked.

use std::time::Duration;

use crate::smtp::{Domain, Mailbox};
use crate::submission::{Limits, ListenerSettings};

/// How returned mail is taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain of all return paths. Its MX record names this machine.
    pub domain: Domain,
    /// Where mail is taken.
    pub listener: ListenerSettings,
    /// The addresses for complaints.
    pub complaints: Vec<Mailbox>,
    /// The addresses for DMARC reports.
    pub dmarc: Vec<Mailbox>,
    /// Which mail is forwarded to the original envelope sender.
    pub forward: Forward,
    /// What a client may use up. Only what mail without a login needs is read.
    pub limits: Limits,
    /// How many messages a minute are taken from all clients together; more hear 451 4.7.1.
    pub messages_per_minute: u32,
    /// Octets of mail that may wait to be read; more hears 452 4.3.1.
    pub inbox_size: u64,
    /// How long a return path is taken: as long as the record knows the mail.
    pub keep: Duration,
}

/// Which returned mail is forwarded to the original envelope sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    Nothing,
    /// What tells that mail was not delivered, and reports of success, which only who asked for them gets.
    Failures,
    /// Everything that comes to a return path and is no complaint: delays, automatic replies and people's answers, too.
    Everything,
}

impl Settings {
    /// The limits of the listener, where nothing else is configured. They are its own: returned mail never takes from webCRM what it needs to
    /// submit.
    pub fn usual_limits() -> Limits {
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

    /// Messages a minute, where nothing else is configured.
    pub const MESSAGES_PER_MINUTE: u32 = 600;
    /// Octets that may wait to be read, where nothing else is configured.
    pub const INBOX_SIZE: u64 = 256 << 20;
}
