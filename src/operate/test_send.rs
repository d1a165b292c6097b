//! Test mails: one small mail over a customer's route, to see whether it is delivered. It is signed, stored, delivered and reported like
//! webCRM's mail.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::actor::Need;
use super::audit::{self, Act};
use super::jobs::{Job, JobKind, JobResult, TestSent};
use super::nodes::Ask;
use super::site::postmaster;
use super::{Actor, Error, Service};
use crate::customers::test_mode::{self, TestWay};
use crate::customers::{Customer, SigningDomain};
use crate::dkim;
use crate::events::{Action, Event, EventKind, Mail, RecipientEvent, Submission};
use crate::message::{
    BodyKind, CustomerId, Envelope, Lane, MailKind, QueueId, Recipient, References, Urgency, is_test_address,
};
use crate::record::trace::{Found, Query};
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::spool::Draft;
use crate::time::Timestamp;

/// How long to wait for the result of a test mail: less than the command line waits for an answer.
const PATIENCE: Duration = Duration::from_secs(100);
/// How often the other nodes are asked for the result.
const LOOK_ELSEWHERE: Duration = Duration::from_secs(1);

impl Service {
    /// Makes a test mail to `to`, and sends it as a job. `from` must be in a domain of the customer; the default is postmaster@ its first
    /// domain.
    pub async fn begin_test(&self, actor: &Actor, customer: &str, to: &str, from: Option<&str>) -> Result<Job, Error> {
        let draft = self.prepare_test(actor, customer, to, from).await?;
        let task = self.jobs.begin(actor, JobKind::TestSend, Some(draft.lane.customer.to_string()))?;
        let (service, actor) = (self.clone(), actor.clone());
        Ok(task.spawn(|_| async move { Ok(JobResult::TestSend(service.send_test(&actor, draft).await?)) }))
    }

    /// Sends a test mail, and waits for its result.
    pub async fn test(&self, actor: &Actor, customer: &str, to: &str, from: Option<&str>) -> Result<TestSent, Error> {
        let draft = self.prepare_test(actor, customer, to, from).await?;
        self.send_test(actor, draft).await
    }

    async fn prepare_test(&self, actor: &Actor, customer: &str, to: &str, from: Option<&str>) -> Result<Draft, Error> {
        actor.may(Need::Operate)?;
        let customer = self.customer_with(&CustomerId::new(customer))?;
        let to = address("to", to)?;
        let from = match from {
            Some(from) => address("from", from)?,
            None => postmaster(&customer)?,
        };
        let (kind, to) = self.way(&customer, to)?;
        self.test_draft(&customer, &from, to, kind).await
    }

    /// Puts a test mail into the queue, and waits for the result.
    async fn send_test(&self, actor: &Actor, draft: Draft) -> Result<TestSent, Error> {
        let heard = self.events.subscribe();
        let (id, customer) = (draft.id, draft.lane.customer.clone());
        let to = draft.envelope.recipients[0].address.to_string();
        let detail = format!("a test mail was sent to {to}");
        self.put(actor, draft).await?;
        let act = Act {
            customer: Some(customer.to_string()),
            queue_id: Some(id.to_string()),
            recipient: Some(to),
            ..Act::new(Action::CustomerTest, detail)
        };
        audit::tell(&self.events, actor, act);
        let told = async {
            tokio::select! {
                Some(told) = told_of(id, heard) => Some(told),
                told = self.told_elsewhere(actor, id) => told,
            }
        };
        let event = tokio::time::timeout(PATIENCE, told).await.ok().flatten();
        Ok(event.map_or_else(|| nothing_yet(id), |event| sent(id, &event)))
    }

    /// Returns the same event from the record of the node that delivers the customer's mail, if that is another one.
    async fn told_elsewhere(&self, actor: &Actor, id: QueueId) -> Option<Value> {
        let query = Query { queue_id: Some(id), ..Query::default() };
        loop {
            tokio::time::sleep(LOOK_ELSEWHERE).await;
            let ask = Ask::Trace { query: query.clone(), most: 1 };
            let heard = self.ask_others::<Found>(actor, ask, None).await;
            let events = heard.parts.into_iter().flat_map(|found| found.traces).flat_map(|trace| trace.events);
            let is_result = |event: &Value| {
                EventKind::ALL.iter().any(|kind| says_something(*kind) && event["event"] == kind.as_str())
            };
            if let Some(event) = events.into_iter().find(is_result) {
                return Some(event);
            }
        }
    }

    /// Returns the kind of the mail and its recipient. Test mode and the suppression list apply to it too.
    fn way(&self, customer: &Customer, to: Mailbox) -> Result<(MailKind, Mailbox), Error> {
        if let Some(reason) = self.suppression.refusal_reason(customer, &to) {
            let what = format!("{to} is on the suppression list of {} ({reason})", customer.id);
            return Err(Error::conflict(what, "take it off the list first, or send to another address"));
        }
        match test_mode::way(&customer.test, std::iter::once(&to)) {
            None if is_test_address(&to) => {
                let what = format!("{to} is for customers in test mode, and {} is not in it", customer.id);
                Err(Error::conflict(what, "send to an address that somebody reads"))
            }
            None => Ok((MailKind::Mail, to)),
            Some(TestWay::Stays) => Ok((MailKind::Test, to)),
            Some(TestWay::Leaves) => Ok((MailKind::TestLeaving, to)),
            Some(TestWay::Redirected(address)) => Ok((MailKind::TestLeaving, address)),
        }
    }

