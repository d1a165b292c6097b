//! Cursors: a reader's position in the journal, as a text that the reader stores.
//!
//! A cursor stays valid while its file is rotated, compressed and erased from. It also names the journal: if the files are gone and another
//! journal begins, an old cursor is refused, and not taken for a place in the new one.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde_json::Value;

use super::{Journal, Position, lines};

/// The approximate maximum octets of lines in a page.
const PAGE: usize = 1 << 20;

/// A place in one particular journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    journal: String,
    position: Position,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.journal, self.position)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-');
        let mut number = || {
            let digits = parts.next_back().filter(|part| part.bytes().all(|octet| octet.is_ascii_digit()))?;
            digits.parse::<u64>().ok()
        };
        let (offset, segment) = (number(), number());
        match (parts.next(), segment, offset, parts.next()) {
            (Some(journal), Some(segment), Some(offset), None) => {
                Ok(Cursor { journal: journal.to_owned(), position: Position { segment, offset } })
            }
            _ => Err(CursorError::Unknown),
        }
    }
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// It is not a cursor of this journal.
    #[error("this is no cursor of this journal")]
    Unknown,
    /// Its file was removed, because it was too old or all files together were too large.
    #[error("the events behind this cursor are not kept any more; the oldest that are begin at {oldest}")]
    Gone {
        /// The position of the oldest event that is left.
        oldest: Cursor,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A page of events in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The events as the journal has them.
    pub events: Vec<Value>,
    /// The cursor behind the last event. An empty page has one, too.
    pub next: Cursor,
    /// True if there are more events now.
    pub more: bool,
}

impl Journal {
    /// Returns the cursor of a position.
    pub fn cursor(&self, position: Position) -> Cursor {
        Cursor { journal: self.id.clone(), position }
    }

    /// Returns the position of a cursor of this journal, which may have been removed meanwhile.
    pub(crate) fn position(&self, cursor: &Cursor) -> Option<Position> {
        (cursor.journal == self.id).then_some(cursor.position)
    }

    /// Returns up to `most` events behind a cursor, and about 1 MiB at most. Reads files, so it must not run on an async worker.
    pub fn page(&self, from: &Cursor, most: usize) -> Result<Page, CursorError> {
        let end = self.end();
        let mut position = self.checked(from, end)?;
        let (mut events, mut octets) = (Vec::new(), 0);
        while events.len() < most && octets < PAGE {
            let chunk = self.read(position, PAGE - octets)?;
            if chunk.gap && chunk.start != position {
                return Err(self.gone()?);
            }
            position = chunk.start;
            if chunk.lines.is_empty() {
                break;
            }
            for line in chunk.lines.split_inclusive(|octet| *octet == b'\n') {
                if events.len() == most {
                    break;
                }
                position.offset += line.len() as u64;
                octets += line.len();
                // Skip the rest of a line that a power cut left. No reader has seen it.
                events.extend(serde_json::from_slice::<Value>(line).ok().filter(Value::is_object));
            }
        }
        Ok(Page { events, next: self.cursor(position), more: position < end })
    }

    /// Returns about 1 MiB of whole lines behind a cursor, and the cursor behind them. An empty result means that there are no more lines
    /// yet. Reads files, so it must not run on an async worker.
    pub fn lines(&self, from: &Cursor) -> Result<(Vec<u8>, Cursor), CursorError> {
        let position = self.checked(from, self.end())?;
        let chunk = self.read(position, PAGE)?;
        if chunk.gap && chunk.start != position {
            return Err(self.gone()?);
        }
        let offset = chunk.start.offset + chunk.lines.len() as u64;
        Ok((chunk.lines, self.cursor(Position { offset, ..chunk.start })))
    }

    /// Returns the position of a cursor, if a line of this journal begins there.
    fn checked(&self, cursor: &Cursor, end: Position) -> Result<Position, CursorError> {
        let position = cursor.position;
        if cursor.journal != self.id || position > end {
            return Err(CursorError::Unknown);
        }
        let (file, _) = self.segment(position.segment)?;
        let Some(file) = file else {
            return Err(self.gone()?);
        };
        let octets = file.octets()?;
        if position.offset > octets {
            return Err(CursorError::Unknown);
        }
        if position.offset > 0 {
            // The octet before the line must be a line end.
            let before = lines::octet(&file, position.offset - 1)?;
            if before != Some(b'\n') {
                return Err(CursorError::Unknown);
            }
        }
        Ok(position)
    }

    fn gone(&self) -> io::Result<CursorError> {
        Ok(CursorError::Gone { oldest: self.cursor(self.oldest()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor { journal: "9f3c2a10".into(), position: Position { segment: 41, offset: 120_384 } };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in
            ["", "-", "41-120384", "9f3c2a10-41", "9f3c2a10-41-", "9f3c2a10-x-1", "a-b-41-1", "9f3c2a10-+4-1", "a--1-1"]
        {
            assert!(matches!(text.parse::<Cursor>(), Err(CursorError::Unknown)), "{text}");
        }
    }
}
