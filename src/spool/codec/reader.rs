//! Reads the payload of a frame. It never panics and never trusts a length.

use std::sync::Arc;

use super::super::next_try::{NextTry, Packed};
use super::{Damaged, Status};
use crate::message::{
    BodyKind, CustomerId, Envelope, FailureClass, ForMailjet, Lane, MailKind, Notify, QueueId, Recipient, References,
    ReplyText, Ret, Urgency,
};
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::time::Timestamp;

/// Reads a payload from its start.
pub(in crate::spool) struct Reader<'a>(&'a [u8]);

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

    pub fn heard(&mut self) -> Result<ReplyText, Damaged> {
        let class = match self.byte()? {
            0 => None,
            number => Some(*FailureClass::ALL.get(usize::from(number) - 1).ok_or(Damaged)?),
        };
        Ok(ReplyText::new(self.text()?, class))
    }

    fn references(&mut self) -> Result<References, Damaged> {
        let reference = self.optional()?.map(Box::from);
        let campaign = self.optional()?.map(Box::from);
        let mut tags = Vec::new();
        for _ in 0..self.number()? {
            tags.push(self.text()?.into());
        }
        let bits = self.byte()?;
        let for_mailjet =
            ForMailjet { adds_reference: bits & 1 != 0, adds_campaign: bits & 2 != 0, has_payload: bits & 4 != 0 };
        Ok(References { reference, campaign, tags: tags.into(), for_mailjet })
    }

    pub fn lane(&mut self) -> Result<Lane, Damaged> {
        let customer = CustomerId::new(self.text()?);
        let bits = self.byte()?;
        let urgency = if bits & 1 == 0 { Urgency::Single } else { Urgency::Bulk };
        let kind = match bits >> 1 & 3 {
            0 => MailKind::Mail,
            1 => MailKind::Bounce,
            2 => MailKind::Test,
            _ => MailKind::TestLeaving,
        };
        Ok(Lane { customer, domain: self.domain()?, urgency, kind })
    }

    pub fn envelope(&mut self) -> Result<Envelope, Damaged> {
        let bits = self.byte()?;
        let reverse_path = match bits >> 4 & 1 {
            0 => ReversePath::Mailbox(self.mailbox()?),
            _ => {
                self.text()?;
                ReversePath::Null
            }
        };
        let envid = self.optional()?.map(str::to_owned);
        let references = self.references()?;
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
            references,
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
