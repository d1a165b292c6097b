//! Letters of the Greek and Cyrillic alphabets that look like Latin ones. Whoever copies a record from a web page or a chat may get one.

/// Each letter, with the Latin letter that it looks like after it: Cyrillic ones and Greek ones. The
/// Turkish i is not among them, because names mix it with Latin letters.
const LOOK_ALIKES: [&str; 2] = [
    "аaвbсcԁdеeһhіiјjкkӏlмmнhоoрpԛqгrѕsтtѵvԝwхxуyАAВBСCЕEНHІIЈJКKМMОOРPЅSТTХXУY",
    "αaεeιiκkνvοoρpτtυuχxΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX",
];

/// Returns the Latin letter that `c` looks like.
pub fn look_alike(c: char) -> Option<char> {
    if c.is_ascii() {
        return None;
    }
    let mut letters = LOOK_ALIKES.iter().flat_map(|pairs| pairs.chars());
    letters.find(|letter| *letter == c)?;
    letters.next()
}

/// Replaces look-alikes in words that also have Latin letters. No registry allows such a name, so none was meant.
pub(super) fn in_latin_words(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let is_mixed = word.contains(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii() || !c.is_alphanumeric() || look_alike(c).is_some());
        match is_mixed {
            true => plain.extend(word.chars().map(|c| look_alike(c).unwrap_or(c))),
            false => plain.push_str(word),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_among_latin_ones_are_read_as_latin() {
        for (text, meant) in [
            ("m\u{445} \u{456}nclude:\u{430}.dk", "mx include:\u{430}.dk"),
            ("include:блог.рф", "include:блог.рф"),
            ("include:blåbær.dk", "include:blåbær.dk"),
            ("r\u{435}j\u{435}ct", "reject"),
            ("ra\u{445}ø", "ra\u{445}ø"),
        ] {
            assert_eq!(in_latin_words(text), meant, "{text}");
        }
    }

    #[test]
    fn every_letter_is_there_once_and_stands_for_a_latin_one() {
        let letters: Vec<char> = LOOK_ALIKES.iter().flat_map(|pairs| pairs.chars()).collect();
        for (at, pair) in letters.chunks(2).enumerate() {
            assert!(!pair[0].is_ascii() && pair[1].is_ascii_alphabetic(), "{pair:?}");
            assert!(letters.chunks(2).take(at).all(|other| other[0] != pair[0]), "{pair:?}");
        }
    }
}
