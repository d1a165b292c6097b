//! The outputs for operators and machines: the event log, the webhook, notifications by mail, the operator's socket, the web pages.

#[path = "support/contract.rs"]
mod contract;
#[path = "support/customers.rs"]
mod customers;
#[path = "support/drafts.rs"]
mod drafts;
#[path = "support/http.rs"]
mod http;
#[path = "support/proxies.rs"]
mod proxies;
#[path = "support/records.rs"]
mod records;
#[path = "support/skip.rs"]
mod skip;

#[path = "operator/bounces.rs"]
mod bounces;
#[path = "operator/commands.rs"]
mod commands;
#[path = "operator/cursor.rs"]
mod cursor;
#[path = "operator/events.rs"]
mod events;
#[path = "operator/pages.rs"]
mod pages;
#[path = "operator/relay.rs"]
mod relay;
#[path = "operator/webhook.rs"]
mod webhook;
