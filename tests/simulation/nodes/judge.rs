//! What must hold of every history of several nodes.
//!
//! | promise | holds if |
//! |---|---|
//! | nothing is lost | every recipient of a message that heard 250 was taken by a server, or refused and its sender told, or waits for the next day's allowance |
//! | nothing is given up early | no recipient is given up that no server refused |
//! | one owner | in `watch`: the node that begins a transaction owns the message's shard in the database at that moment |
//! | one owner to the end | the node that sent a final dot owned the message's shard a moment before it came, also if it did not run in the middle of the message |
//! | recorded is recorded | in `watch`: a recipient is not tried again after the spool has recorded that it was relayed |
//! | no duplicates | a recipient that was taken twice was taken for the second time because the relay had not recorded the first: something was wrong with the node or the database while its attempt was under way or its result unwritten, or the server's answer never came; or the attempt taken second was under way before on such a node |
//! | caps | no server gets more than it bears from all nodes together: by minute and day here, the others in `server`. At a customer's own server, what a node sent in trouble is not counted: the next owner cannot know of it |
//! | a day is used | Mailjet got as many recipients as the nodes took of its day, but for those that died with a node and those that a node took without hearing so, because the database's answer was late or lost |
//! | mail of others goes on | mail of a customer whose server takes everything waits no longer than the bound, unless something is wrong with the database or with the node that took it or owns its shard |

use std::collections::HashMap;
use std::time::Duration;

use super::LEASE;
use super::world::SHARDS;
use crate::simulation::book::{Book, Facts, Heard, Submission, Take, Trouble};
use crate::simulation::network::lock;
use crate::simulation::{judge, site};

/// How long a final dot may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// How long before and after something went wrong an attempt may be affected by it.
const AFFECTED: Duration = Duration::from_secs(15);
/// How long a counter may be unsaved.
const UNSAVED: Duration = Duration::from_millis(2500);
/// How long mail may wait with which nothing is wrong. A shard that moves to another node waits up to ten seconds for its attempts.
const BOUND: Duration = Duration::from_secs(14);
/// How many recipients of a day may be lost with each trouble of a node.
const LOST_OF_DAY: usize = 6;
/// How long mail may wait after something was wrong: until two leases are over, and then for its retry.
const RECOVERY: Duration = Duration::from_secs(2 * LEASE.as_secs() + 20);

/// Who owned a shard from when on.
pub struct Owned {
    pub at: Duration,
    pub shard: u32,
    pub node: Option<usize>,
}

/// A recipient of an acknowledged message that no server took, and of whom no sender heard.
pub struct Left<'a> {
    pub submission: &'a Submission,
    pub address: &'a str,
}

/// Returns what is left to do.
pub fn left(facts: &Facts) -> Vec<Left<'_>> {
    let mut left = Vec::new();
    for submission in &facts.submissions {
        let Heard::Accepted(id) = submission.heard else { continue };
        for address in &submission.recipients {
            if facts.takes.iter().any(|take| take.address == *address) {
                continue;
            }
            let is_told = facts.given_up.iter().any(|(given_up, recipient)| *given_up == id && recipient == address)
                || facts.notifications.iter().any(|(_, text)| text.contains(address.as_str()));
            if !is_told {
                left.push(Left { submission, address });
            }
        }
    }
    left
}

/// Returns true if a message may wait for the next day.
pub fn may_wait(facts: &Facts, left: &Left<'_>) -> bool {
    let bears = site::caps_of(site::MAILJET).per_day.map_or(i64::MAX, i64::from);
    site::CUSTOMERS[left.submission.customer].1 == site::MAILJET && facts.day_taken >= bears
}

/// Returns true if nothing more can be tried, because Mailjet has got all that it bears on the day.
pub fn day_is_over(facts: &Facts) -> bool {
    let heard_of = facts.heard_of.get(&site::MAILJET).copied().unwrap_or_default();
    site::caps_of(site::MAILJET).per_day.is_some_and(|bears| heard_of >= bears as usize)
}

