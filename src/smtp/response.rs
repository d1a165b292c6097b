//! Reads replies for the client side (RFC 5321 §4.2): takes one reply from the front of the octets received.
//!
//! Replies are bounded: one that exceeds [`MAX_REPLY`] octets, [`MAX_LINES`] lines or [`MAX_LINE`] octets a line is an
//! error. A server's text ends up in logs, events and bounces, so its control characters become spaces, and octets that
//! are not UTF-8 are replaced. Octets that are no reply are quoted so that every control character and every stray
//! octet is visible.

use std::fmt::Write as _;

use thiserror::Error;

use super::{EnhancedCode, Reply};
use crate::visible::{is_unseen, visible};

/// The most octets in one reply.
pub const MAX_REPLY: usize = 32 * 1024;
/// The most lines in one reply.
pub const MAX_LINES: usize = 256;
/// The most octets in one line. RFC 5321 §4.5.3.1.5 allows 512, but some servers send whole sentences with links.
pub const MAX_LINE: usize = 4096;
/// The most octets of blank lines before and within one reply. Some servers send an empty line between two replies.
pub const MAX_BLANK: usize = 64;
/// The most octets that are quoted from something that is no reply.
const QUOTED: usize = 80;

/// What the server sent is not an SMTP reply. The connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// The reply has more octets or lines than allowed.
    #[error("the server's reply ({code}) is too long")]
    TooLong {
        /// The code that the reply begins with.
        code: u16,
    },
    /// The lines of the reply have codes that contradict each other.
    #[error("the lines of the server's reply have different codes: {one} and {other}")]
    CodesDiffer {
        /// The code of the lines before.
        one: u16,
        /// The code of the line that contradicts them.
        other: u16,
    },
    /// The line is not three digits and a text.
    #[error("the server's reply is no SMTP reply: \"{0}\"")]
    NotAReply(String),
}

/// Takes the reply at the front of `received`. Returns the reply and its length in octets, or `None` until the whole
/// reply is there.
pub fn take_reply(received: &[u8]) -> Result<Option<(Reply, usize)>, ResponseError> {
    ReplyReader::default().take(received)
}

/// Reads one reply as it arrives. Looks at each octet a bounded number of times, however small the pieces are that it arrives
/// in.
///
/// Harmless mistakes of servers are accepted: lines may end in LF, the text may be absent, an enhanced code may stand
/// on the first line only, and blank lines are skipped.
///
/// All lines of a reply must have the same code, and a client may go by any of them (RFC 5321 §4.2.1). Postfix goes by the last line and Exim
/// by the first, so nobody knows which one a server means that sends different codes. If all are of one kind (their first digits are the
/// same), the last one counts. If they are refusals of both kinds, a transient one counts, because then nothing is given up too early. Any
/// other reply is an error: it may be two replies of which a part is missing.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    /// Start of the line that is still unfinished.
    line: usize,
    /// Everything before this offset has been searched for line ends.
    searched: usize,
    /// Number of whole lines, blank ones excluded.
    lines: usize,
    /// The code of the whole lines together.
    code: Option<u16>,
    /// Octets of blank lines.
    blank: usize,
}

impl ReplyReader {
    /// Works like [`take_reply`]. Until a reply is taken, `received` must begin with the same octets at each call.
    pub fn take(&mut self, received: &[u8]) -> Result<Option<(Reply, usize)>, ResponseError> {
        while let Some(found) = memchr::memchr(b'\n', &received[self.searched..]) {
            let end = self.searched + found;
            if let Some(code) = self.last(received, end)? {
                let used = end + 1;
                *self = ReplyReader::default();
                return Ok(Some((reply(&received[..used], code), used)));
            }
            (self.line, self.searched) = (end + 1, end + 1);
        }
        self.searched = received.len();
        let rest = &received[self.line..];
        if is_blank(rest) {
            return self.bound_blank(rest.len()).map(|()| None);
        }
        // Check an unfinished line, too, so that a server that does not speak SMTP is found at once.
        check_start(rest)?;
        let outgrown = rest.len() > MAX_LINE || received.len() > MAX_REPLY;
        if !outgrown {
            return Ok(None);
        }
        // Only the last of many lines can be without a code yet.
        let code = self.code.filter(|_| rest.len() < 3);
        Err(ResponseError::TooLong { code: code.map_or_else(|| self.code_with(rest), Ok)? })
    }

