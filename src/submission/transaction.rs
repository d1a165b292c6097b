//! A message that has an envelope and no content yet: its recipients, each once, and the memory of long lists.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::Limits;
use crate::message::Recipient;
use crate::smtp::{EnhancedCode, Mail, Rcpt, Reply};

/// The recipients of a message that need no memory from the budget. Nearly every message has no more.
const FREE: usize = 16;
/// How many temporary refusals of recipients are not counted as errors, as a multiple of the recipients that a message may have.
const PUT_OFF: usize = 10;
/// The memory of a recipient besides its texts.
const RECIPIENT: usize = size_of::<Recipient>();

/// Memory for recipients, over all connections. A client with a thousand transactions of a thousand recipients each would otherwise
/// occupy a gigabyte before the first content comes.
#[derive(Debug)]
pub(crate) struct Envelopes {
    held: AtomicU64,
    most: u64,
}

/// The memory of one message's recipients, which is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    envelopes: Arc<Envelopes>,
    octets: u64,
}

impl Envelopes {
    pub(crate) fn new(most: u64) -> Self {
        Envelopes { held: AtomicU64::new(0), most }
    }
}

impl Room {
    fn grow(&mut self, octets: u64) -> bool {
        let Envelopes { held, most } = &*self.envelopes;
        let within = |held: u64| held.checked_add(octets).filter(|held| held <= most);
        // A refused request must not occupy memory, because others would be refused for it.
        let grown = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if grown {
            self.octets += octets;
        }
        grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.envelopes.held.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) mail: Mail,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) started: Instant,
    /// The memory of the recipients.
    pub(crate) room: Room,
    /// The number of recipients that were refused with 5xx.
    refused: usize,
    /// The number of recipients that were refused with 4xx.
    put_off: usize,
}

impl Transaction {
    pub(crate) fn new(mail: Mail, now: Instant, envelopes: &Arc<Envelopes>) -> Self {
        let room = Room { envelopes: Arc::clone(envelopes), octets: 0 };
        Transaction { mail, recipients: Vec::new(), started: now, room, refused: 0, put_off: 0 }
    }

    /// Takes a recipient, and returns the reply.
    pub(crate) fn add(&mut self, rcpt: Rcpt, limits: &Limits) -> Reply {
        if self.recipients.len() >= limits.recipients {
            // RFC 5321 §4.5.3.1.10: the client sends the rest with another message.
            return Reply::new(452, EnhancedCode(4, 5, 3), "enough recipients; send the others another message");
        }
        let Rcpt { address, notify, orcpt } = rcpt;
        // RFC 6533 §3 for ORCPT.
        let in_ascii = !address.needs_smtputf8() && orcpt.as_deref().is_none_or(str::is_ascii);
        if !in_ascii && !self.mail.smtputf8 {
            let text = "an address outside ASCII needs the parameter SMTPUTF8 at MAIL";
            return Reply::new(553, EnhancedCode(5, 6, 7), text);
        }
        if self.recipients.len() >= FREE {
            let texts = address.local().len() + orcpt.as_deref().map_or(0, str::len);
            let domain = address.domain().map_or(0, |domain| domain.as_str().len());
            if !self.room.grow((RECIPIENT + texts + domain) as u64) {
                return Reply::new(452, EnhancedCode(4, 3, 1), "too many recipients at once; try again later");
            }
        }
        self.recipients.push(Recipient { address, notify, orcpt });
        Reply::new(250, EnhancedCode(2, 1, 5), "recipient noted")
    }

    /// Returns true if this reply to RCPT does not count toward the error limit. Bad addresses in a long
    /// list do not count, because its message would never come to its content. Neither do recipients over the limit, which may be many
    /// (RFC 5321 §4.5.3.1.10).
    pub(crate) fn forgives(&mut self, reply: &Reply, limits: &Limits) -> bool {
        let (count, most) = if reply.is_permanent() {
            (&mut self.refused, limits.recipients)
        } else if reply.is_transient() {
            (&mut self.put_off, limits.recipients.saturating_mul(PUT_OFF))
        } else {
            return false;
        };
        *count += 1;
        *count <= most
    }

    /// Returns true if the recipient is in the list already. It gets the message once, with the parameters that came first.
    pub(crate) fn with_each_once(mut self) -> Self {
        if self.recipients.len() > 1 {
            let mut seen = HashSet::with_capacity(self.recipients.len());
            let firsts: Vec<bool> = self.recipients.iter().map(|recipient| seen.insert(&recipient.address)).collect();
            let mut firsts = firsts.into_iter();
            self.recipients.retain(|_| firsts.next().unwrap_or(true));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::{Mailbox, ReversePath};

    fn rcpt(n: usize) -> Rcpt {
        Rcpt { address: Mailbox::parse(&format!("n{n}@test.dk")).unwrap(), notify: None, orcpt: None }
    }

    fn mail() -> Mail {
        Mail { path: ReversePath::Null, size: None, smtputf8: false, ret: None, envid: None }
    }

    #[test]
    fn refused_recipients_take_no_memory_and_are_forgiven_up_to_a_number() {
        let (limits, envelopes) = (Limits { recipients: 100, ..Limits::default() }, Arc::new(Envelopes::new(0)));
        let mut transaction = Transaction::new(mail(), Instant::now(), &envelopes);
        assert!((0..FREE).all(|n| transaction.add(rcpt(n), &limits).code == 250));
        for n in 0..100 * PUT_OFF {
            let reply = transaction.add(rcpt(n), &limits);
            assert_eq!((reply.code, reply.enhanced), (452, Some(EnhancedCode(4, 3, 1))));
            assert!(transaction.forgives(&reply, &limits), "{n}");
        }
        assert_eq!(envelopes.held.load(Ordering::Relaxed), 0);
        let reply = transaction.add(rcpt(0), &limits);
        assert!(!transaction.forgives(&reply, &limits));
    }

    #[test]
    fn long_lists_share_their_memory_and_give_it_back() {
        let (limits, envelopes) = (Limits::default(), Arc::new(Envelopes::new(20 * RECIPIENT as u64)));
        let begin = || Transaction::new(mail(), Instant::now(), &envelopes);
        let (mut first, mut second) = (begin(), begin());
        let full = (0..500).find(|n| first.add(rcpt(*n), &limits).code == 452).expect("an end");
        assert!(full > FREE + 10, "{full}");
        // Messages with short lists go on.
        assert!((0..FREE).all(|n| second.add(rcpt(n), &limits).code == 250));
        let reply = second.add(rcpt(FREE), &limits);
        assert_eq!((reply.code, reply.enhanced), (452, Some(EnhancedCode(4, 3, 1))));
        drop(first);
        assert_eq!(second.add(rcpt(FREE), &limits).code, 250);
        drop(second);
        assert_eq!(envelopes.held.load(Ordering::Relaxed), 0);
    }
}
