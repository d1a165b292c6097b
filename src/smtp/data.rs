//! The receiving side of DATA and BDAT. In one pass over the input it finds the end of data, removes
//! stuffed dots, and checks line ends, NUL and line length (RFC 5321 §4.1.1.4, §4.5.2, §2.3.8).
//!
//! Promise: only `CRLF . CRLF` ends DATA. A message with a lone CR or LF, or with a NUL, is still read to its true end,
//! so that nothing after a false end is taken for a command. The error is remembered as the message's [`Flaw`], and
//! further octets are not passed on.
//!
//! ```text
//!               '.'            CR              LF
//!  LineStart ────────► Dot ────────► DotCr ────────► end
//!    ▲   │ other        │ other        │ other (lone CR)
//!    │   ▼              ▼              ▼
//!    │  Middle ◄────────┴──────────────┘
//!    │   │ CR        ▲ other (lone CR)
//!    └── MiddleCr ───┘
//!     LF
//! ```
//!
//! A lone LF leaves the reader in the middle of its line. What follows is no line start, so a dot there is text.

/// Why a message's octets cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The message holds a CR without LF, or an LF without CR.
    BareLineEnd,
    /// The message holds a NUL.
    Nul,
    /// A line of the header is longer than allowed.
    LongHeaderLine,
    /// A line of the body is longer than allowed.
    LongLine,
}

/// How much of its input one call consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The number of octets that belong to the message or its end. The rest of the input is commands.
    pub used: usize,
    /// True if the end of data was found.
    pub end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Dot,
    DotCr,
    Middle,
    MiddleCr,
}

/// Reads the content of one message.
#[derive(Debug)]
pub struct DataReader {
    at: At,
    is_dotted: bool,
    line_limit: usize,
    /// Octets of the current line so far, without the stuffed dot and the line end.
    line_len: usize,
    /// True until the first blank line.
    in_header: bool,
    flaw: Option<Flaw>,
}

impl DataReader {
    /// A reader for DATA. The message ends with `CRLF . CRLF` and its dots are stuffed. A line may have `line_limit`
    /// octets without its CRLF.
    pub fn dotted(line_limit: usize) -> Self {
        DataReader { at: At::LineStart, is_dotted: true, line_limit, line_len: 0, in_header: true, flaw: None }
    }

    /// A reader for BDAT. The message ends where the client's count says, and dots are text (RFC 3030 §2).
    pub fn counted(line_limit: usize) -> Self {
        DataReader { is_dotted: false, ..Self::dotted(line_limit) }
    }

    /// The first flaw that was found so far.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Returns true if the message so far ends with a whole line.
    pub fn is_at_line_start(&self) -> bool {
        self.at == At::LineStart
    }

    /// Ends a counted message. A CR at its end cannot become a line end any more.
    pub fn finish(&mut self) {
        if matches!(self.at, At::MiddleCr | At::DotCr) {
            self.set_flaw(Flaw::BareLineEnd);
        }
    }

