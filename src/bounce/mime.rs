//! Writes MIME parts for text that may hold anything: encoded words, quoted-printable and folding.

/// Makes text fit for a header field's value. Control characters become spaces. Text that is long or not ASCII is
/// written as encoded words (RFC 2047), each on its own line.
pub(crate) fn header_text(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    if text.is_ascii() && text.len() <= 60 && !text.contains("=?") {
        return text.to_owned();
    }
    // RFC 2047 §2: a word has at most 75 characters. §5: a character is not split between words. 42 octets are 56 in
    // base64.
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if word.len() + c.len_utf8() > 42 {
            words.push(encoded_word(&std::mem::take(&mut word)));
        }
        word.push(c);
    }
    words.push(encoded_word(&word));
    words.join("\r\n ")
}

fn encoded_word(text: &str) -> String {
    use base64::Engine;
    format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

/// Appends text in quoted-printable (RFC 2045 §6.7). Line ends in the input are CRLF or LF. Other controls are encoded.
pub(crate) fn quoted_printable(octets: &[u8], out: &mut Vec<u8>) {
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let (text, ended) = match line.strip_suffix(b"\n") {
            Some(text) => (text.strip_suffix(b"\r").unwrap_or(text), true),
            None => (line, false),
        };
        let mut width = 0;
        for (i, &octet) in text.iter().enumerate() {
            let last = i + 1 == text.len();
            // A space at the end of a line may be lost on the way, so it is encoded.
            let literal = matches!(octet, b'!'..=b'<' | b'>'..=b'~') || (matches!(octet, b' ' | b'\t') && !last);
            let needed = if literal { 1 } else { 3 };
            // A line has at most 76 characters with the soft line break's "=".
            if width + needed > 75 {
                out.extend_from_slice(b"=\r\n");
                width = 0;
            }
            if literal {
                out.push(octet);
            } else {
                out.extend_from_slice(format!("={octet:02X}").as_bytes());
            }
            width += needed;
        }
        if ended {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Returns true if octets may be sent as they are under `7bit`: printable ASCII and tabs, CRLF line ends, no line over
/// 998 octets.
pub(super) fn is_seven_bit(octets: &[u8]) -> bool {
    octets.split_inclusive(|octet| *octet == b'\n').all(|line| {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        text.len() <= 998 && text.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~'))
    })
}

/// Appends one field of a delivery status. The value is cut to 900 characters, and what is not printable ASCII becomes
/// `?` (a control becomes a space). Lines are folded before 76 columns. A line is broken before blanks and takes them
/// along, so that unfolding gives back every one of them (RFC 5322 §2.2.3).
pub(super) fn status_field(name: &str, value: &str, out: &mut Vec<u8>) {
    const LONGEST: usize = 900;
    let value: String = value
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            ' '..='~' => c,
            c if c.is_control() => ' ',
            _ => '?',
        })
        .collect();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b":");
    let start = name.len() + 1;
    let mut width = start;
    let value = format!(" {}", value.trim_matches(' '));
    let mut rest = value.trim_end_matches(' ');
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        let end = rest[blanks..].find(' ').map_or(rest.len(), |len| blanks + len);
        if width + end > 76 && width > start {
            out.extend_from_slice(b"\r\n");
            width = 0;
        }
        let word;
        (word, rest) = rest.split_at(end);
        out.extend_from_slice(word.as_bytes());
        width += end;
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a field of a delivery status that holds an address (RFC 3464 §2.1.2). The address is neither folded nor cut.
/// Returns false and writes nothing if it does not fit on a line (RFC 5322 §2.1.1) or is not printable ASCII.
pub(super) fn address_field(name: &str, kind: &str, address: &str, out: &mut Vec<u8>) -> bool {
    let line = format!("{name}: {kind}; {address}");
    let fits = line.len() <= 998 && line.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if fits {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qp(octets: &[u8]) -> String {
        let mut out = Vec::new();
        quoted_printable(octets, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn header_text_can_never_become_another_field() {
        assert_eq!(header_text("a\r\nBcc: x@test.dk"), "a  Bcc: x@test.dk");
        assert_eq!(header_text("plain"), "plain");
        assert!(header_text("=?utf-8?q?x?=").starts_with("=?utf-8?B?"), "what looks encoded is encoded");
        let long = header_text(&"blåbærgrød ".repeat(20));
        assert!(long.is_ascii());
        assert!(long.split("\r\n").all(|line| line.len() <= 75 && line.trim_start().starts_with("=?utf-8?B?")));
    }

    #[test]
    fn quoted_printable_keeps_lines_short_and_spaces_at_their_ends() {
        assert_eq!(qp("Kære =\r\nx \n\ty".as_bytes()), "K=C3=A6re =3D\r\nx=20\r\n\ty");
        assert_eq!(qp(b"a\rb\0"), "a=0Db=00");
        let long = qp(&[b'x'; 1000]);
        assert!(long.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(1000));
    }

    #[test]
    fn seven_bit_is_asked_of_every_line() {
        assert!(is_seven_bit(b"a: b\r\n\tc\r\n"));
        for octets in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"\0", "å".as_bytes(), &[b'x'; 999]] {
            assert!(!is_seven_bit(octets), "{octets:?}");
        }
    }

    #[test]
    fn status_fields_stay_on_their_own_lines() {
        let mut out = Vec::new();
        status_field(
            "Diagnostic-Code",
            &format!("smtp; 550 a\r\nAction: delivered\0 å {}", "word ".repeat(40)),
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("Diagnostic-Code: smtp; 550 a  Action: delivered  ? word"));
        assert!(text.lines().skip(1).all(|line| line.starts_with(' ')));
        assert!(text.lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn a_folded_status_field_unfolds_to_every_blank_it_had() {
        for value in [
            "a",
            "smtp; 550  two   three",
            &format!("smtp; 550 <\"{}\"@test.dk>", "a  b   ".repeat(20)),
            &format!("smtp; {}", "word  ".repeat(60)),
            &format!("{}  {}", "x".repeat(200), "y".repeat(200)),
        ] {
            let mut out = Vec::new();
            status_field("Diagnostic-Code", value, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.replace("\r\n ", " "), format!("Diagnostic-Code: {}\r\n", value.trim_end()));
            assert!(text.lines().all(|line| !line.trim().is_empty()), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_written_as_it_is_or_not_at_all() {
        let field = |address: &str| {
            let mut out = Vec::new();
            address_field("Final-Recipient", "rfc822", address, &mut out).then(|| String::from_utf8(out).unwrap())
        };
        let long = format!("\"{}\"@test.dk", "a  ".repeat(20));
        for address in ["a@test.dk", "\"a  b\"@test.dk", "\"  a   \"@test.dk", "\" \"@test.dk", &long] {
            assert_eq!(field(address), Some(format!("Final-Recipient: rfc822; {address}\r\n")));
        }
        for address in [&"x".repeat(1000), "a\r\nb", "søren@test.dk", "a\tb"] {
            assert_eq!(field(address), None, "{address}");
        }
    }
}
