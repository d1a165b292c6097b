//! Turns each table of the server file into the settings of its stage.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::reader::{Table, not_one_of};
use super::route::{RouteDefaults, route};
use super::secret::{self, Source, secret_keys};
use super::value::{Bind, ByteSize, HostName, Port};
use crate::bounce::{self, Language};
use crate::customers::{Requirement, Tier};
use crate::delivery::{Egress, EgressPath, Timeouts};
use crate::dkim::{KeyType, SigningKey};
use crate::events;
use crate::files;
use crate::onboarding::settings as onboarding;
use crate::onboarding::text::Lang;
use crate::onboarding::{DomainConnect, MailjetAccount};
use crate::queue::{self, Patience, Schedule};
use crate::record::journal::Retention;
use crate::resolver;
use crate::route::{Login, LoginSecret, Preset, Route, RouteId, RouteKind};
use crate::smtp::Domain;
use crate::spool::Backoff;
use crate::submission::{Limits, MAX_HEADER_SIZE};

const PROXY_PASSWORD: Source = secret_keys!("proxy_password");
/// The largest message for Mailjet: in-v3.mailjet.com takes 15 MB of attachments.
pub(super) const MAILJET_MESSAGE_SIZE: u64 = 15 << 20;

/// Reads `[egress]`: the address from which all mail leaves.
pub(super) fn egress(table: &Table<'_>) -> Option<Egress> {
    let address: Option<IpAddr> = table.require("address", "\"40.74.40.57\"");
    let bind: Option<Bind> = table.get("bind");
    let expect_seen_as = table.get("expect_seen_as");
    let proxy = table.get::<Url>("proxy");
    let proxy_is_there = table.has("proxy");
    let username: Option<String> = table.get("proxy_username");
    let password_is_there = secret::is_given(table, PROXY_PASSWORD);
    let password = secret::value(table, PROXY_PASSWORD);
    if username.is_some() != password_is_there {
        table.mistake("proxy_username", "proxy_username and proxy_password_file (or proxy_password_env) go together");
    }
    if !proxy_is_there {
        if username.is_some() {
            table.mistake("proxy_username", "has no use without proxy");
        }
        return Some(bound(table, address?, bind, expect_seen_as));
    }
    if bind.is_some() {
        table.mistake("bind", "is given besides proxy; the proxy owns the address, so keep one of them");
    }
    let proxy = proxy_address(table, &proxy?)?;
    let login = username.zip(password.map(|password| password.as_str().to_owned()));
    Some(Egress { address: address?, path: EgressPath::Socks5 { proxy, login }, expect_seen_as })
}

/// Makes the settings for binding to an address of this machine. If the network translates the address, the relay compares it with what
/// servers report.
fn bound(table: &Table<'_>, address: IpAddr, bind: Option<Bind>, expect_seen_as: Option<IpAddr>) -> Egress {
    let unspecified = || match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let local = match bind {
        None => address,
        Some(Bind::Any) => unspecified(),
        Some(Bind::To(local)) => local,
    };
    if local.is_unspecified() && local != unspecified() {
        table.mistake("bind", format!("{local} is not of the family of address ({address}); write \"any\""));
    }
    let expect_seen_as = expect_seen_as.or(local.is_unspecified().then_some(address));
    Egress { address, path: EgressPath::Bind(local), expect_seen_as }
}

fn proxy_address(table: &Table<'_>, url: &Url) -> Option<SocketAddr> {
    if !url.username().is_empty() || url.password().is_some() {
        table.mistake("proxy", "holds a login; write proxy_username and proxy_password_file instead");
        return None;
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match (url.scheme(), host.parse::<IpAddr>(), url.port()) {
        ("socks5" | "socks5h", Ok(ip), port) => Some(SocketAddr::new(ip, port.unwrap_or(1080))),
        _ => {
            table.mistake(
                "proxy",
                "is not a SOCKS5 proxy like \"socks5://127.0.0.1:1080\", with an IP address; a login has keys of its own",
            );
            None
        }
    }
}

/// Reads `[delivery]`: the time limit of each phase.
pub(super) fn timeouts(table: &Table<'_>) -> Timeouts {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: positive(table, "connect_timeout", default.connect),
        greeting: positive(table, "greeting_timeout", default.greeting),
        handshake: positive(table, "handshake_timeout", default.handshake),
        mail: positive(table, "mail_timeout", default.mail),
        rcpt: positive(table, "rcpt_timeout", default.rcpt),
        data_start: positive(table, "data_start_timeout", default.data_start),
        data_block: positive(table, "data_block_timeout", default.data_block),
        data_end: positive(table, "data_end_timeout", default.data_end),
        quit: positive(table, "quit_timeout", default.quit),
    };
    if timeouts.data_end < default.data_end {
        let what = "is below the 10 minutes of RFC 5321 §4.5.3.2.6: giving up early makes duplicates";
        table.warning("data_end_timeout", what);
    }
    timeouts
}

