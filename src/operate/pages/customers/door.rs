//! Admits requests with a valid link, up to a rate. Guessing of links is slowed down like guessing of passwords.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::customers::Customer;
use crate::onboarding::Lang;
use crate::operate::links::Opened;
use crate::operate::pages::Problem;
use crate::operate::pages::language::Chosen;
use crate::operate::{Actor, Service};
use crate::submission::{Limits, Strikes};
use crate::time::Timestamp;

/// The number of requests of one link that may come at once.
const BURST: f64 = 60.0;
/// The number of further requests of one link that may come in each second.
const PER_SECOND: f64 = 1.0;
/// The maximum number of links whose requests are counted.
const COUNTED: usize = 10_000;
/// The longest delay of the answer to a wrong link.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

pub(super) struct Guest {
    /// The actor for the audit, with the role of the link.
    pub actor: Actor,
    /// The customer whose page it is.
    pub customer: Arc<Customer>,
    /// The language of the page.
    pub lang: Lang,
    /// When the link expires.
    pub expires: Timestamp,
}

pub(super) struct Door {
    strikes: Strikes,
    pace: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Door {
    /// Answers to wrong links are delayed as the `login_…` settings of `limits` say.
    pub fn new(limits: &Limits) -> Self {
        Door { strikes: Strikes::new(limits), pace: Mutex::default() }
    }

    /// Admits the holder of a valid link.
    pub async fn open(
        &self,
        service: &Service,
        secret: &str,
        address: Option<IpAddr>,
        chosen: Chosen,
    ) -> Result<Guest, Problem> {
        let started = Instant::now();
        let opened = service.links.open(secret, address, Timestamp::now()).await.map_err(|error| {
            tracing::warn!("a link cannot be looked up: {error}");
            Problem::Unavailable
        })?;
        let (id, actor, customer, language, expires) = match opened {
            Opened::Valid { id, actor, customer, language, expires } => (id, actor, customer, language, expires),
            Opened::Expired => return Err(Problem::Expired),
            Opened::Unknown => return Err(self.refuse(address, started).await),
        };
        self.pace(&id, started)?;
        let customer = service.routing.customer(&customer).ok_or(Problem::NotFound)?;
        let usual = service.live().map_or(Lang::Da, |live| live.language());
        Ok(Guest { actor, customer, lang: chosen.or(language.unwrap_or(usual)), expires })
    }

    async fn refuse(&self, address: Option<IpAddr>, started: Instant) -> Problem {
        let Some(address) = address else { return Problem::NotFound };
        if !self.strikes.admits(address, &[0; 32], started) {
            return Problem::TooMany(self.strikes.longest());
        }
        let delay = self.strikes.strike_address(address, started);
        tokio::time::sleep_until(started + delay.min(LONGEST_DELAY)).await;
        Problem::NotFound
    }

    /// Counts a request of a link.
    fn pace(&self, id: &str, now: Instant) -> Result<(), Problem> {
        let mut all = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= COUNTED && !all.contains_key(id) {
            // A link that has all of its requests left need not be remembered.
            all.retain(|_, (left, at)| *left + now.duration_since(*at).as_secs_f64() * PER_SECOND < BURST);
            if all.len() >= COUNTED {
                all.clear();
            }
        }
        let (left, at) = all.entry(id.to_owned()).or_insert((BURST, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() * PER_SECOND).min(BURST);
        *at = now;
        if *left < 1.0 {
            return Err(Problem::TooMany(Duration::from_secs_f64((1.0 - *left) / PER_SECOND)));
        }
        *left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_has_so_many_requests_and_gets_them_back_with_time() {
        let door = Door::new(&Limits::default());
        let now = Instant::now();
        for _ in 0..60 {
            door.pace("a", now).unwrap();
        }
        assert_eq!(door.pace("a", now), Err(Problem::TooMany(Duration::from_secs(1))));
        door.pace("b", now).unwrap();
        door.pace("a", now + Duration::from_secs(2)).unwrap();
        for n in 0..2 * COUNTED {
            door.pace(&n.to_string(), now).unwrap();
        }
        assert!(door.pace.lock().unwrap().len() <= COUNTED);
    }
}
