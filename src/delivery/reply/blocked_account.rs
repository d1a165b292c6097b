//! Finds replies that say that the sender's account may send nothing.

use super::whose_limit::{Heard, is_about_receiving};
use super::words::Words;

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
    " prevented ",
    " quarantine ",
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
    let ways = [" sending ", " submission ", " smtp "];
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
    let is_stopped = words.near(" account ", STOPPED, 3) && !words.near(" account ", &[" not "], 1) && !of_content;
    if heard == Heard::Elsewhere && is_stopped {
        return true;
    }
    // The server speaks to us.
    let of_ours = [" your account ", " your mailbox ", " your service ", " your subscription "];
    if of_ours.iter().any(|ours| words.near(ours, STOPPED, 5)) && !of_content {
        return true;
    }
    if at_mail && words.near(" sender ", &[" suspended ", " disabled ", " deactivated "], 2) {
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
    // A firewall stops machines.
    let of_network = words.any(&[" your network ", " your ip ", " your host ", " firewall "]);
    let goes_out = (words.any(OUTWARD) && !of_network) || (at_mail && words.any(&[" account "]));
    is_off || (words.any(STOPPED) && goes_out)
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

/// Returns true if the text says that the account with this name is stopped. A recipient may block senders, which says nothing of accounts.
pub fn named_account_is_stopped(words: &Words, name: &str) -> bool {
    const NOUNS: &[&str] =
        &[" account", " user", " mailbox ", " login ", " konto", " bruger", " compte ", " cuenta ", " benutzer"];
    let name: String = Words::of(name).iter().map(|word| format!(" {word}")).collect();
    let name = [&*format!("{name} ")];
    !words.any(&[" recipient"]) && words.close(&name, NOUNS, 2) && words.close(&name, STOPPED, 6)
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
