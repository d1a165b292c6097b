//! Turns the spool's notices into alerts, and into events of the mail that it holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::events::{Event, EventKind, Events, Mail, RecipientEvent, Subject};
use crate::message::QueueId;
use crate::record::unread::{self, End};
use crate::spool::{Filter, Notice, Notices, Record, Spool, embedded};
use crate::time::Timestamp;

/// The pause before the events about lost mail are written again after the log did not take them.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// How many held messages are looked up in the record at once: a file that is missing may have held thousands.
const MOST_HELD: usize = 1000;

/// Carries out, once the spool is open, what its notices require: events about held and lost mail.
pub(super) struct FollowUp {
    events: Events,
    held: mpsc::UnboundedReceiver<HeldBySpool>,
    lost: mpsc::UnboundedReceiver<()>,
}

/// Returns a listener for the spool's notices that raises and ends alerts, and what it leaves to do.
pub(super) fn listen(events: Events) -> (Notices, FollowUp) {
    let (hold, held) = mpsc::unbounded_channel();
    let (lose, lost) = mpsc::unbounded_channel();
    let follow_up = FollowUp { events: events.clone(), held, lost };
    let notices = Notices::to(move |notice| {
        // An error of the channels means that the relay stops.
        match &notice {
            Notice::Held { id, .. } => {
                drop(hold.send(HeldBySpool { id: *id, why: notice.to_string(), is_readable: true }));
            }
            Notice::Unread { id, why } => {
                drop(hold.send(HeldBySpool { id: *id, why: why.clone(), is_readable: false }));
            }
            Notice::Quarantined { id: Some(_), .. } => drop(lose.send(())),
            _ => {}
        }
        tell(&events, notice);
    });
    (notices, follow_up)
}

impl FollowUp {
    /// Emits events for mail that the spool holds, and for mail that it has set aside in `folder`, if it is in a folder. Ends with the
    /// spool.
    pub(super) fn begin(self, spool: &Arc<dyn Spool>, folder: Option<PathBuf>) {
        if let Some(folder) = folder {
            tokio::spawn(tell_of_lost(Arc::downgrade(spool), folder, self.events.clone(), self.lost));
        }
        tokio::spawn(tell_of_held(Arc::downgrade(spool), self.events, self.held));
    }
}

/// Raises or ends an alert, or writes to the log.
fn tell(events: &Events, notice: Notice) {
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        Notice::ShardWaits { shard, .. } => events.raise(Subject::Shard(shard.to_string()), detail),
        Notice::ShardGoesOn { shard } => events.resolve(&Subject::Shard(shard.to_string()), detail),
        // Every crash may leave one, and the operator can do nothing about it.
        Notice::Torn { .. } => tracing::warn!("{detail}"),
        Notice::Unread { id, .. } => tracing::debug!(%id, "{detail}"),
        Notice::Quarantined { id: Some(id), .. } | Notice::Held { id, .. } => {
            events.emit(Event::alert(detail).about_message(id));
        }
        Notice::Quarantined { id: None, .. } | Notice::Unreadable { .. } => events.alert(detail),
    }
}

/// Tells the end of mail that the spool set aside because the disk no longer returns it as it was written: one event for each recipient
/// that was accepted. Begins with what an earlier process set aside and did not tell, and goes on at each message of `found`. Ends with the
/// spool.
async fn tell_of_lost(spool: Weak<dyn Spool>, folder: PathBuf, events: Events, mut found: mpsc::UnboundedReceiver<()>) {
    let Some(log) = events.log().map(ToOwned::to_owned) else { return };
    loop {
        let Some(spool_now) = spool.upgrade() else { return };
        match tell_untold(&*spool_now, &folder, &log, &events).await {
            Ok(()) => {
                drop(spool_now);
                if found.recv().await.is_none() {
                    return;
                }
            }
            Err(why) => {
                drop(spool_now);
                tracing::warn!("the end of mail that cannot be read is told later: {why}");
                tokio::time::sleep(TELL_AGAIN).await;
            }
        }
    }
}

