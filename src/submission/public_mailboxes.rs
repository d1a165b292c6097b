//! Public mailbox services. Their domains publish DMARC policies that no one else can meet, so bulk mail in their name is
//! refused by every large receiver; it is refused here, where the reply reaches the person who chose the From.

use crate::smtp::Domain;

/// Sorted, for the binary search.
const DOMAINS: [&str; 58] = [
    "163.com",
    "aol.com",
    "bluewin.ch",
    "btinternet.com",
    "comcast.net",
    "duck.com",
    "email.dk",
    "fastmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.dk",
    "hotmail.fr",
    "hotmail.no",
    "hotmail.se",
    "icloud.com",
    "jubii.dk",
    "jubiimail.dk",
    "laposte.net",
    "libero.it",
    "live.com",
    "live.dk",
    "live.no",
    "live.se",
    "mac.com",
    "mail.com",
    "mail.dk",
    "mail.ru",
    "mail.tele.dk",
    "me.com",
    "msn.com",
    "ofir.dk",
    "online.no",
    "orange.fr",
    "outlook.com",
    "outlook.dk",
    "pm.me",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rocketmail.com",
    "stofanet.dk",
    "t-online.de",
    "web.de",
    "wp.pl",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.dk",
    "yandex.ru",
    "ymail.com",
];

/// Whether anybody can have a mailbox in `domain`.
pub(super) fn is_public_mailbox(domain: &Domain) -> bool {
    DOMAINS.binary_search(&domain.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_found() {
        assert!(DOMAINS.is_sorted());
        assert!(is_public_mailbox(&Domain::parse("Hotmail.com").unwrap()));
        assert!(!is_public_mailbox(&Domain::parse("acme.dk").unwrap()));
    }
}
