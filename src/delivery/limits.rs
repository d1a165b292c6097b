//! Limits that servers name on how much mail an account may send in a period. Servers agree on no code for them, so the words
//! decide, and these differ with every product.

use super::about_us::recipient_is_unknown;
use super::periods::{PERIOD_WORDS, SHORT_PERIOD_WORDS};
use super::words::Words;
use crate::smtp::{EnhancedCode, Reply};

/// A limit on what an account, a domain or an address may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// A limit on the amount of mail in an hour, a day or a longer period. It is used up for a while.
    UsedUp,
    /// A limit on speed: mail comes too fast, or over too many connections.
    TooFast,
}

const SPEED_WORDS: &[&str] = &[
    " rate ",
    " rates ",
    " ratelimit",
    " rate limit",
    " frequency ",
    " throughput ",
    " burst ",
    " minute",
    " minut",
    " min ",
    " second ",
    " seconds ",
    " too fast ",
    " too quick",
    " too rapid",
    " too often ",
    " too frequent",
    " throttl",
    " connection",
    " concurrent ",
    " session",
    " recipients from ",
];
/// Words for a limit on something other than sending.
const CONTENT_WORDS: &[&str] = &[
    " size ",
    " sizes ",
    " space ",
    " storage ",
    " disk ",
    " inbox ",
    " octet",
    " byte",
    " kb ",
    " mb ",
    " gb ",
    " large ",
    " length",
    " line ",
    " lines ",
    " header",
    " attachment",
    " hop ",
    " hops ",
    " loop",
    " lookup",
    " dns ",
    " spf ",
    " dkim ",
    " dmarc ",
    " score",
    " spam threshold ",
    " reputation ",
    " virus",
    " parts ",
    " mime ",
    " nest",
    " links ",
    " urls ",
    " characters ",
];
/// Words for a limit on what a recipient receives.
pub(super) const RECEIVING_WORDS: &[&str] = &[
    " receive ",
    " receives ",
    " receiving ",
    " received messages ",
    " messages received ",
    " received too much ",
    " messages on the server ",
    " recipient quota ",
    " mailbox over ",
    " incoming ",
    " inbound ",
    " recipient has ",
    " recipient is ",
    " recipients mailbox",
    " recipients account",
    " the recipient ",
    " to this recipient ",
    " for this recipient ",
    " mail for this user ",
    " messages for this user ",
    " trying to contact ",
    " trying to reach ",
    " tried to reach ",
];

/// Words for what an allowance counts.
const MAIL_WORDS: &[&str] = &[" message", " mail ", " mails ", " email", " e mail", " msgs ", " recipient", " rcpt"];

/// Returns true if the code clearly concerns this recipient: an address that is wrong or unknown, or a mailbox that is
/// full, closed or takes no message of this size (RFC 3463 §3.2–3.3).
pub fn is_about_recipient(reply: &Reply) -> bool {
    // With these codes a server refuses everybody (RFC 7504), whatever the enhanced code says.
    let of_server = matches!(reply.code, 521 | 571);
    !of_server && matches!(reply.enhanced, Some(EnhancedCode(_, 1, 1..=4 | 6 | 10) | EnhancedCode(_, 2, 1..=4)))
}

/// Returns true if the text speaks of what a recipient receives.
pub fn is_about_receiving(words: &Words) -> bool {
    words.any(RECEIVING_WORDS)
}

/// Where a reply was heard, as far as that tells whose limit it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// At MAIL, before any recipient was named whose limit it could be.
    AtMail,
    /// At RCPT, where a user may be the recipient.
    AtRcpt,
    /// At another command, about the message or the account.
    Elsewhere,
}

/// Returns the limit on sending that the text speaks of, if it does.
pub fn allowance(words: &Words, heard: Heard) -> Option<Allowance> {
    speaks_of_sending(words, heard).then(|| {
        match words.any(SPEED_WORDS) && !words.any(PERIOD_WORDS) && !words.any(&[" quota"]) {
            true => Allowance::TooFast,
            false => Allowance::UsedUp,
        }
    })
}

