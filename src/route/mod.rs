//! A route says which smarthost takes a customer's mail, with which login, and within which caps.
//!
//! A route is a value. Its state over time (throttled, suspended) lives in `queue::schedule::throttle`, and its
//! connections in `delivery::pool`.

mod control;
pub(crate) mod microsoft;
pub(crate) mod presets;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::smtp::Mechanism;

pub use control::{Cause, RouteControl, RouteState, RouteStatus, Switched};
pub use presets::{CapsOverride, Preset};

/// Names a route for operators, metrics and events: `mailjet.trusted`, `own-server.egen-server`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct RouteId(Arc<str>);

impl From<String> for RouteId {
    fn from(text: String) -> Self {
        RouteId(text.into())
    }
}

impl From<RouteId> for String {
    fn from(id: RouteId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl RouteId {
    /// An id with this text.
    pub fn new(id: &str) -> Self {
        RouteId(id.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One smarthost, and how mail goes there.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The route's name.
    pub id: RouteId,
    /// The kind of server at the other end.
    pub kind: RouteKind,
    /// Name or address of the smarthost.
    pub host: String,
    /// The smarthost's port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsPolicy,
    /// The login; `None` if the server knows us by address.
    pub login: Option<Login>,
    /// The limits that the server sets.
    pub caps: Caps,
    /// The largest message that the server takes, in octets, with everything that is added to it. It is more than
    /// [`ADDED`].
    pub message_size: u64,
    /// True if the relay replaces the return path by its own, which names message and recipient. Each recipient then has a transaction of
    /// its own.
    pub verp: bool,
    /// True if no address of the host is connected to unless all of them that have the egress address's family are on the public internet.
    /// The customer chose the host, and could lead the relay to a machine in its own network.
    pub public_only: bool,
}

/// The octets of a route's `message_size` that are kept for the lines put before a message: Received, signatures, Date,
/// Message-ID. These are two or three KiB, but each repeated field makes a signature longer.
pub const ADDED: u64 = 16 << 10;

impl Route {
    /// The largest message that can be accepted for the route, in octets as its sender counts them.
    pub fn accepts_up_to(&self) -> u64 {
        self.message_size.saturating_sub(ADDED)
    }

    /// Returns true if the server takes mail from the null sender, which notifications have. Mailjet wants a validated
    /// sender, and Microsoft 365 refuses `<>` from a mailbox that logs in.
    pub fn takes_null_sender(&self) -> bool {
        self.kind != RouteKind::Mailjet && microsoft::Cloud::of(&self.host).is_none()
    }
}

/// The kind of server. Mailjet understands the fields `X-MJ-*` and `X-Mailjet-*`; for other servers they are cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// The server is Mailjet.
    Mailjet,
    /// Another mail server: a customer's own, or the one for notifications to senders.
    OwnServer,
}

/// When TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS is never used.
    Off,
    /// STARTTLS is used if the server offers it. Certificates are not checked, and after a failed handshake mail goes
    /// without TLS.
    Opportunistic,
    /// STARTTLS with a verified certificate is used, or no mail is sent.
    Required,
    /// TLS is used from the first octet, with a verified certificate.
    Implicit,
}

impl TlsMode {
    /// All modes, from no TLS to most.
    pub const ALL: [TlsMode; 4] = [TlsMode::Off, TlsMode::Opportunistic, TlsMode::Required, TlsMode::Implicit];

    /// Returns the name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsMode::Off => "off",
            TlsMode::Opportunistic => "opportunistic",
            TlsMode::Required => "required",
            TlsMode::Implicit => "implicit",
        }
    }
}

/// How a route's connection is protected, and what its certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    /// When TLS is used.
    pub mode: TlsMode,
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the only certificate that is accepted. Its name and issuer do not matter then.
    pub pinned_sha256: Option<[u8; 32]>,
    /// The name expected in the certificate, if it is not `host`.
    pub server_name: Option<String>,
    /// Our own certificate and key (PEM), for a server that asks for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The oldest TLS version that is accepted.
    pub minimum: TlsVersion,
}

