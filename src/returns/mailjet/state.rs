//! The state of one recipient, and what a further report adds. Reports come late, twice and in any order. The rule depends only on which
//! reports have come, so the final state does not depend on their order.
//!
//! | heard already | sent | bounce, blocked | the same, for good | spam | unsub |
//! |---|---|---|---|---|---|
//! | nothing | delivered | bounced | bounced | complained | unsubscribed |
//! | delivered | – | bounced | bounced | complained | unsubscribed |
//! | bounced | – | – | bounced | complained | unsubscribed |
//! | bounced for good | – | – | – | complained | unsubscribed |
//!
//! A recipient's server may accept a mail and return it later, so a bounce is reported after a delivery, but never the reverse. A permanent
//! bounce is reported after another bounce, because it says more.

use super::report::Kind;

/// The reports about one recipient so far, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State(u8);

impl State {
    const DELIVERED: u8 = 1;
    const BOUNCED: u8 = 2;
    const BOUNCED_FOR_GOOD: u8 = 4;
    const COMPLAINED: u8 = 8;
    const UNSUBSCRIBED: u8 = 16;

    /// Makes a state from its stored form.
    pub fn from_stored(bits: i64) -> Self {
        State(u8::try_from(bits).unwrap_or(u8::MAX))
    }

    pub fn stored(self) -> i64 {
        self.0.into()
    }

    /// Returns true if a bounce was reported.
    pub fn has_bounced(self) -> bool {
        self.0 & (Self::BOUNCED | Self::BOUNCED_FOR_GOOD) != 0
    }

    /// Adds a report. Returns true if it says something new, so that an event is needed. Openings and clicks may come any number of times
    /// and are not part of the state.
    pub fn hear(&mut self, kind: Kind, for_good: bool) -> bool {
        let (heard, is_old) = match (kind, for_good) {
            (Kind::Sent, _) => (Self::DELIVERED, Self::DELIVERED | Self::BOUNCED | Self::BOUNCED_FOR_GOOD),
            (Kind::Bounce | Kind::Blocked, false) => (Self::BOUNCED, Self::BOUNCED | Self::BOUNCED_FOR_GOOD),
            (Kind::Bounce | Kind::Blocked, true) => (Self::BOUNCED_FOR_GOOD, Self::BOUNCED_FOR_GOOD),
            (Kind::Spam, _) => (Self::COMPLAINED, Self::COMPLAINED),
            (Kind::Unsub, _) => (Self::UNSUBSCRIBED, Self::UNSUBSCRIBED),
            (Kind::Open | Kind::Click, _) => return false,
        };
        let is_new = self.0 & is_old == 0;
        self.0 |= heard;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    type Heard = (Kind, bool);

    const ALL: [Heard; 6] = [
        (Kind::Sent, false),
        (Kind::Bounce, false),
        (Kind::Bounce, true),
        (Kind::Blocked, false),
        (Kind::Spam, false),
        (Kind::Unsub, false),
    ];

    /// Returns the events for a recipient if these reports come in this order.
    fn told(heard: &[Heard]) -> Vec<Heard> {
        let mut state = State::default();
        heard.iter().copied().filter(|(kind, for_good)| state.hear(*kind, *for_good)).collect()
    }

    fn orders(of: &[Heard]) -> Vec<Vec<Heard>> {
        if of.len() <= 1 {
            return vec![of.to_vec()];
        }
        let with_first = |at: usize| {
            let mut rest = of.to_vec();
            let first = rest.remove(at);
            orders(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
        };
        (0..of.len()).flat_map(with_first).collect()
    }

    fn is_bounce((kind, _): &Heard) -> bool {
        matches!(kind, Kind::Bounce | Kind::Blocked)
    }

    #[test]
    fn in_every_order_no_bounce_becomes_a_delivery_and_the_state_at_the_end_is_one() {
        for chosen in 0..1 << ALL.len() {
            let some: Vec<Heard> = (0..ALL.len()).filter(|bit| chosen & (1 << bit) != 0).map(|at| ALL[at]).collect();
            let mut ends = BTreeSet::new();
            for order in orders(&some) {
                let told = told(&order);
                let bounce = told.iter().position(is_bounce);
                let delivered = told.iter().position(|(kind, _)| *kind == Kind::Sent);
                if let (Some(bounce), Some(delivered)) = (bounce, delivered) {
                    assert!(delivered < bounce, "{order:?}: {told:?}");
                }
                assert_eq!(bounce.is_some(), order.iter().any(is_bounce), "{order:?}");
                assert_eq!(told.contains(&(Kind::Bounce, true)), order.contains(&(Kind::Bounce, true)));
                assert!(told.iter().filter(|it| is_bounce(it)).count() <= 2, "{order:?}: {told:?}");
                for once in [Kind::Sent, Kind::Spam, Kind::Unsub] {
                    assert!(told.iter().filter(|(kind, _)| *kind == once).count() <= 1);
                }
                let mut state = State::default();
                order.iter().for_each(|(kind, for_good)| {
                    state.hear(*kind, *for_good);
                });
                ends.insert(state.stored());
            }
            assert!(ends.len() <= 1, "{some:?}: {ends:?}");
        }
    }

    #[test]
    fn what_is_repeated_is_told_once() {
        for heard in ALL {
            assert_eq!(told(&[heard; 3]), [heard]);
        }
        assert_eq!(told(&[(Kind::Open, false), (Kind::Click, false)]), []);
    }

    #[test]
    fn the_table_of_the_module_is_what_happens() {
        let (sent, soft, hard) = ((Kind::Sent, false), (Kind::Bounce, false), (Kind::Bounce, true));
        for (before, next, is_told) in [
            (vec![], sent, true),
            (vec![sent], soft, true),
            (vec![sent], hard, true),
            (vec![soft], sent, false),
            (vec![soft], soft, false),
            (vec![soft], hard, true),
            (vec![hard], sent, false),
            (vec![hard], soft, false),
            (vec![hard], hard, false),
            (vec![hard], (Kind::Spam, false), true),
            (vec![hard], (Kind::Unsub, false), true),
        ] {
            let mut state = State::default();
            before.iter().for_each(|(kind, for_good)| {
                state.hear(*kind, *for_good);
            });
            assert_eq!(State::from_stored(state.stored()).hear(next.0, next.1), is_told, "{before:?} {next:?}");
        }
    }
}
