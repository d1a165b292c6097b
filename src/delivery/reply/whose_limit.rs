//! Finds whose limit a reply speaks of: the sender's account's, or the recipient's mailbox's.

use super::periods::names_period;
use super::words::Words;
use crate::smtp::{EnhancedCode, Reply};

/// Words for a limit on what a recipient receives.
pub(super) const RECEIVING_WORDS: &[&str] = &[
    " receive ",
    " receives ",
    " receiving ",
    " received messages ",
    " messages received ",
    " received too much ",
    " messages on the server ",
    " inbounds ",
    " recipient quota ",
    " recipients domain ",
    " recipient over ",
    // Danish, Swedish, German, French, Spanish.
    " indgående ",
    " modtageren har ",
    " inkommande ",
    " mottagaren har ",
    " eingehende",
    " empfänger hat ",
    " destinataire a ",
    " destinatario ha ",
    " mailbox over ",
    " incoming ",
    " inbound ",
    " recipient has ",
    " recipient exceed",
    " recipient reached ",
    " recipient is ",
    " recipients mailbox",
    " recipients account",
    " the recipient ",
    " to this recipient ",
    " for this recipient ",
    " mail for this user ",
    " messages for this user ",
    " gets too ",
    " to this address ",
    " trying to contact ",
    " trying to reach ",
    " tried to reach ",
];
/// Words for somebody who takes only so much mail. They may also stand beside the number of a message's recipients.
const TAKERS: &[&str] = &[
    " recipient only ",
    " recipient accepts ",
    " recipient takes ",
    " user accepts ",
    " user only ",
    " this group ",
    " this list ",
    " mailing list ",
];
/// Words for what an allowance counts.
pub(super) const MAIL_WORDS: &[&str] =
    &[" message", " mail ", " mails ", " email", " e mail", " msgs ", " recipient", " rcpt"];
