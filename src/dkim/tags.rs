//! Tag lists (RFC 6376 §3.2): `name=value` pairs separated by semicolons. Key records and DMARC records are tag lists.
//!
//! A published list is read in two ways at once. Everything that breaks the grammar is a [`Mistake`], because some receivers then
//! cannot read the list. At the same time the tags are read as the author meant them, so that one mistake is not reported as
//! several: the tags of `v=DMARC1; p=none, rua=mailto:x@y.dk` are v, p and rua, and its one mistake is the comma.

use std::collections::HashSet;

use crate::plain::{self, Meant, escaped};

/// The most mistakes that are reported. After the customer corrects these, the next check reports the others.
const MOST_MISTAKES: usize = 20;
/// The most characters of a part that a message quotes.
const LONGEST_QUOTE: usize = 40;
/// The versions of the records that are tag lists, in lower case and without their number.
const VERSIONS: [&str; 2] = ["dkim", "dmarc"];
/// Values that end where the next tag begins, even without a separator: `p=rejectrua=mailto:x@y.dk`.
const WORDS: [&str; 7] = ["dkim1", "dmarc1", "rsa", "ed25519", "none", "quarantine", "reject"];

/// A tag list, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// The tags in order, each name once. Names and values are as the author meant them, without surrounding white space.
    pub tags: Vec<Tag>,
    /// Tags whose name an earlier tag already has.
    pub repeated: Vec<Tag>,
    /// The mistakes that can keep receivers from reading the list.
    pub mistakes: Vec<Mistake>,
}

/// One tag of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name, in the case in which it is published.
    pub name: String,
    /// The value, without quotation marks and white space around it.
    pub value: String,
}

/// A place where a list breaks the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A character that is neither printable ASCII nor a space, a tab or a line end.
    #[error("{0:?} (U+{code:04X}) is not a plain character: delete it, or type it again", code = u32::from(*.0))]
    Character(char),
    /// Quotation marks, brackets or backslashes that belong to the syntax of zone files, not to the value.
    #[error("{0:?} became part of the value: enter the record without quotation marks, brackets and backslashes")]
    Quoting(char),
    /// The name or number of a character, as web pages and web addresses write it, or a tag of a web page.
    #[error("{0:?} comes from a web page or a web address: type the character that it stands for")]
    Markup(String),
    /// The name, class and type of a line in a zone file come before the first tag.
    #[error("the value is a whole line of a zone file: enter only the part that begins with v=")]
    ZoneLine,
    /// Another sign or a space is in place of the equals sign after this name.
    #[error("{0} must have exactly one equals sign after it")]
    NoSign(String),
    /// There is no semicolon before this tag.
    #[error("there is no semicolon before {0}=")]
    NoSemicolon(String),
    /// Two semicolons in a row, or one at the start.
    #[error("a semicolon has no tag before it")]
    EmptyTag,
    /// A part of the list is not `name=value`.
    #[error("{0:?} is not tag=value")]
    NoTag(String),
    /// A tag name occurs twice.
    #[error("{0}= occurs twice")]
    Twice(String),
}

