//! Finds the subject of a smarthost's negative reply, by its codes and, where servers have no code for it, by its words.

use super::about_us::{may_not_connect, recipient_is_unknown, refuses_a_machine};
use super::blocked_account::{
    account_is_blocked, is_about_sending_to, named_account_is_stopped, names_account, names_content,
};
use super::context::{Context, TakenRecipients};
use super::limits::{Allowance, allowance, counts_errors, lasts, refuses_login_for_allowance};
use super::named::{
    Named, is_the_recipients_limit, mentioned_recipients, says_what_a_recipient_takes, whose_limit_is_named,
};
use super::number_of_recipients::{is_about_number_of_recipients, limits_recipients_of_a_period};
use super::our_address::names;
use super::periods::names_long_period;
use super::relaying::does_not_relay;
use super::wants_login::{wants_login, wants_tls};
use super::whose_limit::{Heard, is_about_receiving, is_about_recipient, limits_sending};
use super::words::Words;
use crate::delivery::step::Step;
use crate::route::RouteKind;
use crate::smtp::{EnhancedCode, Mailbox, Reply};

/// The part of a session in which a reply was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The greeting, which is 220 unless the server refuses the connection.
    Greeting,
    /// The reply to EHLO or HELO.
    Hello,
    /// The reply to STARTTLS, and the handshake.
    StartTls,
    /// The replies during AUTH.
    Login,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA, before the content.
    Data,
    /// The reply to the final dot.
    End,
}

impl Phase {
    /// The phase's name in texts: `no answer within 1 s (at EHLO)`.
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

    /// The step of the probe and the metrics that this phase belongs to.
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

/// The subject of a negative reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The server closes the connection (421).
    Closing,
    /// The server got too much at once: connections, messages, speed.
    TooBusy,
    /// An allowance of the account is used up.
    Quota,
    /// The account, or its owner's whole tenant, may send nothing until a person lifts the block.
    Blocked,
    /// The server does not go on without TLS.
    WantsTls,
    /// The server wants a login that it did not get, or no longer takes this kind of login.
    WantsLogin,
    /// A reply to RCPT speaks of a login without a code for it. It may mean our login, or what this recipient (a
    /// distribution list) demands of senders.
    MayWantLogin,
    /// The server does not relay for us.
    NoRelay,
    /// The server accepts no mail from our address for any recipient. Servers that say so at RCPT repeat it for every
    /// recipient.
    Barred,
    /// The server protects its own domain against forged senders from outside, and takes us for one.
    InternalSpoof,
    /// We may not send as this sender.
    SendAs,
    /// The server's disk is full, or the server is out of order as a whole.
    OutOfOrder,
    /// The server lost track of the session.
    Sequence,
    /// The reply says nothing more than its code.
    Plain,
}

