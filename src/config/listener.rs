//! Reads `[[listener]]` and `[[submitter]]`: where mail is accepted, and who may send it.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::path::Path;

use ipnet::IpNet;

use super::reader::Table;
use super::secret::{self, Source, secret_keys};
use crate::message::{CustomerId, Urgency};
use crate::submission::{Allowed, ListenerAuth, ListenerSettings, ListenerTls, ServerTls, Submitter, Submitters};
use crate::time::Timestamp;

/// A certificate that expires within this many seconds makes a warning. Renewals come earlier.
const EXPIRES_SOON: u64 = 14 * 86_400;
const PASSWORD_HASH: Source = Source { may_be_inline: true, ..secret_keys!("password_hash") };

/// How connections are encrypted, as the file says it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Off,
    StartTls,
    Implicit,
}

pub(super) fn listeners(root: &Table<'_>) -> Vec<ListenerSettings> {
    let tables = root.tables("listener");
    if tables.is_empty() {
        root.mistake("listener", "is missing; write at least one [[listener]] with address = \"127.0.0.1:2525\"");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut listeners = Vec::new();
    for table in &tables {
        let listener = listener(table);
        if let Some(address) = table.get::<SocketAddr>("address") {
            if let Some(other) = addresses.iter().find(|other| overlap(address, **other)) {
                table.mistake("address", taken(address, *other));
            }
            addresses.push(address);
        }
        listeners.extend(listener);
    }
    listeners
}

/// Returns true if the system allows only one of two addresses to listen on: they are equal, or one of them is every address of the
/// machine. `[::]` also means every IPv4 address.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let wide = |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || wide(one, other) || wide(other, one))
}

fn taken(address: SocketAddr, other: SocketAddr) -> String {
    match address == other {
        true => format!("another [[listener]] has {address} already"),
        false => format!("another [[listener]] has {other}, and only one of the two can have the port"),
    }
}

fn listener(table: &Table<'_>) -> Option<ListenerSettings> {
    let address: Option<SocketAddr> = table.require("address", "\"127.0.0.1:2525\"");
    let modes = [("off", Mode::Off), ("starttls", Mode::StartTls), ("implicit", Mode::Implicit)];
    let mode = table.choice("tls", &modes).unwrap_or(Mode::StartTls);
    let auth = table.choice("auth", &[("required", ListenerAuth::Required), ("off", ListenerAuth::Off)]);
    let auth = auth.unwrap_or(ListenerAuth::Required);
    let allow_plaintext_auth = table.or("allow_plaintext_auth", false);
    let allow_from: Vec<IpNet> = table.or("allow_from", Vec::new());
    let tls = tls(table, mode);

    let is_loopback = address.is_some_and(|address| address.ip().is_loopback());
    if address.is_some() {
        if allow_plaintext_auth && !is_loopback {
            let what =
                "passwords would cross the network in clear; only a loopback listener (127.0.0.1, ::1) may say so";
            table.mistake("allow_plaintext_auth", what);
        }
        if mode == Mode::Off && !is_loopback && allow_from.is_empty() {
            let what = "a plaintext listener that is not on loopback needs allow_from, the networks that may connect";
            table.mistake("tls", what);
        }
    }
    if auth == ListenerAuth::Required && mode == Mode::Off && !allow_plaintext_auth {
        let what = "nobody could log in: without TLS no password is taken; use tls = \"starttls\", or on a loopback \
                    listener allow_plaintext_auth = true";
        table.mistake("tls", what);
    }
    if auth == ListenerAuth::Off && allow_from.is_empty() {
        let what = "needs allow_from besides: everyone who can connect may send for all customers";
        table.mistake("auth", what);
    }
    if auth == ListenerAuth::Off && table.has("allow_plaintext_auth") {
        table.mistake("allow_plaintext_auth", "has no use with auth = \"off\"");
    }
    if auth == ListenerAuth::Off && is_too_wide(&allow_from) {
        let what = "opens an unauthenticated relay to everyone: together these networks hold more than 1,048,576 public IPv4 \
                    addresses (a /12), or more than a /32 of public IPv6; name your own networks";
        table.mistake("allow_from", what);
    }
    Some(ListenerSettings { address: address?, tls: tls?, auth, allow_plaintext_auth, allow_from })
}

/// The most public IPv4 addresses that may send without a login. No site has more of its own.
const MANY_IPV4: u128 = 1 << 20;
/// The same for IPv6: as many addresses as a whole provider gets.
const MANY_IPV6: u128 = 1 << 96;

