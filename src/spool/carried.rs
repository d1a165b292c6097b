//! What is known of customers beside their mail, and must not be forgotten when another node comes to own a customer: how much was sent
//! today, which routes are suspended. The spool keeps it as text that only the queue understands.

use std::collections::BTreeMap;

use crate::message::CustomerId;

/// What is known, as texts by name.
pub type Texts = BTreeMap<String, String>;

/// Whoever knows these things. It is called from the spool's thread, so it must not block.
pub trait Carried: Send + Sync {
    /// What is known of the customers that `owns` accepts.
    fn of_customers(&self, owns: &dyn Fn(&CustomerId) -> bool) -> BTreeMap<CustomerId, Texts>;

    /// Another node owned this customer until now, and knew this.
    fn take_over(&self, customer: CustomerId, texts: Texts);

    /// A short text that differs where this node's customers are configured in another way. `None` as long as nobody knows.
    fn configuration(&self) -> Option<String>;

    /// What all nodes are to know the same of. `None` as long as nobody knows.
    fn common(&self) -> Option<Texts>;

    /// The same as this node's files had it at its start. What differs from it was changed since.
    fn common_at_start(&self) -> Texts;

    /// Another node changed one of the common texts. `None`: it removed it. Returns false if that means nothing here, for example because
    /// there is no such route.
    fn changed_elsewhere(&self, name: &str, text: Option<&str>) -> bool;
}
