//! Mailjet's data about mail that it accepted: the list of an account's messages, page by page, and the history of one message.

use reqwest::Method;
use serde::{Deserialize, Deserializer};

use super::client::{Client, RequestError};

/// The number of messages on one page, which then has about 70 KiB.
pub const PAGE: usize = 100;

/// A message to one recipient.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Message {
    /// The numeric id, which events call `MessageID`.
    #[serde(rename = "ID", deserialize_with = "or_default")]
    pub id: u64,
    /// The other id, which events call `Message_GUID`.
    #[serde(rename = "UUID", deserialize_with = "or_default")]
    pub uuid: String,
    /// When Mailjet accepted it: RFC 3339.
    #[serde(deserialize_with = "or_default")]
    pub arrived_at: String,
    /// The seconds from then until the recipient's server accepted it.
    #[serde(deserialize_with = "or_default")]
    pub delay: f64,
    /// `sent`, `opened`, `clicked`, `bounce`, `hardbounced`, `softbounced`, `blocked`, `spam`, `unsub`, `queued`, `deferred` …
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    /// The number of the error, if there is one ([`error_of`]).
    #[serde(rename = "StateID", deserialize_with = "or_default")]
    pub state: u64,
    #[serde(deserialize_with = "or_default")]
    pub contact_alt: String,
}

/// One step of a message's history.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Step {
    /// What happened: `sent`, `bounced`, `blocked`, `spam`, `unsub`, `opened`, `clicked`.
    #[serde(deserialize_with = "or_default")]
    pub event_type: String,
    /// The time in seconds since 1970.
    #[serde(deserialize_with = "or_default")]
    pub event_at: f64,
    /// The error in Mailjet's words.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    /// Further text, such as the reply of the recipient's server.
    #[serde(deserialize_with = "or_default")]
    pub comment: String,
}

/// Reads a value of an unexpected type as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + serde::de::DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Lists messages that Mailjet accepted between two times (seconds since 1970), beginning with this number in the list.
pub async fn list(client: &Client, from: u64, to: u64, offset: usize) -> Result<Vec<Message>, RequestError> {
    let path = format!("message?FromTS={from}&ToTS={to}&Limit={PAGE}&Offset={offset}&ShowContactAlt=true");
    match client.call(Method::GET, &path, None).await {
        Err(RequestError::NotFound(_)) => Ok(Vec::new()),
        found => found,
    }
}

/// Returns the history of a message, in no particular order.
pub async fn history(client: &Client, id: u64) -> Result<Vec<Step>, RequestError> {
    match client.call(Method::GET, &format!("messagehistory/{id}"), None).await {
        Err(RequestError::NotFound(_)) => Ok(Vec::new()),
        found => found,
    }
}

/// For `tests/fuzz` only (feature `fuzzing`): reads two answers as [`list`] and [`history`] do.
#[cfg(feature = "fuzzing")]
pub fn read(messages: &[u8], history: &[u8]) -> (Vec<Message>, Vec<Step>) {
    (super::client::list(messages).unwrap_or_default(), super::client::list(history).unwrap_or_default())
}

/// Returns the meaning of an error number: what it concerns, and the error in the words of Mailjet's events.
pub fn error_of(state: u64) -> (&'static str, &'static str) {
    match state {
        1 => ("recipient", "user unknown"),
        2 => ("recipient", "mailbox inactive"),
        3 => ("recipient", "quota exceeded"),
        4 => ("domain", "invalid domain"),
        5 => ("domain", "no mail host"),
        6 => ("domain", "relay/access denied"),
        7 => ("spam", "sender blocked"),
        8 => ("spam", "content blocked"),
        9 => ("spam", "policy issue"),
        10 => ("system", "system issue"),
        11 => ("system", "protocol issue"),
        12 => ("system", "connection issue"),
        13 => ("domain", "greylisted"),
        14 => ("mailjet", "preblocked"),
        15 => ("mailjet", "duplicate in campaign"),
        16 => ("mailjet", "spam preblocked"),
        17 => ("content", "bad or empty template"),
        18 => ("content", "error in template language"),
        19 => ("mailjet", "typofix"),
        20 => ("mailjet", "blacklisted"),
        21 => ("mailjet", "spam reporter"),
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_documentation_are_read_and_odd_types_count_as_absent() {
        let message = r#"{"ArrivedAt":"2026-11-23T18:24:00Z","AttachmentCount":0,"AttemptCount":0,"CampaignID":7,"ContactAlt":"a@x.dk",
            "ContactID":4,"Delay":2,"DestinationID":6,"FilterTime":1,"ID":576460754655154659,"IsClickTracked":false,"MessageSize":900,
            "SenderID":7,"SpamassRules":"","SpamassassinScore":0,"StateID":0,"StatePermanent":false,"Status":"opened","Subject":"",
            "UUID":"1ab23cd4-e567-8901-2345-6789f0a1b2c3"}"#;
        let message: Message = serde_json::from_str(message).unwrap();
        assert_eq!((message.id, message.delay, message.status.as_str()), (576_460_754_655_154_659, 2.0, "opened"));
        assert_eq!((message.contact_alt.as_str(), message.uuid.len(), message.state), ("a@x.dk", 36, 0));
        let step = r#"{"Comment":"550 5.1.1 no","EventAt":1795458240,"EventType":"bounced","State":"user unknown","Useragent":"","UseragentID":0}"#;
        let step: Step = serde_json::from_str(step).unwrap();
        assert_eq!(
            (step.event_at, step.event_type.as_str(), step.state.as_str()),
            (1_795_458_240.0, "bounced", "user unknown")
        );
        let odd: Message = serde_json::from_str(r#"{"ID":"7","Status":null,"Delay":"x","UUID":7}"#).unwrap();
        assert_eq!(odd, Message::default());
    }
}
