//! Finds refusals to relay: the server takes mail for its own domains only, or relays for others than us.

use super::about_us::{NEGATIVE_WORDS, recipient_is_unknown};
use super::words::Words;

/// Returns true if the server says that it does not relay, for us or for anybody.
pub fn does_not_relay(words: &Words) -> bool {
    // These are about an allowance, or about the message's content taken for spam.
    let of_others = [" relay limit", " relay quota", " open relay list", " mailbox "];
    if words.any(&of_others) || recipient_is_unknown(words) {
        return false;
    }
    let relays = words.any(&[
        " relay",
        " rcpthosts ",
        " relais ",
        " weiterleitung ",
        " videresend",
        " vidarebefordr",
        " retransmisi",
    ]);
    let local = [
        " not a local domain ",
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
        " outbound mail not ",
        " we do not forward ",
        " we dont forward ",
        " does not forward mail ",
        " do not forward mail ",
    ];
    let elsewhere = [
        " not served ",
        " not handled ",
        " not hosted ",
        " not allowed ",
        " not accepted ",
        " not local ",
        " not one of ",
    ];
    // The domain's name may come between, and is several words.
    let not_here = [" not served ", " not handled ", " not hosted ", " not local ", " not one of our"];
    let of_domain = !words.any(&[" sender ", " from domain ", " your domain "])
        && (words.close(&[" domain ", " domains "], &elsewhere, 2) || words.near(" domain ", &not_here, 5));
    let only = [" only send to local ", " only accepts mail for ", " accepts mail only for ", " accept mail only for "];
    let forwards = [
        " forwarding denied ",
        " forwarding not ",
        " forwarding is not ",
        " handle mail for ",
        " smarthost ",
        " route mail to ",
        " mail routing ",
        " mail for other domains ",
        " mail for foreign domains ",
        " mail for external domains ",
        " remote delivery ",
        " to remote address",
        " to remote recipient",
        " to remote domain",
        " to external address",
        " to external recipient",
        " to external domain",
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
    // Said of the server's own domain. A person who takes no mail is another matter.
    let not_for = words.any(&[" not accept mail for "])
        && !words.any(&[" user", " recipient", " address", " mailbox", " person", " account"]);
    let locals_only = words.near(" local ", &[" only "], 1);
    if of_domain || not_for || locals_only || words.any(&only) || (words.any(&forwards) && words.any(NEGATIVE_WORDS)) {
        return true;
    }
    (relays && (words.any(NEGATIVE_WORDS) || words.any(&[" require", " only ", " must ", " insecure "])))
        || words.any(&local)
}