/// Is more of the day lost than what went wrong explains? Only mail that waits for it shows that: while there is none, nodes have some left.
fn day_is_used(facts: &Facts, tell: &mut impl FnMut(&'static str, String)) {
    if !left(facts).iter().any(|left| may_wait(facts, left)) {
        return;
    }
    let heard_of = facts.heard_of.get(&site::MAILJET).copied().unwrap_or_default();
    let lost = facts.day_taken - heard_of as i64;
    let explained = facts.day_unheard + (LOST_OF_DAY * (facts.troubles.len() + facts.stops.len())) as i64;
    if lost > explained {
        let taken = facts.day_taken;
        tell("a day is used", format!("nodes took {taken} recipients of Mailjet's day, which got {heard_of}"));
    }
}

/// Looks at everything that was written down, and writes down what is wrong.
pub fn judge(book: &Book, jumps: &[Duration], owned: &[Owned], now: Duration) {
    let mut wrong = Vec::new();
    {
        let facts = book.facts();
        let mut tell = |promise: &'static str, seen: String| wrong.push((promise, seen));
        for left in left(&facts).iter().filter(|left| !may_wait(&facts, left)) {
            let (address, at) = (left.address, left.submission.at.as_secs_f64());
            let seen = format!("{address} was acknowledged at {at:.3} s, and is neither taken nor given up");
            tell("nothing is lost", seen);
        }
        for (id, recipient) in facts.given_up.iter().filter(|(_, recipient)| !facts.refused.contains_key(recipient)) {
            tell("nothing is given up early", format!("{id} was given up for {recipient}, which no server refused"));
        }
        let excuses = |take: &Take, heard: Duration, attempt: Duration| {
            let from = take.begun.saturating_sub(AFFECTED);
            facts.was_in_trouble(node_of(take), from, heard + attempt + AFFECTED)
        };
        judge::duplicates(&facts, excuses, &mut tell);
        one_owner_to_the_end(&facts, owned, &mut tell);
        let in_minute = |take: &Take| {
            let from = take.begun.saturating_sub(AFFECTED);
            !facts.was_in_trouble(node_of(take), from, take.begun + UNSAVED)
        };
        judge::caps(&facts, in_minute, |_| true, jumps, &mut tell);
        day_is_used(&facts, &mut tell);
        for submission in facts.submissions.iter().filter(|it| site::SWIFT.contains(&it.customer)) {
            goes_on(&facts, owned, submission, now, &mut tell);
        }
    }
    wrong.into_iter().for_each(|(promise, seen)| book.wrong(now, promise, seen));
}

fn shard_of(submission: &Submission) -> u32 {
    crc32fast::hash(site::CUSTOMERS[submission.customer].0.as_bytes()) % SHARDS
}

fn one_owner_to_the_end(facts: &Facts, owned: &[Owned], tell: &mut impl FnMut(&'static str, String)) {
    let shards: HashMap<&str, u32> = facts.submissions.iter().map(|it| (it.token.as_str(), shard_of(it))).collect();
    for take in &facts.takes {
        // A sender's notification names no message.
        let Some(shard) = shards.get(take.token.as_str()) else { continue };
        let (node, since) = (node_of(take), take.dot.saturating_sub(ON_ITS_WAY));
        let of_shard = owned.iter().filter(|owned| owned.shard == *shard && owned.at <= take.dot);
        let before = of_shard.clone().rfind(|owned| owned.at <= since);
        let mut owners = before.into_iter().chain(of_shard.filter(|owned| owned.at > since));
        if !owners.any(|owned| owned.node == Some(node)) {
            let (address, dot) = (&take.address, take.dot.as_secs_f64());
            let seen = format!(
                "node{node} sent the end of the message for {address} at {dot:.3} s, which it did not own any more"
            );
            tell("one owner to the end", seen);
        }
    }
}

fn node_of(take: &Take) -> usize {
    lock(&take.link).machine
}

/// Did a message go on within its bound?
fn goes_on(
    facts: &Facts,
    owned: &[Owned],
    submission: &Submission,
    now: Duration,
    tell: &mut impl FnMut(&'static str, String),
) {
    let Heard::Accepted(id) = submission.heard else { return };
    let begun = submission.at;
    let taken = facts.takes.iter().filter(|take| take.token == submission.token).map(|take| take.at).min();
    let until = taken.unwrap_or(now);
    let shard = shard_of(submission);
    // Who owned the shard when the message came, and afterwards.
    let of_shard = owned.iter().filter(|owned| owned.shard == shard && owned.at <= until);
    let before = of_shard.clone().rfind(|owned| owned.at <= begun);
    let owners: Vec<Option<usize>> =
        before.into_iter().chain(of_shard.filter(|owned| owned.at > begun)).map(|owned| owned.node).collect();
    let concerns = |trouble: &&Trouble| match trouble.node {
        None => true,
        node => node == Some(submission.node) || owners.contains(&node),
    };
    let mut troubles: Vec<&Trouble> = facts.troubles.iter().chain(&facts.stops).filter(concerns).collect();
    troubles.sort_by_key(|trouble| trouble.from);
    let (mut waited, mut at) = (Duration::ZERO, begun);
    for trouble in troubles {
        waited += trouble.from.clamp(at, until.max(at)) - at;
        at = at.max((trouble.until + RECOVERY).min(until));
    }
    waited += until.saturating_sub(at);
    if waited > BOUND {
        let (begun, waited) = (begun.as_secs_f64(), waited.as_secs_f64());
        let seen = format!("{id} was acknowledged at {begun:.3} s, and waited for {waited:.3} s with nothing wrong");
        tell("mail of others goes on", seen);
    }
}
