//! Reads an SPF record as it was meant. People type records by hand, paste them from word processors and web pages, and forget a space or
//! add one; receivers then reject the whole record. [`read`] finds the clear meaning, as a person would:
//!
//! ```text
//! text ─► words ─► tokens (escapes, strange characters, commas and quotation marks gone)
//!      ─► version: where the record begins
//!      ─► joined: tokens that a space has torn apart          (include: x.dk)
//!      ─► glued:  tokens that a missing space holds together  (ip4:192.0.2.1~all)
//!      ─► term:   each one corrected to valid SPF             (ipv4: → ip4:, mx:192.0.2.1 → ip4:192.0.2.1)
//! ```
//!
//! Unreadable parts are kept apart and reported, so that no proposed record silently leaves out a sender. Every resulting term is accepted
//! by two strict parsers, ours and mail-auth's. The cost is linear in the length of the text.

mod glued;
mod joined;
mod term;
mod version;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::spf::Spf;

use super::record::Record;
use crate::plain::{self, escaped};

pub use term::is_without_effect;

/// A record as it was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The terms, in order.
    pub terms: Vec<String>,
    /// The corrected parts.
    pub repairs: Vec<Repair>,
    /// The parts that cannot be read.
    pub unread: Vec<String>,
}

/// A correction of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The published text.
    pub written: String,
    /// The corrected text; empty if the part has no meaning.
    pub meant: String,
}

/// A piece of the record between spaces.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    /// The first and the last word of the record that it comes from.
    words: (usize, usize),
    /// True if a quotation mark is before it.
    opens: bool,
    /// True if a quotation mark is after it.
    closes: bool,
    /// True if a comma, a semicolon or a bar is before it, within the same word.
    is_listed: bool,
}

/// The meaning of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meant {
    Term(String),
    /// It has no meaning: a second version, a bracket.
    Nothing,
    Unread(String),
}

/// Reads a TXT value that is an SPF record, or was meant to be one.
pub fn read(text: &str) -> Reading {
    let (text, other) = text.split_at(version::begin_of_other_record(text));
    let words: Vec<&str> = text.split(' ').collect();
    let mut tokens = tokens(&words);
    // The first word that is not named yet. What stands before the version is no part of the record.
    let mut unnamed = 0;
    if let Some(version) = version::find(&tokens) {
        unnamed = version.last_word(&tokens) + 1;
        version.cut(&mut tokens);
    }
    let mut reading = Reading::default();
    let mut tokens = joined::join(tokens).into_iter().peekable();
    while let Some(first) = tokens.next() {
        reading.leave_out(words.get(unnamed..first.words.0).unwrap_or_default());
        // Several tokens of one word are one correction.
        let mut last = first.words.1;
        let mut meant = glued::terms(&first.text);
        while let Some(next) = tokens.next_if(|next| next.words.0 <= last) {
            last = last.max(next.words.1);
            let more = glued::terms(&next.text);
            // A list: `include:a.dk,b.dk`. Behind a space nobody can know what a bare name was meant to be.
            match (meant.last(), &more[..]) {
                (Some(Meant::Term(before)), [Meant::Unread(piece)])
                    if next.is_listed
                        && let Some(term) = term::continued(before, piece) =>
                {
                    meant.push(Meant::Term(term));
                }
                (Some(Meant::Term(before)), [Meant::Unread(piece)])
                    if next.is_listed
                        && let Some(term) = term::completed(before, piece) =>
                {
                    meant.pop();
                    meant.push(Meant::Term(term));
                }
                _ => meant.extend(more),
            }
        }
        let written = words[first.words.0..=last].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>();
        reading.take(&written.join(" "), meant);
        unnamed = unnamed.max(last + 1);
    }
    reading.leave_out(words.get(unnamed..).unwrap_or_default());
    if !other.is_empty() {
        reading.repairs.push(Repair { written: other.to_owned(), meant: String::new() });
    }
    reading
}

