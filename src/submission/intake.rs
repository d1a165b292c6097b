//! One message while it is read. Its header is scanned and judged by the policy when it is complete. Its body is hashed while it arrives.
//! Then the message is signed and made durable, and the client is answered.
//!
//! If a message is refused, its memory is freed, and the rest of it is read and dropped: the client gets the reply once, at the true end of
//! the message.
//!
//! Fields are added in front of a message: Received, its signatures, and a missing Date or Message-ID. The message itself is changed only in
//! two ways, before anything is hashed: Bcc, Resent-Bcc, Return-Path, X-Postbud fields and an empty Date or Message-ID are cut, and a missing
//! last CRLF or blank line is added.

use std::sync::Arc;

use tokio::time::Instant;

use super::accepted::{accepted_events, octets_of_events};
use super::added_fields::{self, Origin};
use super::admission::{Admitted, NoRoom};
use super::policy::{self, Decision, Identity};
use super::refusal::{LeftOut, Refusal, RefusedMessage};
use super::suppressed;
use super::test_mode::{self, Judged};
use super::transaction::Transaction;
use super::{Context, Limits};
use crate::dkim::{BodyHash, BodyHasher, Job};
use crate::events::{Events, Mail, Subject};
use crate::message::headers::fields;
use crate::message::scan::{self, Bounds};
use crate::message::{BodyKind, Envelope, Field, Header, Lane, Piece, References};
use crate::route::{Route, RouteKind};
use crate::smtp::dsn::xtext_decoded;
use crate::smtp::{Domain, EnhancedCode, Flaw, Reply};
use crate::spool::{self, Draft, Durable};
use crate::time::Timestamp;

/// The size of a chunk of content. The last may be smaller.
const CHUNK: usize = 256 << 10;
/// The memory reserved for a message whose size is not announced.
const TYPICAL: usize = 16 << 10;

/// A message that is being read.
pub(super) struct Intake {
    identity: Identity,
    envelope: Envelope,
    client_takes_utf8: bool,
    /// The first chunk of the content, which holds the whole header.
    first: Vec<u8>,
    /// The chunks after the first.
    rest: Vec<Piece>,
    len: u64,
    /// How many octets the client has sent, and how many it may send.
    sent: u64,
    most: u64,
    phase: Phase,
    /// The octets of its events, which stay in memory until the message is on disk.
    event_octets: usize,
    /// The memory and time of the message.
    pub(super) admitted: Admitted,
}

enum Phase {
    /// The number of octets that were searched for the blank line.
    Header {
        searched: usize,
    },
    Body(Box<Body>),
    Refused(Box<Refusal>),
}

struct Body {
    checked: Checked,
    hasher: BodyHasher,
}

/// The result of the checks on the complete header.
struct Checked {
    header: Header,
    header_len: usize,
    decision: Decision,
    left_out: Vec<LeftOut>,
    /// The recipients on the customer's list that get the mail anyway.
    noted: Vec<LeftOut>,
    test: Judged,
}

/// A message that the spool has made durable, and the recipients that were left out of it.
pub(super) struct Accepted {
    receipt: Durable,
    left_out: Vec<LeftOut>,
}

impl Intake {
    pub(super) fn new(transaction: Transaction, identity: Identity, limits: &Limits) -> Self {
        let Transaction { mail, recipients, mut admitted, .. } = transaction;
        admitted.begin_content();
        let announced = mail.size.and_then(|size| usize::try_from(size).ok()).map(|size| size + 512);
        let first = Vec::with_capacity(announced.unwrap_or(TYPICAL).min(CHUNK));
        let envelope = Envelope {
            reverse_path: mail.path,
            recipients,
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: mail.ret,
            envid: mail.envid,
            // Filled in when the header is read.
            references: References::default(),
        };
        Intake {
            identity,
            envelope,
            client_takes_utf8: mail.smtputf8,
            first,
            rest: Vec::new(),
            len: 0,
            sent: 0,
            most: limits.message_size,
            phase: Phase::Header { searched: 0 },
            event_octets: 0,
            admitted,
        }
    }

