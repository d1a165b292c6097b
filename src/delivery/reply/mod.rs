//! Judges a smarthost's replies: what they are about, what becomes of the mail, and what a person can do.
//!
//! ```text
//! reply ─► signal (its subject) ─► classify (verdict, scope, trouble) ─► failure_class (a word for programs), advice (for people)
//!            └── limits, whose_limit, named, about_us, wants_login, blocked_account, relaying, number_of_recipients, for_now: what servers say where they have no code
//! ```
//!
//! The tables of the tests hold what real servers say (`replies`, `wordings…`).

mod about_us;
mod advice;
mod blocked_account;
pub(super) mod classify;
#[cfg(test)]
mod collection;
#[cfg(test)]
mod collections;
mod context;
mod failure_class;
mod for_now;
mod limits;
mod named;
pub(super) mod number_of_recipients;
mod our_address;
mod periods;
mod relaying;
#[cfg(test)]
mod replies;
pub(super) mod signal;
mod wants_login;
pub(super) mod whose_limit;
#[cfg(test)]
mod wordings;
#[cfg(test)]
mod wordings_at_each_step;
#[cfg(test)]
mod wordings_collected;
#[cfg(test)]
mod wordings_heard;
#[cfg(test)]
mod wordings_invented;
#[cfg(test)]
mod wordings_invented_of_one;
#[cfg(test)]
mod wordings_of_one;
#[cfg(test)]
mod wordings_public;
#[cfg(test)]
mod wordings_reworded;
#[cfg(test)]
mod wordings_tried;
#[cfg(test)]
mod wordings_unseen;
#[cfg(test)]
mod wordings_worldwide;
pub(super) mod words;

pub(crate) use classify::class_of_quoted;
pub(crate) use failure_class::class_of_reported;
