//! Fetches the ownership file from a stranger's web server without being led anywhere else.
//!
//! Each request, the first one and those that follow a redirect, is a [`Hop`]: its host is looked up with our resolver, refused
//! if any of its addresses is not public, and connected to at these addresses only. Neither a redirect nor a second DNS answer
//! can point us at our own network. Redirects stay in the domain and are few, a body is read only until it is known not to be
//! empty, no proxy is used, and one deadline covers it all.

mod failure;
mod hop;
mod public;

use std::net::IpAddr;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use url::Url;

pub use failure::{FetchError, NotThere};
use hop::Hop;
pub use public::is_public;

use super::Settings;
use crate::resolver::Resolver;
use crate::smtp::Domain;

const MOST_REDIRECTS: usize = 5;
/// An empty file may hold a byte order mark and a few line ends; more octets are content.
const LONGEST_EMPTY: usize = 64;
/// The octets of byte order marks and white space. The first other one settles that a file is not empty.
const BLANK: &[u8] = b"\xef\xbb\xbf\xfe\xff\0\t\n\r ";

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Fetcher {
    timeout: Duration,
    may_connect: fn(IpAddr) -> bool,
    http_port: u16,
    https_port: u16,
}

/// What was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file is there and empty.
    Empty,
    /// It has content.
    NotEmpty,
    /// The server answers the same for any name.
    Anything,
}

impl Fetcher {
    /// A fetcher as configured.
    pub fn new(settings: &Settings) -> Self {
        Fetcher {
            timeout: settings.http_timeout,
            may_connect: if settings.http_allow_private { |_| true } else { is_public },
            http_port: settings.http_port,
            https_port: settings.https_port,
        }
    }

    /// Whether the file at `url` exists and is empty. A server that answers the same for a name nobody can have put there
    /// proves nothing; one that has a page for any name cannot tell whether the file is there.
    pub async fn empty_file(&self, resolver: &dyn Resolver, url: &str, domain: &Domain) -> Result<Fetched, FetchError> {
        let work = async {
            let is_empty = self.is_empty(resolver, url, domain).await?;
            let folder = url.rsplit_once('/').map_or(url, |(folder, _)| folder);
            let nobodys = format!("{folder}/{:032x}.txt", rand::random::<u128>());
            match (is_empty, self.is_empty(resolver, &nobodys, domain).await) {
                (true, Ok(true)) | (false, Ok(_)) => Ok(Fetched::Anything),
                // Nothing answered this time: the first answer must not count for more than it would have.
                (true, Err(FetchError::Unanswered(reason))) => Err(FetchError::Unanswered(reason)),
                (true, _) => Ok(Fetched::Empty),
                (false, _) => Ok(Fetched::NotEmpty),
            }
        };
        let late = || FetchError::NotThere(NotThere::Late { secs: self.timeout.as_secs() });
        tokio::time::timeout(self.timeout, work).await.map_err(|_| late())?
    }

    /// One GET with its redirects. `Ok(true)`: the file is there and empty.
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

    fn hop(&self, url: &Url, domain: &Domain) -> Result<Hop, FetchError> {
        Hop::to(url, domain, self.http_port, self.https_port)
    }
}

/// Where a redirect leads. Some servers write names in Location as they are, not in ASCII.
fn location(response: &reqwest::Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Whether a body counts as empty: editors save an empty file with a byte order mark or a line end.
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

#[cfg(test)]
mod tests;
