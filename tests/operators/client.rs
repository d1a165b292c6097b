//! A browser's part of HTTP, without a browser: a cookie, and forms with their codes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Speaks to the pages.
#[derive(Clone)]
pub struct Client {
    pub to: SocketAddr,
    /// `name=value` of the session's cookie.
    pub cookie: Option<String>,
    /// Further headers, as lines.
    pub headers: Vec<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The code of the first form behind `marker`.
    pub fn code(&self, marker: &str) -> String {
        let (_, rest) = self.body.split_once(marker).unwrap_or_else(|| panic!("no {marker} in {}", self.body));
        let (_, rest) = rest.split_once("name=\"form\" value=\"").expect("a form has a code");
        rest.split('"').next().unwrap_or_default().to_owned()
    }
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
        let mut stream = TcpStream::connect(self.to).expect("the pages answer");
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.to);
        if let Some(cookie) = &self.cookie {
            request += &format!("Cookie: lang=en; {cookie}\r\n");
        }
        for header in &self.headers {
            request += &format!("{header}\r\n");
        }
        if let Some(body) = &body {
            request +=
                &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body.as_deref().unwrap_or_default();
        stream.write_all(request.as_bytes()).unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        let text = String::from_utf8_lossy(&octets).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.unwrap_or_else(|| panic!("no status: {head}")),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: body.to_owned(),
        }
    }
}
