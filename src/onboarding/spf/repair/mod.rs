//! What an SPF record was meant to be. People type records by hand, paste them from word processors and web pages, and forget a
//! space or put in one too many; receivers then reject the whole record. [`read`] reads what is plainly meant, as a person would:
//!
//! ```text
//! text ─► words ─► tokens (escapes, strange characters, commas and quotation marks gone)
//!      ─► version: where the record begins
//!      ─► joined: tokens that a space has torn apart          (include: x.dk)
//!      ─► glued:  tokens that a missing space holds together  (ip4:192.0.2.1~all)
//!      ─► term:   each one as SPF knows it                    (ipv4: → ip4:, mx:192.0.2.1 → ip4:192.0.2.1)
//! ```
//!
//! What cannot be read is kept apart and named, so that nobody proposes a record that silently forgets a sender. Every term that
//! comes out is one that a strict parser takes, ours and mail-auth's. The cost is linear in the length of the text.

mod escape;
mod glued;
mod joined;
mod term;
mod version;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::spf::Spf;

use super::record::Record;
use crate::plain;

pub use term::is_without_effect;

/// A record as it was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The terms, in order.
    pub terms: Vec<String>,
    /// What stands there, and what it was read as.
    pub repairs: Vec<Repair>,
    /// What cannot be read.
    pub unread: Vec<String>,
}

/// Something that is written otherwise than it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// As it stands there.
    pub written: String,
    /// As it was meant; empty where it means nothing.
    pub meant: String,
}

/// A piece of the record between blanks.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    /// The words of the record that it comes from: the first and the last.
    words: (usize, usize),
    /// A quotation mark stands before it.
    opens: bool,
    /// A quotation mark stands behind it.
    closes: bool,
}

/// What a token was meant to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meant {
    Term(String),
    /// It says nothing: a second version, a bracket.
    Nothing,
    Unread(String),
}

/// Reads a TXT value that is an SPF record, or was meant to be one.
pub fn read(text: &str) -> Reading {
    let words: Vec<&str> = text.split(' ').collect();
    let mut tokens = tokens(&words);
    if let Some(version) = version::find(&tokens) {
        version.cut(&mut tokens);
    }
    let mut reading = Reading::default();
    let mut tokens = joined::join(tokens).into_iter().peekable();
    while let Some(first) = tokens.next() {
        // Tokens of one word are one repair.
        let mut last = first.words.1;
        let mut meant = glued::terms(&first.text);
        while let Some(next) = tokens.next_if(|next| next.words.0 <= last) {
            last = last.max(next.words.1);
            let more = glued::terms(&next.text);
            // A list: `include:a.dk,b.dk`.
            match (meant.last(), &more[..]) {
                (Some(Meant::Term(before)), [Meant::Unread(piece)])
                    if let Some(term) = term::continued(before, piece) =>
                {
                    meant.push(Meant::Term(term));
                }
                _ => meant.extend(more),
            }
        }
        let written = words[first.words.0..=last].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>();
        reading.take(&written.join(" "), meant);
    }
    reading
}

/// Returns true if a TXT value that is no SPF record was meant to be one: its version is misspelt or hidden, or it has none and
/// everything in it is a term, `all` last.
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
    fn take(&mut self, written: &str, meant: Vec<Meant>) {
        let mut terms = Vec::new();
        let unread = self.unread.len();
        for meant in meant {
            match meant {
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
        let plain = separated(&plain::as_meant(&escape::undone(word)));
        for piece in plain.split(' ').filter(|piece| !piece.is_empty()) {
            let is_mark = |c: char| matches!(c, '"' | '\'' | '`');
            let text: String = piece.chars().filter(|c| !is_mark(*c)).collect();
            if !text.is_empty() {
                tokens.push(Token {
                    text,
                    words: (at, at),
                    opens: piece.starts_with(is_mark),
                    closes: piece.ends_with(is_mark),
                });
            }
        }
    }
    tokens
}

/// Commas, semicolons and bars between terms as blanks. Inside a macro (`%{l1r,}`) a comma is what it is.
fn separated(word: &str) -> String {
    let mut is_macro = false;
    let mut before = ' ';
    word.chars()
        .map(|c| {
            match c {
                '{' if before == '%' => is_macro = true,
                '}' | ' ' => is_macro = false,
                _ => {}
            }
            before = c;
            if matches!(c, ',' | ';' | '|') && !is_macro { ' ' } else { c }
        })
        .collect()
}

/// Returns true if strict parsers take a term, ours and mail-auth's, with another one behind it.
fn is_sound(term: &str) -> bool {
    let record = format!("v=spf1 {term} a");
    Record::parse(&record).is_ok() && Spf::parse(record.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests;
