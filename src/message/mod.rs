//! The parts of a message: its envelope, its header fields, the ids that the relay gives it, and the lane it waits in.

pub mod address;
mod address_error;
mod display;
pub(crate) mod envelope;
pub mod headers;
pub(crate) mod id;
pub(crate) mod lane;
pub(crate) mod piece;
mod references;
mod reply_text;
pub(crate) mod return_path;
pub mod scan;
mod test_outcome;
pub(crate) mod unsubscribe;

pub use address_error::AddressError;
pub use envelope::{BodyKind, CustomerId, Envelope, Notify, Recipient, Ret, Urgency};
pub use headers::Field;
pub use id::{QueueId, QueueIds};
pub use lane::{Lane, MailKind};
pub use piece::Piece;
pub use references::{ForMailjet, ReferenceError, References};
pub use reply_text::{FailureClass, ReplyText};
pub use return_path::{ReturnPaths, Returned};
pub use scan::{Header, HeaderError};
pub use test_outcome::{TEST_DOMAIN, TestOutcome, is_test_address};
pub use unsubscribe::Unsubscribe;