impl TagList {
    /// Reads a list. `known` names the tags that such a list may have; they help to find tags where a separator is missing.
    pub fn read(text: &str, known: &[&str]) -> Self {
        let mut list = TagList::default();
        let text = list.without_escapes(text);
        let text = list.without_strange_characters(&text);
        let text = list.without_zone_line(&text, known);
        let text = list.without_brackets(text);
        let mut names = HashSet::new();
        let mut parts: Vec<&str> = text.split(';').map(trimmed).collect();
        // RFC 6376 §3.2 allows one semicolon at the end.
        if parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty()) {
            parts.pop();
        }
        for part in parts {
            if part.is_empty() {
                list.mistake(Mistake::EmptyTag);
                continue;
            }
            for (name, value) in list.split(part, known) {
                match names.insert(name.to_ascii_lowercase()) {
                    true => list.tags.push(Tag { name, value }),
                    false => {
                        list.mistake(Mistake::Twice(name.clone()));
                        list.repeated.push(Tag { name, value });
                    }
                }
            }
        }
        list
    }

    /// Returns the value of a tag.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
    }

    fn mistake(&mut self, mistake: Mistake) {
        // Report a pair of quotation marks once, even if the two marks differ. The line of a zone file has them in any case.
        let is_known = self.mistakes.iter().any(|known| match (known, &mistake) {
            (Mistake::Quoting(_) | Mistake::ZoneLine, Mistake::Quoting(_)) => true,
            // A comment of the zone file, and the mark that a web page writes by name.
            (Mistake::ZoneLine, Mistake::NoTag(_)) => true,
            (Mistake::Markup(written), Mistake::Quoting('"')) if written.starts_with('&') => true,
            (Mistake::Markup(_), Mistake::Markup(_)) => true,
            (known, mistake) => known == mistake,
        });
        if self.mistakes.len() < MOST_MISTAKES && !is_known {
            self.mistakes.push(mistake);
        }
    }

    /// Undoes what web pages, web addresses and zone files make of a character. An address may have a percent sign of its own.
    fn without_escapes(&mut self, text: &str) -> String {
        if !text.contains(['&', '<', '%', '\\']) && !text.contains("=3D") {
            return text.to_owned();
        }
        let mut plain = String::with_capacity(text.len());
        let (mut rest, mut is_address) = (text, false);
        while let Some(c) = rest.chars().next() {
            is_address = match c {
                ';' | ' ' => false,
                'm' | 'M' => is_address || rest.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("mailto:")),
                _ => is_address,
            };
            let found = escaped::markup(rest).or_else(|| escaped::percent(rest).filter(|_| !is_address));
            let (octets, meant) = match found {
                Some((octets, meant)) => {
                    self.mistake(Mistake::Markup(rest[..octets].to_owned()));
                    // Forms of web pages write a blank as a plus.
                    let is_form = meant == ';' && rest[octets..].starts_with('+');
                    (octets + usize::from(is_form), meant)
                }
                None => (c.len_utf8(), c),
            };
            plain.push(meant);
            rest = &rest[octets..];
        }
        match octet_or_line_end(&plain) {
            false => plain,
            true => {
                self.mistake(Mistake::Quoting('\\'));
                escaped::without_backslashes(&plain)
            }
        }
    }

    fn without_strange_characters(&mut self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            // RFC 6376 §2.8: the white space of tag lists.
            if matches!(c, ' '..='~' | '\t' | '\r' | '\n') {
                plain.push(c);
                rest = &rest[1..];
                continue;
            }
            // The customer sees the first of the letters that one character became.
            let (len, meant) = match plain::encoded_twice(rest) {
                Some((len, one)) => {
                    self.mistake(Mistake::Character(c));
                    // A quotation mark among them is the same mistake.
                    (len, Some(plain::meant(one)).filter(|meant| *meant != Meant::Plain('"')).unwrap_or(Meant::Nothing))
                }
                None => {
                    let meant = plain::meant(c);
                    self.mistake(match meant {
                        Meant::Plain('"') => Mistake::Quoting(c),
                        _ => Mistake::Character(c),
                    });
                    (c.len_utf8(), meant)
                }
            };
            match meant {
                Meant::Plain(meant) => plain.push(meant),
                Meant::Nothing => {}
                Meant::Same => plain.push_str(&rest[..len]),
            }
            rest = &rest[len..];
        }
        plain::as_meant(&plain)
    }

    /// Removes brackets around the whole list: `(v=DKIM1; p=AB)`. A chat program writes bold text in asterisks.
    fn without_brackets<'t>(&mut self, text: &'t str) -> &'t str {
        let bold = trimmed(text);
        if bold.starts_with('*') {
            self.mistake(Mistake::Quoting('*'));
            return bold.trim_matches('*');
        }
        let inner = text.trim_matches(|c| is_bracket(c) || is_blank(c) || is_quoting(c));
        let inner =
            if text.trim_start_matches(is_blank).starts_with('<') { inner.trim_end_matches('>') } else { inner };
        match text.chars().find(|c| is_bracket(*c)).filter(|_| inner.len() < trimmed(text).len()) {
            Some(bracket) if !inner.contains(bracket) => {
                self.mistake(Mistake::Quoting(bracket));
                inner
            }
            _ => text,
        }
    }

    /// Removes what comes before the first tag: `sel._domainkey IN TXT v=DKIM1` becomes `v=DKIM1`, and so does `TXT=v=DKIM1`.
    fn without_zone_line<'t>(&mut self, text: &'t str, known: &[&str]) -> &'t str {
        let begins = version(text).or_else(|| tag_after_words(text, known));
        let Some((before, list)) = begins.map(|at| text.split_at(at)) else { return text };
        let is_empty = before.trim_matches(|c| is_blank(c) || is_mark(c) || is_bracket(c) || c == '*').is_empty();
        let has_tag = || before.split_once('=').is_some_and(|(name, _)| is_known(last_word(name), known));
        if is_empty || before.contains(';') || has_tag() {
            return text;
        }
        // A version without its name is no zone file's.
        self.mistake(match begins_with_word(before.trim_matches(|c| is_blank(c) || is_mark(c))) {
            true => Mistake::NoTag(quote(trimmed(before))),
            false => Mistake::ZoneLine,
        });
        list
    }

    /// The tags of what stands between two semicolons: one, or several where semicolons were left out.
    fn split(&mut self, part: &str, known: &[&str]) -> Vec<(String, String)> {
        let (name, value) = match (other_sign(part, known), part.split_once('=')) {
            (Some((name, value)), _) => {
                self.mistake(Mistake::NoSign(name.to_owned()));
                (name, value)
            }
            (None, Some(tag)) => tag,
            (None, None) => {
                self.mistake(Mistake::NoTag(quote(part)));
                return Vec::new();
            }
        };
        let name = latin(self.unquoted(name), known);
        let name = match name.strip_prefix(is_bracket).filter(|inner| is_known(inner, known)) {
            Some(inner) => {
                self.mistake(Mistake::Quoting(name.chars().next().unwrap_or('(')));
                inner.to_owned()
            }
            None => name,
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            self.mistake(Mistake::NoTag(quote(part)));
            // Read `and p=MII…` as a p all the same.
            let last = name.rsplit(is_blank).next().unwrap_or_default().to_owned();
            return if is_known(&last, known) { vec![(last, self.unquoted(value))] } else { Vec::new() };
        }
        // A note (`n=`) may contain any text.
        if name == "n" {
            return vec![(name, trimmed(value).to_owned())];
        }
        let mut tags = Vec::new();
        let mut value = value;
        while let Some(behind) = repeated(value, &name) {
            self.mistake(Mistake::Twice(name.clone()));
            value = behind;
        }
        let (mut name, mut rest) = (name, value);
        while let Some((value, next, after)) = next_tag(rest, known) {
            self.mistake(Mistake::NoSemicolon(next.to_owned()));
            tags.push((name, self.unquoted(value)));
            (name, rest) = (next.to_owned(), after);
        }
        tags.push((name, self.unquoted(rest)));
        tags
    }

    /// Removes white space, quotation marks and backslashes around the text. Quotation marks and backslashes inside it stay.
    /// In both places they are a mistake.
    fn unquoted(&mut self, text: &str) -> String {
        let ends = || [text.chars().next(), text.chars().last()].into_iter().flatten().find(|c| is_mark(*c));
        if let Some(mark) = text.chars().find(|c| is_quoting(*c)).or_else(ends) {
            self.mistake(Mistake::Quoting(mark));
        }
        text.trim_matches(|c| is_blank(c) || is_mark(c)).to_owned()
    }
}

