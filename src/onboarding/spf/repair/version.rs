//! Finds where a record begins: `v=spf1`, in the forms that people write.

use super::{Meant, Token, glued};

/// The maximum number of tokens before the version: a zone file's name, time to live, class and type, or a heading.
const MOST_BEFORE: usize = 8;

/// A version that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// The token in which it begins.
    first: usize,
    /// The token in which it ends.
    last: usize,
    /// The octets of the last token that belong to it.
    octets: usize,
}

/// Finds the version. Returns `None` if there is none.
pub fn find(tokens: &[Token]) -> Option<Version> {
    let begun = (0..tokens.len().min(MOST_BEFORE)).find_map(|first| {
        begins_at(tokens, first, 0).or_else(|| begins_at(tokens, first, behind_a_sign(&tokens[first].text)?))
    });
    begun.or_else(|| misspelt(tokens))
}

/// Finds a version with one slip at the beginning: `v=spfl`, `v=sfp1`, `v=spf`, and `spf` alone. Something that only SPF has must come
/// after it.
fn misspelt(tokens: &[Token]) -> Option<Version> {
    let text = &tokens.first()?.text;
    let small = text.to_ascii_lowercase();
    let rest = small.strip_prefix('v').map(|rest| rest.trim_start_matches(['=', ':', '-', '.']));
    let (word, is_near) = match rest.filter(|rest| rest.len() < small.len() - 1) {
        Some(word) => {
            (word, strsim::osa_distance(word, "spf1") == 1 && !word.ends_with(|c: char| ('2'..='9').contains(&c)))
        }
        None => (&*small, matches!(&*small, "spf" | "spfl" | "spfi")),
    };
    let is_term = |token: &Token| glued::terms(&token.text).iter().any(|meant| matches!(meant, Meant::Term(_)));
    (is_near && word.is_ascii() && tokens[1..].iter().any(is_term)).then_some(Version {
        first: 0,
        last: 0,
        octets: text.len(),
    })
}

/// Returns the place of a version that comes after a sign in its token: `TXT=v=spf1`.
fn behind_a_sign(token: &str) -> Option<usize> {
    let at = token.to_ascii_lowercase().find("v=spf")?;
    token[..at].ends_with(['=', ':']).then_some(at)
}

/// Returns the place where a DMARC or DKIM record begins that stands behind the SPF record in the same value, or the end of the text.
pub fn begin_of_other_record(text: &str) -> usize {
    let small = text.to_ascii_lowercase();
    let ours = small.find("v=spf").unwrap_or(small.len());
    let others = ["v=dmarc1", "v=dkim1"].iter().filter_map(|version| small.find(version));
    others.filter(|at| *at > ours).min().unwrap_or(text.len())
}

impl Version {
    /// Returns the last word of the record that the version comes from.
    pub fn last_word(&self, tokens: &[Token]) -> usize {
        tokens.get(self.last).map_or(0, |token| token.words.1)
    }

    /// Removes everything up to the version, except terms before it, which were also meant. A name, a type or a heading was not.
    pub fn cut(self, tokens: &mut Vec<Token>) {
        tokens[self.last].text.drain(..self.octets);
        let is_term = |token: &Token| glued::terms(&token.text).iter().all(|meant| matches!(meant, Meant::Term(_)));
        let mut at = 0;
        tokens.retain(|token| {
            let is_version = (self.first..self.last).contains(&at) || token.text.is_empty();
            let is_before = at < self.first;
            at += 1;
            !is_version && (!is_before || is_term(token))
        });
    }
}

/// Reads the version that begins at this octet of token `first`: `v`, a sign, `spf` and a number, in one token or in several. Without the `v` only
/// `spf1` counts, because `spf2.0` is another protocol (RFC 4406).
fn begins_at(tokens: &[Token], first: usize, octet: usize) -> Option<Version> {
    let mut letters = Letters { tokens, token: first, octet };
    letters.skip(|c| matches!(c, '(' | '[' | '<' | '{' | '=' | '*'));
    let has_v = letters.take('v');
    if has_v {
        letters.skip(|c| matches!(c, '=' | ':' | '-' | '.'));
    }
    for letter in ['s', 'p', 'f'] {
        if !letters.take(letter) {
            return None;
        }
    }
    letters.skip(|c| c == '-');
    let is_one = letters.peek() == Some('1');
    let mut digits = 0;
    while letters.peek().is_some_and(|c| c.is_ascii_digit()) && (digits == 0 || letters.octet > 0) {
        letters.step();
        digits += 1;
    }
    if digits == 0 || !(has_v || (is_one && first == 0)) {
        return None;
    }
    // The version ends in the token of the last digit, not in the one after it.
    letters.stay();
    letters.skip_here(|c| matches!(c, '.' | ':' | ')' | ']' | '>'));
    // `v=spf1.0`
    if letters.octet > 0 && letters.here().len() <= 2 && letters.here().bytes().all(|b| b.is_ascii_digit()) {
        letters.skip_here(|_| true);
    }
    Some(Version { first, last: letters.token, octets: letters.octet })
}

/// The characters of the tokens, one after the other.
struct Letters<'t> {
    tokens: &'t [Token],
    token: usize,
    octet: usize,
}

impl Letters<'_> {
    fn here(&self) -> &str {
        self.tokens.get(self.token).map_or("", |token| &token.text[self.octet..])
    }

    fn peek(&self) -> Option<char> {
        self.here().chars().next()
    }

    /// Moves to the next character, or into the next token at the end of one.
    fn step(&mut self) {
        self.octet += self.peek().map_or(0, char::len_utf8);
        if self.here().is_empty() {
            self.token += 1;
            self.octet = 0;
        }
    }

    /// Moves back to the end of the previous token, if the last step entered a new one.
    fn stay(&mut self) {
        if self.octet == 0 && self.token > 0 {
            self.token -= 1;
            self.octet = self.tokens[self.token].text.len();
        }
    }

    fn take(&mut self, letter: char) -> bool {
        let is = self.peek().is_some_and(|c| c.eq_ignore_ascii_case(&letter));
        if is {
            self.step();
        }
        is
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&what) {
            self.step();
        }
    }

    fn skip_here(&mut self, what: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&what) {
            self.octet += 1;
        }
    }
}
