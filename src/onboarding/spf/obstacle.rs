//! What keeps a record from working that is right otherwise.

use serde::Serialize;

/// Why receivers could not use a record once it is published: something that is in it today and that nobody but the customer can
/// take out. It comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Obstacle {
    /// More than ten lookups.
    Lookups {
        /// The number of these.
        count: u32,
    },
    /// More than two names without an address.
    Voids {
        /// The number of these.
        count: u32,
    },
    /// An `mx` with more than ten exchanges.
    Exchanges {
        /// The domain whose mail exchangers they are.
        domain: String,
    },
    /// An included record, or one that is redirected to, cannot be used.
    Included {
        /// The domain whose record cannot be used.
        domain: String,
        /// `none`, `several`, `syntax` or `loop`.
        fault: &'static str,
    },
    /// Terms that nobody can read, in a record that lets everybody send: no other record can be proposed that surely forgets
    /// nobody.
    Unread {
        /// The terms that nobody can read.
        terms: Vec<String>,
    },
    /// A record of more octets than is evaluated.
    TooLong {
        /// The length of the record.
        octets: usize,
    },
    /// What we tell customers to include does not let us send.
    Ours {
        /// The domain that customers include.
        include: String,
    },
}
