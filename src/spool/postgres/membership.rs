//! The node's part in the cluster: renews its lease, looks at the other nodes, takes shards and hands them over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::committer::Committer;
use super::inbox::Inbox;
use super::leases::{Leases, lease_end};
use super::link::{Failure, Link, in_time};
use super::node::WritingTrouble;
use super::placement::{self, View};
use super::shards::Shards;
use super::shared::Shared;
use super::{carrier, overview, ownership, preflight, recovery, transit};
use crate::spool::owner::Owner;
use crate::spool::{Configuration, Notice};

/// How long running attempts may continue in a shard that is to be handed over. Its other mail waits meanwhile.
const LAST_ATTEMPTS: Duration = Duration::from_secs(10);
/// How long a shard stays if its attempts took longer than that, or their results cannot be written.
const STAYS: Duration = Duration::from_secs(60);
/// The pause before a shard in trouble is asked again whether its results are in the log.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the journal may take for the last lines of a shard that is given up. It reads five times a second.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The pause before a shard that could not be taken is tried again.
const TAKE_AGAIN: Duration = Duration::from_secs(1);
/// How often the node checks whether the attempts have ended, and the journal has the lines.
const LOOK: Duration = Duration::from_millis(20);

/// Returns how often a lease of this length is renewed.
fn renewal_of(lease: Duration) -> Duration {
    (lease / 10).min(Duration::from_secs(1))
}

/// This process as one of the nodes.
pub(super) struct Membership {
    node: Arc<Shards>,
    /// The shards that this process owns or is about to own. Each has a task.
    at_work: Mutex<BTreeSet<u32>>,
    tasks: TaskTracker,
    /// Since when this process has seen a shard without an owner.
    orphans: Mutex<BTreeMap<u32, Instant>>,
    /// When this process could renew its lease again after it had ended, because the database was away for everybody or for this one.
    returned: Mutex<Option<Instant>>,
    /// Until when a shard stays because its attempts did not end, or their results could not be written.
    staying: Mutex<BTreeMap<u32, Instant>>,
    /// The shards that this process should have and cannot take.
    not_taken: Mutex<BTreeMap<u32, NotTaken>>,
    /// The other nodes' renewals that this process has seen.
    leases: Mutex<Leases>,
}

/// A shard that could not be taken.
struct NotTaken {
    since: Instant,
    /// When to try again.
    again: Instant,
    why: String,
    /// True once the operator was told.
    is_told: bool,
}

impl Membership {
    pub fn new(node: Arc<Shards>) -> Arc<Membership> {
        Arc::new(Membership {
            node,
            at_work: Mutex::default(),
            tasks: TaskTracker::new(),
            orphans: Mutex::default(),
            returned: Mutex::default(),
            staying: Mutex::default(),
            not_taken: Mutex::default(),
            leases: Mutex::default(),
        })
    }

    /// Chooses the shards for this process's start, and marks them, so that a renewal meanwhile does not take them again.
    pub async fn first(self: &Arc<Self>, link: &Link) -> Result<Vec<AtWork>, Failure> {
        let view = self.look(link).await?;
        Ok(self.plan(&view).take.into_iter().filter_map(|shard| self.set_at_work(shard)).collect())
    }

