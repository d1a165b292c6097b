//! Routes: which smarthost takes a customer's mail, with which login, and within which caps.
//!
//! A route is a value; what happens to it over time (throttled, suspended) lives in `queue::schedule::throttle`, what is connected
//! to it lives in `delivery::pool`.

mod control;
pub mod presets;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::smtp::Mechanism;

pub use control::{Cause, RouteControl, RouteState, RouteStatus, Switched};
pub use presets::{CapsOverride, Preset};

/// Names a route for operators, metrics and events: `mailjet.trusted`, `own-server.egen-server`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(Arc<str>);

impl RouteId {
    /// Takes the id as it is.
    pub fn new(id: &str) -> Self {
        RouteId(id.into())
    }

    /// The id.
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
    /// Its name.
    pub id: RouteId,
    /// What kind of server answers there.
    pub kind: RouteKind,
    /// Name or address of the smarthost.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsPolicy,
    /// How to log in; `None` where the server knows us by address.
    pub login: Option<Login>,
    /// What the server bears.
    pub caps: Caps,
    /// The largest message it takes, in octets, with all that is added to it: more than [`ADDED`].
    pub message_size: u64,
}

/// What of a route's `message_size` is kept for the lines that go before a message: Received, signatures, Date, Message-ID. They are
/// two or three KiB; a repeated field makes a signature longer each time.
pub const ADDED: u64 = 16 << 10;

impl Route {
    /// The largest message that can be taken for it, in octets as its sender counts them.
    pub fn carries(&self) -> u64 {
        self.message_size.saturating_sub(ADDED)
    }

    /// Whether the server takes mail from the null sender, which notifications have. Mailjet wants a validated sender; Microsoft
    /// 365 refuses `<>` from a mailbox that logs in.
    pub fn takes_null_sender(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        let microsoft = [".outlook.com", ".office365.com"].iter().any(|end| host.ends_with(end));
        self.kind != RouteKind::Mailjet && !microsoft
    }
}

/// Mailjet understands `X-MJ-*` and `X-Mailjet-*`; elsewhere these fields are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Mailjet.
    Mailjet,
    /// The customer's own server.
    OwnServer,
}

/// When TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// STARTTLS where offered; certificates are not checked, a failure falls back to plaintext.
    Opportunistic,
    /// STARTTLS with a verified certificate, or no mail.
    Required,
    /// TLS from the first octet, verified.
    Implicit,
}

/// How a route's connection is protected, and what its certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    /// When.
    pub mode: TlsMode,
    /// Certificates that are trusted besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the only certificate accepted; then neither its name nor its issuer matters.
    pub pinned_sha256: Option<[u8; 32]>,
    /// The name expected in the certificate where it is not `host`.
    pub server_name: Option<String>,
    /// Our own certificate and key (PEM) where the server asks for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// TLS 1.2 or 1.3.
    pub minimum: TlsVersion,
}

/// The oldest protocol version accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A verified connection to the host, checked against the system's roots.
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
    /// What proves it.
    pub secret: LoginSecret,
    /// Whether it may be sent without TLS (`allow_plaintext_auth`).
    pub allow_plaintext: bool,
    /// The only mechanism that is used (`auth`); `None` for what suits the server and the connection.
    pub mechanism: Option<Mechanism>,
    /// Where name and secret stand, for the advice to correct them: `username and
    /// password_file (secrets/acme.password) in [route] of customers/acme.toml`.
    pub stands_in: String,
}

impl Login {
    /// A login over TLS, by the mechanism that suits the server.
    pub fn new(username: impl Into<String>, secret: LoginSecret) -> Self {
        let stands_in = "username and password".to_owned();
        Login { username: username.into(), secret, allow_plaintext: false, mechanism: None, stands_in }
    }
}

/// What proves a login.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginSecret {
    /// A password, for PLAIN, LOGIN and CRAM-MD5.
    Password(String),
    /// OAuth 2.0 client credentials, for XOAUTH2.
    ClientCredentials {
        /// Where tokens are fetched.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: String,
        /// What the token is for.
        scope: String,
    },
}

/// Never shows the secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.secret {
            LoginSecret::Password(_) => "password",
            LoginSecret::ClientCredentials { .. } => "client credentials",
        };
        write!(f, "Login({}, {how})", self.username)
    }
}

/// What a server bears. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections at once.
    pub concurrency: u32,
    /// Messages a minute.
    pub per_minute: Option<u32>,
    /// Recipients a day (UTC).
    pub per_day: Option<u32>,
    /// Recipients a transaction; the rest of a message goes in further transactions.
    pub recipients_per_transaction: u32,
    /// Messages over one connection before it is closed.
    pub messages_per_connection: u32,
    /// A connection unused for this long is closed: below Azure's 4 minutes.
    pub idle: Duration,
}
