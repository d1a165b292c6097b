//! Reads single customers' files by the same rules as the whole configuration, with the server file's settings as of its last complete
//! reading.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::customer::{self, Defaults, TakenDomains};
use super::mistake::Notes;
use super::reader::File;
use crate::customers::Directory;
use crate::message::CustomerId;
use crate::operate::{CustomerReader, Error, ReadCustomer};
use crate::sealed::Passphrase;
use crate::smtp::Domain;

/// The folder of customers' files, and the settings for reading them.
pub struct CustomerFiles {
    dir: PathBuf,
    defaults: Defaults,
    /// The passphrase of encrypted keys and passwords.
    passphrase: Option<Passphrase>,
    /// The places at which a `[[submitter]]` or an `[[events.webhook]]` names a customer.
    named_at: BTreeMap<String, String>,
}

impl CustomerFiles {
    pub(super) fn new(
        dir: PathBuf,
        defaults: Defaults,
        passphrase: Option<Passphrase>,
        named_at: BTreeMap<String, String>,
    ) -> Self {
        CustomerFiles { dir, defaults, passphrase, named_at }
    }
}

/// The domains of all customers in use, except the one whose file is read.
struct OfOthers<'a> {
    files: &'a CustomerFiles,
    id: &'a CustomerId,
    others: &'a Directory,
}

impl TakenDomains for OfOthers<'_> {
    fn by(&self, domain: &Domain) -> Option<String> {
        let other = self.others.by_domain(domain).filter(|other| other.id != *self.id)?;
        Some(self.files.path(&other.id).display().to_string())
    }

    /// The reader itself sees that one file names a domain twice.
    fn take(&mut self, _: &Domain, _: &str) {}
}

impl CustomerReader for CustomerFiles {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn read(&self, id: &CustomerId, text: &str, others: &Directory) -> Result<ReadCustomer, Error> {
        let notes = Notes::default();
        if let Some(passphrase) = self.passphrase.clone() {
            notes.set_passphrase(passphrase);
        }
        let file = File::of(&self.path(id), text.to_owned());
        let mut taken = OfOthers { files: self, id, others };
        let read = {
            let document = file.parse(&notes);
            customer::customer(id.clone(), &document.root(), &self.defaults, &mut taken)
        };
        let remarks = notes.finish();
        match read {
            Some(read) if remarks.mistakes.is_empty() => Ok(ReadCustomer {
                customer: read.customer,
                mailjet: read.mailjet,
                account: read.account,
                remarks: remarks.broken.iter().chain(&remarks.warnings).map(ToString::to_string).collect(),
            }),
            _ => {
                let mistakes: Vec<String> = remarks.mistakes.iter().map(ToString::to_string).collect();
                Err(Error::invalid(mistakes.join("\n"), "correct what is named; nothing was changed"))
            }
        }
    }

    fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    fn named_at(&self, id: &CustomerId) -> Option<&str> {
        self.named_at.get(id.as_str()).map(String::as_str)
    }
}
