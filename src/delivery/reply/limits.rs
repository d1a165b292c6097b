//! Limits that servers name on how much mail an account may send in a period. Servers agree on no code for them, so the words
//! decide, and these differ with every product.

use super::about_us::recipient_is_unknown;
use super::periods::{names_long_period, names_period};
use super::whose_limit::{Heard, MAIL_WORDS, goes_out, is_about_receiving, is_the_senders};
use super::words::{Words, folded};

/// A limit on what an account, a domain or an address may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// A limit on the amount of mail in an hour, a day or a longer period. It is used up for a while.
    UsedUp,
    /// A limit on speed: mail comes too fast, or over too many connections.
    TooFast,
}

/// Words for a limit on speed.
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
    " connexion",
    " verbindung",
    " forbindelse",
    " anslutning",
    " slower ",
    " concurrent ",
    " session",
    " recipients from ",
    " too much mail from ",
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
    " loop ",
    " loops ",
    " looping ",
    " lookup",
    " dns ",
    " spf ",
    " dkim ",
    " dmarc ",
    " score",
    " spam threshold ",
    " reputation ",
    " virus",
    " malware",
    " phish",
    " parts ",
    " mime ",
    " nest",
    " links ",
    " urls ",
    " characters ",
];
/// Returns the limit on sending that the text speaks of, if it does.
pub fn allowance(words: &Words, heard: Heard) -> Option<Allowance> {
    speaks_of_sending(words, heard).then(|| {
        match words.any(SPEED_WORDS) && !names_long_period(words) && !words.any(&[" quota"]) {
            true => Allowance::TooFast,
            false => Allowance::UsedUp,
        }
    })
}

/// Returns true if the text says that nothing is left of what may be sent: `no messages left in your plan`, `messages per day: 500, used:
/// 500`.
fn has_nothing_left(words: &Words) -> bool {
    const THINGS: &[&str] = &[
        " messages ",
        " mail ",
        " mails ",
        " email",
        " e mails ",
        " sends ",
        " volume ",
        " credit",
        " sending credit",
        " mail credit",
    ];
    const NOTHING: &[&str] = &[" 0 ", " none ", " zero "];
    // A mailbox that nobody used is another matter, and so is a person who left.
    if words.any(&[" mailbox", " unused ", " not used "]) {
        return false;
    }
    let none = (words.near(" no ", THINGS, 1) && words.near(" no ", &[" left ", " remaining ", " remain "], 3))
        || words.near(" no remaining ", THINGS, 1)
        || (words.near(" no more ", THINGS, 0) && names_long_period(words))
        || words.near(" out of ", THINGS, 1);
    let zero = words.any(THINGS)
        && (NOTHING.iter().any(|none| words.near(none, &[" left ", " remaining "], 1))
            || words.near(" remaining ", NOTHING, 3)
            || words.near(" left ", NOTHING, 1));
    let all = words.any(THINGS)
        && (words.any(&[" all used ", " all been used ", " all spent ", " all gone ", " consumed all ", " used all "])
            || (names_long_period(words) && words.near(" used ", DIGITS, 0)));
    none || zero || all
}

