//! Knowledge about customers besides their mail that must move with a customer to another node: how much was sent today, which routes are
//! suspended. The spool stores it as text that only the queue understands.

use std::collections::BTreeMap;

use crate::message::CustomerId;

/// Knowledge as texts by name.
pub type Texts = BTreeMap<String, String>;

/// Provides this knowledge. It is called from the spool's thread, so it must not block.
pub trait Carried: Send + Sync {
    /// Returns the texts about the customers that `owns` accepts.
    fn of_customers(&self, owns: &dyn Fn(&CustomerId) -> bool) -> BTreeMap<CustomerId, Texts>;

    /// Takes over a customer, with the texts of the node that owned it until now.
    fn take_over(&self, customer: CustomerId, texts: Texts);

    /// Returns a hash of this node's configuration of customers, or `None` until it is known. Two nodes with different customers get
    /// different texts.
    fn configuration(&self) -> Option<String>;

    /// Returns the texts that all nodes share, or `None` until they are known.
    fn common(&self) -> Option<Texts>;

    /// Returns the shared texts as this node's files had them at its start. A text that differs now was changed since.
    fn common_at_start(&self) -> Texts;

    /// Applies a shared text that another node changed, or removed (`None`). Returns false if the text has no meaning here, for example
    /// because there is no such route.
    fn changed_elsewhere(&self, name: &str, text: Option<&str>) -> bool;
}
