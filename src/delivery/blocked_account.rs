//! Finds replies that say that the sender's account may send nothing.

use super::limits::is_about_receiving;
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
    // Danish, Swedish, German, French.
    " spærret ",
    " spärrat ",
    " gesperrt ",
    " deaktiviert ",
    " bloqué",
    " désactivé",
];

/// Returns true if the sender's account is blocked as a whole: it may send nothing until a person lifts the block.
pub fn account_is_blocked(words: &Words, at_mail: bool) -> bool {
    let outward = [
        " outgoing mail ",
        " outgoing mails ",
        " outgoing email",
        " outgoing e mail ",
        " outgoing message",
        " outgoing smtp ",
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
        " sending paused ",
        " sending e mail ",
        " sending email",
        " sending message",
        " smtp sending ",
        " smtp access ",
        " afsendelse ",
        " udgående ",
        " utgående ",
        " versand ",
        " ausgehende",
        " sortant",
        " denvoi ",
    ];
    let not_for_sending = [" does not allow sending ", " not activated for sending ", " not enabled for sending "];
    let may_not = [" not allowed to send ", " not permitted to send ", " may not send ", " cannot send "];
    if may_not.iter().any(|refusal| words.near(" account ", &[refusal], 1)) || words.any(&not_for_sending) {
        return true;
    }
    if words.any(&[" for sending "]) && words.close(&[" account ", " user "], STOPPED, 4) {
        return true;
    }
    // The account is stopped for what it sent. A recipient's account may be stopped, too, and then nobody speaks of sending.
    let for_spam = [
        " sending of spam ",
        " sending spam ",
        " send spam ",
        " sends spam ",
        " sent spam ",
        " spam sending ",
        " spam was sent ",
        " sending spammy ",
        " spamming ",
        " outgoing spam ",
        " sending bulk ",
        " sending phishing ",
        " sending viruses ",
        " spamversand ",
        " spamudsendelse ",
    ];
    if words.any(&for_spam) && account_is_stopped(words) && !is_about_receiving(words) {
        return true;
    }
    let owners = [" account", " domain ", " user ", " sender ", " plan ", " customer "];
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
    words.any(STOPPED) && (words.any(&outward) || (at_mail && words.any(&[" account "])))
}

/// Returns true if the text says that an account is stopped, without saying whose it is and why. In a refused login it is ours.
pub fn account_is_stopped(words: &Words) -> bool {
    let accounts =
        [" account ", " user ", " mailbox ", " sender ", " login ", " konto ", " kontoen ", " postfach ", " compte "];
    words.close(&accounts, STOPPED, 4)
}