    /// Returns the octets in memory, including the events to come.
    pub(super) fn octets_in_memory(&self) -> usize {
        match self.phase {
            Phase::Refused(_) => 0,
            _ => self.len as usize + self.event_octets,
        }
    }

    /// Returns true if the message is already refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.phase, Phase::Refused(_))
    }

    /// Waits for memory before more of the message is read.
    pub(super) async fn cover(&mut self) {
        let octets = self.octets_in_memory();
        if let Err(why) = self.admitted.cover(octets).await {
            self.refuse(no_room(why));
        }
    }

    /// Refuses the message if it may no longer keep its memory.
    pub(super) fn check_memory(&mut self, now: Instant) {
        let octets = self.octets_in_memory();
        if !self.admitted.may_keep(octets, now) {
            self.refuse(no_room(NoRoom::TooSlow));
        }
    }

    /// Returns when to [check](Self::check_memory) the memory of a stalled message. `None` if it has no memory.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.admitted.next_check(self.octets_in_memory())
    }

    /// Refuses the message. If it is refused already, the first reason stays.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let refusal = match &self.phase {
            Phase::Refused(_) => return,
            Phase::Header { .. } => refusal,
            Phase::Body(body) => refusal.with_header(&body.checked.header, Some(&body.checked.decision.customer.id)),
        };
        (self.first, self.rest) = (Vec::new(), Vec::new());
        self.phase = Phase::Refused(Box::new(refusal));
        self.admitted.release();
    }

    /// Gives the message up. Returns the refusal with what is known of the message.
    pub(super) fn give_up(&mut self, refusal: Refusal) -> Refusal {
        self.refuse(refusal.clone());
        match &self.phase {
            Phase::Refused(first) => Refusal { about: first.about.clone(), ..refusal }.with_envelope(&self.envelope),
            _ => refusal,
        }
    }

    /// Takes the next octets of the message, without dot stuffing.
    pub(super) fn push(&mut self, text: &[u8], context: &Context) {
        if self.is_refused() || text.is_empty() {
            return;
        }
        self.sent += text.len() as u64;
        let is_too_large = self.sent > self.most;
        // Read the header even of a message that is too large, because it tells whose message it is.
        if !is_too_large || matches!(self.phase, Phase::Header { .. }) {
            self.take(text, context);
        }
        if is_too_large {
            self.refuse(too_large(self.most));
        }
    }

    fn take(&mut self, text: &[u8], context: &Context) {
        self.len += text.len() as u64;
        match &mut self.phase {
            Phase::Header { searched } => {
                // The header stays in one chunk. Its length is checked below.
                let first = &mut self.first;
                first.extend_from_slice(text);
                let from = std::mem::replace(searched, first.len());
                match scan::end_of_header(first, from) {
                    Some(end) => match self.begin_body(end, context) {
                        Ok(body) => self.phase = Phase::Body(Box::new(body)),
                        Err(refusal) => self.refuse(refusal),
                    },
                    None if first.len() > context.limits.header_size => self.refuse(header_too_large(&context.limits)),
                    None => {}
                }
            }
            Phase::Body(body) => {
                if self.envelope.body == BodyKind::SevenBit && !text.is_ascii() {
                    self.envelope.body = BodyKind::EightBit;
                }
                body.hasher.update(text);
                append(&mut self.first, &mut self.rest, text);
            }
            Phase::Refused(_) => {}
        }
    }

    /// Judges the header, which ends at octet `end` of the first chunk, where the blank line begins.
    fn begin_body(&mut self, end: usize, context: &Context) -> Result<Body, Refusal> {
        if end > context.limits.header_size {
            return Err(header_too_large(&context.limits));
        }
        let first = &mut self.first;
        let block = &first[..end];
        let bounds = Bounds { fields: context.limits.header_fields, received: context.limits.received };
        let header = scan::scan(block, bounds).map_err(|why| policy::bad_header(&why))?;
        let routing = context.routing.view();
        let decision =
            policy::decide(&routing, &context.bulk_requires, &self.identity, &self.envelope.reverse_path, &header);
        let decision = decision.map_err(|refusal| {
            let owner = header.from.domain().and_then(|from| routing.directory().by_domain(from));
            refusal.with_header(&header, owner.map(|customer| &customer.id))
        })?;
        let about = |refusal: Refusal| refusal.with_header(&header, Some(&decision.customer.id));
        let left_out = suppressed::leave_out(&mut self.envelope, &self.identity, &decision.customer, context);
        let left_out = left_out.map_err(about)?;
        let test = test_mode::judge(&self.identity, &decision.customer, &mut self.envelope).map_err(about)?;
        let noted = suppressed::noted(&self.envelope, &decision.customer, context);
        if context.events.journal().is_some() {
            let suppressed = left_out.iter().chain(&noted).map(|(address, _)| address);
            self.event_octets = octets_of_events(&self.envelope, suppressed, &header);
        }
        scan::cut(first, &header.cut);
        let cut: usize = header.cut.iter().map(ExactSizeIterator::len).sum();
        let header_len = end - cut;
        self.len -= cut as u64;
        self.most = self.most.min(decision.route.accepts_up_to());
        if self.sent > self.most {
            return Err(too_large(self.most).with_header(&header, Some(&decision.customer.id)));
        }
        // Compute SMTPUTF8 and 8BITMIME from the fields that are actually sent, so that a field that is cut requires no extension.
        let (kept, body) = (&first[..header_len], &first[header_len + 2..]);
        let in_ascii = is_ascii_on(decision.route.kind, kept);
        let envelope = &mut self.envelope;
        // RFC 6532 §3 also allows UTF-8 in the header of a MIME part, which only a scan of the whole body would find. SMTPUTF8 is not
        // required for that: a body that is not ASCII is nearly always text, and would bounce at every server without SMTPUTF8. Such a
        // server may therefore get a file name in UTF-8, as it does from clients that never ask for SMTPUTF8.
        envelope.smtputf8 = (self.client_takes_utf8 && !in_ascii)
            || envelope.recipients.iter().any(|r| r.address.needs_smtputf8())
            || envelope.reverse_path.mailbox().is_some_and(|m| m.needs_smtputf8());
        if !(in_ascii && body.is_ascii()) {
            envelope.body = BodyKind::EightBit;
        }
        let mut hasher = decision.signer.body_hasher();
        hasher.update(body);
        if first.len() > CHUNK {
            let rest = first.split_off(CHUNK);
            append(&mut self.first, &mut self.rest, &rest);
        }
        Ok(Body { checked: Checked { header, header_len, decision, left_out, noted, test }, hasher })
    }

    /// Ends the message: signs it and makes it durable. `ends_with_line` is false if the last line has no CRLF, which BDAT allows.
    pub(super) async fn finish(
        mut self,
        ends_with_line: bool,
        origin: &Origin,
        context: &Context,
    ) -> Result<Accepted, Refusal> {
        if !ends_with_line {
            self.take(b"\r\n", context);
        }
        match self.end(context) {
            Ok((checked, body)) => self.accept(checked, body, origin, context).await,
            Err(refusal) => Err(refusal.with_envelope(&self.envelope)),
        }
    }

    /// Ends the body. Returns the result of the checks and the hash, or the refusal of the message. Adds the blank line to a message without a
    /// body.
    fn end(&mut self, context: &Context) -> Result<(Checked, BodyHash), Refusal> {
        let Body { checked, hasher } = match std::mem::replace(&mut self.phase, Phase::Header { searched: 0 }) {
            Phase::Header { .. } => {
                // RFC 5322 §3.5: the body is optional. Add the blank line, so that no later server has to care.
                let end = self.first.len();
                self.first.extend_from_slice(b"\r\n");
                self.len += 2;
                self.begin_body(end, context)?
            }
            Phase::Body(body) => *body,
            Phase::Refused(refusal) => return Err(*refusal),
        };
        Ok((checked, hasher.finish()))
    }

    async fn accept(
        self,
        checked: Checked,
        body: BodyHash,
        origin: &Origin,
        context: &Context,
    ) -> Result<Accepted, Refusal> {
        let Intake { identity, mut envelope, first, rest, len, admitted, .. } = self;
        let Checked { header, header_len, decision, left_out, noted, test } = checked;
        // Without another reference, ENVID is the message's reference.
        envelope.references = header.references;
        if envelope.references.reference.is_none() {
            envelope.references.reference = envelope.envid.as_deref().and_then(xtext_decoded).map(Box::from);
        }
        let (id, now) = (context.spool.next_id(), Timestamp::now());
        let (mut added, message_id) =
            added_fields::missing(header.has_date, header.message_id, id, &decision.from_domain, now);
        let added_len = added.len();
        added.extend_from_slice(&first[..header_len]);
        // The signatures also cover the added Date and Message-ID.
        let job = Job { signer: Arc::clone(&decision.signer), header: added, body, now };
        let about = |refusal: Refusal| {
            let mut refusal = refusal.with_envelope(&envelope);
            refusal.about.from_domain = Some(decision.from_domain.clone());
            refusal.about.customer = Some(decision.customer.id.clone());
            refusal.about.message_id = Some(message_id.clone());
            refusal
        };
        let signed = context.workers.sign(job).await;
        let signed = signed.map_err(|why| about(policy::unsigned(&decision.from_domain, &why.to_string())))?;
        if context.events.has_open_alerts() {
            context.events.resolve(&Subject::SigningKey(decision.from_domain.to_string()), "its mail is signed again");
        }
        // The fields in front of the message, from top to bottom.
        let mut prefix = Vec::with_capacity(256 + signed.signatures.len() + added_len);
        origin.received(&context.hostname, id, envelope.smtputf8, now, &mut prefix);
        prefix.extend_from_slice(&signed.signatures);
        prefix.extend_from_slice(&signed.header[..added_len]);
        let size = len + prefix.len() as u64;
        if size > decision.route.message_size {
            return Err(about(too_much_added(&decision.route)));
        }
        let recipients = envelope.recipients.len();
        let Decision { customer, from_domain, urgency, warning, .. } = decision;
        let mut draft = Draft {
            id,
            lane: Lane { customer: customer.id.clone(), domain: from_domain, urgency, kind: test.kind },
            envelope,
            message_id,
            prefix,
            content: [first.into()].into_iter().chain(rest).collect(),
            header_len: u32::try_from(header_len).expect("the header fits a chunk"),
            retry_at: now + context.first_retry,
            held: None,
            lines: Vec::new(),
        };
        let by = identity.submission(origin.peer);
        if warning.is_some() {
            context.counters.warned.inc();
        }
        let detail = [test.detail, warning].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
        let mail = Mail::of_draft(&draft).handed_in(by);
        let mut pending = accepted_events(&mail, recipients, detail, context);
        suppressed::tell_of_left_out(&mut pending, &mail, &left_out, context);
        suppressed::tell_of_noted(&mut pending, &mail, &noted, context);
        draft.lines = pending.take_lines();
        let receipt = commit(draft, context).await?;
        drop(admitted);
        context.events.announce(pending);
        let counters = &context.counters;
        counters.accepted.inc();
        counters.accepted_bytes.inc_by(size);
        counters.accepted_recipients.inc_by(recipients as u64);
        Ok(Accepted { receipt, left_out })
    }
}

