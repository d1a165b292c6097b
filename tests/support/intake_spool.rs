//! A spool for tests of the stages before it. It shows the test each draft, or fails on demand. A real spool in a scratch folder is behind
//! it, because only a spool can make the receipt that a 250 needs.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Draft, Durable, Error, Pending};
use tokio::sync::Semaphore;

/// The result of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It makes messages durable.
    #[default]
    Kept,
    /// It has no space for a message.
    Full,
    /// The sync failed.
    Broken,
}

/// A spool that accepts messages and delivers none.
pub struct IntakeSpool {
    drafts: Mutex<Vec<Arc<Draft>>>,
    came: Condvar,
    outcome: Mutex<Outcome>,
    /// Commits wait here while the test holds them.
    gate: Arc<Semaphore>,
    real: Arc<Embedded>,
    _folder: tempfile::TempDir,
}

impl Default for IntakeSpool {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let settings =
            Settings { dir: folder.path().join("spool"), min_free: 1, segment_size: 1 << 20, ..Settings::default() };
        IntakeSpool {
            drafts: Mutex::default(),
            came: Condvar::new(),
            outcome: Mutex::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            real: Embedded::open(settings).expect("a spool in a scratch folder"),
            _folder: folder,
        }
    }
}

impl IntakeSpool {
    /// Sets the result of commits from now on.
    pub fn end_with(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap() = outcome;
    }

    /// Makes commits wait until [`let_go`](Self::let_go).
    pub fn hold_back(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets commits finish.
    pub fn let_go(&self) {
        self.gate.add_permits(1_000_000);
    }

    /// Returns the drafts so far.
    pub fn drafts(&self) -> Vec<Arc<Draft>> {
        self.drafts.lock().unwrap().clone()
    }

    /// Waits until there are `count` messages. Panics after ten seconds.
    pub fn wait_for(&self, count: usize) -> Vec<Arc<Draft>> {
        let drafts = self.drafts.lock().unwrap();
        let (drafts, waited) =
            self.came.wait_timeout_while(drafts, Duration::from_secs(10), |drafts| drafts.len() < count).unwrap();
        assert!(!waited.timed_out(), "{} messages came, {count} were waited for", drafts.len());
        drafts.clone()
    }

    /// Returns the only message.
    pub fn only(&self) -> Arc<Draft> {
        let drafts = self.drafts();
        assert_eq!(drafts.len(), 1, "messages kept");
        Arc::clone(&drafts[0])
    }
}

/// Returns the message as it would be sent: prefix and content.
pub fn bytes(draft: &Draft) -> Vec<u8> {
    let mut all = draft.prefix.clone();
    all.extend(draft.content.concat());
    all
}

/// Returns the same as text.
pub fn text(draft: &Draft) -> String {
    String::from_utf8(bytes(draft)).expect("UTF-8")
}

fn copy(draft: &Draft) -> Draft {
    Draft {
        id: draft.id,
        lane: draft.lane.clone(),
        envelope: draft.envelope.clone(),
        message_id: draft.message_id.clone(),
        prefix: draft.prefix.clone(),
        content: draft.content.iter().map(|piece| piece.to_vec().into()).collect(),
        header_len: draft.header_len,
        retry_at: draft.retry_at,
        held: draft.held.clone(),
        lines: draft.lines.clone(),
    }
}

/// A handle to use as a spool that accepts messages.
#[derive(Clone, Default)]
pub struct Handle(pub Arc<IntakeSpool>);

impl Commit for Handle {
    fn next_id(&self) -> QueueId {
        self.0.real.next_id()
    }

    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        let spool = Arc::clone(&self.0);
        // Spawned, because a commit finishes even if the caller is gone.
        let done = tokio::spawn(async move {
            let _turn = spool.gate.acquire().await;
            match *spool.outcome.lock().unwrap() {
                Outcome::Kept => {}
                Outcome::Full => return Err(Error::Full { lack: "1 byte is free".into() }),
                Outcome::Broken => {
                    let source = std::io::Error::from_raw_os_error(5);
                    return Err(Error::Io { what: "syncing segment 7 of /secret/path".to_owned(), source });
                }
            }
            let receipt = spool.real.commit(copy(&draft)).await?;
            spool.drafts.lock().unwrap().push(Arc::new(draft));
            spool.came.notify_all();
            Ok(receipt)
        });
        Box::pin(async move { done.await.expect("no panic") })
    }
}