fn speaks_of_sending(words: &Words, heard: Heard) -> bool {
    if is_about_receiving(words) || finds_spam(words) {
        return false;
    }
    let hurried = [
        " unusual sending ",
        " too fast ",
        " too quick",
        " too rapid",
        " too often ",
        " too frequent",
        " too many connection",
        " too many concurrent ",
        " too many session",
        " too many recipients from ",
        " too many errors ",
        " too many bad commands ",
        " too many invalid recipients ",
        " too many unknown recipients ",
        " too many bad recipients ",
        " too many requests ",
        " slow down ",
        " antiflood ",
        " anti flood ",
        " flood protection ",
        " reconnect to send ",
        " open a new connection ",
        " use a new connection ",
    ];
    let waits =
        words.near(" wait ", &[" sending", " send "], 2) || words.near(" wait ", &[" next message", " next mail"], 5);
    if words.any(&hurried) || waits || words.near(" sent more ", MAIL_WORDS, 1) {
        return true;
    }
    if words.any(CONTENT_WORDS) || recipient_is_unknown(words) {
        return false;
    }
    let of_period = words.any(PERIOD_WORDS) || words.any(SHORT_PERIOD_WORDS);
    // Too much of what is spam is no allowance, unless the text counts mail.
    let counted =
        of_period || words.any(MAIL_WORDS) || words.any(&[" limit", " quota", " rate ", " outgoing ", " outbound "]);
    if words.any(&[" spam ", " junk ", " unsolicited "]) && !counted {
        return false;
    }
    let few = [
        " only ",
        " allowed ",
        " allows ",
        " may send ",
        " have sent ",
        " has sent ",
        " youve sent ",
        " already sent ",
        " send more ",
        " used all ",
        " user sent ",
        " sent message count ",
        " more mail from this sender ",
        " more messages from this sender ",
        " sende flere ",
        " skicka fler ",
        " keine weiteren ",
    ];
    let of_connection = words.any(&[" per connection ", " per session "]);
    if (of_period || of_connection) && words.any(MAIL_WORDS) && words.any(&few) && !words.any(&[" mailbox"]) {
        return true;
    }
    let limited = [
        " exceed",
        " limit",
        " overlimit ",
        " ratelimit",
        " quota",
        " allowance",
        " maximum ",
        " max ",
        " too many ",
        " too much ",
        " too high ",
        " threshold ",
        " at most ",
        " no more ",
        " accepting more ",
        " than allowed ",
        " than permitted ",
        " used up ",
        " exhausted ",
        " throttl",
        " excessive ",
        " not enough ",
        " insufficient ",
        " cap ",
        " run out ",
        " over the permitted ",
        " over the allowed ",
        " finished ",
        " unusually high ",
        " unusually large ",
        " unusual number ",
        " unusual volume ",
        " unusual amount ",
        " high volume ",
        " one message per ",
        " ceiling ",
        // Danish, Swedish, Norwegian, German, French, Dutch, Spanish, Italian.
        "grænse",
        " opbrugt ",
        " brugt op ",
        "kvote ",
        " kontingent",
        " aufgebraucht ",
        " daglige loft ",
        " maksimal",
        " overskred",
        " for mange ",
        "gräns",
        " överskrid",
        " för många ",
        " grense",
        " überschritten ",
        " erreicht ",
        " erschöpft ",
        " zu viele ",
        " zu schnell ",
        " dépassé",
        " depasse",
        " atteint",
        " trop de ",
        " overschreden ",
        " te veel ",
        " excedid",
        " límite",
        " alcanzad",
        " superad",
        " superat",
        " demasiados ",
        " troppi ",
        " troppe ",
        " przekroczon",
    ];
    let used = words.near(" volume ", &[" reached ", " used ", " exceeded ", " exhausted "], 3);
    if !words.any(&limited) && !used && !words.near(" more than ", MAIL_WORDS, 2) {
        return false;
    }
    let outward = [
        " outgoing ",
        " outbound ",
        " sending ",
        // Danish, Swedish, Norwegian, German, French, Dutch, Spanish, Italian.
        " udgående ",
        " afsendelse",
        " sendt ",
        " utgående ",
        " skickade ",
        " skickat ",
        " ausgehende",
        " versand",
        " versendet ",
        " gesendet ",
        " mailversand ",
        " sendelimit",
        " sendekontingent",
        " sortant",
        " envoi ",
        " denvoi ",
        " envois ",
        " envoyé",
        " envoye",
        " uitgaande ",
        " verzonden ",
        " verstuurd ",
        " envío",
        " envio",
        " enviad",
        " invio ",
        " inviati ",
        " wysłan",
        " wysyłan",
        " send limit",
        " send quota",
        " mail send ",
        " submission",
        " relay quota",
        " relay limit",
        " relaying quota",
        " relaying limit",
        " sender has ",
        " sender exceed",
        " sends exceed",
    ];
    if words.any(&outward) || (heard == Heard::AtMail && !words.any(&[" mailbox full "])) {
        return true;
    }
    // The sender's own mailbox is spoken of with a period, the recipient's with its room.
    let is_own = of_period && words.any(&[" your mailbox ", " your e mail account ", " your email account "]);
    if words.any(&[" mailbox", " over quota "]) && !is_own {
        return false;
    }
    let speed = [
        " rate ",
        " ratelimit",
        " throttl",
        " frequency ",
        " throughput ",
        " burst ",
        " per session ",
        " per connection ",
        " session limit ",
        " connection limit ",
        " transaction limit ",
        " too many transactions ",
    ];
    let ours = [
        " sender ",
        " you have ",
        " youve ",
        " you are ",
        " youre ",
        " you reached ",
        " you exceeded ",
        " your account ",
        " your domain ",
        " your ip ",
        " your hourly ",
        " your daily ",
        " your limit ",
        " your plan ",
        " your sending ",
        " you sent ",
        " have sent ",
        " has sent ",
        " sent from ",
        " messages sent ",
        " sent messages ",
        " sent mails ",
        " sent emails ",
        " mails sent ",
        " emails sent ",
        " to send ",
        " can send ",
        " may send ",
        " you send ",
        " smtp user",
        " sasl user",
        " auth user",
        " authenticated user",
    ];
    let of_mail = [
        " credit",
        " volume limit",
        " message quota ",
        " message limit",
        " message count ",
        " mail limit",
        " mailing limit",
        " mail count ",
        " mail volume ",
        " number of posts ",
        " email volume ",
        " plan volume ",
        " traffic limit ",
        " bulk limit ",
        " bandwidth limit ",
        " email limit",
        " emails limit",
        " quota of mail",
        " quota of messages ",
        // A policy service of Postfix judges the sender: it knows no mailbox.
        " policy rejection ",
    ];
    // A quota of mail, not of space, where its owner is nobody who has a mailbox.
    let of_company =
        [" domain ", " customer ", " client ", " plan ", " package ", " subscription ", " organization ", " tenant "];
    if words.any(&[" mail quota ", " email quota ", " e mail quota "]) && words.any(&of_company) {
        return true;
    }
    // At RCPT a user is the recipient, whose mailbox may hold only so many messages (RFC 3463 §3.3, X.2.2).
    let of_user = heard != Heard::AtRcpt && words.any(&[" user "]);
    let owner = [
        " account",
        " domain",
        " customer ",
        " client",
        " ip ",
        " host",
        " subscription ",
        " plan ",
        " package ",
        " trial ",
    ];
    of_period
        || words.any(&speed)
        || words.any(&ours)
        || words.any(&of_mail)
        || words.near(" too many ", &[" messages ", " mails ", " emails ", " e mails ", " msgs "], 2)
        || words.near(" too much ", &[" mail ", " email ", " e mail ", " traffic "], 2)
        // A user's quota is a quota of storage, unless the text says more.
        || (words.any(MAIL_WORDS) && (of_user || words.any(&owner)) && !words.any(&[" quota"]))
}

