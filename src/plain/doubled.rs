//! Characters that were encoded twice. A panel read the UTF-8 octets of a pasted text as Windows-1252, and stored the letters that it saw: a
//! no-break space became `Â`, a dash `â€“`, a byte order mark `ï»¿`.

use std::borrow::Cow;

/// The characters of the octets 0x80 to 0x9F in Windows-1252, in this order. A space stands for an octet without a character.
const UPPER: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

/// Returns the length of the characters at the beginning of `text` that were one character before they were encoded twice, and that
/// character.
pub fn at_start(text: &str) -> Option<(usize, char)> {
    let mut letters = text.chars();
    let first = letters.next().filter(|c| !c.is_ascii())?;
    let lead = octet(first)?;
    let more = match lead {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => return None,
    };
    let mut octets = vec![lead];
    let mut len = first.len_utf8();
    for _ in 0..more {
        let Some(octet) = letters.clone().next().filter(|c| !c.is_ascii()).and_then(octet) else { break };
        len += letters.next().map_or(0, char::len_utf8);
        octets.push(octet);
    }
    match std::str::from_utf8(&octets) {
        Ok(one) => one.chars().next().map(|c| (len, c)),
        // The second half of the no-break space was a space, and some panels store a plain one.
        Err(_) if first == 'Â' && matches!(text[first.len_utf8()..].chars().next(), None | Some(' ')) => {
            Some((first.len_utf8(), '\u{a0}'))
        }
        Err(_) => None,
    }
}

/// Returns the text as it was before it was encoded twice.
pub(super) fn undone(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (len, c) = at_start(rest).unwrap_or((c.len_utf8(), c));
        plain.push(c);
        rest = &rest[len..];
    }
    Cow::Owned(plain)
}

/// Returns the octet of a character in Windows-1252. The octets without a character count as control characters, as browsers read them.
fn octet(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0x80..=0xff => u8::try_from(code).ok(),
        _ => UPPER.chars().position(|upper| upper == c && c != ' ').and_then(|at| u8::try_from(0x80 + at).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_twice_is_read_once() {
        for (stored, typed) in [
            ("a\u{c2}\u{a0}b", "a\u{a0}b"),
            ("aÂ b", "a\u{a0} b"),
            ("mx â€“all", "mx –all"),
            ("â€œmxâ€\u{9d}", "“mx”"),
            ("ï»¿v=spf1", "\u{feff}v=spf1"),
            ("aâ€‹b", "a\u{200b}b"),
            ("blÃ¥bÃ¦r", "blåbær"),
            ("ðŸ‘\u{8d}", "👍"),
            // What was not.
            ("blåbærsyltetøj æøå ÆØÅ", "blåbærsyltetøj æøå ÆØÅ"),
            ("âge, Ângel, mâ€", "âge, Ângel, mâ€"),
            ("– “ ” € Ÿ", "– “ ” € Ÿ"),
            ("блог", "блог"),
        ] {
            assert_eq!(undone(stored), typed, "{stored}");
        }
        assert_eq!(UPPER.chars().count(), 32);
    }
}
