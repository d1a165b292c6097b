//! The record: the events of every mail, kept for as long as the operator wants, and found again quickly.
//!
//! - `event`: the types of events, and how they are made.
//! - [`archive`]: closed files of the journal, compressed, each with an index of the keys in its events.
//! - [`journal`]: the files that events are written to in order, and read from with cursors.
//! - [`trace`]: finds the events of each mail that matches a query, in archives and open files.
//! - `unread`: the final events of mail that the spool cannot read any more.
//! - `bounces`: the hard bounces of a period.
//! - `files`: the journal's files by name.
//! - [`erase`]: erases a recipient from archives and open files, for data protection.

pub mod archive;
pub(crate) mod bounces;
pub mod erase;
pub(crate) mod event;
pub(crate) mod files;
pub mod journal;
mod subject;
pub mod trace;
pub(crate) mod unread;

pub use subject::Subject;
