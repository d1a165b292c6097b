//! A typed reader over a TOML tree with spans.
//!
//! Serde would stop at the first error. This reader notes each mistake with its line and goes on, so that an operator sees all of
//! them at once. The code that builds settings asks a [`Table`] for each key that it may hold. When the table is dropped, the other
//! keys are noted as mistakes. A value that cannot be used is noted and read as if it were absent. The default may then be used,
//! because settings with a mistake never are.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::mistake::{Mistake, Notes, ReadAgain};
use super::value::{FromValue, kind};
use crate::files;
use crate::sealed::{self, Passphrase};

/// The text of a file, from which trees borrow.
pub(super) struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// Reads a file. If that fails, notes it and returns `None`.
    pub(super) fn read(path: &Path, notes: &Notes) -> Option<File> {
        Self::open(path).map_err(|unread| notes.add(unread)).ok()
    }

    /// Reads a file. The error says why it cannot be used.
    pub(super) fn open(path: &Path) -> Result<File, Mistake> {
        let unread = |line, what| Mistake { file: path.to_owned(), line, key: String::new(), what };
        let octets = files::read_plain(path).map_err(|error| unread(None, error.to_string()))?;
        match std::str::from_utf8(&octets) {
            Ok(text) => Ok(File { path: path.to_owned(), text: text.to_owned() }),
            Err(error) => {
                let line = octets[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                Err(unread(Some(line), "is not UTF-8 text; save it as UTF-8".to_owned()))
            }
        }
    }

    /// Uses a text that is about to be written to `path`.
    pub(super) fn of(path: &Path, text: String) -> File {
        File { path: path.to_owned(), text }
    }

    /// Parses the text, and notes syntax errors.
    pub(super) fn parse<'a>(&'a self, notes: &'a Notes) -> Document<'a> {
        self.tree().document(notes)
    }

    /// Parses the text. The syntax errors are only the first of each line, because one slip causes several, and only the header of a
    /// repeated table. The rest of such a tree is a guess, so nothing else is noted about it.
    pub(super) fn tree(&self) -> Tree<'_> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let mut mistakes: Vec<(usize, String)> = Vec::new();
        for error in &errors {
            let line = line_of(&self.text, error.span().unwrap_or_default().start);
            let is_twice = error.message() == "duplicate key";
            let header = self.header_of(line);
            let is_noted = |line| mistakes.iter().any(|(noted, _)| *noted == line);
            if is_noted(line) || (is_twice && header.is_some_and(is_noted)) {
                continue;
            }
            let what = match is_twice && header == Some(line) {
                true => "this table is there already; write the keys of both into one".to_owned(),
                false => error.message().lines().collect::<Vec<_>>().join("; "),
            };
            mistakes.push((line, what));
        }
        Tree { file: self, root, mistakes }
    }

    /// Returns the line of the table header that `line` belongs to.
    fn header_of(&self, line: usize) -> Option<usize> {
        let above = self.text.lines().enumerate().take(line);
        above.filter(|(_, text)| text.trim_start().starts_with('[')).last().map(|(at, _)| at + 1)
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// A parsed file, with its syntax errors by line.
pub(super) struct Tree<'a> {
    file: &'a File,
    root: Spanned<DeTable<'a>>,
    mistakes: Vec<(usize, String)>,
}

impl<'a> Tree<'a> {
    /// Notes the syntax errors.
    pub(super) fn document(self, notes: &'a Notes) -> Document<'a> {
        let Tree { file, root, mistakes } = self;
        let is_sound = mistakes.is_empty();
        for (line, what) in mistakes {
            notes.mistake(&file.path, line, String::new(), what);
        }
        Document { file, notes, root, is_sound }
    }

    /// Returns an outermost value.
    pub(super) fn value(&self, key: &str) -> Option<&DeValue<'a>> {
        self.root.get_ref().get(key).map(Spanned::get_ref)
    }

    /// Returns a path, resolved relative to the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.dir().join(path)
    }
}

/// A parsed file from which settings are read.
pub(super) struct Document<'a> {
    file: &'a File,
    notes: &'a Notes,
    root: Spanned<DeTable<'a>>,
    is_sound: bool,
}

