//! What an audit event says was done.

use serde::{Deserialize, Serialize};

/// What was done. In events as `queue.hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// A file with a key or a password was encrypted or decrypted.
    #[serde(rename = "secret.seal")]
    SecretSeal,
    /// A customer was added.
    #[serde(rename = "customer.add")]
    CustomerAdd,
    /// A customer's file was changed.
    #[serde(rename = "customer.change")]
    CustomerChange,
    /// A customer was taken out of service.
    #[serde(rename = "customer.suspend")]
    CustomerSuspend,
    /// A suspended customer goes on.
    #[serde(rename = "customer.resume")]
    CustomerResume,
    /// A customer was removed.
    #[serde(rename = "customer.remove")]
    CustomerRemove,
    /// A token of the API was made.
    #[serde(rename = "token.add")]
    TokenAdd,
    /// A token of the API was taken back.
    #[serde(rename = "token.revoke")]
    TokenRevoke,
    /// An operator of the pages was added.
    #[serde(rename = "operator.add")]
    OperatorAdd,
    /// An operator got another role or password, or was logged out everywhere.
    #[serde(rename = "operator.change")]
    OperatorChange,
    /// An operator was removed.
    #[serde(rename = "operator.remove")]
    OperatorRemove,
    /// An operator logged in to the pages.
    #[serde(rename = "operator.login")]
    OperatorLogin,
    /// A login to the pages was wrong.
    #[serde(rename = "operator.login_failed")]
    OperatorLoginFailed,
    /// An operator logged out.
    #[serde(rename = "operator.logout")]
    OperatorLogout,
    /// An operator took note of an alert.
    #[serde(rename = "alert.acknowledge")]
    AlertAcknowledge,
    /// A link to a customer's page was made.
    #[serde(rename = "link.add")]
    LinkAdd,
    /// A link to a customer's page was taken back.
    #[serde(rename = "link.revoke")]
    LinkRevoke,
    /// A customer's mail was paused.
    #[serde(rename = "customer.pause")]
    CustomerPause,
    /// A paused customer's mail goes on.
    #[serde(rename = "customer.unpause")]
    CustomerUnpause,
    /// A test mail was sent for a customer.
    #[serde(rename = "customer.test")]
    CustomerTest,
    /// The change of a customer's key went a step further.
    #[serde(rename = "key.rotate")]
    KeyRotate,
    /// An address was put on a customer's suppression list.
    #[serde(rename = "suppression.add")]
    SuppressionAdd,
    /// An address was taken off a customer's suppression list.
    #[serde(rename = "suppression.remove")]
    SuppressionRemove,
    /// Addresses were put on a customer's suppression list from a file.
    #[serde(rename = "suppression.import")]
    SuppressionImport,
    /// A recipient was taken out of the record.
    #[serde(rename = "record.erase")]
    RecordErase,
    /// What a customer's mail went through in a time was exported.
    #[serde(rename = "record.export")]
    RecordExport,
    /// Mailjet was told where to bring its events.
    #[serde(rename = "mailjet.events")]
    MailjetEvents,
    /// DMARC reports were taken from files.
    #[serde(rename = "dmarc.import")]
    DmarcImport,
    /// The configuration was read again, and holds.
    #[serde(rename = "configuration.reload")]
    ConfigurationReload,
}