/// Returns true if the text takes this message for spam, whatever else it says. An amount of spam is another matter.
fn finds_spam(words: &Words) -> bool {
    let spam = [" spam ", " junk ", " unsolicited "];
    let counted = [
        " limit reached ",
        " limit exceeded ",
        " limit has been ",
        " exceeded ",
        " reached ",
        " too many ",
        " too much ",
    ];
    let message = [" message ", " mail ", " email ", " e mail ", " this ", " it ", " content "];
    let verdict =
        [" is ", " as ", " like ", " looks ", " contains ", " detected ", " considered ", " classified ", " marked "];
    words.any(&spam)
        && message.iter().any(|message| words.near(message, &verdict, 2))
        && verdict.iter().any(|verdict| words.near(verdict, &spam, 2))
        && !words.any(&counted)
        && !words.any(PERIOD_WORDS)
}

/// Returns true if a login was refused because the account's allowance is used up. Some providers know no other place to say so.
/// The right login is refused, so nothing is wrong with it. A limit on logins and attempts is another matter.
pub fn refuses_login_for_allowance(words: &Words) -> bool {
    let of_logins = [" attempt", " login", " logon", " log in", " sign in", " password", " credential", " tries "];
    // Too fast may be said of logins. Of mail, it is about sending.
    let of_mail = [" send ", " sending ", " messages ", " mails ", " emails ", " e mails "];
    match allowance(words, Heard::Elsewhere) {
        Some(Allowance::UsedUp) => !words.any(&of_logins),
        Some(Allowance::TooFast) => !words.any(&of_logins) && words.any(&of_mail),
        None => false,
    }
}
