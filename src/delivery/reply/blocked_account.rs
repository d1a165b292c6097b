//! Finds replies that say that the sender's account may send nothing.

use super::limits::finds_spam;
use super::whose_limit::{Heard, is_about_receiving};
use super::words::{Words, folded};

/// Words for what may be done to an account.
const STOPPED: &[&str] = &[
    " blocked ",
    " suspended ",
    " suspension ",
    " disabled ",
    " locked ",
    " stopped ",
    " paused ",
    " restricted ",
    " on hold ",
    " deactivated ",
    " frozen ",
    " revoked ",
    " turned off ",
    " switched off ",
    " mail hold ",
    " email hold ",
    // Danish, Swedish, German, French.
    " spærret ",
    " sperret ",
    " blokeret ",
    " suspenderet ",
    " deaktiveret ",
    " blockerat ",
    " blockerad ",
    " avstängt ",
    " spärrat ",
    " gesperrt ",
    " deaktiviert ",
    " slået fra ",
    " lukket ",
    " deshabilitad",
    " bloqué",
    " désactivé",
    " geblokkeerd ",
    " geschorst ",
    " bloquead",
    " suspendid",
    " suspendu",
    " stoppat",
    " stoppet ",
    " bloccat",
    " sospes",
];

/// Words for sending, which a block stops.
const OUTWARD: &[&str] = &[
    " outgoing mail ",
    " outgoing mails ",
    " outgoing email",
    " outgoing e mail ",
    " outgoing message",
    " outgoing smtp ",
    " outbound smtp ",
    " outbound filter ",
    " outbound mail ",
    " outbound email",
    " outbound message",
    " email outgoing ",
    " from sending ",
    " sending mail from ",
    " mail sending ",
    " email sending ",
    " sending has been ",
    " sending is ",
    " sending from this ",
    " sending from your ",
    " sending paused ",
    " sending e mail ",
    " sending email",
    " sending message",
    " smtp sending ",
    " sending privilege",
    " sending right",
    " ability to send ",
    " right to send ",
    " permission to send ",
    " smtp access ",
    " afsendelse ",
    " udgående ",
    " utgående ",
    " versand ",
    " ausgehende",
    " sortant",
    " denvoi ",
    " lenvoi ",
    " linvio ",
    " mailversand ",
    " smtp zugang ",
    " skickande ",
    " outbounds ",
    " envío ",
    " en envoi ",
    " pour envoi ",
    " verzenden ",
];
/// The account is stopped for what it sent. A recipient's account may be stopped, too, and then nobody speaks of sending.
const FOR_SPAM: &[&str] = &[
    " sending of spam ",
    " sending spam ",
    " send spam ",
    " sends spam ",
    " sent spam ",
    " spam sending ",
    " spam was sent ",
    " spam sent ",
    " sending spammy ",
    " spamming ",
    " outgoing spam ",
    " outbound spam ",
    " sending bulk ",
    " sending phishing ",
    " sending viruses ",
    " spamversand ",
    " spamudsendelse ",
];