/// Makes a message durable.
async fn commit(draft: Draft, context: &Context) -> Result<Durable, Refusal> {
    // The spool takes the draft, so the data for a refusal is copied before.
    let about = RefusedMessage {
        sender: None,
        recipients: Some(draft.envelope.recipients.len()),
        from_domain: Some(draft.lane.domain.clone()),
        customer: Some(draft.lane.customer.clone()),
        message_id: Some(draft.message_id.clone()),
        suppressed: Vec::new(),
    };
    let committed = context.spool.commit(draft).await;
    committed.map_err(|why| Refusal { about: Box::new(about), ..not_durable(&why) })
}

/// Alerts that mail of a domain is deferred because of its key. The alert is raised once, however much mail is deferred.
pub(super) fn tell_of_key(domain: Domain, detail: String, events: &Events) {
    let subject = Subject::SigningKey(domain.to_string());
    if !events.is_open(&subject) {
        events.raise(subject, detail);
    }
}

/// Makes the only 250 that a message gets. It needs the spool's receipt, so nothing else can make it. The queue id is at the end of the
/// last line, where clients look for it.
pub(super) fn queued(Accepted { receipt, left_out }: &Accepted) -> Reply {
    let mut reply = Reply::new(250, EnhancedCode(2, 0, 0), format!("queued as {}", receipt.id()));
    if !left_out.is_empty() {
        reply.lines.insert(0, suppressed::in_reply(left_out));
    }
    reply
}

