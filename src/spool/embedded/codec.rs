//! How messages and their states are encoded on disk.
//!
//! Decoding never panics and never trusts a length: what does not decode is [`Damaged`], whatever its checksum says.

use std::sync::Arc;
use std::time::Duration;

use super::next_try::{NextTry, Packed};
use crate::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, Notify, QueueId, Recipient, Ret, Urgency};
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::spool::{Draft, RecipientState};
use crate::time::Timestamp;

/// The largest part of content that is read at once, unless the header block is larger.
pub(super) const CHUNK: u64 = 256 << 10;

/// Octets that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// What of a message never changes.
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
    /// How many chunks the content has.
    pub fn chunks(&self) -> usize {
        1 + usize::try_from(self.content_len.saturating_sub(self.first_chunk).div_ceil(CHUNK)).unwrap_or(usize::MAX)
    }

    /// Where chunk `index` begins in the content, and its length.
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

/// The length of the first chunk: it holds the header block with its blank line.
pub(super) fn first_chunk(header_len: u32, content_len: u64) -> u64 {
    CHUNK.max(u64::from(header_len) + 2).min(content_len)
}

/// What the index knows of a message's state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub attempts: u32,
    pub next: NextTry,
    pub delay_notified: bool,
    /// Nothing was recorded since the commit: the due time is that after the first attempt.
    pub untried: bool,
    pub hold: Option<Arc<str>>,
}

/// The whole state of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub status: Status,
    pub waited_for_caps: Duration,
    /// Recipients that differ from "waiting, no reply heard".
    pub recipients: Vec<(u32, RecipientState)>,
}

impl State {
    /// One state a recipient.
    pub fn expand(self, count: usize) -> Result<Vec<RecipientState>, Damaged> {
        let mut all = vec![RecipientState::Waiting { last_reply: None }; count];
        for (index, state) in self.recipients {
            *all.get_mut(index as usize).ok_or(Damaged)? = state;
        }
        Ok(all)
    }

    /// The other way round.
    pub fn compact(all: &[RecipientState]) -> Vec<(u32, RecipientState)> {
        let differs = |state: &&RecipientState| **state != RecipientState::Waiting { last_reply: None };
        (0..).zip(all).filter(|(_, state)| differs(state)).map(|(i, state)| (i, state.clone())).collect()
    }
}

/// One bit of 32 for each waiting recipient's domain: most messages without a recipient in a domain are passed over unread.
pub(super) fn domain_bits(envelope: &Envelope) -> u32 {
    envelope.recipients.iter().filter_map(|r| r.address.domain()).fold(0, |bits, domain| bits | domain_bit(domain))
}

/// The bit of one domain.
pub(super) fn domain_bit(domain: &Domain) -> u32 {
    1 << (crc32fast::hash(domain.as_str().as_bytes()) & 31)
}

/// Appends the payload of a message frame.
pub(super) fn write_draft(out: &mut Writer, draft: &Draft, content_len: u64) {
    out.owner(&draft.lane);
    out.envelope(&draft.envelope);
    out.text(draft.lane.domain.as_str());
    out.text(&draft.message_id);
    out.number(draft.header_len.into());
    out.number(content_len);
    out.number(first_chunk(draft.header_len, content_len));
    out.status(&Status {
        attempts: 0,
        next: NextTry::at(draft.retry_at),
        delay_notified: false,
        untried: true,
        hold: draft.held.as_deref().map(Arc::from),
    });
    out.number(0);
    out.number(0);
    out.bytes(&draft.prefix);
}

/// Appends the payload of a message frame for a message that is copied forward.
pub(super) fn write_message(out: &mut Writer, meta: &Meta, state: &State) {
    out.owner(&meta.lane);
    out.envelope(&meta.envelope);
    out.text(meta.lane.domain.as_str());
    out.text(&meta.message_id);
    out.number(meta.header_len.into());
    out.number(meta.content_len);
    out.number(meta.first_chunk);
    write_state(out, state);
    out.bytes(&meta.prefix);
}