/// Reads `[delivery] route_alert_after`: how long a route may carry no mail before an alert.
pub(super) fn route_alert_after(table: &Table<'_>) -> Duration {
    positive(table, "route_alert_after", queue::ROUTE_ALERT_AFTER)
}

/// Reads a duration over zero.
pub(super) fn positive(table: &Table<'_>, key: &'static str, default: Duration) -> Duration {
    let found = table.or(key, default);
    if found.is_zero() {
        table.mistake(key, "must be longer than nothing");
    }
    found
}

pub(super) fn size(table: &Table<'_>, key: &'static str, default: u64) -> u64 {
    let found = table.or(key, ByteSize(default)).0;
    if found == 0 {
        table.mistake(key, "must be more than nothing, like \"25 MiB\"");
    }
    found
}

/// Reads `[limits]` of the submission server.
pub(super) fn limits(table: &Table<'_>) -> Limits {
    let default = Limits::default();
    let many = 1..=10_000_000;
    let limits = Limits {
        connections: table.number("connections", 1..=1_000_000, default.connections),
        connections_per_address: table.number(
            "connections_per_address",
            1..=1_000_000,
            default.connections_per_address,
        ),
        recipients: table.number("recipients", 1..=100_000, default.recipients),
        messages_per_connection: table.number("messages_per_connection", many.clone(), default.messages_per_connection),
        errors_per_connection: table.number("errors_per_connection", many.clone(), default.errors_per_connection),
        commands_per_minute: table.number("commands_per_minute", many.clone(), default.commands_per_minute),
        commands_without_mail: table.number("commands_without_mail", many.clone(), default.commands_without_mail),
        login_timeout: positive(table, "login_timeout", default.login_timeout),
        command_timeout: positive(table, "command_timeout", default.command_timeout),
        handshake_timeout: positive(table, "handshake_timeout", default.handshake_timeout),
        reply_timeout: positive(table, "reply_timeout", default.reply_timeout),
        data_timeout: positive(table, "data_timeout", default.data_timeout),
        transaction_timeout: positive(table, "transaction_timeout", default.transaction_timeout),
        // The rate is written as the size that must arrive in a second.
        minimum_rate: table.or("minimum_rate", ByteSize(default.minimum_rate)).0,
        minimum_rate_grace: table.or("minimum_rate_grace", default.minimum_rate_grace),
        message_size: size(table, "message_size", default.message_size),
        header_size: usize::try_from(size(table, "header_size", default.header_size as u64)).unwrap_or(usize::MAX),
        header_fields: table.number("header_fields", 1..=100_000, default.header_fields),
        line_length: table.number("line_length", 78..=1_000_000, default.line_length),
        received: table.number("received", 1..=1000, default.received),
        bytes_in_flight: size(table, "bytes_in_flight", default.bytes_in_flight),
        bytes_in_flight_wait: table.or("bytes_in_flight_wait", default.bytes_in_flight_wait),
        login_delay: table.or("login_delay", default.login_delay),
        longest_login_delay: table.or("longest_login_delay", default.longest_login_delay),
        login_failures_per_address: table.number(
            "login_failures_per_address",
            many.clone(),
            default.login_failures_per_address,
        ),
        login_failures_per_name: table.number("login_failures_per_name", many, default.login_failures_per_name),
        login_window: positive(table, "login_window", default.login_window),
    };
    if limits.header_size > MAX_HEADER_SIZE {
        let most = ByteSize(MAX_HEADER_SIZE as u64);
        let what = format!("{} is more than the {most} that can be read", ByteSize(limits.header_size as u64));
        table.mistake("header_size", what);
    }
    if limits.bytes_in_flight < limits.message_size {
        let key = if table.has("bytes_in_flight") { "bytes_in_flight" } else { "message_size" };
        let what = format!(
            "bytes_in_flight ({}) must hold at least one message of message_size ({})",
            ByteSize(limits.bytes_in_flight),
            ByteSize(limits.message_size)
        );
        table.mistake(key, what);
    }
    if limits.line_length > 998 {
        table
            .warning("line_length", "lines over 998 octets break RFC 5322 §2.1.1, and servers on the way may cut them");
    }
    if limits.command_timeout < Duration::from_secs(300) {
        table.warning("command_timeout", "is below the 5 minutes of RFC 5321 §4.5.3.2.7");
    }
    limits
}

