//! A browser's part of HTTP, without a browser: a cookie, and forms with their codes.

use std::net::SocketAddr;

pub use crate::support::http::Answer;
use crate::support::http::{raw, request};

/// Speaks to the pages.
#[derive(Clone)]
pub struct Client {
    pub to: SocketAddr,
    /// `name=value` of the session's cookie.
    pub cookie: Option<String>,
    /// Further headers, as lines.
    pub headers: Vec<String>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Client { to, cookie: None, headers: Vec::new() }
    }

    /// Logs in with the form of the login's page.
    pub fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let code = self.get("/login").code("action=\"/login\"");
        let answer = self.post("/login", &[("form", &code), ("name", name), ("password", password), ("to", "/queue")]);
        if let Some(set) = answer.headers.iter().find(|(name, _)| name == "set-cookie") {
            self.cookie = set.1.split(';').next().map(str::to_owned);
        }
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    /// Sends a form.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.ask("POST", path, Some(body.finish()))
    }

    /// Sends the form of a page behind `marker`, with these fields besides its code.
    pub fn send(&self, page: &str, marker: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let code = self.get(page).code(marker);
        let mut all = vec![("form", code.as_str())];
        all.extend(fields);
        self.post(path, &all)
    }

    fn ask(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        let cookie = self.cookie.as_ref().map(|cookie| format!("lang=en; {cookie}"));
        let mut fields: Vec<(&str, &str)> = self.headers.iter().filter_map(|line| line.split_once(": ")).collect();
        fields.extend(cookie.as_deref().map(|cookie| ("Cookie", cookie)));
        fields.extend(body.as_ref().map(|_| ("Content-Type", "application/x-www-form-urlencoded")));
        let request = request(method, path, &self.to.to_string(), &fields, body.as_deref());
        raw(self.to, request.as_bytes())
    }
}
