//! Commands that pause and resume a customer's mail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::audit::{self, Act};
use super::nodes::Ask;
use super::queue::check_reason;
use super::{Actor, Error, Service};
use crate::customers::Pause;
use crate::events::Action;
use crate::message::CustomerId;

/// A customer whose mail is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// The customer's id.
    pub customer: String,
    /// The cause: `operator`, `cap`, `leap`, `bounces` or `complaints`.
    pub cause: String,
    /// What was noticed, or the operator's reason.
    pub reason: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it ends by itself, RFC 3339; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// True if single mail is still sent.
    #[serde(default)]
    pub spares_single: bool,
}

impl Paused {
    fn of(customer: &CustomerId, pause: &Pause) -> Self {
        Paused {
            customer: customer.to_string(),
            cause: pause.cause.as_str().to_owned(),
            reason: pause.reason.clone(),
            since: pause.since().to_string(),
            until: pause.ends().map(|at| at.to_string()),
            spares_single: pause.spares_single,
        }
    }
}

impl Service {
    /// Returns the customers whose mail is paused, by id.
    pub fn paused(&self, actor: &Actor) -> Result<Vec<Paused>, Error> {
        actor.may(Need::Read)?;
        Ok(self.routing.pauses().iter().map(|(customer, pause)| Paused::of(customer, pause)).collect())
    }

    /// Returns the pause of one customer's mail, if it is paused.
    pub fn pause_of(&self, actor: &Actor, customer: &str) -> Result<Option<Paused>, Error> {
        actor.may(Need::Read)?;
        let id = CustomerId::new(customer);
        Ok(self.routing.pauses().get(&id).map(|pause| Paused::of(&id, pause)))
    }

    /// Pauses a customer's mail in the queue until it is resumed. New mail is accepted, and running attempts are finished.
    pub async fn pause(&self, actor: &Actor, customer: &str, reason: &str, spares_single: bool) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        let id = CustomerId::new(customer);
        self.customer_with(&id)?;
        check_reason(reason)?;
        let saved = self.routes.pause(&id, reason, spares_single).await;
        let detail = format!("paused by an operator ({actor}): {reason}");
        self.tell_of_pause(actor, Action::CustomerPause, &id, detail);
        saved.map_err(|error| Error::not_saved(&format!("it was done for {id}"), &error)).map(drop)
    }

    /// Resumes a paused customer's mail, at every node: the one that paused it may not have told the others yet.
    pub async fn unpause(&self, actor: &Actor, customer: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        let id = CustomerId::new(customer);
        let own = self.routes.resume_customer(&id).await;
        let answers = self.ask_others::<bool>(actor, Ask::Unpause { customer: customer.to_owned() }, None).await;
        let is_resumed_elsewhere = answers.parts.contains(&true);
        let is_resumed_here = !own.as_ref().is_ok_and(|was_paused| !was_paused);
        if !is_resumed_here && !is_resumed_elsewhere {
            answers.all()?;
            return Err(Error::not_found(
                format!("the mail of \"{id}\" is not paused"),
                "`postbud customer paused` lists who is; `postbud customer resume` is for one that is suspended",
            ));
        }
        self.tell_of_pause(actor, Action::CustomerUnpause, &id, format!("resumed by an operator ({actor})"));
        own.map_err(|error| Error::not_saved(&format!("it was done for {id}"), &error))?;
        answers.done()
    }

    /// Resumes a customer's mail at this node, for the node that was asked. That one made the audit event. Returns true if it was paused.
    pub(super) async fn unpause_here(&self, actor: &Actor, customer: &str) -> Result<bool, Error> {
        actor.may(Need::Operate)?;
        let id = CustomerId::new(customer);
        self.routes
            .resume_customer(&id)
            .await
            .map_err(|error| Error::not_saved(&format!("it was done for {id}"), &error))
    }

    fn tell_of_pause(&self, actor: &Actor, action: Action, customer: &CustomerId, detail: String) {
        audit::tell(&self.events, actor, Act { customer: Some(customer.to_string()), ..Act::new(action, detail) });
    }
}
