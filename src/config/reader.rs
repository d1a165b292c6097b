//! A typed reader over a TOML tree with spans.
//!
//! Serde would stop at the first error. This reader notes each mistake with its line and goes on, so that an operator sees all
//! of them at once. A [`Table`] is asked for each key it may hold; when it is dropped, keys that nobody asked for are mistakes.
//! A value that cannot be used is noted and read as if it were absent: whoever builds settings may go on with the default,
//! because settings with a mistake are never used.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Notes;
use super::value::{FromValue, kind};
use crate::files;
use crate::sealed::Passphrase;

/// A file's text; trees borrow from it.
pub(super) struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// Reads it; `None`, noted, where that fails.
    pub(super) fn read(path: &Path, notes: &Notes) -> Option<File> {
        let octets = match files::read_plain(path) {
            Ok(octets) => octets,
            Err(error) => {
                notes.mistake(path, None, String::new(), error.to_string());
                return None;
            }
        };
        match std::str::from_utf8(&octets) {
            Ok(text) => Some(File { path: path.to_owned(), text: text.to_owned() }),
            Err(error) => {
                let line = octets[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                notes.mistake(path, line, String::new(), "is not UTF-8 text; save it as UTF-8");
                None
            }
        }
    }

    /// A text that is about to be written to `path`.
    pub(super) fn of(path: &Path, text: String) -> File {
        File { path: path.to_owned(), text }
    }

    /// The tree, with syntax errors noted: the first of each line, because one slip makes several, and of a table that is there
    /// twice its header alone. What such a tree says is guessed, so nothing else is said about it.
    pub(super) fn parse<'a>(&'a self, notes: &'a Notes) -> Document<'a> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let mut lines = Vec::new();
        for error in &errors {
            let line = line_of(&self.text, error.span().unwrap_or_default().start);
            let is_twice = error.message() == "duplicate key";
            let header = self.header_of(line);
            if lines.contains(&line) || (is_twice && header.is_some_and(|header| lines.contains(&header))) {
                continue;
            }
            let what = match is_twice && header == Some(line) {
                true => "this table is there already; write the keys of both into one".to_owned(),
                false => error.message().lines().collect::<Vec<_>>().join("; "),
            };
            notes.mistake(&self.path, line, String::new(), what);
            lines.push(line);
        }
        Document { file: self, notes, root, is_sound: errors.is_empty() }
    }

    /// The line of the table's header that `line` stands below, or is.
    fn header_of(&self, line: usize) -> Option<usize> {
        let above = self.text.lines().enumerate().take(line);
        above.filter(|(_, text)| text.trim_start().starts_with('[')).last().map(|(at, _)| at + 1)
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// A parsed file.
pub(super) struct Document<'a> {
    file: &'a File,
    notes: &'a Notes,
    root: Spanned<DeTable<'a>>,
    is_sound: bool,
}

impl<'a> Document<'a> {
    /// The outermost table.
    pub(super) fn root<'t>(&'t self) -> Table<'t> {
        Table {
            file: self.file,
            notes: self.notes,
            path: String::new(),
            line: 1,
            table: Some(self.root.get_ref()),
            is_absent: false,
            is_sound: self.is_sound,
            asked: RefCell::default(),
        }
    }

    /// The outermost keys and values.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &DeValue<'a>)> {
        self.root.get_ref().iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// A table of a file, possibly one that is not there. See the module's description.
pub(super) struct Table<'t> {
    file: &'t File,
    notes: &'t Notes,
    /// Its name from the root, `route.limits`; empty for the root.
    path: String,
    /// Where its header stands; where it is missing, its parent's.
    line: usize,
    table: Option<&'t DeTable<'t>>,
    /// Nothing stands in its place, not even something else than a table.
    is_absent: bool,
    /// The file has no syntax error.
    is_sound: bool,
    asked: RefCell<Vec<Cow<'static, str>>>,
}

impl<'t> Table<'t> {
    /// The value of `key`, if there is one that can be used.
    pub(super) fn get<T: FromValue>(&self, key: &'static str) -> Option<T> {
        self.read(key).ok().flatten()
    }

    /// The value of `key`, or `default` where it is absent.
    pub(super) fn or<T: FromValue>(&self, key: &'static str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// The value of `key`, which must be there; `like` shows what one looks like.
    pub(super) fn require<T: FromValue>(&self, key: &'static str, like: &str) -> Option<T> {
        match self.read(key) {
            Ok(None) => {
                self.mistake(key, format!("is missing; write it like {key} = {like}"));
                None
            }
            Ok(found) => found,
            Err(Noted) => None,
        }
    }

    /// A number within `range`, or `default`.
    pub(super) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromValue + PartialOrd + std::fmt::Display,
    {
        self.number_if_any(key, range).unwrap_or(default)
    }

    /// A number within `range`, if there is one.
    pub(super) fn number_if_any<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromValue + PartialOrd + std::fmt::Display,
    {
        let found = self.get::<T>(key)?;
        if range.contains(&found) {
            return Some(found);
        }
        self.mistake(key, format!("{found} is outside of {} to {}", range.start(), range.end()));
        None
    }

    /// One of a few words, if there is one.
    pub(super) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word: String = self.get(key)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(value.clone());
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.mistake(key, not_one_of(&word, &names));
        None
    }

