//! The limits of well-known servers: the values behind `preset` in `[route.limits]` of a customer's file.
//!
//! The numbers are the vendors' documented limits as of 2026, or a little less where the server also counts other mail
//! of the same account. Single keys of the file override them ([`CapsOverride`]).

use std::time::Duration;

use super::Caps;

/// A kind of server that many customers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Mailjet takes much; the cap protects our own SNAT ports toward one destination.
    Mailjet,
    /// Exchange Online with SMTP AUTH takes 3 connections, 30 messages a minute, 10,000 recipients a day, 500 a
    /// message.
    Microsoft365,
    /// Exchange on-premises takes 20 connections from a source (`MaxInboundConnectionPerSource`).
    Exchange,
    /// `smtp-relay.gmail.com` takes 100 recipients in a transaction, 10,000 a day.
    GoogleRelay,
    /// Postfix takes 50 connections from a client (`smtpd_client_connection_count_limit`).
    Postfix,
}

impl Preset {
    /// All presets, in the order of the documentation.
    pub const ALL: [Preset; 5] =
        [Preset::Mailjet, Preset::Microsoft365, Preset::Exchange, Preset::GoogleRelay, Preset::Postfix];

    /// Reads the preset's name in the configuration.
    pub fn parse(name: &str) -> Option<Self> {
        Preset::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// The preset's name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Preset::Mailjet => "mailjet",
            Preset::Microsoft365 => "microsoft365",
            Preset::Exchange => "exchange",
            Preset::GoogleRelay => "google-relay",
            Preset::Postfix => "postfix",
        }
    }

    /// Returns the caps that a route of this preset starts with.
    pub fn caps(self) -> Caps {
        let usual = Caps::default();
        match self {
            Preset::Mailjet => {
                Caps { concurrency: 20, recipients_per_transaction: 50, messages_per_connection: 500, ..usual }
            }
            Preset::Microsoft365 => Caps {
                concurrency: 3,
                per_minute: Some(30),
                per_day: Some(10_000),
                recipients_per_transaction: 500,
                messages_per_connection: 100,
                day_shared_by: 1,
                // Exchange Online closes idle connections after about two minutes.
                idle: Duration::from_secs(60),
            },
            Preset::Exchange => Caps { concurrency: 10, recipients_per_transaction: 200, ..usual },
            Preset::GoogleRelay => {
                Caps { concurrency: 10, per_day: Some(10_000), recipients_per_transaction: 100, ..usual }
            }
            Preset::Postfix => Caps { concurrency: 20, ..usual },
        }
    }
}

/// The caps of a server about which nothing is known. They are careful.
impl Default for Caps {
    fn default() -> Self {
        Caps {
            concurrency: 5,
            per_minute: None,
            per_day: None,
            day_shared_by: 1,
            recipients_per_transaction: 100,
            messages_per_connection: 100,
            // This is below Azure's 4 minutes, Postfix's `smtpd_timeout` under stress, and Exchange's 5 minutes.
            idle: Duration::from_secs(120),
        }
    }
}

/// The single keys of a customer's `[route.limits]`. Each key that is given replaces the preset's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapsOverride {
    /// Replaces the most connections at once.
    pub concurrency: Option<u32>,
    /// Replaces the most messages a minute.
    pub per_minute: Option<u32>,
    /// Replaces the most recipients a day.
    pub per_day: Option<u32>,
    /// Replaces the most recipients in a transaction.
    pub recipients_per_transaction: Option<u32>,
    /// Replaces the most messages over one connection.
    pub messages_per_connection: Option<u32>,
    /// Replaces how long an idle connection is kept.
    pub idle: Option<Duration>,
}

impl CapsOverride {
    /// Returns `base` with the given keys replaced.
    pub fn over(self, base: Caps) -> Caps {
        Caps {
            concurrency: self.concurrency.unwrap_or(base.concurrency),
            per_minute: self.per_minute.or(base.per_minute),
            per_day: self.per_day.or(base.per_day),
            day_shared_by: base.day_shared_by,
            recipients_per_transaction: self.recipients_per_transaction.unwrap_or(base.recipients_per_transaction),
            messages_per_connection: self.messages_per_connection.unwrap_or(base.messages_per_connection),
            idle: self.idle.unwrap_or(base.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for preset in Preset::ALL {
            assert_eq!(Preset::parse(preset.as_str()), Some(preset));
        }
        assert_eq!(Preset::parse("Mailjet "), None);
    }

    #[test]
    fn single_keys_override_a_preset() {
        let caps = CapsOverride { concurrency: Some(1), per_day: Some(7), ..CapsOverride::default() }
            .over(Preset::Microsoft365.caps());
        assert_eq!((caps.concurrency, caps.per_minute, caps.per_day), (1, Some(30), Some(7)));
    }

    #[test]
    fn idle_connections_are_closed_before_azure_drops_them() {
        for preset in Preset::ALL {
            assert!(preset.caps().idle < Duration::from_secs(240), "{}", preset.as_str());
        }
    }
}
