//! Newsletters like those of customers, invented but realistic: Danish HTML of nested tables, in the encodings that mail programs choose.
//! The same arguments always give the same octets, so that runs can be compared. Shared by the benches, the load harness and the tests.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// UTF-8 HTML as templates leave it: indented, blank lines, trailing spaces here and there (8bit).
    IndentedHtml,
    /// The same HTML as quoted-printable.
    QuotedPrintable,
    /// The same HTML as base64.
    Base64,
}

impl Shape {
    /// Every shape, in the order of the reports.
    pub const ALL: [Shape; 3] = [Shape::IndentedHtml, Shape::QuotedPrintable, Shape::Base64];

    /// For tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Shape::IndentedHtml => "html",
            Shape::QuotedPrintable => "qp",
            Shape::Base64 => "base64",
        }
    }

    fn transfer_encoding(self) -> &'static str {
        match self {
            Shape::IndentedHtml => "8bit",
            Shape::QuotedPrintable => "quoted-printable",
            Shape::Base64 => "base64",
        }
    }
}

/// A message: header block with CRLFs but without the blank line, and body.
#[derive(Clone, Debug)]
pub struct Message {
    /// Fields with their CRLFs.
    pub header: Vec<u8>,
    /// What follows the blank line.
    pub body: Vec<u8>,
}

impl Message {
    /// The message as DATA carries it, dots not stuffed.
    pub fn octets(&self) -> Vec<u8> {
        [&self.header[..], b"\r\n", &self.body].concat()
    }
}

/// A newsletter whose body has about `size` octets; another `seed` gives another text.
pub fn newsletter(shape: Shape, size: usize, seed: u64) -> Message {
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    let header = header(shape, &mut random, seed);
    let mut html = String::with_capacity(size + 2048);
    html.push_str(HEAD);
    let encoded = |html: &str| match shape {
        Shape::IndentedHtml => html.len(),
        // Danish prose and attributes grow by about a seventh in quoted-printable, by 37 % in base64.
        Shape::QuotedPrintable => html.len() + html.len() / 7,
        Shape::Base64 => html.len() * 78 / 57,
    };
    while encoded(&html) + FOOT.len() < size {
        block(&mut html, &mut random);
    }
    html.push_str(FOOT);
    let body = match shape {
        Shape::IndentedHtml => html.into_bytes(),
        Shape::QuotedPrintable => quoted_printable(&html),
        Shape::Base64 => base64_lines(&html),
    };
    Message { header, body }
}

fn header(shape: Shape, random: &mut Random, seed: u64) -> Vec<u8> {
    let mut text = String::new();
    let (minute, second) = (random.below(60), random.below(60));
    let id = random.next();
    let _ = write!(
        text,
        "From: =?utf-8?Q?S=C3=B8rens_Cykler_A/S?= <nyhedsbrev@test.dk>\r\n\
         To: \"{} {}\" <modtager{seed}@example.dk>\r\n\
         Reply-To: kundeservice@test.dk\r\n\
         Subject: =?utf-8?Q?For=C3=A5rstilbud_uge_{}=3A_20_=25_p=C3=A5_alle_b=C3=B8rnecykler?=\r\n \
         =?utf-8?Q?_og_gratis_levering?=\r\n\
         Date: Mon, 23 Nov 2026 18:{minute:02}:{second:02} +0000\r\n\
         Message-ID: <{id:016x}.{seed}@test.dk>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=\"utf-8\"\r\n\
         Content-Transfer-Encoding: {}\r\n\
         List-Unsubscribe: <https://app.webcrm.com/u/{id:016x}?m={seed}>,\r\n \
         <mailto:afmeld@test.dk?subject=afmeld-{id:x}>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
         List-Id: Nyhedsbrev <nyhedsbrev.test.dk>\r\n\
         Feedback-ID: {seed}:test-as:newsletter:webcrm\r\n\
         Precedence: bulk\r\n\
         X-Mailer: webCRM\r\n",
        random.pick(NAMES),
        random.pick(SURNAMES),
        random.below(52) + 1,
        shape.transfer_encoding(),
    );
    text.into_bytes()
}

/// One article: a table row with picture, heading, text and button.
fn block(html: &mut String, random: &mut Random) {
    let id = random.next();
    let _ = write!(
        html,
        "                <tr>\r\n\
         \x20                   <td class=\"blok\" align=\"left\" valign=\"top\" style=\"padding: 18px 24px; font-family: Helvetica, Arial, sans-serif;\">\r\n\
         \x20                       <img src=\"https://cdn.test.dk/nyhedsbrev/{id:016x}.jpg\" width=\"552\" height=\"{}\" alt=\"{}\" border=\"0\">\r\n\
         \x20                       <h2 style=\"margin: 0 0 12px 0; color: #1f3a5f; font-size: 22px;\">",
        random.below(300) + 120,
        random.pick(WORDS),
    );
    sentence(html, random, 4);
    html.push_str("</h2>\r\n                        <p style=\"margin: 0 0 16px 0; line-height: 1.5;\">\r\n");
    for _ in 0..random.below(4) + 2 {
        html.push_str("                            ");
        let words = random.below(9) + 6;
        sentence(html, random, words);
        // Editors leave a space at the end of some lines, and a tab now and then.
        html.push_str(match random.below(12) {
            0 => " \r\n",
            1 => "\t\r\n",
            _ => "\r\n",
        });
    }
    let _ = write!(
        html,
        "                        </p>\r\n\
         \x20                       <a href=\"https://www.test.dk/tilbud/{:x}?utm_source=nyhedsbrev&amp;utm_medium=email\" target=\"_blank\" style=\"background:#c8102e;color:#ffffff;padding:10px 22px;text-decoration:none;\">Læs mere</a>\r\n\
         \x20                   </td>\r\n                </tr>\r\n",
        random.next(),
    );
    if random.below(3) == 0 {
        html.push_str("\r\n");
    }
}

