//! Characters that word processors, web pages and phones put in place of plain ones, with the plain ones: a no-break space for a space, an
//! en dash for a hyphen, a byte order mark for nothing. DNS records are plain ASCII, so nobody has typed such a character on purpose.
//! Letters of other alphabets that look like Latin ones ([`look_alike`]) count as these only within a word of Latin letters.

mod doubled;
pub mod escaped;
mod look_alike;

pub use doubled::at_start as encoded_twice;
pub use look_alike::look_alike;

use crate::visible::is_invisible;

/// The intended character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    Same,
    /// No character: it is invisible.
    Nothing,
    /// An ASCII character: a space, a dash, a quotation mark, a letter.
    Plain(char),
}

/// Returns the intended character for `c`. Tabs and line ends mean spaces.
pub fn meant(c: char) -> Meant {
    match c {
        ' '..='~' => Meant::Same,
        '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => Meant::Plain(' '),
        // Hyphens, dashes, the minus sign.
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{fe58}' | '\u{fe63}' => Meant::Plain('-'),
        '\u{2dc}' | '\u{223c}' | '\u{301c}' | '\u{2053}' => Meant::Plain('~'),
        // Quotation marks, single and double, low and high, and primes.
        '\u{2018}'..='\u{201f}' | '\u{2032}'..='\u{2036}' | '«' | '»' | '‹' | '›' | '´' => Meant::Plain('"'),
        '\u{3002}' | '\u{ff61}' | '\u{2024}' => Meant::Plain('.'),
        // Small forms, except the hyphen above.
        '\u{fe52}' => Meant::Plain('.'),
        '\u{fe64}' => Meant::Plain('<'),
        '\u{fe65}' => Meant::Plain('>'),
        '\u{fe6b}' => Meant::Plain('@'),
        '\u{a789}' | '\u{2236}' => Meant::Plain(':'),
        '\u{37e}' => Meant::Plain(';'),
        // Full-width forms, as wide as Chinese characters.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xff01 + 0x21).map_or(Meant::Same, Meant::Plain),
        // Stands for a character that a panel could not store. Nearly always that was a no-break space.
        '\u{fffd}' => Meant::Plain(' '),
        c if c.is_whitespace() => Meant::Plain(' '),
        c if c.is_control() || is_invisible(c) => Meant::Nothing,
        _ => Meant::Same,
    }
}

/// Returns the intended form of a whole text.
pub fn as_meant(text: &str) -> String {
    let meant = |c| match meant(c) {
        Meant::Same => Some(c),
        Meant::Nothing => None,
        Meant::Plain(plain) => Some(plain),
    };
    look_alike::in_latin_words(&doubled::undone(text).chars().filter_map(meant).collect::<String>())
}

/// Returns the first character that nobody has typed on purpose: one in place of a plain one, or the first of those that one character
/// became when it was encoded twice.
pub fn first_strange(text: &str) -> Option<char> {
    let is_strange = |(at, c): &(usize, char)| meant(*c) != Meant::Same || encoded_twice(&text[*at..]).is_some();
    text.char_indices().find(is_strange).map(|(_, c)| c)
}

/// Converts octets of a TXT record to text. If they are not UTF-8, they are read as Windows-1252, in which some panels store pasted text.
pub fn text(octets: &[u8]) -> String {
    octets.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(windows_1252));
        text
    })
}

fn windows_1252(octet: u8) -> char {
    match octet {
        0x91 | 0x92 => '\u{2019}',
        0x82 | 0x93 | 0x94 | 0x84 => '\u{201d}',
        0x96 => '\u{2013}',
        0x97 => '\u{2014}',
        0x98 => '\u{2dc}',
        // Latin-1, which equals the beginning of Unicode.
        octet => char::from(octet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_seen_through_what_it_became() {
        for (became, typed) in [
            ("\u{feff}v=spf1\u{a0}mx –all", "v=spf1 mx -all"),
            ("v=spf1\u{2009}mx\u{3000}−all\u{200b}", "v=spf1 mx -all"),
            ("“v=spf1”\t\u{2028}‘mx’", "\"v=spf1\"  \"mx\""),
            ("ｖ＝ｓｐｆ１　ａ：ｍａｉｌ．ｄｋ ～ａｌｌ", "v=spf1 a:mail.dk ~all"),
            ("v=sp\u{ad}f1\u{200e} a\u{200c}:x\u{3002}dk\r\n", "v=spf1 a:x.dk  "),
            ("blåbær.dk", "blåbær.dk"),
        ] {
            assert_eq!(as_meant(became), typed, "{became:?}");
        }
        let ascii: String = (' '..='~').collect();
        assert_eq!(as_meant(&ascii), ascii);
    }

    #[test]
    fn a_strange_character_is_named_by_what_stands_there() {
        for (text, strange) in [
            ("v=spf1 mx -all", None),
            ("v=spf1 include:blåbær.dk", None),
            ("ï»¿v=spf1 mx", Some('ï')),
            ("v=spf1 blåbær.dk mx –all", Some('–')),
            ("v=spf1 mxÂ\u{a0}-all", Some('Â')),
        ] {
            assert_eq!(first_strange(text), strange, "{text}");
        }
    }

    #[test]
    fn octets_that_are_no_utf_8_are_read_as_windows_writes_them() {
        assert_eq!(text(b"v=spf1\xa0mx \x96all \x93x\x94"), "v=spf1\u{a0}mx –all ”x”");
        assert_eq!(text("blåbær".as_bytes()), "blåbær");
        assert_eq!(text(b"bl\xe5b\xe6r \xc3"), "blåbær Ã");
    }

    #[test]
    fn text_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |octets: &Vec<u8>| drop(as_meant(&text(octets))),
            &[
                ("letters", |size| b"a".repeat(size)),
                ("no UTF-8", |size| b"\xa0".repeat(size)),
                ("half characters", |size| b"\xe2\x80".repeat(size / 2)),
                ("invisible letters", |size| "\u{200b}".repeat(size / 3).into_bytes()),
                ("encoded twice", |size| "â€“".repeat(size / 8).into_bytes()),
                ("half of it", |size| "Ã".repeat(size / 2).into_bytes()),
            ],
        );
    }
}
