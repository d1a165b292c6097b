//! Web servers and name servers that try to lead the fetcher elsewhere. The tests fail if anything connects to the inside server.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::resolver::{Answer, Lookup, Record, RecordType};

/// Stands for a public address, the only one to which the fetcher may connect.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// Stands for the cloud's metadata service or another address in our own network.
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Answers each question for an IPv4 address with the next one of a list, and repeats the last.
struct Script {
    answers: Mutex<VecDeque<Ipv4Addr>>,
    asked: AtomicUsize,
}

impl Script {
    fn new(answers: &[Ipv4Addr]) -> Self {
        Script { answers: Mutex::new(answers.iter().copied().collect()), asked: AtomicUsize::new(0) }
    }
}

impl Resolver for Script {
    fn query<'a>(&'a self, _: &'a str, record_type: RecordType) -> Lookup<'a> {
        let mut records = Vec::new();
        if record_type == RecordType::A {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut answers = self.answers.lock().unwrap();
            let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
            records.extend(next.map(Record::A));
        }
        Box::pin(std::future::ready(Ok(Answer { records, no_such_name: false })))
    }
}

/// Two servers on the same port: the customer's, which gives every request the same answer, and one in our own network.
struct Servers {
    port: u16,
    inside: TcpListener,
    requests: Arc<AtomicUsize>,
}