/// Reads the table `[retry]`.
pub(super) fn patience(table: &Table<'_>) -> Patience {
    let default = Patience::default();
    let backoff = Backoff {
        first: positive(table, "first", default.retry.backoff.first),
        factor: table.number("factor", 1.0..=100.0, default.retry.backoff.factor),
        longest: positive(table, "longest", default.retry.backoff.longest),
    };
    let retry = Schedule { backoff, give_up: positive(table, "give_up", default.retry.give_up) };
    if retry.backoff.longest < retry.backoff.first {
        table.mistake(if table.has("longest") { "longest" } else { "first" }, "longest must not be shorter than first");
    }
    if retry.give_up < retry.backoff.longest {
        table.mistake(
            if table.has("give_up") { "give_up" } else { "longest" },
            "give_up must not be shorter than longest",
        );
    }
    if retry.give_up < Duration::from_secs(4 * 86_400) {
        table.warning("give_up", "RFC 5321 §4.5.4.1 asks for at least 4–5 days of trying");
    }
    Patience { retry, delay_notice: positive(table, "delay_notice", default.delay_notice) }
}

/// Reads the tables `[mailjet.<tier>]`: the tiers, and the accounts in which domains are registered.
pub(super) fn tiers(root: &Table<'_>) -> (BTreeMap<String, Tier>, BTreeMap<String, MailjetAccount>) {
    let (mut tiers, mut accounts) = (BTreeMap::new(), BTreeMap::new());
    for (name, table) in root.named_tables("mailjet") {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if name.is_empty() || !name.bytes().all(legal) {
            table.mistake("", format!("\"{name}\" is not a tier's name: lower case letters, digits, hyphens"));
        }
        let default = RouteDefaults {
            id: RouteId::new(&format!("mailjet.{name}")),
            kind: RouteKind::Mailjet,
            host: Some("in-v3.mailjet.com"),
            caps: Preset::Mailjet.caps(),
            message_size: MAILJET_MESSAGE_SIZE,
            login_required: true,
        };
        let requires = requirements(&table, "requires", Vec::new());
        let api = api(&table);
        if let Some(route) = route(&table, default) {
            accounts.extend(account(api, &route).map(|account| (name.clone(), account)));
            tiers.insert(name, Tier { route, requires });
        }
    }
    (tiers, accounts)
}

/// Returns the Mailjet account of a route, whose API key and secret are the route's login.
pub(super) fn account(api: Option<Url>, route: &Route) -> Option<MailjetAccount> {
    match &route.login {
        Some(Login { username, secret: LoginSecret::Password(secret), .. }) => {
            Some(MailjetAccount { api: api?, key: username.clone(), secret: secret.clone() })
        }
        _ => None,
    }
}

/// Reads `api`, the address of Mailjet's REST API. A server that is not Mailjet's has none, unless the file names one.
pub(super) fn api(table: &Table<'_>) -> Option<Url> {
    let host: Option<HostName> = table.get("host");
    let default = || Url::parse("https://api.mailjet.com").expect("a constant that is a URL");
    let is_mailjet = host.is_none_or(|host| host.0.to_ascii_lowercase().ends_with(".mailjet.com"));
    if !table.has("api") {
        return is_mailjet.then(default);
    }
    let text: String = table.get("api")?;
    if text == "off" {
        return None;
    }
    let local = |url: &Url| url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && local(&url)) => Some(url),
        Ok(url) if url.scheme() == "http" => {
            table.mistake("api", "must be https: the secret of the API key is sent there");
            None
        }
        _ => {
            table.mistake("api", "is neither \"off\" nor an address like \"https://api.mailjet.com\"");
            None
        }
    }
}