/// Returns true if all of a header that is sent over this kind of route is ASCII.
fn is_ascii_on(kind: RouteKind, header: &[u8]) -> bool {
    let leaves = |field: &Field<'_>| kind == RouteKind::Mailjet || !field.is_for_mailjet();
    header.is_ascii() || fields(header).flatten().filter(leaves).all(|field| field.raw().is_ascii())
}

/// Appends octets: fills the last chunk, then begins new ones.
fn append(first: &mut Vec<u8>, rest: &mut Vec<Piece>, text: &[u8]) {
    let (head, mut text) = text.split_at(text.len().min(CHUNK - first.len()));
    first.extend_from_slice(head);
    if let Some(last) = rest.last_mut() {
        text = last.fill(text);
    }
    while !text.is_empty() {
        let mut next = Piece::apart(CHUNK);
        text = next.fill(text);
        rest.push(next);
    }
}

/// Makes the refusal of a message with a flaw.
pub(super) fn flawed(flaw: Flaw, limits: &Limits) -> Refusal {
    let (reason, text) = match flaw {
        Flaw::BareLineEnd => ("line_end", "the message holds a CR or LF that is not part of CRLF".to_owned()),
        Flaw::Nul => ("nul", "the message holds a NUL".to_owned()),
        Flaw::LongHeaderLine => (
            "line_length",
            format!(
                "a header line is longer than {} octets; fold it: a line may go on in the next one behind a space",
                limits.line_length
            ),
        ),
        Flaw::LongLine => (
            "line_length",
            format!(
                "a line of the body is longer than {} octets; encode it as quoted-printable or base64",
                limits.line_length
            ),
        ),
    };
    Refusal::new(550, EnhancedCode(5, 6, 0), reason, text)
}

