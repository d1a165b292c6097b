//! Reads `[returns]`: the listener for returned mail, and DMARC reports.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::listener::{self, Mode, overlap};
use super::reader::Table;
use super::server::{positive, size};
use super::value::ByteSize;
use crate::returns::dmarc;
use crate::returns::mail::{Forward, Settings};
use crate::smtp::{Domain, Mailbox};
use crate::submission::{Limits, ListenerAuth, ListenerSettings};

/// Keys that have no use without a domain.
const OF_LISTENER: [&str; 9] =
    ["listen", "tls", "certificate", "private_key", "allow_from", "complaints", "complaints_from", "forward", "limits"];

/// Reads the table, without the tables in it that have readers of their own. `keep` is how long the event log keeps a mail.
pub(super) fn returned_mail(
    table: &Table<'_>,
    listeners: &[ListenerSettings],
    has_record: bool,
    keep: Duration,
) -> Option<Settings> {
    if !table.has("domain") {
        for key in OF_LISTENER.into_iter().filter(|key| table.has(key)) {
            table.mistake(key, "has no use without domain, the one that mail comes back to");
        }
        table.table("limits").allow_all_keys();
        return None;
    }
    if !has_record {
        let what = "needs [events] log or webhook besides: the record says whose mail it is that comes back";
        table.mistake("domain", what);
    }
    let domain: Option<Domain> = table.get("domain");
    let address: Option<SocketAddr> = table.require("listen", "\"0.0.0.0:25\"");
    if let Some((listener, address)) = address.and_then(|address| {
        let taken = listeners.iter().find(|listener| overlap(listener.address, address))?;
        Some((taken.address, address))
    }) {
        let what =
            format!("a [[listener]] has {listener} already; give returned mail another port than {}", address.port());
        table.mistake("listen", what);
    }
    let modes = [("off", Mode::Off), ("starttls", Mode::StartTls)];
    let mode = table.choice("tls", &modes).unwrap_or(Mode::StartTls);
    let tls = listener::tls(table, mode);
    let allow_from: Vec<IpNet> = table.or("allow_from", Vec::new());
    let complaints = table.get::<Vec<String>>("complaints").map(|texts| addresses(table, "complaints", &texts));
    let complaints_from: Vec<IpNet> = table.or("complaints_from", Vec::new());
    let forwards =
        [("nothing", Forward::Nothing), ("failures", Forward::Failures), ("everything", Forward::Everything)];
    let forward = table.choice("forward", &forwards).unwrap_or(Forward::Nothing);
    let limits_table = table.table("limits");
    let limits = limits(&limits_table);
    let messages_per_minute = limits_table.number("messages_per_minute", 1..=1_000_000, Settings::MESSAGES_PER_MINUTE);
    let inbox_size = size(&limits_table, "inbox_size", Settings::INBOX_SIZE);
    if inbox_size < limits.message_size {
        let what = format!("is less than one message of message_size ({})", ByteSize(limits.message_size));
        limits_table.mistake("inbox_size", what);
    }
    let domain = domain?;
    let default = || Mailbox::parse(&format!("fbl@{domain}")).into_iter().collect();
    Some(Settings {
        complaints: complaints.unwrap_or_else(default),
        complaints_from,
        dmarc: Vec::new(),
        listener: ListenerSettings {
            address: address?,
            tls: tls?,
            auth: ListenerAuth::Off,
            allow_plaintext_auth: false,
            allow_from,
        },
        forward,
        limits,
        messages_per_minute,
        inbox_size,
        keep,
        domain,
    })
}

/// Reads the addresses that the listener accepts mail for.
pub(super) fn addresses(table: &Table<'_>, key: &'static str, texts: &[String]) -> Vec<Mailbox> {
    let read = |text: &String| match Mailbox::parse(text) {
        Ok(address) if address.domain().is_some() => Some(address),
        _ => {
            table.mistake(key, format!("\"{text}\" is not an address like \"fbl@returns.webcrm.com\""));
            None
        }
    };
    texts.iter().filter_map(read).collect()
}

/// Reads `[returns.limits]`. Limits without a key here keep their default ([`Settings::default_limits`]).
fn limits(table: &Table<'_>) -> Limits {
    let default = Settings::default_limits();
    let many = 1..=1_000_000;
    let limits = Limits {
        connections: table.number("connections", 1..=100_000, default.connections),
        connections_per_address: table.number("connections_per_address", 1..=100_000, default.connections_per_address),
        recipients: table.number("recipients", 1..=1000, default.recipients),
        messages_per_connection: table.number("messages_per_connection", many.clone(), default.messages_per_connection),
        errors_per_connection: table.number("errors_per_connection", many, default.errors_per_connection),
        command_timeout: positive(table, "command_timeout", default.command_timeout),
        data_timeout: positive(table, "data_timeout", default.data_timeout),
        transaction_timeout: positive(table, "transaction_timeout", default.transaction_timeout),
        message_size: size(table, "message_size", default.message_size),
        bytes_in_flight: size(table, "bytes_in_flight", default.bytes_in_flight),
        ..default
    };
    if limits.bytes_in_flight < limits.message_size {
        let key = if table.has("bytes_in_flight") { "bytes_in_flight" } else { "message_size" };
        let (all, one) = (ByteSize(limits.bytes_in_flight), ByteSize(limits.message_size));
        table.mistake(key, format!("bytes_in_flight ({all}) must hold at least one message of message_size ({one})"));
    }
    limits
}

/// Reads `[returns.dmarc]`: how long the content of reports is kept, and the address that customers' records name. `takes_mail` says
/// whether `[returns]` has a listener.
pub(super) fn dmarc(table: &Table<'_>, takes_mail: bool) -> dmarc::Settings {
    if table.has("address") && !takes_mail {
        table.warning(
            "address",
            "this relay takes no mail for it: set domain and listen in [returns]; or name a mailbox of yours as rua in [onboarding], and \
             read its reports with `postbud dmarc import`",
        );
    }
    let default = dmarc::Settings::default();
    let keep = table.or("keep", default.keep);
    if keep < Duration::from_secs(35 * 86_400) {
        table.mistake("keep", "is shorter than 35 days; whether the next policy is safe is judged by the last 30");
    }
    dmarc::Settings { keep, address: table.get("address") }
}
