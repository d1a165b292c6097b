//! Finds replies that say that the sender's account may send nothing.

use super::words::Words;

/// Returns true if the sender's account is blocked as a whole: it may send nothing until a person lifts the block.
pub fn account_is_blocked(words: &Words, at_mail: bool) -> bool {
    let stopped = [
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
        // Danish, Swedish, German, French.
        " spærret ",
        " spärrat ",
        " gesperrt ",
        " deaktiviert ",
        " bloqué",
        " désactivé",
    ];
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
    if words.any(&[" for sending "]) && words.close(&[" account ", " user "], &stopped, 4) {
        return true;
    }
    words.any(&stopped) && (words.any(&outward) || (at_mail && words.any(&[" account "])))
}
