//! The words of a reply, for finding phrases in it. Servers use different case, punctuation and line breaks for the
//! same phrase.

/// A text as lower-case words with one space between them and at both ends. Apostrophes are left out: `isn't` is `isnt`.
pub struct Words(String);

impl Words {
    /// The words of `text`.
    pub fn of(text: &str) -> Self {
        let mut words = String::with_capacity(text.len() + 2);
        words.push(' ');
        for c in text.chars().filter(|c| !matches!(c, '\'' | '\u{2019}')) {
            if c.is_alphanumeric() {
                words.extend(c.to_lowercase());
            } else if !words.ends_with(' ') {
                words.push(' ');
            }
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
        Words(words)
    }

    /// Returns true if the text has one of these phrases. A phrase is written with the spaces at its ends: `" hour"`
    /// also finds `hours`, `" day "` finds only `day`.
    pub fn any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.0.contains(phrase))
    }

    /// The words, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// Returns true if one of `seconds` begins within `most` words after `first`.
    pub fn near(&self, first: &str, seconds: &[&str], most: usize) -> bool {
        self.0.match_indices(first).any(|(at, _)| {
            // From the space at the end of `first`, if it has one.
            let behind = &self.0[self.0.floor_char_boundary(at + first.len() - 1)..];
            let words = behind.match_indices(' ').take(most + 1).map(|(space, _)| &behind[space..]);
            words.into_iter().any(|rest| seconds.iter().any(|second| rest.starts_with(second)))
        })
    }
}

impl Words {
    /// Returns true if a number stands right before `noun` and one of `bounds` is in the text: `only 10 recipients`, `10
    /// recipients only`.
    pub fn has_number_before(&self, noun: &str, bounds: &[&str]) -> bool {
        let is_number = |word: &str| {
            let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            digits || matches!(word, "one" | "two" | "three" | "five" | "ten")
        };
        self.any(bounds)
            && self.0.match_indices(noun).any(|(at, _)| self.0[..at].rsplit(' ').next().is_some_and(is_number))
    }

    /// Returns true if a number in digits stands right before one of these words: `100 h`.
    pub fn has_digits_before(&self, units: &[&str]) -> bool {
        let words: Vec<&str> = self.iter().collect();
        words.windows(2).any(|two| two[0].bytes().all(|b| b.is_ascii_digit()) && units.contains(&two[1]))
    }

    /// Returns true if two numbers stand beside each other: `101/100`.
    pub fn has_two_numbers(&self) -> bool {
        let words: Vec<&str> = self.iter().collect();
        let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        words.windows(2).any(|two| is_number(two[0]) && is_number(two[1]))
    }

    /// Returns true if the text has `101 of 100`.
    pub fn has_number_of_number(&self) -> bool {
        let words: Vec<&str> = self.iter().collect();
        let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        words.windows(3).any(|three| is_number(three[0]) && three[1] == "of" && is_number(three[2]))
    }

    /// Returns true if one of `firsts` and one of `seconds` stand within `most` words of each other, in either order.
    pub fn close(&self, firsts: &[&str], seconds: &[&str], most: usize) -> bool {
        firsts.iter().any(|first| self.near(first, seconds, most))
            || seconds.iter().any(|second| self.near(second, firsts, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_whatever_stands_between_their_words() {
        let words = Words::of("5.7.1 <x@test.dk>: Isn't it\r\nE-Mail,  per-HOUR?");
        for phrase in [" 5 7 1 ", " x test dk isnt it e mail ", " per hour ", " hou"] {
            assert!(words.any(&[phrase]), "{phrase}");
        }
        assert!(!words.any(&[" hou ", " our "]));
        assert!(!Words::of("").any(&[" a"]));
    }

    #[test]
    fn a_number_stands_right_before_its_noun() {
        for (text, right) in [
            ("only 10 recipients", true),
            ("10 recipients only", true),
            ("only one recipient", true),
            ("10 recipients", false),
            ("only recipients", false),
            ("only 3 known recipients", false),
        ] {
            assert_eq!(Words::of(text).has_number_before(" recipient", &[" only "]), right, "{text}");
        }
    }

    #[test]
    fn a_rate_has_a_unit_right_behind_its_number_and_a_comparison_two_numbers() {
        let units = ["h", "hr"];
        assert!(Words::of("limit=100/h user=x").has_digits_before(&units));
        assert!(!Words::of("h 100, 100 mails/h, x1 h").has_digits_before(&units));
        assert!(Words::of("outgoing: 101/100 per 1h").has_two_numbers());
        assert!(!Words::of("101 mails, 100 allowed, 1h 2").has_two_numbers());
    }

    #[test]
    fn an_amount_is_one_number_of_another() {
        assert!(Words::of("mails: 101 of 100").has_number_of_number());
        assert!(!Words::of("101 of the 100, or 7").has_number_of_number());
    }

    #[test]
    fn words_are_near_within_a_bound() {
        let words = Words::of("too many of the outgoing messages");
        assert!(words.near(" too many ", &[" message"], 4));
        assert!(!words.near(" too many ", &[" message"], 2));
        assert!(words.near(" too many ", &[" of "], 0));
        assert!(!words.near(" too few ", &[" of "], 9));
        let french = Words::of("compte bloqué définitivement");
        assert!(french.near(" bloqué", &[" définitivement "], 1) && french.close(&[" compte "], &[" bloqué"], 1));
        assert!(words.close(&[" outgoing "], &[" too many "], 3) && !words.close(&[" message"], &[" too many "], 2));
    }
}
