//! A mail for the tests of events.

use crate::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, Recipient, References, Urgency};
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::time::Timestamp;

/// When the events happen.
pub(super) const AT: Timestamp = Timestamp::from_millis(1_795_458_240_123);

/// Returns the lane of the mail in bulk from test.dk.
pub(super) fn lane(kind: MailKind) -> Lane {
    let domain = Domain::parse("test.dk").unwrap();
    Lane { customer: CustomerId::new("test-as"), domain, urgency: Urgency::Bulk, kind }
}

/// Returns an envelope with two recipients, and with everything that webCRM may say about a mail.
pub(super) fn envelope() -> Envelope {
    Envelope {
        reverse_path: ReversePath::Mailbox(Mailbox::parse("news@test.dk").unwrap()),
        recipients: ["a@x.dk", "b@x.dk"].map(|to| Recipient::new(Mailbox::parse(to).unwrap())).into(),
        body: BodyKind::SevenBit,
        smtputf8: false,
        ret: None,
        envid: Some("a+2Db".into()),
        references: References {
            reference: Some("order 7".into()),
            campaign: Some("spring".into()),
            tags: ["x".into(), "y".into()].into(),
            ..References::default()
        },
    }
}
