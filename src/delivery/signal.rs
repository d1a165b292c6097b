//! What a smarthost's negative reply is about, by its codes and, where servers have none for it, by its words.

use std::net::IpAddr;

use super::limits::{Allowance, account_is_blocked, allowance, counts_recipients, is_of_recipient};
use super::ours::{does_not_relay, may_not_connect, names};
use super::step::Step;
use super::tls::Fallback;
use super::words::Words;
use crate::route::{Login, Route, RouteKind};
use crate::smtp::{Domain, EnhancedCode, Reply};

/// Where in the session a reply was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The 220, or what came instead.
    Greeting,
    /// After EHLO or HELO.
    Hello,
    /// After STARTTLS.
    StartTls,
    /// During AUTH.
    Login,
    /// After MAIL.
    Mail,
    /// After RCPT.
    Rcpt,
    /// After DATA, before the content.
    Data,
    /// After the final dot.
    End,
}

impl Phase {
    /// As messages name it: `no answer within 1 s (at EHLO)`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Greeting => "greeting",
            Phase::Hello => "EHLO",
            Phase::StartTls => "STARTTLS",
            Phase::Login => "AUTH",
            Phase::Mail => "MAIL",
            Phase::Rcpt => "RCPT",
            Phase::Data => "DATA",
            Phase::End => "final dot",
        }
    }

    /// The step that the probe and the counters name, whether it went well or not.
    pub fn step(self) -> Step {
        match self {
            Phase::Greeting => Step::Greeting,
            Phase::Hello => Step::Hello,
            Phase::StartTls => Step::Tls,
            Phase::Login => Step::Login,
            Phase::Mail => Step::Mail,
            Phase::Rcpt => Step::Rcpt,
            Phase::Data => Step::Data,
            Phase::End => Step::End,
        }
    }
}

/// What one has to know besides the reply.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What kind of server said it.
    pub kind: RouteKind,
    /// Sender's and recipient's domain are both the customer's.
    pub internal: bool,
    /// The address that customers have allow-listed.
    pub egress: IpAddr,
    /// The route's login, where it has one.
    pub login: Option<&'a Login>,
    /// Why the connection has no TLS, where it was to have it.
    pub fallback: Option<&'a Fallback>,
    /// Whom else it took in this transaction.
    pub taken: Taken,
}

impl<'a> Context<'a> {
    /// Of a reply that concerns no recipient, or the first one.
    pub fn of(route: &'a Route, egress: IpAddr, fallback: Option<&'a Fallback>) -> Self {
        let (kind, login) = (route.kind, route.login.as_ref());
        Context { kind, internal: false, egress, login, fallback, taken: Taken::Nobody }
    }
}

/// Whether mail between two domains stays with one customer.
pub fn is_internal(from: &Domain, to: &Domain) -> bool {
    to.is_within(from) || from.is_within(to)
}

/// The recipients of the same message that a server took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// None.
    Nobody,
    /// Only such as have their mailboxes in the sender's own domain: it may not relay for us.
    Internal,
    /// Others, too.
    Others,
}

/// What a negative reply is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// 421: the server closes the connection.
    Closing,
    /// Too much at once: connections, messages, speed.
    TooBusy,
    /// An allowance of the account is used up.
    Quota,
    /// The account, or all of its owner's, may send nothing until a person lifts that.
    Blocked,
    /// It does nothing of this without TLS.
    WantsTls,
    /// It wants a login that it did not get, or does not take this kind of login any more.
    WantsLogin,
    /// At RCPT it speaks of a login and has no code for it: of ours, or of what this recipient (a distribution list) asks of senders.
    MayWantLogin,
    /// It will not take mail for others from us.
    NoRelay,
    /// It takes no mail from our address, whoever it is for; servers that say so at RCPT do it for every recipient.
    Barred,
    /// It protects its own domain against senders from outside, and takes us for one.
    InternalSpoof,
    /// We may not send as this sender.
    SendAs,
    /// Its disk is full, or it is out of order as a whole.
    OutOfOrder,
    /// It lost track of the session.
    Sequence,
    /// Nothing but what the code says.
    Plain,
}

