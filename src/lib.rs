//! postbud: webCRM's outbound SMTP relay.
//!
//! One message's way, and the modules in that order:
//!
//! ```text
//! webCRM ──SMTP──► submission ──► dkim ──► spool ──► queue ──► delivery ──SMTP──► Mailjet / the customer's server
//!                  session        sign     commit    lease     one attempt
//!                  policy                  (fsync)   retry     TLS, AUTH, egress
//!                                             ▲        │
//!                                             └─outcome┴──► events, bounce
//! ```
//!
//! Imports run downwards: `cli` wires a `server` from `config`; no stage knows either.

pub mod time;

pub mod customer;
pub mod dkim;

pub mod bounce;
pub mod delivery;
pub mod events;
pub mod message;
pub mod onboarding;
pub mod queue;
pub mod resolver;
pub mod route;
pub mod server;
pub mod smtp;
pub mod spool;
pub mod submission;

pub mod control;
pub mod metrics;
pub mod web;

pub mod config;

pub mod cli;
