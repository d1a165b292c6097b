//! A spool for tests of what comes before it: shows the test each draft, or fails as told. Behind it is a real spool in a scratch
//! folder, because only a spool makes the receipt that a 250 needs. Nothing can be claimed from it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use postbud::message::{Lane, QueueId};
use postbud::spool::{
    Draft, Durable, Embedded, Error, Filter, Lease, Pending, Record, Settings, Settled, Settlement, Spool, Stats,
};
use postbud::time::Timestamp;
use tokio::sync::{Notify, Semaphore};

/// How a commit ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    #[default]
    Kept,
    /// No space.
    Full,
    /// The sync failed.
    Broken,
}

/// The spool.
pub struct IntakeSpool {
    drafts: Mutex<Vec<Arc<Draft>>>,
    came: Condvar,
    outcome: Mutex<Outcome>,
    /// Commits wait here while the test holds them back.
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
    /// How commits end from now on.
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

    /// What was kept so far.
    pub fn drafts(&self) -> Vec<Arc<Draft>> {
        self.drafts.lock().unwrap().clone()
    }

    /// Waits until `count` messages were kept; panics after ten seconds.
    pub fn wait_for(&self, count: usize) -> Vec<Arc<Draft>> {
        let drafts = self.drafts.lock().unwrap();
        let (drafts, waited) =
            self.came.wait_timeout_while(drafts, Duration::from_secs(10), |drafts| drafts.len() < count).unwrap();
        assert!(!waited.timed_out(), "{} messages came, {count} were waited for", drafts.len());
        drafts.clone()
    }

    /// The one message kept.
    pub fn only(&self) -> Arc<Draft> {
        let drafts = self.drafts();
        assert_eq!(drafts.len(), 1, "messages kept");
        Arc::clone(&drafts[0])
    }
}

/// The message as it would leave: prefix and content.
pub fn bytes(draft: &Draft) -> Vec<u8> {
    let mut all = draft.prefix.clone();
    all.extend(draft.content.concat());
    all
}

/// The same as text, for messages that are.
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
    }
}

/// A handle that can be given away as a [`Spool`].
#[derive(Clone, Default)]
pub struct Handle(pub Arc<IntakeSpool>);

impl Spool for Handle {
    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        let spool = Arc::clone(&self.0);
        // Spawned: a commit finishes whoever waits for it.
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

    fn claim(
        &self,
        _: &Lane,
        _: Timestamp,
        _: usize,
        _: &dyn Fn(u32) -> Timestamp,
    ) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn settle(&self, _: Lease, _: Settlement) -> Pending<Result<Settled, Error>> {
        Box::pin(async { Ok(Settled::Soon) })
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn due(&self, _: Timestamp) -> (Vec<Lane>, Option<Timestamp>) {
        (Vec::new(), None)
    }

    fn list(&self, _: Filter, _: usize) -> Pending<Result<Vec<Record>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        Box::pin(async move { Err(Error::Unknown(id)) })
    }

    fn hold(&self, _: Filter, _: String) -> Pending<Result<u64, Error>> {
        Box::pin(async { Ok(0) })
    }

    fn release(&self, _: Filter) -> Pending<Result<u64, Error>> {
        Box::pin(async { Ok(0) })
    }

    fn expedite(&self, _: Filter) -> Pending<Result<u64, Error>> {
        Box::pin(async { Ok(0) })
    }

    fn seize(&self, _: Filter, _: usize) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::default()
    }

    fn stop(&self) -> Pending<()> {
        Box::pin(async {})
    }
}