impl Signal {
    /// What `reply` is about; `text` is all of its text in lower case.
    pub fn of(phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Self {
        let signal = by_codes_and_words(phase, reply, text, context);
        if phase != Phase::Rcpt || context.taken == Taken::Nobody {
            return signal;
        }
        // A server that takes another recipient takes our mail: what it says, it says of this one. But allowances count
        // recipients, and one that takes its own domain's mail only, and not what goes further, is not set up for us yet.
        let only_its_own = context.taken == Taken::Internal && !context.internal;
        match signal {
            // Perhaps it wants TLS for this one only, but that it had none is our connection's.
            Signal::WantsTls if context.fallback.is_some() => signal,
            // It names our address: that one recipient's block list has it, and nobody bounces for that.
            Signal::Barred if names(text, context.egress) => signal,
            Signal::TooBusy if reply.code == 421 => Signal::Closing,
            Signal::OutOfOrder => Signal::Plain,
            Signal::WantsTls | Signal::WantsLogin | Signal::MayWantLogin | Signal::NoRelay | Signal::Barred
                if !only_its_own =>
            {
                Signal::Plain
            }
            signal => signal,
        }
    }
}

/// A negative reply under examination.
struct Heard<'a> {
    phase: Phase,
    reply: &'a Reply,
    /// Its text in lower case.
    text: &'a str,
    words: Words,
    context: &'a Context<'a>,
}

