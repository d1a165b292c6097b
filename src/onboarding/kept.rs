//! Stores small texts about domains, one for each domain: in files of this node, or in rows that all nodes share.
//!
//! A text is replaced as a whole, under a lock, because the running relays and commands both write it. A node that begins to share goes
//! on with the files that it has, until a row takes their place.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use crate::database::{self, Database, Schema, Transaction};
use crate::files;
use crate::smtp::Domain;

/// The tables: the texts by kind and domain, and the secret of the ownership tokens.
pub const SCHEMA: Schema = Schema {
    owner: "domain",
    steps: &[
        "CREATE TABLE domain_text (kind TEXT NOT NULL, domain TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (kind, domain)); \
              CREATE TABLE domain_secret (id BIGINT PRIMARY KEY, secret BYTEA NOT NULL)",
    ],
};

/// The tables that all nodes share.
#[derive(Clone)]
pub struct Shared(Database);

impl Shared {
    /// Uses the tables in this database.
    pub fn new(database: &Database) -> Self {
        Shared(database.of(&SCHEMA))
    }

    /// Returns the announcements of what other nodes have changed.
    pub fn changes(&self) -> database::Changes {
        self.0.changes()
    }

    /// Keeps this secret, unless there is one already. Returns the one that counts. Blocks.
    pub fn secret(&self, own: &[u8]) -> io::Result<Vec<u8>> {
        let kept = self.0.write_blocking(|tables| {
            let sql = "INSERT INTO domain_secret (id, secret) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
            tables.execute(sql, &[own.into()])?;
            tables.first("SELECT secret FROM domain_secret WHERE id = 1", &[], |row| row.octets(0).map(<[u8]>::to_vec))
        });
        Ok(kept.map_err(not_kept)?.unwrap_or_else(|| own.to_vec()))
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// The texts of one kind.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    kind: &'static str,
    /// The onboarding directory, which contains `dir`.
    parent: PathBuf,
    dir: PathBuf,
    shared: Option<Shared>,
}

impl Texts {
    /// Uses the directory of this name below the onboarding directory, which is made at the first write; or the shared tables.
    pub fn new(kind: &'static str, parent: PathBuf, shared: Option<Shared>) -> Self {
        Texts { kind, dir: parent.join(kind), parent, shared }
    }

    /// Returns where a domain's text is, for people. A row has the name that its file would have.
    pub fn place(&self, domain: &Domain) -> PathBuf {
        self.dir.join(format!("{domain}.json"))
    }

    /// Returns the text of a domain, if it has one. Blocks.
    pub fn read(&self, domain: &Domain) -> io::Result<Option<Vec<u8>>> {
        match &self.shared {
            None => files::in_state(&[&self.parent, &self.dir], || self.read_file(domain)),
            Some(Shared(database)) => {
                let row = database.read_blocking(|tables| self.read_row(tables, domain)).map_err(not_kept)?;
                row.map_or_else(
                    || files::in_state(&[&self.parent, &self.dir], || self.read_file(domain)),
                    |row| Ok(Some(row)),
                )
            }
        }
    }

    /// Returns the texts of all domains that have a row, where rows are shared. Blocks.
    pub fn read_rows(&self) -> io::Result<HashMap<String, Vec<u8>>> {
        let Some(Shared(database)) = &self.shared else { return Ok(HashMap::new()) };
        let mut found = HashMap::new();
        let read = database.read_blocking(|tables| {
            tables.query("SELECT domain, text FROM domain_text WHERE kind = $1", &[self.kind.into()], |row| {
                found.insert(row.text(0)?.to_owned(), row.text(1)?.as_bytes().to_vec());
                Ok::<_, database::Error>(())
            })
        });
        read.map_err(not_kept).map(|()| found)
    }

    /// Replaces the text of a domain by what `work` makes of it. Blocks.
    pub fn change<T: Send, E: From<io::Error> + Send>(
        &self,
        domain: &Domain,
        work: impl FnOnce(Option<Vec<u8>>) -> Result<(Vec<u8>, T), E> + Send,
    ) -> Result<T, E> {
        let Some(Shared(database)) = &self.shared else {
            return files::in_state(&[&self.parent, &self.dir], || Ok(self.change_file(domain, work)))?;
        };
        let file = files::in_state(&[&self.parent, &self.dir], || self.read_file(domain))?;
        let changed = database.write_blocking(|tables| {
            let (text, result) = work(self.read_row(tables, domain)?.or(file)).map_err(Failed)?;
            let text = String::from_utf8_lossy(&text);
            let sql = "INSERT INTO domain_text (kind, domain, text) VALUES ($1, $2, $3) \
                       ON CONFLICT (kind, domain) DO UPDATE SET text = excluded.text";
            tables.execute(sql, &[self.kind.into(), domain.as_str().into(), (&*text).into()])?;
            tables.announce()?;
            Ok(result)
        });
        changed.map_err(|Failed(error)| error)
    }

    fn change_file<T, E: From<io::Error>>(
        &self,
        domain: &Domain,
        work: impl FnOnce(Option<Vec<u8>>) -> Result<(Vec<u8>, T), E>,
    ) -> Result<T, E> {
        files::make_private_dir(&self.dir)?;
        let lock = files::lock_file(&self.dir.join(".lock"))?;
        lock.lock()?;
        let (text, result) = work(self.read_file(domain)?)?;
        // After a crash the file is either the old one or the new one.
        files::replace(&self.place(domain), &text)?;
        Ok(result)
    }

    fn read_file(&self, domain: &Domain) -> io::Result<Option<Vec<u8>>> {
        match files::read_state(&self.place(domain)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_row(&self, tables: &Transaction<'_>, domain: &Domain) -> Result<Option<Vec<u8>>, database::Error> {
        let sql = "SELECT text FROM domain_text WHERE kind = $1 AND domain = $2";
        let which = [self.kind.into(), domain.as_str().into()];
        tables.first(sql, &which, |row| row.text(0).map(|text| text.as_bytes().to_vec()))
    }
}

/// The error of a transaction: the database's, or that of the work in it.
struct Failed<E>(E);

impl<E: From<io::Error>> From<database::Error> for Failed<E> {
    fn from(error: database::Error) -> Self {
        Failed(not_kept(error).into())
    }
}

fn not_kept(error: database::Error) -> io::Error {
    io::Error::other(error)
}
