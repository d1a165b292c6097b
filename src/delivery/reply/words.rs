//! The words of a reply, for finding phrases in it. Servers use different case, punctuation and line breaks for the
//! same phrase. Many write other letters than those of ASCII in ASCII (`graensen er naaet`, `limite depassee`), so all letters are
//! compared in that form.

use std::borrow::Cow;

/// A text as lower-case words with one space between them and at both ends. Apostrophes are left out: `isn't` is `isnt`.
pub struct Words {
    spaced: String,
    has_count_at_limit: bool,
    has_excess: bool,
}

impl Words {
    /// The words of `text`.
    pub fn of(text: &str) -> Self {
        let mut words = String::with_capacity(text.len() + 2);
        words.push(' ');
        for c in text.chars().filter(|c| !matches!(c, '\'' | '\u{2019}')) {
            if c.is_alphanumeric() {
                c.to_lowercase().for_each(|c| push_folded(c, &mut words));
            } else if !words.ends_with(' ') {
                words.push(' ');
            }
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
        let tokens = || text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | '='));
        let (has_count_at_limit, has_excess) = (tokens().any(is_count_at_limit), tokens().any(is_excess));
        Words { spaced: words, has_count_at_limit, has_excess }
    }

    /// Returns true if the text has one of these phrases. A phrase is written with the spaces at its ends: `" hour"`
    /// also finds `hours`, `" day "` finds only `day`.
    pub fn any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.spaced.contains(&*folded(phrase)))
    }

    /// The words, one by one, as [`folded`] writes them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.spaced.split_ascii_whitespace()
    }

    /// Returns true if one of `seconds` begins within `most` words after `first`.
    pub fn near(&self, first: &str, seconds: &[&str], most: usize) -> bool {
        let first = &*folded(first);
        self.spaced.match_indices(first).any(|(at, _)| {
            // From the space at the end of `first`, if it has one.
            let behind = &self.spaced[self.spaced.floor_char_boundary(at + first.len() - 1)..];
            let words = behind.match_indices(' ').take(most + 1).map(|(space, _)| &behind[space..]);
            words.into_iter().any(|rest| seconds.iter().any(|second| rest.starts_with(&*folded(second))))
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
            && self
                .spaced
                .match_indices(&*folded(noun))
                .any(|(at, _)| self.spaced[..at].rsplit(' ').next().is_some_and(is_number))
    }

    /// Returns true if a number in digits stands right before one of these words: `100 h`.
    pub fn has_digits_before(&self, units: &[&str]) -> bool {
        let words: Vec<&str> = self.iter().collect();
        words.windows(2).any(|two| two[0].bytes().all(|b| b.is_ascii_digit()) && units.contains(&two[1]))
    }

    /// Returns true if the text has a count that is at its limit or above: `101/100`. Addresses, dates and times have other forms.
    pub fn has_count_at_limit(&self) -> bool {
        self.has_count_at_limit
    }

    /// Returns true if the text has a name with a number that it exceeds: `msgs>300`.
    pub fn has_excess(&self) -> bool {
        self.has_excess
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

/// Writes a phrase as it stands in a reply's words: without other letters than those of ASCII, where people have a way to write them.
pub fn folded(phrase: &str) -> Cow<'_, str> {
    if phrase.is_ascii() {
        return Cow::Borrowed(phrase);
    }
    let mut out = String::with_capacity(phrase.len());
    phrase.chars().for_each(|c| push_folded(c, &mut out));
    Cow::Owned(out)
}

/// Adds a letter in lower case.
fn push_folded(c: char, out: &mut String) {
    match c {
        'æ' | 'ä' => out.push_str("ae"),
        'ø' | 'ö' => out.push_str("oe"),
        'å' => out.push_str("aa"),
        'ü' => out.push_str("ue"),
        'ß' => out.push_str("ss"),
        'à' | 'á' | 'â' | 'ã' | 'ą' => out.push('a'),
        'ç' | 'ć' | 'č' => out.push('c'),
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => out.push('e'),
        'ì' | 'í' | 'î' | 'ï' => out.push('i'),
        'ł' => out.push('l'),
        'ñ' | 'ń' => out.push('n'),
        'ò' | 'ó' | 'ô' | 'õ' => out.push('o'),
        'ř' => out.push('r'),
        'ś' | 'š' => out.push('s'),
        'ù' | 'ú' | 'û' | 'ů' => out.push('u'),
        'ý' => out.push('y'),
        'ź' | 'ż' | 'ž' => out.push('z'),
        c => out.push(c),
    }
}

/// Returns true for `101/100` and `sent:101/100`.
fn is_count_at_limit(token: &str) -> bool {
    let is_label = |label: &str| label.chars().all(char::is_alphabetic);
    let counts = token.split_once(':').filter(|(label, _)| is_label(label)).map_or(token, |(_, counts)| counts);
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let counts = counts.trim_end_matches(['.', ':', '!']).split_once('/');
    counts.and_then(|(count, most)| number(count).zip(number(most))).is_some_and(|(count, most)| count >= most)
}

/// Returns true for `msgs>300`. The angle brackets around an address are another matter.
fn is_excess(token: &str) -> bool {
    token.split_once('>').is_some_and(|(name, most)| {
        !name.is_empty() && name.chars().all(char::is_alphanumeric) && most.starts_with(|c: char| c.is_ascii_digit())
    })
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
    fn letters_are_found_as_they_are_and_as_they_are_written_in_ascii() {
        for (text, phrase) in [
            ("Grænsen på 100 er nået", " graensen paa "),
            ("Graensen paa 100 er naaet", " grænsen på "),
            ("ÜBERSCHRITTEN", " ueberschritten "),
            ("Limite depassee", " dépassée "),
            ("Límite excedió", " limite excedio "),
            ("przekroczyło", " przekroczylo "),
        ] {
            assert!(Words::of(text).any(&[phrase]), "{text}");
            assert!(Words::of(text).near(phrase.split_inclusive(' ').next().unwrap(), &[phrase], 1), "{text}");
        }
        assert!(Words::of("Kun 10 modtagere på én gang").has_number_before(" modtagere på", &[" kun "]));
        assert_eq!(folded("må ikke"), "maa ikke");
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
    fn a_rate_has_a_unit_right_behind_its_number() {
        let units = ["h", "hr"];
        assert!(Words::of("limit=100/h user=x").has_digits_before(&units));
        assert!(!Words::of("h 100, 100 mails/h, x1 h").has_digits_before(&units));
    }

    #[test]
    fn a_count_at_its_limit_is_no_address_date_or_time() {
        for text in ["outgoing: 101/100 per 1h", "(150/150 (100%))", "sent:7/7.", "quota=5/5"] {
            assert!(Words::of(text).has_count_at_limit(), "{text}");
        }
        for text in
            ["40.74.40.57", "[40.74.40.0/24]", "2001:db8::/32", "1/12/2026", "12:30/13:30", "7/10", "24 / 7", "/", "5/"]
        {
            assert!(!Words::of(text).has_count_at_limit(), "{text}");
        }
    }

    #[test]
    fn an_excess_is_a_name_above_a_number() {
        assert!(Words::of("Policy: msgs>300/1h").has_excess());
        for text in ["<x@test.dk>550", "<x@test.dk> 550", "> 300", ">300", "a->b", "msgs>many"] {
            assert!(!Words::of(text).has_excess(), "{text}");
        }
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
