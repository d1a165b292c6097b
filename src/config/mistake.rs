//! The mistakes of a configuration, each with its file, line and key, and a sentence that says what would be right.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sealed::Passphrase;

/// A remark about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// The line, counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The key with its tables, like `route.port`; empty for the file as a whole.
    pub key: String,
    /// Says what is wrong and what would be right.
    pub what: String,
}

/// Writes `config/customers/acme.toml:7: route.port: 70000 is not a port (1–65535)`.
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

/// All remarks about a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remarks {
    /// Mistakes that stop a start and a reload.
    pub mistakes: Vec<Mistake>,
    /// DKIM keys of single customers that cannot be used. The relay starts, and the mail of these customers is deferred.
    pub broken: Vec<Mistake>,
    /// Warnings: something should be corrected, but nothing is refused because of it.
    pub warnings: Vec<Mistake>,
}

/// Collects the remarks, and the digests of files that keys name, while tables are read. Also holds the passphrase of encrypted files for
/// the readers of tables.
#[derive(Debug, Default)]
pub(super) struct Notes {
    remarks: RefCell<Remarks>,
    contents: RefCell<Vec<Contents>>,
    passphrase: OnceCell<Passphrase>,
}

/// The digest of a file that a key names, so that a later reading can tell whether the file has changed.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// The configuration file that has the key.
    pub file: PathBuf,
    /// The key with its tables.
    pub key: String,
    /// The SHA-256 of the content.
    pub digest: [u8; 32],
    pub read_again: ReadAgain,
}

/// When a running relay reads a file again that a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadAgain {
    /// At a reload, if the reload replaces the key.
    WithItsKey,
    /// At every reload or at the next connection after it, under the file name from the start. All certificates of servers, and what routes
    /// check and show, are read in this way.
    Always,
}

impl Notes {
    /// Sets the passphrase of encrypted files. It must be known before they are read.
    pub(super) fn set_passphrase(&self, passphrase: Passphrase) {
        let _ = self.passphrase.set(passphrase);
    }

    /// Returns the passphrase of encrypted files.
    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.get()
    }

    /// Adds a mistake that was found without these notes.
    pub(super) fn add(&self, mistake: Mistake) {
        self.remarks.borrow_mut().mistakes.push(mistake);
    }

    pub(super) fn mistake(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.remarks.borrow_mut().mistakes.push(Mistake {
            file: file.to_owned(),
            line: line.into(),
            key,
            what: what.into(),
        });
    }

    pub(super) fn broken(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.remarks.borrow_mut().broken.push(Mistake {
            file: file.to_owned(),
            line: line.into(),
            key,
            what: what.into(),
        });
    }

    pub(super) fn warning(&self, file: &Path, line: impl Into<Option<usize>>, key: String, what: impl Into<String>) {
        self.remarks.borrow_mut().warnings.push(Mistake {
            file: file.to_owned(),
            line: line.into(),
            key,
            what: what.into(),
        });
    }

    pub(super) fn contents(&self, file: &Path, key: String, octets: &[u8], read_again: ReadAgain) {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref());
        self.contents.borrow_mut().push(Contents { file: file.to_owned(), key, digest, read_again });
    }

    /// Returns the digests of the files that keys of `file` name.
    pub(super) fn contents_of(&self, file: &Path) -> Vec<Contents> {
        self.contents.borrow().iter().filter(|contents| contents.file == file).cloned().collect()
    }

    /// Returns all remarks in the order of files and lines.
    pub(super) fn finish(self) -> Remarks {
        let mut all = self.remarks.into_inner();
        for list in [&mut all.mistakes, &mut all.broken, &mut all.warnings] {
            list.sort();
            list.dedup();
        }
        all
    }
}
