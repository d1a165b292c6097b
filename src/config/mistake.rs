//! What is wrong with a configuration: file, line, key, and a sentence that says what would be right.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sealed::Passphrase;

/// One remark about one place of one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// The line, counted from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// The key with its tables, `route.port`; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// `config/customers/acme.toml:7: route.port: 70000 is not a port (1–65535)`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that reading a configuration found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remarks {
    /// These stop a start and a reload.
    pub mistakes: Vec<Mistake>,
    /// Keys of single customers that cannot be used: the relay starts, and these customers' mail is deferred at the door.
    pub broken: Vec<Mistake>,
    /// These should be put right; nothing is refused for them.
    pub warnings: Vec<Mistake>,
}

/// Collects remarks while tables are read side by side, and what the files held that they name.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Remarks>, RefCell<Vec<Contents>>, OnceCell<Passphrase>);

/// What a file held that a key names, as a digest: to tell a later reading whether it has changed.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// The configuration's file.
    pub file: PathBuf,
    /// The key with its tables.
    pub key: String,
    /// The SHA-256 of the content.
    pub digest: [u8; 32],
}

impl Notes {
    /// Sets the passphrase of files that are encrypted. It is read before any of them.
    pub(super) fn set_passphrase(&self, passphrase: Passphrase) {
        let _ = self.2.set(passphrase);
    }

    /// The passphrase of files that are encrypted.
    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.2.get()
    }

    pub(super) fn mistake(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.0.borrow_mut().mistakes.push(Mistake { file: file.to_owned(), line: line.into(), key, what: what.into() });
    }

    pub(super) fn broken(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.0.borrow_mut().broken.push(Mistake { file: file.to_owned(), line: line.into(), key, what: what.into() });
    }

    pub(super) fn warning(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.0.borrow_mut().warnings.push(Mistake { file: file.to_owned(), line: line.into(), key, what: what.into() });
    }

    pub(super) fn contents(&self, file: &Path, key: String, octets: &[u8]) {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref());
        self.1.borrow_mut().push(Contents { file: file.to_owned(), key, digest });
    }

    /// What the files held that keys of `file` name.
    pub(super) fn contents_of(&self, file: &Path) -> Vec<Contents> {
        self.1.borrow().iter().filter(|contents| contents.file == file).cloned().collect()
    }

    /// All remarks, in the order of files and lines.
    pub(super) fn finish(self) -> Remarks {
        let mut all = self.0.into_inner();
        for list in [&mut all.mistakes, &mut all.broken, &mut all.warnings] {
            list.sort();
            list.dedup();
        }
        all
    }
}
