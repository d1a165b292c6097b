//! Calls Mailjet's REST API (version 3) with the credentials of one account.
//!
//! Each call has a deadline and a maximum size of its answer, and follows no redirect. Calls of one account are made one at a time. If Mailjet
//! answers that there are too many calls (429), the account makes none until the time that Mailjet names. This module decides what an error answer
//! means for the domain ([`RequestError`]). An answer that is not understood is a problem and never a success.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::causes::causes;
use crate::http_client;
use crate::onboarding::settings::MailjetAccount;
use crate::smtp::Domain;

/// The deadline of one call.
const CALL_TIME: Duration = Duration::from_secs(10);
/// The largest answer that is read, in octets. A list of 100 senders has about 30 KiB.
const LARGEST_ANSWER: usize = 256 * 1024;
/// How long an account rests if Mailjet names no time.
const USUAL_REST: Duration = Duration::from_secs(60);
/// The longest rest, whatever Mailjet says.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// The longest text of Mailjet's that is shown, in characters.
const LONGEST_TEXT: usize = 300;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub enum RequestError {
    /// Mailjet accepts no more calls for now.
    Busy(String),
    /// Mailjet cannot be reached, has a failure of its own, or gave an answer that is not understood.
    NoAnswer(String),
    /// Mailjet does not accept the API key.
    Credentials(String),
    /// The domain belongs to another account.
    Owned(String),
    /// The object of the call does not exist at Mailjet.
    NotFound(String),
    /// The sender already exists.
    Exists(String),
    /// Mailjet refuses the call for another reason.
    Refused(String),
}

impl RequestError {
    /// Returns the text of Mailjet's or the network's error.
    pub fn detail(&self) -> &str {
        match self {
            RequestError::Busy(detail)
            | RequestError::NoAnswer(detail)
            | RequestError::Credentials(detail)
            | RequestError::Owned(detail)
            | RequestError::NotFound(detail)
            | RequestError::Exists(detail)
            | RequestError::Refused(detail) => detail,
        }
    }

    /// Returns true if the problem concerns the whole account and not only one domain.
    pub fn is_of_account(&self) -> bool {
        matches!(self, RequestError::Busy(_) | RequestError::NoAnswer(_) | RequestError::Credentials(_))
    }

    /// Returns true if the problem may end by itself.
    pub fn is_for_now(&self) -> bool {
        matches!(self, RequestError::Busy(_) | RequestError::NoAnswer(_))
    }
}

/// A sender of the account: `*@test.dk`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Sender {
    #[serde(rename = "ID")]
    pub id: u64,
    /// The id of the domain's DNS settings.
    #[serde(rename = "DNSID", default)]
    pub dns: u64,
    /// The address, `*@test.dk` for a whole domain.
    pub email: String,
    /// `Active`, `Inactive` or `Deleted`.
    pub status: String,
}

impl Sender {
    /// Returns true if Mailjet sends the domain's mail.
    pub fn is_active(&self) -> bool {
        self.status.eq_ignore_ascii_case("active")
    }
}

/// Mailjet's DNS settings of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DnsSettings {
    #[serde(rename = "ID")]
    pub id: u64,
    /// The token that proves ownership.
    #[serde(rename = "OwnerShipToken")]
    pub token: String,
    /// The host of the token's TXT record.
    #[serde(rename = "OwnerShipTokenRecordName", default)]
    pub token_host: String,
    /// The value of the record of Mailjet's key.
    #[serde(rename = "DKIMRecordValue")]
    pub dkim: String,
    /// The result of Mailjet's check of its key's record: `OK`, `Error` or `Not checked`.
    #[serde(rename = "DKIMStatus", default)]
    pub dkim_status: String,
    /// The result of Mailjet's check of the SPF record.
    #[serde(rename = "SPFStatus", default)]
    pub spf_status: String,
    /// True while Mailjet checks.
    #[serde(rename = "IsCheckInProgress", default)]
    pub is_checking: bool,
}

