//! A caller of the API, who sends exactly what a test says, with its token.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::request;
pub use crate::support::http::{Answer, parsed, raw};

/// A caller with a token.
#[derive(Clone)]
pub struct Client {
    pub to: SocketAddr,
    pub token: String,
}

impl Client {
    /// A request with these headers besides.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let token = format!("Bearer {}", self.token);
        let mut fields = Vec::from(headers);
        if !self.token.is_empty() {
            fields.push(("Authorization", &token));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            fields.push(("Content-Type", "application/json"));
        }
        let request = request(method, &format!("/api/v1{path}"), "localhost", &fields, body);
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
