//! Reads returned mail: what it reports about which recipient, and why. Has no side effects. All input is strangers' text, so every reader
//! is bounded and fuzzed.
//!
//! ```text
//! message ─► mime (parts) ─┬─► dsn     message/delivery-status     ─► fates
//!                          ├─► arf     message/feedback-report     ─► a complaint
//!                          └─► prose   text for people             ─► one fate, an automatic reply, or nothing
//! ```

mod arf;
mod dsn;
mod mime;
mod prose;
mod said;

pub(crate) use arf::{Complaint, Included};
pub(crate) use said::Said;

use crate::smtp::is_same_address;
use mime::MimeMessage;

/// Returns the header of a message, without the blank line; the whole message if it has none.
pub(crate) fn header(message: &[u8]) -> &[u8] {
    mime::split(message).0
}

/// Returns the Message-ID in a header, without angle brackets.
pub(crate) fn message_id(header: &[u8]) -> Option<String> {
    Included::of(header).message_id
}

/// What a server did with mail, as a report says (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It will not be delivered.
    Failed,
    /// The server still tries to deliver it.
    Delayed,
    /// It is in the recipient's mailbox.
    Delivered,
    /// It was passed to a server that does not report further, so its fate is unknown.
    Relayed,
    /// It was passed to several recipients behind the address, each of which may have another fate.
    Expanded,
}

impl Action {
    fn parse(value: &str) -> Option<Action> {
        let word = value.split(|c: char| !c.is_ascii_alphabetic()).next()?;
        let all = [
            ("failed", Action::Failed),
            ("failure", Action::Failed),
            ("delayed", Action::Delayed),
            ("delivered", Action::Delivered),
            ("relayed", Action::Relayed),
            ("expanded", Action::Expanded),
        ];
        all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, action)| action)
    }

    /// Returns the weight. If there are several reports about one recipient, the heaviest counts.
    fn weight(self) -> u8 {
        match self {
            Action::Failed => 0,
            Action::Delayed => 1,
            Action::Delivered => 2,
            Action::Relayed => 3,
            Action::Expanded => 4,
        }
    }
}

/// The fate of one recipient, as a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryStatus {
    pub action: Action,
    /// The recipient's addresses in the report.
    pub recipients: Vec<String>,
    /// The server's reply.
    pub said: Said,
    /// The server that replied.
    pub server: Option<String>,
    /// How long the server still tries, as the report writes it.
    pub until: Option<String>,
}

/// The kind of a returned mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A report about the fates of recipients.
    Statuses(Vec<DeliveryStatus>),
    Complaint(Box<Complaint>),
    /// A program's automatic reply for a person.
    AutoReply,
    /// A person's mail, or one without readable information.
    Other,
}

impl Reading {
    /// Reads mail to a return path.
    pub fn of(octets: &[u8]) -> Reading {
        let message = MimeMessage::of(octets);
        if message.part(&["message/feedback-report"]).is_some() {
            return complaint(&message);
        }
        let status = message.part(&["message/delivery-status", "message/global-delivery-status"]);
        let fates = status.map(|status| dsn::fates(&status.octets())).unwrap_or_default();
        if !fates.is_empty() {
            return Reading::Statuses(fates);
        }
        match prose::fate(&message) {
            Some(fate) => Reading::Statuses(vec![fate]),
            None if prose::is_auto_reply(&message) => Reading::AutoReply,
            None => Reading::Other,
        }
    }

    /// Reads mail to the address for complaints.
    pub fn of_complaint(octets: &[u8]) -> Reading {
        complaint(&MimeMessage::of(octets))
    }
}

fn complaint(message: &MimeMessage<'_>) -> Reading {
    match arf::complaint(message) {
        Some(complaint) => Reading::Complaint(Box::new(complaint)),
        None => Reading::Other,
    }
}

/// Returns the fate of the recipient with this address: the one that names it, or else the worst, because the address may stand for others.
pub(crate) fn fate_of<'a>(fates: &'a [DeliveryStatus], address: &str) -> Option<&'a DeliveryStatus> {
    let names = |fate: &&DeliveryStatus| fate.recipients.iter().any(|name| is_same_address(name, address));
    fates
        .iter()
        .filter(names)
        .min_by_key(|fate| fate.action.weight())
        .or_else(|| fates.iter().min_by_key(|fate| fate.action.weight()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Modelled on Microsoft's documented non-delivery report, with invented names and ids.
    const EXCHANGE: &str = include_str!("../../../../tests/data/returned/exchange-online.eml");

    #[test]
    fn a_report_of_exchange_online_is_read() {
        let Reading::Statuses(fates) = Reading::of(EXCHANGE.replace('\n', "\r\n").as_bytes()) else {
            panic!("no report")
        };
        let [fate] = fates.try_into().unwrap();
        assert_eq!((fate.action, fate.recipients.last().unwrap().as_str()), (Action::Failed, "gone@modtager.example"));
        assert_eq!(fate.said.code, Some(550));
        assert_eq!(fate.said.status.map(|status| status.to_string()).as_deref(), Some("5.1.10"));
        assert!(fate.said.text.starts_with("RESOLVER.ADR.RecipientNotFound"), "{:?}", fate.said);
    }

    #[test]
    fn the_fate_that_names_the_recipient_counts_and_else_the_worst() {
        let fate = |action, name: &str| DeliveryStatus {
            action,
            recipients: vec![name.to_owned()],
            said: Said::default(),
            server: None,
            until: None,
        };
        let fates =
            [fate(Action::Delivered, "a@x.dk"), fate(Action::Delayed, "b@x.dk"), fate(Action::Failed, "c@x.dk")];
        assert_eq!(fate_of(&fates, "A@X.dk"), Some(&fates[0]));
        assert_eq!(fate_of(&fates, "list@x.dk"), Some(&fates[2]));
        assert_eq!(fate_of(&[], "a@x.dk"), None);
    }

    #[test]
    fn a_complaint_at_a_return_path_is_one() {
        let text = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n--b--";
        assert!(matches!(Reading::of(text.as_bytes()), Reading::Complaint(_)));
        assert_eq!(Reading::of_complaint(b"Subject: x\r\n\r\ny"), Reading::Other);
    }
}