fn sentence(html: &mut String, random: &mut Random, words: u64) {
    for n in 0..words {
        let word = random.pick(WORDS);
        if n == 0 {
            let mut letters = word.chars();
            html.extend(letters.next().into_iter().flat_map(char::to_uppercase));
            html.push_str(letters.as_str());
        } else {
            html.push(' ');
            html.push_str(word);
        }
    }
    html.push('.');
}

/// RFC 2045 §6.7 for text whose line ends are CRLF.
fn quoted_printable(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    for line in text.split_inclusive("\r\n") {
        let content = line.trim_end_matches("\r\n");
        let mut column = 0;
        for (at, octet) in content.bytes().enumerate() {
            let at_end = at + 1 == content.len();
            let is_plain = matches!(octet, b'!'..=b'<' | b'>'..=b'~') || (matches!(octet, b' ' | b'\t') && !at_end);
            let width = if is_plain { 1 } else { 3 };
            if column + width > 75 {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if is_plain {
                out.push(octet);
            } else {
                out.extend_from_slice(format!("={octet:02X}").as_bytes());
            }
            column += width;
        }
        if line.ends_with("\r\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

fn base64_lines(text: &str) -> Vec<u8> {
    let digits = BASE64.encode(text);
    let mut out = Vec::with_capacity(digits.len() * 78 / 76 + 2);
    for line in digits.as_bytes().chunks(76) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// SplitMix64: the corpus must not change when a crate's generator does.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const NAMES: &[&str] = &["Mette", "Anders", "Freja", "Lars", "Ida", "Christian", "Louise", "Peter"];
const SURNAMES: &[&str] = &["Jensen", "Nielsen", "Hansen", "Pedersen", "Andersen", "Christensen"];
const WORDS: &[&str] = &[
    "og",
    "i",
    "på",
    "til",
    "med",
    "vores",
    "nye",
    "cykler",
    "børn",
    "forår",
    "tilbud",
    "gratis",
    "levering",
    "søndag",
    "værksted",
    "hjælp",
    "over",
    "hele",
    "landet",
    "kunder",
    "køb",
    "elcykel",
    "for",
    "årets",
    "bedste",
    "pris",
    "kom",
    "ind",
    "prøv",
    "den",
    "selv",
    "så",
    "længe",
    "lager",
    "haves",
    "æbleskiver",
    "gløgg",
    "åbningstider",
    "nyhedsbrev",
    "medlem",
    "fordele",
    "rabat",
    "kvalitet",
    "håndværk",
    "sikkerhed",
    "hjelm",
    "lygter",
    "udstyr",
    "service",
    "eftersyn",
];

const HEAD: &str = "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\r\n\
<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"da\">\r\n\
<head>\r\n\
    <meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\" />\r\n\
    <title>Nyhedsbrev fra Sørens Cykler</title>\r\n\
    <style type=\"text/css\">\r\n\
        body { margin: 0; padding: 0; background-color: #f4f4f4; }\r\n\
        .blok { border-bottom: 1px solid #dddddd; }\r\n\
        @media only screen and (max-width: 600px) {\r\n\
            .blok { width: 100% !important; }\r\n\
        }\r\n\
    </style>\r\n\
</head>\r\n\
<body>\r\n\
    <table width=\"100%\" border=\"0\" cellspacing=\"0\" cellpadding=\"0\">\r\n\
        <tr>\r\n\
            <td align=\"center\">\r\n\
            <table width=\"600\" border=\"0\" cellspacing=\"0\" cellpadding=\"0\" bgcolor=\"#ffffff\">\r\n";

const FOOT: &str = "            </table>\r\n\
            </td>\r\n\
        </tr>\r\n\
        <tr>\r\n\
            <td align=\"center\" style=\"font-size: 11px; color: #888888;\">\r\n\
                Du modtager denne mail, fordi du er tilmeldt vores nyhedsbrev.\r\n\
                <a href=\"https://app.webcrm.com/u/afmeld\">Afmeld</a> &nbsp;|&nbsp; Sørens Cykler A/S, Åboulevarden 1, 8000 Aarhus C\r\n\
            </td>\r\n\
        </tr>\r\n\
    </table>\r\n\
</body>\r\n\
</html>\r\n";
