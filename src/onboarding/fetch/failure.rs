//! The reasons why the ownership file was not fetched. Each language puts them into its own words.

use std::io::{self, ErrorKind};

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::causes::{causes, with_causes};
use crate::resolver;

/// Why a file could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The host has an address that is not public. No connection was made.
    #[error("{0} is not a public address")]
    Private(std::net::IpAddr),
    /// A redirect leads out of the domain or to something that is not a web address, or there are too many redirects.
    #[error("redirected to {0}")]
    Redirect(String),
    /// DNS did not answer the question for the web server's address.
    #[error("{0}")]
    Unanswered(resolver::Error),
    /// The name has no address, so the customer does not use the file.
    #[error("no web server")]
    NoServer,
    /// The web server does not have the file, or it gave no HTTP answer.
    #[error("{0}")]
    NotThere(NotThere),
}

/// Why a web server did not return the file. `Display` is for operators and JSON; `detail` is the HTTP library's error text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are what each variant's sentence says")]
pub enum NotThere {
    /// The server answered with a status other than 200.
    #[error("HTTP {0}")]
    Status(u16),
    /// The server refused the connection.
    #[error("connection refused: {detail}")]
    Refused { detail: String },
    /// The address cannot be reached, or the connection broke.
    #[error("no connection: {detail}")]
    NoConnection { detail: String },
    /// TLS failed, because the certificate is not trusted, has expired, or is for another name.
    #[error("certificate: {detail}")]
    Certificate { detail: String },
    /// TLS failed for another reason.
    #[error("TLS: {detail}")]
    Tls { detail: String },
    /// The answer is not HTTP.
    #[error("no HTTP: {detail}")]
    NoHttp { detail: String },
    /// The deadline passed before the answer came.
    #[error("no answer within {secs} s")]
    Late { secs: u64 },
}

impl Serialize for NotThere {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl NotThere {
    /// Returns true if both failures have the same text, apart from the library's error text.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (NotThere::Status(one), NotThere::Status(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// Classifies an error of the HTTP library by its causes, because the outermost error only says "error sending request".
pub(super) fn of_http(error: reqwest::Error) -> FetchError {
    let before_http = error.is_timeout() || error.is_connect() || error.is_builder();
    let error = error.without_url();
    let detail: String = with_causes(&error).chars().take(300).collect();
    let (mut kind, mut tls) = (None, None);
    for deeper in causes(&error) {
        if let Some(io) = deeper.downcast_ref::<io::Error>() {
            kind = Some(innermost(io).kind());
            tls = tls.or_else(|| innermost(io).get_ref()?.downcast_ref::<rustls::Error>().cloned());
        }
    }
    FetchError::NotThere(match (tls, kind) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => NotThere::Certificate { detail },
        (Some(_), _) => NotThere::Tls { detail },
        (None, Some(ErrorKind::ConnectionRefused)) => NotThere::Refused { detail },
        (None, Some(_)) => NotThere::NoConnection { detail },
        (None, None) if before_http => NotThere::NoConnection { detail },
        (None, None) => NotThere::NoHttp { detail },
    })
}

/// Finds the innermost I/O error. An I/O error does not return the error that it wraps as its source.
fn innermost(error: &io::Error) -> &io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        Some(inner) => innermost(inner),
        None => error,
    }
}
