//! A client's conversation as a state machine. It takes a line, and returns what the connection must do next. It has no I/O and no clock.
//!
//! ```text
//!            EHLO/HELO             MAIL                 RCPT            DATA
//!   Fresh ─────────────► Ready ─────────► Transaction ──────► same ───────────► (content) ─► Ready
//!     ▲                   │  ▲                 │                    BDAT         │
//!     │ STARTTLS          │  └──── RSET, EHLO ─┴──────────────────────────────► Chunks ─► Ready (LAST)
//!     └───────────────────┤
//!                   AUTH  │ ▲ right, wrong
//!                         ▼ │
//!                        Login
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::Instant;

use super::admission::Admission;
use super::conduct::Conduct;
use super::policy::Identity;
use super::sasl::{Exchange, ExchangeStep};
use super::transaction::Transaction;
use super::{Credentials, Limits};
use crate::smtp::{Command, CommandError, Domain, EnhancedCode, Mail, Mailbox, Rcpt, Reply, ReversePath};

/// The settings that all sessions of a listener share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) hostname: Domain,
    pub(crate) limits: Limits,
    pub(crate) admission: Arc<Admission>,
    /// True if STARTTLS is offered.
    pub(crate) starttls: bool,
    /// True if clients must log in before they send.
    pub(crate) auth_required: bool,
    /// True if AUTH is offered without TLS.
    pub(crate) plaintext_auth: bool,
    /// True for the listener of returned mail. It offers neither CHUNKING nor DSN, so it owes nobody a notification.
    pub(crate) takes_reports: bool,
}

/// What is known about an envelope before its content: from the customers' settings, or for returned mail from the relay's own addresses.
pub(crate) trait EnvelopePolicy {
    /// Returns how many octets the route of mail with this reverse path accepts.
    fn accepts_up_to(&self, sender: &ReversePath) -> u64;
    /// Returns the refusal of a recipient that this mail must not go to, or `None` if it is accepted for now.
    fn refusal_of(&self, identity: &Identity, sender: &ReversePath, recipient: &Mailbox) -> Option<Reply>;
}

/// The connection's next action.
pub(crate) enum Next {
    Say(Reply),
    /// Reply and close, as the client asked.
    Quit(Reply),
    /// Reply and close. The word is the reason for the metric.
    Close(&'static str, Reply),
    /// Reply and begin TLS. The session starts anew.
    StartTls(Reply),
    /// Check the credentials, and pass the result to [`Session::logged_in`].
    Check(Credentials),
    /// Reply 354, read the content up to its dot, and call [`Session::message_ended`].
    Data(Transaction),
    /// Refuse DATA. What was sent behind it can only be content, so nothing behind it may be obeyed.
    NoData(Reply),
    /// Read a chunk of content. `begin` comes with the first chunk. After the last, call [`Session::message_ended`].
    Chunk {
        size: u64,
        last: bool,
        begin: Option<Transaction>,
    },
    /// Read and drop a chunk, then reply.
    NoChunk {
        size: u64,
        reply: Reply,
    },
}

enum State {
    Fresh,
    Ready,
    Login(Exchange),
    Transaction(Transaction),
    Chunks,
}

/// The state of one conversation.
pub(crate) struct Session {
    rules: Arc<Rules>,
    state: State,
    /// The client's name for itself, and true if it used EHLO.
    client: Option<(String, bool)>,
    secured: bool,
    identity: Option<Identity>,
    begun: Instant,
    messages: u32,
    conduct: Conduct,
    /// After a refused MAIL that only RCPT followed: how many more RCPT commands do not count as errors.
    behind_refused_mail: Option<usize>,
}

/// Why a client has run out of time, whatever it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It has not logged in.
    Login,
    /// It has not reached the content after MAIL.
    Envelope,
}

impl Session {
    /// Starts a conversation. `secured` is true if TLS is already in use.
    pub(crate) fn new(rules: Arc<Rules>, secured: bool, now: Instant) -> Self {
        let identity = (!rules.auth_required).then_some(Identity::Network);
        Session {
            rules,
            state: State::Fresh,
            client: None,
            secured,
            identity,
            begun: now,
            messages: 0,
            conduct: Conduct::new(now),
            behind_refused_mail: None,
        }
    }

    /// Returns the conversation after STARTTLS: everything that the client said before is forgotten (RFC 3207 §4.2), but its counts are
    /// kept.
    pub(crate) fn secured(self) -> Self {
        let identity = (!self.rules.auth_required).then_some(Identity::Network);
        Session { state: State::Fresh, client: None, secured: true, identity, ..self }
    }

    pub(crate) fn greeting(&self) -> Reply {
        Reply::bare(220, format!("{} ESMTP postbud", self.rules.hostname))
    }

