//! A load of mail: many SMTP sessions in one thread that submit as fast as they are answered (closed loop) or at a fixed rate (open
//! loop), and measure how they are answered.
//!
//! `postbud bench` submits it to an operator's own staging relay, and the load harness in `benches/` to a relay that it starts. A load
//! ends by itself: after so many messages, after so much time, or when [`Settings::stop`] is cancelled. Then transactions under way are
//! ended and no other begins. Nothing is sent again after the final dot, because nobody knows what became of it.

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

/// So many different replies are counted by themselves.
const REPLIES: usize = 30;
/// So many failures are told.
const FAILURES: usize = 20;

/// What to send, where and how.
#[derive(Clone)]
pub struct Settings {
    /// The address of the relay.
    pub target: SocketAddr,
    /// The name that is said with EHLO.
    pub hostname: String,
    /// How many messages; without end if absent.
    pub messages: Option<u64>,
    /// How long messages are begun; without end if absent.
    pub duration: Option<Duration>,
    /// Connections that send at the same time.
    pub sessions: usize,
    /// Messages a connection; 0 keeps connections to the end. With 1 the connection is closed without QUIT, as .NET does.
    pub per_connection: u64,
    /// Messages a second; as fast as possible if absent.
    pub rate: Option<f64>,
    /// Send MAIL, RCPT and DATA in one write (smtp-source and .NET don't).
    pub pipelining: bool,
    /// Whether TLS is used, and from when on.
    pub tls: Tls,
    /// Whom to trust under TLS, and the name that the certificate must have.
    pub trust: Option<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>)>,
    /// How the sessions log in.
    pub auth: Auth,
    /// The name to log in with.
    pub username: String,
    /// The password to log in with.
    pub password: String,
    /// The sender of every message.
    pub reverse_path: String,
    /// RCPT TO, the same of every message.
    pub recipients: Vec<String>,
    /// What the messages look like; the `n`-th message is made from the `n`-th, round and round.
    pub templates: Arc<[Template]>,
    /// Ends the load before its time.
    pub stop: CancellationToken,
}

/// One message's times, in [`clock`] microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The number of the message, counted from the start of the run.
    pub number: u64,
    /// When it should have begun: its place in the schedule if the sessions were late because the relay was; otherwise when it did
    /// begin. This is the correction for coordinated omission.
    pub due: u64,
    /// When MAIL FROM (or the connection, if it needed one) was begun.
    pub began: u64,
    /// When the final dot had been handed to the kernel; 0 if it was not sent.
    pub end_of_data: u64,
    /// When the reply to it had been read.
    pub answered: u64,
    /// The code of the reply that ended it; 0 if the connection broke (after the final dot, the message's fate is unknown).
    pub code: u16,
    /// How often it was refused for now (4xx) before.
    pub refused: u32,
}

impl Sent {
    /// Microseconds that it waited for its turn because the relay was late with others.
    pub fn waited(&self) -> u64 {
        self.began.saturating_sub(self.due)
    }

    /// Microseconds from the end of DATA to the reply, and what it waited for its turn.
    pub fn end_of_data_to_reply(&self) -> u64 {
        self.waited() + self.answered.saturating_sub(self.end_of_data)
    }

    /// Microseconds from when it was due to the reply: the whole transaction, with connection, TLS and login where it needed them.
    pub fn transaction(&self) -> u64 {
        self.answered.saturating_sub(self.due.min(self.began))
    }
}

/// What a load knows at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many connections were made.
    pub connections: u64,
    /// Of these, how many resumed TLS.
    pub resumed: u64,
    /// Each refusal that was heard, with the verb it answered, and how often. The most frequent are not lost where there are many: what
    /// is new after the first 30 counts as "other replies".
    pub replies: BTreeMap<String, u64>,
    /// What went wrong without a reply, the first few.
    pub failures: Vec<String>,
    /// How many failures there were.
    pub failed: u64,
    /// Why the load ended before its time: nothing can be sent in this way.
    pub ended: Option<String>,
    /// CPU the load itself used, in microseconds.
    pub cpu_us: u64,
}

/// Hears of every message that was tried to its end.
type Seen = Box<dyn FnMut(&Sent)>;

/// What the sessions of a load share.
struct Shared {
    settings: Settings,
    start: u64,
    next: Cell<u64>,
    /// Cancelled once a connection was made and has logged in.
    connected: CancellationToken,
    report: RefCell<Report>,
    seen: RefCell<Seen>,
}

/// Sends everything. `seen` hears of every message that was tried to its end.
pub async fn run(settings: Settings, seen: impl FnMut(&Sent) + 'static) -> Report {
    let shared = Rc::new(Shared {
        start: clock::now(),
        next: Cell::new(0),
        connected: CancellationToken::new(),
        report: RefCell::default(),
        seen: RefCell::new(Box::new(seen)),
        settings,
    });
    let cpu = clock::thread_cpu_ns();
    let local = LocalSet::new();
    for number in 0..shared.settings.sessions {
        let shared = Rc::clone(&shared);
        local.spawn_local(async move {
            // The first one connects alone, so that a wrong password is one wrong login and not one a session.
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
    report.cpu_us = (clock::thread_cpu_ns() - cpu) / 1_000;
    report
}

/// Waits until then; forever without an end.
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

    /// Its place in the schedule; in closed loop, now.
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
        let mut report = self.report.borrow_mut();
        report.failed += 1;
        if report.failures.len() < FAILURES {
            report.failures.push(format!("message {number}: {error}"));
        }
    }

    fn refused(&self, verb: &str, reply: &str) {
        let mut report = self.report.borrow_mut();
        let reply = format!("{verb}: {reply}");
        let is_new = !report.replies.contains_key(&reply);
        let named = if is_new && report.replies.len() >= REPLIES { "other replies".to_owned() } else { reply };
        *report.replies.entry(named).or_default() += 1;
    }

    /// Ends the load: what failed would fail again.
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
        Shared { settings, start, next, connected, report, seen: RefCell::new(Box::new(|_| {})) }
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