async fn tell_untold(spool: &dyn Spool, folder: &Path, log: &Path, events: &Events) -> Result<(), String> {
    let (dir, log) = (folder.to_owned(), log.to_owned());
    let (lost, place) = blocking(move || embedded::untold(&dir)).await?;
    if lost.is_empty() {
        return Ok(());
    }
    // A recipient may have had the mail before it was damaged.
    if !events.catch_up(spool).await {
        return Err("the event log is behind".to_owned());
    }
    let ids: Vec<QueueId> = lost.iter().map(|lost| lost.id).collect();
    let lives = blocking(move || unread::lives(&log, ids)).await?;
    let details: Vec<String> = lost
        .iter()
        .map(|lost| {
            let copy = lost.copy.display();
            format!("the disk damaged the mail ({}), and it is not delivered: send it again. What is left of it is in {copy}", lost.why)
        })
        .collect();
    let ends: Vec<End<'_>> = lost
        .iter()
        .zip(&details)
        .map(|(lost, detail)| End { event: EventKind::Lost, at: lost.at, detail, actor: None })
        .collect();
    let mut told = Vec::new();
    for (lost, end) in lost.iter().zip(&ends) {
        told.extend(lives.get(&lost.id).into_iter().flat_map(|life| life.ends(lost.id, end)));
    }
    if !events.emit_synced(told).await {
        return Err("the event log takes no events now".to_owned());
    }
    let dir = folder.to_owned();
    blocking(move || embedded::set_told(&dir, place)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// A message that the spool itself holds.
struct HeldBySpool {
    id: QueueId,
    why: String,
    /// False if the spool cannot read it: then the record says who its recipients are.
    is_readable: bool,
}

/// Emits events for mail that the spool itself holds: one for each waiting recipient. Ends with the spool.
async fn tell_of_held(spool: Weak<dyn Spool>, events: Events, mut held: mpsc::UnboundedReceiver<HeldBySpool>) {
    let mut batch = Vec::new();
    while held.recv_many(&mut batch, MOST_HELD).await > 0 {
        let Some(spool) = spool.upgrade() else { return };
        let (readable, unread): (Vec<_>, Vec<_>) = batch.drain(..).partition(|held| held.is_readable);
        for HeldBySpool { id, why, .. } in readable {
            match spool.list(Filter::one(id), 1).await {
                Ok(found) => found.iter().for_each(|record| tell_of_hold(&events, record, &why)),
                // The alert has already reported it.
                Err(error) => tracing::warn!(%id, %error, "a message that the spool holds cannot be read"),
            }
        }
        if let Err(why) = tell_of_unread(&*spool, &events, &unread).await {
            tracing::warn!("{} held messages that cannot be read have no event `held`: {why}", unread.len());
        }
    }
}

fn tell_of_hold(events: &Events, record: &Record, why: &str) {
    let (mail, now) = (Mail::of(record), Timestamp::now());
    for (index, _) in record.waiting() {
        let told = RecipientEvent::new(EventKind::Held, index, now).because(why);
        events.emit(mail.event(&told));
    }
}

async fn tell_of_unread(spool: &dyn Spool, events: &Events, held: &[HeldBySpool]) -> Result<(), String> {
    let Some(log) = events.log().filter(|_| !held.is_empty()).map(ToOwned::to_owned) else { return Ok(()) };
    // A recipient may have had the mail meanwhile.
    if !events.catch_up(spool).await {
        return Err("the event log is behind".to_owned());
    }
    let ids: Vec<QueueId> = held.iter().map(|held| held.id).collect();
    let lives = blocking(move || unread::lives(&log, ids)).await?;
    for HeldBySpool { id, why, .. } in held {
        let told = End { event: EventKind::Held, at: Timestamp::now(), detail: why, actor: None };
        lives.get(id).into_iter().flat_map(|life| life.ends(*id, &told)).for_each(|event| events.emit(event));
    }
    Ok(())
}