impl<'a> Document<'a> {
    /// Returns the outermost table.
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

    /// Returns the outermost keys and values.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &DeValue<'a>)> {
        self.root.get_ref().iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// A table of a file. It may be absent from the file; then it is empty.
pub(super) struct Table<'t> {
    file: &'t File,
    notes: &'t Notes,
    /// The name from the root, like `route.limits`; empty for the root.
    path: String,
    /// The position of its header, or of its parent's header if it is absent.
    line: usize,
    table: Option<&'t DeTable<'t>>,
    /// True if nothing is in its place, not even a value of another type.
    is_absent: bool,
    /// True if the file has no syntax error.
    is_sound: bool,
    asked: RefCell<Vec<Cow<'static, str>>>,
}

impl<'t> Table<'t> {
    /// Returns the value of `key`, if there is one that can be used.
    pub(super) fn get<T: FromValue>(&self, key: &'static str) -> Option<T> {
        self.read(key).ok().flatten()
    }

    /// Returns the value of `key`, or `default` if it is absent.
    pub(super) fn or<T: FromValue>(&self, key: &'static str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// Returns the value of `key`, which must be there. `like` shows an example in the mistake.
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

    /// Returns a number within `range`, or `default` if the key is absent.
    pub(super) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromValue + PartialOrd + std::fmt::Display,
    {
        self.number_if_any(key, range).unwrap_or(default)
    }

    /// Returns a number within `range`, if there is one.
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

    /// Returns the meaning of one of a few words, if there is one.
    pub(super) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word: String = self.get(key)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(value.clone());
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.mistake(key, not_one_of(&word, &names));
        None
    }

    /// Returns the table `key`, which is empty if it is absent.
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

    /// Returns the tables of `[[key]]`.
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

    /// Returns the tables of `[key.<name>]`, with the names that the operator chose.
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

    /// Returns true if the file has no syntax error. Only then can its content be trusted.
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

    /// Returns true if `key` holds a text.
    pub(super) fn is_text(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::String(_)))
    }

    /// Returns true if `key` holds a list without elements.
    pub(super) fn is_empty_list(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Array(list) if list.is_empty()))
    }

    /// Notes no key as unknown. Call it if the known keys depend on a key that could not be read, or if another reader reads the table.
    pub(super) fn allow_all_keys(&self) {
        let names = self.table.into_iter().flat_map(|table| table.iter()).map(|(key, _)| key.get_ref().to_string());
        self.asked.borrow_mut().extend(names.map(Cow::from));
    }

    /// Notes a mistake at `key`, or at the table's header if the key is absent.
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

    /// Returns the passphrase of encrypted files.
    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.notes.passphrase()
    }

    /// Notes the digest of the file that `key` names.
    pub(super) fn contents(&self, key: &str, octets: &[u8], read_again: ReadAgain) {
        self.notes.contents(&self.file.path, self.full(key), octets, read_again);
    }

    /// Runs a command that the file names, and returns what it prints. Root runs none that another user may have written.
    pub(super) fn run(&self, command: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
        if files::is_in_anothers_hands(&self.file.path) {
            return Err(format!(
                "is not run by root, because another user may write into {} or its folder: run postbud as that user (sudo -u), or \
                 give both to root",
                self.file.path.display()
            ));
        }
        sealed::fetch(command).map_err(|error| error.to_string())
    }

    /// Returns a path, resolved relative to its configuration file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.dir().join(path)
    }

    /// Returns `file:line` of `key`, for mistakes that name a second place.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}:{}", self.file.path.display(), self.line_at(key))
    }

    /// Returns the table and its file: `[route] of customers/acme.toml`.
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

/// Shows that a mistake has been noted.
struct Noted;

/// Notes keys that were never asked for as mistakes.
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

/// Writes `"of" is none of "off", "starttls"; did you mean "off"?`
pub(super) fn not_one_of(word: &str, names: &[&str]) -> String {
    let list: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let hint = closest(word, names).map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    format!("\"{word}\" is none of {}{hint}", list.join(", "))
}

fn closest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let scored = names.iter().map(|name| (strsim::jaro_winkler(&word.to_lowercase(), name), *name));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
