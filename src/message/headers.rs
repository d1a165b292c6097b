//! Splits a header block into its fields, as octets and without rewriting any of them.

/// One header field as it stands in the message, with its folded lines and its final CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    name_len: usize,
}

impl<'a> Field<'a> {
    /// Takes one whole field with its CRLF. Returns `None` unless a name of printable ASCII is directly followed by a
    /// colon (RFC 5322 §2.2). With a space before the colon, two readers could see two different fields.
    pub fn new(raw: &'a [u8]) -> Option<Self> {
        let name_len = memchr::memchr(b':', raw)?;
        let name_is_legal = name_len > 0 && raw[..name_len].iter().all(|b| (33..=126).contains(b));
        name_is_legal.then_some(Field { raw, name_len })
    }

    /// The field's name, as it was written.
    pub fn name(&self) -> &'a [u8] {
        &self.raw[..self.name_len]
    }

    /// The value after the colon, with folding and the final CRLF.
    pub fn value(&self) -> &'a [u8] {
        &self.raw[self.name_len + 1..]
    }

    /// The whole field, with its final CRLF.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns true if the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Returns true if the field controls Mailjet (`X-MJ-…`, `X-Mailjet-…`). It is sent nowhere else.
    pub fn is_for_mailjet(&self) -> bool {
        let starts = |with: &[u8]| self.name().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        starts(b"X-MJ-") || starts(b"X-Mailjet-")
    }
}

/// Splits a header block (fields with CRLF line ends, without the blank line) into fields. An `Err` holds a line that
/// begins no field.
pub fn fields(mut block: &[u8]) -> impl Iterator<Item = Result<Field<'_>, &[u8]>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let (raw, rest) = block.split_at(field_len(block));
        block = rest;
        Some(Field::new(raw).ok_or(raw))
    })
}

/// The length of the field at the start of `block`: it ends with the first CRLF that no space or tab follows.
fn field_len(block: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', block)
        .find(|at| !matches!(block.get(at + 1), Some(b' ' | b'\t')))
        .map_or(block.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_lines_belong_to_their_field() {
        let block = b"Subject: a\r\n b\r\nFrom:x@test.dk\r\n";
        let found: Vec<_> = fields(block).map(|f| f.unwrap().raw()).collect();
        assert_eq!(found, [&b"Subject: a\r\n b\r\n"[..], b"From:x@test.dk\r\n"]);
    }

    #[test]
    fn a_space_before_the_colon_is_no_field() {
        assert!(fields(b"From : x\r\n").next().unwrap().is_err());
        assert!(fields(b": x\r\n").next().unwrap().is_err());
        assert!(fields(b"no colon\r\n").next().unwrap().is_err());
    }
}