/// Reads the payload of a message frame.
pub(super) fn read_message(payload: &[u8]) -> Result<(Meta, State), Damaged> {
    let mut r = Reader::new(payload);
    let (customer, urgency, kind) = r.owner()?;
    let envelope = r.envelope()?;
    let lane = Lane { customer, domain: r.domain()?, urgency, kind };
    let message_id = r.text()?.to_owned();
    let header_len = u32::try_from(r.number()?).map_err(|_| Damaged)?;
    let content_len = r.number()?;
    let first_chunk = r.number()?;
    let state = read_state_from(&mut r)?;
    let prefix = r.bytes()?.to_vec();
    r.end()?;
    (first_chunk <= content_len && u64::from(header_len) <= first_chunk).then_some(()).ok_or(Damaged)?;
    Ok((Meta { lane, envelope, message_id, header_len, content_len, first_chunk, prefix }, state))
}

/// Appends the payload of a state frame.
pub(super) fn write_state(out: &mut Writer, state: &State) {
    out.status(&state.status);
    out.number(u64::try_from(state.waited_for_caps.as_millis()).unwrap_or(u64::MAX));
    out.number(state.recipients.len() as u64);
    for (index, state) in &state.recipients {
        out.number((*index).into());
        let (tag, reply) = match state {
            RecipientState::Waiting { last_reply: None } => (0, ""),
            RecipientState::Waiting { last_reply: Some(reply) } => (1, reply.as_str()),
            RecipientState::Delivered { reply } => (2, reply.as_str()),
            RecipientState::Failed { reply } => (3, reply.as_str()),
        };
        out.byte(tag);
        out.text(reply);
    }
}

/// Reads the payload of a state frame.
pub(super) fn read_state(payload: &[u8]) -> Result<State, Damaged> {
    let mut r = Reader::new(payload);
    let state = read_state_from(&mut r)?;
    r.end()?;
    Ok(state)
}

fn read_state_from(r: &mut Reader) -> Result<State, Damaged> {
    let status = r.status()?;
    let waited_for_caps = Duration::from_millis(r.number()?);
    let count = r.number()?;
    let mut recipients = Vec::new();
    for _ in 0..count {
        let index = u32::try_from(r.number()?).map_err(|_| Damaged)?;
        let tag = r.byte()?;
        let reply = r.text()?.to_owned();
        let state = match tag {
            0 => RecipientState::Waiting { last_reply: None },
            1 => RecipientState::Waiting { last_reply: Some(reply) },
            2 => RecipientState::Delivered { reply },
            3 => RecipientState::Failed { reply },
            _ => return Err(Damaged),
        };
        recipients.push((index, state));
    }
    Ok(State { status, waited_for_caps, recipients })
}

/// Builds a payload.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Seven bits an octet, the lowest first.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// What `Display` gives, without a `String` in between.
    fn shown(&mut self, value: &dyn std::fmt::Display) {
        use std::io::Write;
        let start = self.0.len();
        self.0.push(0);
        write!(self.0, "{value}").expect("writing to memory does not fail");
        let len = self.0.len() - start - 1;
        if len < 0x80 {
            self.0[start] = len as u8;
        } else {
            let text = self.0.split_off(start + 1);
            self.0.truncate(start);
            self.bytes(&text);
        }
    }

    fn optional(&mut self, value: Option<&str>) {
        self.byte(value.is_some().into());
        if let Some(text) = value {
            self.text(text);
        }
    }

    /// A lane whole, as a footer has it.
    pub fn lane(&mut self, lane: &Lane) {
        self.owner(lane);
        self.text(lane.domain.as_str());
    }

    /// A lane but for its domain, which a message frame has further on.
    fn owner(&mut self, lane: &Lane) {
        self.text(lane.customer.as_str());
        let bulk = lane.urgency == Urgency::Bulk;
        let bounce = lane.kind == MailKind::Bounce;
        self.byte(u8::from(bulk) | u8::from(bounce) << 1);
    }

    fn envelope(&mut self, envelope: &Envelope) {
        let body = u8::from(envelope.body == BodyKind::EightBit);
        let ret = match envelope.ret {
            None => 0,
            Some(Ret::Full) => 1,
            Some(Ret::Headers) => 2,
        };
        let null = u8::from(envelope.reverse_path == ReversePath::Null);
        self.byte(body | u8::from(envelope.smtputf8) << 1 | ret << 2 | null << 4);
        self.shown(&envelope.reverse_path);
        self.optional(envelope.envid.as_deref());
        self.number(envelope.recipients.len() as u64);
        for recipient in &envelope.recipients {
            self.shown(&recipient.address);
            self.byte(
                recipient
                    .notify
                    .map_or(0, |n| 0x80 | u8::from(n.success) | u8::from(n.failure) << 1 | u8::from(n.delay) << 2),
            );
            self.optional(recipient.orcpt.as_deref());
        }
    }

    pub fn next_try(&mut self, next: NextTry) {
        self.number(next.due.as_millis());
        self.number(Packed::new(next.expedited).0.into());
    }

    pub fn status(&mut self, status: &Status) {
        self.byte(u8::from(status.delay_notified) | u8::from(status.untried) << 1);
        self.number(status.attempts.into());
        self.next_try(status.next);
        self.optional(status.hold.as_deref());
    }
}

