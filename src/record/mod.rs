//! The record: what became of every mail, kept for as long as the operator wants and found again in a moment.
//!
//! * [`event`]: what an event is, and who makes it.
//! * [`archive`]: closed files of the journal, compressed, each with an index of what its events name.
//! * [`journal`]: the files that events are written to, in order, and read from by cursors.
//! * [`trace`]: the life of each mail that fits a question, from the archives and the files still open.
//! * [`files`]: which files there are.
//! * [`erase`]: takes a recipient out of both, for data protection.

pub mod archive;
pub mod erase;
pub mod event;
pub mod files;
pub mod journal;
mod subject;
pub mod trace;

pub use subject::Subject;
