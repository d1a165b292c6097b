//! postbud: webCRM's outbound SMTP relay.
//!
//! The path of a message, with the modules in this order:
//!
//! ```text
//! webCRM ──SMTP──► submission ──► dkim ──► spool ──► queue ──► delivery ──SMTP──► Mailjet / the customer's server
//!                  session        sign     commit    lease     one attempt
//!                  policy                  (fsync)   retry     TLS, AUTH, egress
//!                                             ▲        │
//!                                             └─outcome┴──► events, bounce
//! ```
//!
//! [`submission`] reads the message and decides about it (session, policy, intake). [`dkim`] signs it. The [`spool`] makes it durable, and
//! only its receipt makes a 250. The [`queue`] decides when it is tried, [`delivery`] tries it, and the queue applies the result. Imports
//! run downwards: [`cli`] makes a [`server`] from [`config`], and no stage knows either. `docs/source.md` follows a message file by file.
//!
//! The library's interface is the path of a message: [`message`], [`smtp`], [`customers`], [`route`], [`submission`], [`dkim`], [`spool`],
//! [`queue`], [`delivery`] and the [`server`] that joins them. Items with `doc(hidden)` are public only for tests, benches and fuzz
//! targets.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | lane | the waiting line of one customer's mail from one From domain, of one urgency and kind |
//! | route | a way to a next server: a Mailjet tier or a customer's own server |
//! | route resolution | the choice of a lane's route |
//! | verification status | the records that a domain has been seen to publish |
//! | turn | one use of a route for a lane: claim, one attempt, decide, apply |
//! | lease | one worker's hold on a message for one attempt |
//! | held | of a single message: kept back by an operator or by the relay until somebody releases it |
//! | stopped | not held, but not tried either: its customer or its route is suspended, or it has no route |
//! | settled | of a recipient: accepted by the next server, or given up |
//! | relayed | accepted by the next server |
//! | delivered | accepted by the recipient's own server, as Mailjet reports |
//! | failure class | why mail was deferred or given up, in one word for programs |
//! | throttle state | a route's counters and troubles, which survive restarts |
//! | queue ageing | delay notices and expiry of mail whose route is in trouble |
//! | clock-jump guard | ignores a clock that has just jumped |
//! | segment, compaction, reclaim | a file of the spool; copying its few waiting messages to a newer file; freeing its space |
//! | archive | a closed file of the event log, compressed, with an index |

// Unit tests use the same customers and hostile inputs as integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as postbud;
#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
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
#[path = "../tests/support/records.rs"]
mod test_records;
#[cfg(test)]
#[path = "../tests/support/skip.rs"]
mod test_skip;

// The basics that all modules below use.
mod causes;
pub mod customers;
#[doc(hidden)]
pub mod database;
mod files;
mod hex;
mod machine;
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

// The path of a message, one stage after the other.
pub mod submission;

pub mod dkim;

pub mod spool;

pub mod queue;

pub mod delivery;

// The results, for machines and for senders.
#[doc(hidden)]
pub mod events;

#[doc(hidden)]
pub mod record;

#[doc(hidden)]
pub mod bounce;

#[doc(hidden)]
pub mod returns;

// The onboarding of a customer's domain.
#[doc(hidden)]
pub mod onboarding;

#[doc(hidden)]
pub mod resolver;

#[doc(hidden)]
pub mod http_client;

// The commands and displays of operators, and the data for them.
mod backup;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod operate;
#[doc(hidden)]
pub mod status;
#[doc(hidden)]
pub mod web;

// The load with which an operator tests a relay.
pub mod load;

// The running relay, from its configuration and the command line.
pub mod server;

pub mod config;

pub mod cli;
