//! The reasons for which messages are held. Each distinct reason is stored once, as long as a message is held for it.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

/// The number of a reason. Number 1 is the first of [`Reasons::all`].
pub(in crate::spool) type ReasonNo = NonZeroU16;

/// The number for all reasons beyond the limit.
const OTHERS: ReasonNo = ReasonNo::MAX;

/// The stored reasons. There are few: an operator's words, "customer removed".
#[derive(Default)]
pub(super) struct Reasons {
    all: Vec<Reason>,
    numbers: HashMap<Arc<str>, ReasonNo>,
}

struct Reason {
    words: Arc<str>,
    /// The number of messages that are held for it.
    uses: u32,
}

impl Reasons {
    /// Returns the number of a reason. If 65,000 different ones are in use, all others share the last number.
    pub fn number(&mut self, words: &Arc<str>) -> ReasonNo {
        if let Some(number) = self.numbers.get(words) {
            return *number;
        }
        let reason = Reason { words: Arc::clone(words), uses: 0 };
        let place = if self.all.len() < usize::from(OTHERS.get()) - 1 {
            self.all.push(reason);
            self.all.len() - 1
        } else if let Some(unused) = self.all.iter().position(|reason| reason.uses == 0) {
            let old = std::mem::replace(&mut self.all[unused], reason);
            self.numbers.remove(&old.words);
            unused
        } else {
            return OTHERS;
        };
        let number = ReasonNo::MIN.saturating_add(place as u16);
        self.numbers.insert(Arc::clone(words), number);
        number
    }

    /// Returns the reason with this number.
    pub fn words(&self, number: ReasonNo) -> Arc<str> {
        let known = self.all.get(usize::from(number.get()) - 1).map(|reason| Arc::clone(&reason.words));
        known.unwrap_or_else(|| "held (see the log for why)".into())
    }

    /// Counts one more message that is held for a reason.
    pub fn enter(&mut self, number: ReasonNo) {
        if let Some(reason) = self.counted(number) {
            reason.uses += 1;
        }
    }

    /// Counts one message less that is held for a reason.
    pub fn leave(&mut self, number: ReasonNo) {
        if let Some(reason) = self.counted(number) {
            reason.uses -= 1;
        }
    }

    fn counted(&mut self, number: ReasonNo) -> Option<&mut Reason> {
        self.all.get_mut(usize::from(number.get()) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_hold_reason_makes_room_for_another() {
        let mut reasons = Reasons::default();
        let words = |n: u32| Arc::<str>::from(format!("message {n} cannot be read"));
        let first = reasons.number(&words(0));
        reasons.enter(first);
        for n in 1..70_000 {
            let number = reasons.number(&words(n));
            assert_eq!(reasons.words(number), words(n));
            reasons.enter(number);
            reasons.leave(number);
        }
        assert_eq!(reasons.words(first), words(0), "it is in use");
        assert_eq!(reasons.number(&words(0)), first);
    }

    #[test]
    fn what_finds_no_number_is_held_all_the_same() {
        let mut reasons = Reasons::default();
        for n in 0..65_534 {
            let number = reasons.number(&format!("{n}").into());
            reasons.enter(number);
        }
        let number = reasons.number(&"one more".into());
        reasons.enter(number);
        assert_eq!((number, reasons.words(number).starts_with("held")), (OTHERS, true));
        reasons.leave(number);
        assert_eq!(reasons.words(ReasonNo::MIN), "0".into());
    }
}
