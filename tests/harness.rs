//! The load harness itself: its source and sink against each other, its books against mail that is lost or doubled, and a
//! small load through the real program. Nothing here is about speed.

// The harness' own modules, as the bench has them; not all of each is used here.
#[allow(dead_code)]
#[path = "../benches/relay"]
mod load {
    pub mod check;
    #[path = "../corpus/mod.rs"]
    pub mod corpus;
    pub mod mail;
    pub mod scratch;
    pub mod server;
    pub mod sink;
    pub mod source;
}

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use load::check::{self, Books, Signatures};
use load::mail::Shape;
use load::scratch::{self, Relay, Scratch, Setup, Signer};
use load::sink::{self, Arrival};
use load::source;
use postbud::load::{Auth, Sent, Tls};

const RUN: &str = "smoke";
const MESSAGES: u64 = 50;

fn source_settings(target: SocketAddr, scratch: &Scratch) -> source::Settings {
    source::Settings {
        target,
        run: RUN.to_owned(),
        messages: MESSAGES,
        sessions: 5,
        per_connection: 0,
        rate: None,
        recipients: 1,
        pipelining: false,
        tls: Tls::Off,
        ca: Some(scratch.path("ca.pem")),
        auth: Auth::Off,
        username: scratch::USERNAME.to_owned(),
        password: scratch::PASSWORD.to_owned(),
        shape: Shape::Newsletters,
        from_domain: scratch::DOMAIN.to_owned(),
    }
}

fn sink_settings(scratch: &Scratch) -> sink::Settings {
    sink::Settings {
        listen: String::new(),
        run: RUN.to_owned(),
        delay_ms: 0,
        defer: 0.0,
        drop: 0.0,
        tls: Tls::Off,
        certificate: Some(scratch.path("server.pem")),
        private_key: Some(scratch.path("server.key")),
        auth: Auth::Off,
        username: scratch::USERNAME.to_owned(),
        password: scratch::PASSWORD.to_owned(),
        sample_every: 1,
    }
}

/// A sink in a thread of its own.
struct RunningSink {
    address: SocketAddr,
    count: tokio::sync::watch::Receiver<u64>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<sink::Report>,
}