fn requirements(table: &Table<'_>, key: &'static str, default: Vec<Requirement>) -> Vec<Requirement> {
    let Some(words) = table.get::<Vec<String>>(key) else { return default };
    let names = Requirement::ALL.map(Requirement::as_str);
    let mut found = Vec::new();
    for word in words {
        match Requirement::ALL.into_iter().find(|requirement| requirement.as_str() == word) {
            Some(requirement) if found.contains(&requirement) => {
                table.mistake(key, format!("\"{word}\" is named twice"))
            }
            Some(requirement) => found.push(requirement),
            None => table.mistake(key, not_one_of(&word, &names)),
        }
    }
    found
}

/// Reads the table `[events]`, without its webhooks.
pub(super) fn events(table: &Table<'_>, state_dir: &Path) -> events::Settings {
    let default = events::Settings::default();
    events::Settings {
        log: table.get("log"),
        rotate_size: size(table, "rotate_size", default.rotate_size),
        rotate_every: positive(table, "rotate_every", default.rotate_every),
        retention: Retention {
            age: positive(table, "keep", default.retention.age),
            size: size(table, "keep_size", default.retention.size),
        },
        customer_share: table.has("customer_share").then(|| size(table, "customer_share", u64::MAX)),
        state_dir: state_dir.to_owned(),
        webhooks: Vec::new(),
    }
}

/// Reads the table `[dns]`.
pub(super) fn dns(table: &Table<'_>) -> resolver::Settings {
    let default = resolver::Settings::default();
    resolver::Settings {
        servers: table.or("servers", default.servers),
        timeout: positive(table, "timeout", default.timeout),
        attempts: table.number("attempts", 1..=10, default.attempts),
        cache_entries: table.number("cache_entries", 1..=10_000_000, default.cache_entries),
        longest_ttl: table.or("longest_ttl", default.longest_ttl),
        longest_negative_ttl: table.or("longest_negative_ttl", default.longest_negative_ttl),
    }
}

/// Reads `[bounce_mail]`: how notifications by mail are written.
pub(super) fn bounce(table: &Table<'_>, hostname: &str, retry_first: Duration) -> bounce::Settings {
    let default = bounce::Settings::default();
    let languages = [("da", Language::Danish), ("en", Language::English), ("both", Language::Both)];
    let language = table.choice("language", &languages).unwrap_or(default.language);
    let local_part = table.or("sender", default.local_part);
    if crate::smtp::Mailbox::parse(&format!("{local_part}@example.com")).is_err() {
        table.mistake(
            "sender",
            format!("\"{local_part}\" is not the part of an address before the @, like \"mailer-daemon\""),
        );
    }
    let full_limit = table.or("full_limit", ByteSize(default.full_limit)).0;
    bounce::Settings { language, reporting_mta: hostname.to_owned(), local_part, full_limit, retry_first }
}

/// Reads `[bounce_mail.route]`: the separate route of notifications.
pub(super) fn bounce_route(table: &Table<'_>, message_size: u64) -> Option<Arc<Route>> {
    let default = RouteDefaults {
        id: RouteId::new("bounces"),
        kind: RouteKind::OwnServer,
        host: None,
        caps: crate::route::Caps::default(),
        message_size,
        login_required: false,
    };
    table.is_there().then(|| route(table, default)).flatten()
}