/// A TLS version that can be the oldest one accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// Version 1.2 of TLS.
    Tls12,
    /// Version 1.3 of TLS.
    Tls13,
}

/// The default is TLS that is required and checked against the system's roots.
impl Default for TlsPolicy {
    fn default() -> Self {
        TlsPolicy {
            mode: TlsMode::Required,
            ca_file: None,
            pinned_sha256: None,
            server_name: None,
            client_certificate: None,
            minimum: TlsVersion::Tls12,
        }
    }
}

/// A login at a smarthost.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub username: String,
    /// The password or the client credentials.
    pub secret: LoginSecret,
    /// The login may be sent without TLS (`allow_plaintext_auth`).
    pub allow_plaintext: bool,
    /// The only mechanism that may be used (`auth`). `None` leaves the choice to the server's offer and the connection.
    pub mechanism: Option<Mechanism>,
    /// The keys of name and secret in the configuration, for the advice to correct them: `username and password_file
    /// (secrets/acme.password) in [route] of customers/acme.toml`.
    pub stands_in: String,
}

impl Login {
    /// A login that needs TLS, by the mechanism that fits the server.
    pub fn new(username: impl Into<String>, secret: LoginSecret) -> Self {
        let stands_in = "username and password".to_owned();
        Login { username: username.into(), secret, allow_plaintext: false, mechanism: None, stands_in }
    }
}

/// The secret of a login.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginSecret {
    /// A password for PLAIN, LOGIN and CRAM-MD5.
    Password(String),
    /// OAuth 2.0 client credentials for XOAUTH2.
    ClientCredentials {
        /// The URL where tokens are fetched.
        token_url: String,
        /// The application's id.
        client_id: String,
        /// The application's secret.
        client_secret: String,
        /// The scope that the token is asked for.
        scope: String,
    },
}

/// The debug text never shows the secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.secret {
            LoginSecret::Password(_) => "password",
            LoginSecret::ClientCredentials { .. } => "client credentials",
        };
        write!(f, "Login({}, {how})", self.username)
    }
}

/// The limits that a server sets. `None` means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// The most connections at once.
    pub concurrency: u32,
    /// The most messages a minute.
    pub per_minute: Option<u32>,
    /// The most recipients a day (UTC).
    pub per_day: Option<u32>,
    /// How many nodes share `per_day`. If there are several, each takes chunks of the day's allowance before it spends them.
    pub day_shared_by: u32,
    /// The most recipients in one transaction. The rest of a message goes in further transactions.
    pub recipients_per_transaction: u32,
    /// The most messages over one connection, which is then closed.
    pub messages_per_connection: u32,
    /// How long a connection may be idle before it is closed. It should be below Azure's 4 minutes.
    pub idle: Duration,
}

impl Caps {
    /// Divides the caps among this many nodes that use the server at once. The cap of the day stays whole, because the nodes share it. The
    /// error names the cap that is too small to be divided.
    pub fn part(self, nodes: u32) -> Result<Caps, &'static str> {
        let divided = |key, cap: u32| Some(cap / nodes).filter(|part| *part > 0).ok_or(key);
        let divided_if_any = |key, cap: Option<u32>| cap.map(|cap| divided(key, cap)).transpose();
        Ok(Caps {
            concurrency: divided("concurrency", self.concurrency)?,
            per_minute: divided_if_any("per_minute", self.per_minute)?,
            day_shared_by: nodes,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_caps_add_up_to_no_more_than_the_whole_none_is_nothing_and_the_day_is_shared() {
        let whole = Caps { concurrency: 10, per_minute: Some(7), per_day: Some(2), ..Caps::default() };
        let part = Caps { concurrency: 3, per_minute: Some(2), day_shared_by: 3, ..whole };
        assert_eq!(whole.part(3), Ok(part));
        assert_eq!(whole.part(1), Ok(whole));
        assert_eq!(whole.part(8), Err("per_minute"));
        assert_eq!(whole.part(11), Err("concurrency"));
    }
}
