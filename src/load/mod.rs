//! Generates a load of mail: many SMTP sessions in one thread submit mail as fast as it is answered (closed loop) or at a fixed rate (open
//! loop), and measure the answers.
//!
//! `postbud bench` sends the load to an operator's own staging relay, and the load harness in `benches/` to a relay that it starts. A load
//! ends after a number of messages, after a time, or when [`Settings::stop`] is cancelled. Running transactions are then finished, and no
//! more begin. A message whose final dot got no reply is never repeated, because its outcome is unknown.

pub mod clock;
mod session;
mod template;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

pub use template::{ID_DIGITS, ID_HEADER, NoMessage, Template};
pub use wire::{Auth, Tls, Wire, client_config};

/// The number of different replies that are counted separately.
const REPLIES: usize = 30;
/// The number of different failures that are described.
const FAILURES: usize = 20;

/// The settings of a load.
#[derive(Clone)]
pub struct Settings {
    /// The address of the relay.
    pub target: SocketAddr,
    /// The name in EHLO.
    pub hostname: String,
    /// The number of messages; `None` means no limit.
    pub messages: Option<u64>,
    /// The time in which messages are begun; `None` means no limit.
    pub duration: Option<Duration>,
    /// The number of connections at the same time.
    pub sessions: usize,
    /// Messages per connection; 0 keeps connections open until the end. With 1 the connection is closed without QUIT, as .NET does.
    pub per_connection: u64,
    /// Messages per second; `None` means as fast as possible.
    pub rate: Option<f64>,
    /// Send MAIL, RCPT and DATA in one write (smtp-source and .NET do not).
    pub pipelining: bool,
    /// Whether TLS is used, and when it begins.
    pub tls: Tls,
    /// The trusted authorities for TLS, and the name that the certificate must have.
    pub trust: Option<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>)>,
    /// How the sessions log in.
    pub auth: Auth,
    /// The user name of the login.
    pub username: String,
    /// The password of the login.
    pub password: String,
    /// The sender of every message.
    pub reverse_path: String,
    /// The recipients of every message.
    pub recipients: Vec<String>,
    /// The templates of the messages, used in turn.
    pub templates: Arc<[Template]>,
    /// Ends the load early.
    pub stop: CancellationToken,
}

/// The times of one message in [`clock`] microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The number of the message, counted from the start of the run.
    pub number: u64,
    /// When the message should have begun. If the relay delayed the sessions, this is the message's place in the schedule; otherwise it is
    /// the time at which it did begin. This corrects for coordinated omission.
    pub due: u64,
    /// When the last attempt was begun: with MAIL FROM, or with the connection if one was needed.
    pub began: u64,
    /// When the final dot was passed to the kernel; 0 if it was not sent.
    pub end_of_data: u64,
    /// When its reply had been read.
    pub answered: u64,
    /// The code of the final reply; 0 if the connection broke (after the final dot, the outcome is unknown).
    pub code: u16,
    /// How often it was refused temporarily (4xx) before.
    pub refused: u32,
}

impl Sent {
    /// Returns the microseconds that it waited for its last attempt, because the relay delayed other messages or refused it for now.
    pub fn waited(&self) -> u64 {
        self.began.saturating_sub(self.due)
    }

    /// Returns the microseconds from the end of DATA to the reply, plus the time that it [waited](Self::waited).
    pub fn end_of_data_to_reply(&self) -> u64 {
        self.waited() + self.answered.saturating_sub(self.end_of_data)
    }

    /// Returns the microseconds from its due time to the reply: the whole transaction, including connection, TLS and login if needed.
    pub fn transaction(&self) -> u64 {
        self.answered.saturating_sub(self.due.min(self.began))
    }
}

/// The results of a load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The number of connections made.
    pub connections: u64,
    /// The number of them that resumed TLS.
    pub resumed: u64,
    /// Each different refusal with the verb that it answered, and its count. After the first 30 different refusals, new ones are counted as
    /// "other replies".
    pub replies: BTreeMap<String, u64>,
    /// The failures without a reply: each different one with its first message, and how often it came.
    pub failures: Vec<String>,
    /// The number of failures.
    pub failed: u64,
    /// Why the load ended early: nothing can be sent with these settings.
    pub ended: Option<String>,
    /// The CPU time of the load itself, in microseconds.
    pub cpu_us: u64,
    /// The time from the start of the load to its end, in microseconds.
    pub elapsed_us: u64,
}

/// Called for every message that was finished.
type Seen = Box<dyn FnMut(&Sent)>;

/// The state that the sessions of a load share.
struct Shared {
    settings: Settings,
    start: u64,
    next: Cell<u64>,
    /// Cancelled after the first connection was made and has logged in.
    connected: CancellationToken,
    report: RefCell<Report>,
    /// Each different failure with its first message, and how often it came.
    failures: RefCell<Vec<(String, u64, u64)>>,
    seen: RefCell<Seen>,
}

