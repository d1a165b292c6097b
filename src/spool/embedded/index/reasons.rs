//! The words that messages are held with: each kept once, for as long as a message is held with it.

use std::collections::HashMap;
use std::sync::Arc;

/// Stands for every reason that found no number.
const OTHERS: u16 = u16::MAX;

/// Reasons are few: an operator's words, "customer removed".
#[derive(Default)]
pub(super) struct Reasons {
    /// By number, counted from 1; 0 is none.
    all: Vec<Reason>,
    numbers: HashMap<Arc<str>, u16>,
}

struct Reason {
    words: Arc<str>,
    /// Messages held with it.
    uses: u32,
}

impl Reasons {
    /// The number of a reason. After 65,000 different ones that are all in use the last number stands for all others.
    pub fn number(&mut self, words: &Arc<str>) -> u16 {
        if let Some(number) = self.numbers.get(words) {
            return *number;
        }
        let reason = Reason { words: Arc::clone(words), uses: 0 };
        let number = if self.all.len() < usize::from(OTHERS) - 1 {
            self.all.push(reason);
            self.all.len() as u16
        } else if let Some(unused) = self.all.iter().position(|reason| reason.uses == 0) {
            let old = std::mem::replace(&mut self.all[unused], reason);
            self.numbers.remove(&old.words);
            unused as u16 + 1
        } else {
            return OTHERS;
        };
        self.numbers.insert(Arc::clone(words), number);
        number
    }

    /// The reason with this number.
    pub fn words(&self, number: u16) -> Option<Arc<str>> {
        match number {
            0 => None,
            OTHERS => Some("held (see the log for why)".into()),
            _ => self.all.get(usize::from(number) - 1).map(|reason| Arc::clone(&reason.words)),
        }
    }

    /// One more message is held with it.
    pub fn enter(&mut self, number: u16) {
        if let Some(reason) = self.counted(number) {
            reason.uses += 1;
        }
    }

    /// One fewer is.
    pub fn leave(&mut self, number: u16) {
        if let Some(reason) = self.counted(number) {
            reason.uses -= 1;
        }
    }

    fn counted(&mut self, number: u16) -> Option<&mut Reason> {
        self.all.get_mut(usize::from(number).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_nobody_is_held_with_makes_room_for_another() {
        let mut reasons = Reasons::default();
        let words = |n: u32| Arc::<str>::from(format!("message {n} cannot be read"));
        let first = reasons.number(&words(0));
        reasons.enter(first);
        for n in 1..70_000 {
            let number = reasons.number(&words(n));
            assert_eq!(reasons.words(number), Some(words(n)));
            reasons.enter(number);
            reasons.leave(number);
        }
        assert_eq!(reasons.words(first), Some(words(0)), "it is in use");
        assert_eq!(reasons.number(&words(0)), first);
        assert_eq!(reasons.words(0), None);
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
        assert_eq!((number, reasons.words(number).unwrap().starts_with("held")), (OTHERS, true));
        reasons.leave(number);
        assert_eq!(reasons.words(1), Some("0".into()));
    }
}
