//! Sessions of operators.
//!
//! A session is 256 random bits in a cookie. The relay stores only their SHA-256, so that neither the database nor a backup lets anybody
//! in. A session ends when its operator logs out, gets another role or password, or is removed. It also ends after a time without requests,
//! and after a fixed time in any case.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::operate::tokens::secret::Digest;
use crate::time::Timestamp;

/// The minimum time between two writes of a session's last use.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// The maximum number of sessions of one operator. A further login ends the one that was idle the longest.
const OF_ONE: usize = 20;

/// The lifetime of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// The time without requests after which a session ends.
    pub idle: Duration,
    /// The time after the login at which a session ends.
    pub longest: Duration,
}

/// An hour without requests, and twelve hours in any case.
impl Default for SessionTimes {
    fn default() -> Self {
        SessionTimes { idle: Duration::from_secs(3600), longest: Duration::from_secs(12 * 3600) }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub operator: String,
    /// The address of the login; empty if it is unknown.
    pub address: String,
    /// When the operator logged in.
    pub created: Timestamp,
    /// When it was last used.
    pub last_seen: Timestamp,
    /// The stored value of `last_seen`.
    pub saved: Timestamp,
}

impl Session {
    /// Makes a session that begins now.
    pub fn begin(operator: &str, address: Option<IpAddr>, now: Timestamp) -> Self {
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        Session { operator: operator.to_owned(), address, created: now, last_seen: now, saved: now }
    }
}

/// The state of a presented session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is valid. `save` is true if its last use must be stored now.
    Open {
        operator: String,
        save: bool,
    },
    /// It has ended, and was removed.
    Over,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Sessions {
    times: SessionTimes,
    open: Mutex<HashMap<Digest, Session>>,
}

impl Sessions {
    pub fn new(times: SessionTimes, kept: Vec<(Digest, Session)>) -> Self {
        Sessions { times, open: Mutex::new(kept.into_iter().collect()) }
    }

    /// Replaces the sessions in memory with the stored ones. A later use in memory is kept.
    pub fn replace(&self, kept: Vec<(Digest, Session)>) {
        let mut open = self.open();
        let before = std::mem::take(&mut *open);
        *open = kept
            .into_iter()
            .map(|(digest, mut session)| {
                if let Some(was) = before.get(&digest) {
                    session.last_seen = session.last_seen.max(was.last_seen);
                    session.saved = session.saved.max(was.saved);
                }
                (digest, session)
            })
            .collect();
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, session: &Session, now: Timestamp) -> bool {
        // Even if the clock was set back, no session lasts longer than the two times together.
        now.since(session.last_seen) >= self.times.idle || now.since(session.created) >= self.times.longest
    }

    /// Returns the state of a session, and records its use.
    pub fn look(&self, digest: &Digest, now: Timestamp) -> Seen {
        let mut open = self.open();
        let Some(session) = open.get_mut(digest) else { return Seen::Unknown };
        if self.is_over(session, now) {
            open.remove(digest);
            return Seen::Over;
        }
        session.last_seen = now;
        let save = now.since(session.saved) >= SAVE_EVERY || now < session.saved;
        if save {
            session.saved = now;
        }
        Seen::Open { operator: session.operator.clone(), save }
    }

    /// Returns true if a session is valid, without recording a use: for requests that a page sends by itself.
    pub fn is_open(&self, digest: &Digest, now: Timestamp) -> bool {
        self.open().get(digest).is_some_and(|session| !self.is_over(session, now))
    }

    /// Adds a session. Returns the sessions that it ends: all expired ones, and the longest idle ones of this operator beyond the limit.
    pub fn begin(&self, digest: Digest, session: Session, now: Timestamp) -> Vec<Digest> {
        let mut open = self.open();
        let mut ended: Vec<Digest> =
            open.iter().filter(|(_, known)| self.is_over(known, now)).map(|(digest, _)| *digest).collect();
        let mut own: Vec<(Timestamp, Digest)> = open
            .iter()
            .filter(|(digest, known)| known.operator == session.operator && !ended.contains(digest))
            .map(|(digest, known)| (known.last_seen, *digest))
            .collect();
        own.sort_by_key(|(seen, _)| *seen);
        let beyond = (own.len() + 1).saturating_sub(OF_ONE);
        ended.extend(own.into_iter().take(beyond).map(|(_, digest)| digest));
        ended.iter().for_each(|digest| drop(open.remove(digest)));
        open.insert(digest, session);
        ended
    }

