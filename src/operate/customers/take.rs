//! Makes the running relay use a customer's file that was written or removed.

use super::store;
use crate::customers::own_account;
use crate::events::Subject;
use crate::message::CustomerId;
use crate::operate::actor::Need;
use crate::operate::{Actor, Error, Service};

impl Service {
    /// Reads one customer's file again and uses its content from now on. If the file is gone, the customer is removed. Blocks.
    pub fn take_customer(&self, actor: &Actor, customer: &str) -> Result<(), Error> {
        actor.may(Need::OwnOf(&CustomerId::new(customer)))?;
        let Some(id) = CustomerId::parse(customer) else {
            return Err(Error::invalid(format!("\"{customer}\" is no customer id"), "name the customer by its id"));
        };
        let live = self.live()?;
        let configured = live.configured();
        let mut mailjet = configured.onboarding.mailjet.clone();
        let old = configured.directory.get(&id).cloned();
        for domain in old.iter().flat_map(|old| old.domains.keys()) {
            mailjet.remove(domain);
        }
        let mut accounts = configured.onboarding.mailjet_accounts.clone();
        accounts.remove(&own_account(&id));
        let path = configured.customer_files.path(&id);
        let directory = match store::read(&path)? {
            None => configured.directory.without(&id),
            Some(text) => {
                let read = configured.customer_files.read(&id, &text, &configured.directory)?;
                for remark in &read.remarks {
                    tracing::warn!("{remark}");
                }
                mailjet.extend(read.mailjet);
                accounts.extend(read.account.map(|account| (own_account(&id), account)));
                configured.directory.with(read.customer)
            }
        };
        live.take(directory, mailjet, accounts);
        // Mistakes in the rest of the configuration are left to the next reload.
        if self.events.is_open(&Subject::Configuration) {
            tracing::warn!("customer {id} is taken over, but the last reload of the whole configuration was refused");
        }
        Ok(())
    }
}
