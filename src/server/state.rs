//! Moves the small relational state of a site that moves to another spool: a spool in a database has it there, an embedded one in a file.

use std::path::Path;

use super::open::DATABASE_SCHEMAS;
use super::{Settings, SpoolSettings};
use crate::database::moving::{self, Copied};
use crate::database::{Database, Error, FILE, Home, Schema};
use crate::operate;

/// The owners whose rows are of no use after a move: questions that nodes ask each other are answered within seconds or not at all.
const NOT_MOVED: &[&str] = &[operate::nodes::SCHEMA.owner];

/// The tables that move.
fn moved_schemas() -> Vec<Schema> {
    DATABASE_SCHEMAS.iter().copied().filter(|schema| !NOT_MOVED.contains(&schema.owner)).collect()
}

/// The places of the state before and after a move.
pub struct StateMove {
    source: Home,
    target: Home,
}

impl StateMove {
    /// Describes the move from `spool`, whose state directory is `state_dir`, to the spool of `new`.
    pub fn new(spool: &SpoolSettings, state_dir: &Path, new: &Settings) -> Self {
        StateMove { source: spool.state_home(state_dir), target: new.spool.state_home(&new.state_dir) }
    }

    /// Copies all tables, unless both places are the same. `id` is that of the move, and `progress` is called with the number of rows
    /// copied so far. Blocks. Runs of the same move may repeat it.
    pub fn copy(&self, id: &str, progress: impl FnMut(u64)) -> Result<Vec<Copied>, Error> {
        if self.is_nothing() {
            return Ok(Vec::new());
        }
        let source = Database::open_at(&self.source, DATABASE_SCHEMAS)?;
        let target = Database::open_at(&self.target, DATABASE_SCHEMAS)?;
        moving::copy(&source, &target, &moved_schemas(), id, progress)
    }

    /// Removes what the move has copied. Blocks.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        match self.is_nothing() {
            true => Ok(()),
            false => moving::remove(&Database::open_at(&self.target, DATABASE_SCHEMAS)?, DATABASE_SCHEMAS, id),
        }
    }

    /// Returns true if the state stays where it is, or there is none.
    fn is_nothing(&self) -> bool {
        match (&self.source, &self.target) {
            (Home::Folder(source), Home::Folder(target)) => source == target || !source.join(FILE).exists(),
            (Home::Server(source), Home::Server(target)) => source.to_string() == target.to_string(),
            (Home::Folder(source), Home::Server(_)) => !source.join(FILE).exists(),
            (Home::Server(_), Home::Folder(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_moves_but_what_nodes_ask_each_other() {
        let owners = |schemas: &[Schema]| schemas.iter().map(|schema| schema.owner).collect::<Vec<_>>();
        let (moved, mut all) = (owners(&moved_schemas()), owners(DATABASE_SCHEMAS));
        assert!(all.contains(&"ask"));
        all.retain(|owner| *owner != "ask");
        assert_eq!(moved, all);
    }
}
