//! Finds refusals to relay: the server takes mail for its own domains only, or relays for others than us.

use super::about_us::{NEGATIVE_WORDS, recipient_is_unknown};
use super::words::Words;

/// Words of a server that takes mail for its own domains only.
const LOCAL: &[&str] = &[
    " not a local domain ",
    " not a local recipient domain ",
    " not our customer ",
    " domain not local ",
    " domain is not local ",
    " not one of our domains ",
    " not one of my domains ",
    " not our domain ",
    " not a domain of ours ",
    " isnt in my list of ",
    " not in my list of ",
    " domain isnt allowed ",
    " not hosted here ",
    " not hosted on this server ",
    " not handled here ",
    " not handled by this server ",
    " not a gateway ",
    " only deliver to our own ",
    " deliver to our own domains only ",
    " external recipients are not ",
    " remote recipients are not ",
    " remote domains are not ",
    " remote addresses are not ",
    " only local delivery ",
    " only for local ",
    " cannot forward ",
    " not a domain i serve ",
    " not a domain we ",
    " håndteres ikke her ",
    " hostes ikke her ",
    " local delivery only ",
    " forwarding to remote hosts ",
    " not configured as a smarthost ",
    " accept mail for local ",
    " only accept mail for ",
    " not accepting mail for ",
    " to that domain is not accepted ",
    " do not accept mail for this domain ",
    " do not accept mail for that domain ",
    " user not local ",
    " delivery is not allowed to this address ",
    " not serve that domain ",
    " not serve this domain ",
    " dont serve that domain ",
    " dont serve this domain ",
    " outbound mail not ",
    " no outbound ",
    " no outgoing mail ",
    " we do not forward ",
    " we dont forward ",
    " does not forward mail ",
    " do not forward mail ",
];
/// Words for a domain that is not the server's.
const ELSEWHERE: &[&str] = &[
    " not served ",
    " not handled ",
    " not hosted ",
    " not allowed ",
    " not accepted ",
    " not local ",
    " not one of ",
    " isnt served ",
    " isnt handled ",
    " isnt hosted ",
    " isnt local ",
];
/// Words for sending mail on.
const FORWARDS: &[&str] = &[
    " mail gate ",
    " to the internet ",
    " to outside the ",
    " forwarding denied ",
    " forwarding not ",
    " forwarding is not ",
    " handle mail for ",
    " smarthost ",
    " route mail to ",
    " mail routing ",
    " mail for other domains ",
    " mail to other domains ",
    " non local recipient",
    " nonlocal recipient",
    " non local domain",
    " nonlocal domain",
    " non local address",
    " mail for foreign domains ",
    " mail for external domains ",
    " remote delivery ",
    " external delivery ",
    " outbound delivery ",
    " outside delivery ",
    " forwarding to ",
    " to remote address",
    " to remote recipient",
    " to remote domain",
    " to external address",
    " to external recipient",
    " to external domain",
    " to outside address",
    " to outside domain",
    " to outside recipient",
    // Danish, Swedish, German, French.
    " andre domæner ",
    " fremmede domæner ",
    " eksterne ",
    " externa ",
    " andra domäner ",
    " externe ",
    " fremde domains ",
    " domaines externes ",
];

/// Words for "only", beside words for a server's own domains and people.
const ONLY_IN_OTHER_LANGUAGES: &[&str] =
    &[" kun ", " bare ", " endast ", " bara ", " nur ", " alleen ", " seulement ", " solo "];
const OWN_DOMAINS: &[&str] = &[
    " egne domæner ",
    " egne domener ",
    " egna domäner ",
    " eigene domains ",
    " eigenen domains ",
    " eigen domeinen ",
    " lokale modtagere ",
    " lokala mottagare ",
    " lokale empfänger ",
    " lokale ontvangers ",
    " destinataires locaux ",
    " destinatarios locales ",
];

/// Returns true if the server says that it does not relay, for us or for anybody.
pub fn does_not_relay(words: &Words) -> bool {
    if words.any(&[" mx do not point to us "]) {
        return true;
    }
    // These are about an allowance, or about the message's content taken for spam.
    let of_others = [" relay limit", " relay quota", " open relay list", " mailbox ", " moved ", " new address "];
    if words.any(&of_others) || recipient_is_unknown(words) {
        return false;
    }
    let relays = words.any(&[
        " relay",
        " rcpthosts ",
        " relais ",
        " weiterleitung ",
        " weiterleiten ",
        " relæ",
        " relä",
        " videresend",
        " vidarebefordr",
        " retransmisi",
        " reenvío",
        " reenviar ",
    ]);
    // The domain's name may come between, and is several words.
    let not_here = [
        " not served ",
        " not handled ",
        " not hosted ",
        " not local ",
        " not one of our",
        " not ours ",
        " not found on this server ",
        " not found here ",
    ];
    let of_domain = !words.any(&[" sender ", " from domain ", " your domain "])
        && (words.close(&[" domain ", " domains "], ELSEWHERE, 2) || words.near(" domain ", &not_here, 5));
    let only = [
        " only send to local ",
        " only accepts mail for ",
        " only handles mail for ",
        " only handle mail for ",
        " only takes mail for ",
        " accepts mail only for ",
        " accept mail only for ",
    ];
    // Said of the server's own domain. A person who takes no mail is another matter.
    let not_for = words.any(&[" not accept mail for ", " accept no mail for ", " accepts no mail for "])
        && !words.any(&[" user", " recipient", " address", " mailbox", " person", " account"]);
    // For domains that the server does not have, or for its own only.
    let some_domain = [" domain ", " domains "];
    let for_domain = words.near(" mail for ", &some_domain, 3)
        && (words.any(NEGATIVE_WORDS) || words.near(" only ", &[" mail for "], 2))
        || (words.near(" mail only for ", &some_domain, 2));
    let locals_only =
        words.near(" local ", &[" only "], 1) || (words.any(ONLY_IN_OTHER_LANGUAGES) && words.any(OWN_DOMAINS));
    if of_domain
        || not_for
        || for_domain
        || locals_only
        || words.any(&only)
        || (words.any(FORWARDS) && words.any(NEGATIVE_WORDS))
    {
        return true;
    }
    (relays && (words.any(NEGATIVE_WORDS) || words.any(&[" require", " only ", " must ", " insecure ", " check "])))
        || words.any(LOCAL)
}
