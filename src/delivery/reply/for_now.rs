//! Finds permanent codes for what a server says holds for now only: greylisting, a server that is busy, a request to try again later. A
//! recipient who is refused so gets the mail later, and nobody bounces.

use super::about_us::recipient_is_unknown;
use super::context::Context;
use super::limits::{DIGITS, finds_spam, is_limited};
use super::named::{is_the_recipients_limit, whose_limit_is_named};
use super::periods::names_period;
use super::whose_limit::{MAIL_WORDS, MAILS, is_about_recipient};
use super::words::Words;
use crate::smtp::{EnhancedCode, Reply};

/// Words of a server that wants to be asked again, or says that it cannot take mail now.
const LATER: &[&str] = &[
    " try again later ",
    " try it again later ",
    " try later ",
    " try back later ",
    " retry later ",
    " resend later ",
    " send again later ",
    " come back later ",
    " in a few minutes ",
    " after a few minutes ",
    " in a few hours ",
    " wait a while ",
    " at a later time ",
    " greylist",
    " graylist",
    " grey list",
    " gray list",
    " due to internal error ",
    " due to an internal error ",
    " temporary failure ",
    " temporary error ",
    " temporary problem ",
    " temporary local problem ",
    " temporarily unavailable ",
    " temporarily not available ",
    " temporarily rejected ",
    " temporarily refused ",
    " temporarily deferred ",
    " service currently unavailable ",
    " server currently unavailable ",
    " server busy ",
    " server is busy ",
    " server too busy ",
    " system busy ",
    " system is busy ",
    " under maintenance ",
    " for maintenance ",
    " tempfail ",
    // Danish, Swedish, German, French, Dutch, Spanish, Italian.
    " midlertidig fejl ",
    " midlertidigt utilgængelig",
    " midlertidigt ude af ",
    " tillfälligt fel ",
    " später erneut ",
    " später noch einmal ",
    " später wieder ",
    " vorübergehend nicht ",
    " plus tard ",
    " later opnieuw ",
    " más tarde ",
    " più tardi ",
];
/// Words that ask to try again. Whoever is to mend the message first is asked so, too, so they count before a word for a time, or beside the
/// server's own failure.
const RETRY: &[&str] =
    &[" retry ", " prøv igen ", " prøv igjen ", " forsøk igjen ", " prøv venligst igen ", " försök igen "];
const LATER_ON: &[&str] = &[
    " later ",
    " soon ",
    " shortly ",
    " tomorrow ",
    " senere ",
    " senare ",
    " om ",
    " snart ",
    " i morgen ",
    " i morgon ",
    " imorgen ",
    " imorgon ",
];
const OWN_FAILURE: &[&str] = &[
    " internal error ",
    " server error ",
    " system error ",
    " system failure ",
    " busy ",
    " timeout ",
    " timed out ",
    " intern fejl ",
    " serverfejl ",
    " systemfejl ",
    " internt fel ",
    " serverfel ",
    " systemfel ",
    " optaget ",
    " upptagen ",
];
/// Words that ask to try again, before a time: `try again in 300 seconds`.
const AGAIN: &[&str] = &[" try again in ", " try again after ", " again in ", " retry in ", " retry after "];
/// Units behind a number, and what stands behind them where the verb comes last: `in 10 Minuten erneut`.
const LAST_UNITS: &[&str] = &["minuten", "minutter", "minuter", "stunden", "sekunden", "timer", "timmar"];
const LAST_AGAIN: &[&str] = &[" erneut ", " wieder ", " igen ", " igjen "];
const UNITS: &[&str] = &[" s ", " sec", " min", " hour", " h ", " hr"];
/// Words for a mailbox without room. It is full for now, too, and stays the recipient's.
const FULL: &[&str] = &[" full ", " quota ", " overquota ", " storage ", " fuld ", " voll "];

/// Returns true if a permanent refusal says that it holds for now only. A code for the recipient's address or mailbox counts for more than
/// the words, and so does a text that calls the recipient unknown, its mailbox full, or the message spam.
pub fn is_for_now(reply: &Reply, words: &Words) -> bool {
    if !reply.is_permanent() {
        return false;
    }
    // RFC 3463 §2: the class of a transient failure. Nobody knows which of the two codes is meant, so nothing is given up too early.
    if matches!(reply.enhanced, Some(EnhancedCode(4, ..))) {
        return true;
    }
    if is_about_recipient(reply) || recipient_is_unknown(words) || words.any(FULL) || finds_spam(words) {
        return false;
    }
    let is_overloaded = words.close(&[" system ", " server "], &[" overloaded "], 2);
    let again_last = words.any(LAST_AGAIN) && words.has_digits_before(LAST_UNITS);
    let later_on =
        RETRY.iter().any(|retry| words.near(retry, LATER_ON, 2)) || (words.any(RETRY) && words.any(OWN_FAILURE));
    words.any(LATER) || is_overloaded || again_last || later_on || AGAIN.iter().any(|again| words.near(again, UNITS, 1))
}

