//! Finds refusals for the number of recipients that one transaction has. Servers agree on no code for them, so the words decide.

use super::limits::{RECEIVING_WORDS, is_about_recipient};
use super::periods::{PERIOD_WORDS, SHORT_PERIOD_WORDS};
use super::words::Words;
use crate::smtp::{EnhancedCode, Reply};

/// Returns true if the server refuses because there are too many recipients (RFC 5321 §4.5.3.1.10), and not because of
/// who they are.
pub fn is_about_number_of_recipients(reply: &Reply) -> bool {
    if reply.is_positive() || reply.code == 421 || is_about_recipient(reply) {
        return false;
    }
    matches!(reply.enhanced, Some(EnhancedCode(_, 5, 3)))
        || says_too_many_recipients(&Words::of(&reply.lines.join(" ")))
}

fn says_too_many_recipients(words: &Words) -> bool {
    let separate = [
        " separate message",
        " separate mail",
        " separate transaction",
        " separately ",
        " one at a time ",
        " own message ",
        " own transaction ",
        " another message ",
        " another transaction ",
        " next transaction ",
        " new transaction ",
    ];
    if words.any(&[" more recipients than "]) || (words.any(&separate) && words.any(&[" recipient"])) {
        return true;
    }
    let weighed =
        [" size ", " space ", " storage ", " disk ", " inbox ", " octet", " byte", " kb ", " mb ", " gb ", " large "];
    let of_others = [
        " rate ",
        " rates ",
        " recipients from ",
        " recipients failed ",
        " too many bounces ",
        " bounced ",
        " disabled ",
        " mailbox",
        " to field ",
        " header",
    ];
    let elsewhere = [PERIOD_WORDS, SHORT_PERIOD_WORDS, RECEIVING_WORDS, &weighed, &of_others];
    if elsewhere.iter().any(|phrases| words.any(phrases)) || is_about_quota(words) {
        return false;
    }
    if counts_users(words) {
        return true;
    }
    // The bound must stand near the noun, on either side. A text may name a recipient and give the number of a ticket.
    let nouns = [
        " recipient",
        " rcpt",
        " recepient",
        " recips ",
        " maxrecip",
        " addressee",
        " receivers ",
        " addresses per ",
        " addresses at ",
        " addresses in ",
        " destinations ",
        " destination domains ",
        " to addresses ",
        " modtager",
        " mottagare",
        " mottaker",
        " empfänger",
        " destinataire",
        " ontvanger",
        " destinatari",
        " destinatári",
        " odbiorc",
    ];
    let before = [
        " too many ",
        " too much ",
        " number of ",
        " limit",
        " maximum ",
        " max ",
        " exceed",
        " more than ",
        " at most ",
        " no more ",
        " up to ",
        " fewer ",
        " to many ",
        " too may ",
        " excess ",
        " excessive ",
        " antal ",
        " maximale ",
        " maksimal",
        " maximal ",
        " demasiados ",
        " troppi ",
        " muitos ",
        " za dużo ",
        " for mange ",
        " för många ",
        " zu viele ",
        " trop de ",
        " te veel ",
    ];
    let behind = [
        " limit",
        " count ",
        " exceed",
        " maximum ",
        " max ",
        " reached ",
        " per message ",
        " per mail ",
        " per email ",
        " per transaction ",
        " per session ",
        " pro nachricht ",
        " pro mail ",
        " pr mail ",
        " pr besked ",
        " per meddelande ",
        " par message ",
        " maximal ",
        " maksimal",
        " list too long ",
        " list is too long ",
        " list is full ",
        " table full ",
        " table is full ",
        " too many ",
        " quantity ",
        " overflow ",
        " at a time ",
    ];
    before.iter().any(|bound| words.near(bound, &nouns, 3))
        || words.near(" multiple ", &nouns, 1)
        || nouns.iter().any(|noun| words.near(noun, &behind, 3) || words.has_number_before(noun, &[" only "]))
}

/// Returns true if the text speaks of a quota that is not one of each message.
fn is_about_quota(words: &Words) -> bool {
    let units = [" message ", " mail ", " email ", " transaction ", " session ", " recipient"];
    words.any(&[" quota "])
        && !units.iter().any(|unit| words.near(" quota ", &[&format!(" of{unit}"), &format!(" per{unit}")], 0))
}

/// Returns true if the text says "users" for recipients. Users may also be those that are logged in, or that read mail.
fn counts_users(words: &Words) -> bool {
    let others = [
        " by too many users ",
        " connected ",
        " connections ",
        " online ",
        " logged in ",
        " logged on ",
        " on this server ",
        " license",
    ];
    let of_message = [
        " in this message ",
        " in one message ",
        " in a message ",
        " in this mail ",
        " per message ",
        " per mail ",
        " for one message ",
    ];
    !words.any(&others)
        && (words.near(" too many ", &[" users "], 0)
            || (words.near(" number of ", &[" users "], 0) && words.any(&of_message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_any_length_is_read_at_a_cost_in_proportion() {
        let reply = |text: String| Reply::bare(452, text);
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |reply: &Reply| {
                is_about_number_of_recipients(reply);
            },
            &[
                ("words", |size| Reply::bare(452, "word ".repeat(size / 5))),
                ("nouns", |size| Reply::bare(452, "recipient ".repeat(size / 10))),
                ("bounds", |size| Reply::bare(452, "exceed max ".repeat(size / 11))),
                ("numbers", |size| Reply::bare(452, "only 3x recipient ".repeat(size / 18))),
                ("multiple", |size| Reply::bare(452, "multiple ".repeat(size / 9))),
            ],
        );
        assert!(is_about_number_of_recipients(&reply(format!("{} too many recipients", "word ".repeat(200)))));
    }
}
