//! Folding of the `DKIM-Signature` field to 78 columns (RFC 5322 §2.1.1). The same input always gives the same folds.
//!
//! A tag that is longer than a line (a domain of 200 octets) gets a line of its own and is not folded: RFC 6376 §3.5 allows no
//! white space inside it.

/// The length of the longest line, without its CRLF.
const COLUMNS: usize = 78;
const FOLD: &[u8] = b"\r\n ";

/// The field as text, folded between tags.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    text: Vec<u8>,
    column: usize,
}

impl Folded {
    pub(super) fn new(name: &str) -> Self {
        Folded { text: name.as_bytes().to_vec(), column: name.len() }
    }

    /// Appends a tag with its semicolon, after a space or a fold.
    pub(super) fn tag(&mut self, tag: &str) {
        self.tag_with_room(tag, tag.len());
    }

    /// Appends the start of a tag. The caller completes it later; it will then have `room` octets.
    pub(super) fn tag_with_room(&mut self, tag: &str, room: usize) {
        if self.column + 1 + room > COLUMNS {
            self.text.extend_from_slice(FOLD);
            self.column = 1;
        } else {
            self.text.push(b' ');
            self.column += 1;
        }
        self.text.extend_from_slice(tag.as_bytes());
        self.column += room;
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text);
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends the next name of `h=`, which begins on a line of its own. `column` is 0 before the first name.
    pub(super) fn append_name(name: &str, column: &mut usize, out: &mut Vec<u8>) {
        if *column == 0 {
            out.extend_from_slice(b" h=");
            *column = 3;
        } else {
            out.push(b':');
            *column += 1;
            // One column more for the colon or semicolon that follows.
            if *column + name.len() + 1 > COLUMNS {
                out.extend_from_slice(FOLD);
                *column = 1;
            }
        }
        out.extend_from_slice(name.as_bytes());
        *column += name.len();
    }

    /// Appends base64, which may be folded anywhere. `column` is the column where it begins.
    pub(super) fn append_base64(mut text: &[u8], column: usize, out: &mut Vec<u8>) {
        let mut room = COLUMNS.saturating_sub(column);
        while text.len() > room {
            let (line, rest) = text.split_at(room);
            out.extend_from_slice(line);
            out.extend_from_slice(FOLD);
            text = rest;
            room = COLUMNS - 1;
        }
        out.extend_from_slice(text);
    }
}
