//! postbud: webCRM's outbound SMTP relay.
//!
//! The path of a message, with the modules in this order:
//!
//! ```text
//! webCRM ──SMTP──► submission ──► dkim ──► spool ──► queue ──► delivery ──SMTP──► Mailjet / the customer's server
//!                  session        sign     commit    turns     one attempt
//!                  policy                  (fsync)   decide    egress, TLS, AUTH
//!                                             ▲        │
//!                                             └─apply──┴──► events, bounce (notifications)
//! ```
//!
//! [`submission`] reads the message and decides about it (session, policy, intake). [`dkim`] signs it. The [`spool`] makes it durable, and
//! only its receipt makes a 250. The [`queue`] decides when it is tried, [`delivery`] tries it, and the queue applies the result. Imports
//! run downwards: [`cli`] makes a [`server`] from [`config`], and no stage knows either. `docs/source.md` follows a message file by file.
//!
//! The library's interface is the path of a message: [`message`], [`smtp`], [`customers`], [`route`], [`submission`], [`dkim`], [`spool`],
//! [`queue`], [`delivery`] and the [`server`] that joins them, with [`config`], [`cli`], [`load`] and [`time`] beside them. Items with
//! `doc(hidden)` are public only for tests, benches and fuzz targets.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | customer | a company that sends its mail with webCRM: one file of the configuration, with its From domains, keys and route |
//! | submitter | a program that may log in and submit mail for customers: webCRM |
//! | urgency | single mail goes before bulk mail |
//! | kind | who wrote a message, and whether it is test mail: mail, a notification of the relay's (bounce), or mail in test mode |
//! | lane | the waiting line of one customer's mail from one From domain, of one urgency and kind |
//! | next server, smarthost | the server that the relay sends a message to: Mailjet's or the customer's own |
//! | route | a way to a next server: its host, login, TLS and caps |
//! | tier | a route through one of webCRM's Mailjet accounts, with the requirements that a domain must have verified to use it |
//! | cap | a limit of a route: connections at once, messages a minute, recipients a day |
//! | route resolution | the choice of a lane's route |
//! | verification status | the records that a domain has been seen to publish |
//! | draft, record | a message on its way into the spool; what the spool knows of a message there, without its content |
//! | slot | the right to make one attempt at a time on a route; a worker has one |
//! | turn | one use of a route for a lane: claim, one attempt, decide, apply |
//! | attempt | what a turn does to send one message: one transaction, or several if the caps or the server do not allow all recipients at once |
//! | verdict | what an attempt means for one recipient: relayed, deferred or failed; interfaces also say it of a requirement of a domain |
//! | scope | how far a failure reaches: one recipient, the message, the connection or the route |
//! | trouble | what an attempt means for its route: it backs off, it is in doubt (one message failed, and perhaps only that one), or it is suspended |
//! | lease | one worker's claim on a record, for one attempt |
//! | held | of a single message: kept back by an operator or by the relay until somebody releases it |
//! | set aside | of a single message: damaged on the disk, and copied to the quarantine |
//! | suspended | of a route: it carries nothing until its cause is gone or an operator resumes it; of a customer: its file says that its mail is refused and not sent |
//! | paused | of a customer: its mail is accepted and waits, because of an operator or a limit |
//! | stopped | not held, but not tried either: its customer is suspended or paused, its route is suspended, or it has no route |
//! | stuck | held, stopped, or on a route whose server takes part in no transaction |
//! | alert, notice | an event that an operator must look at: with a subject, it stays open until its trouble is over; a notice has none |
//! | expedited | due ahead of the schedule, because an operator asked for an attempt or released it |
//! | settled | of a recipient: accepted by the next server, or given up |
//! | relayed | accepted by the next server |
//! | delivered | accepted by the recipient's own server, as Mailjet reports |
//! | return path | a sender address of the relay's own that names message and recipient, so that returned mail can be matched |
//! | failure class | why mail was deferred or given up, in one word for programs |
//! | throttle state | a route's counters and troubles, which survive restarts |
//! | queue ageing | delay notices and expiry of mail whose route is in trouble |
//! | clock-jump guard | ignores a clock that has just jumped |
//! | segment, compaction, reclaim | a file of the spool; copying its few waiting messages to a newer file; freeing its space |
//! | journal, outbox | the event log; the events in the spool that the journal does not have on disk yet |
//! | archive | a closed file of the event log, compressed, with an index |
//! | node, shard, owner | a relay that shares a spool in PostgreSQL with others; a part of the customers; the one node that delivers their mail |

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
mod digits;
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
mod version;
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
