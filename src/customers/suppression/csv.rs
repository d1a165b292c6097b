//! Reads and writes suppression lists as CSV (RFC 4180), for exchange with people and other services.
//!
//! The first record names the columns in any order: `address`, `reason`, `since`, `expires`, `note`. Only `address` is required. A file
//! with one address per line and no column names is accepted, too. Lines end with CRLF or LF. A byte order mark is ignored. Semicolons or
//! tabs divide the fields if the column names have them and no comma, as spreadsheets write where the comma is the decimal sign.
//!
//! Addresses and notes are strangers' text, and people open the file in a spreadsheet or look at it on a terminal. So an apostrophe is put
//! before whatever a spreadsheet would take for a formula, and removed by the import. What a terminal would obey is shown as an escape.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Entry, Reason, clipped, folded};
use crate::smtp::Mailbox;
use crate::time::Timestamp;
use crate::visible::{is_unseen, visible_lines};

/// The names of the columns, in the order of an export.
const COLUMNS: [&str; 5] = ["address", "reason", "since", "expires", "note"];
/// The largest file that is read.
pub const LONGEST: usize = 256 << 20;
const LONGEST_RECORD: usize = 4096;
/// The characters that begin a formula, also in full-width form.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
/// The characters behind which a spreadsheet may begin another cell, even within quotes: where the comma is the decimal sign, cells are
/// divided by semicolons.
const DIVIDERS: [char; 4] = [';', '\t', '\r', '\n'];

/// Why a file cannot be imported: the line, from 1, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// The number of the line where the record begins.
    pub line: usize,
    /// The mistake in words.
    pub what: String,
}

/// Reads the entries of a file, each with its line number. If an address occurs twice, the last record counts.
pub fn read(text: &[u8], now: Timestamp) -> Result<Vec<(usize, Entry)>, BadLine> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.len() > LONGEST {
        return Err(BadLine { line: 1, what: format!("the file is longer than {} MiB; split it", LONGEST >> 20) });
    }
    let mut columns: Option<Vec<usize>> = None;
    let mut entries = Vec::new();
    for record in Records::of(text) {
        let (line, fields) = record?;
        let bad = |what: String| BadLine { line, what };
        if fields.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let columns = match &columns {
            Some(columns) => columns,
            None if fields.len() == 1 && fields[0].contains('@') => columns.insert(vec![0]),
            None => {
                columns = Some(named(&fields).map_err(bad)?);
                continue;
            }
        };
        if fields.len() != columns.len() {
            return Err(bad(format!("has {} fields, but there are {} columns", fields.len(), columns.len())));
        }
        entries.push((line, entry_of(columns, &fields, now).map_err(bad)?));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let last: Vec<bool> =
        entries.iter().rev().map(|(_, entry): &(usize, Entry)| seen.insert(entry.address.clone())).collect();
    let mut last = last.into_iter().rev();
    entries.retain(|_| last.next().unwrap_or(true));
    Ok(entries)
}

/// Reads the column names in the first record.
fn named(fields: &[String]) -> Result<Vec<usize>, String> {
    let mut columns = Vec::new();
    for field in fields {
        let name = field.trim();
        let Some(column) = COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name)) else {
            return Err(format!("there is no column \"{}\"; the columns are {}", shown(name), COLUMNS.join(", ")));
        };
        if columns.contains(&column) {
            return Err(format!("names the column {} twice", COLUMNS[column]));
        }
        columns.push(column);
    }
    if columns.contains(&0) { Ok(columns) } else { Err("names no column \"address\"".to_owned()) }
}

fn entry_of(columns: &[usize], fields: &[String], now: Timestamp) -> Result<Entry, String> {
    let fields: Vec<String> = fields.iter().map(|field| with_formulas(field)).collect();
    let field = |wanted: usize| columns.iter().position(|column| *column == wanted).map_or("", |at| &*fields[at]);
    entry(std::array::from_fn(field), now)
}

