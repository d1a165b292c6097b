//! Delivery stops for a while where results cannot be recorded, because sending on would only make duplicates; and where mail cannot
//! be read for want of open files or memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::spool;

/// How long delivery stops at a time.
pub(super) const PAUSE: Duration = Duration::from_secs(30);

/// Until when nothing is sent, where delivery has stopped. By the monotonic clock: setting the other one changes nothing.
#[derive(Debug, Default)]
pub(super) struct Halt(ArcSwapOption<Instant>);

impl Halt {
    /// Stops delivery. Returns true if that is news: it had not stopped, or had gone on for as long as it stops at a time.
    pub fn begin(&self) -> bool {
        let now = Instant::now();
        let before = self.0.swap(Some(Arc::new(now + PAUSE)));
        before.is_none_or(|until| *until + PAUSE <= now)
    }

    /// How long nothing is sent from now on; `None` while delivery goes on.
    pub fn left(&self) -> Option<Duration> {
        let until = self.0.load();
        until.as_deref()?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Returns true if delivery has gone on for as long as it stops at a time: trouble that lasted would have stopped it again.
    pub fn is_over(&self) -> bool {
        self.0.load().as_deref().is_none_or(|until| *until + PAUSE < Instant::now())
    }
}

/// What an operator does where delivery stops.
pub(super) fn remedy(why: &spool::Error) -> &'static str {
    match why {
        why if spool::is_short_of_means(why) => {
            "Mail cannot be read: give the process more open files (LimitNOFILE=, ulimit -n) or memory, or allow it fewer \
             [limits] connections and [delivery] connections"
        }
        spool::Error::Stopped(_) => "A restart reads what is on disk",
        _ => "Results cannot be recorded: see to the spool's disk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_news_once() {
        let halt = Halt::default();
        assert!(halt.left().is_none() && halt.is_over());
        assert!(halt.begin());
        assert!(!halt.begin(), "another worker's");
        assert!(halt.left().is_some_and(|left| left <= PAUSE) && !halt.is_over());
    }

    #[test]
    fn an_alert_about_a_stop_says_what_to_do() {
        let of = |errno: rustix::io::Errno| remedy(&spool::Error::Io { what: "reading".into(), source: errno.into() });
        assert!(of(rustix::io::Errno::MFILE).contains("LimitNOFILE="));
        assert!(of(rustix::io::Errno::IO).contains("the spool's disk"));
    }
}