/// Networks that are not routed over the internet (RFC 1918, 6598, 1122, 3927; 4193, 4291). They do not overlap.
const INSIDE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// Returns true if these networks together make an open relay. They are checked together, because two halves of the Internet could each
/// pass alone.
pub(super) fn is_too_wide(networks: &[IpNet]) -> bool {
    let inside = INSIDE.map(|text| text.parse::<IpNet>().expect("a network"));
    // IPv6 as a whole has one address more than the type can count.
    let size = |network: &IpNet| {
        let bits = network.max_prefix_len() - network.prefix_len();
        1_u128.checked_shl(bits.into()).unwrap_or(u128::MAX)
    };
    let (mut v4, mut v6) = (0_u128, 0_u128);
    for network in IpNet::aggregate(&networks.to_vec()) {
        // If two networks overlap, one contains the other, so they share the smaller one.
        let shared = inside.iter().filter(|inside| inside.contains(&network) || network.contains(*inside));
        let public = size(&network) - shared.map(|inside| size(inside).min(size(&network))).sum::<u128>();
        let all = if network.addr().is_ipv4() { &mut v4 } else { &mut v6 };
        *all = all.saturating_add(public);
    }
    v4 > MANY_IPV4 || v6 > MANY_IPV6
}

/// Returns the certificate that a mode needs.
pub(super) fn tls(table: &Table<'_>, mode: Mode) -> Option<ListenerTls> {
    if mode == Mode::Off {
        for key in ["certificate", "private_key"] {
            if table.has(key) {
                table.mistake(key, "has no use with tls = \"off\"");
            }
        }
        return Some(ListenerTls::Off);
    }
    if !table.has("certificate") && !table.has("private_key") {
        let what =
            "is missing; TLS needs certificate and private_key (`postbud dev-certs` makes a pair for development)";
        table.mistake("certificate", what);
    }
    let (certificate, private_key) = secret::key_pair(table, "certificate", "private_key")?;
    let loaded = ServerTls::load(&certificate, &private_key);
    let expires = loaded.as_ref().ok().and_then(ServerTls::expires).map(|at| u64::try_from(at).unwrap_or_default());
    if let Some(what) = expires.and_then(|expires| expiry(&certificate, expires, Timestamp::now().as_secs())) {
        table.warning("certificate", what);
    }
    match (loaded, mode) {
        (Ok(tls), Mode::Implicit) => Some(ListenerTls::Implicit(tls)),
        (Ok(tls), _) => Some(ListenerTls::StartTls(tls)),
        (Err(error), _) => {
            table.mistake("certificate", error.to_string());
            None
        }
    }
}

/// Says that a certificate has expired, or will soon. Both times are in seconds since 1970.
fn expiry(certificate: &Path, expires: u64, now: u64) -> Option<String> {
    let (certificate, at) = (certificate.display(), Timestamp::from_millis(expires.saturating_mul(1000)).in_words());
    match expires.checked_sub(now) {
        None | Some(0) => {
            Some(format!("{certificate} expired on {at}: clients refuse to connect; replace it and its key"))
        }
        Some(left) if left < EXPIRES_SOON => {
            Some(format!("{certificate} expires on {at}, and then clients refuse to connect; replace it and its key"))
        }
        Some(_) => None,
    }
}

/// What a `[[submitter]]` says.
pub(super) struct SubmitterTable {
    /// `None` if the name or the password hash cannot be used.
    pub submitter: Option<Submitter>,
    /// The customers that it names. A later check ensures that they exist.
    pub listed: Vec<String>,
}