/// Returns true if the sender's account is blocked as a whole: it may send nothing until a person lifts the block.
pub fn account_is_blocked(words: &Words, heard: Heard) -> bool {
    let at_mail = heard == Heard::AtMail;
    // If nobody may write to somebody, that account is blocked and not ours, or it takes mail from some senders only.
    if !at_mail && is_about_sending_to(words) {
        return false;
    }
    let not_for_sending = [
        " does not allow sending ",
        " not activated for sending ",
        " not yet activated for sending ",
        " not enabled for sending ",
        " not yet enabled for sending ",
    ];
    let may_not = [" not allowed to send ", " not permitted to send ", " may not send ", " cannot send "];
    // Mail from outside that a mailbox does not take is other people's.
    let from_outside = words.near(" sending from ", FROM_OUTSIDE, 2);
    if words.near(" sending from ", STOPPED, 7) && !from_outside {
        return true;
    }
    if may_not.iter().any(|refusal| words.near(" account ", &[refusal], 1))
        || (words.any(&not_for_sending) && !from_outside)
    {
        return true;
    }
    if words.any(&[" to send anymore ", " to send any more "]) && words.any(&may_not) {
        return true;
    }
    // "SMTP has been disabled for this account". Said of a machine, it bars us.
    let ways = [" sending ", " submission ", " smtp ", " relaying "];
    let holders = [" account ", " user ", " mailbox ", " for this domain ", " for your domain "];
    let of_machine = [" ip ", " host ", " server ", " connection"];
    if words.close(&ways, STOPPED, 3) && words.any(&holders) && !words.any(&of_machine) && !is_about_receiving(words) {
        return true;
    }
    let no_longer =
        [" no longer allowed to send ", " may no longer send ", " can no longer send ", " ikke længere sende "];
    let from_sending = [" for at sende ", " til at sende ", " för att skicka "];
    if words.any(&no_longer) || (words.any(&from_sending) && words.any(STOPPED)) {
        return true;
    }
    let accounts = [" sender account ", " senders account ", " sending account ", " api key "];
    if accounts.iter().any(|account| words.near(account, STOPPED, 8)) {
        return true;
    }
    // The server has taken the recipient, so the account is ours.
    let of_content = words.any(&[" phish", " scam", " virus", " malware"]);
    let is_stopped = words.near(" account ", STOPPED, 3)
        && !words.near(" account ", &[" not "], 1)
        && !of_content
        && !refuses_as_spam(words);
    if heard == Heard::Elsewhere && is_stopped {
        return true;
    }
    // The server speaks to us.
    let of_ours = [" your account ", " your mailbox ", " your service ", " your subscription "];
    if of_ours.iter().any(|ours| words.near(ours, STOPPED, 5)) && !of_content {
        return true;
    }
    if at_mail && is_stopped_at_mail(words) {
        return true;
    }
    if has_expired(words) || words.any(&[" main account unavailable "]) {
        return true;
    }
    if is_held_back(words) {
        return true;
    }
    if words.any(&[" smtp service ", " smtp account "]) && account_is_stopped(words) {
        return true;
    }
    // A user who sends is the sender, unless the text says to whom.
    let to_whom = [" send to ", " send mail to ", " send mails to ", " send messages to ", " send email to "];
    let senders = [" user ", " mailbox "];
    if senders.iter().any(|sender| words.near(sender, &may_not, 1)) && !words.any(&to_whom) {
        return true;
    }
    if words.any(&[" for sending "]) && words.close(&[" account ", " user "], STOPPED, 4) {
        return true;
    }
    if words.any(FOR_SPAM) && account_is_stopped(words) && !is_about_receiving(words) {
        return true;
    }
    let owners = [" account", " domain ", " user ", " sender ", " plan ", " customer ", " your mailbox "];
    if words.any(&may_not) && words.any(STOPPED) && words.any(&owners) {
        return true;
    }
    // An amount of spam, not one message, that came from our account. From our address on the network, it bars us.
    let amounts = [" unusual ", " amount of ", " volume of ", " number of ", " large ", " lots of "];
    let of_account = [" address ", " account ", " mailbox ", " login "];
    if words.any(&amounts)
        && words.any(&[" unsolicited ", " spam ", " bulk "])
        && words.near(" from your ", &of_account, 1)
        && !words.any(&[" ip ", " host ", " server "])
    {
        return true;
    }
    // Whoever has to log in first is not blocked.
    let is_off = words.near(" sending ", STOPPED, 0)
        && !words.any(&[" auth", " login ", " log in ", " anonymous "])
        && !from_outside;
    // Once the server has the message, it may have found what it objects to in it.
    if heard == Heard::Elsewhere && refuses_content(words) {
        return false;
    }
    // A firewall stops machines.
    let of_network = words.any(&[" your network ", " your ip ", " your host ", " firewall "]);
    let goes_out = (words.any(OUTWARD) && !of_network) || (at_mail && words.any(&[" account "]));
    is_off || (words.any(STOPPED) && goes_out)
}

/// Returns true if the text says of a user, before any recipient was named, that it is stopped or not yet ready. A server that asked the
/// sender's own server, or that knows nobody of this name, speaks of the sender's address.
fn is_stopped_at_mail(words: &Words) -> bool {
    const USERS: &[&str] = &[" user ", " mailbox ", " login "];
    const NOT_READY: &[&str] =
        &[" not activated ", " not active ", " not yet active ", " not confirmed ", " not verified ", " inactive "];
    const ASKED: &[&str] = &[" verification ", " verify ", " verifying ", " unverified ", " be verified ", " callout "];
    if words.any(ASKED) || words.any(&[" sender address ", " recipient", " not exist "]) {
        return words.near(" sender ", &[" suspended ", " disabled ", " deactivated "], 2);
    }
    words.near(" sender ", &[" suspended ", " disabled ", " deactivated "], 2)
        || USERS.iter().any(|user| words.near(user, STOPPED, 3))
        || words.near(" account ", NOT_READY, 2)
}

/// Returns true if what the sender pays for has ended.
fn has_expired(words: &Words) -> bool {
    const PAID: &[&str] = &[" subscription ", " plan ", " trial ", " abonnement "];
    const ENDED: &[&str] = &[" expired ", " ended ", " lapsed ", " udløbet ", " abgelaufen ", " expiré "];
    [" your ", " dit ", " ihr ", " votre "].iter().any(|your| words.near(your, PAID, 3))
        && PAID.iter().any(|paid| words.near(paid, ENDED, 2))
        && !names_content(words)
}

