//! What keeps a record from working that is right otherwise.

use serde::Serialize;

/// Why receivers could not use a record once it is published: something that is in it today and that nobody but the customer can
/// take out. It comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Obstacle {
    /// More than ten lookups.
    Lookups {
        /// How many.
        count: u32,
    },
    /// More than two names without an address.
    Voids {
        /// How many.
        count: u32,
    },
    /// An `mx` with more than ten exchanges.
    Exchanges {
        /// Whose.
        domain: String,
    },
    /// An included record, or one that is redirected to, cannot be used.
    Included {
        /// Which.
        domain: String,
        /// `none`, `several`, `syntax` or `loop`.
        fault: &'static str,
    },
    /// Terms that nobody can read, in a record that lets everybody send: no other record can be proposed that surely forgets
    /// nobody.
    Unread {
        /// Which.
        terms: Vec<String>,
    },
    /// A record of more octets than is evaluated.
    TooLong {
        /// How many.
        octets: usize,
    },
    /// What we tell customers to include does not let us send.
    Ours {
        /// Which.
        include: String,
    },
}