    /// Returns the reply's code if the line that ends at `end` is the last one of the reply.
    fn last(&mut self, received: &[u8], end: usize) -> Result<Option<u16>, ResponseError> {
        let line = &received[self.line..end];
        if is_blank(line) {
            self.blank += line.len() + 1;
            return self.bound_blank(0).map(|()| None);
        }
        let code = self.code_with(without_cr(line))?;
        if line.len() > MAX_LINE || end >= MAX_REPLY || self.lines == MAX_LINES {
            return Err(ResponseError::TooLong { code });
        }
        self.lines += 1;
        self.code = Some(code);
        Ok((without_cr(line).get(3) != Some(&b'-')).then_some(code))
    }

    /// Returns the code of the lines up to this one together. Fails if this is no line of a reply, or contradicts the others.
    fn code_with(&self, line: &[u8]) -> Result<u16, ResponseError> {
        check_start(line)?;
        if line.len() < 3 {
            return Err(not_a_reply(line));
        }
        let code = code(line);
        match self.code {
            None => Ok(code),
            Some(before) if before / 100 == code / 100 => Ok(code),
            Some(before) => match (before, code) {
                (400..=499, 500..=599) => Ok(before),
                (500..=599, 400..=499) => Ok(code),
                (one, other) => Err(ResponseError::CodesDiffer { one, other }),
            },
        }
    }

    fn bound_blank(&self, more: usize) -> Result<(), ResponseError> {
        match self.blank + more > MAX_BLANK {
            true => Err(ResponseError::NotAReply("blank lines without end".to_owned())),
            false => Ok(()),
        }
    }
}