impl Signal {
    /// Returns what `reply` is about. `text` is its whole text in lower case.
    pub fn of(phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Self {
        let signal = by_codes_and_words(phase, reply, text, context);
        if phase != Phase::Rcpt || context.taken == TakenRecipients::Nobody {
            return signal;
        }
        // A server that took another recipient takes our mail, so the reply concerns this recipient only. There are two
        // exceptions: an allowance counts recipients, and a server that takes mail for its own domain but does not
        // relay is not yet set up for us.
        let only_its_own = context.taken == TakenRecipients::Internal && !context.internal;
        match signal {
            // The server may want TLS for this recipient only, but our connection's TLS failed.
            Signal::WantsTls if context.fallback.is_some() => signal,
            // The reply names our address. This recipient's block list has it, and no mail bounces for that.
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

/// A negative reply with everything that the rules look at.
struct NegativeReply<'a> {
    phase: Phase,
    reply: &'a Reply,
    /// The reply's text in lower case.
    text: &'a str,
    words: Words,
    /// Whose limit the reply names by an address, if it does.
    named: Option<Named>,
    context: &'a Context<'a>,
}

fn by_codes_and_words(phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Signal {
    let (words, named) = (Words::of(text), whose_limit_is_named(reply, text, context));
    let negative = NegativeReply { phase, reply, text, words, named, context };
    let of_server = || (reply.code == 421).then_some(Signal::Closing);
    let found = negative
        .about_sending()
        .or_else(|| negative.about_load())
        .or_else(of_server)
        .or_else(|| negative.about_session());
    found.or_else(|| negative.about_us()).unwrap_or(Signal::Plain)
}

impl NegativeReply<'_> {
    fn says(&self, hints: &[&str]) -> bool {
        hints.iter().any(|hint| self.text.contains(hint))
    }

    /// Returns true if the reply has this enhanced code, in any class.
    fn is(&self, subject: u16, detail: u16) -> bool {
        self.reply.enhanced.is_some_and(|EnhancedCode(_, s, d)| (s, d) == (subject, detail))
    }

    fn has_subject(&self, subject: u16) -> bool {
        self.reply.enhanced.is_some_and(|EnhancedCode(_, s, _)| s == subject)
    }

    fn is_before_content(&self) -> bool {
        matches!(self.phase, Phase::Mail | Phase::Rcpt | Phase::Data)
    }

    /// Returns true if the reply concerns the recipient's mailbox (RFC 3463 §3.3). Exchange uses X.2.0 for the sender's
    /// mailbox, too.
    fn is_about_mailbox(&self) -> bool {
        self.phase == Phase::Rcpt && self.has_subject(2) && !self.is(2, 0)
    }

    /// Looks for limits on what the account may send.
    fn about_sending(&self) -> Option<Signal> {
        let (permanent, to_one) = (self.reply.is_permanent(), self.phase == Phase::Rcpt);
        // Google's reply about everything that its customer relays has a mailbox's code.
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
        let of_recipient = self.is_the_recipients_limit();
        let used_up = (self.says(&of_sending) && !of_recipient)
            || (self.is(2, 0)
                && self.says(&["submission"])
                && self.says(&["limit", "quota exceeded", "quotaexceeded"]))
            || (self.is(4, 5) && permanent && (!to_one || self.says(&["sending", "quota", "limit"])))
            || self.is(7, 232)
            || self.is(7, 233);
        let of_other = self.words.any(&[" storage ", " disk "]) || recipient_is_unknown(&self.words);
        if used_up && !of_other && !self.is_about_mailbox() && !is_about_receiving(&self.words) {
            return Some(Signal::Quota);
        }
        // The code for too many recipients is about no mailbox, and a limit on those of a day is the sender's.
        if self.is(5, 3) && limits_recipients_of_a_period(&self.words) {
            return Some(Signal::Quota);
        }
        // Microsoft 365 says this at any point and about the whole tenant: it refuses traffic from this address, or
        // from domains that are not registered there. The codes after that block a tenant or a mailbox.
        if self.is(7, 708) || self.is(7, 750) {
            return Some(Signal::Barred);
        }
        if self.is(7, 705)
            || (501..=503).any(|detail| self.is(7, detail))
            || (self.is(1, 8) && self.says(&["outbound", "access denied", "blocked"]))
        {
            return Some(Signal::Blocked);
        }
        if of_recipient {
            return None;
        }
        if self.phase == Phase::Login && permanent && refuses_login_for_allowance(&self.words) {
            return Some(Signal::Quota);
        }
        // There are as many wordings as products. By a permanent code, mail would otherwise bounce. By a transient one,
        // each message would ask anew.
        if !(self.is_before_content() || self.phase == Phase::End) || (!permanent && self.waits_for_another_reason()) {
            return None;
        }
        // X.2.2 is the code of a full mailbox. Some servers have it for the sender's allowance, too.
        let is_named = self.named == Some(Named::Sender) && !matches!(self.reply.enhanced, Some(EnhancedCode(_, 1, _)));
        if self.is(2, 2) && !limits_sending(&self.words) && !is_named {
            return None;
        }
        let names_account = self.our_account().any(|name| names_account(&self.words, &name));
        let heard = match self.phase {
            // Of a limit that passes at MAIL, the server's own is one.
            Phase::Mail if permanent => Heard::AtMail,
            Phase::Rcpt => Heard::AtRcpt,
            // A server may find only now that it does not take mail for a recipient.
            _ if self.mentioned_recipients().next().is_some() => Heard::AtRcpt,
            _ => Heard::Elsewhere,
        };
        // With a code for the recipient's address or mailbox, only what is plainly ours is about us. A mailbox may be closed for spam,
        // too.
        let of_ours =
            [" your account ", " your mailbox ", " your domain ", " your sending ", " outgoing ", " outbound "];
        let is_recipients = to_one
            && is_about_recipient(self.reply)
            && !self.words.any(&of_ours)
            && (!names_account || self.context.internal);
        let of_content = self.phase == Phase::End && names_content(&self.words);
        let is_anothers = self.mentioned_recipients().any(|name| named_account_is_stopped(&self.words, name));
        let is_stopped = || !of_content && self.our_account().any(|name| named_account_is_stopped(&self.words, &name));
        if !is_recipients && !is_anothers && (account_is_blocked(&self.words, heard) || is_stopped()) {
            return Some(Signal::Blocked);
        }
        if to_one && is_about_sending_to(&self.words) {
            return None;
        }
        let of_sending = || self.says(&["sending", "outgoing", "outbound"]) || limits_sending(&self.words);
        if self.is_about_mailbox() && !is_named && !of_sending() {
            return None;
        }
        // A server that ends a session for its errors says nothing of the mail that it takes in the next one.
        if !permanent && counts_errors(&self.words) && !names_long_period(&self.words) {
            return None;
        }
        let heard = match () {
            () if is_named => Heard::OfOurs,
            () if names_account => Heard::Elsewhere,
            () => heard,
        };
        allowance(&self.words, heard).map(|allowance| match allowance {
            // A server that names neither a long period nor an amount, and a transient code, may take mail in a minute.
            Allowance::UsedUp if permanent || lasts(&self.words) => Signal::Quota,
            Allowance::UsedUp | Allowance::TooFast => Signal::TooBusy,
        })
    }

    fn says_what_a_recipient_takes(&self) -> bool {
        says_what_a_recipient_takes(self.text, self.context)
    }

    fn mentioned_recipients(&self) -> impl Iterator<Item = &str> {
        mentioned_recipients(self.text, self.context)
    }

    /// Returns true if the text names a limit as the recipient's, and says nothing of mail that goes out or of us.
    fn is_the_recipients_limit(&self) -> bool {
        is_the_recipients_limit(self.named, &self.words)
    }

    /// Returns true if a transient reply speaks of another reason to wait: greylisting, a check of an address, the number of
    /// recipients, or the server's own state (RFC 3463 §3.4).
    fn waits_for_another_reason(&self) -> bool {
        self.words.any(&[" greylist", " graylist", " grey list", " gray list", " verification ", " unverified "])
            || is_about_number_of_recipients(self.reply)
            || (self.has_subject(3) && !names_long_period(&self.words))
    }

    /// The names of our account: the one that we log in with, and the sender's address.
    fn our_account(&self) -> impl Iterator<Item = String> {
        let login = self.context.login.map(|login| login.username.clone());
        // A name without a domain may be anybody's in another domain.
        let is_of_another =
            |name: &String| !name.contains('@') && self.text.contains(&format!("{}@", name.to_lowercase()));
        login.into_iter().chain(self.context.sender.map(Mailbox::to_string)).filter(move |name| !is_of_another(name))
    }

    /// Looks for what the server cannot take now.
    fn about_load(&self) -> Option<Signal> {
        let (reply, to_one) = (self.reply, self.phase == Phase::Rcpt);
        if !reply.is_transient() || self.is_about_mailbox() || self.is_the_recipients_limit() {
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
        let full =
            reply.code == 452 && !self.is(2, 2) && !is_about_number_of_recipients(reply) && !self.says(&["mailbox"]);
        let out_of_order = reply.code != 421 && (self.is(3, 1) || (!to_one && (full || self.has_subject(3))));
        out_of_order.then_some(Signal::OutOfOrder)
    }

    /// Looks for what the session lacks: TLS, a login, or the command before.
    fn about_session(&self) -> Option<Signal> {
        let NegativeReply { phase, reply, .. } = *self;
        // At the final dot, or with the words excluded below, such a text is about who may send to whom, or about SPF
        // and DKIM.
        // Exchange's codes for what a recipient's owner allows.
        let of_recipient =
            self.is(7, 12) || (124..=136).any(|detail| self.is(7, detail)) || self.says_what_a_recipient_takes();
        let of_login = reply.is_permanent() && phase != Phase::End && !of_recipient && wants_login(&self.words);
        // See RFC 3207 §4, RFC 4954 §6, RFC 3463 §3.8. After our TLS failed, a server that allows logins only within
        // TLS says 530, too.
        let of_tls = reply.code == 538
            || (wants_tls(&self.words) && !self.says_what_a_recipient_takes())
            || self.is(7, 10)
            || self.is(7, 11)
            || self.says(&["starttls command first"])
            || (reply.code == 530 && self.context.fallback.is_some());
        // Exchange says `451 5.7.3 STARTTLS is required to send mail`.
        let is_permanent = reply.is_permanent() || matches!(reply.enhanced, Some(EnhancedCode(5, ..)));
        if of_tls && is_permanent && phase != Phase::End {
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

    /// Looks for refusals of our address, of our right to relay, and of our sender.
    fn about_us(&self) -> Option<Signal> {
        let NegativeReply { phase, reply, context, .. } = *self;
        // This is about the connection, which Postfix, Google and Microsoft let go on until RCPT. At the final dot a
        // block list concerns the content.
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
        // Microsoft 365 knows our address by a connector for partners, which names others.
        if self.is(7, 51) {
            return Some(Signal::Barred);
        }
        let says_relay = self.is(7, 64) || self.is(7, 54) || self.says(&denied);
        let of_one = self.says_what_a_recipient_takes();
        let relays_not = says_relay || (self.is_before_content() && !of_one && does_not_relay(&self.words));
        // A reply about our address concerns the connection, whatever its words. A code for the message's size excludes that, and so
        // does one for the recipient's address, unless the text says that our address is the one that is refused.
        let is_named = || names(self.text, context.egress);
        let is_meant = match is_about_recipient(reply) {
            true => is_named() && refuses_a_machine(&self.words),
            false => is_named() || (!of_one && may_not_connect(&self.words)),
        };
        let of_connection = self.is_before_content() && reply.is_permanent() && !self.is(3, 4) && is_meant;
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
        let of_recipient = is_about_recipient(reply) && (!says_relay || recipient_is_unknown(&self.words));
        (relays_not && !of_recipient).then_some(Signal::NoRelay)
    }

    /// Returns true if the server takes mail from its own domain for forged because it comes from outside. Exchange and
    /// Microsoft 365 have codes for it, and other servers have words.
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
