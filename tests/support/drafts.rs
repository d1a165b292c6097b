//! Drafts for spool tests: small messages whose content follows from their number, so that every reader can check them.
#![allow(dead_code, reason = "each test binary uses its part")]

use postbud::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, QueueIds, Recipient, Urgency};
use postbud::smtp::{Domain, Mailbox, ReversePath};
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Backoff, Draft, Spool};
use postbud::time::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Makes the ids of all drafts of a test, for any spool.
static IDS: QueueIds = QueueIds::new(u16::MAX);

/// Makes the lane of a customer's single mail.
pub fn lane(customer: &str) -> Lane {
    let domain = Domain::parse("test.dk").unwrap();
    Lane { customer: CustomerId::new(customer), domain, urgency: Urgency::Single, kind: MailKind::Mail }
}

/// Makes a message from `customer` to `to`, with a body of `size` octets that follows from `seed`.
pub fn draft(customer: &str, to: &[&str], seed: u64, size: usize) -> Draft {
    let id = IDS.next();
    let mailbox = |text: &str| Mailbox::parse(text).unwrap();
    let (header, body) = content(seed, size);
    Draft {
        id,
        lane: lane(customer),
        envelope: Envelope {
            reverse_path: ReversePath::Mailbox(mailbox("sender@test.dk")),
            recipients: to.iter().map(|to| Recipient::new(mailbox(to))).collect(),
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            references: Default::default(),
        },
        message_id: format!("{seed}@test.dk"),
        prefix: format!("X-Seed: {seed}\r\n").into_bytes(),
        header_len: header.len() as u32,
        content: vec![header.into(), body.into()],
        retry_at: id.arrived() + Duration::from_secs(60),
        held: None,
        lines: Vec::new(),
    }
}

/// Returns the header and the body of the message with this seed.
pub fn content(seed: u64, size: usize) -> (Vec<u8>, Vec<u8>) {
    let header = format!("Subject: {seed}\r\nFrom: a@test.dk\r\n").into_bytes();
    let mut body = b"\r\n".to_vec();
    let mut state = seed | 1;
    while body.len() < size + 2 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.extend_from_slice(format!("{state:016x}\r\n").as_bytes());
    }
    body.truncate(size + 2);
    (header, body)
}

/// Returns pauses so short that no test waits for them.
pub fn backoff() -> Backoff {
    let pause = Duration::from_secs(600);
    Backoff { first: pause, factor: 1.0, longest: pause }
}

/// Returns a time slightly after now, when everything committed so far is due.
pub fn soon() -> Timestamp {
    Timestamp::now() + Duration::from_secs(1)
}

/// Puts a message of each seed below `messages` into the spool of a relay that does not run.
pub async fn fill(dir: PathBuf, messages: u64, draft: impl Fn(u64) -> Draft + Clone + Send + 'static) {
    const WRITERS: u64 = 32;
    let settings = Settings { dir, min_free: 1 << 30, ..Settings::default() };
    let spool: Arc<dyn Spool> = Embedded::open(settings).expect("the spool opens");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (spool, draft) = (Arc::clone(&spool), draft.clone());
            tokio::spawn(async move {
                for seed in (writer..messages).step_by(WRITERS as usize) {
                    let _ = spool.commit(draft(seed)).await.expect("it is committed");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    spool.stop().await;
}
