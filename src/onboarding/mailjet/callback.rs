//! Tells Mailjet where to send its events: one address for each kind of event and account.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, RequestError};

/// The kinds of events, as Mailjet names them.
pub const KINDS: [&str; 7] = ["sent", "bounce", "blocked", "spam", "unsub", "open", "click"];

/// The address for one kind of event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Callback {
    #[serde(rename = "ID")]
    id: u64,
    event_type: String,
    #[serde(default)]
    is_backup: bool,
    #[serde(default)]
    status: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    version: u64,
}

/// The result for one kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The address was already set.
    Kept,
    Added,
    /// Another address was set.
    Changed,
}

/// Sets the address to which an account sends events of these kinds, grouped. The addresses of other kinds are not changed.
pub async fn set(
    client: &Client,
    url: &str,
    kinds: &[&'static str],
) -> Result<Vec<(&'static str, Done)>, RequestError> {
    let there: Vec<Callback> = match client.call(Method::GET, "eventcallbackurl?Limit=100", None).await {
        Err(RequestError::NotFound(_)) => Vec::new(),
        found => found?,
    };
    let mut done = Vec::new();
    for kind in kinds {
        let found = there.iter().find(|it| it.event_type == *kind && !it.is_backup);
        let is_right = |it: &&Callback| it.url == url && it.version == 2 && it.status != "dead";
        let body = json!({ "EventType": kind, "IsBackup": false, "Status": "alive", "Url": url, "Version": 2 });
        done.push((
            *kind,
            match found {
                Some(it) if is_right(&it) => Done::Kept,
                Some(it) => {
                    let path = format!("eventcallbackurl/{}", it.id);
                    client.call::<Callback>(Method::PUT, &path, Some(body)).await?;
                    Done::Changed
                }
                None => {
                    client.call::<Callback>(Method::POST, "eventcallbackurl", Some(body)).await?;
                    Done::Added
                }
            },
        ));
    }
    Ok(done)
}