impl RunningSink {
    fn start(settings: sink::Settings) -> RunningSink {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, count) = tokio::sync::watch::channel(0);
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stop = async {
                    stopped.await.unwrap_or(());
                };
                sink::run(listener, settings, stop, |n| {
                    tell.send_replace(n);
                })
                .await
                .unwrap()
            })
        });
        RunningSink { address, count, stop, thread }
    }

    /// Waits for so many copies (or long enough), then ends the sink.
    fn finish(self, copies: u64) -> sink::Report {
        let deadline = Instant::now() + Duration::from_secs(60);
        while *self.count.borrow() < copies && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn send(settings: source::Settings) -> source::Report {
    runtime().block_on(source::run(settings, |_| {})).unwrap()
}

fn verify(samples: &[Vec<u8>], scratch: &Scratch) -> Signatures {
    runtime().block_on(check::signatures(samples, &scratch.records().unwrap())).unwrap()
}

/// The load through the real program; gives the books and the signature check.
fn through_the_relay(
    setup: impl FnOnce(&mut Setup),
    source: impl FnOnce(&mut source::Settings),
    sink: impl FnOnce(&mut sink::Settings),
) -> (Books, Signatures, source::Report, sink::Report) {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(dir.path()).unwrap();
    let mut sink_with = sink_settings(&scratch);
    sink(&mut sink_with);
    let running = RunningSink::start(sink_with);
    let mut with = Setup {
        signer: Signer::Both,
        tls_in: Tls::Off,
        auth_in: false,
        tls_out: Tls::Off,
        auth_out: false,
        concurrency: 4,
        sink: running.address,
        message_size: 25 << 20,
        spool: String::new(),
        events: false,
    };
    setup(&mut with);
    let (listen, web) = scratch.configure(&with, &dir.path().join("state")).unwrap();
    let relay = Relay::start(Path::new(env!("CARGO_BIN_EXE_postbud")), &scratch, listen, web).unwrap();
    let mut source_with = source_settings(listen, &scratch);
    source(&mut source_with);
    let recipients = source_with.recipients;
    let sent = send(source_with);
    let taken = running.finish(MESSAGES * recipients as u64);
    relay.stop().unwrap();
    let books = Books::balance(&sent.sent, &taken.arrivals, recipients);
    (books, verify(&taken.samples, &scratch), sent, taken)
}

#[test]
fn a_load_through_the_relay_arrives_once_and_signed() {
    let (books, signatures, sent, _) = through_the_relay(|_| {}, |source| source.recipients = 3, |_| {});
    assert!(books.exactly_once(), "{books:?} {:?}", sent.failures);
    assert_eq!(books.copies, MESSAGES * 3);
    assert!(signatures.checked >= MESSAGES && signatures.good == signatures.checked, "{signatures:?}");
}

#[test]
fn a_connection_a_message_with_tls_and_login_resumes_and_arrives_once() {
    let (books, signatures, sent, taken) = through_the_relay(
        |setup| {
            (setup.tls_in, setup.auth_in) = (Tls::Starttls, true);
            (setup.tls_out, setup.auth_out) = (Tls::Starttls, true);
        },
        |source| {
            source.per_connection = 1;
            (source.tls, source.auth) = (Tls::Starttls, Auth::Login);
        },
        |sink| (sink.tls, sink.auth) = (Tls::Starttls, Auth::Plain),
    );
    assert!(books.exactly_once(), "{books:?} {:?}", sent.failures);
    assert_eq!(signatures.good, MESSAGES, "{signatures:?}");
    assert_eq!(sent.connections, MESSAGES);
    assert!(sent.resumed > 0, "no connection resumed TLS");
    assert!(taken.connections < MESSAGES, "connections to the smarthost are kept");
}

#[test]
fn what_the_smarthost_defers_or_drops_arrives_later_and_once() {
    let (books, _, sent, taken) = through_the_relay(|_| {}, |_| {}, |sink| (sink.defer, sink.drop) = (0.2, 0.05));
    assert!(books.exactly_once(), "{books:?} {:?}", sent.failures);
    assert!(taken.deferred > 0 && taken.dropped > 0, "the sink was unfriendly: {} {}", taken.deferred, taken.dropped);
}

#[test]
fn source_and_sink_agree_without_a_relay_between() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(dir.path()).unwrap();
    for (tls, auth, pipelining, rate) in [
        (Tls::Off, Auth::Off, true, None),
        (Tls::Starttls, Auth::Login, false, Some(500.0)),
        (Tls::Implicit, Auth::Plain, false, None),
    ] {
        let sink = RunningSink::start(sink::Settings { tls, auth, ..sink_settings(&scratch) });
        let sent = send(source::Settings {
            tls,
            auth,
            pipelining,
            rate,
            recipients: 2,
            ..source_settings(sink.address, &scratch)
        });
        let taken = sink.finish(MESSAGES * 2);
        let books = Books::balance(&sent.sent, &taken.arrivals, 2);
        assert!(books.exactly_once(), "{tls:?}: {books:?} {:?}", sent.failures);
        // Nobody signed these, and the check must say so.
        assert_eq!(verify(&taken.samples, &scratch).good, 0);
    }
}

#[test]
fn a_large_message_passes_the_sink_without_staying_in_memory_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(dir.path()).unwrap();
    let sink = RunningSink::start(sink::Settings { sample_every: 0, ..sink_settings(&scratch) });
    let sent = send(source::Settings {
        messages: 2,
        shape: Shape::Size(3_000_000),
        ..source_settings(sink.address, &scratch)
    });
    let taken = sink.finish(2);
    assert!(Books::balance(&sent.sent, &taken.arrivals, 1).exactly_once());
    assert!(taken.arrivals.iter().all(|a| a.size.abs_diff(3_000_000) < 100), "{:?}", taken.arrivals);
}

#[test]
fn the_books_notice_what_is_lost_doubled_or_was_never_asked_for() {
    let sent = |number, code| Sent { number, due: 0, began: 0, end_of_data: 1, answered: 2, code, refused: 0 };
    let copy = |number, recipient| Arrival { number, recipient, at: 3, size: 1 };
    let all = [sent(0, 250), sent(1, 250)];
    let whole = [copy(0, 0), copy(0, 1), copy(1, 0), copy(1, 1)];
    assert!(Books::balance(&all, &whole, 2).exactly_once());
    assert_eq!(Books::balance(&all, &whole[1..], 2).missing, 1);
    assert_eq!(Books::balance(&all, &[whole.as_slice(), &[copy(1, 1)]].concat(), 2).duplicates, 1);
    assert_eq!(Books::balance(&[sent(0, 250), sent(1, 554)], &whole, 2).unasked, 2);
    assert_eq!(Books::balance(&all[..1], &whole, 2).unasked, 2);
    let unknown = Books::balance(&[sent(0, 250), sent(1, 0)], &whole, 2);
    assert_eq!((unknown.unknown, unknown.missing, unknown.unasked), (1, 0, 0));
}
