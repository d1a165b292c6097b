//! Announces changes: as events and alerts, and to the writer of letters to customers.

use std::sync::Arc;

use super::{Changed, Monitor};
use crate::customers::Customer;
use crate::events::{Event, EventId, EventKind, Subject};
use crate::message::Lane;
use crate::onboarding::checker::Report;
use crate::onboarding::finding::Item;
use crate::onboarding::mailjet::Alerts;
use crate::onboarding::state::{Change, ChangeKind};
use crate::onboarding::text::{self, Lang};
use crate::route::RouteId;
use crate::smtp::Domain;
use crate::time::Timestamp;

impl Monitor {
    /// Sends the changes to their receiver. Leaves them out if too many wait.
    pub(super) fn send_changes(
        &self,
        customer: &Arc<Customer>,
        domain: &Domain,
        changes: Vec<Change>,
        is_complete_now: bool,
    ) {
        let Some(receiver) = self.changes.as_ref().filter(|_| !changes.is_empty()) else { return };
        let changed = Changed { customer: Arc::clone(customer), domain: domain.clone(), changes, is_complete_now };
        if receiver.try_send(changed).is_err() {
            tracing::warn!(customer = %customer.id, "no letter is written about the changes of {domain}: too many changes wait");
        }
    }

    /// Returns the event that a domain's mail takes another route from now on, or `None` if it takes the same.
    pub(super) fn route_moved(
        &self,
        lane: &Lane,
        from: Option<RouteId>,
        to: Option<RouteId>,
        at: Timestamp,
    ) -> Option<Event<'static>> {
        if from == to {
            return None;
        }
        let named = |route: &Option<RouteId>| route.as_ref().map_or("no route".to_owned(), ToString::to_string);
        let detail = format!("mail from {} takes {} and no longer {}", lane.domain, named(&to), named(&from));
        let kind = EventKind::DomainTierMoved;
        let event_id = EventId::of_facts(at, &["route", lane.domain.as_str(), &named(&to)]);
        let event = Event { event_id, ..Event::of_domain(kind, &lane.customer, &lane.domain, detail, at) };
        Some(match &to {
            Some(to) => event.about_route(to).into_owned(),
            None => event.into_owned(),
        })
    }

    /// Raises and ends the alerts about Mailjet's accounts.
    pub(super) fn announce_accounts(&self, customer: &Customer, report: &Report) {
        let Some(check) = report.check(Item::MailjetAccount) else { return };
        let Alerts { raised, over } = Alerts::of(check, &report.domain);
        for (subject, finding) in raised {
            let text = Lang::En.finding(&finding);
            self.alert(customer, report.checked_at, Subject::Mailjet(subject), format!("{} {}", text.what, text.next));
        }
        for subject in over {
            self.events.resolve(&Subject::Mailjet(subject), "Mailjet's account has answered");
        }
    }

    /// Reports one change of a domain as an alert or its end, and returns its event. The event has the same id whenever it is made.
    pub(super) fn announce(&self, customer: &Customer, domain: &Domain, change: &Change) -> Event<'static> {
        self.counters.change(change);
        let at = Timestamp::from_millis(change.at);
        let detail = text::change(domain, change, &self.checker.settings);
        let subject = Subject::Verification(format!("{domain}/{}", change.requirement));
        let kind = match change.change {
            ChangeKind::Verified | ChangeKind::Returned => EventKind::DomainVerified,
            ChangeKind::Vanished | ChangeKind::Lost => EventKind::DomainVanished,
        };
        let of_change = [domain.as_str(), &change.requirement, change.change.as_str()];
        let event_id = EventId::of_facts(at, &of_change);
        let event = Event { event_id, ..Event::of_domain(kind, &customer.id, domain, detail.as_str(), at) };
        let event = event.with_subject(subject.clone()).into_owned();
        match change.change.is_alarming() {
            true => self.alert(customer, at, subject, detail),
            false if self.events.is_open(&subject) => self.events.resolve(&subject, detail),
            false => tracing::info!(customer = %customer.id, "{detail}"),
        }
        event
    }

    pub(super) fn alert(&self, customer: &Customer, at: Timestamp, subject: Subject, detail: String) {
        let alert = Event { at, ..Event::alert(detail) };
        self.events.emit(alert.with_subject(subject).about_customer(&customer.id));
    }
}
