//! Reads the one address of a From or Sender field (RFC 5322 §3.4), strictly. A value that two readers could take for
//! two different addresses is refused, because the tenancy rule relies on this domain being the one that recipients
//! see.
//!
//! Obsolete forms (routes, spaces around the `@`), groups and lists are refused. Display names may hold raw UTF-8 (RFC
//! 6532) or other 8-bit text. `display` checks what they show.

use super::address_error::AddressError;
use super::display;
use crate::smtp::Mailbox;

/// Reads the value of a field (with folding and CRLF) as one address.
pub fn single(value: &[u8]) -> Result<Mailbox, AddressError> {
    let mut cursor = Cursor { text: value, pos: 0 };
    cursor.skip_space()?;
    let start = cursor.pos;
    loop {
        match cursor.peek() {
            None if cursor.pos == start => return Err(AddressError::Empty),
            None => return Err(AddressError::Syntax),
            Some(b'<') => {
                cursor.pos += 1;
                cursor.skip_space()?;
                let mailbox = cursor.address()?;
                cursor.skip_space()?;
                if cursor.peek() != Some(b'>') {
                    return Err(AddressError::Syntax);
                }
                cursor.pos += 1;
                return cursor.ended().map(|()| mailbox);
            }
            // Without angle brackets, the text read so far is the local part.
            Some(b'@') => {
                cursor.pos = start;
                let bare = cursor.address().and_then(|mailbox| cursor.ended().map(|()| mailbox));
                return bare.map_err(|why| if cursor.opens_bracket() { AddressError::Name } else { why });
            }
            Some(b'"') => cursor.quoted()?,
            Some(b',') if cursor.pos > start && cursor.comma_is_in_a_name() => return Err(AddressError::Comma),
            Some(b',') => return Err(AddressError::Several),
            Some(b':' | b';') => return Err(AddressError::Group),
            Some(_) => cursor.atoms()?,
        }
        cursor.skip_space()?;
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    /// The position, which is never past the end of `text`.
    pos: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    /// Skips spaces, folding and comments (RFC 5322 §3.2.2).
    fn skip_space(&mut self) -> Result<(), AddressError> {
        let mut depth = 0u32;
        while let Some(b) = self.peek() {
            match b {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.quoted_pair();
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return Ok(()),
            }
            self.pos += 1;
        }
        if depth == 0 { Ok(()) } else { Err(AddressError::Syntax) }
    }

    fn quoted(&mut self) -> Result<(), AddressError> {
        self.pos += 1;
        loop {
            match self.peek() {
                None => return Err(AddressError::Syntax),
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') => self.quoted_pair(),
                Some(_) => self.pos += 1,
            }
        }
    }

    /// Skips a backslash and the octet that it quotes (RFC 5322 §3.2.1). At the end of the text there may be no such
    /// octet.
    fn quoted_pair(&mut self) {
        self.pos = (self.pos + 2).min(self.text.len());
    }

    /// Skips atoms and dots. There must be at least one octet.
    fn atoms(&mut self) -> Result<(), AddressError> {
        let start = self.pos;
        while self.peek().is_some_and(|b| !b.is_ascii_control() && !br#" ()<>[]:;@\,""#.contains(&b)) {
            self.pos += 1;
        }
        if self.pos == start { Err(AddressError::Syntax) } else { Ok(()) }
    }

    /// Reads `local-part@domain` without spaces in it.
    fn address(&mut self) -> Result<Mailbox, AddressError> {
        let start = self.pos;
        match self.peek() {
            Some(b'"') => self.quoted()?,
            _ => self.atoms()?,
        }
        if self.peek() != Some(b'@') {
            return Err(AddressError::Syntax);
        }
        // A quoted local part may hold a whole address of somebody else. Readers that do not know quoting show that
        // address.
        if self.text[start..self.pos].iter().any(|b| b"@<>,;:".contains(b)) {
            return Err(AddressError::Syntax);
        }
        self.pos += 1;
        if self.peek() == Some(b'[') {
            let len = memchr::memchr(b']', &self.text[self.pos..]).ok_or(AddressError::Syntax)?;
            self.pos += len + 1;
        } else {
            self.atoms()?;
        }
        let address = std::str::from_utf8(&self.text[start..self.pos]).map_err(|_| AddressError::Syntax)?;
        // An encoded word is no address (RFC 2047 §5), but some readers decode it, even without its end, and show another
        // address ("Mailsploit").
        if address.split_once("=?").is_some_and(|(_, rest)| rest.contains("?=") || rest.matches('?').count() > 1) {
            return Err(AddressError::Syntax);
        }
        let (local_part, _) = address.rsplit_once('@').ok_or(AddressError::Syntax)?;
        display::check_local_part(local_part)?;
        let mailbox = Mailbox::parse(address).map_err(AddressError::Address)?;
        match mailbox.domain() {
            // Our reading of the domain decides whose key signs. DMARC (RFC 9989) compares the verifier's reading with
            // it.
            Some(domain) if !address.rsplit('@').next().is_some_and(|text| domain.is_plainly(text)) => {
                Err(AddressError::Form(domain.clone()))
            }
            _ => Ok(mailbox),
        }
    }

    /// Returns true if an angle bracket follows with no comma before it. What was read as an address was then meant as
    /// a name.
    fn opens_bracket(&self) -> bool {
        self.text[self.pos..].iter().find(|b| b",<".contains(b)) == Some(&b'<')
    }

    /// Returns true if the comma here, after some words, belongs to a name: words and commas follow, and then the only
    /// address in angle brackets.
    fn comma_is_in_a_name(&self) -> bool {
        let mut rest = Cursor { text: self.text, pos: self.pos };
        loop {
            let more = match rest.peek() {
                Some(b'<') => {
                    rest.pos += 1;
                    return rest.address().is_ok() && rest.peek() == Some(b'>') && {
                        rest.pos += 1;
                        rest.ended().is_ok()
                    };
                }
                Some(b',') => {
                    rest.pos += 1;
                    Ok(())
                }
                Some(b'"') => rest.quoted(),
                Some(_) => rest.atoms(),
                None => return false,
            };
            if more.and_then(|()| rest.skip_space()).is_err() {
                return false;
            }
        }
    }

    /// Fails unless only space follows.
    fn ended(&mut self) -> Result<(), AddressError> {
        self.skip_space()?;
        match self.peek() {
            None => Ok(()),
            Some(b',') => Err(AddressError::Several),
            Some(_) => Err(AddressError::Syntax),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::Domain;

    #[test]
    fn the_usual_forms_are_read() {
        for (value, address) in [
            (&b" a@test.dk\r\n"[..], "a@test.dk"),
            (b" <a@test.dk>\r\n", "a@test.dk"),
            (b" \"S\xc3\xb8rensen, Hans\" <hans@Test.dk>\r\n", "hans@test.dk"),
            (b" =?utf-8?Q?S=C3=B8ren?=\r\n\t<a@test.dk>\r\n", "a@test.dk"),
            (b" J. Hansen ApS <a@test.dk> (kontoret)\r\n", "a@test.dk"),
            (b" S\xf8ren <a@test.dk>\r\n", "a@test.dk"),
            (b" \"a \\\" <b@evil.dk>\" <a@test.dk>", "a@test.dk"),
            (b" a=?b@test.dk", "a=?b@test.dk"),
            (b" (b@evil.dk) \"x y\"@test.dk", "\"x y\"@test.dk"),
        ] {
            assert_eq!(single(value).map(|m| m.to_string()), Ok(address.to_owned()), "{:?}", value.escape_ascii());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (value, why) in [
            (&b" \r\n"[..], AddressError::Empty),
            (b" (nobody)", AddressError::Empty),
            (b" a@test.dk, b@evil.dk", AddressError::Several),
            (b" <a@test.dk>, <b@evil.dk>", AddressError::Several),
            (b" a, b@evil.dk", AddressError::Several),
            (b" a@test.dk,", AddressError::Several),
            (b" a, b@evil.dk <a@test.dk>", AddressError::Several),
            (b" Hansen, Ole <a@test.dk>, b@evil.dk", AddressError::Several),
            (b" Hansen, Ole <a@test.dk", AddressError::Several),
            (b" , <a@test.dk>", AddressError::Several),
            (b" x: a@test.dk;", AddressError::Group),
            (b" a@test.dk <b@evil.dk>", AddressError::Name),
            (b" 'a@test.dk' <a@test.dk>", AddressError::Name),
            (b" Hansen a@test.dk <a@test.dk>", AddressError::Name),
            (b" a@test.dk, <b@evil.dk>", AddressError::Several),
            (b" <a@test.dk> <b@evil.dk>", AddressError::Syntax),
            (b" <a@test.dk> b@evil.dk", AddressError::Syntax),
            (b" <@evil.dk:a@test.dk>", AddressError::Syntax),
            (b" a @test.dk", AddressError::Syntax),
            (b" a@ test.dk", AddressError::Syntax),
            (b" a@test.dk.(x)evil.dk", AddressError::Form(Domain::parse("test.dk").unwrap())),
            (b" \"a <a@test.dk>", AddressError::Syntax),
            (b" (a <a@test.dk>", AddressError::Syntax),
            (b" a@test.dk (\\", AddressError::Syntax),
            (b" \"a\\", AddressError::Syntax),
            (b" <a@test.dk", AddressError::Syntax),
            (b" <>", AddressError::Syntax),
            (b" just a name", AddressError::Syntax),
            (b" =?utf-8?b?Y2VvQGV2aWwuZGs=?==?utf-8?Q?=00?=@test.dk", AddressError::Syntax),
            (b" CEO <\"=?utf-8?b?Y2VvQGV2aWwuZGs=?=\"@test.dk>", AddressError::Syntax),
            (b" \"ceo@evil.dk\"@test.dk", AddressError::Syntax),
            (b" <\"<ceo>\"@test.dk>", AddressError::Syntax),
        ] {
            assert_eq!(single(value), Err(why), "{:?}", value.escape_ascii());
        }
        assert!(matches!(single(b" a..b@test.dk"), Err(AddressError::Address(_))));
        for value in ["Firma :) <a@test.dk>", "A; B <a@test.dk>"] {
            let why = single(value.as_bytes()).unwrap_err();
            assert!(why.to_string().contains("colon or semicolon needs its quotes"), "{why}");
        }
        for value in [
            "Hansen, Ole <a@test.dk>",
            "Hansen, Ole, cand.jur. <a@test.dk>\r\n",
            "Hansen,Ole<a@test.dk> (kontoret)",
            "Hansen,\r\n Ole <a@test.dk>",
            "Hansen (jun.), \"Ole\" <a@test.dk>",
            "Firma ApS, <a@test.dk>",
            "S\u{f8}rensen, S\u{f8}ren <a@test.dk>",
            "=?utf-8?Q?Hansen?=, Ole <a@test.dk>",
        ] {
            let why = single(value.as_bytes()).unwrap_err();
            assert!(why.to_string().contains("a name with a comma needs double quotes"), "{value}: {why}");
        }
        assert!(single(b"\"'a@test.dk'\" <a@test.dk>").is_ok(), "with the quotes that are asked for");
        for value in ["a@bl\u{e5}b\u{c6}r.dk", "<a@test\u{3002}dk>", "X <a@test.dk.>", "a@stra\u{df}e.de"] {
            assert!(matches!(single(value.as_bytes()), Err(AddressError::Form(_))), "{value}");
        }
    }

    proptest! {
        /// Property: another reader sees the same address in every value that we accept.
        #[test]
        fn mail_parser_agrees_on_what_is_accepted(value in "[a-c@.<>\"(), :;\\\\]{1,24}") {
            if let Ok(mailbox) = single(value.as_bytes()) {
                let message = format!("From: {value}\r\n\r\n");
                let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
                let theirs = parsed.from().and_then(|from| from.first()).and_then(|a| a.address()).unwrap_or_default();
                let domain = theirs.rsplit('@').next().unwrap_or_default().to_owned();
                prop_assert_eq!(mailbox.domain().map(|d| d.to_string()), Some(domain), "{}", value);
            }
        }
    }

    #[test]
    fn a_field_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |value: &Vec<u8>| {
                let _ = single(value);
                let _ = display::domains(value);
            },
            &[
                ("words", |size| [&b"word ".repeat(size / 5)[..], b"<a@test.dk>"].concat()),
                ("commas", |size| [&b"a, ".repeat(size / 3)[..], b"<a@test.dk>"].concat()),
                ("comments in comments", |size| {
                    [&b"(".repeat(size / 2)[..], &b")".repeat(size / 2), b" a@test.dk"].concat()
                }),
                ("comments without end", |size| b"(".repeat(size)),
                ("comments", |size| [&b"(x) ".repeat(size / 4)[..], b"a@test.dk"].concat()),
                ("quotes", |size| [&b"\"x\" ".repeat(size / 4)[..], b"<a@test.dk>"].concat()),
                ("quoted pairs", |size| [b"\"".as_slice(), &b"\\\"".repeat(size / 2), b"\" <a@test.dk>"].concat()),
                ("brackets", |size| b"<".repeat(size)),
                ("signs", |size| b"@".repeat(size)),
                ("addresses in the name", |size| [&b"x@y.dk ".repeat(size / 7)[..], b"<a@test.dk>"].concat()),
                ("encoded words", |size| [&b"=?utf-8?Q?=40?= ".repeat(size / 16)[..], b"<a@test.dk>"].concat()),
                ("encoded words in base64", |size| {
                    [&b"=?utf-8?B?QA==?= ".repeat(size / 17)[..], b"<a@test.dk>"].concat()
                }),
                ("encoded words within each other", |size| {
                    [&b"=?utf-8?Q?=3D?utf-8?Q?".repeat(size / 22)[..], b"<a@test.dk>"].concat()
                }),
                ("beginnings of encoded words", |size| [&b"=?".repeat(size / 2)[..], b" <a@test.dk>"].concat()),
                ("beginnings with a character set", |size| {
                    [&b"=?utf-8?Q?".repeat(size / 10)[..], b" <a@test.dk>"].concat()
                }),
                ("words in no encoding", |size| [&b"=?utf-8?x? ".repeat(size / 11)[..], b" <a@test.dk>"].concat()),
                ("words without end", |size| [&b"=?utf-8?Q? ".repeat(size / 11)[..], b" <a@test.dk>"].concat()),
                ("signs and blanks", |size| [&b"@ < \x81\x97".repeat(size / 6)[..], b" <a@test.dk>"].concat()),
                ("question marks", |size| [b"=?utf-8?Q?".as_slice(), &b"?".repeat(size), b"?= <a@test.dk>"].concat()),
                ("folding", |size| [&b"\r\n ".repeat(size / 3)[..], b"<a@test.dk>"].concat()),
                ("letters of its own", |size| ["ø ".repeat(size / 3).as_bytes(), b"<a@test.dk>"].concat()),
                ("a long local part", |size| [&b"a.".repeat(size / 2)[..], b"b@test.dk"].concat()),
                ("a long domain", |size| [b"a@".as_slice(), &b"a.".repeat(size / 2), b"dk"].concat()),
            ],
        );
    }
}