/// Makes an entry from texts in the order of an export. Empty fields get defaults: an operator suppressed the address now, without an end.
pub fn entry(fields: [&str; 5], now: Timestamp) -> Result<Entry, String> {
    let field = |wanted: usize| Some(fields[wanted].trim()).filter(|text| !text.is_empty());
    let time = |wanted: usize| {
        let read = |text: &str| {
            text.parse::<Timestamp>()
                .map_err(|_| format!("{} \"{}\" is no time like 2026-11-29T08:00:00Z", COLUMNS[wanted], shown(text)))
        };
        field(wanted).map(read).transpose()
    };
    let address = field(0).ok_or("has no address")?;
    let address = Mailbox::parse(address).map_err(|_| format!("\"{}\" is not a mail address", shown(address)))?;
    let expires = time(3)?;
    if expires.is_some_and(|at| at <= now) {
        return Err("expires in the past; leave the line out".to_owned());
    }
    Ok(Entry {
        address: folded(&address),
        reason: field(1).map(|text| shown(text).parse()).transpose()?.unwrap_or(Reason::Operator),
        since: time(2)?.unwrap_or(now),
        expires,
        note: clipped(field(4).unwrap_or_default()),
    })
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Returns the record with the column names of an export.
pub fn header() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// Puts an apostrophe before everything in a field that would become a formula.
fn without_formulas(field: &str) -> String {
    let cells = field.split_inclusive(DIVIDERS);
    cells.flat_map(|cell| [if is_formula(cell) { "'" } else { "" }, cell]).collect()
}

/// Removes these apostrophes.
fn with_formulas(field: &str) -> String {
    let cells = field.split_inclusive(DIVIDERS);
    cells.map(|cell| if is_formula(cell) { cell.strip_prefix('\'').unwrap_or(cell) } else { cell }).collect()
}

/// Returns true for a formula, with or without apostrophes before it.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULA)
}

/// Shows what a terminal would obey. Lines may end with CRLF.
fn shown_lines(field: &str) -> Cow<'_, str> {
    if !field.contains(is_unseen) {
        return Cow::Borrowed(field);
    }
    let lines: Vec<_> = field.split("\r\n").map(visible_lines).collect();
    Cow::Owned(lines.join("\r\n"))
}

/// Returns the record with these fields, in the order of an export.
pub fn record(fields: [&str; 5]) -> String {
    let mut text = String::new();
    for (n, field) in fields.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        let field = without_formulas(&shown_lines(field));
        if field.contains([',', '"', '\r', '\n']) {
            let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
        } else {
            text.push_str(&field);
        }
    }
    text.push_str("\r\n");
    text
}

/// The records of a file, each with the number of its first line.
struct Records<'a> {
    rest: &'a [u8],
    line: usize,
    /// The octet between two fields.
    divider: u8,
}

impl<'a> Records<'a> {
    fn of(text: &'a [u8]) -> Self {
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let first = text[..end].to_ascii_lowercase();
        let has_names = memchr::memmem::find(&first, COLUMNS[0].as_bytes()).is_some();
        let divider = [b',', b';', b'\t'].into_iter().find(|divider| has_names && first.contains(divider));
        let divider = divider.unwrap_or(b',');
        Records { rest: text, line: 1, divider }
    }

    fn record(&mut self) -> Result<Vec<String>, String> {
        let begin = self.rest;
        let mut fields = Vec::new();
        loop {
            let field = if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.plain()? };
            fields.push(String::from_utf8(field).map_err(|_| "is not UTF-8; save the file as UTF-8".to_owned())?);
            if begin.len() - self.rest.len() > LONGEST_RECORD {
                return Err(format!("the record is longer than {LONGEST_RECORD} octets"));
            }
            match self.rest {
                [octet, rest @ ..] if *octet == self.divider => self.rest = rest,
                [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => {
                    (self.rest, self.line) = (rest, self.line + 1);
                    return Ok(fields);
                }
                [] => return Ok(fields),
                _ => return Err("has text behind a closing quote".to_owned()),
            }
        }
    }

