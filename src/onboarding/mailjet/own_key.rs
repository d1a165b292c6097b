//! A customer's own API key: a sub-account that the main account makes.
//!
//! A key is found again by its name. So a run that was interrupted after Mailjet made the key does not make a second one.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::client::{Client, RequestError};

/// An API key with its secret.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ApiKey {
    /// The name that the sub-account was given.
    pub name: String,
    /// The API key, which is also the user of SMTP.
    #[serde(rename = "APIKey")]
    pub key: String,
    /// The secret, which is also the password of SMTP.
    #[serde(rename = "SecretKey", default, deserialize_with = "wiped")]
    pub secret: Zeroizing<String>,
    /// False if Mailjet or somebody in its console has switched the key off.
    #[serde(rename = "IsActive", default)]
    pub is_active: bool,
}

fn wiped<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// The number of keys in an answer. Mailjet gives up to 1,000, which may be more than the largest answer that is read: a key has some 400
/// octets.
const PAGE: usize = 200;

async fn find(client: &Client, name: &str) -> Result<Option<ApiKey>, RequestError> {
    for page in 0.. {
        let path = format!("apikey?Limit={PAGE}&Offset={}", page * PAGE);
        let keys: Vec<ApiKey> = client.call(Method::GET, &path, None).await?;
        let is_last = keys.len() < PAGE;
        let found = keys.into_iter().find(|key| key.name == name);
        if found.is_some() || is_last {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Returns the key with this name, and makes it if the account has none.
pub async fn find_or_make(client: &Client, name: &str) -> Result<ApiKey, RequestError> {
    let found = match find(client, name).await? {
        Some(found) => found,
        None => {
            let body = json!({ "Name": name, "IsActive": true });
            let made: Vec<ApiKey> = client.call(Method::POST, "apikey", Some(body)).await?;
            let empty = || RequestError::NoAnswer("Mailjet's answer is empty".to_owned());
            made.into_iter().next().ok_or_else(empty)?
        }
    };
    if !found.is_active {
        return Err(RequestError::Refused(format!("the key \"{name}\" is switched off in Mailjet's console")));
    }
    let legal = |text: &str| text.len() >= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if !legal(&found.key) || !legal(&found.secret) {
        let what =
            "Mailjet gives the key without its secret: delete it in Mailjet's console, and run the command again";
        return Err(RequestError::Refused(what.to_owned()));
    }
    Ok(found)
}
