//! HTTP as a test says it, octet by octet, and everything that came back.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

/// The response of an HTTP server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The header's fields in order, their names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a field, whatever the letters of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The same; empty where it is absent.
    pub fn field(&self, name: &str) -> &str {
        self.header(name).unwrap_or_default()
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What must be true of every answer of the API that says no.
    pub fn is_problem(&self, ending: &str) -> &Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["type"], format!("urn:postbud:problem:{ending}"), "{self:?}");
        assert_eq!(json["status"], self.status, "{self:?}");
        for field in ["title", "detail", "remedy"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {self:?}");
        }
        self
    }

    /// The code of the page's first form behind `marker`.
    pub fn code(&self, marker: &str) -> String {
        let (_, rest) = self.body.split_once(marker).unwrap_or_else(|| panic!("no {marker} in {}", self.body));
        let (_, rest) = rest.split_once("name=\"form\" value=\"").expect("a form has a code");
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

/// A request that closes its connection, with these fields besides.
pub fn request(method: &str, path: &str, host: &str, fields: &[(&str, &str)], body: Option<&str>) -> String {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request + "\r\n" + body.unwrap_or_default()
}

/// Sends octets as they are, and gives the answer.
pub fn raw(to: SocketAddr, request: &[u8]) -> Answer {
    parsed(&mut text(to, request).expect("the server is there").as_bytes())
}

/// Sends octets as they are, and gives all that came back. `None` if nobody listens.
pub fn text(to: impl ToSocketAddrs, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(request);
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    Some(String::from_utf8_lossy(&octets).into_owned())
}

/// Reads an answer to its end.
pub fn parsed(stream: &mut impl Read) -> Answer {
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    let text = String::from_utf8_lossy(&octets).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}
