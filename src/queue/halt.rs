//! Pauses delivery as a whole: if results cannot be recorded, because further attempts would only make duplicates, and if mail cannot be
//! read for lack of memory or open files.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::spool;

/// The length of one pause. It ends earlier if the spool recovers.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// The length of a pause if the spool has recovered by the time that the pause begins.
pub(super) const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// The end of the current pause. It uses the monotonic clock, so that setting the system clock has no effect.
#[derive(Debug, Default)]
pub(super) struct Halt(ArcSwapOption<Instant>);

impl Halt {
    /// Starts a pause. Returns true if this should raise an alert: delivery was not paused, or the last pause has been over for at least as
    /// long as a pause takes.
    pub fn begin(&self, pause: Duration) -> bool {
        let now = Instant::now();
        let before = self.0.swap(Some(Arc::new(now + pause)));
        before.is_none_or(|until| *until + PAUSE <= now)
    }

    /// Ends the pause, because the spool records results again.
    pub fn end(&self) {
        if self.left().is_some() {
            self.0.store(Some(Arc::new(Instant::now())));
        }
    }

    /// Returns how long the pause still takes, or `None` if delivery is not paused.
    pub fn left(&self) -> Option<Duration> {
        let until = self.0.load();
        until.as_deref()?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Returns true if the last pause has been over for at least as long as a pause takes. Trouble that lasted would have started another
    /// pause by then.
    pub fn is_over(&self) -> bool {
        self.0.load().as_deref().is_none_or(|until| *until + PAUSE < Instant::now())
    }
}

/// Returns what the operator should do about a pause.
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
        assert!(halt.begin(PAUSE));
        assert!(!halt.begin(PAUSE), "another worker's");
        assert!(halt.left().is_some_and(|left| left <= PAUSE) && !halt.is_over());
        halt.end();
        assert!(halt.left().is_none(), "the spool has recovered");
        assert!(!halt.begin(PAUSE), "the same trouble again");
    }

    #[test]
    fn an_alert_about_a_stop_says_what_to_do() {
        let of = |errno: rustix::io::Errno| remedy(&spool::Error::Io { what: "reading".into(), source: errno.into() });
        assert!(of(rustix::io::Errno::MFILE).contains("LimitNOFILE="));
        assert!(of(rustix::io::Errno::IO).contains("the spool's disk"));
    }
}
