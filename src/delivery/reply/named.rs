//! Finds whose limit a reply names by an address: `crm@test.dk over limit`, `x@test.net accepts max 10 mails per hour`. What a text says of
//! the address that it names counts for more than where it was heard.

use std::net::IpAddr;

use super::context::Context;
use super::limits::is_limited;
use super::periods::names_period;
use super::whose_limit::{goes_out, speaks_to_us};
use super::words::Words;
use crate::message::Recipient;
use crate::smtp::{EnhancedCode, Host, Mailbox, Reply};

/// Whose limit a reply names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The limit is that of the sender's address, of our login or of the address that we connect from.
    Sender,
    /// The limit is a recipient's.
    Recipient,
}

/// How many addresses of a clause are looked at. A text that names more of them is a list.
const LOOKED_AT: usize = 8;
/// With how many recipients an address is compared. Each recipient of a message may be refused by the same text.
const COMPARED: usize = 100;

/// Returns whose limit `text`, in lower case, names. The address stands in the clause that speaks of the limit, or alone in front of it.
/// Many servers repeat the recipient's address in front of any text (`<x@test.net>: Recipient address rejected: …`), which says nothing.
pub fn whose_limit_is_named(reply: &Reply, text: &str, context: &Context<'_>) -> Option<Named> {
    // Beside the code of a full mailbox, the address that we connect from is in front of any text, too.
    let is_full = matches!(reply.enhanced, Some(EnhancedCode(_, 2, 2)));
    let mut heading = None;
    for (at, clause) in clauses(text).enumerate() {
        let named = (at == 0).then(|| login_in_front(text, clause, context)).flatten();
        let named = named.or_else(|| first_named(clause, context));
        // What comes behind a recipient's address is no longer the sender's alone.
        if heading == Some(Named::Sender) && mentioned_recipients(clause, context).next().is_some() {
            heading = None;
        }
        let words = Words::of(clause);
        if is_limited(&words) || names_period(&words) {
            if let Some(whose) = named.map(|(_, whose)| whose).or(heading) {
                return Some(whose);
            }
        } else if at == 0 {
            let is_heading = |address: &str, whose| {
                is_heading(clause, address, whose) && !(is_full && address.parse::<IpAddr>().is_ok())
            };
            heading = named.and_then(|(address, whose)| is_heading(address, whose).then_some(whose));
        }
    }
    None
}

/// Returns true if a limit of which `named` says whose it is, is the recipient's, and the text says nothing of mail that goes out or of us.
pub fn is_the_recipients_limit(named: Option<Named>, words: &Words) -> bool {
    named == Some(Named::Recipient) && !goes_out(words) && !speaks_to_us(words)
}

/// The addresses of the message's recipients that `text`, in lower case, has. An address that is the sender's, too, is none.
pub fn mentioned_recipients<'a>(text: &'a str, context: &Context<'_>) -> impl Iterator<Item = &'a str> {
    addresses(text).filter(move |address| whose(address, context) == Some(Named::Recipient))
}

/// Returns true if `text`, in lower case, says of a recipient what that one takes: `x@test.net accepts mail from known hosts only`.
pub fn says_what_a_recipient_takes(text: &str, context: &Context<'_>) -> bool {
    const VERBS: &[&str] = &[
        "accepts ",
        "only accepts ",
        "does not accept ",
        "takes ",
        "only takes ",
        "does not take ",
        "wants ",
        "does not want ",
        "requires ",
        "refuses ",
        "rejects ",
        "blocks ",
        "blocked ",
        "has blocked ",
        "modtager ",
        "nimmt ",
    ];
    let text = text.trim_start_matches(['<', '"', ' ']);
    let named = addresses(text).next().filter(|address| whose(address, context) == Some(Named::Recipient));
    let rest =
        named.and_then(|address| text.strip_prefix(address)).map(|rest| rest.trim_start_matches(['>', '"', ' ']));
    rest.is_some_and(|rest| VERBS.iter().any(|verb| rest.starts_with(verb)))
}