/// Words for mail that goes out. Beside a limit, they say whose it is.
const OUTWARD: &[&str] = &[
    " outgoing ",
    " outbound ",
    " sending ",
    " send count ",
    // Danish, Swedish, Norwegian, German, French, Dutch, Spanish, Italian.
    " udgående ",
    " afsendelse",
    " afsendte ",
    " afsenderkvote",
    " sendt ",
    " utskick",
    " udsendte ",
    " udsendelse",
    " utsending ",
    " utgående ",
    " skickade ",
    " skickat ",
    " sändning",
    " ausgehende",
    " postausgang",
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
    " verzend",
    " sendegr",
    " lenvoi ",
    " envío",
    " envio",
    " enviad",
    " invio ",
    " inviati ",
    " inviato ",
    " in uscita ",
    " inviabil",
    " wysłan",
    " wysył",
    " odeslan",
    " odchoz",
    " исходящ",
    " отправк",
    " lähetys",
    " sent items ",
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
/// Words for a speed, or for what a connection may carry.
const COUNTED_SPEED: &[&str] = &[
    " rate ",
    " ratelimit",
    " throttl",
    " frequency ",
    " throughput ",
    " burst ",
    " per session ",
    " per connection ",
    " this session ",
    " one session ",
    " this connection ",
    " one connection ",
    " session limit ",
    " connection limit ",
    " transaction limit ",
    " too many transactions ",
];
/// Words for the sender.
const OURS: &[&str] = &[
    " sender ",
    " this sender ",
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
    " ditt konto ",
    " vous avez ",
    " sie haben ",
    " du har ",
    " afsenderen har ",
    " kontoen har ",
    " avsändaren har ",
    " din kvote ",
];
/// Words for an amount of mail.
const OF_MAIL: &[&str] = &[
    " credit",
    " volume limit",
    " message quota ",
    " message limit",
    " message count ",
    " smtp limit",
    " newsletter limit",
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
    " maillimit",
    " emaillimit",
    " messagelimit",
    " mail allotment ",
    " email allotment ",
    " message allotment ",
    " message cap ",
    " mail cap ",
    " email cap ",
    " volume quota ",
    " email limit",
    " emails limit",
    " quota of mail",
    " quota of messages ",
    // A policy service of Postfix judges the sender: it knows no mailbox.
    " policy rejection ",
];
/// Words for an amount that is too large, in several languages.
const TOO_MANY: &[&str] = &[
    " too many ",
    " for mange ",
    " för många ",
    " zu viele ",
    " trop de ",
    " te veel ",
    " demasiados ",
    " troppi ",
    " troppe ",
];
/// Words for what there is too much of.
pub(super) const MAILS: &[&str] = &[
    " messages ",
    " mails ",
    " emails ",
    " e mails ",
    " msgs ",
    " beskeder ",
    " mejl ",
    " meddelanden ",
    " e poster ",
    " nachrichten ",
    " berichten ",
    " mensajes ",
    " correos ",
    " messaggi ",
];
/// Words for whoever may have an allowance.
const OWNER: &[&str] = &[
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

/// Returns true if the code clearly concerns this recipient: an address that is wrong or unknown, or a mailbox that is
/// full, closed or takes no message of this size (RFC 3463 §3.2–3.3).
pub fn is_about_recipient(reply: &Reply) -> bool {
    // With these codes a server refuses everybody (RFC 7504), whatever the enhanced code says.
    let of_server = matches!(reply.code, 521 | 571);
    !of_server && matches!(reply.enhanced, Some(EnhancedCode(_, 1, 1..=4 | 6 | 10) | EnhancedCode(_, 2, 1..=4)))
}

/// Returns true if the text speaks of what a recipient receives.
pub fn is_about_receiving(words: &Words) -> bool {
    let goes_out = words.any(&[" outgoing ", " outbound "]) && !words.any(&[" receiv", " incoming ", " inbound "]);
    (words.any(RECEIVING_WORDS) || words.any(TAKERS)) && !goes_out
}

/// Returns true if the text speaks of mail that goes out.
pub fn goes_out(words: &Words) -> bool {
    words.any(OUTWARD)
}

/// Returns true if the text speaks to the sender: `you have`, `your account`.
pub fn speaks_to_us(words: &Words) -> bool {
    words.any(&[" you ", " your ", " youve ", " youre ", " din ", " dit ", " sie ", " ihr ", " vous ", " votre "])
}

/// Returns true if the text speaks of a limit on what goes out: `sending limit`, `outgoing message limit`, `limit of sent mails`. Beside the
/// code of a full mailbox, nothing less is about the sender.
pub fn limits_sending(words: &Words) -> bool {
    const OUT: &[&str] = &[
        " sending ",
        " send ",
        " outgoing ",
        " outbound ",
        " submission ",
        " sent ",
        " udgående ",
        " utgående ",
        " ausgehende",
    ];
    const LIMIT: &[&str] = &[" limit", " quota", " allowance", " maximum ", " rate "];
    let of = |limit: &&str| words.near(limit, OUT, 3) && words.any(&[" of ", " for ", " on "]);
    let fails = words.any(&[
        " sending failed ",
        " not sent ",
        " not be sent ",
        " cannot send ",
        " cant send ",
        " unable to send ",
    ]);
    !fails && !is_about_receiving(words) && (OUT.iter().any(|out| words.near(out, LIMIT, 2)) || LIMIT.iter().any(of))
}

/// Returns true for the sender's limit in one word: `dailyrecipientlimitreached`.
fn is_senders_limit(word: &str) -> bool {
    const OF_SENDING: &[&str] = &["send", "outbound", "outgoing", "submission", "daily", "hourly"];
    ["limitreached", "limitexceeded"].iter().any(|limit| word.ends_with(limit))
        && OF_SENDING.iter().any(|sending| word.contains(sending))
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
    /// Anywhere, and the text names our account with its limit.
    OfOurs,
}

/// Returns true if a limit on something that is counted, as the text names one, is the sender's.
pub fn is_the_senders(words: &Words, heard: Heard) -> bool {
    let of_period = names_period(words);
    if words.any(OUTWARD) || heard == Heard::OfOurs || (heard == Heard::AtMail && !words.any(&[" mailbox full "])) {
        return true;
    }
    // The sender's own mailbox is spoken of with a period, the recipient's with its room.
    let is_own = (of_period && words.any(&[" your mailbox ", " your e mail account ", " your email account "]))
        || words.any(&[" for this sender ", " of this sender ", " sent too many ", " of sent ", " of mails sent "]);
    let mailbox = [" mailbox", " over quota ", " postkasse", " indbakke", " brevlåda", " postfach ", " boîte "];
    if words.any(&mailbox) && !is_own {
        return false;
    }
    // A mailbox has no plan.
    if words.any(&[" plan ", " package ", " subscription ", " trial ", " abonnement"]) {
        return true;
    }
    // A quota of mail, not of space, where its owner is nobody who has a mailbox.
    let of_company =
        [" domain ", " customer ", " client ", " plan ", " package ", " subscription ", " organization ", " tenant "];
    if words.any(&[" mail quota ", " email quota ", " e mail quota "]) && words.any(&of_company) {
        return true;
    }
    // At RCPT a user is the recipient, whose mailbox may hold only so many messages (RFC 3463 §3.3, X.2.2).
    let of_user = heard != Heard::AtRcpt && words.any(&[" user "]);
    of_period
        || words.iter().any(is_senders_limit)
        || words.any(COUNTED_SPEED)
        || words.any(OURS)
        || words.any(OF_MAIL)
        || TOO_MANY.iter().any(|too_many| words.near(too_many, MAILS, 2))
        || words.near(" too much ", &[" mail ", " email ", " e mail ", " traffic "], 2)
        // A user's quota is a quota of storage, unless the text says more.
        || (words.any(MAIL_WORDS) && (of_user || words.any(OWNER)) && !words.any(&[" quota"]))
}
