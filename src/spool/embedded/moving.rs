//! The embedded spool as one end of a move. The file `MOVE` in its folder holds the state of the move.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::encoded::Encoded;
use super::leasing::read_again;
use super::read::{self, WholeMessage};
use super::shared::Shared;
use super::{Embedded, blocking};
use crate::files;
use crate::message::{Piece, QueueId};
use crate::spool::moving::{Mark, Movable, Whole};
use crate::spool::{Durable, Error, Pending, owner, ready};

const FILE: &str = "MOVE";

/// Reads the mark of the move in which the spool in this folder takes part.
pub(super) fn read_mark(dir: &Path) -> io::Result<Option<Mark>> {
    match files::read_state(&dir.join(FILE)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_mark(shared: &Shared, mark: Option<&Mark>) -> io::Result<()> {
    let path = shared.dir.path.join(FILE);
    match mark {
        Some(mark) => files::replace(&path, &serde_json::to_vec(mark)?),
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => shared.dir.sync(),
        },
    }
}

fn copy_out(shared: &Arc<Shared>, id: QueueId) -> Result<Whole, Error> {
    let WholeMessage { meta, state, content } = read_again(shared, id, read::whole)?;
    let mut whole = Vec::with_capacity(content.iter().map(|piece| piece.len()).sum());
    content.iter().for_each(|piece| whole.extend_from_slice(piece));
    Ok(Whole { id, meta, state, content: whole })
}

impl Movable for Embedded {
    fn place(&self) -> String {
        let path = &self.shared.dir.path;
        format!("folder {}", path.canonicalize().as_ref().unwrap_or(path).display())
    }

    fn mark(&self) -> Pending<Result<Option<Mark>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let read = blocking(move || read_mark(&shared.dir.path)).await?;
            read.map_err(|source| Error::Io { what: "reading the mark of a move".into(), source })
        })
    }

    fn set_mark(&self, mark: Option<Mark>) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let written = blocking(move || write_mark(&shared, mark.as_ref())).await?;
            written.map_err(|source| Error::Io { what: "writing the mark of a move".into(), source })
        })
    }

    fn gathered(&self) -> Pending<Result<(), Error>> {
        // No other node accepts mail for this spool.
        ready(Ok(()))
    }

    fn holdings(&self) -> Vec<(QueueId, u64)> {
        owner::holdings(&*self.shared)
    }

    fn holds(&self, id: QueueId) -> bool {
        self.shared.index().get(id).is_some()
    }

    fn copy_out(&self, id: QueueId) -> Pending<Result<Whole, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { blocking(move || copy_out(&shared, id)).await? })
    }

    fn copy_in(&self, message: Whole) -> Pending<Result<Durable, Error>> {
        let Whole { id, meta, state, content } = message;
        self.commit_encoded(id, || Encoded::copy(id, &meta, &state, vec![Piece::from(content)]))
    }

    fn forget(&self, ids: Vec<QueueId>) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { owner::forget(&*shared, &ids).await })
    }
}
