//! A resolver that asks each question once. Whoever looks at the same records several times sees the same each time, and a slow
//! name server costs its time once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Answer, Error, Kind, Lookup, Resolver, SharedResolver};

/// Remembers every answer, and every failure, for as long as it lives: it is meant for one check of one domain.
pub struct Memo {
    asked: SharedResolver,
    answers: Mutex<HashMap<(String, Kind), Result<Answer, Error>>>,
}

impl Memo {
    /// Asks `asked`.
    pub fn new(asked: SharedResolver) -> Self {
        Memo { asked, answers: Mutex::default() }
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, Error> {
        let key = (name.trim_end_matches('.').to_ascii_lowercase(), kind);
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(answer) = known {
            return answer;
        }
        let answer = self.asked.query(name, kind).await;
        // Of two who ask at once, both hear the same from here on.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(answer).clone()
    }
}

impl Resolver for Memo {
    fn query<'a>(&'a self, name: &'a str, kind: Kind) -> Lookup<'a> {
        Box::pin(self.ask(name, kind))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn a_question_is_asked_once_whatever_the_answer_was() {
        let zone = Arc::new(FixedZone::parse("here.dk A 192.0.2.1\ndead.dk FAIL").unwrap());
        let memo = Memo::new(zone.clone());
        let memo: &dyn Resolver = &memo;
        let before = (memo.ipv4("here.dk").await, memo.ipv4("gone.dk").await, memo.ipv4("dead.dk").await);
        assert!(before.2.is_err());
        zone.heal("dead.dk");
        zone.fail("dk");
        let again = (memo.ipv4("HERE.dk.").await, memo.ipv4("gone.dk").await, memo.ipv4("dead.dk").await);
        assert_eq!(again, before);
        assert!(memo.ipv6("here.dk").await.is_err(), "another question");
    }
}
