//! Finds refusals for the number of recipients that one transaction has. Servers agree on no code for them, so the words decide.

use super::periods::names_period;
use super::whose_limit::{RECEIVING_WORDS, is_about_recipient};
use super::words::Words;
use crate::smtp::{EnhancedCode, Reply};

/// Returns true if the server refuses because there are too many recipients (RFC 5321 §4.5.3.1.10), and not because of
/// who they are.
pub fn is_about_number_of_recipients(reply: &Reply) -> bool {
    if reply.is_positive() || reply.code == 421 {
        return false;
    }
    let words = Words::of(&reply.lines.join(" "));
    // With a code for one recipient, the text must speak of several: a recipient may have a limit of its own.
    if is_about_recipient(reply) && !words.any(SEVERAL) && !words.any(&[" at a time "]) {
        return false;
    }
    let by_code = matches!(reply.enhanced, Some(EnhancedCode(_, 5, 3))) && !limits_recipients_of_a_period(&words);
    by_code || says_too_many_recipients(&words)
}

/// Returns true if the text limits the recipients of a day or an hour, and not those of one message: `recipient quota per day exceeded`.
pub fn limits_recipients_of_a_period(words: &Words) -> bool {
    let periods = [" per day ", " per hour ", " a day ", " daily ", " hourly ", " today "];
    let of_message = [" message ", " mail ", " email ", " transaction ", " session ", " at a time "];
    let of_one = [" this recipient ", " the recipient ", " recipient has ", " receiv", " mailbox"];
    words.any(&periods)
        && words.any(&[" recipient", " rcpt"])
        && words.any(&[" quota", " limit", " exceed", " maximum ", " too many "])
        && !words.any(&of_message)
        && !words.any(&of_one)
}

/// Words for more than one recipient.
const SEVERAL: &[&str] =
    &[" recipients ", " rcpts ", " recepients ", " receipients ", " addressees ", " receivers ", " destinations "];

/// Words that ask for another transaction.
const SEPARATE: &[&str] = &[
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
/// Words for another limit than that of a message's recipients.
const OF_OTHERS: &[&str] = &[
    " rate ",
    " rates ",
    " recipients from ",
    " recipients failed ",
    " invalid recipients ",
    " unknown recipients ",
    " bad recipients ",
    " too many bounces ",
    " bounced ",
    " disabled ",
    " mailbox",
    " to field ",
    " header",
];
/// Words for recipients. A bound must stand near them, because a text may name a recipient and give the number of a ticket.
const NOUNS: &[&str] = &[
    " recipient",
    " rcpt",
    " recepient",
    " receipient",
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
    " forward path",
    " modtager",
    " mottagare",
    " mottaker",
    " empfänger",
    " adressat",
    " destinataire",
    " ontvanger",
    " destinatari",
    " destinatári",
    " odbiorc",
];
/// Bounds that stand before the noun.
const BEFORE: &[&str] = &[
    " too many ",
    " too much ",
    " number of ",
    " so many ",
    " out of allow",
    " no additional ",
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
    " anzahl der ",
    " nombre de ",
    " número de ",
    " mere end ",
    " mehr als ",
    " meer dan ",
    " fler än ",
    " plus de ",
    " massimo ",
    " máximo ",
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
    " maximalt ",
    " højst ",
    " högst ",
];
/// Bounds that stand behind the noun.
const BEHIND: &[&str] = &[
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

fn says_too_many_recipients(words: &Words) -> bool {
    let people = [" addressee", " recipient", " rcpt"];
    if words.near(" number of ", &people, 0) && words.any(&[" too large ", " too big ", " over size "]) {
        return true;
    }
    // Some write their texts as one word: `RecipientLimitExceeded`.
    let of_one_word = [" recipientlimit", " recipientslimit", " toomanyrecipients", " maxrecipients"];
    if words.any(&of_one_word) || words.near(" over ", &[" modtagere ", " mottagare ", " mottakere "], 1) {
        return true;
    }
    if words.any(&[" more recipients than ", " more addresses than ", " address list too long "])
        || (words.any(SEPARATE) && words.any(&[" recipient"]))
    {
        return true;
    }
    let weighed =
        [" size ", " space ", " storage ", " disk ", " inbox ", " octet", " byte", " kb ", " mb ", " gb ", " large "];
    let elsewhere = [RECEIVING_WORDS, &weighed, OF_OTHERS];
    if names_period(words) || elsewhere.iter().any(|phrases| words.any(phrases)) || is_about_quota(words) {
        return false;
    }
    if counts_users(words) || counts_people(words) || compares_numbers(words) {
        return true;
    }
    BEFORE.iter().any(|bound| words.near(bound, NOUNS, 3))
        || words.near(" multiple ", NOUNS, 1)
        || NOUNS.iter().any(|noun| words.near(noun, BEHIND, 3) || words.has_number_before(noun, &[" only "]))
}

/// Returns true if the text speaks of a quota that is not one of each message.
fn is_about_quota(words: &Words) -> bool {
    let units = [" message ", " mail ", " email ", " transaction ", " session ", " recipient"];
    words.any(&[" quota "])
        && !units.iter().any(|unit| words.near(" quota ", &[&format!(" of{unit}"), &format!(" per{unit}")], 0))
}

/// Returns true if the text says "people" or "addresses" for recipients. Mail to many people is also what makes a server suspect spam.
fn counts_people(words: &Words) -> bool {
    if words.any(&[" suspicious ", " spam ", " bulk ", " unsolicited "]) {
        return false;
    }
    let bounds =
        [" too many ", " so many ", " more than ", " max ", " maximum ", " maximum of ", " up to ", " at most "];
    let people = [" people ", " persons "];
    let addresses = [
        " addresses ",
        " destination addresses ",
        " email addresses ",
        " e mail addresses ",
        " mail addresses ",
        " to cc ",
        " cc ",
    ];
    let at_once = [" at once ", " at a time ", " per message ", " per mail ", " per email ", " in one message "];
    bounds.iter().any(|bound| words.near(bound, &people, 1))
        || (words.has_number_before(" people ", &[" only "]) && words.any(&at_once))
        || words.near(" too many ", &addresses, 0)
        || words.near(" so many ", &addresses, 0)
}

/// Returns true if the text compares the number of recipients with a smaller one: `8 recipients, allowed 3`, `recipients: 8 > 3`.
fn compares_numbers(words: &Words) -> bool {
    let words: Vec<&str> = words.iter().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
    let is_bound = |at: usize| {
        let bounds = [
            "allowed",
            "permitted",
            "max",
            "maximum",
            "limit",
            "exceeds",
            "exceed",
            "over",
            "more",
            "than",
            "only",
            "the",
            "number",
            "is",
        ];
        words.get(at).is_some_and(|word| bounds.contains(word))
    };
    // A bound may stand between the two numbers, in a few words.
    let most_behind = |at: usize| (at..at + 5).find(|at| !is_bound(*at)).and_then(number);
    let nouns = (0..words.len()).filter(|at| SEVERAL.iter().any(|noun| noun.trim() == words[*at]));
    nouns.into_iter().any(|at| {
        let before = at.checked_sub(1).and_then(number).zip(most_behind(at + 1).filter(|_| is_bound(at + 1)));
        // A code of SMTP may follow, which is no number of recipients.
        let behind = number(at + 1).filter(|given| !(400..600).contains(given)).zip(most_behind(at + 2));
        before.into_iter().chain(behind).any(|(given, most)| most < given)
    })
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