/// Finds the first known tag in `text` that has no semicolon before it. Returns the text before the tag, the tag's name, and the
/// text after its equals sign.
fn next_tag<'t>(text: &'t str, known: &[&str]) -> Option<(&'t str, &'t str, &'t str)> {
    let mut from = 0;
    while let Some(sign) = text[from..].find('=').map(|at| from + at) {
        let before = text[from..sign].trim_end_matches(is_blank);
        let glued = glued(before, known);
        let name = glued.map_or_else(|| before.rsplit(is_separator).next().unwrap_or_default(), |(_, name)| name);
        let after = text[sign + 1..].trim_start_matches(is_blank);
        // Base64 may end in `=` after a space, but no value begins with `=`.
        let has_value = !after.is_empty() && !after.starts_with('=');
        if name.len() < before.len() && is_known(name, known) && has_value {
            let value = text[..from + before.len() - name.len()].trim_end_matches(is_separator);
            let value = glued.filter(|_| from == 0).map_or(value, |(word, _)| word);
            return Some((value, name, &text[sign + 1..]));
        }
        from = sign + 1;
    }
    None
}

/// Returns a complete value and the name of the tag that begins right after it, or after signs that separate nothing: `reject` and `rua` of
/// `rejectrua`, `DMARC1` and `p` of `DMARC1/p`.
fn glued<'t>(text: &'t str, known: &[&str]) -> Option<(&'t str, &'t str)> {
    let value = trimmed(text);
    let word = WORDS.iter().find(|word| has_prefix(value, word))?;
    let (word, rest) = value.split_at(word.len());
    let name = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    is_known(name, known).then_some((word, name))
}

