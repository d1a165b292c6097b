//! Encodes messages and their states for the log of either backend.
//!
//! Decoding never panics and never trusts a length. Octets that do not decode give [`Damaged`], even if their checksum is right.

mod reader;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use super::next_try::NextTry;
use crate::message::{Envelope, Lane};
use crate::smtp::Domain;
use crate::spool::{Draft, RecipientState};

pub(super) use self::reader::Reader;
pub(super) use self::writer::Writer;

/// The most content that is read at once, unless the header block is larger.
pub(super) const CHUNK: u64 = 256 << 10;

/// The octets do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The part of a message's description that never changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meta {
    pub lane: Lane,
    pub envelope: Envelope,
    pub message_id: String,
    pub header_len: u32,
    pub content_len: u64,
    pub first_chunk: u64,
    pub prefix: Vec<u8>,
}

impl Meta {
    /// Returns the number of chunks of the content.
    pub fn chunks(&self) -> usize {
        1 + usize::try_from(self.content_len.saturating_sub(self.first_chunk).div_ceil(CHUNK)).unwrap_or(usize::MAX)
    }

    /// Returns the offset and length of chunk `index` in the content.
    pub fn chunk_range(&self, index: usize) -> (u64, u64) {
        match index {
            0 => (0, self.first_chunk),
            i => {
                let start = self.first_chunk + CHUNK * (i as u64 - 1);
                (start, CHUNK.min(self.content_len.saturating_sub(start)))
            }
        }
    }
}

/// Returns the length of the first chunk, which holds the whole header block and its blank line.
pub(super) fn first_chunk(header_len: u32, content_len: u64) -> u64 {
    CHUNK.max(u64::from(header_len) + 2).min(content_len)
}

/// The part of a message's state that the index needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub attempts: u32,
    pub next: NextTry,
    pub delay_notified: bool,
    /// True if nothing was recorded since the commit. The stored due time is then that of the second attempt.
    pub untried: bool,
    pub hold: Option<Arc<str>>,
}

impl Status {
    /// Returns the status of a draft at its commit.
    pub fn of(draft: &Draft) -> Self {
        Status {
            attempts: 0,
            next: NextTry::at(draft.retry_at),
            delay_notified: false,
            untried: true,
            hold: draft.held.as_deref().map(Arc::from),
        }
    }
}

/// The whole state of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub status: Status,
    pub waited_for_caps: Duration,
    /// The recipients with another state than "waiting, no reply heard".
    pub recipients: Vec<(u32, RecipientState)>,
}

impl State {
    /// Returns one state for each of `count` recipients.
    pub fn expand(self, count: usize) -> Result<Vec<RecipientState>, Damaged> {
        let mut all = vec![RecipientState::Waiting { last_reply: None }; count];
        for (index, state) in self.recipients {
            *all.get_mut(index as usize).ok_or(Damaged)? = state;
        }
        Ok(all)
    }

    /// Returns the states other than "waiting, no reply heard", with their indices.
    pub fn compact(all: &[RecipientState]) -> Vec<(u32, RecipientState)> {
        let differs = |state: &&RecipientState| **state != RecipientState::Waiting { last_reply: None };
        (0..).zip(all).filter(|(_, state)| differs(state)).map(|(i, state)| (i, state.clone())).collect()
    }
}

/// Returns a set of 32 bits, one of which is set for each recipient's domain. With it, most messages without a recipient in a given domain
/// are skipped without reading them.
pub(super) fn domain_bits(envelope: &Envelope) -> u32 {
    envelope.recipients.iter().filter_map(|r| r.address.domain()).fold(0, |bits, domain| bits | domain_bit(domain))
}

/// Returns the bit of one domain.
pub(super) fn domain_bit(domain: &Domain) -> u32 {
    1 << (crc32fast::hash(domain.as_str().as_bytes()) & 31)
}

