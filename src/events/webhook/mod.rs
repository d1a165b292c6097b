//! The webhook: reads the log from its cursor, posts batches, and moves on when the answer is 2xx.
//!
//! ```text
//! POST <url>                              Content-Type: application/json
//! Postbud-Timestamp: 1795458240           seconds since 1970, when this call was made
//! Postbud-Signature: v1=<hex>             HMAC-SHA256(secret, timestamp "." body)
//! Postbud-Batch: 9f3c2a10-41-120384       the cursor where the batch begins
//!
//! {"webhook":"webcrm","batch":"9f3c2a10-41-120384","next":"9f3c2a10-41-121700","events":[{"at":…,"event":"delivered",…},…]}
//! ```
//!
//! At least once, in order: after a lost answer or a restart a batch may come again, under the same name where it begins
//! at the same line. A receiver checks the signature over the octets it got, refuses timestamps older than a few minutes,
//! and drops events whose `event_id` it has seen. Redirects are failures: a signed body goes to nobody but the configured address.
//!
//! There may be several webhooks. Each has its own filter, cursor, metrics and alert; one that is dead holds no other up, and events
//! that a filter passes over move its cursor like those it takes.

mod batch;
mod caller;
mod cursor;
mod filter;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use url::Url;
use zeroize::Zeroizing;

pub(super) use caller::Caller;
pub(crate) use cursor::FOLDER;
pub(super) use cursor::saved_segment;
pub use filter::Filter;

use crate::hex::hex;

/// Who is told, and how patiently.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What operators call it: in alerts, metrics, and as the name of its cursor's file.
    pub name: String,
    pub url: Url,
    pub secret: Secret,
    /// Which events it hears.
    pub filter: Filter,
    /// Events in one call.
    pub batch_events: usize,
    /// Octets in one call, about.
    pub batch_bytes: usize,
    /// How long events are gathered before a call.
    pub linger: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Pause after the first failure; doubles with each further one.
    pub retry_first: Duration,
    /// No pause is longer.
    pub retry_longest: Duration,
    /// A webhook dead for this long raises an alert, repeated every six hours.
    pub alert_after: Duration,
}

impl Webhook {
    /// All events, with sane patience: batches of 500 events or 1 MiB a second, retries from 1 s to 5 min, an alert after 10 min.
    pub fn new(name: impl Into<String>, url: Url, secret: Secret) -> Self {
        Webhook {
            name: name.into(),
            url,
            secret,
            filter: Filter::default(),
            batch_events: 500,
            batch_bytes: 1 << 20,
            linger: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(300),
            alert_after: Duration::from_secs(600),
        }
    }
}

/// The webhook's shared secret. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Arc<ArcSwap<Zeroizing<Vec<u8>>>>);

impl Secret {
    /// Takes the octets as they are.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Secret(Arc::new(ArcSwap::from_pointee(Zeroizing::new(secret.into()))))
    }

    /// Takes another one's octets; calls from now on are signed with them.
    pub fn replace(&self, with: Secret) {
        self.0.store(with.0.load_full());
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `Postbud-Signature` for a body sent at `timestamp` (seconds since 1970).
pub fn signature(secret: &Secret, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0.load());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    format!("v1={}", hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_covers_timestamp_and_body() {
        // printf '1795458240.{}' | openssl dgst -sha256 -hmac secret
        let secret = Secret::new("secret");
        let expected = "v1=b027a0410e12c0002a66b2139d42ac744835f4110c98a60c33da9685bba1cd60";
        assert_eq!(signature(&secret, 1_795_458_240, b"{}"), expected);
        assert_ne!(signature(&secret, 1_795_458_241, b"{}"), expected);
        assert_ne!(signature(&secret, 1_795_458_240, b"{ }"), expected);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
