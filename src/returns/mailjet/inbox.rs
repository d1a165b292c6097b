//! The inbox makes reports durable. One commit serves all requests that are in progress.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::report::Report;
use super::store::{self, Taken};
use crate::database;
use crate::events::Subject;
use crate::time::Timestamp;

/// The most requests that wait for the next commit.
const REQUESTS: usize = 256;
/// The most reports in one row.
const ROW: usize = 500;

/// The reports of one request.
pub(super) struct Request {
    reports: Vec<Report>,
    done: oneshot::Sender<bool>,
}

/// The sending end of the inbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl Inbox {
    pub fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, waiting) = mpsc::channel(REQUESTS);
        (Inbox { shared, requests }, waiting)
    }

    /// Returns true after the reports are on disk, or false if they cannot be stored now.
    pub async fn put(&self, reports: Vec<Report>) -> bool {
        if reports.is_empty() {
            return true;
        }
        let waiting = u64::try_from(self.shared.counters.waiting.get()).unwrap_or_default();
        if waiting + reports.len() as u64 > self.shared.settings.limits.waiting_events {
            return false;
        }
        let (done, is_done) = oneshot::channel();
        self.requests.try_send(Request { reports, done }).is_ok() && is_done.await.unwrap_or_default()
    }
}

/// Commits until the last request is answered after `stopping`.
pub(super) async fn commit(shared: Arc<Shared>, mut requests: mpsc::Receiver<Request>, stopping: CancellationToken) {
    let mut batch = Vec::new();
    let mut is_troubled = false;
    loop {
        tokio::select! {
            taken = requests.recv_many(&mut batch, REQUESTS) => if taken == 0 { return },
            () = stopping.cancelled() => {
                requests.close();
                if requests.recv_many(&mut batch, REQUESTS).await == 0 {
                    return;
                }
            }
        }
        let (mut reports, mut waiting) = (Vec::new(), Vec::with_capacity(batch.len()));
        for Request { reports: more, done } in batch.drain(..) {
            reports.extend(more);
            waiting.push(done);
        }
        let count = reports.len();
        let written = write(&shared, reports).await;
        tell_of_trouble(&shared, &written, &mut is_troubled);
        if written.is_ok() {
            shared.counters.waiting.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
            shared.arrived.notify_one();
        }
        for done in waiting {
            // The client may be gone. Mailjet then repeats reports that are already stored.
            let _ = done.send(written.is_ok());
        }
    }
}

async fn write(shared: &Shared, reports: Vec<Report>) -> Result<(), database::Error> {
    let came = Timestamp::now();
    let mut rows = Vec::new();
    let mut left = reports.into_iter().peekable();
    while left.peek().is_some() {
        let (number, reports) = (shared.next_number(), left.by_ref().take(ROW).collect());
        rows.push((Taken { number, came, reports, handed: false }, came));
    }
    shared.parts.database.write(move |tables| store::put(tables, &rows)).await
}

fn tell_of_trouble(shared: &Shared, written: &Result<(), database::Error>, is_troubled: &mut bool) {
    let subject = Subject::Mailjet("events".into());
    match written {
        Ok(()) if std::mem::take(is_troubled) => {
            shared.parts.events.resolve(&subject, "Mailjet's events are taken again");
        }
        Ok(()) => {}
        Err(error) => {
            *is_troubled = true;
            let detail = format!("Mailjet's events cannot be written, so Mailjet hears 503 and repeats them: {error}");
            shared.parts.events.raise(subject, detail);
        }
    }
}