/// Appends the payload of a draft's message frame.
pub(super) fn write_draft(out: &mut Writer, draft: &Draft, status: &Status, content_len: u64) {
    let first_chunk = first_chunk(draft.header_len, content_len);
    write_front(
        out,
        &draft.lane,
        &draft.envelope,
        &draft.message_id,
        [draft.header_len.into(), content_len, first_chunk],
    );
    write_state_parts(out, status, Duration::ZERO, &[]);
    out.bytes(&draft.prefix);
    out.bytes(&draft.lines);
}

/// Appends the payload of the message frame of a copy (see compaction).
pub(super) fn write_message(out: &mut Writer, meta: &Meta, state: &State) {
    let Meta { lane, envelope, message_id, header_len, content_len, first_chunk, prefix } = meta;
    write_front(out, lane, envelope, message_id, [(*header_len).into(), *content_len, *first_chunk]);
    write_state(out, state);
    out.bytes(prefix);
    // A copy has no lines for the journal, because the first version of the message had them.
    out.bytes(&[]);
}

fn write_front(out: &mut Writer, lane: &Lane, envelope: &Envelope, message_id: &str, lengths: [u64; 3]) {
    out.lane(lane);
    out.envelope(envelope);
    out.text(message_id);
    lengths.into_iter().for_each(|len| out.number(len));
}

/// Reads the payload of a message frame. Its last part is the lines for the outbox.
pub(super) fn read_message(payload: &[u8]) -> Result<(Meta, State, &[u8]), Damaged> {
    let mut r = Reader::new(payload);
    let lane = r.lane()?;
    let envelope = r.envelope()?;
    let message_id = r.text()?.to_owned();
    let header_len = u32::try_from(r.number()?).map_err(|_| Damaged)?;
    let content_len = r.number()?;
    let first_chunk = r.number()?;
    let state = read_state_from(&mut r)?;
    let prefix = r.bytes()?.to_vec();
    let lines = r.bytes()?;
    r.end()?;
    (first_chunk <= content_len && u64::from(header_len) <= first_chunk).then_some(()).ok_or(Damaged)?;
    Ok((Meta { lane, envelope, message_id, header_len, content_len, first_chunk, prefix }, state, lines))
}

/// Appends a whole state.
pub(super) fn write_state(out: &mut Writer, state: &State) {
    write_state_parts(out, &state.status, state.waited_for_caps, &state.recipients);
}

fn write_state_parts(
    out: &mut Writer,
    status: &Status,
    waited_for_caps: Duration,
    recipients: &[(u32, RecipientState)],
) {
    out.status(status);
    out.number(u64::try_from(waited_for_caps.as_millis()).unwrap_or(u64::MAX));
    out.number(recipients.len() as u64);
    for (index, state) in recipients {
        out.number((*index).into());
        let (tag, reply) = match state {
            RecipientState::Waiting { last_reply: None } => (0, None),
            RecipientState::Waiting { last_reply: Some(reply) } => (1, Some(reply)),
            RecipientState::Relayed { reply } => (2, Some(reply)),
            RecipientState::Failed { reply } => (3, Some(reply)),
        };
        out.byte(tag);
        if let Some(reply) = reply {
            out.heard(reply);
        }
    }
}

/// Reads the payload of a state frame: the state, and the lines for the outbox.
pub(super) fn read_state(payload: &[u8]) -> Result<(State, &[u8]), Damaged> {
    let mut r = Reader::new(payload);
    let state = read_state_from(&mut r)?;
    let lines = r.bytes()?;
    r.end()?;
    Ok((state, lines))
}

