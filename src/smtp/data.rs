//! The receiving side of DATA and BDAT: finds the end of data, takes the stuffed dots out, and checks line ends, NUL and
//! line length, in one pass over whatever the socket gave (RFC 5321 §4.1.1.4, §4.5.2, §2.3.8).
//!
//! Promise: only `CRLF . CRLF` ends DATA. A message with a CR or LF that is not part of CRLF, or with a NUL, is read to its
//! true end all the same, so that nothing after a false end is ever taken for a command; what is wrong with it is
//! remembered as its [`Flaw`] and its octets are no longer handed on.
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
//! A lone LF leaves the reader in the middle of its line: what follows is no line start, so a dot there is text.

/// Why a message's octets cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A CR without LF, or an LF without CR.
    BareLineEnd,
    /// A NUL.
    Nul,
    /// A line of the header longer than allowed.
    LongHeaderLine,
    /// A line of the body longer than allowed.
    LongLine,
}

/// What one call took in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Octets of the input that belong to the message or its end; the rest are commands.
    pub used: usize,
    /// The end of data was seen.
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

/// Reads one message.
#[derive(Debug)]
pub struct DataReader {
    at: At,
    dotted: bool,
    line_limit: usize,
    /// Octets of the line so far, stuffed dot and line end not counted.
    line_len: usize,
    /// No blank line was seen yet.
    in_header: bool,
    flaw: Option<Flaw>,
}

impl DataReader {
    /// For DATA: the message ends with `CRLF . CRLF` and its dots are stuffed. Lines may have `line_limit` octets without
    /// their CRLF.
    pub fn dotted(line_limit: usize) -> Self {
        DataReader { at: At::LineStart, dotted: true, line_limit, line_len: 0, in_header: true, flaw: None }
    }

    /// For BDAT: the message ends where the client's count says; dots are text (RFC 3030 §2).
    pub fn counted(line_limit: usize) -> Self {
        DataReader { dotted: false, ..Self::dotted(line_limit) }
    }

    /// What is wrong with the message so far; the first thing found.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Whether the message so far ends with a whole line.
    pub fn is_at_line_start(&self) -> bool {
        self.at == At::LineStart
    }

    /// Ends a counted message: a last CR cannot become a line end any more.
    pub fn finish(&mut self) {
        if matches!(self.at, At::MiddleCr | At::DotCr) {
            self.blame(Flaw::BareLineEnd);
        }
    }

    /// Takes `input`, split anywhere, and hands its text to `sink` in runs as long as possible. Nothing is handed on
    /// once a flaw is known.
    pub fn read(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Taken {
        // input[run..pos] is text not yet handed on.
        let (mut run, mut pos) = (0, 0);
        while pos < input.len() {
            match self.at {
                At::LineStart if self.dotted && input[pos] == b'.' => {
                    self.hand_on(&input[run..pos], &mut sink);
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
                At::DotCr if input[pos] == b'\n' => return Taken { used: pos + 1, end: true },
                // The dot was stuffed (and is gone), the CR behind it is alone: see MiddleCr, which says so.
                At::DotCr => self.at = At::MiddleCr,
                At::MiddleCr if input[pos] == b'\n' => {
                    pos += 1;
                    self.in_header &= self.line_len > 0;
                    self.line_len = 0;
                    self.at = At::LineStart;
                }
                At::MiddleCr => {
                    self.blame_behind(&input[run..pos], Flaw::BareLineEnd, &mut sink);
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
                        self.blame_behind(&input[run..pos], flaw, &mut sink);
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
                            self.blame_behind(&input[run..pos], flaw, &mut sink);
                            self.line_len += 1;
                            pos += 1;
                        }
                    }
                }
            }
        }
        // A CR right behind a line-start dot may belong to the end of data: it is text only once the next octet says so,
        // and then the message is flawed and nothing is handed on any more.
        if self.at != At::DotCr {
            self.hand_on(&input[run..], &mut sink);
        }
        Taken { used: input.len(), end: false }
    }

    /// A flaw was found behind `text`, which is handed on: whoever refuses the message learns from its header whose it is.
    fn blame_behind(&mut self, text: &[u8], flaw: Flaw, sink: &mut impl FnMut(&[u8])) {
        self.hand_on(text, sink);
        self.blame(flaw);
    }

    fn blame(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    fn hand_on(&self, text: &[u8], sink: &mut impl FnMut(&[u8])) {
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

    /// The message, what was left behind its end, and its flaw; `None` where no end was found.
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
        assert_eq!(taken, Taken { used: 8, end: false });
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
}
