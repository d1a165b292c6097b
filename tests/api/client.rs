//! A client that sends exactly what a test says, and shows everything that came back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What must be true of every answer that says no.
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
}

/// Sends octets as they are, and gives the answer.
pub fn raw(to: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(request);
    parsed(&mut stream)
}

/// Reads an answer to its end.
pub fn parsed(stream: &mut impl Read) -> Answer {
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    let text = String::from_utf8_lossy(&octets).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}

/// A caller with a token.
#[derive(Clone)]
pub struct Client {
    pub to: SocketAddr,
    pub token: String,
}

impl Client {
    /// A request with these headers besides.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let mut request = format!("{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !self.token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                request.push_str("Content-Type: application/json\r\n");
            }
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        raw(self.to, request.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], Some(body))
    }

    /// A GET that must succeed.
    pub fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Reads until the answer fits: the event log shows what it has synced, a moment after it happened.
    pub fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.read(path);
            if fits(&found) {
                return found;
            }
            assert!(Instant::now() < patience, "{path}: {found}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Begins a job, and waits for its end.
    pub fn job(&self, path: &str, body: &str) -> Value {
        let begun = self.post(path, body);
        assert_eq!(begun.status, 202, "{path}: {begun:?}");
        let place = begun.header("location").expect("where the job is").replace("/api/v1", "");
        loop {
            let job = self.read(&format!("{place}?wait_secs=20"));
            if job["state"] != "running" {
                return job;
            }
        }
    }
}