fn read_state_from(r: &mut Reader) -> Result<State, Damaged> {
    let status = r.status()?;
    let waited_for_caps = Duration::from_millis(r.number()?);
    let count = r.number()?;
    let mut recipients = Vec::new();
    for _ in 0..count {
        let index = u32::try_from(r.number()?).map_err(|_| Damaged)?;
        let tag = r.byte()?;
        let state = match tag {
            0 => RecipientState::Waiting { last_reply: None },
            1 => RecipientState::Waiting { last_reply: Some(r.heard()?) },
            2 => RecipientState::Relayed { reply: r.heard()? },
            3 => RecipientState::Failed { reply: r.heard()? },
            _ => return Err(Damaged),
        };
        recipients.push((index, state));
    }
    Ok(State { status, waited_for_caps, recipients })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{
        BodyKind, CustomerId, FailureClass, ForMailjet, MailKind, Notify, Recipient, References, ReplyText, Ret,
        Urgency,
    };
    use crate::smtp::{Mailbox, ReversePath};
    use crate::spool::Expedited;
    use crate::time::Timestamp;

    fn sample() -> (Meta, State) {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        let envelope = Envelope {
            reverse_path: ReversePath::Mailbox(mailbox("\"a b\"@test.dk")),
            recipients: vec![
                Recipient::new(mailbox("søren@blåbær.dk")),
                Recipient {
                    address: mailbox("b@[192.0.2.1]"),
                    notify: Some(Notify { success: true, failure: false, delay: true }),
                    orcpt: Some("rfc822;b+40x".into()),
                },
            ],
            body: BodyKind::EightBit,
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some("x".repeat(200)),
            references: References {
                reference: Some("order 7".into()),
                campaign: None,
                tags: ["a".into(), "b".into()].into(),
                for_mailjet: ForMailjet { adds_reference: true, ..ForMailjet::default() },
            },
        };
        let meta = Meta {
            lane: Lane {
                customer: CustomerId::new("test-as"),
                domain: Domain::parse("test.dk").unwrap(),
                urgency: Urgency::Bulk,
                kind: MailKind::Bounce,
            },
            envelope,
            message_id: "1@test.dk".into(),
            header_len: 100,
            content_len: 3 * CHUNK + 1,
            first_chunk: CHUNK,
            prefix: b"Received: x\r\n".to_vec(),
        };
        let status = Status {
            attempts: 3,
            next: NextTry {
                due: Timestamp::from_millis(1_795_458_240_123),
                expedited: Some(Expedited::Released { kept_back: Duration::from_secs(400) }),
            },
            delay_notified: true,
            untried: false,
            hold: Some("looks odd".into()),
        };
        let recipients = vec![
            (0, RecipientState::Waiting { last_reply: Some(ReplyText::new("451 4.7.1 x", Some(FailureClass::Rate))) }),
            (1, RecipientState::Relayed { reply: "250 ok".into() }),
        ];
        (meta, State { status, waited_for_caps: Duration::from_millis(5), recipients })
    }

    #[test]
    fn a_message_round_trips_and_every_shorter_or_longer_payload_is_refused() {
        let (meta, state) = sample();
        let mut out = Writer::default();
        write_message(&mut out, &meta, &state);
        assert_eq!(read_message(&out.0).unwrap(), (meta, state, &[][..]));
        for len in 0..out.0.len() {
            assert!(read_message(&out.0[..len]).is_err(), "{len}");
        }
        out.byte(0);
        assert!(read_message(&out.0).is_err());
    }

    #[test]
    fn chunks_cover_the_content_once() {
        let (mut meta, _) = sample();
        for (content_len, header_len) in
            [(0, 0), (1, 1), (CHUNK, 5), (CHUNK + 1, 5), (4 * CHUNK, 5), (3 * CHUNK + 7, 2 * CHUNK)]
        {
            meta.content_len = content_len;
            meta.first_chunk = first_chunk(header_len as u32, content_len);
            let mut next = 0;
            for index in 0..meta.chunks() {
                let (start, len) = meta.chunk_range(index);
                assert_eq!(start, next);
                assert!(index == 0 || (1..=CHUNK).contains(&len));
                next += len;
            }
            assert_eq!(next, content_len);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_message(&payload);
            let _ = read_state(&payload);
        }
    }
}