/// Words for senders whom a recipient does not hear.
const FROM_OUTSIDE: &[&str] = &[
    " external ",
    " outside",
    " internet ",
    " other ",
    " others ",
    " unknown ",
    " non ",
    " nonmember",
    " unauthenticated ",
    " anonymous ",
    " strangers ",
];

/// Returns true if the text says of an account what is also said of messages: `your mailbox is in quarantine`, `the user is prevented from
/// sending`.
fn is_held_back(words: &Words) -> bool {
    const HOLDERS: &[&str] = &[" account ", " mailbox ", " user ", " sender ", " customer ", " domain ", " you "];
    const OURS: &[&str] = &[" your account ", " your mailbox ", " your domain ", " sender account "];
    const HELD: &[&str] = &[" prevented ", " quarantine"];
    const FROM_SENDING: &[&str] =
        &[" prevented from sending ", " prevented from relaying ", " prevented from submitting "];
    let messages = [" message ", " mail ", " email ", " e mail ", " attachment "];
    let sources = [" from your ", " from account ", " from user ", " from this ", " of your "];
    let is_message = |noun: &&str| {
        (words.near(noun, HELD, 3) && !words.near(noun, &[" account "], 0)) || words.near(noun, &sources, 0)
    };
    !messages.iter().any(is_message)
        && (HOLDERS.iter().any(|holder| words.near(holder, FROM_SENDING, 5))
            || OURS.iter().any(|ours| words.near(ours, &[" quarantine ", " quarantined "], 5)))
}

/// Returns true if the text refuses a message for what is in it. A text that also speaks of an account may mean that one.
fn refuses_content(words: &Words) -> bool {
    const HOLDERS: &[&str] =
        &[" account", " user ", " mailbox ", " domain ", " customer", " konto", " kunde", " compte ", " cuenta "];
    refuses_as_spam(words) || (names_content(words) && !words.any(HOLDERS))
}

/// Returns true if the text speaks of what is in a message.
pub fn names_content(words: &Words) -> bool {
    const CONTENT: &[&str] = &[
        " attachment",
        " content ",
        " virus",
        " malware",
        " phish",
        " macro",
        " dlp ",
        " url",
        " link ",
        " links ",
        " header",
        " score",
        " vedhæft",
        " bilag",
        " anhang ",
    ];
    words.any(CONTENT) || finds_spam(words)
}

/// Returns true if what is stopped is a message: `blocked as spam`. A source of spam is an account or a machine.
fn refuses_as_spam(words: &Words) -> bool {
    const SPAM: &[&str] = &[" as spam ", " as junk ", " as unsolicited ", " as phishing ", " som spam ", " als spam "];
    let of_source = SPAM.iter().any(|spam| words.near(spam, &[" source", " sender", " spammer"], 0));
    !of_source && STOPPED.iter().any(|stopped| words.near(stopped, SPAM, 0))
}

/// Returns true if the text says that the account with this name is stopped: `user x has been suspended`, `x: account is blocked`. Somebody
/// who blocks this sender, or a block list that has its name, says nothing of its account.
pub fn named_account_is_stopped(words: &Words, name: &str) -> bool {
    const ACCOUNTS: &[&str] = &["account", "konto", "kontoen", "kontot", "compte", "cuenta", "login"];
    const USERS: &[&str] = &[
        "user",
        "username",
        "mailbox",
        "postkasse",
        "postkassen",
        "postfach",
        "bruger",
        "brugeren",
        "användare",
        "användaren",
        "benutzer",
        "utilisateur",
        "usuario",
        "gebruiker",
    ];
    // What comes from an account is a message.
    const FROM: &[&str] = &["from", "by", "fra", "fraan", "von", "af", "av", "de"];
    let name = Words::of(name);
    let name: Vec<&str> = name.iter().collect();
    if name.is_empty() || words.any(&[" recipient"]) || is_about_sending_to(words) {
        return false;
    }
    let all: Vec<&str> = words.iter().collect();
    (0..all.len()).filter(|at| all[*at..].starts_with(&name)).any(|at| {
        let (before, behind) = (&all[..at], &all[at + name.len()..]);
        let is_account = |word: &&str| ACCOUNTS.contains(word);
        let is_user = |word: &&str| USERS.iter().any(|user| folded(user) == **word);
        // The noun stands before the name or behind it.
        let (before, behind) = match (before, behind) {
            ([before @ .., noun], behind) if is_account(noun) || is_user(noun) => (before, behind),
            (before, [noun, behind @ ..]) if is_account(noun) => (before, behind),
            // Without the noun, a sender may also be blocked by whoever reads the mail, but not suspended.
            ([], behind) if is_suspended(behind) => (before, behind),
            _ => return false,
        };
        !before.last().is_some_and(|word| FROM.contains(word)) && says_it_is_stopped(behind)
    })
}

