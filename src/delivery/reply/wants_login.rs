//! Finds replies that ask for a login or for TLS.

use super::about_us::recipient_is_unknown;
use super::words::Words;

/// Words for the authentication of mail, or for what a distribution list asks of its senders.
const OF_MAIL: &[&str] = &[
    " sender authentication ",
    " email authentication ",
    " unauthenticated email ",
    " unauthenticated mail ",
    " authentication information ",
    " authentication level ",
    " authentication check",
    " spf ",
    " dkim ",
    " dmarc ",
    " resolver rst ",
    " list ",
    " group ",
    " mailbox ",
    " recipient ",
];
/// Words for a login that must come first.
const BEFORE: &[&str] = &[
    " pop before smtp ",
    " pop3 before smtp ",
    " must check your mail ",
    " check your mail first ",
    " unauthenticated sender",
    " unauthenticated client",
    " outgoing mail from unauthenticated ",
    " outbound mail from unauthenticated ",
    " relay for unauthenticated ",
    " submitter failed to authenticate ",
    " client failed to authenticate ",
    " you failed to authenticate ",
    " no anonymous ",
    " anonymous mail not ",
    " log ind for at ",
    " log på for at ",
];
/// Words for a login. They count beside those that ask for it.
const LOGIN: &[&str] = &[
    " authenticat",
    " authentif",
    " authentisier",
    " authentifizier",
    " autentic",
    " autenticat",
    " smtp auth ",
    " auth ",
    " login ",
    " log in ",
    " log on ",
    " log ind ",
    " log på ",
    " anonymous ",
    " logge ind ",
    " logge på ",
    " logga in ",
    " logge inn ",
    " einloggen ",
    " anmeldung ",
];
/// Words that ask for something.
const WANTED: &[&str] = &[
    " require",
    " must ",
    " need",
    " please ",
    " first ",
    " before ",
    " was not ",
    " not authenticated ",
    " not performed ",
    " no valid ",
    " without auth",
    " turned on ",
    " turn on ",
    " enable ",
    " sending disabled ",
    " requis",
    " erforderlich ",
    " zuerst ",
    " bitte ",
    " veuillez ",
    " müssen ",
    " nur mit ",
    " kræve",
    " skal ",
    " først ",
    " måste ",
];

/// Returns true if the server asks for TLS: `STARTTLS is required to send mail`. A version of TLS, and a certificate, are other matters, and
/// so is what a recipient asks for.
pub fn wants_tls(words: &Words) -> bool {
    const TLS: &[&str] = &[" starttls ", " tls ", " ssl ", " encrypted connection ", " secure connection "];
    const WANTED: &[&str] =
        &[" require", " must ", " need", " first ", " erforderlich ", " kræve", " krävs ", " requis"];
    const OF_OTHERS: &[&str] = &[
        " version ",
        " certificate ",
        " cipher",
        " recipient",
        " user",
        " mailbox ",
        " sender ",
        " policy ",
        " mime ",
    ];
    let to_be_used = TLS.iter().any(|tls| words.any(&[&format!(" use{tls}")]));
    (to_be_used || words.close(TLS, WANTED, 3)) && !words.any(OF_OTHERS)
}

/// Returns true if the server asks for a login that it did not get. The mail's own authentication (SPF, DKIM) is another
/// matter, and so is what a distribution list asks of its senders.
pub fn wants_login(words: &Words) -> bool {
    if words.any(OF_MAIL) || words.any(&[" must match "]) || recipient_is_unknown(words) {
        return false;
    }
    let logged_in = [
        " login required ",
        " login is required ",
        " log in first ",
        " log on first ",
        " must log in ",
        " must log on ",
        " not logged in ",
        " not logged on ",
    ];
    words.any(BEFORE) || words.any(&logged_in) || (words.any(LOGIN) && words.any(WANTED))
}
