//! The messages of a run, and the identification of delivered ones.

use postbud::load::{ID_DIGITS, ID_HEADER, Template};
use serde::{Deserialize, Serialize};

use super::corpus;

/// What kind of mail to send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Text of this many octets, header included.
    Size(usize),
    /// Newsletters as customers send them, in the three encodings that are usual, 4 to 120 KB.
    Newsletters,
}

/// The templates of a shape; message `n` uses the `n`-th, round and round.
pub fn templates(shape: Shape, run: &str, from_domain: &str) -> Vec<Template> {
    let from = format!("news@{from_domain}");
    match shape {
        Shape::Size(size) => vec![Template::plain(size, run, &from)],
        Shape::Newsletters => {
            let sizes = NEWSLETTER_SIZES.iter().enumerate();
            sizes.map(|(seed, &size)| newsletter(seed, size, run, &from)).collect()
        }
    }
}

/// Which message number a delivered message's header block carries, if it is of this run.
pub fn number(message: &[u8], run: &str) -> Option<u64> {
    let at = memchr::memmem::find(message, ID_HEADER)? + ID_HEADER.len();
    let rest = message[at..].strip_prefix(run.as_bytes())?.strip_prefix(b"-")?;
    std::str::from_utf8(rest.get(..ID_DIGITS)?).ok()?.parse().ok()
}

/// What newsletters weigh: most between 15 and 60 KB, a few much more.
const NEWSLETTER_SIZES: [usize; 12] =
    [4_000, 9_000, 14_000, 19_000, 24_000, 28_000, 32_000, 37_000, 44_000, 58_000, 80_000, 120_000];

/// The shared corpus' newsletter with our number in front and in its Message-ID.
fn newsletter(seed: usize, size: usize, run: &str, from: &str) -> Template {
    let message = corpus::newsletter(corpus::Shape::ALL[seed % corpus::Shape::ALL.len()], size, seed as u64);
    let text = [&message.header[..], b"\r\n", &message.body].concat();
    Template::of_message(&text, run, from).expect("the corpus writes a header block with From")
}