/// Returns the value behind a name that was written twice: `p=p=reject`.
fn repeated<'t>(value: &'t str, name: &str) -> Option<&'t str> {
    let rest = trimmed(value).get(name.len()..).filter(|_| has_prefix(trimmed(value), name))?;
    rest.trim_start_matches(is_blank).strip_prefix('=').filter(|behind| !trimmed(behind).is_empty())
}

fn begins_with_word(value: &str) -> bool {
    WORDS.iter().any(|word| has_prefix(value, word))
}

fn is_short(value: &str) -> bool {
    (1..=3).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn has_prefix(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// Splits `v:DMARC1`, `p reject` and `p==AB`, where another sign than one equals sign is between name and value. A mail address has signs of
/// its own.
fn other_sign<'t>(part: &'t str, known: &[&str]) -> Option<(&'t str, &'t str)> {
    let part = part.trim_start_matches(|c| is_blank(c) || is_mark(c));
    let (name, rest) = part.split_at(part.find(|c: char| !c.is_ascii_alphanumeric())?);
    let value = rest.trim_start_matches(|c| is_blank(c) || matches!(c, ':' | '-' | '>' | '='));
    let sign = rest[..rest.len() - value.len()].trim_matches(is_blank);
    let is_wrong = match sign {
        "=" => false,
        // `p-reject`, `aspf-s`, `pct-50`. A longer value may have a hyphen of its own before it.
        sign if sign.contains(['-', '>']) => begins_with_word(value) || is_short(value),
        _ => value.starts_with(|c: char| c.is_ascii_alphanumeric()),
    };
    (is_known(name, known) && is_wrong).then_some((name, value))
}

/// Returns the place where the version begins: `v`, an equals sign, and the name of a kind of record.
fn version(text: &str) -> Option<usize> {
    text.match_indices('=').find_map(|(sign, _)| {
        let name = text[..sign].trim_end_matches(is_blank);
        let value = text[sign + 1..].trim_start_matches(|c| is_blank(c) || is_mark(c));
        let is_name = last_word(name).eq_ignore_ascii_case("v") && name.ends_with(['v', 'V']);
        (is_name && VERSIONS.iter().any(|kind| has_prefix(value, kind))).then(|| name.len() - 1)
    })
}

/// Returns the place of the first tag where words come before it.
fn tag_after_words(text: &str, known: &[&str]) -> Option<usize> {
    let before = text[..text.find('=')?].trim_end_matches(is_blank);
    let gap = before.rfind(is_blank)?;
    is_known(before[gap..].trim_matches(|c| is_blank(c) || is_mark(c)), known).then_some(gap)
}

/// Returns the letters and digits at the end of a text.
fn last_word(text: &str) -> &str {
    let text = text.trim_end_matches(|c| is_blank(c) || is_mark(c));
    text.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// Returns true if a text has an octet as zone files write it (`\\059`), or a line end or a tab as programs write them.
fn octet_or_line_end(text: &str) -> bool {
    text.split('\\').skip(1).any(|rest| {
        let digits = rest.bytes().take(3).filter(u8::is_ascii_digit).count();
        digits == 3 || (rest.starts_with(['n', 'r', 't']) && !rest.starts_with("rua") && !rest.starts_with("np"))
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_separator(c: char) -> bool {
    is_blank(c) || matches!(c, ',' | '|' | '\\' | ':' | '&' | '.')
}

fn is_quoting(c: char) -> bool {
    matches!(c, '"' | '\\')
}

fn is_bracket(c: char) -> bool {
    matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '<')
}

/// Returns true for quotation marks of every kind. A single one within a value may be part of a mail address.
fn is_mark(c: char) -> bool {
    is_quoting(c) || matches!(c, '\'' | '`')
}

/// Returns the known name that a name in letters of another alphabet looks like.
fn latin(name: String, known: &[&str]) -> String {
    let latin: String = name.chars().map(|c| plain::look_alike(c).unwrap_or(c)).collect();
    if is_known(&latin, known) { latin } else { name }
}

fn is_known(name: &str, known: &[&str]) -> bool {
    known.iter().any(|tag| tag.eq_ignore_ascii_case(name))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn quote(part: &str) -> String {
    part.chars().take(LONGEST_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["v", "k", "p", "t", "rua"];

    fn read(text: &str) -> (Vec<(String, String)>, Vec<Mistake>) {
        let list = TagList::read(text, &KNOWN);
        (list.tags.into_iter().map(|tag| (tag.name, tag.value)).collect(), list.mistakes)
    }

    #[test]
    fn what_the_grammar_allows_is_no_mistake() {
        let tags = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("v=DKIM1; k=rsa; p=AB", tags(&[("v", "DKIM1"), ("k", "rsa"), ("p", "AB")])),
            ("v=DKIM1;p=AB;", tags(&[("v", "DKIM1"), ("p", "AB")])),
            (" v = DKIM1 ;\r\n\tp = A B= ; ", tags(&[("v", "DKIM1"), ("p", "A B=")])),
            ("v=x; p=", tags(&[("v", "x"), ("p", "")])),
            ("p=AA t= ==", tags(&[("p", "AA t= ==")])),
            ("x_1=y; n=\"k=rsa\", p=no", tags(&[("x_1", "y"), ("n", "\"k=rsa\", p=no")])),
            ("rua=mailto:a@b.dk,mailto:c@d.dk", tags(&[("rua", "mailto:a@b.dk,mailto:c@d.dk")])),
        ] {
            assert_eq!(read(text), (expected, vec![]), "{text}");
        }
    }

    #[test]
    fn one_mistake_is_named_once_and_the_tags_are_read_all_the_same() {
        use Mistake as M;
        let text = |text: &str| text.to_owned();
        let expected = vec![(text("v"), text("DKIM1")), (text("k"), text("rsa")), (text("p"), text("AB=="))];
        for (written, mistake) in [
            ("v=DKIM1; k=rsa;\u{a0}p=AB==", M::Character('\u{a0}')),
            ("\u{feff}v=DKIM1; k=rsa; p=AB==", M::Character('\u{feff}')),
            ("v=DKIM1; k=rsa; p=AB==\u{200b}", M::Character('\u{200b}')),
            ("v=DKIM1；k=rsa; p=AB==", M::Character('；')),
            ("v=DKIM1; k=rsa; p=AB==\u{b}", M::Character('\u{b}')),
            ("“v=DKIM1; k=rsa; p=AB==”", M::Quoting('“')),
            ("\"v=DKIM1; k=rsa; p=AB==\"", M::Quoting('"')),
            ("v=DKIM1\\; k=rsa\\; p=AB==", M::Quoting('\\')),
            ("sel._domainkey IN TXT v=DKIM1; k=rsa; p=AB==", M::ZoneLine),
            ("sel._domainkey.test.dk. 3600 IN TXT v=DKIM1; k=rsa; p=AB==", M::ZoneLine),
            ("DKIM: v=DKIM1; k=rsa; p=AB==", M::ZoneLine),
            ("v=DKIM1; k=rsa p=AB==", M::NoSemicolon(text("p"))),
            ("v=DKIM1; k=rsa, p=AB==", M::NoSemicolon(text("p"))),
            ("v=DKIM1; k=rsa,p = AB==", M::NoSemicolon(text("p"))),
            ("v=DKIM1 k=rsa; p=AB==", M::NoSemicolon(text("k"))),
            ("v=DKIM1;; k=rsa; p=AB==", M::EmptyTag),
            (";v=DKIM1; k=rsa; p=AB==", M::EmptyTag),
            ("v=DKIM1; k=rsa; p=AB==;;", M::EmptyTag),
            ("v=DKIM1; k=rsa; p=AB==; junk", M::NoTag(text("junk"))),
            ("v=DKIM1; k=rsa; my p=AB==", M::NoTag(text("my p=AB=="))),
            ("v=DKIM1; k=rsa; p=AB==; K=x", M::Twice(text("K"))),
            ("v=DKIM1; k=rsa; p=AB==; 1=x", M::NoTag(text("1=x"))),
        ] {
            assert_eq!(read(written), (expected.clone(), vec![mistake]), "{written}");
        }
    }

    #[test]
    fn mistakes_are_bounded() {
        let text: String = (0..1000).map(|at| format!("junk{at};")).collect();
        assert_eq!(read(&text).1.len(), MOST_MISTAKES);
    }
}