/// Reads every `[[submitter]]`, and returns one result for each table.
pub(super) fn submitters(tables: &[Table<'_>]) -> Vec<SubmitterTable> {
    let mut names = HashSet::new();
    let mut submitters = Vec::new();
    for table in tables {
        let mut named = submitter(table);
        if let Some(name) = named.submitter.as_ref().map(|submitter| submitter.username.clone())
            && !names.insert(name.clone())
        {
            table.mistake("username", format!("another [[submitter]] is called \"{name}\""));
            named.submitter = None;
        }
        submitters.push(named);
    }
    submitters
}

fn submitter(table: &Table<'_>) -> SubmitterTable {
    let username: Option<String> = table.require("username", "\"webcrm\"");
    let listed = match customers(table) {
        Some(listed) => listed,
        None => {
            table.mistake("customers", "is \"all\" or a list of customers' ids, like [\"test-as\"]");
            Vec::new()
        }
    };
    let test = super::test_mode::test_mode(table);
    let urgency = table.choice("urgency", &[("single", Urgency::Single), ("bulk", Urgency::Bulk)]);
    if !secret::is_given(table, PASSWORD_HASH) {
        let what =
            "is missing; `postbud hash-password` makes one, for password_hash or a file named by password_hash_file";
        table.mistake("password_hash", what);
    }
    if table.has("password") {
        let what = "a password is never kept here; write password_hash, made by `postbud hash-password`";
        table.mistake("password", what);
    }
    let customers = match listed.as_slice() {
        [] => Allowed::All,
        ids => Allowed::Listed(ids.iter().map(|id| CustomerId::new(id)).collect::<BTreeSet<_>>()),
    };
    let password_hash = secret::value(table, PASSWORD_HASH).map(|hash| hash.as_str().to_owned());
    let submitter = username
        .zip(password_hash)
        .map(|(username, password_hash)| Submitter { username, password_hash, customers, urgency, test })
        .filter(|submitter| {
            let is_usable = Submitters::new(vec![submitter.clone()]).is_ok();
            if !is_usable {
                let key = ["password_hash_file", "password_hash_env"].into_iter().find(|key| table.has(key));
                let what = "is not an Argon2id hash; make one with `postbud hash-password`";
                table.mistake(key.unwrap_or("password_hash"), what);
            }
            is_usable
        });
    SubmitterTable { submitter, listed }
}

/// Reads the ids of the customers that a submitter may send for. The list is empty if it may send for all. Returns `None` if the value is
/// neither.
fn customers(table: &Table<'_>) -> Option<Vec<String>> {
    if !table.has("customers") {
        return None;
    }
    if table.is_text("customers") {
        return (table.get::<String>("customers")? == "all").then(Vec::new);
    }
    if table.is_empty_list("customers") {
        return None;
    }
    // A list that cannot be read was noted as a mistake, so these settings are never used.
    Some(table.get("customers").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_named_two_weeks_before_it_expires_and_from_then_on() {
        let said =
            |left: i64| expiry(Path::new("a.pem"), 1_800_000_000, 1_800_000_000_u64.saturating_add_signed(-left));
        assert_eq!(said(15 * 86_400), None);
        let soon = said(13 * 86_400).unwrap();
        assert!(soon.starts_with("a.pem expires on 2027-01-15 08:00:00 UTC"), "{soon}");
        for past in [0, -1, -86_400_000] {
            assert!(said(past).unwrap().starts_with("a.pem expired on 2027-01-15 08:00:00 UTC"), "{past}");
        }
        assert_eq!(expiry(Path::new("a.pem"), u64::MAX, 0), None);
    }

    #[test]
    fn addresses_of_which_the_system_gives_one_only_overlap() {
        for (one, other, expected) in [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("[::]:25", "127.0.0.1:25", true),
            ("[::]:25", "0.0.0.0:25", true),
            ("[::]:25", "[::1]:25", true),
            ("0.0.0.0:25", "[::1]:25", false),
            ("127.0.0.1:25", "127.0.0.1:26", false),
            ("127.0.0.1:25", "127.0.0.2:25", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:25", "127.0.0.1:26", false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn networks_are_judged_together() {
        for (networks, expected) in [
            (vec!["0.0.0.0/0"], true),
            (vec!["::/0"], true),
            (vec!["0.0.0.0/1", "128.0.0.0/1"], true),
            (vec!["0.0.0.0/1"], true),
            (vec!["::/1", "8000::/1"], true),
            (vec!["2000::/3"], true),
            (vec!["1.0.0.0/8"], true),
            (vec!["8.0.0.0/7", "1.2.3.4/32"], true),
            // A whole list of large pieces, overlapping and out of order.
            (vec!["9.64.0.0/13", "9.64.0.0/12", "9.72.0.0/13", "9.80.0.0/32"], true),
            (vec!["2a00::/32", "2a01::/128"], true),
            (vec!["2a00::/33", "2a00:0:8000::/33", "2a01::/33"], true),
            (vec!["192.0.0.0/4"], true),
            (vec!["128.0.0.0/1", "10.0.0.0/8"], true),
            (vec!["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "fc00::/7"], false),
            (vec!["10.0.0.0/7"], true),
            (vec!["192.168.0.0/16", "203.0.113.0/24", "2001:db8::/32"], false),
            (vec!["9.64.0.0/12"], false),
            (vec!["9.64.0.0/13", "9.64.0.0/12", "9.72.0.0/13"], false),
            (vec!["2a00::/32"], false),
            (vec!["::1/128", "127.0.0.1/32"], false),
            (vec![], false),
        ] {
            let parsed: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(is_too_wide(&parsed), expected, "{networks:?}");
        }
        let thousands: Vec<IpNet> =
            (0..=4096).map(|n| format!("20.{}.{}.0/24", n / 256, n % 256).parse().unwrap()).collect();
        assert!(is_too_wide(&thousands) && !is_too_wide(&thousands[1..]));
    }

    #[test]
    fn the_system_agrees() {
        // Sets SO_REUSEADDR, as our listeners do.
        let listen = |address: &str| std::net::TcpListener::bind(address);
        let all = listen("0.0.0.0:0").unwrap();
        assert!(listen(&format!("127.0.0.1:{}", all.local_addr().unwrap().port())).is_err());
    }
}