/// Builds a reply with this code from whole lines that have been checked.
fn reply(received: &[u8], code: u16) -> Reply {
    let (mut enhanced, mut lines) = (None, Vec::new());
    for line in received.split(|octet| *octet == b'\n').map(without_cr).filter(|line| !is_blank(line)) {
        let mut text = printable(line.get(4..).unwrap_or_default());
        // The enhanced code of a line with a code of the other kind would contradict the reply's code.
        let is_of_code = self::code(line) / 100 == code / 100;
        if let Some(found) = EnhancedCode::parse(&text).filter(|_| is_of_code) {
            enhanced = enhanced.or(Some(found));
            if enhanced == Some(found) {
                let skip = text.find(' ').map_or(text.len(), |space| space + 1);
                text.drain(..skip);
            }
        }
        lines.push(text);
    }
    Reply { code, enhanced, lines }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The number of octets in the blank lines at the front of `received`.
pub fn blank_lines(received: &[u8]) -> usize {
    let lines = received.split_inclusive(|octet| *octet == b'\n');
    lines.take_while(|line| line.ends_with(b"\n") && is_blank(line)).map(<[u8]>::len).sum()
}

/// Returns true if the octets are, or may become, nothing but blank lines.
pub fn is_blank(octets: &[u8]) -> bool {
    octets.iter().all(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Quotes the start of `octets` on one line for an event or a log, with everything in it visible.
pub fn quoted(octets: &[u8]) -> String {
    let mut text = String::new();
    for chunk in octets[..octets.len().min(QUOTED)].utf8_chunks() {
        text.push_str(&visible(chunk.valid()));
        for octet in chunk.invalid() {
            let _ = write!(text, "\\x{octet:02x}");
        }
    }
    if octets.len() > QUOTED {
        text.push('…');
    }
    text
}

/// Fails unless `line`, whole or not, may begin a line of a reply: three digits from 200 to 599, then a space, a hyphen
/// or nothing.
fn check_start(line: &[u8]) -> Result<(), ResponseError> {
    let legal = line.iter().take(4).enumerate().all(|(i, byte)| match i {
        0 => (b'2'..=b'5').contains(byte),
        1 | 2 => byte.is_ascii_digit(),
        _ => matches!(byte, b' ' | b'-' | b'\r'),
    });
    if legal { Ok(()) } else { Err(not_a_reply(line)) }
}

/// Reads the code from the first three octets, which have been checked to be digits.
fn code(line: &[u8]) -> u16 {
    line.iter().take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit.wrapping_sub(b'0')))
}

fn not_a_reply(line: &[u8]) -> ResponseError {
    ResponseError::NotAReply(quoted(line))
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(received: &str) -> (Reply, usize) {
        take_reply(received.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_reply_is_taken_only_when_whole_and_leaves_the_next_one() {
        let (first, used) = taken("250-2.1.0 one\r\n250 2.1.0 two\r\n354 go\r\n");
        assert_eq!(first.to_string(), "250 2.1.0 one two");
        assert_eq!(used, 30);
        let whole = "250-2.1.0 one\r\n250 2.1.0 two\r\n";
        for end in 0..whole.len() {
            assert_eq!(take_reply(&whole.as_bytes()[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn small_slips_are_forgiven() {
        assert_eq!(taken("250\r\n").0, Reply::bare(250, ""));
        assert_eq!(taken("250\n").0, Reply::bare(250, ""));
        assert_eq!(taken("250-a\n250 b\n").0.lines, ["a", "b"]);
        assert_eq!(taken("550-5.1.1 gone\r\n550 sorry\r\n").0.enhanced, Some(EnhancedCode(5, 1, 1)));
        assert_eq!(taken("550 5.1.1\r\n").0.lines, [""]);
    }

    #[test]
    fn lines_with_different_codes_count_as_one_reply_only_if_they_do_not_contradict_each_other() {
        let enhanced = |text: &str| EnhancedCode::parse(text);
        for (received, code, kept) in [
            ("250-a\r\n250 b\r\n", 250, None),
            ("250-2.1.5 a\r\n251 2.1.5 b\r\n", 251, enhanced("2.1.5")),
            ("354-a\r\n334 b\r\n", 334, None),
            ("550-5.7.1 a\r\n554 b\r\n", 554, enhanced("5.7.1")),
            ("421-a\r\n450 b\r\n", 450, None),
            ("550-5.7.1 a\r\n451 4.7.0 b\r\n", 451, enhanced("4.7.0")),
            ("451-4.7.0 a\r\n550 5.7.1 b\r\n", 451, enhanced("4.7.0")),
            ("421-a\r\n554 5.7.1 b\r\n", 421, None),
            ("550-a\r\n450-b\r\n554 c\r\n", 450, None),
            ("550-a\r\n421-b\r\n554-c\r\n452 d\r\n", 452, None),
        ] {
            let reply = taken(received).0;
            assert_eq!(
                (reply.code, reply.enhanced, reply.lines.len()),
                (code, kept, received.lines().count()),
                "{received}"
            );
        }
        let differ = |one, other| Err(ResponseError::CodesDiffer { one, other });
        for (received, refused) in [
            ("250-a\r\n550 b\r\n", differ(250, 550)),
            ("550-a\r\n250 b\r\n", differ(550, 250)),
            ("250-a\r\n451 b\r\n", differ(250, 451)),
            ("451-a\r\n250 b\r\n", differ(451, 250)),
            ("250-a\r\n354 b\r\n", differ(250, 354)),
            ("354-a\r\n250 b\r\n", differ(354, 250)),
            ("354-a\r\n554 b\r\n", differ(354, 554)),
            ("550-a\r\n450-b\r\n250 c\r\n", differ(450, 250)),
            // It is refused before the whole reply is there.
            ("250-a\r\n550-b\r\n", differ(250, 550)),
            (&format!("250-a\r\n550-{}", "x".repeat(MAX_LINE)), differ(250, 550)),
            (&format!("550-a\r\n450-{}", "x".repeat(MAX_LINE)), Err(ResponseError::TooLong { code: 450 })),
            (&format!("450-a\r\n{}", "550-x\r\n".repeat(MAX_LINES)), Err(ResponseError::TooLong { code: 450 })),
        ] {
            assert_eq!(take_reply(received.as_bytes()), refused, "{:.40}", received);
        }
    }

    #[test]
    fn junk_is_refused_before_its_line_ends() {
        for junk in [
            "\0",
            "HTTP/1.1 400",
            "99",
            "600 x\r\n",
            "25x",
            "250_x",
            "2\r\n",
            "\r\n\r\nhello",
            " 250 x",
            "\u{16}\u{3}\u{1}",
        ] {
            let heard = take_reply(junk.as_bytes());
            assert!(matches!(heard, Err(ResponseError::NotAReply(_))), "{junk:?}: {heard:?}");
        }
    }

    #[test]
    fn blank_lines_between_replies_are_passed_over() {
        for text in ["\r\n250 ok\r\n", "\n\n250 ok\r\n", " \t\r\n\r\n250-a\r\n\r\n250 ok\r\n"] {
            let (reply, used) = taken(text);
            assert_eq!((reply.code, used), (250, text.len()), "{text:?}");
            for end in 0..text.len() {
                assert_eq!(take_reply(&text.as_bytes()[..end]), Ok(None), "{text:?} up to {end}");
            }
        }
        let most = "\r\n".repeat(MAX_BLANK / 2);
        assert_eq!(taken(&format!("{most}250 ok\r\n")).0.code, 250);
        for endless in ["\r\n".repeat(MAX_BLANK), " ".repeat(MAX_BLANK + 1), format!("250-a\r\n{most}\n250 b\r\n")] {
            let heard = take_reply(endless.as_bytes());
            assert!(matches!(heard, Err(ResponseError::NotAReply(_))), "{endless:?}: {heard:?}");
        }
    }

    #[test]
    fn octets_that_are_no_reply_are_quoted_and_seen_as_what_they_are() {
        for (octets, shown) in [
            (&b"Too many connections\r\n"[..], "Too many connections"),
            (b"\x16\x03\x01\x02\xff", r"\u{16}\u{3}\u{1}\u{2}\xff"),
            (b"\x1b[2Jgone\n", r"\u{1b}[2Jgone"),
            ("\u{202e}Bl\u{e5}b\u{e6}r\r\n".as_bytes(), "\\u{202e}Bl\u{e5}b\u{e6}r"),
        ] {
            assert_eq!(take_reply(octets), Err(ResponseError::NotAReply(shown.to_owned())));
        }
        let Err(why) = take_reply(&[b'x'; 1000]) else { panic!("taken") };
        assert_eq!(why.to_string(), format!("the server's reply is no SMTP reply: \"{}…\"", "x".repeat(QUOTED)));
    }

    #[test]
    fn replies_without_end_are_refused() {
        let line = [b"250 ".as_slice(), &[b'x'; MAX_LINE]].concat();
        let too_long = |code| Err(ResponseError::TooLong { code });
        assert_eq!(take_reply(&line), too_long(250));
        assert_eq!(take_reply(&[b"\r\n".as_slice(), &line].concat()), too_long(250));
        assert_eq!(take_reply("550-x\r\n".repeat(MAX_LINES + 1).as_bytes()), too_long(550));
        let long = format!("250-{}\r\n", "x".repeat(1000));
        assert_eq!(take_reply(long.repeat(40).as_bytes()), too_long(250));
    }

    #[test]
    fn controls_do_not_reach_a_log() {
        assert_eq!(taken("550 a\x1b[2Jb\0c\rd\r\n").0.lines, ["a [2Jb c d"]);
        assert!(take_reply(b"550 \xff\r\n").unwrap().unwrap().0.lines[0].contains('\u{fffd}'));
    }

    #[test]
    fn a_reply_that_comes_octet_by_octet_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |received: &String| {
                let mut reader = ReplyReader::default();
                let taken = (1..=received.len()).find_map(|end| reader.take(&received.as_bytes()[..end]).transpose());
                assert!(taken.is_some_and(|taken| taken.is_ok()), "{} octets", received.len());
            },
            &[
                ("short lines", |size| format!("{}250 ok\r\n", "250-x\r\n".repeat(size / 40))),
                ("long lines", |size| {
                    format!("{}250 ok\r\n", format!("250-{}\r\n", "x".repeat(994)).repeat(size / 1000))
                }),
                ("one line", |size| format!("250 {}\r\n", "x".repeat(size / 2 - 10))),
            ],
        );
    }

    proptest::proptest! {
        #[test]
        fn a_reply_is_the_same_whatever_pieces_it_comes_in(
            lines in proptest::collection::vec("(250|450|550)[ -][a-z0-9. ]{0,20}\r?\n|\r\n|[ -~]{0,9}\n", 0..6),
            cuts in proptest::collection::vec(0usize..120, 0..12),
        ) {
            let received = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(received.len())).chain([received.len()]).collect();
            cuts.sort_unstable();
            let mut reader = ReplyReader::default();
            let mut piecewise = Ok(None);
            for cut in cuts {
                piecewise = reader.take(&received[..cut]);
                if piecewise != Ok(None) {
                    break;
                }
            }
            // Junk is refused before all of it has come, and quoted as far as it has.
            match (piecewise, take_reply(&received)) {
                (Err(_), whole) => proptest::prop_assert!(whole.is_err()),
                (piecewise, whole) => proptest::prop_assert_eq!(piecewise, whole),
            }
        }

        #[test]
        fn nothing_a_server_sends_can_panic_or_overrun(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(Some((_, used))) = take_reply(&bytes) {
                assert!(used <= bytes.len());
            }
        }
    }
}