/// Returns true if a permanent refusal gives a recipient's limit with the period in which it counts: `x@test.net accepts max 10 mails per
/// hour`. Such a limit lapses by itself. A mailbox without room, or one that is unknown or gone, stays so.
pub fn lapses_with_its_period(reply: &Reply, text: &str, words: &Words, context: &Context<'_>) -> bool {
    const NO_ROOM: &[&str] =
        &[" full ", " over quota ", " overquota ", " storage ", " space ", " size ", " disk ", " fuld ", " voll "];
    if !names_period(words) || words.any(NO_ROOM) || recipient_is_unknown(words) || finds_spam(words) {
        return false;
    }
    let counts_mail = words.any(MAIL_WORDS);
    let is_of_code = match reply.enhanced {
        Some(EnhancedCode(_, 1, _)) => false,
        Some(EnhancedCode(_, 2, _)) => counts_mail,
        _ => true,
    };
    // `takes 10 mails a day`
    let is_amount = || DIGITS.iter().any(|digit| words.near(digit, MAIL_WORDS, 0) || words.near(digit, MAILS, 0));
    is_of_code
        && (is_limited(words) || is_amount())
        && is_the_recipients_limit(whose_limit_is_named(reply, text, context), words)
}

#[cfg(test)]
mod tests {
    use crate::delivery::reply::classify::Phase::*;
    use crate::delivery::reply::classify::tests::context;
    use crate::delivery::reply::wordings::wrong;

    #[test]
    fn a_permanent_code_with_a_request_to_try_again_bounces_nobody() {
        let for_now = [
            "550 5.7.1 Greylisted, please try again in 300 seconds",
            "550 Greylisting in action, come back later",
            "554 5.7.1 <x@test.net>: Recipient address rejected: Greylisted for 5 minutes",
            "550 5.7.1 Recipient address rejected: User x temporary locked. Please try again later!",
            "550 5.5.0 Service refuse. Veuillez essayer plus tard. service refused, please try later. LPN001_108",
            "554 Service currently unavailable",
            "550 Temporarily rejected. Try again later.",
            "554 5.7.1 Temporary failure, please try again later",
            "550 Server busy, please try later",
            "554 5.3.2 Systemet er midlertidigt ude af drift, prøv igen senere",
            "550 Internal server error, retry later",
            "554 4.3.2 please try again later",
            "554 4.7.1 Greylisted",
            "550 4.2.1 mailbox busy",
            "550 System maintenance, mail will be accepted after 02:00, retry in 2 hours",
            "554 5.7.1 Please try again after 15 minutes",
            "550 we are under maintenance",
            "550 5.7.1 Deferred. Try again in 10 min",
            "550 Temporary problem with the recipient's server, please try later",
            "550 Bitte versuchen Sie es später erneut",
            "550 Tjenesten er midlertidigt utilgængelig",
            "554 5.3.0 server too busy",
            "550 Mail system is down for maintenance",
            "571 Greylisted by policy; retry",
            "554 5.7.1 Cannot take the message now, please retry shortly",
            "554 5.3.0 Internal error, please retry",
            "550 Serverfejl. Prøv igen.",
            "554 Kan ikke tage imod nu. Prøv igen i morgen.",
            "550-Requested action not taken: mailbox unavailable\r\n550 Failure sending mail. Try again later",
            "554 Transaction failed[Service Temporarily Unavailable. Please try after a few minutes.]",
            "554 5.7.1 Service unavailable; please retry in a few minutes",
            "550 Please wait a while and try again",
            "550 5.7.0 Please try again later",
            "550 mailbox temporarily unavailable",
            "550 5.7.1 <x@test.net>: Recipient address rejected: Please retry later (greylist)",
            "554 Too busy, retry in 5 minutes",
            "550 We cannot accept your mail at this time, try again later",
            "550 5.0.0 Backend down, try later",
            "550 Temporary DNS failure, please retry later",
            "553 5.1.8 Domain of sender address temporarily unavailable, try again later",
        ];
        assert_eq!(wrong(&[Rcpt], &for_now, &["dr-"], &context(false)), []);
        assert_eq!(wrong(&[Mail, Data, End], &for_now, &["dm-"], &context(false)), []);
    }

    #[test]
    fn a_recipient_or_a_message_is_refused_for_good_whatever_else_is_said() {
        let of_recipient = [
            "550 5.1.1 User unknown, try again later",
            "552 5.2.2 Mailbox full, try again later",
            "550 No such user here. Please check the address and try again.",
            "552 User is over quota. Try again in 24 hours.",
            "550 Postkassen er fuld, prøv igen senere",
        ];
        assert_eq!(wrong(&[Rcpt], &of_recipient, &["fr-"], &context(false)), []);
        let of_message = [
            "550 5.7.1 This message looks like spam. Try again later.",
            "554 5.6.0 no From field",
            "552 5.7.0 Attachment type not allowed. Remove it and please retry.",
            "552 Please retry with a smaller attachment",
            "552 Vedhæftningen er ikke tilladt. Fjern den, og prøv igen.",
            "552 Bilagan är inte tillåten. Ta bort den och försök igen.",
        ];
        assert_eq!(wrong(&[End], &of_message, &["fm-"], &context(false)), []);
    }
}