/// The clauses of a text, without the punctuation that ends them.
fn clauses(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest.take()?;
        let ends = |(at, c): (usize, char)| {
            let behind = &all[at + c.len_utf8()..];
            let is_end = match c {
                ':' | ',' | '.' => behind.is_empty() || behind.starts_with(' '),
                '-' => behind.starts_with(' ') && all[..at].ends_with(' '),
                ';' | '(' | ')' => true,
                _ => false,
            };
            is_end.then_some((at, behind))
        };
        match all.char_indices().find_map(ends) {
            Some((at, behind)) => {
                rest = Some(behind);
                Some(&all[..at])
            }
            None => Some(all),
        }
    })
}

/// The first address in the clause that is the sender's side or a recipient's. A clause with both (`mail from crm@test.dk cannot be delivered
/// because x@test.net is over quota`) does not say by them whose the limit is, unless it says what the recipient takes.
fn first_named<'a>(clause: &'a str, context: &Context<'_>) -> Option<(&'a str, Named)> {
    let mut named = addresses(clause).filter_map(|address| Some((address, whose(address, context)?)));
    let Some(first) = named.next() else { return quoted_login(clause, context) };
    let is_of_one = named.all(|(_, whose)| whose == first.1);
    (is_of_one || says_what_a_recipient_takes(clause, context)).then_some(first)
}

/// The name of our login, in lower case, if it has no domain. It may be a common word elsewhere (`mail`), so it counts only alone in front of
/// a colon or in quotes.
fn name_without_domain(context: &Context<'_>) -> Option<String> {
    let name = context.login.map(|login| login.username.to_lowercase());
    name.filter(|name| !name.is_empty() && !name.contains('@'))
}

/// Our login's name without a domain, if it is the whole first clause of the text and a colon follows.
fn login_in_front<'a>(text: &str, clause: &'a str, context: &Context<'_>) -> Option<(&'a str, Named)> {
    let bare = clause.trim().trim_matches(['<', '>']);
    let is_in_front = text.strip_prefix(clause).is_some_and(|rest| rest.starts_with(':'));
    (is_in_front && name_without_domain(context)? == bare).then_some((bare, Named::Sender))
}

/// Our login's name without a domain, if the clause has it in quotes.
fn quoted_login<'a>(clause: &'a str, context: &Context<'_>) -> Option<(&'a str, Named)> {
    let name = name_without_domain(context)?;
    let at = ['"', '\''].iter().find_map(|quote| clause.find(&format!("{quote}{name}{quote}")))?;
    Some((&clause[at + 1..=at + name.len()], Named::Sender))
}

/// Returns true if the clause is nothing but the address. In angle brackets, a recipient's is there in front of any text.
fn is_heading(clause: &str, address: &str, whose: Named) -> bool {
    let bare = clause.trim();
    bare == address || (whose == Named::Sender && bare.trim_matches(['<', '>', '"', '\'']) == address)
}

/// Whatever looks like an address, of the network or of a mailbox.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !is_of_address(c) && c != '=');
    let words = words.map(|word| word.trim_matches(['.', ':', '=']));
    // `sender=crm@test.dk`, `sender:crm@test.dk`. A return path may have an equals sign of its own.
    let parts = words.flat_map(|word| {
        let value = word.rsplit_once(['=', ':']).map(|(_, value)| value);
        std::iter::once(word).chain(value)
    });
    parts.filter(|part| part.contains('@') || part.contains('.') || part.contains(':')).take(LOOKED_AT)
}

fn is_of_address(c: char) -> bool {
    c.is_alphanumeric() || ".@_+-:%!#$&*/?^{|}~".contains(c)
}

/// Whose address this is. If the sender writes to itself, the address says nothing.
fn whose(address: &str, context: &Context<'_>) -> Option<Named> {
    let is_senders = context.sender.is_some_and(|sender| is_address_of(address, sender))
        || context
            .login
            .is_some_and(|login| login.username.contains('@') && login.username.eq_ignore_ascii_case(address))
        || address.parse() == Ok(context.egress);
    let is_recipients =
        || context.recipients.iter().take(COMPARED).any(|Recipient { address: of, .. }| is_address_of(address, of));
    match (is_senders, is_recipients()) {
        (true, false) => Some(Named::Sender),
        (false, true) => Some(Named::Recipient),
        _ => None,
    }
}

