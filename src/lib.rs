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
//! To follow it: [`submission`] reads it and decides (session, policy, intake), [`dkim`] signs it, the
//! [`spool`] makes it durable (only its receipt makes a 250), the [`queue`] decides when it is tried, [`delivery`] tries it, and
//! the queue applies what came of it. Imports run downwards: [`cli`] wires a [`server`] from [`config`]; no stage knows either.
//! `docs/source.md` follows a message file by file.
//!
//! The library's interface is a message's way: [`message`], [`smtp`], [`customers`], [`route`], [`submission`], [`dkim`], [`spool`],
//! [`queue`], [`delivery`] and the [`server`] that joins them. What is `doc(hidden)` is public for tests, benches and fuzz targets
//! only.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | lane | the waiting line of one customer's mail from one From domain, of one urgency and kind |
//! | route | a way to a next server: a Mailjet tier or a customer's own server |
//! | route resolution | from a lane to its route |
//! | verification status | what a domain has been seen to have published |
//! | turn | a lane's turn on a route: claim, one attempt, decide, apply |
//! | lease | a message that one worker has for one attempt |
//! | held | kept back by an operator or by the relay until somebody releases it; of one message, and nothing else |
//! | stopped | not held and not tried all the same: its customer or its route is suspended, or it has no route |
//! | settled | a recipient that the next server took or that was given up |
//! | relayed | the next server took it |
//! | delivered | the recipient's own server took it, as Mailjet reports |
//! | failure class | why mail was deferred or given up, in one word for programs |
//! | throttle state | what a route's counters and troubles were, kept over restarts |
//! | queue ageing | delay notices and expiry behind a route in trouble |
//! | clock-jump guard | distrusts a clock that has just leapt |
//! | segment, compaction, reclaim | a file of the spool; copying the few that still wait forward; giving the space back |
//! | archive | a closed file of the event log, compressed, with an index |

// Unit tests begin with the same customers and hostile inputs as integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as postbud;
#[cfg(test)]
mod test_cost;
#[cfg(test)]
#[path = "../tests/support/customers.rs"]
mod test_customers;
#[cfg(test)]
#[path = "../tests/support/lookalikes.rs"]
mod test_lookalikes;
#[cfg(test)]
#[path = "../tests/support/postgres.rs"]
mod test_postgres;
#[cfg(test)]
#[path = "../tests/support/skip.rs"]
mod test_skip;

// What everything below speaks.
mod causes;
pub mod customers;
#[doc(hidden)]
pub mod database;
mod files;
mod hex;
pub mod message;
mod plain;
#[doc(hidden)]
pub mod postgres;
pub mod route;
#[doc(hidden)]
pub mod sealed;
mod size;
pub mod smtp;
pub mod time;
#[doc(hidden)]
pub mod version;
#[doc(hidden)]
pub mod visible;

// A message's way, one stage after the other.
pub mod submission;

pub mod dkim;

pub mod spool;

pub mod queue;

pub mod delivery;

// What comes of it, for machines and for senders.
#[doc(hidden)]
pub mod events;

#[doc(hidden)]
pub mod record;

#[doc(hidden)]
pub mod bounce;

#[doc(hidden)]
pub mod returns;

// A customer's domain, from nothing to verified.
#[doc(hidden)]
pub mod onboarding;

#[doc(hidden)]
pub mod resolver;

#[doc(hidden)]
pub mod http_client;

// What operators see and command, and what they keep.
mod backup;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod operate;
#[doc(hidden)]
pub mod status;
#[doc(hidden)]
pub mod web;

// What an operator tries a relay with.
pub mod load;

// The running relay, from its configuration and the command line.
pub mod server;

pub mod config;

pub mod cli;
