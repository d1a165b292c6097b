//! Reads a route: `[mailjet.<tier>]` of the server file, or `[route]` of a customer's file.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::mistake::ReadAgain;
use super::reader::Table;
use super::secret::{self, Source, secret_keys};
use super::value::{ByteSize, HostName, Port};
use crate::hex::octets;
use crate::route::{
    ADDED, Caps, CapsOverride, Login, LoginSecret, Preset, Route, RouteId, RouteKind, TlsMode, TlsPolicy, TlsVersion,
};
use crate::smtp::Mechanism;

const USERNAME: Source = Source { may_be_inline: true, is_secret: false, ..secret_keys!("username") };
const PASSWORD: Source = secret_keys!("password");
const CLIENT_SECRET: Source = secret_keys!("client_secret");

/// The defaults that depend on the table's place in the configuration.
pub(super) struct RouteDefaults {
    pub id: RouteId,
    pub kind: RouteKind,
    pub host: Option<&'static str>,
    pub caps: Caps,
    pub message_size: u64,
    pub login_required: bool,
}

/// Reads a route and notes its mistakes. Returns `None` if it has no host.
pub(super) fn route(table: &Table<'_>, default: RouteDefaults) -> Option<Arc<Route>> {
    let host = match default.host {
        Some(host) => Some(table.get("host").unwrap_or(HostName(host.to_owned()))),
        None => table.require("host", "\"mail.example.com\""),
    };
    let mode = table.choice("tls", &tls_modes()).unwrap_or(TlsMode::Required);
    let port = table.or("port", Port(if mode == TlsMode::Implicit { 465 } else { 587 })).0;
    warn_of_port(table, port, mode);
    let tls = tls(table, mode);
    let login = login(table, mode, default.login_required);
    let caps = caps(&table.table("limits"), default.caps);
    let message_size = table.or("message_size", ByteSize(default.message_size)).0;
    if message_size <= ADDED {
        table.mistake("message_size", "nothing could be sent; write a size like \"25 MiB\"");
    }
    Some(Arc::new(Route {
        id: default.id,
        kind: default.kind,
        host: host?.0,
        port,
        tls,
        login,
        caps,
        message_size,
        verp: false,
        public_only: false,
    }))
}

fn tls_modes() -> [(&'static str, TlsMode); 4] {
    TlsMode::ALL.map(|mode| (mode.as_str(), mode))
}

/// Warns of a port that usually speaks TLS in another way than the route.
fn warn_of_port(table: &Table<'_>, port: u16, mode: TlsMode) {
    match (port, mode) {
        (465, TlsMode::Off | TlsMode::Opportunistic | TlsMode::Required) => {
            table.warning("port", "port 465 usually speaks TLS from the first octet: tls = \"implicit\"");
        }
        (25 | 587 | 2525, TlsMode::Implicit) => {
            table.warning("port", format!("port {port} usually speaks STARTTLS: tls = \"required\""));
        }
        _ => {}
    }
}

fn tls(table: &Table<'_>, mode: TlsMode) -> TlsPolicy {
    let ca_file = secret::certificates(table, "ca_file", ReadAgain::Always).map(|(path, _)| path);
    let pinned_sha256 = table.get::<String>("pinned_sha256").and_then(|text| {
        let found = fingerprint(&text);
        if found.is_none() {
            let what = "is not a SHA-256 fingerprint: 64 hexadecimal digits, colons allowed, as \
                        `openssl x509 -noout -fingerprint -sha256` prints them";
            table.mistake("pinned_sha256", what);
        }
        found
    });
    let server_name = table.get::<HostName>("server_name").map(|name| name.0);
    let client_certificate = secret::key_pair(table, "client_certificate", "client_key");
    let minimum = minimum_tls(table);

    let verified = matches!(mode, TlsMode::Required | TlsMode::Implicit);
    let encrypted = mode != TlsMode::Off;
    for (key, has_a_use) in [
        ("ca_file", verified),
        ("pinned_sha256", verified),
        ("server_name", verified),
        ("client_certificate", encrypted),
        ("minimum_tls", encrypted),
    ] {
        if table.has(key) && !has_a_use {
            let what = match mode {
                TlsMode::Off => "has no use with tls = \"off\"",
                _ => "has no use here: certificates are checked with tls = \"required\" or \"implicit\" only",
            };
            table.mistake(key, what);
        }
    }
    if pinned_sha256.is_some() && table.has("ca_file") {
        table.mistake("ca_file", "has no use besides pinned_sha256, which accepts that one certificate only; keep one");
    }
    let minimum = minimum.unwrap_or(TlsVersion::Tls12);
    TlsPolicy { mode, ca_file, pinned_sha256, server_name, client_certificate, minimum }
}

/// Reads `minimum_tls = "1.2" | "1.3"`.
pub(super) fn minimum_tls(table: &Table<'_>) -> Option<TlsVersion> {
    table.choice("minimum_tls", &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)])
}

/// Reads 64 hexadecimal digits, with or without colons between the octets.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    octets(&text.replace(':', ""))
}

