//! One customer: its domains, their signing keys, and the route of its mail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::suppression::Policy;
use super::{TestMode, VolumeLimits};
use crate::dkim::Signer;
use crate::message::CustomerId;
use crate::route::Route;
use crate::smtp::{Domain, Mailbox};

/// A customer as configured in its file.
#[derive(Clone)]
pub struct Customer {
    /// The customer's id, which is the name of its file.
    pub id: CustomerId,
    /// The name shown to people.
    pub name: String,
    /// The From domains, each with its signer.
    pub domains: BTreeMap<Domain, SigningDomain>,
    /// Domains that MAIL FROM may use besides the From domains.
    pub bounce_domains: Vec<Domain>,
    /// How the customer's mail is routed.
    pub via: Via,
    /// The route of the customer's own Mailjet account, if it has one. Mail uses it after that account has accepted the From domain.
    pub own_mailjet: Option<Arc<Route>>,
    /// The reason why the operator has suspended the customer, or `None`. New mail of a suspended customer is refused, and mail in the
    /// queue waits.
    pub suspended: Option<String>,
    /// What happens to bulk mail from a domain that does not meet the requirements for bulk mail.
    pub bulk: BulkPolicy,
    /// What happens to bulk mail without one-click unsubscription. `None` means that it is neither refused nor reported.
    pub one_click: Option<BulkPolicy>,
    /// How much the customer may send.
    pub limits: VolumeLimits,
    /// How the customer's suppression list is used and filled.
    pub suppression: Policy,
    /// The customer's test mode; `None` for normal mail.
    pub test: Option<TestMode>,
    /// The people who get letters when a domain is fully verified, or when one of its records has disappeared.
    pub contacts: Vec<Contact>,
    /// True if the sender gets bounces as mail (RFC 3464), besides the events.
    pub bounce_mail: bool,
    /// The value of `X-Mailjet-TrackOpen`. `None` leaves the choice to the settings of the Mailjet account.
    pub track_opens: Option<bool>,
    /// The value of `X-Mailjet-TrackClick`. `None` leaves the choice to the settings of the Mailjet account.
    pub track_clicks: Option<bool>,
}

/// A person at the customer who gets letters about its domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The address for letters.
    pub address: Mailbox,
    /// The name, for people.
    pub name: Option<String>,
    /// The language of letters; `None` means the installation's default.
    pub language: Option<ContactLanguage>,
}

/// A language that letters are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactLanguage {
    /// Letters are in Danish.
    Danish,
    /// Letters are in English.
    English,
}

impl ContactLanguage {
    /// Returns the name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ContactLanguage::Danish => "da",
            ContactLanguage::English => "en",
        }
    }
}

/// The signer of one From domain, or why there is none.
#[derive(Clone)]
pub enum SigningDomain {
    /// The domain has a signer that can sign.
    Ready(Arc<Signer>),
    /// The key cannot be used, for this reason. New mail is deferred (451 4.7.5), and an alert gives the reason.
    Broken(String),
}

/// One of the two keys that a customer's file can name, each with a selector and the file of the private key. Each key signs for
/// every domain of the customer, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// The key in `selector` and `private_key`, which every customer has.
    Main,
    /// The key in `ed25519_selector` and `ed25519_private_key`, which adds a second signature.
    Ed25519,
}

impl KeyPlace {
    /// All places, in the order of their signatures.
    pub const ALL: [KeyPlace; 2] = [KeyPlace::Main, KeyPlace::Ed25519];

    /// Returns the name used in commands and files.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyPlace::Main => "main",
            KeyPlace::Ed25519 => "ed25519",
        }
    }

    /// Returns the configuration key of `[dkim]` that has the selector.
    pub fn selector(self) -> &'static str {
        match self {
            KeyPlace::Main => "selector",
            KeyPlace::Ed25519 => "ed25519_selector",
        }
    }

    /// Returns the configuration key of `[dkim]` that names the command which prints the private key.
    pub fn private_key_command(self) -> &'static str {
        match self {
            KeyPlace::Main => "private_key_command",
            KeyPlace::Ed25519 => "ed25519_private_key_command",
        }
    }

    /// Returns the configuration key of `[dkim]` that names the file of the private key.
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

/// How a customer's mail is routed.
#[derive(Clone, Debug, PartialEq)]
pub enum Via {
    /// Through Mailjet, in a fixed tier or in the most demanding tier whose requirements the domain meets.
    Mailjet {
        /// The fixed tier, if the customer's file has one (`tier = "trusted"`).
        tier: Option<String>,
    },
    /// Through the customer's own server.
    OwnServer(Arc<Route>),
}

/// What happens to bulk mail that does not meet a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkPolicy {
    /// The mail is refused with a 550 reply that names what is missing.
    Refuse,
    /// The mail is accepted, and its event `accepted` names what is missing.
    Warn,
}
impl Customer {
    /// Returns the routes that this customer alone has: to its own server, or to Mailjet with an account of its own.
    pub fn own_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let server = match &self.via {
            Via::OwnServer(route) => Some(route),
            Via::Mailjet { .. } => None,
        };
        server.into_iter().chain(&self.own_mailjet)
    }
}