    /// The table `key`; an empty one where it is absent.
    pub(super) fn table(&self, key: &'static str) -> Table<'t> {
        let found = self.value(key);
        let table = found.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.mistake(key, format!("is {}, but a table [{}] belongs here", kind(other), self.full(key)));
                None
            }
        });
        self.child(self.full(key), found.map(|value| value.span()), table)
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'t>> {
        let Some(found) = self.value(key) else { return Vec::new() };
        let DeValue::Array(array) = found.get_ref() else {
            self.mistake(key, format!("is {}; write it as [[{}]]", kind(found.get_ref()), self.full(key)));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in array.iter() {
            match value.get_ref() {
                DeValue::Table(table) => tables.push(self.child(self.full(key), Some(value.span()), Some(table))),
                other => self.mistake(key, format!("holds {}; write it as [[{}]]", kind(other), self.full(key))),
            }
        }
        tables
    }

    /// The tables of `[key.<name>]`, with names the operator chose.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(String, Table<'t>)> {
        let parent = self.table(key);
        let Some(table) = parent.table else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in table.iter() {
            let name = name.get_ref().to_string();
            parent.asked.borrow_mut().push(name.clone().into());
            match value.get_ref() {
                DeValue::Table(table) => {
                    tables.push((name.clone(), self.child(parent.full(&name), Some(value.span()), Some(table))));
                }
                other => {
                    let full = parent.full(&name);
                    let what = format!("is {}, but a table [{full}] belongs here", kind(other));
                    self.note(value.span().start, full, what);
                }
            }
        }
        tables
    }

    /// Returns true if the file has neither this table nor something else in its place.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// Returns true if the file has no syntax error: only then it says what it says.
    pub(super) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Returns true if the file has this table.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Returns true if `key` has a value, usable or not.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Returns true if a key that was asked for already has a value.
    pub(super) fn has_named(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Returns true if `key` holds a text.
    pub(super) fn is_text(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::String(_)))
    }

    /// Returns true if `key` holds a list without elements.
    pub(super) fn is_empty_list(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Array(list) if list.is_empty()))
    }

    /// Takes every key as known: which keys belong here depends on one that could not be read.
    pub(super) fn forget_unknown(&self) {
        let names = self.table.into_iter().flat_map(|table| table.iter()).map(|(key, _)| key.get_ref().to_string());
        self.asked.borrow_mut().extend(names.map(Cow::from));
    }

    /// Notes a mistake at `key`, or at the table's header where the key is absent.
    pub(super) fn mistake(&self, key: &str, what: impl Into<String>) {
        if self.is_sound {
            self.notes.mistake(&self.file.path, self.line_at(key), self.full(key), what);
        }
    }

    /// Notes that a customer's signing key cannot be used.
    pub(super) fn broken(&self, key: &str, what: impl Into<String>) {
        if self.is_sound {
            self.notes.broken(&self.file.path, self.line_at(key), self.full(key), what);
        }
    }

    /// Notes a warning at `key`.
    pub(super) fn warning(&self, key: &str, what: impl Into<String>) {
        if self.is_sound {
            self.notes.warning(&self.file.path, self.line_at(key), self.full(key), what);
        }
    }

    /// The passphrase of files that are encrypted.
    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.notes.passphrase()
    }

    /// Notes what the file held that `key` names.
    pub(super) fn contents(&self, key: &str, octets: &[u8]) {
        self.notes.contents(&self.file.path, self.full(key), octets);
    }

    /// What a relative path stands for: paths are relative to the file they are in.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.dir().join(path)
    }

    /// `file:line` of `key`, for mistakes that name a second place.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}:{}", self.file.path.display(), self.line_at(key))
    }

    /// The table and its file: `[route] of customers/acme.toml`.
    pub(super) fn place_by_name(&self) -> String {
        let file = self.file.path.display();
        if self.path.is_empty() { file.to_string() } else { format!("[{}] of {file}", self.path) }
    }

    fn note(&self, offset: usize, key: String, what: String) {
        if self.is_sound {
            self.notes.mistake(&self.file.path, line_of(&self.file.text, offset), key, what);
        }
    }

    fn read<T: FromValue>(&self, key: &'static str) -> Result<Option<T>, Noted> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match T::from_value(value, self.file.dir()) {
            Ok(value) => Ok(Some(value)),
            Err(all) => {
                for refused in all {
                    self.note(refused.at.start, self.full(key), refused.what);
                }
                Err(Noted)
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| known == key) {
            asked.push(key.into());
        }
        self.table?.get(key)
    }

    fn child(&self, path: String, span: Option<Range<usize>>, table: Option<&'t DeTable<'t>>) -> Table<'t> {
        let is_absent = span.is_none();
        Table {
            file: self.file,
            notes: self.notes,
            path,
            line: span.map_or(self.line, |span| line_of(&self.file.text, span.start)),
            table,
            is_absent,
            is_sound: self.is_sound,
            asked: RefCell::default(),
        }
    }

    fn line_at(&self, key: &str) -> usize {
        match self.table.and_then(|table| table.get(key)) {
            Some(value) => line_of(&self.file.text, value.span().start),
            None => self.line,
        }
    }

    fn full(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }
}

/// The mistake has been noted.
struct Noted;

/// Keys that nobody asked for are mistakes.
impl Drop for Table<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.borrow();
        let known: Vec<&str> = asked.iter().map(|key| &**key).collect();
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let what = match closest(name, &known) {
                Some(meant) => format!("is not a known key; did you mean {}?", self.full(meant)),
                None => {
                    let mut known = known.clone();
                    known.sort_unstable();
                    format!("is not a known key; known here: {}", known.join(", "))
                }
            };
            self.note(key.span().start, self.full(name), what);
        }
    }
}

/// `"of" is none of "off", "starttls"; did you mean "off"?`
pub(super) fn not_one_of(word: &str, names: &[&str]) -> String {
    let list: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let hint = closest(word, names).map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    format!("\"{word}\" is none of {}{hint}", list.join(", "))
}

fn closest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let scored = names.iter().map(|name| (strsim::jaro_winkler(&word.to_lowercase(), name), *name));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