/// Reads `[onboarding]`: the settings of domain checks that are the same for all customers.
pub(super) fn onboarding(
    table: &Table<'_>,
    state_dir: &Path,
    egress: Option<IpAddr>,
    give_up: Duration,
) -> onboarding::Settings {
    let default = onboarding::Settings::default();
    let rotation_overlap = table.or("rotation_overlap", default.rotation_overlap);
    if rotation_overlap < give_up.saturating_add(Duration::from_secs(86_400)) {
        let what =
            "should be a day longer than [retry] give_up: mail signed with the old key is on its way for so long";
        table.warning("rotation_overlap", what);
    }
    let jitter = table.number("jitter", 0.0..=1.0, default.jitter);
    onboarding::Settings {
        state_dir: state_dir.join("onboarding"),
        shared: None,
        egress: egress.unwrap_or(default.egress),
        spf_include: table.or("spf_include", default.spf_include),
        ownership_label: label(table, "ownership_label", default.ownership_label),
        mailjet: default.mailjet,
        mailjet_accounts: default.mailjet_accounts,
        issued: default.issued,
        delegation: default.delegation,
        mailjet_selector: label(table, "mailjet_selector", default.mailjet_selector),
        return_path_label: label(table, "return_path_label", default.return_path_label),
        return_path_target: table.or("return_path_target", default.return_path_target),
        rua: table.get("rua"),
        report_address: default.report_address,
        bulk_requires: requirements(table, "bulk_requires", default.bulk_requires),
        check_every: positive(table, "check_every", default.check_every),
        check_every_while_incomplete: positive(
            table,
            "check_every_while_incomplete",
            default.check_every_while_incomplete,
        ),
        incomplete_is_recent_for: table.or("incomplete_is_recent_for", default.incomplete_is_recent_for),
        check_time: default.check_time,
        jitter,
        grace: table.or("grace", default.grace),
        rotation_overlap,
        history: table.number("history", 1..=100_000, default.history),
        http_timeout: positive(table, "http_timeout", default.http_timeout),
        http_allow_private: table.or("http_allow_private", default.http_allow_private),
        http_port: table.or("http_port", Port(default.http_port)).0,
        https_port: table.or("https_port", Port(default.https_port)).0,
        domain_connect: domain_connect(&table.table("domain_connect")),
        letters_from: table.get("letters_from"),
        lang: table.choice("lang", &[("da", Lang::Da), ("en", Lang::En)]).unwrap_or(default.lang),
    }
}

/// Reads `[onboarding.domain_connect]`: the template, and the key that signs links to it.
fn domain_connect(table: &Table<'_>) -> Option<DomainConnect> {
    if !table.is_there() {
        return None;
    }
    let provider: Domain = table.or("provider_id", Domain::parse("webcrm.com").expect("a constant"));
    let service_id = label(table, "service_id", "mail".to_owned());
    let key_host = label(table, "key_host", "_dck1".to_owned());
    let path: PathBuf = table.require("private_key", "\"../keys/domain-connect.pem\"")?;
    let key = match SigningKey::from_file(&path, table.passphrase()) {
        Ok((key, warning)) => {
            if let Some(warning) = warning {
                table.warning("private_key", warning);
            }
            key
        }
        Err(error) => {
            table.mistake("private_key", error.to_string());
            return None;
        }
    };
    if key.key_type() != KeyType::Rsa {
        table.mistake(
            "private_key",
            "is no RSA key, and Domain Connect knows no other; `postbud dkim keygen` makes one",
        );
        return None;
    }
    Some(DomainConnect { provider_id: provider.to_string(), service_id, key_host, key: Arc::new(key) })
}

/// Reads one or more DNS labels in front of a domain's name. A dot at the end is dropped, because there would be two.
fn label(table: &Table<'_>, key: &'static str, default: String) -> String {
    let found = table.or(key, default);
    match crate::smtp::Domain::parse(&found) {
        Ok(label) => label.to_string(),
        Err(_) => {
            table.mistake(key, format!("\"{found}\" cannot stand before a domain's name"));
            found
        }
    }
}

/// Reads `state_dir`. If it exists, it must be a folder.
pub(super) fn state_dir(root: &Table<'_>) -> PathBuf {
    let dir = root.get("state_dir").unwrap_or_else(|| root.resolve("../state"));
    if dir.exists() && !dir.is_dir() {
        root.mistake("state_dir", format!("{} is not a folder", dir.display()));
    }
    if dir.metadata().is_ok_and(|found| found.is_dir() && files::is_open_to_others(&found)) {
        let dir = dir.display();
        root.warning("state_dir", format!("other users of this machine may look into {dir}; chmod 700 {dir}"));
    }
    dir
}