/// Words for mail that comes too fast, or over too many connections.
const HURRIED: &[&str] = &[
    " unusual sending ",
    " too fast ",
    " too quick",
    " too rapid",
    " too often ",
    " too frequent",
    " too many connection",
    " too many concurrent ",
    " too many session",
    " too many smtp ",
    " trop de connexions ",
    " zu viele verbindungen ",
    " for mange forbindelser ",
    " för många anslutningar ",
    " again slower ",
    " too many recipients from ",
    " too many errors ",
    " too many bad commands ",
    " too many invalid recipients ",
    " too many unknown recipients ",
    " too many bad recipients ",
    " too many requests ",
    " slow down ",
    " your sending rate ",
    " reduce your rate ",
    " antiflood ",
    " anti flood ",
    " flood protection ",
    " too many simultaneous ",
    " too many parallel ",
    " mail flood",
    " message flood",
    " flood detected ",
    " flooding detected ",
    " reconnect to send ",
    " open a new connection ",
    " use a new connection ",
];
/// What NetEase (163.com, 126.com) says in place of words: the sender's mail of a day, of 15 minutes or of a connection, or its recipients.
const CODES: &[&str] = &[" mi stc ", " mi sfq ", " mi dmc ", " rp trc ", " rp qrc ", " rp drc "];
/// Words for how much may be sent, or was. They count beside a period.
const FEW: &[&str] = &[
    " only ",
    " allowed ",
    " allows ",
    " may send ",
    " can send ",
    " have sent ",
    " has sent ",
    " youve sent ",
    " already sent ",
    " send more ",
    " used all ",
    " brugt alle ",
    " ikke tilladt ",
    " nicht erlaubt ",
    " tillader ",
    " user sent ",
    " plan permits ",
    " sent message count ",
    " mails used ",
    " emails used ",
    " messages used ",
    " more mail from this sender ",
    " more messages from this sender ",
    " sende flere ",
    " skicka fler ",
    " keine weiteren ",
];
/// Words for a limit that is reached.
const LIMITED: &[&str] = &[
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
    " for høj ",
    " för hög ",
    " zu hoch ",
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
    " not sufficient ",
    " cap ",
    " run out ",
    " capped ",
    " over the permitted ",
    " over the allowed ",
    " above the permitted ",
    " above the allowed ",
    " above permitted ",
    " above allowed ",
    " finished ",
    " unusually high ",
    " unusually large ",
    " unusual number ",
    " unusual volume ",
    " unusual amount ",
    " high volume ",
    " one message per ",
    " ceiling ",
    " allotment ",
    " depleted ",
    " consumed ",
    " capacity ",
    // Some write their texts as one word: `mailLimitExceeded`.
    "limitexceeded ",
    "limitreached ",
    "limit ",
    // Danish, Swedish, Norwegian, German, French, Dutch, Spanish, Italian.
    " opbrugt ",
    " brugt op ",
    "kvote ",
    "kvoten ",
    " kontingent",
    " aufgebraucht ",
    " loft ",
    " maksimal",
    " maks ",
    " overskred",
    " for mange ",
    " överskrid",
    " för många ",
    " højeste ",
    " högsta ",
    " høyeste ",
    " überschritten ",
    " erreicht ",
    " erschöpft ",
    " ausgeschöpft ",
    " zu viele ",
    " zu schnell ",
    " dépassé",
    " depasse",
    " atteint",
    " trop de ",
    " overschreden ",
    " te veel ",
    " límite",
    " alcanzad",
    " superad",
    " superat",
    " demasiados ",
    " troppi ",
    " troppe ",
    " cuota ",
    " excedi",
    " massimo ",
    " raggiunt",
    " máximo ",
    " atingi",
    // Polish, Dutch, Finnish, Czech, Russian.
    " przekroczon",
    " limiet",
    "limiet ",
    " ylitetty ",
    " překročen",
    " превышен",
];
/// Words for a limit that are the end of one word, with the name of what is limited before them: `dagsgrænsen`.
const LIMITS_OF_COMPOUNDS: &[&str] = &["grænse", "gräns", "grense"];
/// Words for what is limited or permitted. They may also say who is admitted, so they count beside a number, a period or an account.
const BOUNDED: &[&str] = &[" tilladte ", " begrænset ", " begränsa", " begrenset ", " begrenzt ", " beperkt "];
const ACCOUNTS: &[&str] = &[" konto", " account ", " abonnement"];
/// The beginnings of numbers.
pub(super) const DIGITS: &[&str] = &[" 0", " 1", " 2", " 3", " 4", " 5", " 6", " 7", " 8", " 9"];
/// Words for those who are admitted, behind `limited to`.
const ADMITTED: &[&str] = &[
    " approved ",
    " authenticated ",
    " authorised ",
    " authorized ",
    " clients ",
    " customers ",
    " domains ",
    " employees ",
    " hosts ",
    " internal ",
    " known ",
    " local ",
    " members ",
    " networks ",
    " registered ",
    " senders ",
    " servers ",
    " staff ",
    " trusted ",
    " users ",
];
/// Words for an amount above another one.
const MORE_THAN: &[&str] =
    &[" more than ", " mere end ", " mer än ", " mer enn ", " mehr als ", " meer dan ", " plus de ", " más de "];

