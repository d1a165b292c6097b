//! Fetches the ownership file from a customer's web server, which is not trusted and must not lead the request anywhere else.
//!
//! Each request, the first one and those that follow a redirect, is a `Hop`. Its host is looked up with our resolver and refused if
//! any of its addresses is not public. The request connects only to these addresses, so neither a redirect nor a second DNS answer
//! can lead it into our own network. Redirects must stay in the domain, and their number is limited. A body is read only until it is
//! known not to be empty. No proxy is used, and one deadline covers everything.

mod failure;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod hop;

use std::net::IpAddr;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use url::Url;

pub use failure::{FetchError, NotThere};
use hop::Hop;

use super::Settings;
use crate::resolver::{Resolver, is_public};
use crate::smtp::Domain;

const MOST_REDIRECTS: usize = 5;
/// The longest body that can count as empty. It may have a byte order mark and a few line ends.
const LONGEST_EMPTY: usize = 64;
/// The octets of byte order marks and white space. A file with any other octet is not empty.
const BLANK: &[u8] = b"\xef\xbb\xbf\xfe\xff\0\t\n\r ";

#[derive(Clone, Debug)]
pub struct Fetcher {
    timeout: Duration,
    may_connect: fn(IpAddr) -> bool,
    http_port: u16,
    https_port: u16,
}

/// What the web server has at the URL of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file exists and is empty.
    Empty,
    /// The file exists and has content.
    NotEmpty,
    /// The server has a page for every name, so the file proves nothing.
    Anything,
}

impl Fetcher {
    /// Makes a fetcher from the settings.
    pub fn new(settings: &Settings) -> Self {
        Fetcher {
            timeout: settings.http_timeout,
            may_connect: if settings.http_allow_private { |_| true } else { is_public },
            http_port: settings.http_port,
            https_port: settings.https_port,
        }
    }

    /// Checks whether the file at `url` exists and is empty. Also requests a random name that cannot exist, because a server that gives
    /// the same answer for every name proves nothing.
    pub async fn empty_file(&self, resolver: &dyn Resolver, url: &str, domain: &Domain) -> Result<Fetched, FetchError> {
        let work = async {
            let is_empty = self.is_empty(resolver, url, domain).await?;
            let folder = url.rsplit_once('/').map_or(url, |(folder, _)| folder);
            let nobodys = format!("{folder}/{:032x}.txt", rand::random::<u128>());
            match (is_empty, self.is_empty(resolver, &nobodys, domain).await) {
                (true, Ok(true)) | (false, Ok(_)) => Ok(Fetched::Anything),
                // Without an answer about the random name, the first answer proves nothing.
                (true, Err(FetchError::Unanswered(reason))) => Err(FetchError::Unanswered(reason)),
                (true, _) => Ok(Fetched::Empty),
                (false, _) => Ok(Fetched::NotEmpty),
            }
        };
        let late = || FetchError::NotThere(NotThere::Late { secs: self.timeout.as_secs() });
        tokio::time::timeout(self.timeout, work).await.map_err(|_| late())?
    }

    /// Sends a GET and follows its redirects. Returns true if the file exists and is empty.
    async fn is_empty(&self, resolver: &dyn Resolver, url: &str, domain: &Domain) -> Result<bool, FetchError> {
        let mut url = Url::parse(url).map_err(|_| FetchError::Redirect(url.to_owned()))?;
        for _ in 0..=MOST_REDIRECTS {
            let mut response = self.hop(&url, domain)?.get(resolver, self.may_connect).await?;
            if let Some(location) = location(&response) {
                url = url.join(&location).map_err(|_| FetchError::Redirect(location))?;
                continue;
            }
            if response.status() != StatusCode::OK {
                return Err(FetchError::NotThere(NotThere::Status(response.status().as_u16())));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failure::of_http)? {
                body.extend_from_slice(&chunk);
                if body.len() > LONGEST_EMPTY || body.iter().any(|octet| !BLANK.contains(octet)) {
                    return Ok(false);
                }
            }
            return Ok(is_blank(&body));
        }
        Err(FetchError::Redirect(url.to_string()))
    }

    /// Requests an untrusted address and follows no redirect. Returns the status and the body, which is cut at `longest` octets.
    pub async fn short(
        &self,
        resolver: &dyn Resolver,
        url: &Url,
        longest: usize,
    ) -> Result<(u16, Vec<u8>), FetchError> {
        let work = async {
            let domain = host(url).ok_or_else(|| FetchError::Redirect(url.to_string()))?;
            let mut response =
                Hop::to(url, &domain, self.http_port, self.https_port)?.get(resolver, self.may_connect).await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failure::of_http)? {
                body.extend_from_slice(&chunk);
                if body.len() > longest {
                    body.truncate(longest);
                    break;
                }
            }
            Ok((response.status().as_u16(), body))
        };
        let late = || FetchError::NotThere(NotThere::Late { secs: self.timeout.as_secs() });
        tokio::time::timeout(self.timeout, work).await.map_err(|_| late())?
    }

    fn hop(&self, url: &Url, domain: &Domain) -> Result<Hop, FetchError> {
        Hop::to(url, domain, self.http_port, self.https_port)
    }
}

/// Returns the target of a redirect. Some servers write names in Location without converting them to ASCII.
fn location(response: &reqwest::Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Returns true if a body counts as empty. Some editors save an empty file with a byte order mark or a line end.
fn is_blank(body: &[u8]) -> bool {
    let utf16 = |body: &[u8], units: fn([u8; 2]) -> u16| {
        body.len().is_multiple_of(2)
            && body.chunks_exact(2).all(|two| matches!(units([two[0], two[1]]), 0x09 | 0x0a | 0x0d | 0x20))
    };
    match body {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => {
            let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            text.iter().all(|octet| matches!(octet, b'\t' | b'\n' | b'\r' | b' '))
        }
    }
}

/// Returns the domain of a web address, for the checks of requests.
pub(super) fn host(url: &Url) -> Option<Domain> {
    Domain::parse(url.domain()?).ok()
}

#[cfg(test)]
mod tests;
