//! Reads `[[events.webhook]]`: the receivers of events over HTTP, and which events they get.

use std::collections::{BTreeSet, HashSet};

use url::Url;

use super::reader::{Table, not_one_of};
use super::secret::{self, Source, secret_keys};
use super::server::{positive, size};
use crate::events::{EventKind, Filter, Secret, Webhook};
use crate::message::CustomerId;

const SECRET: Source = secret_keys!("secret");

/// What an `[[events.webhook]]` says.
pub(super) struct WebhookTable {
    /// `None` if the name, the address or the secret cannot be used.
    pub webhook: Option<Webhook>,
    /// The customers that it names. A later check ensures that they exist.
    pub listed: Vec<String>,
}

/// Reads every `[[events.webhook]]`, and returns one result for each table.
pub(super) fn webhooks(tables: &[Table<'_>]) -> Vec<WebhookTable> {
    let mut names = HashSet::new();
    let mut webhooks = Vec::new();
    for table in tables {
        let name = name(table);
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            table.mistake("name", format!("another [[events.webhook]] is called \"{name}\""));
        }
        webhooks.push(webhook(table, name));
    }
    webhooks
}

/// Reads the name, which is used as a file name, a metrics label and a part of alerts.
fn name(table: &Table<'_>) -> Option<String> {
    let name: String = table.require("name", "\"webcrm\"")?;
    if CustomerId::parse(&name).is_none() {
        table.mistake("name", format!("\"{name}\" is not a name: up to 64 lower case letters, digits, - and _"));
        return None;
    }
    Some(name)
}

fn webhook(table: &Table<'_>, name: Option<String>) -> WebhookTable {
    let url = url(table);
    let (customers, listed) = customers(table);
    let filter = Filter { kinds: kinds(table), customers };
    if !secret::is_given(table, SECRET) {
        table.mistake("secret_file", "is missing; secret_file (or secret_env, secret_command) signs each call");
    }
    let secret = secret::value(table, SECRET);
    if secret.as_ref().is_some_and(|secret| secret.len() < 16) {
        let key = [SECRET.file, SECRET.env, SECRET.command].into_iter().find(|key| table.has(key));
        let what = "is shorter than 16 characters; `openssl rand -hex 32` makes a good one";
        table.mistake(key.unwrap_or(SECRET.file), what);
    }
    let nowhere = || Url::parse("https://localhost/").expect("a constant that is a URL");
    // The following keys are checked even if others are unusable.
    let default = Webhook::new("", url.clone().unwrap_or_else(nowhere), Secret::new(Vec::new()));
    let webhook = Webhook {
        filter,
        batch_events: table.number("batch_events", 1..=100_000, default.batch_events),
        batch_bytes: usize::try_from(size(table, "batch_bytes", default.batch_bytes as u64)).unwrap_or(usize::MAX),
        linger: table.or("linger", default.linger),
        timeout: positive(table, "timeout", default.timeout),
        retry_first: positive(table, "retry_first", default.retry_first),
        retry_longest: positive(table, "retry_longest", default.retry_longest),
        alert_after: positive(table, "alert_after", default.alert_after),
        ..default
    };
    let named = name.zip(url).zip(secret);
    let webhook =
        named.map(|((name, url), secret)| Webhook { name, url, secret: Secret::new(secret.as_bytes()), ..webhook });
    WebhookTable { webhook, listed }
}

fn url(table: &Table<'_>) -> Option<Url> {
    let url: Url = table.require("url", "\"https://app.webcrm.com/hooks/mail\"")?;
    let is_local = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    if !["https", "http"].contains(&url.scheme()) {
        let what = "is no https:// or http:// address; write one like \"https://app.webcrm.com/hooks/mail\"";
        table.mistake("url", what);
    } else if url.scheme() == "http" && !is_local {
        table.warning("url", "is not https: customers' addresses cross the network in clear");
    }
    if !url.username().is_empty() || url.password().is_some() {
        table.mistake("url", "holds a login; calls are signed with secret_file instead");
    }
    Some(url)
}

/// Reads `kinds`. An empty list is refused, because the webhook would never get an event.
fn kinds(table: &Table<'_>) -> Option<BTreeSet<EventKind>> {
    let words: Vec<String> = table.get("kinds")?;
    if words.is_empty() {
        table.mistake("kinds", "is empty; name the kinds of events to send, or leave it out for all");
    }
    let mut kinds = BTreeSet::new();
    for word in words {
        match EventKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
            Some(kind) => {
                kinds.insert(kind);
            }
            None => table.mistake("kinds", not_one_of(&word, &EventKind::ALL.map(EventKind::as_str))),
        }
    }
    Some(kinds)
}

fn customers(table: &Table<'_>) -> (Option<BTreeSet<CustomerId>>, Vec<String>) {
    let Some(listed) = table.get::<Vec<String>>("customers") else { return (None, Vec::new()) };
    if listed.is_empty() {
        table.mistake("customers", "is empty; name customers' ids, like [\"test-as\"], or leave it out for all");
    }
    (Some(listed.iter().map(|id| CustomerId::new(id)).collect()), listed)
}
