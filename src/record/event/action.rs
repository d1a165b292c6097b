//! The actions in audit events.

use serde::{Deserialize, Serialize};

/// An action of an operator or a program, as audit events name it: `queue.hold`.
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
    /// Messages were given up, and their senders got a bounce.
    #[serde(rename = "queue.bounce")]
    QueueBounce,
    /// Messages were given up without telling their senders.
    #[serde(rename = "queue.remove")]
    QueueRemove,
    /// A route was suspended.
    #[serde(rename = "route.suspend")]
    RouteSuspend,
    /// A route was resumed.
    #[serde(rename = "route.resume")]
    RouteResume,
    /// The way in which a route logs in was changed.
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
    /// A customer was suspended.
    #[serde(rename = "customer.suspend")]
    CustomerSuspend,
    /// A suspended customer was resumed.
    #[serde(rename = "customer.resume")]
    CustomerResume,
    /// A customer was removed.
    #[serde(rename = "customer.remove")]
    CustomerRemove,
    /// A token of the API was made.
    #[serde(rename = "token.add")]
    TokenAdd,
    /// A token of the API was revoked.
    #[serde(rename = "token.revoke")]
    TokenRevoke,
    /// An operator of the pages was added.
    #[serde(rename = "operator.add")]
    OperatorAdd,
    /// An operator got another role or password, or all of the operator's sessions were ended.
    #[serde(rename = "operator.change")]
    OperatorChange,
    /// An operator was removed.
    #[serde(rename = "operator.remove")]
    OperatorRemove,
    /// An operator logged in to the pages.
    #[serde(rename = "operator.login")]
    OperatorLogin,
    /// A login to the pages failed.
    #[serde(rename = "operator.login_failed")]
    OperatorLoginFailed,
    /// An operator logged out.
    #[serde(rename = "operator.logout")]
    OperatorLogout,
    /// An operator acknowledged an alert.
    #[serde(rename = "alert.acknowledge")]
    AlertAcknowledge,
    /// A link to a customer's page was made.
    #[serde(rename = "link.add")]
    LinkAdd,
    /// A link to a customer's page was revoked.
    #[serde(rename = "link.revoke")]
    LinkRevoke,
    /// A customer's mail was paused.
    #[serde(rename = "customer.pause")]
    CustomerPause,
    /// A customer's pause was ended.
    #[serde(rename = "customer.unpause")]
    CustomerUnpause,
    /// A test mail was sent for a customer.
    #[serde(rename = "customer.test")]
    CustomerTest,
    /// A probe of a customer's routes was commanded.
    #[serde(rename = "customer.probe")]
    CustomerProbe,
    /// A check of a customer's domains was commanded, or of all customers' domains.
    #[serde(rename = "domain.check")]
    DomainCheck,
    /// The rotation of a customer's key advanced by a step.
    #[serde(rename = "key.rotate")]
    KeyRotate,
    /// An address was added to a customer's suppression list.
    #[serde(rename = "suppression.add")]
    SuppressionAdd,
    /// An address was removed from a customer's suppression list.
    #[serde(rename = "suppression.remove")]
    SuppressionRemove,
    /// Addresses were imported into a customer's suppression list from a file.
    #[serde(rename = "suppression.import")]
    SuppressionImport,
    /// A recipient was erased from the event log.
    #[serde(rename = "record.erase")]
    RecordErase,
    /// The events of a customer's mail in a period were exported.
    #[serde(rename = "record.export")]
    RecordExport,
    /// Mailjet was told the address for its events.
    #[serde(rename = "mailjet.events")]
    MailjetEvents,
    /// Return paths got a new key.
    #[serde(rename = "returns.rotate_key")]
    ReturnPathKey,
    /// DMARC reports were imported from files.
    #[serde(rename = "dmarc.import")]
    DmarcImport,
    /// The configuration was reloaded.
    #[serde(rename = "configuration.reload")]
    ConfigurationReload,
}
