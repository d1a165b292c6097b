//! A resolver that sends each question once. Several readers of the same records all see the same answer, and a slow name server
//! is waited for only once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Answer, Error, Lookup, RecordType, Resolver, SharedResolver};

/// Keeps every answer and every failure for its whole lifetime. Make a new one for each check of a domain.
pub struct Memo {
    asked: SharedResolver,
    answers: Mutex<HashMap<(String, RecordType), Result<Answer, Error>>>,
}

impl Memo {
    /// Makes an empty memo that sends its questions to `asked`.
    pub fn new(asked: SharedResolver) -> Self {
        Memo { asked, answers: Mutex::default() }
    }

    async fn ask(&self, name: &str, record_type: RecordType) -> Result<Answer, Error> {
        let key = (name.trim_end_matches('.').to_ascii_lowercase(), record_type);
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(answer) = known {
            return answer;
        }
        let answer = self.asked.query(name, record_type).await;
        // If two callers ask at the same time, both use the answer that came first.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(answer).clone()
    }
}

impl Resolver for Memo {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        Box::pin(self.ask(name, record_type))
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