fn by_codes_and_words(phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Signal {
    let heard = Heard { phase, reply, text, words: Words::of(text), context };
    let of_server = || (reply.code == 421).then_some(Signal::Closing);
    let found = heard.of_sending().or_else(|| heard.of_load()).or_else(of_server).or_else(|| heard.of_session());
    found.or_else(|| heard.of_us()).unwrap_or(Signal::Plain)
}

impl Heard<'_> {
    fn says(&self, hints: &[&str]) -> bool {
        hints.iter().any(|hint| self.text.contains(hint))
    }

    /// Whether it has this enhanced code, whatever its class.
    fn is(&self, subject: u16, detail: u16) -> bool {
        self.reply.enhanced.is_some_and(|EnhancedCode(_, s, d)| (s, d) == (subject, detail))
    }

    fn has_subject(&self, subject: u16) -> bool {
        self.reply.enhanced.is_some_and(|EnhancedCode(_, s, _)| s == subject)
    }

    fn is_before_content(&self) -> bool {
        matches!(self.phase, Phase::Mail | Phase::Rcpt | Phase::Data)
    }

    /// A full or busy mailbox (RFC 3463 §3.3) is its owner's; X.2.0 is Exchange's for the sender's, too.
    fn is_of_mailbox(&self) -> bool {
        self.phase == Phase::Rcpt && self.has_subject(2) && !self.is(2, 0)
    }

    /// What the account may send.
    fn of_sending(&self) -> Option<Signal> {
        let (permanent, to_one) = (self.reply.is_permanent(), self.phase == Phase::Rcpt);
        // Google's, of all that its customer relays, although it has a mailbox's code.
        if self.says(&["relay limit exceeded"]) {
            return Some(if permanent { Signal::Quota } else { Signal::TooBusy });
        }
        let of_sending = [
            "sending quota",
            "sending limit",
            "submission quota",
            "message quota",
            "daily limit",
            "daily quota",
            "daily user sending",
        ];
        let used_up = self.says(&of_sending)
            || (self.is(2, 0) && self.says(&["submission"]) && self.says(&["limit", "quota exceeded"]))
            || (self.is(4, 5) && permanent && (!to_one || self.says(&["sending", "quota", "limit"])))
            || self.is(7, 232)
            || self.is(7, 233);
        if used_up && !self.is_of_mailbox() {
            return Some(Signal::Quota);
        }
        // Microsoft 365, at any point, of all that its tenant sends: traffic from this address, or from domains not registered there;
        // and the block of a tenant, or of a mailbox.
        if self.is(7, 708) || self.is(7, 750) {
            return Some(Signal::Barred);
        }
        if self.is(7, 705)
            || (501..=503).any(|detail| self.is(7, detail))
            || (self.is(1, 8) && self.says(&["outbound", "access denied"]))
        {
            return Some(Signal::Blocked);
        }
        // With a code by which mail would bounce, there are as many wordings as products.
        if !permanent || self.is(2, 2) || !(self.is_before_content() || self.phase == Phase::End) {
            return None;
        }
        let at_mail = self.phase == Phase::Mail;
        if account_is_blocked(&self.words, at_mail) {
            return Some(Signal::Blocked);
        }
        if self.is_of_mailbox() && !self.says(&["sending", "outgoing", "outbound"]) {
            return None;
        }
        allowance(&self.words, at_mail).map(|allowance| match allowance {
            Allowance::UsedUp => Signal::Quota,
            Allowance::TooFast => Signal::TooBusy,
        })
    }

    /// What the server can bear now.
    fn of_load(&self) -> Option<Signal> {
        let (reply, to_one) = (self.reply, self.phase == Phase::Rcpt);
        if !reply.is_transient() || self.is_of_mailbox() {
            return None;
        }
        let busy = reply.code == 432
            || self.is(3, 2)
            || (self.is(4, 2) && !to_one && reply.code != 421)
            || self.is(7, 28)
            || self.is(7, 500)
            || self.says(&[
                "too many connections",
                "too many concurrent",
                "too many recipients from",
                "rate limit",
                "throttl",
                "too many messages",
                "message submission rate",
                "too fast",
            ]);
        if busy {
            return Some(Signal::TooBusy);
        }
        let full = reply.code == 452 && !self.is(2, 2) && !counts_recipients(reply) && !self.says(&["mailbox"]);
        let out_of_order = reply.code != 421 && (self.is(3, 1) || (!to_one && (full || self.has_subject(3))));
        out_of_order.then_some(Signal::OutOfOrder)
    }

    /// What the session lacks: TLS, a login, or the command before.
    fn of_session(&self) -> Option<Signal> {
        let Heard { phase, reply, .. } = *self;
        // What such a text says of the final dot, or with these words, is about who may send to whom, or about SPF and DKIM.
        let of_login = reply.is_permanent()
            && phase != Phase::End
            && !self.is(7, 133)
            && self.says(&["authentication required", "authentication is required", "must authenticate"])
            && !self.says(&["sender authentication", "email authentication", "spf", "dkim", "dmarc", "resolver.rst"]);
        // RFC 3207 §4, RFC 4954 §6, RFC 3463 §3.8. Where our TLS failed, a server that keeps its logins for TLS says 530, too.
        let wants_tls = reply.code == 538
            || self.is(7, 10)
            || self.is(7, 11)
            || self.says(&["starttls command first"])
            || (reply.code == 530 && self.context.fallback.is_some());
        if wants_tls && reply.is_permanent() && phase != Phase::End {
            return Some(Signal::WantsTls);
        }
        if reply.code == 530 || self.is(7, 57) || self.is(7, 30) {
            return Some(Signal::WantsLogin);
        }
        if of_login {
            return Some(if phase == Phase::Rcpt { Signal::MayWantLogin } else { Signal::WantsLogin });
        }
        (reply.code == 503).then_some(Signal::Sequence)
    }

    /// Our address, our right to pass mail on, and whom we send as.
    fn of_us(&self) -> Option<Signal> {
        let Heard { phase, reply, context, .. } = *self;
        // Of the connection, which Postfix, Google and Microsoft let go on until RCPT. At the final dot a block list is the
        // content's.
        let barred = self.says(&[
            "client host rejected",
            "helo command rejected",
            "invalid credentials for relay",
            "banned sending ip",
            "blocked using",
        ]);
        if barred && phase != Phase::End && !self.says(&["sender address", "recipient address"]) {
            return Some(Signal::Barred);
        }
        let denied = [
            "relay access denied",
            "relaying denied",
            "unable to relay",
            "relay not permitted",
            "not permitted to relay",
            "relaying not allowed",
            "relaying is not allowed",
            "relay denied",
        ];
        let relays_not = self.is(7, 64)
            || self.is(7, 54)
            || self.says(&denied)
            || (self.is_before_content() && does_not_relay(&self.words));
        // What it says of our address, it says of the connection, whatever its words; not where its code is one of the recipient's
        // address, or of the message's size.
        let of_connection = self.is_before_content()
            && reply.is_permanent()
            && !is_of_recipient(reply)
            && !self.is(3, 4)
            && (names(self.text, context.egress) || may_not_connect(&self.words));
        if of_connection {
            return Some(if relays_not { Signal::NoRelay } else { Signal::Barred });
        }
        let of_own_server = context.kind == RouteKind::OwnServer && context.internal && phase != Phase::Mail;
        if of_own_server && self.says_internal_spoof() {
            return Some(Signal::InternalSpoof);
        }
        let as_sender = ["sendasdenied", "send as this sender", "not owned by user", "not allowed to send as"];
        if self.is(7, 60) || self.says(&as_sender) {
            return Some(Signal::SendAs);
        }
        (relays_not && !is_of_recipient(reply)).then_some(Signal::NoRelay)
    }

    /// Whether a server that was offered its own domain's mail from outside takes us for a forger: by the codes that Exchange and
    /// Microsoft 365 use for it, or by what other servers write.
    fn says_internal_spoof(&self) -> bool {
        let hint = self.says(&[
            "spoof",
            "forged",
            "impersonat",
            "internal domain",
            "own domain",
            "local domain",
            "local sender",
            "sender address rejected",
            "not authorized to send",
            "not allowed to send",
            "dmarc",
            "spf",
            "anonymous",
            "relay",
            "accepted domain",
        ]);
        let of_policy =
            self.is(7, 68) || self.is(7, 1) || self.is(7, 509) || self.is(7, 64) || (self.has_subject(7) && hint);
        of_policy || (self.reply.enhanced.is_none() && self.reply.is_permanent() && hint)
    }
}
