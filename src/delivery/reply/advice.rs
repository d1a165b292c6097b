//! Advice for a person about a smarthost's negative reply.

use super::about_us::may_not_connect;
use super::blocked_account::account_is_stopped;
use super::context::Context;
use super::our_address::names;
use super::signal::{Phase, Signal};
use super::words::Words;
use crate::delivery::auth::login::{Blame, wants_password_of_application};
use crate::route::LoginSecret;
use crate::route::microsoft::says_passwords_are_off;
use crate::smtp::{EnhancedCode, Reply};

/// Returns the remedy, if one is known. `text` is the reply's whole text in lower case.
pub fn advice(signal: Signal, phase: Phase, reply: &Reply, text: &str, context: &Context<'_>) -> Option<String> {
    let egress = context.egress;
    let is = |subject, detail| reply.enhanced.is_some_and(|EnhancedCode(_, s, d)| (s, d) == (subject, detail));
    let by_token = context.login.is_some_and(|login| matches!(login.secret, LoginSecret::ClientCredentials { .. }));
    let basic_is_off =
        is(7, 30) || says_passwords_are_off(text) || (is(7, 139) && !text.contains("credentials were incorrect"));
    let stands_in = context.login.map_or("username and password", |login| &login.stands_in);
    let username = || context.login.map_or_else(String::new, |login| format!("\"{}\"", login.username));
    Some(match (phase, signal) {
        (_, Signal::WantsTls) if context.fallback.is_some() => return context.fallback.and_then(|f| f.advice.clone()),
        (_, Signal::WantsTls) => {
            "the server takes no mail without TLS: set tls = \"required\" for this route, and reload".to_owned()
        }
        (_, Signal::Quota) => "the account's sending allowance is used up; mail waits until it is renewed".to_owned(),
        (Phase::Login, _) if wants_password_of_application(&Words::of(text)) => format!(
            "the account {} needs an application-specific password: create one in its security settings, correct {stands_in}, \
             and reload",
            username()
        ),
        (Phase::Login, _) if Blame::of(reply) == Blame::Command => {
            "the server offers a login mechanism that it does not understand: have the server repaired, or name another \
             mechanism in auth for this route"
                .to_owned()
        }
        (Phase::Login, _) if Blame::of(reply) == Blame::Mechanism => format!(
            "the server finds the login mechanism too weak for {}: configure it to take PLAIN within TLS for this account, or \
             name another mechanism that it offers in auth for this route",
            username()
        ),
        (Phase::Login, _) if reply.is_permanent() && by_token => format!(
            "the application's token was refused for {}: check that an administrator has consented to the application's right \
             to send (SMTP.SendAsApp), that it has access to the mailbox, and that SMTP AUTH is switched on there",
            username()
        ),
        (Phase::Login, _) | (_, Signal::WantsLogin) if reply.is_permanent() && basic_is_off && !by_token => {
            "the server does not take passwords over SMTP: give the route OAuth client credentials (XOAUTH2; `postbud route \
             oauth` leads through it), or have SMTP AUTH switched on for this mailbox"
                .to_owned()
        }
        (Phase::Login, _) if reply.is_permanent() && refuses_our_address(text, context) => format!(
            "the server takes no login from {egress}: allow {egress} there. The login {} may be right",
            username()
        ),
        (Phase::Login, _) if reply.is_permanent() && (is(7, 13) || account_is_stopped(&Words::of(text))) => format!(
            "the account {} may not log in at present: have its administrator find the cause and lift the block. If the password \
             was changed meanwhile, correct {stands_in}, and reload",
            username()
        ),
        (Phase::Login, _) if reply.is_permanent() => {
            format!("the login {} was refused: correct {stands_in}, and reload", username())
        }
        (_, Signal::WantsLogin | Signal::MayWantLogin) if context.login.is_some() => {
            "the server does not take our login for this mail: check that the account may send, and may send to this \
             recipient (a distribution list may demand senders that have logged in)"
                .to_owned()
        }
        (_, Signal::WantsLogin | Signal::MayWantLogin) => format!(
            "the server wants a login, or must allow {egress} to send without one: set username and password, or add {egress} there"
        ),
        (_, Signal::InternalSpoof) => format!(
            "the server treats mail from its own domain to its own domain as forged if it comes from outside: allow {egress} \
             there (inbound connector, IP allow list, or mynetworks)"
        ),
        (_, Signal::NoRelay) => format!(
            "the server does not relay for us: allow {egress} there (connector, relay permission or mynetworks), or set a login"
        ),
        (_, Signal::Barred) if is(7, 750) => {
            "Microsoft 365 takes no more mail from domains that its tenant has not registered: have the sender's domain added \
             there as an accepted domain, or the connector corrected"
                .to_owned()
        }
        (_, Signal::Barred) => format!(
            "the server takes no mail from {egress}: allow {egress} there (allow list, connector or mynetworks). If the address \
             is on a block list, ask for its removal. If the server objects to our name (HELO), the name must resolve to {egress}"
        ),
        (_, Signal::SendAs) => {
            "the account that the route logs in with may not send as this sender: grant it Send As for the address".to_owned()
        }
        (_, Signal::Blocked) if is(7, 705) => {
            "Microsoft 365 blocks all mail of the tenant because of too much bulk mail or spam: its administrator must find the \
             cause and ask Microsoft to lift the block"
                .to_owned()
        }
        (_, Signal::Blocked) => {
            "the server has blocked the account from sending: find the cause (bulk mail or spam, a stolen password, an unpaid \
             bill), and have its administrator lift the block (Microsoft 365: Restricted entities). Mail waits until then"
                .to_owned()
        }
        (_, Signal::TooBusy) if reply.is_permanent() => {
            "the server says that mail comes too fast: lower the route's limits (per_minute, concurrency, \
             messages_per_connection), or have the server's limit raised"
                .to_owned()
        }
        (Phase::Hello, _) if reply.is_permanent() => format!(
            "the server refuses our name or our address: the name that we greet with (hostname) must resolve to {egress} in DNS, \
             and {egress} must resolve back to it. If they do, allow {egress} there"
        ),
        (Phase::Greeting, _) if reply.is_permanent() => {
            format!("the server refuses our connection: allow {egress} there")
        }
        _ => return None,
    })
}

/// Returns true if a refused login is refused for the address that it comes from.
fn refuses_our_address(text: &str, context: &Context<'_>) -> bool {
    names(text, context.egress) || may_not_connect(&Words::of(text))
}