    fn plain(&mut self) -> Result<Vec<u8>, String> {
        let end =
            self.rest.iter().position(|octet| *octet == self.divider || *octet == b'\n').unwrap_or(self.rest.len());
        let is_line_end = self.rest.get(end) == Some(&b'\n');
        let end = if is_line_end && end > 0 && self.rest[end - 1] == b'\r' { end - 1 } else { end };
        let (field, rest) = self.rest.split_at(end);
        if field.contains(&b'"') {
            return Err("has a quote inside of a field without quotes".to_owned());
        }
        self.rest = rest;
        Ok(field.to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut field = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            let Some(quote) = memchr::memchr(b'"', self.rest) else {
                return Err("has a quote that is not closed".to_owned());
            };
            let (text, rest) = self.rest.split_at(quote);
            self.line += memchr::memchr_iter(b'\n', text).count();
            field.extend_from_slice(text);
            match rest {
                [b'"', b'"', rest @ ..] => {
                    field.push(b'"');
                    self.rest = rest;
                }
                _ => {
                    self.rest = &rest[1..];
                    return Ok(field);
                }
            }
            if field.len() > LONGEST_RECORD {
                return Err(format!("the record is longer than {LONGEST_RECORD} octets"));
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(usize, Vec<String>), BadLine>;

    /// Ends after an error, because the start of the next record is unknown.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record.map(|fields| (line, fields)).map_err(|what| BadLine { line, what }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn addresses(text: &str) -> Vec<String> {
        read(text.as_bytes(), NOW).unwrap().into_iter().map(|(_, entry)| entry.address).collect()
    }

    fn written(entry: &Entry) -> String {
        let [since, expires] =
            [Some(entry.since), entry.expires].map(|at| at.map(|at| at.to_string()).unwrap_or_default());
        record([&entry.address, entry.reason.as_str(), &since, &expires, &entry.note])
    }

    #[test]
    fn what_is_exported_is_imported_as_it_was() {
        let entries: Vec<Entry> = Reason::ALL
            .into_iter()
            .enumerate()
            .map(|(n, reason)| Entry {
                address: ["anna0@test.dk", "\"an na\"@test.dk", "\"a\\\"b\"@test.dk", "anna3@test.dk"][n].to_owned(),
                reason,
                since: NOW,
                expires: (n % 2 == 0).then(|| NOW + std::time::Duration::from_secs(60)),
                note: ["", "550 5.1.1 \"no\", such", "two\r\nlines, and \"\"", "æ"][n].to_owned(),
            })
            .collect();
        let text: String = [header()].into_iter().chain(entries.iter().map(written)).collect();
        let found: Vec<Entry> = read(text.as_bytes(), NOW).unwrap().into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(found, entries);
    }

    #[test]
    fn what_danish_spreadsheets_write_is_read() {
        for text in [
            "\u{feff}address;reason;note\r\nAnna@test.dk;complaint;\"a; b, c\"\r\n",
            "address\treason\tnote\nanna@test.dk\tcomplaint\ta; b, c\n",
            "address,reason,note\nanna@test.dk,complaint,\"a; b, c\"\n",
        ] {
            let found = read(text.as_bytes(), NOW).unwrap();
            let [(2, Entry { address, reason: Reason::Complaint, note, .. })] = found.as_slice() else {
                panic!("{text}: {found:?}")
            };
            assert_eq!((address.as_str(), note.as_str()), ("anna@test.dk", "a; b, c"), "{text}");
        }
        let latin = read(b"address;note\nanna@test.dk;bl\xe5\n", NOW).unwrap_err();
        assert_eq!(latin.to_string(), "line 2: is not UTF-8; save the file as UTF-8");
    }

    #[test]
    fn no_spreadsheet_finds_a_formula_and_the_import_finds_what_was_there() {
        let (since, note) = (NOW.to_string(), "550 no such user");
        for (address, note) in [
            ("=cmd|'/ccalc'!a0-@test.dk", note),
            ("+45@test.dk", "=HYPERLINK(\"http://evil.example\",\"x\")"),
            ("-x@test.dk", "@SUM(A1)"),
            ("'=x@test.dk", "''=1"),
            ("'x@test.dk", "550 x;=cmd|'/C calc'!A0;+1"),
            ("a=b@test.dk", "one\r\n=1\n-1\t@x"),
            ("a@test.dk", "\u{ff1d}1"),
            ("a@test.dk", "x - y; z = 1"),
        ] {
            let line = record([address, "operator", &since, "", note]);
            let cells = line.split([',', ';', '\t', '\r', '\n']).map(|cell| cell.trim_start_matches('"'));
            for cell in cells {
                assert!(!cell.starts_with(FORMULA), "{line:?}");
            }
            let read = read((header() + &line).as_bytes(), NOW).unwrap();
            assert_eq!((read[0].1.address.as_str(), read[0].1.note.as_str()), (address, note), "{line:?}");
        }
        assert_eq!(addresses("-x@test.dk\n'x@test.dk\n"), ["-x@test.dk", "'x@test.dk"], "files of others");
    }

    #[test]
    fn no_terminal_obeys_a_note() {
        let line = record(["a@test.dk", "operator", "", "", "\u{1b}[2J\u{9b}31m\u{202e}x\r\ny\rz"]);
        assert_eq!(line, "a@test.dk,operator,,,\"\\u{1b}[2J\\u{9b}31m\\u{202e}x\r\ny\\u{d}z\"\r\n");
    }

    #[test]
    fn files_of_others_are_read() {
        for (text, expected) in [
            ("a@test.dk\nb@test.dk", vec!["a@test.dk", "b@test.dk"]),
            ("a@test.dk\r\nB@Test.dk\r\n\r\n", vec!["a@test.dk", "b@test.dk"]),
            ("\u{feff}address\na@test.dk\n", vec!["a@test.dk"]),
            ("Address,Reason\na@test.dk,complaint\n", vec!["a@test.dk"]),
            ("note,address\n\"x,y\",a@test.dk\n", vec!["a@test.dk"]),
            ("\"address\"\r\n\"a@test.dk\"\r\n", vec!["a@test.dk"]),
            ("address\n\"\"\"a b\"\"@test.dk\"\n", vec!["\"a b\"@test.dk"]),
            ("a@test.dk\nA@TEST.dk\nb@test.dk", vec!["a@test.dk", "b@test.dk"]),
            ("", vec![]),
            ("address,note\n", vec![]),
        ] {
            let mut found = addresses(text);
            found.sort();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_record_of_an_address_counts() {
        let found = read(b"address,reason\na@test.dk,complaint\nA@test.dk,unsubscribe\n", NOW).unwrap();
        assert_eq!((found.len(), found[0].0, found[0].1.reason), (1, 3, Reason::Unsubscribe));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for (text, line, what) in [
            ("a@test.dk\nb", 2, "not a mail address"),
            ("address\na@test.dk\n\nx@\n", 4, "not a mail address"),
            ("address,reason\na@test.dk,because\n", 2, "no reason"),
            ("address,since\na@test.dk,yesterday\n", 2, "no time"),
            ("address,expires\na@test.dk,2020-01-01T00:00:00Z\n", 2, "in the past"),
            ("address,note\na@test.dk\n", 2, "1 fields, but there are 2 columns"),
            ("address,note\na@test.dk,x,y\n", 2, "3 fields"),
            ("email\na@test.dk\n", 1, "no column \"email\""),
            ("address,address\n", 1, "twice"),
            ("note,reason\n", 1, "no column \"address\""),
            ("address,note\n,x\n", 2, "has no address"),
            ("address,note\na@test.dk,\"open\nb@test.dk,\n", 2, "not closed"),
            ("address,note\na@test.dk,\"x\"y\n", 2, "behind a closing quote"),
            ("address,note\na@test.dk,x\"y\n", 2, "quote inside"),
            ("address,note\na@test.dk,\"1\n2\"\nb@test.dk,\"1\n2\n3\"\nbad,\n", 7, "not a mail address"),
            ("a@test.dk;x\n", 1, "not a mail address"),
        ] {
            let bad = read(text.as_bytes(), NOW).unwrap_err();
            assert!(bad.line == line && bad.what.contains(what), "{text:?}: {bad}");
        }
        assert!(read(b"address,note\na@test.dk,\xe6\n", NOW).unwrap_err().what.contains("UTF-8"));
        let long = format!("address,note\na@test.dk,{}\n", "x".repeat(5000));
        assert!(read(long.as_bytes(), NOW).unwrap_err().what.contains("longer than"));
    }
}