fn login(table: &Table<'_>, mode: TlsMode, required: bool) -> Option<Login> {
    let has_username = secret::is_given(table, USERNAME);
    let has_password = secret::is_given(table, PASSWORD);
    let username = secret::value(table, USERNAME).map(|name| name.as_str().to_owned());
    let password = secret::value(table, PASSWORD).map(|password| LoginSecret::Password(password.as_str().to_owned()));
    let oauth = table.table("oauth");
    let has_oauth = oauth.is_there();
    let credentials = has_oauth.then(|| client_credentials(&oauth)).flatten();
    let allow_plaintext = table.or("allow_plaintext_auth", false);
    let mechanism = table.choice("auth", &mechanisms());

    match (has_username, has_password, has_oauth) {
        (_, true, true) => table.mistake("oauth", "is given besides a password; keep one of them"),
        (true, false, false) => {
            table.mistake("username", "needs password_file, password_env, password_command or [oauth] besides")
        }
        (false, true, _) | (false, _, true) => table.mistake("", "a login needs username besides"),
        (false, false, false) if required => {
            table.mistake("", "needs its login: username_file and password_file, the API key and its secret");
        }
        (false, false, false) if table.has("allow_plaintext_auth") => {
            table.mistake("allow_plaintext_auth", "has no use without username");
        }
        _ => {}
    }
    match mechanism {
        Some(_) if !has_username => table.mistake("auth", "has no use without username"),
        Some(Mechanism::Xoauth2) if has_password => {
            table.mistake("auth", "\"xoauth2\" takes no password; give [oauth] instead, or leave auth out");
        }
        Some(Mechanism::Plain | Mechanism::Login | Mechanism::CramMd5) if has_oauth => {
            table.mistake("auth", "with [oauth] the login is \"xoauth2\"; leave auth out, or give a password instead");
        }
        _ => {}
    }
    if has_username && mode == TlsMode::Off && !allow_plaintext {
        let what =
            "the login would cross the network in clear; use tls = \"required\", or say allow_plaintext_auth = true";
        table.mistake("tls", what);
    }
    if has_username && mode == TlsMode::Opportunistic && !allow_plaintext {
        let what = "with a login, whoever answers gets the password: opportunistic TLS takes any certificate; use \
                    tls = \"required\", with ca_file or pinned_sha256 where no public authority vouches for the server";
        table.warning("tls", what);
    }
    let stands_in = if has_oauth {
        let username = secret::place(table, USERNAME).unwrap_or_default();
        let secret = secret::place(&oauth, CLIENT_SECRET).unwrap_or_default();
        let table = table.place_by_name();
        format!("{username} in {table}, or client_id, scope, token_url or {secret} in [route.oauth]")
    } else {
        let [username, password] = [USERNAME, PASSWORD].map(|source| secret::place(table, source).unwrap_or_default());
        format!("{username} and {password} in {}", table.place_by_name())
    };
    Some(Login { username: username?, secret: password.or(credentials)?, allow_plaintext, mechanism, stands_in })
}

fn mechanisms() -> [(&'static str, Mechanism); 4] {
    [
        ("plain", Mechanism::Plain),
        ("login", Mechanism::Login),
        ("cram-md5", Mechanism::CramMd5),
        ("xoauth2", Mechanism::Xoauth2),
    ]
}

fn client_credentials(table: &Table<'_>) -> Option<LoginSecret> {
    let token_url =
        table.require::<Url>("token_url", "\"https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token\"");
    if let Some(url) = &token_url {
        let local = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            table.mistake("token_url", "must be https: the client's secret is sent there");
        }
    }
    let client_id = table.require("client_id", "\"00000000-0000-0000-0000-000000000000\"");
    if !secret::is_given(table, CLIENT_SECRET) {
        table.mistake("", "needs client_secret_file or client_secret_env");
    }
    let client_secret = secret::value(table, CLIENT_SECRET);
    let scope = table.or("scope", "https://outlook.office365.com/.default".to_owned());
    Some(LoginSecret::ClientCredentials {
        token_url: token_url?.into(),
        client_id: client_id?,
        client_secret: client_secret?.as_str().to_owned(),
        scope,
    })
}

fn caps(table: &Table<'_>, default: Caps) -> Caps {
    let presets = Preset::ALL.map(|preset| (preset.as_str(), preset));
    let base = table.choice("preset", &presets).map_or(default, Preset::caps);
    let some = 1..=u32::MAX;
    let single = CapsOverride {
        concurrency: table.number_if_any("concurrency", 1..=1000),
        per_minute: table.number_if_any("per_minute", some.clone()),
        per_day: table.number_if_any("per_day", some),
        recipients_per_transaction: table.number_if_any("recipients_per_transaction", 1..=10_000),
        messages_per_connection: table.number_if_any("messages_per_connection", 1..=1_000_000),
        idle: table.get("idle"),
    };
    if single.idle.is_some_and(|idle| idle >= Duration::from_secs(240)) {
        table.warning("idle", "Azure forgets a connection that is idle for 4 minutes, silently; stay below");
    }
    single.over(base)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_fingerprint_has_32_octets_with_or_without_colons() {
        let plain = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
        let colons: Vec<_> = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        assert_eq!(fingerprint(plain).unwrap()[..3], [0x01, 0x23, 0x45]);
        assert_eq!(fingerprint(&colons.join(":")), fingerprint(plain));
        for text in ["", &plain[..63], "+123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD0"] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
    }
}