/// The result of a check by Mailjet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct DnsCheck {
    /// The result for the record of its key.
    #[serde(rename = "DKIMStatus", default)]
    pub dkim_status: String,
    /// What is wrong with it: a text, or a list of texts.
    #[serde(rename = "DKIMErrors", default)]
    pub dkim_errors: Value,
    /// The result for the SPF record.
    #[serde(rename = "SPFStatus", default)]
    pub spf_status: String,
    /// What is wrong with the SPF record.
    #[serde(rename = "SPFErrors", default)]
    pub spf_errors: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<T> {
    data: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Denied {
    error_message: String,
    error_info: Value,
}

/// Calls the API as one account.
pub struct Client {
    http: reqwest::Client,
    account: MailjetAccount,
    /// When the account may call again. The lock is kept during a call, so that calls are made one at a time.
    rest_until: Mutex<Option<Instant>>,
}

impl Client {
    pub fn new(account: MailjetAccount) -> Result<Self, reqwest::Error> {
        let http = http_client::builder().timeout(CALL_TIME).build()?;
        Ok(Client { http, account, rest_until: Mutex::new(None) })
    }

    pub fn account(&self) -> &MailjetAccount {
        &self.account
    }

    /// Returns the sender of a whole domain, if the account has it.
    pub async fn sender(&self, domain: &Domain) -> Result<Option<Sender>, RequestError> {
        let path = format!("sender?Domain={domain}&Limit=100");
        let email = format!("*@{domain}");
        let senders: Vec<Sender> = match self.call(Method::GET, &path, None).await {
            Err(RequestError::NotFound(_)) => return Ok(None),
            found => found?,
        };
        let is_it = |sender: &Sender| {
            sender.email.eq_ignore_ascii_case(&email) && !sender.status.eq_ignore_ascii_case("deleted")
        };
        Ok(senders.into_iter().find(is_it))
    }

    /// Adds the sender of a whole domain.
    pub async fn add_sender(&self, domain: &Domain) -> Result<Sender, RequestError> {
        let body = json!({ "Email": format!("*@{domain}"), "EmailType": "unknown", "Name": domain.as_str() });
        one(self.call(Method::POST, "sender", Some(body)).await?)
    }

    /// Asks Mailjet to look for the proof of ownership now. The result is in the sender's status.
    pub async fn validate(&self, sender: u64) -> Result<(), RequestError> {
        // The answer is not the usual envelope, and a validation that fails is also answered with an error.
        match self.text(Method::POST, &format!("sender/{sender}/validate"), Some(json!({}))).await {
            Ok(_) | Err(RequestError::Refused(_) | RequestError::Exists(_)) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Returns the DNS settings of a domain.
    pub async fn dns(&self, domain: &Domain) -> Result<DnsSettings, RequestError> {
        one(self.call(Method::GET, &format!("dns/{domain}"), None).await?)
    }

    /// Asks Mailjet to check the domain's records now.
    pub async fn check(&self, dns: u64) -> Result<DnsCheck, RequestError> {
        one(self.call(Method::POST, &format!("dns/{dns}/check"), Some(json!({}))).await?)
    }

    /// Makes a call, and reads the list in the answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Vec<T>, RequestError> {
        list(&self.text(method, path, body).await?)
    }

    async fn text(&self, method: Method, path: &str, body: Option<Value>) -> Result<Vec<u8>, RequestError> {
        let mut rest_until = self.rest_until.lock().await;
        if let Some(left) = rest_until.map(|until| until.saturating_duration_since(Instant::now()))
            && !left.is_zero()
        {
            return Err(RequestError::Busy(format!("Mailjet takes no calls for another {} s", left.as_secs() + 1)));
        }
        let url = format!("{}/v3/REST/{path}", self.account.api.as_str().trim_end_matches('/'));
        let mut request = self.http.request(method, url).basic_auth(&self.account.key, Some(&self.account.secret));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let rest = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let text = bounded(answer).await?;
        if status.is_success() {
            return Ok(text);
        }
        let problem = problem(status, &text);
        if matches!(problem, RequestError::Busy(_)) {
            let rest = rest.map_or(USUAL_REST, Duration::from_secs).min(LONGEST_REST);
            *rest_until = Some(Instant::now() + rest);
        }
        Err(problem)
    }
}

/// Reads the list in an answer.
pub(super) fn list<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>, RequestError> {
    let envelope: Envelope<T> = serde_json::from_slice(text)
        .map_err(|error| RequestError::NoAnswer(format!("Mailjet's answer is not understood: {error}")))?;
    Ok(envelope.data)
}

fn one<T>(list: Vec<T>) -> Result<T, RequestError> {
    list.into_iter().next().ok_or_else(|| RequestError::NoAnswer("Mailjet's answer is empty".to_owned()))
}

/// Returns only the causes of the error, because reqwest's outermost text is the URL.
fn no_answer(error: reqwest::Error) -> RequestError {
    let text = match error.is_timeout() {
        true => format!("no answer within {} s", CALL_TIME.as_secs()),
        false => "Mailjet cannot be reached".to_owned(),
    };
    let text = causes(&error).fold(text, |text, cause| format!("{text}: {cause}"));
    RequestError::NoAnswer(shown(&text))
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, RequestError> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
        if text.len() + chunk.len() > LARGEST_ANSWER {
            return Err(RequestError::NoAnswer(format!("Mailjet's answer is larger than {LARGEST_ANSWER} octets")));
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// Parts of Mailjet's error texts if another account has the domain. The documentation has no list, so this one is wide.
const OWNED: [&str; 9] = [
    "another account",
    "other account",
    "different account",
    "another user",
    "another mailjet",
    "another api key",
    "belongs to",
    "owned by",
    "already used by",
];

/// Decides what an error answer means.
fn problem(status: StatusCode, text: &[u8]) -> RequestError {
    let denied: Denied = serde_json::from_slice(text).unwrap_or_default();
    let info = denied.error_info.as_str().unwrap_or_default();
    let said = [denied.error_message.as_str(), info].into_iter().filter(|text| !text.is_empty());
    let said = said.collect::<Vec<_>>().join(" ");
    let detail = shown(&match said.is_empty() {
        true => format!("Mailjet answers {status}"),
        false => format!("Mailjet answers {status}: {said}"),
    });
    let said = said.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match status {
        StatusCode::TOO_MANY_REQUESTS => RequestError::Busy(detail),
        StatusCode::REQUEST_TIMEOUT => RequestError::NoAnswer(detail),
        _ if status.is_server_error() || !status.is_client_error() => RequestError::NoAnswer(detail),
        StatusCode::UNAUTHORIZED => RequestError::Credentials(detail),
        _ if says(&OWNED) => RequestError::Owned(detail),
        StatusCode::FORBIDDEN => RequestError::Credentials(detail),
        StatusCode::NOT_FOUND => RequestError::NotFound(detail),
        _ if says(&["already exist", "already existing"]) => RequestError::Exists(detail),
        _ => RequestError::Refused(detail),
    }
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_says_who_must_act() {
        let existing = "There is an already existing inactive sender with the same email. You can use \"validate\" \
                        action in order to activate it.";
        let owned = "This domain is already used by another account";
        let api_key = "API key authentication/authorization failure. You may be unauthorized to access the API";
        type Of = fn(String) -> RequestError;
        for (status, said, of) in [
            (400, existing, RequestError::Exists as Of),
            (400, "There is an already existing active sender with the same email", RequestError::Exists),
            (400, "A Sender resource with value \"*@test.dk\" for Email already exists.", RequestError::Exists),
            (400, owned, RequestError::Owned),
            (409, "The domain test.dk belongs to a different account", RequestError::Owned),
            (403, "Domain owned by another user", RequestError::Owned),
            (400, "The sender already exists on another Mailjet account", RequestError::Owned),
            (400, "Invalid email format", RequestError::Refused),
            (401, api_key, RequestError::Credentials),
            (403, "Operation not allowed", RequestError::Credentials),
            (404, "Object not found", RequestError::NotFound),
            (408, "", RequestError::NoAnswer),
            (429, "Too many requests", RequestError::Busy),
            (500, "belongs to", RequestError::NoAnswer),
            (503, "", RequestError::NoAnswer),
            (302, "", RequestError::NoAnswer),
        ] {
            let text = json!({ "ErrorInfo": "", "ErrorMessage": said, "StatusCode": status }).to_string();
            let status = StatusCode::from_u16(status).unwrap();
            let found = problem(status, text.as_bytes());
            assert_eq!(found, of(found.detail().to_owned()), "{status} {said}");
            assert!(found.detail().contains(said), "{found:?}");
        }
        for text in [&b"<html>Bad gateway</html>"[..], b"", b"[]", b"{\"ErrorMessage\": 7}"] {
            assert!(matches!(problem(StatusCode::BAD_REQUEST, text), RequestError::Refused(_)));
        }
        let long = json!({ "ErrorMessage": "x\n".repeat(4000) }).to_string();
        let found = problem(StatusCode::BAD_REQUEST, long.as_bytes());
        assert!(found.detail().chars().count() <= LONGEST_TEXT && !found.detail().contains('\n'));
    }

    #[test]
    fn answers_of_the_documentation_are_read() {
        let dns = r#"{"Count":1,"Data":[{"DKIMRecordName":"mailjet._domainkey.test.dk.","DKIMRecordValue":"k=rsa; p=AAAA",
            "DKIMStatus":"Not checked","Domain":"test.dk","ID":7,"IsCheckInProgress":false,"LastCheckAt":"",
            "OwnerShipToken":"b68ecbf07a1f5b307e60f73762b343b4","OwnerShipTokenRecordName":"mailjet._b68ecbf0.test.dk.",
            "SPFRecordValue":"v=spf1 include:spf.mailjet.com ?all","SPFStatus":"Not found"}],"Total":1}"#;
        let dns: Envelope<DnsSettings> = serde_json::from_str(dns).unwrap();
        assert_eq!((dns.data[0].id, dns.data[0].dkim_status.as_str()), (7, "Not checked"));
        let sender = r#"{"Count":1,"Data":[{"CreatedAt":"","DNSID":7,"Email":"*@test.dk","EmailType":"unknown","Filename":"",
            "ID":5,"IsDefaultSender":false,"Name":"","Status":"Inactive"}],"Total":1}"#;
        let sender: Envelope<Sender> = serde_json::from_str(sender).unwrap();
        assert!((sender.data[0].id, sender.data[0].dns) == (5, 7) && !sender.data[0].is_active());
        for check in [
            r#"{"DKIMErrors":["none"],"DKIMStatus":"Error","SPFErrors":[],"SPFStatus":"OK","SPFRecordsCurrentValues":[]}"#,
            r#"{"DKIMErrors":"none","DKIMStatus":"Error","SPFErrors":"","SPFStatus":"OK"}"#,
        ] {
            let check: DnsCheck = serde_json::from_str(check).unwrap();
            assert_eq!((check.dkim_status.as_str(), check.spf_status.as_str()), ("Error", "OK"));
        }
    }
}
