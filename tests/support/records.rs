//! A leased message of the spool, with which tests of delivery, of the queue's decisions and of notifications begin. Only this module names
//! all fields of a [`Record`], so a test names only the fields it is about: `Record { attempts: 3, ..record("a@test.dk", &["x@y.dk"]) }`.
//!
//! Unit tests share it: inside the crate `postbud` is another name of `crate` (see lib.rs).
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

use postbud::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, QueueId, Recipient, Urgency};
use postbud::smtp::{Domain, Mailbox, ReversePath};
use postbud::spool::{RecipientState, Record};
use postbud::time::Timestamp;

/// Makes recipients who ask for nothing.
pub fn recipients(to: &[&str]) -> Vec<Recipient> {
    to.iter().map(|to| Recipient::new(Mailbox::parse(to).expect("a test's recipient is an address"))).collect()
}

/// Makes single mail of the customer test-as from test.dk. Nothing was tried yet, and it is due.
pub fn record(sender: &str, to: &[&str]) -> Record {
    record_to(sender, recipients(to))
}

/// Makes the same for recipients who may ask for something.
pub fn record_to(sender: &str, recipients: Vec<Recipient>) -> Record {
    let sender = Mailbox::parse(sender).expect("a test's sender is an address");
    Record {
        id: QueueId::from_u64(7),
        lane: Lane {
            customer: CustomerId::new("test-as"),
            domain: Domain::parse("test.dk").expect("a domain"),
            urgency: Urgency::Single,
            kind: MailKind::Mail,
        },
        recipients: vec![RecipientState::Waiting { last_reply: None }; recipients.len()],
        envelope: Envelope {
            reverse_path: ReversePath::Mailbox(sender),
            recipients,
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            references: Default::default(),
        },
        message_id: "1@test.dk".into(),
        size: 1000,
        attempts: 0,
        due: Timestamp::EPOCH,
        expedited: None,
        waited_for_caps: Duration::ZERO,
        delay_notified: false,
        held: None,
        leased: true,
    }
}