    /// Replaces the client's identity, because a reload may have changed the submitter's settings since the login.
    pub(crate) fn identify(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Returns the sender of the running transaction.
    pub(crate) fn sender(&self) -> Option<&ReversePath> {
        match &self.state {
            State::Transaction(transaction) => Some(&transaction.mail.path),
            _ => None,
        }
    }

    /// Returns the client's name for itself, and true if it used EHLO.
    pub(crate) fn client(&self) -> (&str, bool) {
        self.client.as_ref().map_or(("", false), |(name, extended)| (name, *extended))
    }

    /// Returns true if a message arrives in chunks and its last chunk is missing.
    pub(crate) fn is_chunking(&self) -> bool {
        matches!(self.state, State::Chunks)
    }

    /// Returns true if the next line belongs to a login. It is secret and may have 12,288 octets (RFC 4954 §4).
    pub(crate) fn is_logging_in(&self) -> bool {
        matches!(self.state, State::Login(_))
    }

    /// Returns the time by which the client must have logged in or reached the content, and which of the two it is.
    pub(crate) fn deadline(&self) -> Option<(Instant, Overdue)> {
        let limits = &self.rules.limits;
        match &self.state {
            _ if self.identity.is_none() => Some((self.begun + limits.login_timeout, Overdue::Login)),
            State::Transaction(begun) => Some((begun.admitted.deadline(), Overdue::Envelope)),
            _ => None,
        }
    }

    /// Processes one line without its CRLF.
    pub(crate) fn line(&mut self, line: &[u8], now: Instant, policy: &impl EnvelopePolicy) -> Next {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Login(exchange) => {
                if line.iter().any(u8::is_ascii_control) {
                    return self.limit(Next::Say(CommandError::Octets.reply()), false, now);
                }
                let next = self.step(exchange.answered(line));
                return self.limit(next, false, now);
            }
            state => self.state = state,
        }
        let next = match Command::parse(line) {
            Ok(command) => self.command(command, now, policy),
            Err(refusal) => after_refused_line(line, refusal.reply()),
        };
        self.count_command(line, next, now)
    }

    /// Processes a line that cannot be a command: too long, or with a wrong line end. It also ends a running login (RFC 4954 §4), because the
    /// client treats its next line as a command again.
    pub(crate) fn invalid_line(&mut self, line: &[u8], why: &CommandError, now: Instant) -> Next {
        let mut reply = why.reply();
        if !self.is_logging_in() {
            return self.count_command(line, after_refused_line(line, reply), now);
        }
        self.state = State::Ready;
        if *why == CommandError::TooLong {
            // RFC 4954 §6: authentication exchange line is too long.
            reply.enhanced = Some(EnhancedCode(5, 5, 6));
        }
        self.limit(Next::Say(reply), false, now)
    }

    /// Records that the login was right.
    pub(crate) fn logged_in(&mut self, identity: Identity) -> Reply {
        self.identity = Some(identity);
        Reply::new(235, EnhancedCode(2, 7, 0), "authenticated")
    }

    /// Counts a refusal toward the client's error limit. The reply may become a farewell.
    pub(crate) fn refused(&mut self, reply: Reply) -> Next {
        if reply.is_positive() {
            return Next::Say(reply);
        }
        if self.conduct.allows_error(&self.rules.limits) {
            return Next::Say(reply);
        }
        Next::Close("errors", Reply::new(421, EnhancedCode(4, 7, 0), "too many errors; connect again"))
    }

    /// Records that the message has ended.
    pub(crate) fn message_ended(&mut self, is_accepted: bool) {
        self.state = State::Ready;
        if is_accepted {
            self.conduct.message_accepted();
        }
    }

    /// Counts a command against the client's limits, unless its refusal is forgiven.
    fn count_command(&mut self, line: &[u8], next: Next, now: Instant) -> Next {
        if self.forgives(line, &next) {
            return next;
        }
        self.limit(next, is_of_envelope(line), now)
    }

    /// Returns true if this refusal does not count toward the client's error limit. A client that pipelines RCPT and DATA behind a
    /// refused MAIL could not know (RFC 2920 §3.1), and a 421 would hide the reason.
    fn forgives(&mut self, line: &[u8], next: &Next) -> bool {
        let limits = &self.rules.limits;
        let pipelined = self.behind_refused_mail.take();
        match next {
            Next::Say(reply) if is_verb(line, "MAIL") => {
                self.behind_refused_mail = (!reply.is_positive()).then_some(limits.recipients);
                false
            }
            Next::Say(reply) if is_verb(line, "RCPT") => {
                if let State::Transaction(transaction) = &mut self.state {
                    return transaction.forgives(reply, limits);
                }
                self.behind_refused_mail = pipelined.map(|left| left.saturating_sub(1));
                pipelined.is_some_and(|left| left > 0)
            }
            Next::NoData(_) => pipelined.is_some(),
            _ => false,
        }
    }