    /// Takes these shards and reads their logs. A shard whose log cannot be read is tried again later, so that it keeps no other shard's
    /// mail waiting. Fails if none of all shards can be read.
    pub async fn begin(self: &Arc<Self>, first: Vec<AtWork>) -> Result<(), Failure> {
        let mut unreadable = 0;
        for at_work in first {
            match self.take(at_work.shard).await {
                Ok(Some((shared, committer))) => drop(self.tasks.spawn(work(at_work, shared, committer))),
                Ok(None) => {}
                Err(NotTakenBecause::Unreadable(failure)) => {
                    unreadable += 1;
                    if unreadable == self.node.shards {
                        return Err(failure);
                    }
                    self.could_not_take(at_work.shard, failure, true);
                }
                Err(NotTakenBecause::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Marks a shard as one that this process is about to take. Returns `None` if it is already marked.
    fn set_at_work(self: &Arc<Self>, shard: u32) -> Option<AtWork> {
        self.at_work().insert(shard).then(|| AtWork { membership: Arc::clone(self), shard })
    }

    /// Renews the lease as long as the process has one, and reacts to changes among the nodes.
    pub async fn keep(self: Arc<Self>) {
        let settings = &self.node.settings;
        let pause = renewal_of(settings.server.lease);
        let mut link = None;
        let mut asked_last = Instant::now();
        loop {
            let asked = Instant::now();
            let renewed = tokio::time::timeout(pause * 4, self.renew(&mut link)).await;
            match renewed.unwrap_or_else(|_| Err(Failure::late(pause * 4))) {
                Ok(Some(view)) => {
                    if !self.node.has_lease() {
                        *self.returned.lock().expect("nothing panics while it holds the time") = Some(Instant::now());
                    }
                    self.node.set_lease(lease_end(asked, settings.server.lease));
                    self.node.set_trouble(WritingTrouble::Lease, None);
                    let names = view.nodes.iter().map(|node| node.name.clone());
                    self.node.others.store(Arc::new(names.filter(|name| *name != settings.server.node).collect()));
                    self.compare(&view);
                    self.act(&view);
                }
                // It has just left.
                Ok(None) if self.node.is_stopping() => return,
                Ok(None) => {
                    return self.node.stop_with("another node owns mail of this one by now, or has its name".into());
                }
                Err(failure) => {
                    link = None;
                    if !self.node.has_lease() {
                        let why = format!("the lease could not be renewed in time: {}", failure.why);
                        self.node.set_trouble(WritingTrouble::Lease, Some(why));
                    }
                }
            }
            if asked_last.elapsed() >= settings.server.lease
                && let Some(open) = &link
            {
                asked_last = Instant::now();
                // Not longer, because the lease must be renewed.
                match tokio::time::timeout(pause * 2, preflight::check(open, settings)).await {
                    Ok(Ok(wrong)) => {
                        self.node.set_trouble(WritingTrouble::Preflight, (!wrong.is_empty()).then(|| wrong.join("; ")));
                    }
                    // Answers come in order, so the next renewal would wait for this one.
                    _ => link = None,
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews the lease, and returns the nodes and owners. Returns `None` if this process is no longer a node.
    async fn renew(&self, link: &mut Option<Link>) -> Result<Option<View>, Failure> {
        let settings = &self.node.settings;
        let link = match link {
            Some(open) => open,
            None => link.insert(Link::open(settings, "lease").await?),
        };
        match ownership::renew(link, settings, self.node.instance).await? {
            true => self.look(link).await.map(Some),
            false => Ok(None),
        }
    }

    /// Reads the nodes that are alive, and the owners.
    async fn look(&self, link: &Link) -> Result<View, Failure> {
        let settings = &self.node.settings;
        let view = ownership::look(link, settings).await?;
        let mut leases = self.leases.lock().expect("nothing panics while it holds the leases");
        Ok(leases.living(view, settings.server.lease, Instant::now()))
    }

    /// Compares this node's configuration of customers with that of the others.
    fn compare(&self, view: &View) {
        let known = view.nodes.iter().map(|node| node.configuration.as_str()).filter(|known| !known.is_empty());
        let own = view.nodes.iter().find(|node| node.name == self.node.settings.server.node);
        let Some(digest) = own.map(|own| own.configuration.clone()).filter(|own| !own.is_empty()) else { return };
        let differs = overview::usual(known).is_some_and(|usual| *usual != digest);
        let before = self.node.configuration.swap(Some(Arc::new(Configuration { digest, differs })));
        if differs && !before.is_some_and(|before| before.differs) {
            tracing::warn!(
                "this node's customers, keys, routes or tiers are not those of most nodes; `postbud node list` marks the node"
            );
        }
    }

    fn plan(&self, view: &View) -> placement::Plan {
        let now = Instant::now();
        let settings = &self.node.settings;
        let mut orphans = self.orphans.lock().expect("nothing panics while it holds the orphans");
        let seen: BTreeSet<u32> = view.orphans().collect();
        orphans.retain(|shard, _| seen.contains(shard));
        for shard in seen {
            orphans.entry(shard).or_insert(now);
        }
        let at_work = self.at_work();
        let is_left = |shard| orphans.get(&shard).is_some_and(|since| *since + settings.server.lease * 2 < now);
        placement::plan(view, &settings.server.node, |shard| at_work.contains(&shard), is_left)
    }

    fn act(self: &Arc<Self>, view: &View) {
        if self.node.is_stopping() || self.node.stopped().is_some() {
            return;
        }
        let plan = self.plan(view);
        // After a failover of the database no node has a lease. Whoever is back first must not take the others for dead.
        let returned = *self.returned.lock().expect("nothing panics while it holds the time");
        let has_just_returned = returned.is_some_and(|returned| returned.elapsed() < self.node.settings.server.lease);
        let may_be_back = |shard: u32| {
            let owner = view.owners.get(shard as usize);
            has_just_returned
                && owner.is_some_and(|owner| !owner.is_empty() && *owner != self.node.settings.server.node)
        };
        self.forget_taken_by_others(view);
        for shard in plan.take.into_iter().filter(|shard| !may_be_back(*shard) && self.may_try(*shard)) {
            if let Some(at_work) = self.set_at_work(shard) {
                let membership = Arc::clone(self);
                self.tasks.spawn(async move {
                    match membership.take(shard).await {
                        Ok(Some((shared, committer))) => work(at_work, shared, committer).await,
                        Ok(None) => {}
                        Err(NotTakenBecause::Unreadable(failure) | NotTakenBecause::Failed(failure)) => {
                            membership.could_not_take(shard, failure, false);
                        }
                    }
                });
            }
        }
        let staying = |shard: &u32| {
            let staying = self.staying.lock().expect("nothing panics while it holds the times");
            staying.get(shard).is_some_and(|until| Instant::now() < *until)
        };
        let give = plan.give.filter(|shard| !staying(shard)).and_then(|shard| self.node.shard(shard));
        if let Some(shared) = give.filter(|shard| !shard.is_leaving()) {
            self.tasks.spawn(hand_over(Arc::clone(self), shared));
        }
    }

    /// Notes that a shard could not be taken. The operator is told if that lasts for a lease, or `at_once`.
    fn could_not_take(&self, shard: u32, failure: Failure, at_once: bool) {
        let now = Instant::now();
        let mut not_taken = self.not_taken();
        let entry = not_taken.entry(shard).or_insert_with(|| NotTaken {
            since: now,
            again: now,
            why: String::new(),
            is_told: false,
        });
        entry.again = now + TAKE_AGAIN;
        if entry.why != failure.why {
            tracing::warn!(shard, error = failure.why, "a shard could not be taken; tried again until it can");
            entry.why = failure.why.clone();
        }
        if !entry.is_told && (at_once || entry.since.elapsed() >= self.node.settings.server.lease) {
            entry.is_told = true;
            self.node.settings.notices.tell(Notice::ShardWaits { shard, why: failure.why });
        }
    }

    /// Returns false shortly after a shard could not be taken.
    fn may_try(&self, shard: u32) -> bool {
        self.not_taken().get(&shard).is_none_or(|not_taken| not_taken.again <= Instant::now())
    }

    /// Notes that a shard has an owner that can read it: this process or another one.
    fn is_taken(&self, shard: u32) {
        if self.not_taken().remove(&shard).is_some_and(|not_taken| not_taken.is_told) {
            self.node.settings.notices.tell(Notice::ShardGoesOn { shard });
        }
    }

    /// Leaves shards that could not be taken to other nodes that have them by now.
    fn forget_taken_by_others(&self, view: &View) {
        let own = &self.node.settings.server.node;
        let is_others = |shard: u32| {
            let owner = view.owners.get(shard as usize);
            owner.is_some_and(|owner| owner != own && view.nodes.iter().any(|node| node.name == *owner))
        };
        let theirs: Vec<u32> = self.not_taken().keys().copied().filter(|shard| is_others(*shard)).collect();
        theirs.into_iter().for_each(|shard| self.is_taken(shard));
    }

    fn not_taken(&self) -> MutexGuard<'_, BTreeMap<u32, NotTaken>> {
        self.not_taken.lock().expect("nothing panics while it holds the shards that were not taken")
    }

    /// Takes a shard and reads its log. Returns `None` if another node has it.
    async fn take(&self, shard: u32) -> Result<Option<(Arc<Shared>, Committer)>, NotTakenBecause> {
        let node = &self.node;
        let limit = node.settings.server.timeout;
        let link = Link::open(&node.settings, "writer").await?;
        let wrong = in_time(limit, preflight::check(&link, &node.settings)).await?;
        if !wrong.is_empty() {
            return Err(Failure::new(wrong.join("; ")).into());
        }
        let taken = in_time(limit, ownership::take(&link, &node.settings, node.instance, shard)).await?;
        let Some(taken) = taken else { return Ok(None) };
        let (inbox, receiver) = Inbox::new();
        let shared = Arc::new(Shared::new(Arc::clone(&node.node), shard, &taken, inbox));
        let read = async {
            let position = recovery::recover(&shared, &link, taken.was_clean).await?;
            in_time(limit, carrier::take_over(&shared, &link)).await?;
            Ok::<_, Failure>(position)
        };
        let position = match read.await {
            Ok(position) => position,
            Err(failure) if failure.is_answer() || failure.is_mistake => {
                return Err(NotTakenBecause::Unreadable(failure));
            }
            Err(failure) => return Err(failure.into()),
        };
        let committer = Committer::new(Arc::clone(&shared), receiver, link, position);
        self.is_taken(shard);
        node.opened(Arc::clone(&shared));
        if node.is_stopping() {
            shared.inbox.stop();
        }
        Ok(Some((shared, committer)))
    }

    /// Waits until everything is written, gives all shards up, and leaves.
    pub async fn end(&self) {
        let settings = &self.node.settings;
        let link = Link::open(settings, "lease").await;
        let instance = self.node.instance;
        if let Ok(link) = &link {
            let leaving = ownership::begin_to_leave(link, &settings.server.schema, instance);
            let _ = tokio::time::timeout(settings.server.timeout, leaving).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        let left = async {
            match &link {
                Ok(link) => ownership::leave(link, &settings.server.schema, instance).await,
                Err(failure) => Err(failure.clone()),
            }
        };
        match tokio::time::timeout(settings.server.timeout, left).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => tracing::warn!(error = failure.why, "the node could not leave cleanly"),
            Err(_) => tracing::warn!("the node could not leave cleanly: the database does not answer"),
        }
    }

    fn at_work(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.at_work.lock().expect("nothing panics while it holds the shards at work")
    }
}

/// Why a shard could not be taken.
enum NotTakenBecause {
    /// This process owns it, but the server says that its log cannot be read, or the log is damaged.
    Unreadable(Failure),
    Failed(Failure),
}

impl From<Failure> for NotTakenBecause {
    fn from(failure: Failure) -> Self {
        NotTakenBecause::Failed(failure)
    }
}

/// A shard with a task. When the task ends for whatever reason, the shard can be taken again. If the committer panicked, the whole node
/// stops, so that nobody waits for it.
pub(super) struct AtWork {
    membership: Arc<Membership>,
    shard: u32,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.membership.node.stop_with("the committer panicked".into());
        }
        self.membership.at_work().remove(&self.shard);
    }
}

/// Works on a shard until it is given up.
async fn work(at_work: AtWork, shared: Arc<Shared>, mut committer: Committer) {
    tracing::info!(shard = shared.number, "this node has a shard");
    let adopting = tokio::spawn(transit::adopt(Arc::clone(&shared)));
    committer.run().await;
    adopting.abort();
    let _ = adopting.await;
    journal_has_all(&shared).await;
    // Answer no more calls before another node can own the shard.
    at_work.membership.node.gave_up(&shared);
    committer.release().await;
}

/// Waits for a moment until the journal has all lines of a shard that is given up. The next owner's journal gets the others.
async fn journal_has_all(shared: &Shared) {
    let began = Instant::now();
    while shared.stopped().is_none() && shared.outbox().has_unconfirmed_lines() && began.elapsed() < LAST_LINES {
        tokio::time::sleep(LOOK).await;
    }
}

/// Hands a shard over when no attempt is running in it and all results are in the log, because the next owner would make an attempt again
/// whose result it does not find. If that takes long, the shard stays.
async fn hand_over(membership: Arc<Membership>, shared: Arc<Shared>) {
    shared.set_leaving(true);
    if results_are_written(&shared).await {
        tracing::info!(shard = shared.number, "this node hands a shard over");
        return shared.inbox.stop();
    }
    if shared.node.is_stopping() {
        return;
    }
    let until = Instant::now() + STAYS;
    membership.staying.lock().expect("nothing panics while it holds the times").insert(shared.number, until);
    shared.set_leaving(false);
    shared.node.changed.notify_one();
}

/// Waits until the results of all attempts are in the log of a shard that leases nothing more. Returns false if that takes long, or the
/// process is to stop.
async fn results_are_written(shared: &Shared) -> bool {
    let began = Instant::now();
    while !shared.node.is_stopping() && began.elapsed() <= LAST_ATTEMPTS {
        let is_running = shared.index().leased() > 0;
        if !is_running && shared.synced().await.is_ok() {
            return true;
        }
        tokio::time::sleep(if is_running { LOOK } else { AGAIN }).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::committer::tests::committer;
    use super::super::inbox::{Item, Request};
    use super::*;
    use crate::spool::Error;
    use crate::spool::index::Place;
    use crate::spool::postgres::Settings;
    use crate::test_postgres;
    use crate::test_skip::skip;

    #[tokio::test]
    async fn a_shard_whose_results_cannot_be_written_stays() {
        let server = match test_postgres::shared() {
            Ok(server) => server,
            Err(why) => return skip("a_shard_whose_results_cannot_be_written_stays", why),
        };
        let (mut committer, shared) = committer(server.settings("results_first")).await;
        let membership = Membership::new(Arc::new(Shards::new(Arc::clone(&shared.node))));
        tokio::time::pause();
        let refuse = |request: Request| request.refuse(|| Error::Stopped("it failed".into()));
        // The test is the committer.
        let fails = async {
            loop {
                refuse(committer.next_request().await)
            }
        };
        tokio::select! {
            () = hand_over(Arc::clone(&membership), Arc::clone(&shared)) => {}
            () = fails => {}
        }
        assert!(!shared.is_leaving() && membership.staying.lock().unwrap().contains_key(&0));
        let recovers = async {
            refuse(committer.next_request().await);
            let Request::Write(item @ Item::Barrier(_)) = committer.next_request().await else { panic!("no barrier") };
            assert!(shared.is_leaving());
            item.answer();
        };
        tokio::join!(hand_over(Arc::clone(&membership), Arc::clone(&shared)), recovers);
        assert!(shared.is_leaving());
        assert!(shared.synced().await.is_err(), "the shard takes nothing more");
    }

    #[tokio::test]
    async fn a_shard_is_given_up_after_the_journal_has_its_lines_or_has_not_taken_them_for_a_while() {
        let server = match test_postgres::shared() {
            Ok(server) => server,
            Err(why) => return skip("a_shard_is_given_up_after_the_journal_has_its_lines", why),
        };
        let settings = Settings { has_journal: true, ..server.settings("last_lines") };
        let (_committer, shared) = committer(settings).await;
        tokio::time::pause();
        let end = |at| Place { segment: 1, at };
        shared.outbox().synced([&b"one\n"[..]].into_iter(), end(1), 0);
        let journal = async {
            tokio::time::sleep(LAST_LINES / 2).await;
            shared.outbox().confirm(end(1));
        };
        tokio::join!(
            async {
                journal_has_all(&shared).await;
                assert!(!shared.outbox().has_unconfirmed_lines())
            },
            journal
        );
        shared.outbox().synced([&b"two\n"[..]].into_iter(), end(2), 0);
        journal_has_all(&shared).await;
        assert!(shared.outbox().has_unconfirmed_lines());
    }
}
