//! Reports refusals: an event `rejected` and a log line for each refused message or recipient.
//!
//! A client can cause refusals as fast as it can send. A limited number of refusals per minute is reported singly for each submitter, and
//! for each address that has not logged in. At the end of the minute, one event reports how many more there were. All strangers together
//! have a separate limit, so that they cannot hide a submitter's refusals.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::limits::counted_as;
use super::refusal::Refusal;
use super::suppressed;
use crate::events::{Event, Events, Submission, Text};
use crate::message::FailureClass;
use crate::smtp::{Command, EnhancedCode, Reply, ReversePath};
use crate::visible::visible;

/// The interval after which further refusals are reported as a number, and the limits start again.
const MINUTE: Duration = Duration::from_secs(60);
/// The refusals per minute that are reported singly, for a submitter, or for an address that needs no login.
const KNOWN: u32 = 120;
/// The same for an address that has not logged in.
const STRANGER: u32 = 20;
/// The same for all addresses together that have not logged in.
const STRANGERS: u32 = 200;
/// The most keys that are counted separately within a minute. Further ones are counted together.
const COUNTED: usize = 1000;
/// The most characters that are shown of a name that somebody tried to log in with.
const NAME: usize = 64;

/// The key by which refusals are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Submitter(String),
    Network(IpAddr),
    Stranger(IpAddr),
    /// Strangers beyond their common limit, and all keys that are not counted separately.
    Others,
}

impl Key {
    fn of(client: &Client<'_>) -> Key {
        match (client.submitter(), client.identity) {
            (Some(name), _) => Key::Submitter(name.to_owned()),
            (None, Some(_)) => Key::Network(counted_as(client.peer)),
            (None, None) => Key::Stranger(counted_as(client.peer)),
        }
    }
}

/// The counts of one key within a minute.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    told: u32,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Minute {
    counts: HashMap<Key, Count>,
    strangers: u32,
}

impl Minute {
    /// Returns true if one more refusal is reported singly. Otherwise counts it.
    fn admits(&mut self, key: Key) -> bool {
        let is_stranger = matches!(key, Key::Stranger(_));
        let crowded = self.counts.len() >= COUNTED && !self.counts.contains_key(&key);
        let key = if crowded || (is_stranger && self.strangers >= STRANGERS) { Key::Others } else { key };
        let most = match key {
            Key::Submitter(_) | Key::Network(_) => KNOWN,
            Key::Stranger(_) => STRANGER,
            Key::Others => 0,
        };
        let count = self.counts.entry(key).or_default();
        if count.told >= most {
            count.left_out += 1;
            return false;
        }
        count.told += 1;
        self.strangers += u32::from(is_stranger);
        true
    }
}

/// Reports refusals within the limits.
pub(super) struct Refusals {
    events: Events,
    minute: Mutex<Minute>,
}

impl Refusals {
    pub(super) fn new(events: Events) -> Self {
        Refusals { events, minute: Mutex::default() }
    }

    /// Reports a message that was refused after its content was read.
    pub(super) fn message(&self, client: Client<'_>, refusal: &Refusal) {
        self.suppressed(client, refusal);
        if !self.admits(client) {
            return;
        }
        let (about, class) = (&refusal.about, class(refusal.reason));
        let reply = match &about.customer {
            Some(customer) if !about.suppressed.is_empty() => &suppressed::all_refused(customer),
            _ => &refusal.reply,
        };
        let event = Event {
            message_id: about.message_id.as_deref().map(Cow::Borrowed),
            customer: about.customer.as_ref().map(|customer| customer.as_str().into()),
            from_domain: about.from_domain.as_ref().map(|domain| domain.as_str().into()),
            sender: about.sender.as_ref().map(|sender| Cow::Owned(sender.to_string())),
            recipients: about.recipients.map(|count| count as u64),
            detail: refusal.cause.as_deref().map(Cow::Borrowed),
            ..Event::rejected(client.submission(), reply, refusal.reason, class)
        };
        self.emit(event, &refusal.reply);
    }

    /// Reports each recipient on a suppression list for whom a message was refused.
    fn suppressed(&self, client: Client<'_>, refusal: &Refusal) {
        let about = &refusal.about;
        let Some(customer) = &about.customer else { return };
        for (recipient, reason) in &about.suppressed {
            let reply = suppressed::refused(recipient, customer, *reason);
            self.events.emit_of_refused(Event {
                message_id: about.message_id.as_deref().map(Cow::Borrowed),
                from_domain: about.from_domain.as_ref().map(|domain| domain.as_str().into()),
                sender: about.sender.as_ref().map(|sender| Cow::Owned(sender.to_string())),
                recipient: Some(Cow::Owned(recipient.to_string())),
                ..Event::suppressed(client.submission(), customer, &reply, reason.as_str())
            });
        }
    }