impl Servers {
    /// Starts both servers. `{port}` in the answer is replaced with their port.
    async fn start(answer: &str) -> Self {
        let (customers, inside) = loop {
            let customers = TcpListener::bind((PUBLIC, 0)).await.unwrap();
            if let Ok(inside) = TcpListener::bind((INSIDE, customers.local_addr().unwrap().port())).await {
                break (customers, inside);
            }
        };
        let port = customers.local_addr().unwrap().port();
        let (answer, requests) = (answer.replace("{port}", &port.to_string()), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = customers.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Servers { port, inside, requests }
    }

    async fn redirecting(location: &str) -> Self {
        Servers::start(&format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher {
            timeout: Duration::from_secs(20),
            may_connect: |ip| ip == PUBLIC,
            http_port: self.port,
            https_port: self.port,
        }
    }

    async fn fetch(&self, resolver: &Script) -> Result<bool, FetchError> {
        self.fetcher().is_empty(resolver, "http://a.dk/x.txt", &Domain::parse("a.dk").unwrap()).await
    }

    /// Fails if anything has connected to the inside server. The listener's queue keeps every such connection.
    fn assert_nobody_came_in(self, what: &str) {
        let inside = self.inside.into_std().unwrap();
        assert!(inside.accept().is_err(), "{what}: the server inside was connected to");
    }
}

#[tokio::test]
async fn no_redirect_leads_inside() {
    for location in [
        "http://127.0.0.2:{port}/",
        "http://127.0.0.2.:{port}/",
        "http://127.2:{port}/",
        "http://0x7f.2:{port}/",
        "http://0x7f000002:{port}/",
        "http://2130706434:{port}/",
        "http://0177.0.0.2:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://[::ffff:7f00:2]:{port}/",
        "http://[::1]:{port}/",
        "http://a.dk@127.0.0.2:{port}/",
        "http://a.dk:{port}@127.0.0.2:{port}/",
        "http://a.dk%40127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "\\\\127.0.0.2:{port}\\",
        "https://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://inside.b.dk:{port}/",
        "http://user@a.dk:{port}/",
        "ftp://a.dk:{port}/",
        "gopher://127.0.0.2:{port}/",
        "file:///etc/hostname",
    ] {
        let servers = Servers::redirecting(location).await;
        // After the first question the name server answers every name with the inside address.
        let fetched = servers.fetch(&Script::new(&[PUBLIC, INSIDE])).await;
        assert!(matches!(fetched, Err(FetchError::Redirect(_))), "{location}: {fetched:?}");
        assert_eq!(servers.requests.load(Ordering::Relaxed), 1, "{location}");
        servers.assert_nobody_came_in(location);
    }
}

#[tokio::test]
async fn each_hop_looks_its_host_up_once_and_checks_what_it_finds() {
    for location in ["http://a.dk.:{port}/", "http://A.dk:{port}/", "/", "http://www.a.dk:{port}/", "//a.dk:{port}/"] {
        let (servers, resolver) = (Servers::redirecting(location).await, Script::new(&[PUBLIC, INSIDE]));
        let fetched = servers.fetch(&resolver).await;
        assert_eq!(fetched, Err(FetchError::Private(INSIDE.into())), "{location}");
        let counts = (resolver.asked.load(Ordering::Relaxed), servers.requests.load(Ordering::Relaxed));
        assert_eq!(counts, (2, 1), "{location}: questions and requests");
        servers.assert_nobody_came_in(location);
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let servers = Servers::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let resolver = Script::new(&[PUBLIC, INSIDE]);
    assert_eq!(servers.fetch(&resolver).await, Ok(true));
    let counts = (resolver.asked.load(Ordering::Relaxed), servers.requests.load(Ordering::Relaxed));
    assert_eq!(counts, (1, 1), "questions and requests");
    servers.assert_nobody_came_in("a second answer");
}

#[tokio::test]
async fn a_name_that_points_inside_is_not_asked() {
    let servers = Servers::start("").await;
    assert_eq!(servers.fetch(&Script::new(&[INSIDE])).await, Err(FetchError::Private(INSIDE.into())));
    servers.assert_nobody_came_in("an address");
}

#[tokio::test]
async fn a_redirect_to_the_same_name_with_a_dot_is_followed() {
    let servers = Servers::redirecting("http://a.dk.:{port}/y.txt").await;
    let fetched = servers.fetch(&Script::new(&[PUBLIC])).await;
    assert!(matches!(&fetched, Err(FetchError::Redirect(to)) if to.contains("a.dk")), "{fetched:?}");
    assert_eq!(servers.requests.load(Ordering::Relaxed), MOST_REDIRECTS + 1);
    servers.assert_nobody_came_in("redirects");
}

#[tokio::test]
async fn an_answer_that_is_no_redirect_is_not_followed() {
    for (status, location) in
        [("300 Multiple Choices", "Location: /y\r\n"), ("304 Not Modified", ""), ("302 Found", "")]
    {
        let answer = format!("HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let servers = Servers::start(&answer).await;
        let code = status[..3].parse().unwrap();
        let fetched = servers.fetch(&Script::new(&[PUBLIC])).await;
        assert_eq!(fetched, Err(FetchError::NotThere(NotThere::Status(code))));
        assert_eq!(servers.requests.load(Ordering::Relaxed), 1, "{status}");
    }
}

#[tokio::test]
async fn what_does_not_speak_http_is_named_as_such() {
    for answer in
        ["", "220 mail.a.dk ESMTP\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
    {
        let fetched = Servers::start(answer).await.fetch(&Script::new(&[PUBLIC])).await;
        let expected =
            matches!(fetched, Err(FetchError::NotThere(NotThere::NoHttp { .. } | NotThere::NoConnection { .. })));
        assert!(expected, "{answer:?}: {fetched:?}");
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_are_no_content() {
    for blank in [
        &b""[..],
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" \t\r\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\r\n",
        b"\xff\xfe",
        b"\xff\xfe\r\0\n\0",
        b"\xfe\xff",
        b"\xfe\xff\0\r\0\n",
    ] {
        assert!(is_blank(blank), "{}", blank.escape_ascii());
    }
    for content in [
        &b"x"[..],
        b"\0",
        b"\n.\n",
        b"\xef\xbb\xbfx",
        b"\xef\xbb",
        b"\xff\xfe\n",
        b"\xff\xfex\0",
        b"\xfe\xff\r\0",
        b"\xc2\xa0",
    ] {
        assert!(!is_blank(content), "{}", content.escape_ascii());
    }
}