    /// Counts a refusal or a useless command, and ends the conversation if there were too many. `of_envelope` is true for MAIL and RCPT.
    fn limit(&mut self, next: Next, of_envelope: bool, now: Instant) -> Next {
        let carries_mail = match &next {
            Next::Quit(_) | Next::Close(..) => return next,
            Next::Data(_) | Next::Chunk { begin: Some(_), .. } => {
                self.conduct.message_began();
                true
            }
            Next::Chunk { size, last, .. } => *size > 0 || *last,
            Next::Say(reply) => of_envelope && reply.is_positive(),
            _ => false,
        };
        if !carries_mail && !self.conduct.allows_useless_command(&self.rules.limits, now) {
            let text = "too many commands that carry no mail forward; connect again";
            return Next::Close("commands", Reply::new(421, EnhancedCode(4, 7, 0), text));
        }
        match next {
            Next::Say(reply) => self.refused(reply),
            Next::NoData(reply) => match self.refused(reply) {
                Next::Say(reply) => Next::NoData(reply),
                farewell => farewell,
            },
            next => next,
        }
    }

    fn command(&mut self, command: Command<'_>, now: Instant, policy: &impl EnvelopePolicy) -> Next {
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::Mail(mail) => self.mail(mail, now, policy),
            Command::Rcpt(rcpt) => Next::Say(self.rcpt(rcpt, policy)),
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                if !matches!(self.state, State::Fresh) {
                    self.state = State::Ready;
                }
                Next::Say(Reply::new(250, EnhancedCode(2, 0, 0), "forgotten"))
            }
            Command::Noop => Next::Say(Reply::new(250, EnhancedCode(2, 0, 0), "still here")),
            Command::Quit => Next::Quit(Reply::new(221, EnhancedCode(2, 0, 0), "goodbye")),
            // RFC 5321 §3.5.3: 252 if addresses are not verified.
            Command::Vrfy => Next::Say(Reply::new(252, EnhancedCode(2, 5, 0), "send it and see")),
            Command::Expn => Next::Say(Reply::new(502, EnhancedCode(5, 5, 1), "there are no lists here")),
            Command::Help => Next::Say(Reply::new(214, EnhancedCode(2, 0, 0), "RFC 5321, RFC 6409")),
            Command::Http => Next::Close("http", Reply::new(421, EnhancedCode(4, 7, 0), "this is SMTP, not HTTP")),
        }
    }

    fn hello(&mut self, name: Cow<'_, str>, extended: bool) -> Next {
        self.state = State::Ready;
        self.client = Some((name.into_owned(), extended));
        let mut reply = Reply::bare(250, self.rules.hostname.as_str());
        if extended {
            let limits = &self.rules.limits;
            let mut offer = |line: &str| reply.lines.push(line.to_owned());
            offer("PIPELINING");
            offer(&format!("SIZE {}", limits.message_size));
            offer("8BITMIME");
            offer("SMTPUTF8");
            offer("ENHANCEDSTATUSCODES");
            if self.rules.starttls && !self.secured {
                offer("STARTTLS");
            }
            if self.may_auth() {
                // System.Net.Mail knows only LOGIN, and sends without a login if it finds only PLAIN.
                offer("AUTH LOGIN PLAIN");
            }
            if !self.rules.takes_reports {
                offer("CHUNKING");
                offer("DSN");
            }
            // RFC 9422.
            offer(&format!("LIMITS RCPTMAX={} MAILMAX={}", limits.recipients, limits.messages_per_connection));
        }
        Next::Say(reply)
    }

    /// Returns true if AUTH is offered now (RFC 4954 §4: not twice, and not where the password would be visible).
    fn may_auth(&self) -> bool {
        self.rules.auth_required && self.identity.is_none() && (self.secured || self.rules.plaintext_auth)
    }

    fn starttls(&mut self) -> Next {
        if self.secured || !self.rules.starttls {
            return Next::Say(Reply::new(503, EnhancedCode(5, 5, 1), "STARTTLS is not offered"));
        }
        if matches!(self.state, State::Transaction(_) | State::Chunks) {
            return Next::Say(Reply::new(503, EnhancedCode(5, 5, 1), "not within a message"));
        }
        Next::StartTls(Reply::new(220, EnhancedCode(2, 0, 0), "begin TLS"))
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Next {
        let refuse = |code, detail, text| Next::Say(Reply::new(code, detail, text));
        if self.identity.is_some() {
            return refuse(503, EnhancedCode(5, 5, 1), "no login is needed");
        }
        if !matches!(self.state, State::Ready) {
            return refuse(503, EnhancedCode(5, 5, 1), "EHLO first");
        }
        if !self.may_auth() {
            // RFC 4954 §6: 538. A password that came with the command was already visible on the network; it is not even decoded.
            return refuse(538, EnhancedCode(5, 7, 11), "a login needs TLS: STARTTLS first");
        }
        self.step(Exchange::begin(mechanism, initial))
    }

    fn step(&mut self, step: ExchangeStep) -> Next {
        match step {
            ExchangeStep::Ask(reply, exchange) => {
                self.state = State::Login(exchange);
                Next::Say(reply)
            }
            ExchangeStep::Check(credentials) => Next::Check(credentials),
            ExchangeStep::Done(reply) => Next::Say(reply),
        }
    }

    fn mail(&mut self, mail: Mail, now: Instant, policy: &impl EnvelopePolicy) -> Next {
        let refuse = |code, detail, text: &str| Next::Say(Reply::new(code, detail, text));
        let limits = &self.rules.limits;
        match self.state {
            State::Ready => {}
            State::Fresh => return refuse(503, EnhancedCode(5, 5, 1), "EHLO first"),
            _ => return refuse(503, EnhancedCode(5, 5, 1), "a message is under way; RSET forgets it"),
        }
        if self.identity.is_none() {
            let how = if self.may_auth() { "log in first: AUTH LOGIN or PLAIN" } else { "STARTTLS first, then AUTH" };
            return refuse(530, EnhancedCode(5, 7, 0), how);
        }
        if self.messages >= limits.messages_per_connection {
            let text = "enough messages over this connection; connect again";
            return Next::Close("messages", Reply::new(421, EnhancedCode(4, 7, 0), text));
        }
        if !mail.smtputf8 && mail.path.mailbox().is_some_and(|m| m.needs_smtputf8()) {
            return refuse(553, EnhancedCode(5, 6, 7), "an address outside ASCII needs the parameter SMTPUTF8");
        }
        if let Some(size) = mail.size {
            let most = policy.accepts_up_to(&mail.path).min(limits.message_size);
            if size > most {
                let text = format!("{size} octets are announced; at most {most} can be sent this way");
                return refuse(552, EnhancedCode(5, 3, 4), &text);
            }
        }
        self.state = State::Transaction(Transaction::new(mail, self.rules.admission.begin(now)));
        Next::Say(Reply::new(250, EnhancedCode(2, 1, 0), "sender noted"))
    }

    fn rcpt(&mut self, rcpt: Rcpt, policy: &impl EnvelopePolicy) -> Reply {
        let State::Transaction(transaction) = &mut self.state else {
            return Reply::new(503, EnhancedCode(5, 5, 1), "MAIL first");
        };
        if let Some(identity) = &self.identity
            && let Some(refusal) = policy.refusal_of(identity, &transaction.mail.path, &rcpt.address)
        {
            return refusal;
        }
        transaction.add(rcpt, &self.rules.limits)
    }

    fn data(&mut self) -> Next {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Transaction(transaction) if !transaction.recipients.is_empty() => {
                self.messages += 1;
                Next::Data(transaction.without_repeated_recipients())
            }
            state => {
                let reply = no_content_yet(&state);
                self.state = state;
                Next::NoData(reply)
            }
        }
    }

    fn bdat(&mut self, size: u64, last: bool) -> Next {
        if self.rules.takes_reports {
            let reply = Reply::new(502, EnhancedCode(5, 5, 1), "BDAT is not offered here; use DATA");
            return Next::NoChunk { size, reply };
        }
        match std::mem::replace(&mut self.state, State::Chunks) {
            State::Transaction(transaction) if !transaction.recipients.is_empty() => {
                self.messages += 1;
                Next::Chunk { size, last, begin: Some(transaction.without_repeated_recipients()) }
            }
            State::Chunks => Next::Chunk { size, last, begin: None },
            state => {
                let reply = no_content_yet(&state);
                self.state = state;
                Next::NoChunk { size, reply }
            }
        }
    }
}

/// Returns true if a line is MAIL or RCPT.
pub(crate) fn is_of_envelope(line: &[u8]) -> bool {
    is_verb(line, "MAIL") || is_verb(line, "RCPT")
}

fn is_verb(line: &[u8], name: &str) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(name.as_bytes()))
}

/// Returns the action after a refused line.
fn after_refused_line(line: &[u8], reply: Reply) -> Next {
    if is_verb(line, "BDAT") {
        // The number of octets that follow is unknown, and none of them may be obeyed.
        Next::Close("bdat", reply)
    } else if is_verb(line, "DATA") {
        Next::NoData(reply)
    } else {
        Next::Say(reply)
    }
}

/// Returns the reply to content commands that are not allowed in this state.
fn no_content_yet(state: &State) -> Reply {
    let (code, text) = match state {
        State::Transaction(_) => (554, "no recipient was accepted"),
        State::Chunks => (503, "BDAT was begun and must go on"),
        _ => (503, "MAIL and RCPT first"),
    };
    Reply::new(code, EnhancedCode(5, 5, 1), text)
}