fn is_address_of(text: &str, mailbox: &Mailbox) -> bool {
    let Host::Domain(domain) = mailbox.host() else { return false };
    text.rsplit_once('@').is_some_and(|(local, host)| {
        domain.as_str().eq_ignore_ascii_case(host) && mailbox.local().eq_ignore_ascii_case(local)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::reply::classify::Phase::*;
    use crate::delivery::reply::classify::tests::context;
    use crate::delivery::reply::wordings::wrong;
    use crate::route::{Login, LoginSecret};

    #[test]
    fn an_account_that_is_named_is_ours_only_if_it_is_the_login_or_the_sender() {
        let login = Login::new("webcrm@test.dk", LoginSecret::Password("secret".to_owned()));
        let sender = Mailbox::parse("crm@test.dk").unwrap();
        let context = Context { login: Some(&login), sender: Some(&sender), ..context(false) };
        for (text, right) in [
            ("550 5.7.1 Sender account crm@test.dk is blocked", "dRb"),
            ("550 5.7.1 User crm@test.dk is blocked", "dRb"),
            ("554 5.7.1 Account webcrm@test.dk disabled", "dRb"),
            ("550 Mailbox crm@test.dk has been suspended, contact your provider", "dRb"),
            ("550 5.2.1 <crm@test.dk>: account is disabled", "dRb"),
            ("550 Kontoen crm@test.dk er spærret", "dRb"),
            ("550 Benutzer webcrm@test.dk gesperrt", "dRb"),
            ("550 login webcrm@test.dk locked", "dRb"),
            ("550 5.7.1 Mail from crm@test.dk blocked by recipient", "fr-"),
            ("550 5.7.1 <crm@test.dk>: sender blocked by the recipient's policy", "fr-"),
            ("550 Account x@test.net disabled, mail from crm@test.dk refused", "fr-"),
            ("550 5.1.1 x@test.net: no such user (from crm@test.dk)", "fr-"),
            ("552 5.2.2 x@test.net over quota, message from crm@test.dk refused", "fr-"),
            ("552 5.7.1 crm@test.dk: quota of messages exceeded", "dRb"),
            ("552 5.2.2 Outbound message quota exceeded for crm@test.dk", "dRb"),
            (
                "451-40.74.40.57 is not yet authorized to deliver mail from\r\n451 <crm@test.dk> to <x@test.net>. Please try later.",
                "dr-",
            ),
            ("550 User webcrm is blocked", "fr-"),
            ("550 5.7.1 Sender crm@test.dk blocked by user", "fr-"),
            ("550 5.7.1 User blocked crm@test.dk", "fr-"),
            ("550 User's blocklist: crm@test.dk is blocked", "fr-"),
            ("550 User crm@test.dk blocked by x@test.net", "fr-"),
            ("550 User crm@test.dk is blocked from sending to this list", "fr-"),
            ("550 User crm@test.dk blocked by your administrator", "dRb"),
            ("550 The user crm@test.dk has been temporarily suspended", "dRb"),
        ] {
            assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{text}");
        }
        for text in
            ["554 5.7.1 Message from user crm@test.dk blocked as spam", "554 Message from user crm@test.dk blocked"]
        {
            assert_eq!(wrong(&[End], &[text], &["fm-"], &context), [], "{text}");
        }
        let by_name = Login::new("webcrm", LoginSecret::Password("secret".to_owned()));
        let context = Context { login: Some(&by_name), ..context };
        for (text, right) in [
            ("550 User webcrm is blocked", "dRb"),
            ("554 5.7.1 Account \"webcrm\" has been disabled", "dRb"),
            ("550 user webcrm@test.net is blocked", "fr-"),
            ("550 webcrm is blocked here", "fr-"),
        ] {
            assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{text}");
        }
        // A colleague's mailbox is not the sender's.
        let context = Context { internal: true, ..context };
        assert_eq!(wrong(&[Rcpt], &["550 5.2.1 <crm@test.dk>: account is disabled"], &["fr-"], &context), []);
    }

    #[test]
    fn what_a_recipient_takes_says_nothing_of_us() {
        let recipients = [Recipient::new(Mailbox::parse("x@test.net").unwrap())];
        let context = Context { recipients: &recipients, ..context(false) };
        let of_recipient = [
            "550 x@test.net does not accept mail from your server",
            "550 <x@test.net> accepts mail from known hosts only",
            "550 x@test.net takes no mail from outside the company",
            "550 5.7.1 x@test.net has blocked your server",
            "550 x@test.net rejects mail from your IP address",
            "550 x@test.net requires authentication of its senders",
            "550 x@test.net requires TLS",
            "550 x@test.net modtager ikke mail fra jeres server",
        ];
        assert_eq!(wrong(&[Rcpt], &of_recipient, &["fr-"], &context), []);
        let of_us = [
            "550 x@test.net: your server is not allowed to connect",
            "550 <x@test.net>: your IP address is blocked",
            "550 x@test.net refuses mail from 40.74.40.57",
            "550 x@test.net not accepted, relaying denied",
            "550 y@test.net does not accept mail from your server",
        ];
        assert_eq!(wrong(&[Rcpt], &of_us, &["dR?"], &context), []);
    }

    #[test]
    fn a_limit_is_that_of_the_address_that_the_text_names() {
        let sender = Mailbox::parse("crm@test.dk").unwrap();
        let recipients = ["y@test.net", "x@test.net"].map(|address| Recipient::new(Mailbox::parse(address).unwrap()));
        let context = Context { sender: Some(&sender), recipients: &recipients, ..context(false) };
        for (phase, right, texts) in [
            (
                Rcpt,
                "fr-",
                &[
                    "550 <x@test.net> over quota",
                    "550 x@test.net over limit",
                    "552 <x@test.net> has exceeded the limit of messages",
                    "550 x@test.net: rate limit exceeded",
                    "554 5.7.1 rate limit for <x@test.net> exceeded",
                    "550 x@test.net: message quota exceeded, mail from crm@test.dk refused",
                    "550 5.7.1 Account x@test.net is locked, sending is disabled",
                    "550 5.1.1 x@test.net was suspended for sending spam",
                    "550 crm@test.dk blocked",
                    "550 crm@test.dk is not wanted here",
                    "550 5.7.1 crm@test.dk: blocked by the recipient",
                    "552 5.2.2 mailbox full (sender crm@test.dk)",
                    "552 5.2.2 x@test.net over quota, message from crm@test.dk refused",
                    "552 x@test.net over quota, message from crm@test.dk refused",
                    "550 5.1.1 <x@test.net>: unknown; message from crm@test.dk exceeds nothing",
                    "552 5.2.2 Message from crm@test.dk cannot be delivered because x@test.net is over quota",
                    "552 Message from crm@test.dk cannot be delivered because x@test.net is over quota",
                    "552 5.2.2 crm@test.dk: message to x@test.net refused, over quota",
                    "552 5.2.2 40.74.40.57: over quota",
                    "552 5.2.2 x@test.net over quota, try again in 24 hours",
                    "552 5.2.2 x@test.net: mailbox full, over the limit for 30 days",
                    "550 5.1.1 x@test.net was removed 30 days ago, limit of accounts reached",
                    "550 x@test.net was deactivated 30 days ago",
                ][..],
            ),
            (
                Rcpt,
                "dRb",
                &[
                    "550 crm@test.dk over limit",
                    "550 crm@test.dk over quota",
                    "552 5.2.2 <crm@test.dk> over quota",
                    "550 <crm@test.dk>: max 10 mails per hour",
                    "550 5.7.1 limit for crm@test.dk reached",
                    "550 crm@test.dk exceeded its allowance",
                    "550 Limit reached for crm@test.dk, x@test.net not accepted",
                    "550 5.7.1 <x@test.net>: Recipient address rejected: Rate limit exceeded",
                    "550 5.7.1 <x@test.net>: Recipient address rejected: sending limit of the hour reached",
                    "550 5.7.1 <x@test.net>... crm@test.dk has sent too many messages",
                    "550 crm@test.dk suspended",
                    "550 5.7.1 <crm@test.dk> has been locked",
                    "450 crm@test.dk over limit",
                    "550 CRM@test.dk over limit",
                    "550 Quota of crm@test.dk is used up",
                    "550 webcrm: quota exceeded",
                    "550 crm@test.dk har nået grænsen",
                    "550 crm@test.dk: Limit erreicht",
                ][..],
            ),
            (Mail, "dRb", &["550 crm@test.dk over quota", "550 <crm@test.dk>: max 10 mails per hour"][..]),
            (
                Data,
                "dRb",
                &[
                    "550 crm@test.dk over quota",
                    "550 <crm@test.dk>: max 10 mails per hour",
                    "550 crm@test.dk suspended",
                    "550 5.7.1 <crm@test.dk> has been locked",
                ][..],
            ),
            (
                End,
                "dRb",
                &[
                    "550 crm@test.dk over quota",
                    "550 <crm@test.dk>: max 10 mails per hour",
                    "550 crm@test.dk suspended",
                    "550 5.7.1 <crm@test.dk> has been locked",
                ][..],
            ),
            (
                Rcpt,
                "dr-",
                &[
                    "450 x@test.net over hourly limit",
                    "450 4.7.1 rate limit of x@test.net exceeded",
                    "452 <x@test.net> too many messages",
                    "451 4.7.1 x@test.net: throttled, try again later",
                    "450 4.7.1 x@test.net accepts 10 messages an hour",
                    "450 4.7.1 Rate limit for x@test.net: 10 messages per hour",
                    // The limit lapses by itself, so nobody bounces.
                    "550 x@test.net accepts max 10 mails per hour",
                    "550 5.7.1 x@test.net takes no more than 5 messages a day from crm@test.dk",
                    "550 5.7.1 limit of 20 mails per hour for x@test.net reached",
                    "550 5.7.1 hourly quota of x@test.net exceeded",
                    "550 too many messages to x@test.net in the last hour",
                    "550 x@test.net: max 100 emails/day",
                    "550 X@TEST.NET over hourly limit",
                    "550 x@test.net: daily limit reached",
                    "550 5.7.1 x@test.net has a limit of 20 messages per day",
                    "550 Sorry, x@test.net can take no more mail today",
                    "550 x@test.net modtager højst 10 mails i timen",
                    "550 x@test.net nimmt höchstens 10 Nachrichten pro Tag an",
                    "550 5.7.1 Message to x@test.net not accepted because hourly limit reached",
                    "550 Recipient x@test.net refused because hourly limit exceeded",
                    "552 5.2.2 x@test.net has had too many messages in the last hour",
                ][..],
            ),
            (
                End,
                "fm-",
                &[
                    "552 x@test.net over quota",
                    "554 delivery error: dd Sorry your message to x@test.net cannot be delivered. This account has been disabled or discontinued [#102]. - mta222",
                    "550 5.7.1 Account x@test.net is blocked",
                ][..],
            ),
            (
                End,
                "dm-",
                &[
                    "452 4.2.2 x@test.net over quota",
                    "450 x@test.net: rate limit exceeded",
                    "550 x@test.net accepts max 10 mails per hour",
                ][..],
            ),
            (Mail, "fm-", &["550 crm@test.dk: address not valid here"][..]),
        ] {
            assert_eq!(wrong(&[phase], texts, &[right], &context), []);
        }
    }

    #[test]
    fn a_login_that_is_a_common_word_names_nobody_elsewhere() {
        for name in ["mail", "user", "mailbox"] {
            let login = Login::new(name, LoginSecret::Password("secret".to_owned()));
            let context = Context { login: Some(&login), ..context(false) };
            for (text, right) in [
                ("552 5.2.2 Mail quota exceeded", "fr-"),
                ("552 5.2.2 User quota exceeded", "fr-"),
                ("552 5.2.2 Mailbox quota exceeded", "fr-"),
                ("552 5.2.2 User is over quota", "fr-"),
            ] {
                assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{name}");
            }
            let of_login = [
                format!("552 5.2.2 {name}: message quota exceeded"),
                format!("552 5.2.2 Message quota of \"{name}\" exceeded"),
            ];
            for text in &of_login {
                assert_eq!(wrong(&[Rcpt], &[text], &["dRb"], &context), [], "{name}");
            }
        }
    }
}
