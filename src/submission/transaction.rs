//! A message with an envelope and no content yet. Each recipient is listed once.

use std::collections::HashSet;

use super::Limits;
use super::admission::Admitted;
use crate::message::Recipient;
use crate::smtp::{EnhancedCode, Mail, Rcpt, Reply};

/// The number of recipients that need no memory from the admission. Nearly every message has no more.
const FREE: usize = 16;
/// Temporary refusals of recipients are not counted as errors up to this multiple of the recipients that a message may have.
const PUT_OFF: usize = 10;
/// The memory of a recipient without its texts.
const RECIPIENT: usize = size_of::<Recipient>();

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) mail: Mail,
    pub(crate) recipients: Vec<Recipient>,
    /// The memory and time of the message.
    pub(crate) admitted: Admitted,
    /// The number of recipients that were refused with 5xx.
    refused: usize,
    /// The number of recipients that were refused with 4xx.
    put_off: usize,
}

impl Transaction {
    pub(crate) fn new(mail: Mail, admitted: Admitted) -> Self {
        Transaction { mail, recipients: Vec::new(), admitted, refused: 0, put_off: 0 }
    }

    /// Adds a recipient, and returns the reply.
    pub(crate) fn add(&mut self, rcpt: Rcpt, limits: &Limits) -> Reply {
        if self.recipients.len() >= limits.recipients {
            // RFC 5321 §4.5.3.1.10: the client sends the other recipients another message.
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
            if !self.admitted.reserve_recipient((RECIPIENT + texts + domain) as u64) {
                return Reply::new(452, EnhancedCode(4, 3, 1), "too many recipients at once; try again later");
            }
        }
        self.recipients.push(Recipient { address, notify, orcpt });
        Reply::new(250, EnhancedCode(2, 1, 5), "recipient noted")
    }

    /// Returns true if this reply to RCPT does not count toward the error limit. Bad addresses in a long list do not count, because the
    /// message would otherwise never reach its content. Neither do recipients over the limit, of which there may be many (RFC 5321
    /// §4.5.3.1.10).
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

    /// Removes repeated recipients. Each gets the message once, with the parameters that came first.
    pub(crate) fn without_repeated_recipients(mut self) -> Self {
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
    use std::sync::Arc;

    use prometheus_client::metrics::gauge::Gauge;
    use tokio::time::Instant;

    use super::*;
    use crate::smtp::{Mailbox, ReversePath};
    use crate::submission::admission::Admission;

    fn admission(limits: &Limits, memory: usize) -> Arc<Admission> {
        Admission::new(&Limits { bytes_in_flight: memory as u64, ..limits.clone() }, Gauge::default())
    }

    fn rcpt(n: usize) -> Rcpt {
        Rcpt { address: Mailbox::parse(&format!("n{n}@test.dk")).unwrap(), notify: None, orcpt: None }
    }

    fn mail() -> Mail {
        Mail { path: ReversePath::Null, size: None, smtputf8: false, ret: None, envid: None }
    }

    #[test]
    fn refused_recipients_take_no_memory_and_are_forgiven_up_to_a_number() {
        let limits = Limits { recipients: 100, ..Limits::default() };
        let admission = admission(&limits, 0);
        let mut transaction = Transaction::new(mail(), admission.begin(Instant::now()));
        assert!((0..FREE).all(|n| transaction.add(rcpt(n), &limits).code == 250));
        for n in 0..100 * PUT_OFF {
            let reply = transaction.add(rcpt(n), &limits);
            assert_eq!((reply.code, reply.enhanced), (452, Some(EnhancedCode(4, 3, 1))));
            assert!(transaction.forgives(&reply, &limits), "{n}");
        }
        assert_eq!(admission.lists(), 0);
        let reply = transaction.add(rcpt(0), &limits);
        assert!(!transaction.forgives(&reply, &limits));
    }

    #[test]
    fn long_lists_share_their_memory_and_give_it_back() {
        let limits = Limits::default();
        let admission = admission(&limits, 20 * RECIPIENT);
        let begin = || Transaction::new(mail(), admission.begin(Instant::now()));
        let (mut first, mut second) = (begin(), begin());
        let full = (0..500).find(|n| first.add(rcpt(*n), &limits).code == 452).expect("an end");
        assert!(full > FREE + 10, "{full}");
        // Messages with short lists are still accepted.
        assert!((0..FREE).all(|n| second.add(rcpt(n), &limits).code == 250));
        let reply = second.add(rcpt(FREE), &limits);
        assert_eq!((reply.code, reply.enhanced), (452, Some(EnhancedCode(4, 3, 1))));
        drop(first);
        assert_eq!(second.add(rcpt(FREE), &limits).code, 250);
        drop(second);
        assert_eq!(admission.lists(), 0);
    }
}
