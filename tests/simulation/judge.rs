//! What must hold of every history.
//!
//! | promise | holds if |
//! |---|---|
//! | nothing is lost | every recipient of a message that heard 250 was taken by a server, or given up and its sender told, or is held, or waits |
//! | nothing is given up early | a server refused the recipient, or the message is as old as it may get |
//! | nothing waits for ever | once all is well again, only mail waits that is held or that a cap keeps back |
//! | no duplicates | a recipient that was taken twice was taken for the second time because the relay could not know of the first |
//! | held is held | no transaction begins for a message while an operator holds it |
//! | caps | no server gets more than it bears: by minute and day here, the others in `server`. What left in the last second before a death is not counted: the counters are saved once a second |
//! | signed, and from one address | in `server`, of every message that comes |
//!
//! The relay cannot know of a delivery if the server's answer never reached it, if the process died before it could write the result, if
//! the power failed before the result was synced, or if the disk did not take the result. A message with more recipients than a
//! transaction bears goes in several, and their results are written together once the attempt is over: a death before that repeats all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Book, Facts, Heard, Submission, Take};
use super::network::lock;
use super::site;
use crate::message::{MailKind, QueueId};
use crate::spool::Record;

/// How long an attempt may go on with the next transactions of a message that has more recipients than one bears.
const NEXT_TRANSACTIONS: Duration = Duration::from_secs(45);
/// How long after a server's answer its result may be unwritten: the way of the answer, and a step of the simulation.
const UNWRITTEN: Duration = Duration::from_millis(300);
/// How long after it the result may be unsynced: that, the delay, and the syncs before it.
const UNSYNCED: Duration = Duration::from_millis(1500);
/// How long after a disk is well again it may take until the spool writes again.
const MENDING: Duration = Duration::from_secs(6);
/// How long a counter may be unsaved.
const UNSAVED: Duration = Duration::from_millis(1300);
/// How long an attempt may have been under way when its message was held.
const UNDER_WAY: Duration = Duration::from_secs(20);

/// What went wrong with the machine, and when.
#[derive(Default)]
pub struct Troubles {
    pub kills: Vec<Duration>,
    pub cuts: Vec<Duration>,
    pub stops: Vec<Duration>,
    pub disk: Vec<(Duration, Duration)>,
    pub jumps: Vec<Duration>,
    /// How much else went wrong.
    pub others: usize,
}

impl Troubles {
    /// Returns true if the relay need not know at the end of what it heard at this time, where its attempt may go on for so long.
    fn excuse(&self, heard: Duration, attempt: Duration) -> bool {
        let soon_after =
            |times: &[Duration], most| times.iter().any(|time| (heard..=heard + attempt + most).contains(time));
        soon_after(&self.kills, UNWRITTEN)
            || soon_after(&self.cuts, UNSYNCED)
            || soon_after(&self.stops, UNWRITTEN)
            || self.disk.iter().any(|(from, until)| *from <= heard + attempt + UNSYNCED && heard <= *until + MENDING)
    }

    /// Returns true if a counter need not be saved that was counted at this time.
    fn is_uncounted(&self, at: Duration) -> bool {
        self.kills.iter().chain(&self.cuts).any(|death| (at..at + UNSAVED).contains(death))
    }
}

/// Returns true if no more mail may go to Mailjet on this day. What went wrong may have left some of it unused.
pub fn day_is_used_up(facts: &Facts, troubles: &Troubles) -> bool {
    let wrong =
        troubles.kills.len() + troubles.cuts.len() + troubles.stops.len() + troubles.others + troubles.disk.len();
    day_may_be_used_up(facts, wrong)
}

/// Returns true if so many troubles may have left the day's allowance at Mailjet used up.
pub fn day_may_be_used_up(facts: &Facts, troubles: usize) -> bool {
    let heard_of = facts.heard_of.get(&site::MAILJET).copied().unwrap_or_default();
    site::caps_of(site::MAILJET).per_day.is_some_and(|most| heard_of + 6 * troubles >= most as usize)
}

/// Returns true if a message is one that the cap of a day keeps back.
pub fn may_wait(record: &Record) -> bool {
    record.lane.kind == MailKind::Mail && record.lane.customer.as_str() == "gamma"
}

/// Looks at everything that was written down, and writes down what is wrong. `left` is what the spool still holds.
pub fn judge(book: &Book, troubles: &Troubles, left: &[Record], now: Duration) {
    let mut wrong = Vec::new();
    {
        let facts = book.facts();
        let mut tell = |promise: &'static str, seen: String| wrong.push((promise, seen));
        for submission in &facts.submissions {
            if let Heard::Accepted(id) = submission.heard {
                for address in &submission.recipients {
                    accepted(&facts, troubles, left, (submission, id, address), now, &mut tell);
                }
            }
        }
        duplicates(&facts, |_, heard, attempt| troubles.excuse(heard, attempt), &mut tell);
        held(&facts, &mut tell);
        let is_counted = |take: &Take| !troubles.is_uncounted(take.begun);
        caps(&facts, is_counted, is_counted, &troubles.jumps, &mut tell);
        let used_up = day_is_used_up(&facts, troubles);
        for record in left.iter().filter(|record| record.held.is_none() && !(used_up && may_wait(record))) {
            tell("nothing waits for ever", format!("{} still waits, due at {}", record.id, record.due));
        }
    }
    wrong.into_iter().for_each(|(promise, seen)| book.wrong(now, promise, seen));
}