    /// Reports a refused MAIL or RCPT. `sender` is that of the transaction, if there is one.
    pub(super) fn command(&self, client: Client<'_>, sender: Option<&ReversePath>, line: &[u8], reply: &Reply) {
        // The command was out of order because an earlier one was refused, which has been reported.
        if reply.code == 503 || !self.admits(client) {
            return;
        }
        // Parse the line again. Only refused lines need this.
        let (mail, rcpt) = match Command::parse(line) {
            Ok(Command::Mail(mail)) => (Some(mail), None),
            Ok(Command::Rcpt(rcpt)) => (None, Some(rcpt)),
            _ => (None, None),
        };
        let sender = mail.as_ref().map(|mail| &mail.path).or(sender);
        let reason = reason(reply);
        let event = Event {
            sender: sender.map(|sender| Cow::Owned(sender.to_string())),
            recipient: rcpt.map(|rcpt| Cow::Owned(rcpt.address.to_string())),
            ..Event::rejected(client.submission(), reply, reason, class(reason))
        };
        self.emit(event, reply);
    }

    /// Logs a wrong login. The name may be anything, even a password, so it is shortened, and no event contains it.
    pub(super) fn login(&self, peer: IpAddr, name: &str) {
        if self.admits(Client { peer, identity: None }) {
            let end = name.char_indices().nth(NAME).map_or(name.len(), |(end, _)| end);
            tracing::warn!(%peer, user = %visible(&name[..end]), "login failed");
        }
    }

    /// Returns true if a refused connection from this address belongs in the log.
    pub(super) fn admits_stranger(&self, peer: IpAddr) -> bool {
        self.admits(Client { peer, identity: None })
    }

    /// Reports the numbers of further refusals once a minute, until `stopping`.
    pub(super) async fn run(&self, stopping: CancellationToken) {
        while tokio::time::timeout(MINUTE, stopping.cancelled()).await.is_err() {
            self.end_minute();
        }
    }

    /// Reports the numbers of further refusals, and begins a new minute.
    pub(super) fn end_minute(&self) {
        let counts = std::mem::take(&mut *self.minute()).counts;
        for (key, Count { left_out, .. }) in counts.into_iter().filter(|(_, count)| count.left_out > 0) {
            let by = match &key {
                Key::Submitter(name) => Submission { submitter: Some(name.into()), ..Submission::default() },
                Key::Network(peer) | Key::Stranger(peer) => Submission { peer: Some(*peer), ..Submission::default() },
                Key::Others => Submission::default(),
            };
            let detail = format!("{left_out} more refusals of the last minute are not told one by one");
            tracing::warn!(
                submitter = by.submitter.as_deref(),
                peer = by.peer.map(tracing::field::display),
                "{detail}"
            );
            self.events.emit(Event::more_rejected(by, left_out, detail));
        }
    }

    fn admits(&self, client: Client<'_>) -> bool {
        self.minute().admits(Key::of(&client))
    }