/// Sends the load. `seen` is called for every message that was finished.
pub async fn run(settings: Settings, seen: impl FnMut(&Sent) + 'static) -> Report {
    let shared = Rc::new(Shared {
        start: clock::now(),
        next: Cell::new(0),
        connected: CancellationToken::new(),
        report: RefCell::default(),
        failures: RefCell::default(),
        seen: RefCell::new(Box::new(seen)),
        settings,
    });
    let cpu = clock::thread_cpu_ns();
    let local = LocalSet::new();
    for number in 0..shared.settings.sessions {
        let shared = Rc::clone(&shared);
        local.spawn_local(async move {
            // The first session connects alone, so that a wrong password causes one failed login, and not one per session.
            if number > 0 {
                shared.connected.cancelled().await;
            }
            session::run(&shared).await;
            if !shared.connected.is_cancelled() {
                shared.end("no connection could be made".to_owned());
                shared.connected.cancel();
            }
        });
    }
    let end = shared.settings.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut all = std::pin::pin!(local);
    tokio::select! {
        () = all.as_mut() => {}
        () = at(end) => {
            shared.settings.stop.cancel();
            all.await;
        }
    }
    let mut report = shared.report.take();
    let often = |times: u64| if times > 1 { format!(" ({times} times)") } else { String::new() };
    let failures = shared.failures.take().into_iter();
    report.failures =
        failures.map(|(what, number, times)| format!("message {number}: {what}{}", often(times))).collect();
    report.cpu_us = (clock::thread_cpu_ns() - cpu) / 1_000;
    report.elapsed_us = clock::now().saturating_sub(shared.start);
    report
}

/// Waits until this time; forever if there is none.
async fn at(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn take_number(&self) -> Option<u64> {
        let number = self.next.get();
        let is_over = self.settings.stop.is_cancelled() || self.settings.messages.is_some_and(|all| number >= all);
        if is_over {
            return None;
        }
        self.next.set(number + 1);
        Some(number)
    }

    /// Returns the message's place in the schedule, or now in a closed loop.
    fn due(&self, number: u64) -> u64 {
        match self.settings.rate {
            Some(rate) => self.start + (number as f64 * 1e6 / rate) as u64,
            None => clock::now(),
        }
    }

    fn sent(&self, sent: &Sent) {
        (self.seen.borrow_mut())(sent);
    }

    fn failed(&self, number: u64, error: &std::io::Error) {
        self.report.borrow_mut().failed += 1;
        let (mut failures, what) = (self.failures.borrow_mut(), error.to_string());
        let is_room = failures.len() < FAILURES;
        match failures.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, _, times)) => *times += 1,
            None if is_room => failures.push((what, number, 1)),
            None => {}
        }
    }

    fn refused(&self, verb: &str, reply: &str) {
        let mut report = self.report.borrow_mut();
        let reply = format!("{verb}: {reply}");
        let is_new = !report.replies.contains_key(&reply);
        let named = if is_new && report.replies.len() >= REPLIES { "other replies".to_owned() } else { reply };
        *report.replies.entry(named).or_default() += 1;
    }

    /// Ends the load, because the failure would repeat.
    fn end(&self, why: String) {
        self.report.borrow_mut().ended.get_or_insert(why);
        self.settings.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(messages: Option<u64>) -> Shared {
        let settings = Settings {
            target: "127.0.0.1:9".parse().unwrap(),
            hostname: "load.example.net".to_owned(),
            messages,
            duration: None,
            sessions: 1,
            per_connection: 0,
            rate: Some(100.0),
            pipelining: false,
            tls: Tls::Off,
            trust: None,
            auth: Auth::Off,
            username: String::new(),
            password: String::new(),
            reverse_path: "a@x.dk".to_owned(),
            recipients: vec!["b@example.net".to_owned()],
            templates: [Template::plain(1024, "t", "a@x.dk")].into(),
            stop: CancellationToken::new(),
        };
        let (start, next, report) = (1_000_000, Cell::new(0), RefCell::default());
        let connected = CancellationToken::new();
        let failures = RefCell::default();
        Shared { settings, start, next, connected, report, failures, seen: RefCell::new(Box::new(|_| {})) }
    }

    #[test]
    fn numbers_end_with_the_last_message_and_with_the_load() {
        let all = shared(Some(2));
        assert_eq!([all.take_number(), all.take_number(), all.take_number()], [Some(0), Some(1), None]);
        let endless = shared(None);
        assert_eq!(endless.take_number(), Some(0));
        endless.end("a reason".to_owned());
        endless.end("another".to_owned());
        assert_eq!((endless.take_number(), endless.report.take().ended.as_deref()), (None, Some("a reason")));
    }

    #[test]
    fn a_message_that_began_late_is_measured_from_its_place_in_the_schedule() {
        let load = shared(None);
        assert_eq!((load.due(0), load.due(50)), (1_000_000, 1_500_000));
        let sent = Sent { number: 0, due: 100, began: 150, end_of_data: 170, answered: 200, code: 250, refused: 0 };
        assert_eq!((sent.waited(), sent.end_of_data_to_reply(), sent.transaction()), (50, 80, 100));
    }

    #[test]
    fn replies_are_counted_by_themselves_until_there_are_too_many() {
        let load = shared(None);
        for n in 0..REPLIES + 5 {
            load.refused("MAIL", &format!("451 {n}"));
        }
        load.refused("MAIL", "451 0");
        let replies = load.report.take().replies;
        assert_eq!(replies.len(), REPLIES + 1);
        assert_eq!((replies["MAIL: 451 0"], replies["other replies"]), (2, 5));
    }
}