    /// Ends a session. Returns the operator's name if there was one.
    pub fn end(&self, digest: &Digest) -> Option<String> {
        self.open().remove(digest).map(|session| session.operator)
    }

    /// Ends every session of an operator except `keep`. Returns the ended ones.
    pub fn end_all_of(&self, operator: &str, keep: Option<&Digest>) -> Vec<Digest> {
        let mut open = self.open();
        let of_operator = open.iter().filter(|(digest, known)| known.operator == operator && Some(*digest) != keep);
        let ended: Vec<Digest> = of_operator.map(|(digest, _)| *digest).collect();
        ended.iter().for_each(|digest| drop(open.remove(digest)));
        ended
    }

    /// Returns the valid sessions of an operator, the last used first. True marks the session of the request.
    pub fn of(&self, operator: &str, asking: Option<&Digest>, now: Timestamp) -> Vec<(Session, bool)> {
        let open = self.open();
        let of_operator = open.iter().filter(|(_, known)| known.operator == operator && !self.is_over(known, now));
        let mut found: Vec<(Session, bool)> =
            of_operator.map(|(digest, session)| (session.clone(), Some(digest) == asking)).collect();
        found.sort_by_key(|(session, _)| std::cmp::Reverse(session.last_seen));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + 1000 * second)
    }

    fn begin(sessions: &Sessions, operator: &str, name: &str, second: u64) -> Vec<Digest> {
        sessions.begin(Digest::of(name), Session::begin(operator, None, at(second)), at(second))
    }

    fn is_open(seen: &Seen) -> bool {
        matches!(seen, Seen::Open { .. })
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_after_its_time() {
        let times = SessionTimes { idle: Duration::from_secs(100), longest: Duration::from_secs(250) };
        let sessions = Sessions::new(times, Vec::new());
        begin(&sessions, "anna", "a", 0);
        let look = |name: &str, second| sessions.look(&Digest::of(name), at(second));
        assert!(is_open(&look("a", 99)) && is_open(&look("a", 198)) && is_open(&look("a", 249)));
        assert_eq!((look("a", 250), look("a", 250)), (Seen::Over, Seen::Unknown));
        begin(&sessions, "anna", "b", 300);
        assert!(sessions.is_open(&Digest::of("b"), at(399)) && !sessions.is_open(&Digest::of("b"), at(400)));
        assert_eq!(look("b", 400), Seen::Over, "what a page asks by itself keeps no session open");
    }

    #[test]
    fn when_it_was_seen_is_written_once_a_minute() {
        let sessions = Sessions::new(SessionTimes::default(), Vec::new());
        begin(&sessions, "anna", "a", 0);
        let saved = [1, 59, 60, 61, 119, 120]
            .map(|second| matches!(sessions.look(&Digest::of("a"), at(second)), Seen::Open { save: true, .. }));
        assert_eq!(saved, [false, false, true, false, false, true]);
    }

    #[test]
    fn an_operator_has_a_bounded_number_of_sessions_and_the_idlest_ends() {
        let sessions = Sessions::new(SessionTimes::default(), Vec::new());
        begin(&sessions, "bo", "other", 0);
        for n in 0..OF_ONE {
            assert!(begin(&sessions, "anna", &n.to_string(), n as u64).is_empty());
        }
        sessions.look(&Digest::of("0"), at(50));
        assert_eq!(begin(&sessions, "anna", "new", 60), [Digest::of("1")]);
        assert!(is_open(&sessions.look(&Digest::of("other"), at(60))));
        assert_eq!(sessions.of("anna", Some(&Digest::of("new")), at(60)).iter().filter(|(_, own)| *own).count(), 1);
        assert_eq!(sessions.end_all_of("anna", Some(&Digest::of("new"))).len(), OF_ONE - 1);
        assert_eq!(sessions.end(&Digest::of("new")), Some("anna".into()));
        assert_eq!(sessions.end(&Digest::of("new")), None);
        assert!(is_open(&sessions.look(&Digest::of("other"), at(61))));
    }
}
