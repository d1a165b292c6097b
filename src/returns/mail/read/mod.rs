//! Reads mail that came back: what it says became of which recipient, and why. Pure; all of it is strangers' text, and every reader is
//! bounded and fuzzed.
//!
//! ```text
//! message ─► mime (parts) ─┬─► dsn     message/delivery-status      ─► fates
//!                          ├─► arf     message/feedback-report      ─► a complaint
//!                          └─► prose   what people were to read     ─► one fate, an automatic reply, or nothing
//! ```

mod arf;
mod dsn;
mod mime;
mod prose;
mod said;

pub(crate) use arf::{Complaint, Included};
pub(crate) use said::Said;

use mime::Message;

/// The header of a message, without the blank line. All of the message if it has none.
pub(crate) fn header(message: &[u8]) -> &[u8] {
    mime::split(message).0
}

/// The Message-ID in a header, without angle brackets.
pub(crate) fn message_id(header: &[u8]) -> Option<String> {
    Included::of(header).message_id
}

/// What a report says that a server did with mail (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It will not be delivered.
    Failed,
    /// It is still tried.
    Delayed,
    /// It is in the recipient's mailbox.
    Delivered,
    /// It went on to a server that reports no more. Nobody knows what became of it there.
    Relayed,
    /// It went on to several recipients behind the address. Each may have its own fate.
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

    /// The worst comes first: of several reports about one recipient it is the one that counts.
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

/// What a report says became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub action: Action,
    /// The recipient's addresses, as the report names them.
    pub recipients: Vec<String>,
    /// What the server said.
    pub said: Said,
    /// The server that said it.
    pub server: Option<String>,
    /// How long it is still tried, as the report puts it.
    pub until: Option<String>,
}

/// What a mail that came back is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A report of what became of recipients.
    Fates(Vec<Fate>),
    Complaint(Box<Complaint>),
    /// A program's answer in a person's name.
    AutoReply,
    /// A person's mail, or something that says nothing that can be read.
    Other,
}

impl Reading {
    /// Reads mail that came to a return path.
    pub fn of(octets: &[u8]) -> Reading {
        let message = Message::of(octets);
        if message.part(&["message/feedback-report"]).is_some() {
            return complaint(&message);
        }
        let status = message.part(&["message/delivery-status", "message/global-delivery-status"]);
        let fates = status.map(|status| dsn::fates(&status.octets())).unwrap_or_default();
        if !fates.is_empty() {
            return Reading::Fates(fates);
        }
        match prose::fate(&message) {
            Some(fate) => Reading::Fates(vec![fate]),
            None if prose::is_auto_reply(&message) => Reading::AutoReply,
            None => Reading::Other,
        }
    }

    /// Reads mail that came to the address for complaints.
    pub fn of_complaint(octets: &[u8]) -> Reading {
        complaint(&Message::of(octets))
    }
}

fn complaint(message: &Message<'_>) -> Reading {
    match arf::complaint(message) {
        Some(complaint) => Reading::Complaint(Box::new(complaint)),
        None => Reading::Other,
    }
}

/// The fate of the recipient with this address: the one that names it, or else the worst, because the address may stand for others
/// behind it.
pub(crate) fn fate_of<'a>(fates: &'a [Fate], address: &str) -> Option<&'a Fate> {
    let names = |fate: &&Fate| fate.recipients.iter().any(|name| name.eq_ignore_ascii_case(address));
    fates
        .iter()
        .filter(names)
        .min_by_key(|fate| fate.action.weight())
        .or_else(|| fates.iter().min_by_key(|fate| fate.action.weight()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After Microsoft's documented form of a non-delivery report; names and ids are made up.
    const EXCHANGE: &str = include_str!("../../../../tests/data/returned/exchange-online.eml");

    #[test]
    fn a_report_of_exchange_online_is_read() {
        let Reading::Fates(fates) = Reading::of(EXCHANGE.replace('\n', "\r\n").as_bytes()) else { panic!("no report") };
        let [fate] = fates.try_into().unwrap();
        assert_eq!((fate.action, fate.recipients.last().unwrap().as_str()), (Action::Failed, "gone@modtager.example"));
        assert_eq!(fate.said.code, Some(550));
        assert_eq!(fate.said.status.map(|status| status.to_string()).as_deref(), Some("5.1.10"));
        assert!(fate.said.text.starts_with("RESOLVER.ADR.RecipientNotFound"), "{:?}", fate.said);
    }

    #[test]
    fn the_fate_that_names_the_recipient_counts_and_else_the_worst() {
        let fate = |action, name: &str| Fate {
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