/// What became of one recipient of a message that heard 250.
fn accepted(
    facts: &Facts,
    troubles: &Troubles,
    left: &[Record],
    (submission, id, address): (&Submission, QueueId, &str),
    now: Duration,
    tell: &mut impl FnMut(&'static str, String),
) {
    if facts.takes.iter().any(|take| take.address == address) {
        return;
    }
    let waits = |record: &Record| {
        record.id == id && record.waiting().any(|(_, recipient)| recipient.address.to_string() == address)
    };
    if left.iter().any(waits) {
        return;
    }
    // The notification names the message and the recipient.
    let is_told = |text: &str| text.contains(address);
    let told = facts.notifications.iter().any(|(_, text)| is_told(text))
        || facts.given_up.iter().any(|(given_up, recipient)| *given_up == id && recipient == address)
        || left.iter().any(|record| record.lane.kind == MailKind::Bounce)
        || !troubles.disk.is_empty();
    let is_refused = facts.refused.contains_key(address);
    // The clock of the day counts, which somebody may have set ahead.
    let jumped: Duration = troubles.jumps.iter().map(|_| Duration::from_secs(300)).sum();
    let is_old = now + jumped >= submission.at + site::GIVE_UP;
    if !told {
        tell("nothing is lost", format!("{id} heard 250, and {address} is neither taken nor given up nor left"));
    } else if !is_refused && !is_old {
        tell("nothing is given up early", format!("{id} was given up for {address}, which no server refused"));
    }
}

/// Looks for recipients that got a message twice. `excuses` says whether the relay need not know at the end of what it heard at this time,
/// where its attempt may go on for so long.
pub fn duplicates(
    facts: &Facts,
    excuses: impl Fn(&Take, Duration, Duration) -> bool,
    tell: &mut impl FnMut(&'static str, String),
) {
    let mut by_address: BTreeMap<&str, Vec<&Take>> = BTreeMap::new();
    for take in facts.takes.iter().filter(|take| take.server != site::SENDERS) {
        by_address.entry(&take.address).or_default().push(take);
    }
    for (address, takes) in by_address {
        for pair in takes.windows(2) {
            let [first, second] = pair else { continue };
            let submission = facts.submissions.iter().find(|submission| submission.token == first.token);
            let most = site::caps_of(first.server).recipients_per_transaction as usize;
            let goes_on = submission.is_some_and(|submission| submission.recipients.len() > most);
            let attempt = if goes_on { NEXT_TRANSACTIONS } else { Duration::ZERO };
            // A node that was frozen goes on with what it was sending, although another one has tried the message meanwhile.
            let machine = |take: &Take| lock(&take.link).machine;
            let was_under_way = machine(first) != machine(second) && excuses(second, second.at, attempt);
            if !was_under_way && first.heard().is_some_and(|heard| !excuses(first, heard, attempt)) {
                let (first, second) = (first.at.as_secs_f64(), second.at.as_secs_f64());
                tell("no duplicates", format!("{address} was taken at {first:.3} s, and again at {second:.3} s"));
            }
        }
    }
}

fn held(facts: &Facts, tell: &mut impl FnMut(&'static str, String)) {
    for submission in &facts.submissions {
        let Heard::Accepted(id) = submission.heard else { continue };
        let Some((from, until)) = facts.held.get(&id) else { continue };
        let of_it = facts.takes.iter().filter(|take| take.token == submission.token);
        for take in of_it.filter(|take| (*from + UNDER_WAY..*until).contains(&take.begun)) {
            let (held, taken) = (from.as_secs_f64(), take.at.as_secs_f64());
            tell("held is held", format!("{id} was held at {held:.3} s, and taken at {taken:.3} s"));
        }
    }
}

/// Looks for caps of a minute and of a day that were passed. `in_minute` and `in_day` say of which messages the relay has to know there.
pub fn caps(
    facts: &Facts,
    in_minute: impl Fn(&Take) -> bool,
    in_day: impl Fn(&Take) -> bool,
    jumps: &[Duration],
    tell: &mut impl FnMut(&'static str, String),
) {
    for server in 0..site::SERVERS.len() {
        let caps = site::caps_of(server);
        let takes: Vec<&Take> = facts.takes.iter().filter(|take| take.server == server).collect();
        // A message with several recipients is taken for all of them at once.
        let mut times: Vec<Duration> = takes.iter().filter(|take| in_minute(take)).map(|take| take.begun).collect();
        times.sort_unstable();
        times.dedup();
        let minute = Duration::from_secs(60);
        if let Some(most) = caps.per_minute {
            for window in times.windows(most as usize + 1) {
                let (first, last) = (window[0], window[most as usize]);
                let jumped = jumps.iter().any(|at| (first.saturating_sub(minute)..=last).contains(at));
                if last - first < minute && !jumped {
                    let from = first.as_secs_f64();
                    tell(
                        "caps",
                        format!(
                            "{} got {} messages in the minute from {from:.3} s on",
                            site::SERVERS[server],
                            most + 1
                        ),
                    );
                    break;
                }
            }
        }
        let of_day = takes.iter().filter(|take| in_day(take)).count();
        if let Some(most) = caps.per_day.filter(|most| of_day > *most as usize) {
            let seen = format!("{} got {of_day} recipients on a day, and bears {most}", site::SERVERS[server]);
            tell("caps", seen);
        }
    }
}