    /// Reads `input`, which may be split anywhere, and passes its text to `sink` in pieces as long as possible. Nothing
    /// is passed on once a flaw is known.
    pub fn read(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Consumed {
        // The text in `input[run..pos]` has not been passed on yet.
        let (mut run, mut pos) = (0, 0);
        while pos < input.len() {
            match self.at {
                At::LineStart if self.is_dotted && input[pos] == b'.' => {
                    self.pass_on(&input[run..pos], &mut sink);
                    pos += 1;
                    run = pos;
                    self.at = At::Dot;
                }
                At::LineStart => self.at = At::Middle,
                At::Dot if input[pos] == b'\r' => {
                    pos += 1;
                    self.at = At::DotCr;
                }
                At::Dot => self.at = At::Middle,
                At::DotCr if input[pos] == b'\n' => return Consumed { used: pos + 1, end: true },
                // The dot was stuffed and is removed. The CR behind it is alone, which the state `MiddleCr` finds.
                At::DotCr => self.at = At::MiddleCr,
                At::MiddleCr if input[pos] == b'\n' => {
                    pos += 1;
                    self.in_header &= self.line_len > 0;
                    self.line_len = 0;
                    self.at = At::LineStart;
                }
                At::MiddleCr => {
                    self.set_flaw_after(&input[run..pos], Flaw::BareLineEnd, &mut sink);
                    self.line_len += 1;
                    self.at = At::Middle;
                }
                At::Middle => {
                    let rest = &input[pos..];
                    let found = memchr::memchr3(b'\r', b'\n', 0, rest);
                    let text = found.unwrap_or(rest.len());
                    self.line_len += text;
                    if self.line_len > self.line_limit {
                        let flaw = if self.in_header { Flaw::LongHeaderLine } else { Flaw::LongLine };
                        self.set_flaw_after(&input[run..pos], flaw, &mut sink);
                    }
                    pos += text;
                    match found.map(|at| rest[at]) {
                        None => {}
                        Some(b'\r') => {
                            pos += 1;
                            self.at = At::MiddleCr;
                        }
                        Some(lone) => {
                            let flaw = if lone == 0 { Flaw::Nul } else { Flaw::BareLineEnd };
                            self.set_flaw_after(&input[run..pos], flaw, &mut sink);
                            self.line_len += 1;
                            pos += 1;
                        }
                    }
                }
            }
        }
        // A CR right after a dot at a line start may belong to the end of data. The next octet decides. If the CR is
        // text, the message is flawed and nothing more is passed on.
        if self.at != At::DotCr {
            self.pass_on(&input[run..], &mut sink);
        }
        Consumed { used: input.len(), end: false }
    }

    /// Records a flaw that was found after `text`, and passes `text` on first: the code that refuses the message learns
    /// from its header whose message it is.
    fn set_flaw_after(&mut self, text: &[u8], flaw: Flaw, sink: &mut impl FnMut(&[u8])) {
        self.pass_on(text, sink);
        self.set_flaw(flaw);
    }

    fn set_flaw(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    fn pass_on(&self, text: &[u8], sink: &mut impl FnMut(&[u8])) {
        if self.flaw.is_none() && !text.is_empty() {
            sink(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_lookalikes::LOOKALIKES;
    use proptest::prelude::*;

    /// Returns the message, what was left after its end, and its flaw. `None` if no end was found.
    fn decode(pieces: &[&[u8]]) -> Option<(Vec<u8>, Vec<u8>, Option<Flaw>)> {
        let mut reader = DataReader::dotted(998);
        let (mut text, mut rest, mut ended) = (Vec::new(), Vec::new(), false);
        for piece in pieces {
            if ended {
                rest.extend_from_slice(piece);
                continue;
            }
            let taken = reader.read(piece, |run| text.extend_from_slice(run));
            rest.extend_from_slice(&piece[taken.used..]);
            ended = taken.end;
        }
        ended.then_some((text, rest, reader.flaw()))
    }

    #[test]
    fn only_crlf_dot_crlf_ends_data_wherever_it_is_split() {
        for lookalike in &LOOKALIKES {
            let wire = [b"a", *lookalike, b"MAIL FROM:<x@test.dk>\r\n.\r\nQUIT\r\n"].concat();
            for split in 0..=wire.len() {
                let (head, tail) = wire.split_at(split);
                let (_, rest, flaw) = decode(&[head, tail]).expect("the true end");
                assert_eq!(rest, b"QUIT\r\n", "{lookalike:?} split at {split}");
                assert!(flaw.is_some(), "{lookalike:?} split at {split}");
            }
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            assert_eq!(decode(&bytes).expect("the true end").1, b"QUIT\r\n");
        }
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_found_wherever_they_are_split() {
        for (wire, text) in [
            (&b".\r\n"[..], &b""[..]),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"a\r\n..b\r\n\r\n.\r\n", b"a\r\n.b\r\n\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"...\r\n.\r\n", b"..\r\n"),
        ] {
            for split in 0..=wire.len() {
                let (head, tail) = wire.split_at(split);
                assert_eq!(decode(&[head, tail]), Some((text.to_vec(), Vec::new(), None)), "{wire:?} at {split}");
            }
        }
    }

    #[test]
    fn line_length_is_counted_without_line_end_and_stuffed_dot() {
        for (before, flaw) in [
            ("", Flaw::LongHeaderLine),
            ("A: b\r\n", Flaw::LongHeaderLine),
            ("A: b\r\n c\r\n..\r\n", Flaw::LongHeaderLine),
            ("\r\n", Flaw::LongLine),
            ("A: b\r\n\r\n", Flaw::LongLine),
            ("A: b\r\n\r\ntext\r\n", Flaw::LongLine),
        ] {
            for (len, flaw) in [(998, None), (999, Some(flaw))] {
                let wire = [before.as_bytes(), b"..", "x".repeat(len - 1).as_bytes(), b"\r\n.\r\n"].concat();
                for piece in [1, 7, 4096] {
                    let pieces: Vec<&[u8]> = wire.chunks(piece).collect();
                    assert_eq!(decode(&pieces).expect("ends").2, flaw, "{before:?}, {len} in pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn counted_messages_keep_their_dots_and_refuse_a_cr_at_the_end() {
        let mut text = Vec::new();
        let mut reader = DataReader::counted(998);
        let taken = reader.read(b".\r\n..\r\n.", |run| text.extend_from_slice(run));
        assert_eq!(taken, Consumed { used: 8, end: false });
        reader.finish();
        assert_eq!((&text[..], reader.flaw()), (&b".\r\n..\r\n."[..], None));
        assert!(!reader.is_at_line_start());
        reader.read(b"\r", |_| ());
        reader.finish();
        assert_eq!(reader.flaw(), Some(Flaw::BareLineEnd));
    }

    proptest! {
        #[test]
        fn what_is_stuffed_is_read_back_however_it_is_cut(
            lines in prop::collection::vec("[.a]{0,5}", 0..12),
            cut in 1usize..9,
        ) {
            let message: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            let (mut stuffer, mut wire) = (crate::smtp::stuff::DotStuffer::new(), Vec::new());
            stuffer.stuff(&message, &mut wire).unwrap();
            stuffer.end(&mut wire).unwrap();
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(decode(&pieces), Some((message, Vec::new(), None)));
        }

        #[test]
        fn cutting_never_changes_what_is_read(
            wire in prop::collection::vec(prop::sample::select(&b"\r\n.\0a"[..]), 0..24),
            cut in 1usize..5,
        ) {
            let whole = decode(&[&wire]);
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            let cut = decode(&pieces);
            prop_assert_eq!(whole.as_ref().map(|w| (&w.1, w.2)), cut.as_ref().map(|c| (&c.1, c.2)));
            if let (Some((text, _, None)), Some((same, _, _))) = (whole, cut) {
                prop_assert_eq!(text, same);
            }
        }
    }

    /// Content in pieces of 8 KiB, or octet by octet.
    fn cost_of_pieces(len: usize) {
        let read = |content: &Vec<u8>| {
            let mut reader = DataReader::dotted(1000);
            content.chunks(len).for_each(|chunk| {
                reader.read(chunk, |_| {});
            });
        };
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            read,
            &[
                ("lines", |size| b"line of text\r\n".repeat(size / 14)),
                ("dots", |size| b"..\r\n".repeat(size / 4)),
                ("a line without end", |size| vec![b'x'; size]),
                ("line feeds", |size| vec![b'\n'; size]),
                ("carriage returns", |size| vec![b'\r'; size]),
                ("half line ends", |size| b"\r\n.\r".repeat(size / 4)),
            ],
        );
    }

    #[test]
    fn content_costs_in_proportion_to_its_length() {
        cost_of_pieces(8192);
    }

    #[test]
    fn content_that_comes_octet_by_octet_costs_in_proportion_to_its_length() {
        cost_of_pieces(1);
    }
}