    fn emit(&self, event: Event<'_>, reply: &Reply) {
        let shown = |text: &Text<'_>| text.as_deref().map(|text| visible(text).into_owned());
        tracing::warn!(
            peer = event.peer.as_deref(),
            submitter = event.submitter.as_deref(),
            customer = event.customer.as_deref(),
            from_domain = event.from_domain.as_deref(),
            sender = shown(&event.sender),
            recipient = shown(&event.recipient),
            reason = event.reason,
            detail = shown(&event.detail),
            "refused: {}",
            visible(&reply.to_string())
        );
        self.events.emit(event);
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the reason for a refused MAIL or RCPT, in the same words as for refused messages. The replies are this program's own.
fn reason(reply: &Reply) -> &'static str {
    match (reply.code, reply.enhanced) {
        (530, _) => "login",
        (421, _) => "errors",
        (552, _) => "size",
        (452, Some(EnhancedCode(4, 5, 3))) => "recipients",
        (452, _) => "bytes_in_flight",
        (553, _) => "smtputf8",
        (501, Some(EnhancedCode(5, 1, 7))) => "sender",
        (501, Some(EnhancedCode(5, 1, 3))) | (550, Some(EnhancedCode(5, 1, 1))) => "recipient",
        _ => "syntax",
    }
}

/// Returns the failure class for a reason.
fn class(reason: &str) -> FailureClass {
    match reason {
        "login" | "key" => FailureClass::Auth,
        "size" | "header" | "header_size" | "line_end" | "line_length" | "nul" | "loop" | "smtputf8" | "syntax"
        | "references" => FailureClass::Content,
        "recipient" => FailureClass::Hard,
        "errors" => FailureClass::Rate,
        "recipients" | "bytes_in_flight" | "spool" | "spool_full" => FailureClass::RelayLimit,
        _ => FailureClass::Policy,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::events::EventKind;
    use crate::submission::policy::Identity;
    use crate::submission::{Allowed, Submitter};

    fn submitter(name: &str) -> Identity {
        Identity::Submitter(Arc::new(Submitter {
            username: name.into(),
            password_hash: String::new(),
            customers: Allowed::All,
            urgency: None,
            test: None,
        }))
    }

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn told(heard: &mut tokio::sync::broadcast::Receiver<Arc<Event<'static>>>) -> Vec<Arc<Event<'static>>> {
        std::iter::from_fn(|| heard.try_recv().ok()).collect()
    }

    fn refusal() -> Reply {
        Reply::new(552, EnhancedCode(5, 3, 4), "too large")
    }

    #[test]
    fn one_submitters_flood_of_refusals_is_bounded_and_hides_no_others() {
        let refusals = Refusals::new(Events::default());
        let mut heard = refusals.events.subscribe();
        let (flood, other) = (submitter("flood"), submitter("other"));
        let mail = |n, identity| {
            refusals.command(Client { peer: peer(n), identity }, None, b"MAIL FROM:<a@test.dk> SIZE=99", &refusal());
        };
        (0..1000).for_each(|n| mail(n, Some(&flood)));
        mail(5, Some(&other));
        let events = told(&mut heard);
        assert_eq!(events.len(), KNOWN as usize + 1);
        let last = events.last().unwrap();
        assert_eq!((last.submitter.as_deref(), last.peer.as_deref()), (Some("other"), Some("0.0.0.5")));
        assert_eq!((last.sender.as_deref(), last.reason), (Some("a@test.dk"), Some("size")));
        refusals.end_minute();
        let [summary] = told(&mut heard).try_into().unwrap();
        let found = (summary.event, summary.submitter.as_deref(), summary.left_out);
        assert_eq!(found, (EventKind::Rejected, Some("flood"), Some(1000 - u64::from(KNOWN))));
        refusals.end_minute();
        mail(5, Some(&flood));
        assert_eq!(told(&mut heard).len(), 1, "a new minute");
    }

    #[test]
    fn strangers_are_bounded_each_and_together_and_in_memory() {
        let refusals = Refusals::new(Events::default());
        let mut heard = refusals.events.subscribe();
        let rcpt = |n, identity| {
            refusals.command(Client { peer: peer(n), identity }, None, b"RCPT TO:<x@example.com>", &refusal());
        };
        (0..100).for_each(|_| rcpt(1, None));
        assert_eq!(told(&mut heard).len(), STRANGER as usize);
        (0..100_000).for_each(|n| rcpt(n, None));
        assert_eq!(told(&mut heard).len(), (STRANGERS - STRANGER) as usize);
        assert!(refusals.minute().counts.len() <= COUNTED + 1);
        let webcrm = submitter("webcrm");
        rcpt(7, Some(&webcrm));
        let [event] = told(&mut heard).try_into().unwrap();
        assert_eq!(event.recipient.as_deref(), Some("x@example.com"));
        refusals.end_minute();
        let left_out: u64 = told(&mut heard).iter().filter_map(|event| event.left_out).sum();
        assert_eq!(left_out, 100_100 - u64::from(STRANGERS));
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_an_order_that_is_wrong_is_no_refusal() {
        let refusals = Refusals::new(Events::default());
        let mut heard = refusals.events.subscribe();
        for n in 0..100 {
            let peer = format!("2001:db8::{n:x}").parse().unwrap();
            refusals.command(Client { peer, identity: None }, None, b"MAIL FROM:<>", &refusal());
        }
        assert_eq!(told(&mut heard).len(), STRANGER as usize);
        let order = Reply::new(503, EnhancedCode(5, 5, 1), "MAIL first");
        refusals.command(Client { peer: peer(9), identity: None }, None, b"RCPT TO:<x@example.com>", &order);
        assert!(told(&mut heard).is_empty());
    }

    #[test]
    fn each_reply_to_mail_and_rcpt_has_its_reason() {
        for (code, enhanced, expected) in [
            (530, EnhancedCode(5, 7, 0), "login"),
            (552, EnhancedCode(5, 3, 4), "size"),
            (553, EnhancedCode(5, 6, 7), "smtputf8"),
            (501, EnhancedCode(5, 1, 7), "sender"),
            (501, EnhancedCode(5, 1, 3), "recipient"),
            (550, EnhancedCode(5, 1, 1), "recipient"),
            (452, EnhancedCode(4, 5, 3), "recipients"),
            (452, EnhancedCode(4, 3, 1), "bytes_in_flight"),
            (501, EnhancedCode(5, 5, 4), "syntax"),
            (555, EnhancedCode(5, 5, 4), "syntax"),
            (500, EnhancedCode(5, 5, 2), "syntax"),
            (421, EnhancedCode(4, 7, 0), "errors"),
        ] {
            assert_eq!(reason(&Reply::new(code, enhanced, "x")), expected, "{code}");
        }
    }
}