/// Words between the name of an account and what became of it, in ASCII.
const AUXILIARIES: &[&str] = &[
    "is",
    "was",
    "has",
    "been",
    "currently",
    "temporarily",
    "permanently",
    "put",
    "er",
    "blevet",
    "blev",
    "aer",
    "har",
    "ist",
    "wurde",
    "est",
    "a",
    "ete",
    "esta",
    "ha",
    "sido",
];

/// Returns true if these words, which follow a sender's address, say that it is suspended: nobody says so of what only a reader does not
/// want.
fn is_suspended(words: &[&str]) -> bool {
    const SUSPENDED: &[&str] = &[
        "suspended",
        "disabled",
        "locked",
        "deactivated",
        "frozen",
        "suspenderet",
        "deaktiveret",
        "deaktiviert",
        "suspendu",
        "desactive",
    ];
    words.iter().find(|word| !AUXILIARIES.contains(word)).is_some_and(|word| SUSPENDED.contains(word))
}

/// Returns true if these words, which follow the name of an account, say that it is stopped, and not by another user.
fn says_it_is_stopped(words: &[&str]) -> bool {
    const AS: &[&str] = &[" as ", " som ", " als ", " comme ", " como "];
    const BY: &[&str] = &[" by ", " af ", " av ", " von ", " par ", " por "];
    const OPERATORS: &[&str] = &[" admin", " abuse ", " support ", " provider ", " system ", " us "];
    let auxiliaries = words.iter().take(4).take_while(|word| AUXILIARIES.contains(word)).count();
    let said: Vec<&str> = words[auxiliaries..].iter().take(6).copied().collect();
    let said = format!(" {} ", said.join(" "));
    let stopped = STOPPED.iter().map(|stopped| folded(stopped)).find(|stopped| said.starts_with(&**stopped));
    let Some(stopped) = stopped else { return false };
    // From the space at the end of the word, which the phrase may not have.
    let rest = &said[stopped.trim_end().len()..];
    let rest = &rest[rest.find(' ').unwrap_or(rest.len())..];
    let begins = |phrases: &[&str]| phrases.iter().any(|phrase| rest.starts_with(phrase));
    let by_operator = || BY.iter().any(|by| Words::of(rest).near(by, OPERATORS, 1));
    !begins(AS) && (!begins(BY) || by_operator())
}

/// Returns true if the text names this account. A name without a domain is a common word elsewhere, so it counts only behind the word for
/// an account.
pub fn names_account(words: &Words, name: &str) -> bool {
    const BEFORE: &[&str] = &[
        "user", "username", "account", "login", "mailbox", "sender", "konto", "kontoen", "bruger", "compte", "benutzer",
    ];
    let name = Words::of(name);
    let name = name.iter().collect::<Vec<_>>().join(" ");
    let said = |before: &str| words.any(&[&format!(" {before}{name} ")]);
    !name.is_empty() && if name.contains(' ') { said("") } else { BEFORE.iter().any(|noun| said(&format!("{noun} "))) }
}

/// Returns true if the text speaks of sending *to* a person, a mailbox or a list: `you may not send to this group`. The refusal is that
/// recipient's own.
pub fn is_about_sending_to(words: &Words) -> bool {
    const SENDING: &[&str] = &[" send ", " sending ", " post ", " posting ", " write ", " writing "];
    const RECIPIENTS: &[&str] = &[
        " user",
        " recipient ",
        " mailbox",
        " account ",
        " accounts ",
        " address ",
        " list ",
        " group ",
        " member",
        " person ",
    ];
    // What follows "to" within a few words: "to this", "to a disabled", "to members of".
    let to = [" to this ", " to that ", " to the ", " to a ", " to an ", " to any "];
    let names = || {
        to.iter().any(|to| words.near(to, RECIPIENTS, 2))
            || RECIPIENTS.iter().any(|noun| words.any(&[&format!(" to{noun}")]))
    };
    let stopped = || STOPPED.iter().any(|stopped| words.near(&format!(" to{stopped}"), RECIPIENTS, 0));
    SENDING.iter().any(|sending| words.near(sending, &[" to "], 4))
        && !words.any(&[" due to "])
        && (names() || stopped())
}

/// Returns true if the text says that an account is stopped, without saying whose it is and why. In a refused login it is ours.
pub fn account_is_stopped(words: &Words) -> bool {
    let accounts =
        [" account ", " user ", " mailbox ", " sender ", " login ", " konto ", " kontoen ", " postfach ", " compte "];
    words.close(&accounts, STOPPED, 4)
}
