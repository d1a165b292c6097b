//! Tag lists (RFC 6376 §3.2): `name=value` pairs separated by semicolons. Key records and DMARC records are tag lists.
//!
//! A published list is read in two ways at once. Everything that breaks the grammar is a [`Mistake`], because some receivers then
//! cannot read the list. At the same time the tags are read as the author meant them, so that one mistake is not reported as
//! several: the tags of `v=DMARC1; p=none, rua=mailto:x@y.dk` are v, p and rua, and its one mistake is the comma.

use std::collections::HashSet;

use crate::plain::{self, Meant};

/// The most mistakes that are reported. After the customer corrects these, the next check reports the others.
const MOST_MISTAKES: usize = 20;
/// The most characters of a part that a message quotes.
const LONGEST_QUOTE: usize = 40;

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
    /// Quotation marks or backslashes that belong to the syntax of zone files, not to the value.
    #[error("{0:?} became part of the value: enter the record without quotation marks and backslashes")]
    Quoting(char),
    /// The name, class and type of a line in a zone file come before the first tag.
    #[error("the value is a whole line of a zone file: enter only the part that begins with v=")]
    ZoneLine,
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
        let text = list.without_strange_characters(text);
        let text = list.without_zone_line(&text, known);
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
        let is_quoting = |mistake: &Mistake| matches!(mistake, Mistake::Quoting(_));
        // Report a pair of quotation marks once, even if the two marks differ.
        let is_known =
            self.mistakes.iter().any(|known| *known == mistake || (is_quoting(known) && is_quoting(&mistake)));
        if self.mistakes.len() < MOST_MISTAKES && !is_known {
            self.mistakes.push(mistake);
        }
    }

    fn without_strange_characters(&mut self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            // RFC 6376 §2.8: the white space of tag lists.
            if matches!(c, ' '..='~' | '\t' | '\r' | '\n') {
                plain.push(c);
                continue;
            }
            let meant = plain::meant(c);
            self.mistake(match meant {
                Meant::Plain('"') => Mistake::Quoting(c),
                _ => Mistake::Character(c),
            });
            match meant {
                Meant::Plain(meant) => plain.push(meant),
                Meant::Nothing => {}
                Meant::Same => plain.push(c),
            }
        }
        plain
    }

    /// Removes the words before the first tag: `sel._domainkey IN TXT v=DKIM1` becomes ` v=DKIM1`.
    fn without_zone_line<'t>(&mut self, text: &'t str, known: &[&str]) -> &'t str {
        let Some(sign) = text.find('=') else { return text };
        let before = text[..sign].trim_end_matches(is_blank);
        let Some(gap) = before.rfind(is_blank) else { return text };
        let name = before[gap..].trim_matches(|c| is_blank(c) || is_quoting(c));
        let is_first = before[..gap].trim_matches(|c| is_blank(c) || is_quoting(c)).is_empty();
        if is_first || before.contains(';') || !is_known(name, known) {
            return text;
        }
        self.mistake(Mistake::ZoneLine);
        &text[gap..]
    }

    /// The tags of what stands between two semicolons: one, or several where semicolons were left out.
    fn split(&mut self, part: &str, known: &[&str]) -> Vec<(String, String)> {
        let Some((name, value)) = part.split_once('=') else {
            self.mistake(Mistake::NoTag(quote(part)));
            return Vec::new();
        };
        let name = self.unquoted(name);
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
        if let Some(mark) = text.chars().find(|c| is_quoting(*c)) {
            self.mistake(Mistake::Quoting(mark));
        }
        text.trim_matches(|c| is_blank(c) || is_quoting(c)).to_owned()
    }
}

/// Finds the first known tag in `text` that has no semicolon before it. Returns the text before the tag, the tag's name, and the
/// text after its equals sign.
fn next_tag<'t>(text: &'t str, known: &[&str]) -> Option<(&'t str, &'t str, &'t str)> {
    let mut from = 0;
    while let Some(sign) = text[from..].find('=').map(|at| from + at) {
        let before = text[from..sign].trim_end_matches(is_blank);
        let name = before.rsplit(is_separator).next().unwrap_or_default();
        let after = text[sign + 1..].trim_start_matches(is_blank);
        // Base64 may end in `=` after a space, but no value begins with `=`.
        let has_value = !after.is_empty() && !after.starts_with('=');
        if name.len() < before.len() && is_known(name, known) && has_value {
            let value = &text[..from + before.len() - name.len()];
            return Some((value.trim_end_matches(is_separator), name, &text[sign + 1..]));
        }
        from = sign + 1;
    }
    None
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_separator(c: char) -> bool {
    is_blank(c) || matches!(c, ',' | '|' | '\\')
}

fn is_quoting(c: char) -> bool {
    matches!(c, '"' | '\\')
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
