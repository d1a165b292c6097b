//! One customer: its domains, what signs for them, and which way its mail goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dkim::Signer;
use crate::message::CustomerId;
use crate::route::Route;
use crate::smtp::Domain;

/// One customer.
#[derive(Clone)]
pub struct Customer {
    /// The name of its file.
    pub id: CustomerId,
    /// For people.
    pub name: String,
    /// From domains, each with what signs for it.
    pub domains: BTreeMap<Domain, SigningDomain>,
    /// Domains that MAIL FROM may be in besides the customer's own.
    pub bounce_domains: Vec<Domain>,
    /// The route of its mail.
    pub via: Via,
    /// Taken out of service, with the reason: its mail is refused at the door and held in the queue.
    pub suspended: Option<String>,
    /// What happens to bulk mail while the domain lacks what bulk needs.
    pub bulk: BulkPolicy,
    /// Whether failures also go to the sender as mail (RFC 3464).
    pub bounce_mail: bool,
    /// `X-Mailjet-TrackOpen`; `None` leaves it to Mailjet's account.
    pub track_opens: Option<bool>,
    /// `X-Mailjet-TrackClick`.
    pub track_clicks: Option<bool>,
}

/// What signs for one From domain.
#[derive(Clone)]
pub enum SigningDomain {
    /// Ready.
    Ready(Arc<Signer>),
    /// The key cannot be used: mail is deferred at the door (451 4.7.5) and an alert says why.
    Broken(String),
}

/// A place in a customer's file that names a key: its selector and the file with the private key. Each key signs for every
/// domain of the customer, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// `selector` and `private_key`, which every customer has.
    Main,
    /// `ed25519_selector` and `ed25519_private_key`, a second signature.
    Ed25519,
}

impl KeyPlace {
    /// All, in the order of their signatures.
    pub const ALL: [KeyPlace; 2] = [KeyPlace::Main, KeyPlace::Ed25519];

    /// As commands and files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyPlace::Main => "main",
            KeyPlace::Ed25519 => "ed25519",
        }
    }

    /// The key of `[dkim]` that holds the selector.
    pub fn selector(self) -> &'static str {
        match self {
            KeyPlace::Main => "selector",
            KeyPlace::Ed25519 => "ed25519_selector",
        }
    }

    /// The key of `[dkim]` that names the private key's file.
    pub fn private_key(self) -> &'static str {
        match self {
            KeyPlace::Main => "private_key",
            KeyPlace::Ed25519 => "ed25519_private_key",
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a customer's mail goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Via {
    /// Mailjet, in a fixed tier or in the best one the domain has earned.
    Mailjet {
        /// `tier = "trusted"` in the customer's file.
        tier: Option<String>,
    },
    /// The customer's own server.
    OwnServer(Arc<Route>),
}

/// What happens to bulk mail of a domain that lacks what bulk needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkPolicy {
    /// 550 with the missing step.
    Refuse,
    /// Accept, with an event that names the missing step.
    Warn,
}
