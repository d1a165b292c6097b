//! The messages of a run. Each is a template, stuffed and complete with its final dot, in which only a number changes, so
//! that the source spends next to nothing on making mail.

use serde::{Deserialize, Serialize};

use super::corpus;

/// The header that carries a message's number through any relay.
pub const ID_HEADER: &[u8] = b"X-Load-Id: ";
const ID_DIGITS: usize = 10;

/// What kind of mail to send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Text of this many octets, header included.
    Size(usize),
    /// Newsletters as customers send them, in the three encodings that are usual, 4 to 120 KB.
    Newsletters,
}

/// Complete message data up to and with the final dot; the number stands at each of `numbers`.
pub struct Template {
    bytes: Vec<u8>,
    numbers: Vec<usize>,
}

impl Template {
    /// The data of message `number`, written over whatever `out` held.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        let digits = format!("{number:0ID_DIGITS$}");
        for &at in &self.numbers {
            out[at..at + ID_DIGITS].copy_from_slice(digits.as_bytes());
        }
    }

    /// Octets on the wire, the final dot not counted.
    pub fn len(&self) -> usize {
        self.bytes.len() - b".\r\n".len()
    }
}

/// The templates of a shape; message `n` uses the `n`-th, round and round.
pub fn templates(shape: Shape, run: &str, from_domain: &str) -> Vec<Template> {
    match shape {
        Shape::Size(size) => vec![plain(size, run, from_domain)],
        Shape::Newsletters => {
            let sizes = NEWSLETTER_SIZES.iter().enumerate();
            sizes.map(|(seed, &size)| newsletter(seed, size, run, from_domain)).collect()
        }
    }
}

/// Which message number a delivered message's header block carries, if it is of this run.
pub fn number(message: &[u8], run: &str) -> Option<u64> {
    let at = memchr::memmem::find(message, ID_HEADER)? + ID_HEADER.len();
    let rest = message[at..].strip_prefix(run.as_bytes())?.strip_prefix(b"-")?;
    std::str::from_utf8(rest.get(..ID_DIGITS)?).ok()?.parse().ok()
}

fn finish(mut bytes: Vec<u8>) -> Template {
    bytes.extend_from_slice(b".\r\n");
    let zeros = [b'0'; ID_DIGITS];
    let header_end = memchr::memmem::find(&bytes, b"\r\n\r\n").expect("a header block was written above");
    let numbers = memchr::memmem::find_iter(&bytes[..header_end], &zeros).collect();
    Template { bytes, numbers }
}

fn plain(size: usize, run: &str, from_domain: &str) -> Template {
    let zeros = "0".repeat(ID_DIGITS);
    let mut text = format!(
        "From: Load Test <news@{from_domain}>\r\n\
         To: reader@example.net\r\n\
         Subject: Load\r\n\
         Date: Thu, 01 Oct 2026 12:00:00 +0000\r\n\
         Message-ID: <{zeros}.{run}@{from_domain}>\r\n\
         X-Load-Id: {run}-{zeros}\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n"
    );
    let mut words = Words(1);
    let mut column = 0;
    while text.len() + 2 < size {
        let word = words.next();
        if column + word.len() > 72 {
            text.push_str("\r\n");
            column = 0;
        }
        text.push_str(word);
        text.push(' ');
        column += word.len() + 1;
    }
    text.push_str("\r\n");
    finish(text.into_bytes())
}

/// What newsletters weigh: most between 15 and 60 KB, a few much more.
const NEWSLETTER_SIZES: [usize; 12] =
    [4_000, 9_000, 14_000, 19_000, 24_000, 28_000, 32_000, 37_000, 44_000, 58_000, 80_000, 120_000];

/// The shared corpus' newsletter with our number in front and in its Message-ID.
fn newsletter(seed: usize, size: usize, run: &str, from_domain: &str) -> Template {
    let message = corpus::newsletter(corpus::Shape::ALL[seed % corpus::Shape::ALL.len()], size, seed as u64);
    let zeros = "0".repeat(ID_DIGITS);
    let header = String::from_utf8(message.header).expect("the corpus writes its header as text");
    let header =
        header.lines().filter(|line| !line.starts_with("Message-ID:")).fold(
            format!("X-Load-Id: {run}-{zeros}\r\nMessage-ID: <{zeros}.{run}@{from_domain}>\r\n"),
            |text, line| text + line + "\r\n",
        );
    finish([header.as_bytes(), b"\r\n", &stuff(&message.body)].concat())
}

/// RFC 5321 §4.5.2.
fn stuff(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    for line in body.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

/// Words in a fixed pseudo-random order.
struct Words(u64);

impl Words {
    const LIST: [&'static str; 16] = [
        "nyhed",
        "tilbud",
        "kunde",
        "brev",
        "og",
        "kaffe",
        "morgen",
        "levering",
        "i",
        "uge",
        "produkt",
        "butik",
        "med",
        "rabat",
        "vinter",
        "sommerferie",
    ];

    fn next(&mut self) -> &'static str {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Self::LIST[(self.0 >> 60) as usize]
    }
}