/// Takes a payload apart.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Reader(payload)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn end(&self) -> Result<(), Damaged> {
        self.is_empty().then_some(()).ok_or(Damaged)
    }

    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    pub fn number32(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (value, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(value)
    }

    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    fn optional(&mut self) -> Result<Option<&'a str>, Damaged> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(Damaged),
        }
    }

    fn domain(&mut self) -> Result<Domain, Damaged> {
        Domain::parse(self.text()?).map_err(|_| Damaged)
    }

    fn mailbox(&mut self) -> Result<Mailbox, Damaged> {
        Mailbox::parse(self.text()?).map_err(|_| Damaged)
    }

    pub fn lane(&mut self) -> Result<Lane, Damaged> {
        let (customer, urgency, kind) = self.owner()?;
        Ok(Lane { customer, domain: self.domain()?, urgency, kind })
    }

    fn owner(&mut self) -> Result<(CustomerId, Urgency, MailKind), Damaged> {
        let customer = CustomerId::new(self.text()?);
        let bits = self.byte()?;
        let urgency = if bits & 1 == 0 { Urgency::Single } else { Urgency::Bulk };
        let kind = if bits & 2 == 0 { MailKind::Mail } else { MailKind::Bounce };
        Ok((customer, urgency, kind))
    }

    fn envelope(&mut self) -> Result<Envelope, Damaged> {
        let bits = self.byte()?;
        let reverse_path = match bits >> 4 & 1 {
            0 => ReversePath::Mailbox(self.mailbox()?),
            _ => {
                self.text()?;
                ReversePath::Null
            }
        };
        let envid = self.optional()?.map(str::to_owned);
        let count = self.number()?;
        let mut recipients = Vec::new();
        for _ in 0..count {
            let address = self.mailbox()?;
            let bits = self.byte()?;
            let notify = Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 };
            let notify = (bits & 0x80 != 0).then_some(notify);
            recipients.push(Recipient { address, notify, orcpt: self.optional()?.map(str::to_owned) });
        }
        Ok(Envelope {
            reverse_path,
            recipients,
            body: if bits & 1 == 0 { BodyKind::SevenBit } else { BodyKind::EightBit },
            smtputf8: bits & 2 != 0,
            ret: match bits >> 2 & 3 {
                0 => None,
                1 => Some(Ret::Full),
                _ => Some(Ret::Headers),
            },
            envid,
        })
    }

    pub fn next_try(&mut self) -> Result<NextTry, Damaged> {
        let due = Timestamp::from_millis(self.number()?);
        Ok(NextTry { due, expedited: Packed(self.number32()?).unpack() })
    }

    pub fn status(&mut self) -> Result<Status, Damaged> {
        let bits = self.byte()?;
        Ok(Status {
            delay_notified: bits & 1 != 0,
            untried: bits & 2 != 0,
            attempts: self.number32()?,
            next: self.next_try()?,
            hold: self.optional()?.map(Arc::from),
        })
    }

    pub fn id(&mut self) -> Result<QueueId, Damaged> {
        self.number().map(QueueId::from_u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::Expedited;

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
        let recipients = vec![(1, RecipientState::Delivered { reply: "250 ok".into() })];
        (meta, State { status, waited_for_caps: Duration::from_millis(5), recipients })
    }

    #[test]
    fn a_message_round_trips_and_every_shorter_or_longer_payload_is_refused() {
        let (meta, state) = sample();
        let mut out = Writer::default();
        write_message(&mut out, &meta, &state);
        assert_eq!(read_message(&out.0).unwrap(), (meta, state));
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
