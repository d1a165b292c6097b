//! The obstacles that keep a valid record from working.

use serde::Serialize;

/// Why receivers could not use a record if it were published. The cause is in the present record, and only the customer can remove it,
/// before publishing the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Obstacle {
    /// The record needs more than ten lookups.
    Lookups {
        /// The number of lookups.
        count: u32,
    },
    /// More than two names have no address.
    Voids {
        /// The number of names without an address.
        count: u32,
    },
    /// An `mx` term has more than ten mail exchangers.
    Exchanges {
        /// The domain whose mail exchangers they are.
        domain: String,
    },
    /// An included or redirected record cannot be used.
    Included {
        /// The domain whose record cannot be used.
        domain: String,
        /// What is wrong with it: `none`, `several`, `syntax` or `loop`.
        fault: &'static str,
    },
    /// The record lets everybody send and has unreadable terms. Any proposed record could leave out a sender.
    Unread {
        /// The unreadable terms.
        terms: Vec<String>,
    },
    /// The record has more octets than are evaluated.
    TooLong {
        /// The length of the record.
        octets: usize,
    },
    /// The record that we tell customers to include does not let us send.
    Ours {
        /// The domain that customers include.
        include: String,
    },
}
