//! What the committer does after a batch was not confirmed: it answers the callers, connects again, and looks for room on a full disk.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::transactions::Unconfirmed;
use super::{Batch, Committer, InDoubt, LOST, in_time};
use crate::spool::Error;
use crate::spool::postgres::inbox::{Item, Request};
use crate::spool::postgres::link::{Failure, Link};
use crate::spool::postgres::node::{Lack, WritingTrouble};
use crate::spool::postgres::ownership::{Former, Resumed};
use crate::spool::postgres::position::last_row;
use crate::spool::postgres::rows::Rows;
use crate::spool::postgres::{ownership, preflight};

/// The pause before room is looked for again.
const LOOK: Duration = Duration::from_secs(5);
/// The room that a full disk must have before new mail is accepted again.
const USUAL: usize = 256 << 10;

impl Committer {
    /// Handles a batch that was not confirmed. Only what was confirmed earlier is certain to be in the log.
    pub(super) fn failed(&mut self, batch: Batch, unconfirmed: Unconfirmed) {
        self.shared.settings.counters.failures.inc();
        let (failure, is_unknown) = match unconfirmed {
            Unconfirmed::NotOwner => {
                self.link = None;
                let why = "another node owns mail of this one by now, because this one could not renew its lease or has a twin of its name";
                self.shared.stop_with(why.into());
                self.waiting.extend(batch.into_requests());
                return self.refuse_all();
            }
            Unconfirmed::Refused(failure) => (failure, false),
            Unconfirmed::Unknown(failure) => (failure, true),
        };
        let waiting = std::mem::take(&mut self.waiting);
        let failed = match batch {
            Batch::Adoption(adoption, reply) if is_unknown => {
                self.in_doubt = Some(InDoubt { adoption, reply, first: self.next_row });
                Vec::new()
            }
            batch => batch.into_requests(),
        };
        let mut changes = VecDeque::new();
        let mut refused = Vec::new();
        for request in failed.into_iter().chain(waiting) {
            match request {
                Request::Write(Item::Change(entry, reply)) => {
                    refused.extend(reply.map(|reply| Request::Write(Item::Barrier(reply))));
                    changes.push_back(Request::Write(Item::Change(entry, None)));
                }
                other => refused.push(other),
            }
        }
        self.waiting = changes;
        // Set the state before the refusals, so that a refused caller finds the reason there.
        let is_full = failure.is_full() && !is_unknown;
        if is_full {
            self.is_full = true;
            self.look_again = Instant::now() + LOOK;
            let lack = format!("{}; make room on the database's disk", failure.why);
            self.shared.set_lack(Lack::Disk(self.shared.number), Some(lack));
        } else {
            self.link = None;
        }
        if !is_full || !self.waiting.is_empty() {
            self.is_troubled = true;
            self.shared.set_trouble(WritingTrouble::Writing(self.shared.number), Some(failure.why.clone()));
        }
        let source = || std::io::Error::other(failure.why.clone());
        refused.into_iter().for_each(|request| {
            request.refuse(|| match is_full {
                true => Error::Full { lack: failure.why.clone() },
                false => Error::Io { what: "writing the spool's database".into(), source: source() },
            });
        });
    }

    pub(super) fn refuse_all(&mut self) {
        let why = self.shared.stopped().unwrap_or_default();
        self.waiting.drain(..).for_each(|request| request.refuse(|| Error::Stopped(why.clone())));
    }

    /// Connects again, and continues as the owner under the next epoch.
    pub(super) async fn reconnect(&mut self) -> Result<(), Failure> {
        let settings = &self.shared.settings;
        let connected = async {
            let link = Link::open(settings, "writer").await?;
            let wrong = preflight::check(&link, settings).await?;
            if !wrong.is_empty() {
                return Err(Failure::new(wrong.join("; ")));
            }
            let (shard, keeps) = (self.shared.number, self.in_doubt.is_some());
            let former =
                Former { instance: self.shared.instance, epoch: self.epoch(), server_process: self.server_process };
            let resumed = ownership::resume(&link, settings, shard, &former, &self.position, keeps).await?;
            // A new segment has no row yet by which a loss would show.
            let has_filled = match self.filled.filter(|_| !self.position.exists) {
                Some((segment, end)) => last_row(&link, &settings.server.schema, shard, segment).await? >= Some(end),
                None => true,
            };
            Ok((link, resumed, has_filled))
        };
        let timeout = settings.server.timeout;
        let (link, resumed, has_filled) =
            tokio::time::timeout(timeout, connected).await.map_err(|_| Failure::late(timeout))??;
        let Some(Resumed { epoch, last, kept }) = resumed else {
            self.failed(Batch::EMPTY, Unconfirmed::NotOwner);
            return Err(Failure::new("another node owns the shard"));
        };
        let confirmed = if self.position.exists { self.position.last } else { 0 };
        if last.unwrap_or_default() < confirmed || !has_filled {
            self.shared.stop_with(LOST.into());
            self.refuse_all();
            return Err(Failure::new(LOST));
        }
        self.position.exists = last.is_some();
        self.next_row = self.position.last + 1;
        self.shared.epoch.store(epoch, Ordering::Relaxed);
        self.server_process = link.process;
        self.link = Some(link);
        if let Some(InDoubt { adoption, reply, first }) = self.in_doubt.take() {
            let is_there = !kept.is_empty();
            if is_there {
                self.add_adopted(&adoption, first, &kept);
            }
            let _ = reply.send(is_there);
        }
        Ok(())
    }

    /// Looks for room on a server that had none.
    pub(super) async fn find_room(&mut self) {
        self.look_again = Instant::now() + LOOK;
        let mut rows = Rows::new();
        rows.filler(self.next_row, USUAL);
        let timeout = self.shared.settings.server.timeout;
        let found = match self.position.exists {
            true => in_time(timeout, self.transact(rows, "ROLLBACK")).await,
            false => in_time(timeout, self.make_segment()).await,
        };
        match found {
            Ok(()) => {
                self.is_full = false;
                self.shared.set_lack(Lack::Disk(self.shared.number), None);
            }
            Err(unconfirmed) => self.failed(Batch::EMPTY, unconfirmed),
        }
    }
}
