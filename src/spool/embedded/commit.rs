//! Commits: the caller encodes a draft and hands it to the committer.

use std::io::ErrorKind;

use tokio::sync::oneshot;

use super::Embedded;
use super::encoded::Encoded;
use super::inbox::Item;
use crate::message::QueueId;
use crate::spool::{Commit, Draft, Durable, Error, Pending, ready};

impl Commit for Embedded {
    fn next_id(&self) -> QueueId {
        self.shared.ids.next()
    }

    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        let id = draft.id;
        self.commit_encoded(id, || Encoded::draft(draft))
    }
}

impl Embedded {
    /// Makes a message durable. `encode` returns none if the message is too large.
    pub(super) fn commit_encoded(
        &self,
        id: QueueId,
        encode: impl FnOnce() -> Option<Encoded>,
    ) -> Pending<Result<Durable, Error>> {
        if let Err(error) = self.shared.may_work().and_then(|()| self.shared.space.admit(&self.shared.settings)) {
            return ready(Err(error));
        }
        let refused = |kind: ErrorKind| ready(Err(Error::Io { what: format!("message {id}"), source: kind.into() }));
        if self.shared.index().get(id).is_some() {
            return refused(ErrorKind::AlreadyExists);
        }
        let Some(encoded) = encode() else {
            return refused(ErrorKind::FileTooLarge);
        };
        let (reply, answer) = oneshot::channel();
        let stopped = || Error::Stopped("it is stopping".into());
        match self.shared.inbox.push([Item::Draft(Box::new(encoded), reply)]) {
            Ok(()) => Box::pin(async move { answer.await.unwrap_or_else(|_| Err(stopped())) }),
            Err(_) => ready(Err(stopped())),
        }
    }
}