    async fn test_draft(
        &self,
        customer: &Customer,
        from: &Mailbox,
        to: Mailbox,
        kind: MailKind,
    ) -> Result<Draft, Error> {
        let (domain, signing) = signing_domain(customer, from)?;
        let SigningDomain::Ready(signer) = signing else {
            let what = format!("the DKIM key of {domain} cannot be used");
            return Err(Error::conflict(what, "mend the key first: nothing leaves unsigned"));
        };
        let lane = Lane { customer: customer.id.clone(), domain: domain.clone(), urgency: Urgency::Single, kind };
        self.routing.resolve(&lane).map_err(|why| {
            Error::conflict(why.to_string(), "mend that first: a test mail would wait in the queue with the others")
        })?;
        let postmaster = self.outcomes.postmaster();
        let (id, now) = (self.spool.next_id(), Timestamp::now());
        let message_id = format!("{id}.test@{domain}");
        let body = format!(
            "This is a test mail of the relay for {}, queue id {id}.\r\n\r\nIt was signed and took the same way as the mail of {domain}. Nobody \
             has to answer it.\r\n",
            customer.id
        );
        let header = format!(
            "Date: {}\r\nFrom: <{from}>\r\nTo: <{to}>\r\nSubject: Test mail {id}\r\nMessage-ID: <{message_id}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n",
            now.rfc5322()
        );
        let mut hasher = signer.body_hasher();
        hasher.update(body.as_bytes());
        let job = dkim::Job { signer: Arc::clone(signer), header: header.into_bytes(), body: hasher.finish(), now };
        let signed = postmaster.workers.sign(job).await.map_err(|error| {
            Error::failed(
                format!("the test mail was not signed: {error}"),
                "`postbud check` says what is wrong with the key",
            )
        })?;
        let header_len = u32::try_from(signed.header.len()).expect("the header is a few hundred octets");
        let (smtputf8, mut content) = (to.needs_smtputf8() || from.needs_smtputf8(), signed.header);
        content.extend_from_slice(b"\r\n");
        content.extend_from_slice(body.as_bytes());
        Ok(Draft {
            id,
            lane,
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(from.clone()),
                recipients: vec![Recipient::new(to)],
                body: BodyKind::SevenBit,
                smtputf8,
                ret: None,
                envid: None,
                references: References::default(),
            },
            message_id,
            prefix: signed.signatures,
            content: vec![content.into()],
            header_len,
            retry_at: now + postmaster.settings.retry_first,
            held: None,
            lines: Vec::new(),
        })
    }

    /// Stores the mail and emits its `accepted` event.
    async fn put(&self, actor: &Actor, mut draft: Draft) -> Result<(), Error> {
        let by = Submission { peer: actor.address(), ..Submission::default() };
        let told = RecipientEvent::new(EventKind::Accepted, 0, Timestamp::now())
            .because("a test send")
            .by(&actor.to_string().into());
        let mut pending = self.events.write(&Mail::of_draft(&draft).handed_in(by), &[told]);
        draft.lines = pending.take_lines();
        let durable = self.spool.commit(draft).await;
        let refused = |error| Error::failed(format!("the test mail was not stored: {error}"), "see the spool's disk");
        drop(durable.map_err(refused)?);
        self.events.announce(pending);
        Ok(())
    }
}

/// Returns the first event of a mail that has the result of an attempt.
async fn told_of(id: QueueId, mut heard: broadcast::Receiver<Arc<Event<'static>>>) -> Option<Value> {
    loop {
        match heard.recv().await {
            Ok(event) if event.queue_id == Some(id) && says_something(event.event) => {
                return serde_json::to_value(&*event).ok();
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn nothing_yet(id: QueueId) -> TestSent {
    let detail = "nothing came of it yet; `postbud trace` with its queue id tells what becomes of it";
    sent(id, &json!({ "event": "accepted", "detail": detail }))
}

/// Returns true for events with the result of an attempt, and for those that end the mail.
fn says_something(kind: EventKind) -> bool {
    kind.is_final() || matches!(kind, EventKind::Deferred | EventKind::Held)
}

fn sent(id: QueueId, event: &Value) -> TestSent {
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    TestSent {
        queue_id: id.to_string(),
        event: text("event").unwrap_or_default(),
        route: text("route"),
        server: text("server"),
        code: event["code"].as_u64().and_then(|code| u16::try_from(code).ok()),
        status: text("status"),
        reply: text("reply"),
        class: text("class"),
        detail: text("detail"),
    }
}

fn address(name: &str, text: &str) -> Result<Mailbox, Error> {
    Mailbox::parse(text).map_err(|error| Error::invalid(format!("{name}: {error}"), "give one like anna@example.com"))
}

fn signing_domain<'a>(customer: &'a Customer, from: &Mailbox) -> Result<(&'a Domain, &'a SigningDomain), Error> {
    let found = from.domain().and_then(|domain| customer.domains.get_key_value(domain));
    found.ok_or_else(|| {
        let what = format!("from: {from} is in no domain of {}", customer.id);
        Error::invalid(what, "give an address in one of the customer's From domains")
    })
}
