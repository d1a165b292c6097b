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
//! Delivery is at least once and in order: after a lost answer or a restart a batch may be sent again. It has the same `Postbud-Batch` if
//! it begins at the same line. A receiver should check the signature over the octets that it got, refuse timestamps older than a few
//! minutes, and drop events whose `event_id` it has seen. A redirect counts as a failure, so that a signed body goes only to the configured
//! address.
//!
//! There may be several webhooks, each with its own filter, cursor, metrics and alert. A dead webhook does not delay the others. Events
//! that the filter skips move the cursor, too.

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

/// The settings of one webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The name in alerts and metrics, which is also the name of the cursor's file.
    pub name: String,
    pub url: Url,
    pub secret: Secret,
    /// Selects the events for this webhook.
    pub filter: Filter,
    /// The most events in one call.
    pub batch_events: usize,
    /// The approximate number of octets in one call.
    pub batch_bytes: usize,
    /// How long events are gathered before a call.
    pub linger: Duration,
    /// The time limit for an answer.
    pub timeout: Duration,
    /// The pause after the first failure. It doubles with each further failure.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// An alert is raised when calls have failed for this long, and repeated every six hours.
    pub alert_after: Duration,
}

impl Webhook {
    /// Sends all events, with usual limits: batches of 500 events or 1 MiB each second, retries after 1 s to 5 min, an alert after 10 min.
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

/// The webhook's shared secret. It is never shown, and wiped when dropped.
#[derive(Clone)]
pub struct Secret(Arc<ArcSwap<Zeroizing<Vec<u8>>>>);

impl Secret {
    /// Takes the octets as they are.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Secret(Arc::new(ArcSwap::from_pointee(Zeroizing::new(secret.into()))))
    }

    /// Replaces the secret. Later calls are signed with the new one.
    pub fn replace(&self, with: Secret) {
        self.0.store(with.0.load_full());
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Returns the value of `Postbud-Signature` for a body that is sent at `timestamp` (seconds since 1970).
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
