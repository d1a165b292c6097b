//! The messages of a run. Each is a template, stuffed and complete with its final dot, in which only a number changes, so
//! that the source spends next to nothing on making mail.

use serde::{Deserialize, Serialize};

/// The header that carries a message's number through any relay.
pub const ID_HEADER: &[u8] = b"X-Load-Id: ";
const ID_DIGITS: usize = 10;

/// What kind of mail to send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Text of this many octets, header included.
    Size(usize),
    /// Newsletters as customers send them: HTML and text parts, quoted-printable, 4 to 100 KB, most of them around 30 KB.
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
        Shape::Newsletters => NEWSLETTER_ROWS.iter().map(|&rows| newsletter(rows, run, from_domain)).collect(),
    }
}

/// Which message number a delivered message's header block carries, if it is of this run.
pub fn number(message: &[u8], run: &str) -> Option<u64> {
    let at = memchr::memmem::find(message, ID_HEADER)? + ID_HEADER.len();
    let rest = message[at..].strip_prefix(run.as_bytes())?.strip_prefix(b"-")?;
    std::str::from_utf8(rest.get(..ID_DIGITS)?).ok()?.parse().ok()
}

fn header(run: &str, from_domain: &str, subject: &str, content_type: &str, encoding: &str) -> String {
    let zeros = "0".repeat(ID_DIGITS);
    format!(
        "From: Load Test <news@{from_domain}>\r\n\
         To: reader@example.net\r\n\
         Subject: {subject}\r\n\
         Date: Thu, 01 Oct 2026 12:00:00 +0000\r\n\
         Message-ID: <{zeros}.{run}@{from_domain}>\r\n\
         X-Load-Id: {run}-{zeros}\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: {content_type}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
}

fn finish(text: String) -> Template {
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b".\r\n");
    let zeros = [b'0'; ID_DIGITS];
    let header_end = memchr::memmem::find(&bytes, b"\r\n\r\n").expect("a header block was written above");
    let numbers = memchr::memmem::find_iter(&bytes[..header_end], &zeros).collect();
    Template { bytes, numbers }
}

fn plain(size: usize, run: &str, from_domain: &str) -> Template {
    let mut text = header(run, from_domain, "Load", "text/plain; charset=us-ascii", "7bit");
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
    finish(text)
}

/// How many product rows the newsletters have: many of middling length, few very long.
const NEWSLETTER_ROWS: [usize; 12] = [2, 6, 10, 14, 18, 20, 22, 24, 30, 38, 60, 90];

fn newsletter(rows: usize, run: &str, from_domain: &str) -> Template {
    let boundary = "=_load_boundary_7f3a";
    let kind = format!("multipart/alternative;\r\n\tboundary=\"{boundary}\"");
    let mut text = header(run, from_domain, "=?utf-8?Q?Nyt_fra_bageriet=3A_efter=C3=A5r?=", &kind, "7bit");
    let mut words = Words(rows as u64);
    text.push_str(&format!(
        "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ));
    for _ in 0..rows {
        let row: Vec<&str> = (0..9).map(|_| words.next()).collect();
        text.push_str(&format!("{}\r\n.. s=C3=A5 l=C3=A6nge lager haves=\r\n: 99 kr.\r\n\r\n", row.join(" ")));
    }
    text.push_str(&format!(
        "--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ));
    text.push_str("<!doctype html><html><body style=3D\"margin:0;padding:0;background:#f4f4f4\">\r\n<table width=3D\"600\" align=3D\"center\" cellpadding=3D\"0\" cellspacing=3D\"0\">\r\n");
    for row in 0..rows {
        let body: Vec<&str> = (0..8).map(|_| words.next()).collect();
        text.push_str(&format!(
            "<tr><td style=3D\"padding:16px;font-family:Arial,Helvetica,sans-serif;fon=\r\nt-size:14px;color:#333333\">\r\n\
             <a href=3D\"https://click.{from_domain}/c/{row:04}/9f8e7d6c5b4a39281706f5e=\r\n4d3c2b1a0?u=3Dhttps%3A%2F%2Fwww.{from_domain}%2Fvare%2F{row}\" style=3D\"col=\r\nor:#0066cc;text-decoration:none\">\r\n\
             <img src=3D\"https://img.{from_domain}/nyhedsbrev/{row:04}/produkt.jpg\" widt=\r\nh=3D\"560\" height=3D\"240\" alt=3D\"\" border=3D\"0\"></a>\r\n\
             <h2 style=3D\"margin:12px 0 4px\">{}</h2>\r\n\
             <p>{} p=C3=A5 t=C3=A6rte og br=C3=B8d.</p>\r\n</td></tr>\r\n",
            words.next(),
            body.join(" ")
        ));
    }
    text.push_str(&format!(
        "</table><img src=3D\"https://click.{from_domain}/o.gif\" width=3D\"1\" height=3D\"1\">\r\n</body></html>\r\n--{boundary}--\r\n"
    ));
    finish(stuff(&text))
}

/// RFC 5321 §4.5.2.
fn stuff(text: &str) -> String {
    text.replace("\r\n.", "\r\n..")
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
