//! What a smarthost's negative reply is about, by its codes and, where servers have none for it, by its words.

use std::net::IpAddr;

use super::step::Step;
use super::tls::Fallback;
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
            Signal::TooBusy if reply.code == 421 => Signal::Closing,
            Signal::TooBusy | Signal::OutOfOrder => Signal::Plain,
            Signal::WantsTls | Signal::WantsLogin | Signal::MayWantLogin | Signal::NoRelay | Signal::Barred
                if !only_its_own =>
            {
                Signal::Plain
            }
            signal => signal,
        }
    }
}

fn by_codes_and_words(phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Signal {
    let says = |hints: &[&str]| hints.iter().any(|hint| text.contains(hint));
    let code = |subject, detail| reply.enhanced.is_some_and(|EnhancedCode(_, s, d)| s == subject && d == detail);
    let subject = |subject| reply.enhanced.is_some_and(|EnhancedCode(_, s, _)| s == subject);
    let own_server = context.kind == RouteKind::OwnServer;
    let to_one = phase == Phase::Rcpt;
    // A full or busy mailbox (RFC 3463 §3.3) is its owner's; X.2.0 is Exchange's for the sender's, too.
    let of_mailbox = to_one && subject(2) && !code(2, 0);
    // Google's, of all that its customer relays, although it has a mailbox's code.
    if says(&["relay limit exceeded"]) {
        return if reply.is_transient() { Signal::TooBusy } else { Signal::Quota };
    }
    let of_sending =
        ["sending quota", "sending limit", "submission quota", "daily limit", "daily quota", "daily user sending"];
    let quota = says(&of_sending)
        || (code(2, 0) && says(&["submission"]) && says(&["limit", "quota exceeded"]))
        || (code(4, 5) && reply.is_permanent() && (!to_one || says(&["sending", "quota", "limit"])))
        || code(7, 232)
        || code(7, 233)
        || code(7, 705);
    if quota && !of_mailbox {
        return Signal::Quota;
    }
    if reply.is_transient() && !of_mailbox {
        if reply.code == 432
            || code(3, 2)
            || (code(4, 2) && !to_one && reply.code != 421)
            || code(7, 28)
            || code(7, 500)
            || says(&[
                "too many connections",
                "too many concurrent",
                "rate limit",
                "throttl",
                "too many messages",
                "message submission rate",
                "too fast",
            ])
        {
            return Signal::TooBusy;
        }
        let full = reply.code == 452 && !code(5, 3) && !code(2, 2) && !says(&["too many recipients", "mailbox"]);
        if reply.code != 421 && (code(3, 1) || (phase != Phase::Rcpt && (full || subject(3)))) {
            return Signal::OutOfOrder;
        }
    }
    if reply.code == 421 {
        return Signal::Closing;
    }
    // What such a text says of the final dot, or with these words, is about who may send to whom, or about SPF and DKIM.
    let of_login = reply.is_permanent()
        && phase != Phase::End
        && !code(7, 133)
        && says(&["authentication required", "authentication is required", "must authenticate"])
        && !says(&["sender authentication", "email authentication", "spf", "dkim", "dmarc", "resolver.rst"]);
    // RFC 3207 §4, RFC 4954 §6, RFC 3463 §3.8. Where our TLS failed, a server that keeps its logins for TLS says 530, too.
    let wants_tls = reply.code == 538
        || code(7, 10)
        || code(7, 11)
        || says(&["starttls command first"])
        || (reply.code == 530 && context.fallback.is_some());
    if wants_tls && reply.is_permanent() && phase != Phase::End {
        return Signal::WantsTls;
    }
    if reply.code == 530 || code(7, 57) || code(7, 30) {
        return Signal::WantsLogin;
    }
    if of_login {
        return if to_one { Signal::MayWantLogin } else { Signal::WantsLogin };
    }
    if reply.code == 503 {
        return Signal::Sequence;
    }
    // Microsoft 365, of all that its tenant sends, and at any point: traffic from this address, or from domains not
    // registered there.
    if code(7, 708) || code(7, 750) {
        return Signal::Barred;
    }
    // Of the connection, which Postfix, Google and Microsoft let go on until RCPT. At the final dot a block list is the content's.
    let barred = says(&[
        "client host rejected",
        "helo command rejected",
        "invalid credentials for relay",
        "banned sending ip",
        "blocked using",
    ]);
    if barred && phase != Phase::End && !says(&["sender address", "recipient address"]) {
        return Signal::Barred;
    }
    if own_server && context.internal && phase != Phase::Mail && says_internal_spoof(reply, &says, &code, &subject) {
        return Signal::InternalSpoof;
    }
    if code(7, 60) || says(&["sendasdenied", "send as this sender", "not owned by user", "not allowed to send as"]) {
        return Signal::SendAs;
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
    if code(7, 64) || code(7, 54) || says(&denied) {
        return Signal::NoRelay;
    }
    Signal::Plain
}

/// Whether a server that was offered its own domain's mail from outside takes us for a forger: by the codes that Exchange and
/// Microsoft 365 use for it, or by what other servers write.
fn says_internal_spoof(
    reply: &Reply,
    says: &dyn Fn(&[&str]) -> bool,
    code: &dyn Fn(u16, u16) -> bool,
    subject: &dyn Fn(u16) -> bool,
) -> bool {
    let hint = says(&[
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
    let of_policy = code(7, 68) || code(7, 1) || code(7, 509) || code(7, 64) || (subject(7) && hint);
    of_policy || (reply.enhanced.is_none() && reply.is_permanent() && hint)
}
