//! Counts a client's errors and useless commands, and says when they exceed the limits. An error is a refusal that the client has caused. A
//! command is useless if it brings no mail forward. The session acts on the result.

use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// The counts of one client.
#[derive(Debug)]
pub(super) struct Conduct {
    /// The number of refusals since the last accepted message.
    errors: u32,
    /// The number of useless commands since the last accepted message, and when the count began.
    minute: (u32, Instant),
    /// The number of useless commands since the last message began.
    without_mail: u32,
}

impl Conduct {
    pub(super) fn new(now: Instant) -> Self {
        Conduct { errors: 0, minute: (0, now), without_mail: 0 }
    }

    /// Counts a useless command. Returns true if the client is still within its limits.
    pub(super) fn allows_useless_command(&mut self, limits: &Limits, now: Instant) -> bool {
        let (count, since) = &mut self.minute;
        if now.saturating_duration_since(*since) >= Duration::from_secs(60) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        self.without_mail += 1;
        *count <= limits.commands_per_minute && self.without_mail <= limits.commands_without_mail
    }

    /// Counts an error. Returns true if the client is still within its limits.
    pub(super) fn allows_error(&mut self, limits: &Limits) -> bool {
        self.errors += 1;
        self.errors <= limits.errors_per_connection
    }

    /// Resets the count, because the content of a message begins.
    pub(super) fn message_began(&mut self) {
        self.without_mail = 0;
    }

    /// Resets the counts, because a message was accepted. Its client may send RSET or NOOP before the next one.
    pub(super) fn message_accepted(&mut self) {
        self.errors = 0;
        self.minute.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_the_minute_and_since_the_last_message() {
        let limits = Limits { commands_per_minute: 2, commands_without_mail: 5, ..Limits::default() };
        let start = Instant::now();
        let mut conduct = Conduct::new(start);
        let mut at = |seconds: u64| conduct.allows_useless_command(&limits, start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2].map(&mut at), [true, true, false]);
        assert_eq!([60, 120].map(&mut at), [true, true]);
        assert!(!at(180), "the sixth");
        conduct.message_began();
        let mut at = |seconds: u64| conduct.allows_useless_command(&limits, start + Duration::from_secs(seconds));
        assert_eq!([240, 241, 242].map(&mut at), [true, true, false]);
        conduct.message_accepted();
        assert!(conduct.allows_useless_command(&limits, start + Duration::from_secs(243)));
    }
}