/// Returns true if a TXT value that is not an SPF record was meant to be one: its version is misspelt or hidden, or it has no version but
/// consists of terms, with `all` as the last.
pub fn is_meant(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let tokens = tokens(&words);
    if version::find(&tokens).is_some() {
        return true;
    }
    let read: Vec<Meant> = joined::join(tokens).iter().flat_map(|token| glued::terms(&token.text)).collect();
    let is_all = |meant: &Meant| matches!(meant, Meant::Term(term) if is_all(term));
    read.len() > 1 && read.iter().all(|meant| matches!(meant, Meant::Term(_))) && read.last().is_some_and(is_all)
}

fn is_all(term: &str) -> bool {
    term.trim_start_matches(['+', '-', '~', '?']).eq_ignore_ascii_case("all")
}

impl Reading {
    /// Names the words that say nothing: a quotation mark or a semicolon alone, an invisible character.
    fn leave_out(&mut self, words: &[&str]) {
        let nothing = words.iter().filter(|word| !word.is_empty());
        self.repairs.extend(nothing.map(|word| Repair { written: (*word).to_owned(), meant: String::new() }));
    }

    fn take(&mut self, written: &str, meant: Vec<Meant>) {
        let mut terms = Vec::new();
        let unread = self.unread.len();
        for meant in meant {
            match meant {
                // It would be read as another escape once it is published without its quotation marks.
                Meant::Term(term) if escaped::may_begin_in(&term) => self.unread.push(term),
                Meant::Term(term) => terms.push(term),
                Meant::Nothing => {}
                Meant::Unread(piece) => self.unread.push(piece),
            }
        }
        let meant = terms.join(" ");
        let is_named = meant.is_empty() && self.unread.len() > unread;
        if written != meant && !is_named {
            self.repairs.push(Repair { written: written.to_owned(), meant });
        }
        self.terms.extend(terms);
    }
}

fn tokens(words: &[&str]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let plain = separated(&plain::as_meant(&escaped::undone(&escaped::without_links(word))));
        let mut is_listed = false;
        for piece in plain.split_inclusive([' ', LISTED]) {
            let is_mark = |c: char| matches!(c, '"' | '\'' | '`');
            let ends_item = piece.ends_with(LISTED);
            let piece = piece.trim_end_matches([' ', LISTED]);
            let text: String = piece.chars().filter(|c| !is_mark(*c)).collect();
            if !text.is_empty() {
                tokens.push(Token {
                    text,
                    words: (at, at),
                    opens: piece.starts_with(is_mark),
                    closes: piece.ends_with(is_mark),
                    is_listed,
                });
                is_listed = false;
            }
            is_listed |= ends_item;
        }
    }
    tokens
}

/// Stands for a comma, a semicolon or a bar between terms. No record that can be read contains it.
const LISTED: char = '\n';

/// Replaces commas, semicolons and bars between terms with [`LISTED`], and an ampersand before a term. Inside a macro (`%{l1r,}`) a comma
/// stays.
fn separated(word: &str) -> String {
    let mut is_macro = false;
    let mut before = ' ';
    word.char_indices()
        .map(|(at, c)| {
            match c {
                '{' if before == '%' => is_macro = true,
                '}' | ' ' => is_macro = false,
                _ => {}
            }
            before = c;
            let is_separator = matches!(c, ',' | ';' | '|') || c == '&' && begins_item(&word[at + 1..]);
            if is_separator && !is_macro { LISTED } else { c }
        })
        .collect()
}

/// Returns true if a term or an address begins here. A name alone may be that of a character: `&nbsp`.
fn begins_item(text: &str) -> bool {
    let bare = text.trim_start_matches(['+', '-', '~', '?']);
    let name = bare.split([':', '/', '&', ',', ';', '|', ' ']).next().unwrap_or_default();
    glued::begins(bare)
        || ["a", "mx", "ptr", "all"].iter().any(|known| name.eq_ignore_ascii_case(known))
        || bare.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns true if strict parsers, ours and mail-auth's, accept a term with another one after it.
fn is_sound(term: &str) -> bool {
    let record = format!("v=spf1 {term} a");
    Record::parse(&record).is_ok() && Spf::parse(record.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests;
