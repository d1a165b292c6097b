//! Audit events: who did what. One for each command that changed something.

use serde::{Deserialize, Serialize};

use super::{Event, EventKind};
use crate::time::Timestamp;

/// What was done. In events as `queue.hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Messages were held.
    #[serde(rename = "queue.hold")]
    QueueHold,
    /// Held messages were released.
    #[serde(rename = "queue.release")]
    QueueRelease,
    /// Messages were made due at once.
    #[serde(rename = "queue.retry")]
    QueueRetry,
    /// Messages were given up, and their senders told.
    #[serde(rename = "queue.bounce")]
    QueueBounce,
    /// Messages were given up without a word.
    #[serde(rename = "queue.remove")]
    QueueRemove,
    /// A route was stopped.
    #[serde(rename = "route.suspend")]
    RouteSuspend,
    /// A route goes on.
    #[serde(rename = "route.resume")]
    RouteResume,
    /// A route logs in another way.
    #[serde(rename = "route.login")]
    RouteLogin,
    /// A customer was added.
    #[serde(rename = "customer.add")]
    CustomerAdd,
    /// The change of a customer's key went a step further.
    #[serde(rename = "key.rotate")]
    KeyRotate,
    /// A recipient was taken out of the record.
    #[serde(rename = "record.erase")]
    RecordErase,
    /// The configuration was read again, and holds.
    #[serde(rename = "configuration.reload")]
    ConfigurationReload,
}

impl Event {
    /// Somebody changed something, now.
    pub fn audit(actor: impl Into<String>, action: Action, detail: impl Into<String>) -> Self {
        Event {
            actor: Some(actor.into()),
            action: Some(action),
            detail: Some(detail.into()),
            ..Event::new(EventKind::Audit, Timestamp::now())
        }
    }
}
