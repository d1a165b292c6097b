//! The subjects of alerts about lasting trouble.

use std::fmt;

/// The subject of lasting trouble. In events it is written as `route:own-server.test-as`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A reload was refused.
    Configuration,
    /// A listener's certificate file cannot be read.
    Certificate(String),
    /// The spool has no room for new mail.
    SpoolRoom,
    /// The spool cannot be written.
    SpoolWrites,
    /// A shard of the spool in PostgreSQL cannot be taken.
    Shard(String),
    /// Delivery stops because results cannot be recorded or mail cannot be read.
    Delivery,
    /// The clock jumped ahead.
    Clock,
    /// The event log cannot be written.
    EventLog,
    /// A webhook does not accept events.
    Webhook(String),
    /// A customer's events use up more than its share of the log.
    EventShare(String),
    /// A route carries no mail.
    Route(String),
    /// More mail waits for a route than its caps let through in time.
    Backlog(String),
    /// A customer's queued mail has no route.
    Unrouted(String),
    /// Messages of a customer are held by the relay.
    Held(String),
    /// A customer sends unusually much, or too much of its mail bounces or causes complaints.
    Volume(String),
    /// The DKIM key of a domain cannot be used.
    SigningKey(String),
    /// A requirement that a domain had verified and no longer meets, as `test.dk/spf`.
    Verification(String),
    /// The check result of a domain cannot be saved.
    CheckResult(String),
    /// Routes log in at Microsoft 365 with a password, which stops working.
    PasswordsAtMicrosoft365,
    /// A customer's delegated key cannot be kept in webCRM's zone or replaced.
    DelegatedKey(String),
    /// Mailjet's API refuses a tier's key or does not answer, as `trusted`; a domain cannot be registered, as `trusted/test.dk`; Mailjet's events
    /// cannot be stored, as `events`; or they wait because the event log cannot be read, as `record`.
    Mailjet(String),
    /// A file with a domain's check results cannot be read.
    CheckResultFile(String),
    /// Returned mail waits to be read.
    ReturnedMail,
}

impl Subject {
    /// All kinds of subjects, by the names in events, metrics and the operator's handbook.
    pub const KINDS: [&str; 23] = [
        "configuration",
        "certificate",
        "spool-room",
        "spool-writes",
        "shard",
        "delivery",
        "clock",
        "event-log",
        "webhook",
        "event-share",
        "route",
        "backlog",
        "unrouted",
        "held",
        "volume",
        "signing-key",
        "verification",
        "check-result",
        "passwords-at-microsoft365",
        "delegated-key",
        "mailjet",
        "check-result-file",
        "returned-mail",
    ];

    /// Returns the kind of the subject.
    pub fn kind(&self) -> &'static str {
        self.parts().0
    }

    /// Returns the kind, and the name of the particular thing.
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Subject::Configuration => ("configuration", None),
            Subject::Certificate(path) => ("certificate", Some(path)),
            Subject::SpoolRoom => ("spool-room", None),
            Subject::SpoolWrites => ("spool-writes", None),
            Subject::Shard(number) => ("shard", Some(number)),
            Subject::Delivery => ("delivery", None),
            Subject::Clock => ("clock", None),
            Subject::EventLog => ("event-log", None),
            Subject::Webhook(name) => ("webhook", Some(name)),
            Subject::EventShare(customer) => ("event-share", Some(customer)),
            Subject::Route(id) => ("route", Some(id)),
            Subject::Backlog(route) => ("backlog", Some(route)),
            Subject::Unrouted(customer) => ("unrouted", Some(customer)),
            Subject::Held(customer) => ("held", Some(customer)),
            Subject::Volume(customer) => ("volume", Some(customer)),
            Subject::SigningKey(domain) => ("signing-key", Some(domain)),
            Subject::Verification(step) => ("verification", Some(step)),
            Subject::CheckResult(domain) => ("check-result", Some(domain)),
            Subject::PasswordsAtMicrosoft365 => ("passwords-at-microsoft365", None),
            Subject::DelegatedKey(customer) => ("delegated-key", Some(customer)),
            Subject::Mailjet(which) => ("mailjet", Some(which)),
            Subject::CheckResultFile(path) => ("check-result-file", Some(path)),
            Subject::ReturnedMail => ("returned-mail", None),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, which) = self.parts();
        f.write_str(kind)?;
        which.map_or(Ok(()), |which| write!(f, ":{which}"))
    }
}

impl serde::Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}