/// Makes the refusal of a message that got no memory, or that occupied memory for which others waited.
fn no_room(why: NoRoom) -> Refusal {
    let text = match why {
        NoRoom::Waited => "too much mail at once; try again later",
        NoRoom::TooSlow => "too much mail at once, and this message comes too slowly to wait for; try again later",
    };
    Refusal::new(452, EnhancedCode(4, 3, 1), "bytes_in_flight", text)
}

fn too_large(most: u64) -> Refusal {
    let text = format!("the message is larger than the {most} octets that can be sent this way");
    Refusal::new(552, EnhancedCode(5, 3, 4), "size", text)
}

/// Makes the refusal of a header with so many fields that its signature is too long.
fn too_much_added(route: &Route) -> Refusal {
    let text =
        format!("with its signatures the message is larger than the {} octets sent this way", route.message_size);
    Refusal::new(552, EnhancedCode(5, 3, 4), "size", text)
}

fn header_too_large(limits: &Limits) -> Refusal {
    let text = format!("the header is larger than {} octets", limits.header_size);
    Refusal::new(552, EnhancedCode(5, 3, 4), "header_size", text)
}

/// Makes the refusal for a failure of ours. The client learns that it may try again, and the operator learns the reason.
fn not_durable(why: &spool::Error) -> Refusal {
    let refusal = match why {
        spool::Error::Full { .. } => {
            Refusal::new(452, EnhancedCode(4, 3, 1), "spool_full", "no room for mail at the moment; try again later")
        }
        _ => Refusal::new(451, EnhancedCode(4, 3, 0), "spool", "mail cannot be stored at the moment; try again later"),
    };
    Refusal { cause: Some(why.to_string()), ..refusal }
}