fn speaks_of_sending(words: &Words, heard: Heard) -> bool {
    if is_about_receiving(words) || finds_spam(words) {
        return false;
    }
    if has_nothing_left(words) {
        return true;
    }
    let waits =
        words.near(" wait ", &[" sending", " send "], 2) || words.near(" wait ", &[" next message", " next mail"], 5);
    if words.any(HURRIED) || words.any(CODES) || waits || words.near(" sent more ", MAIL_WORDS, 1) {
        return true;
    }
    if words.any(CONTENT_WORDS) || recipient_is_unknown(words) {
        return false;
    }
    let of_period = names_period(words);
    // Too much of what is spam is no allowance, unless the text counts mail.
    let counted =
        of_period || words.any(MAIL_WORDS) || words.any(&[" limit", " quota", " rate ", " outgoing ", " outbound "]);
    if words.any(&[" spam ", " junk ", " unsolicited "]) && !counted {
        return false;
    }
    let of_connection = words.any(&[" per connection ", " per session "]);
    // A mailbox that may send is the sender's.
    let sends = words.any(&[" may send ", " can send ", " has sent "]);
    let is_of_mail = words.any(MAIL_WORDS) && (sends || !words.any(&[" mailbox"]));
    let is_counted = words.any(FEW) || words.has_number_of_number() || words.has_excess();
    if is_of_mail && (of_period || of_connection) && is_counted {
        return true;
    }
    let counts = [" emails sent ", " e mails sent ", " mails sent ", " messages sent "];
    if is_of_mail && words.any(&counts) && words.any(&[" allowed ", " permitted "]) {
        return true;
    }
    let used = words.near(" volume ", &[" reached ", " used ", " exceeded ", " exhausted "], 3)
        || words.near(" over ", &[" volume ", " allowance ", " plan "], 2);
    let more = MORE_THAN.iter().any(|more| words.near(more, MAIL_WORDS, 2))
        || words.near(" above ", DIGITS, 0)
        || (words.near(" more ", MAIL_WORDS, 0) && words.any(&[" than "]));
    // `outgoing: 101/100 per 1h`
    let compared = of_period && goes_out(words) && words.has_count_at_limit();
    if !is_limited(words) && !used && !more && !compared {
        return false;
    }
    is_the_senders(words, heard)
}

/// Returns true if the text has words for a limit. A server that is limited *to somebody* has none.
pub(super) fn is_limited(words: &Words) -> bool {
    let of_period = names_period(words);
    if words.near(" limited to ", ADMITTED, 2) && !of_period && !words.any(&[" you ", " your "]) {
        return false;
    }
    // `begrænset` is no limit, although it has the word in it.
    let is_bound = |word: &str| BOUNDED.iter().any(|bound| word.starts_with(folded(bound).trim()));
    let has_limit = |word: &str| LIMITS_OF_COMPOUNDS.iter().any(|limit| word.contains(&*folded(limit)));
    let is_compound = |word: &str| has_limit(word) && !is_bound(word);
    let is_bounded =
        || words.any(BOUNDED) && (of_period || words.close(BOUNDED, DIGITS, 2) || words.close(BOUNDED, ACCOUNTS, 2));
    words.any(LIMITED) || words.iter().any(is_compound) || is_bounded()
}

/// Returns true if the text counts what the client did wrong in this session.
pub fn counts_errors(words: &Words) -> bool {
    words.near(" too many ", &[" error", " bad ", " invalid ", " unknown "], 1)
}

/// Returns true if a limit that is reached stays so for an hour or longer: it is one of a long period, or of an amount that somebody paid
/// for.
pub fn lasts(words: &Words) -> bool {
    const AMOUNTS: &[&str] =
        &[" quota", "kvote ", "kvoten ", " kontingent", " cuota ", " allowance", " credit", " plan "];
    names_long_period(words) || words.any(AMOUNTS)
}

/// Returns true if the text takes this message for spam, whatever else it says. An amount of spam is another matter.
pub(super) fn finds_spam(words: &Words) -> bool {
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
        && !names_long_period(words)
}

/// Returns true if a login was refused because the account's allowance is used up. Some providers know no other place to say so.
/// The right login is refused, so nothing is wrong with it. A limit on logins and attempts is another matter.
pub fn refuses_login_for_allowance(words: &Words) -> bool {
    let of_logins = [
        " attempt",
        " login",
        " logon",
        " log in",
        " sign in",
        " password",
        " credential",
        " tries ",
        " authentication failures ",
        " auth failures ",
        " failed auth",
    ];
    // Too fast may be said of logins. Of mail, it is about sending.
    let of_mail = [" send ", " sending ", " messages ", " mails ", " emails ", " e mails "];
    match allowance(words, Heard::Elsewhere) {
        Some(Allowance::UsedUp) => !words.any(&of_logins),
        Some(Allowance::TooFast) => !words.any(&of_logins) && words.any(&of_mail),
        None => false,
    }
}
