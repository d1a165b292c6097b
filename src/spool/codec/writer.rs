//! Builds the payload of a frame.

use super::Status;
use crate::message::{BodyKind, Envelope, FailureClass, Lane, MailKind, References, ReplyText, Ret, Urgency};
use crate::smtp::ReversePath;

use super::super::next_try::{NextTry, Packed};

#[derive(Default)]
pub(in crate::spool) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Appends a number with seven bits in each octet, the lowest first.
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

    /// Appends the `Display` text of a value without allocating a `String`.
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

    /// Appends a reply and its class.
    pub fn heard(&mut self, heard: &ReplyText) {
        let class = heard.class.and_then(|class| FailureClass::ALL.iter().position(|known| *known == class));
        self.byte(class.map_or(0, |class| class as u8 + 1));
        self.text(heard);
    }

    fn references(&mut self, references: &References) {
        let References { reference, campaign, tags, for_mailjet } = references;
        self.optional(reference.as_deref());
        self.optional(campaign.as_deref());
        self.number(tags.len() as u64);
        tags.iter().for_each(|tag| self.text(tag));
        let bits = [for_mailjet.adds_reference, for_mailjet.adds_campaign, for_mailjet.has_payload];
        self.byte(bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    }

    pub fn lane(&mut self, lane: &Lane) {
        self.text(lane.customer.as_str());
        let bulk = lane.urgency == Urgency::Bulk;
        let kind = match lane.kind {
            MailKind::Mail => 0,
            MailKind::Bounce => 1,
            MailKind::Test => 2,
            MailKind::TestLeaving => 3,
        };
        self.byte(u8::from(bulk) | kind << 1);
        self.text(lane.domain.as_str());
    }

    pub fn envelope(&mut self, envelope: &Envelope) {
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
        self.references(&envelope.references);
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
