//! Domains of public mailbox providers. Their DMARC policies and the bulk rules of Gmail, Yahoo and Microsoft forbid mail in
//! their name from anywhere else, and nobody can publish our key there.

use crate::smtp::Domain;

/// Where a provider has the same name under many endings.
const FAMILIES: [&str; 6] = ["hotmail", "outlook", "live", "yahoo", "gmx", "googlemail"];

const NAMES: &[&str] = &[
    "gmail.com",
    "msn.com",
    "ymail.com",
    "rocketmail.com",
    "aol.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "mail.com",
    "web.de",
    "t-online.de",
    "freenet.de",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "fastmail.com",
    "zoho.com",
    "yandex.com",
    "yandex.ru",
    "mail.ru",
    "qq.com",
    "163.com",
    "orange.fr",
    "free.fr",
    "laposte.net",
    "libero.it",
    "seznam.cz",
    "wp.pl",
    "o2.pl",
    "comcast.net",
    "att.net",
    "verizon.net",
    "tutanota.com",
    "tuta.com",
    "hey.com",
    // Denmark and its neighbours.
    "mail.dk",
    "jubii.dk",
    "ofir.dk",
    "mail.tele.dk",
    "post.tele.dk",
    "tdcadsl.dk",
    "stofanet.dk",
    "youmail.dk",
    "email.dk",
    "c.dk",
    "webspeed.dk",
    "get2net.dk",
    "privat.dk",
    "sol.dk",
    "telia.com",
    "comhem.se",
    "bredband.net",
    "online.no",
    "broadpark.no",
    "start.no",
];

/// Whether the domain is such a provider's.
pub fn is_public(domain: &Domain) -> bool {
    let name = domain.as_str();
    let family = |family: &str| {
        name.strip_prefix(family).and_then(|rest| rest.strip_prefix('.')).is_some_and(|ending| {
            !ending.is_empty() && ending.split('.').all(|label| label.len() <= 3) && ending != "dev"
        })
    };
    NAMES.contains(&name) || FAMILIES.iter().any(|name| family(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_providers_are_known_and_companies_are_not() {
        let public = |name| is_public(&Domain::parse(name).unwrap());
        for name in ["gmail.com", "hotmail.com", "Hotmail.DK", "outlook.dk", "yahoo.co.uk", "mail.dk", "gmx.net"] {
            assert!(public(name), "{name}");
        }
        for name in ["test.dk", "live.example.dk", "outlook-partner.dk", "hotmail.company", "mail.test.dk", "yahoo"] {
            assert!(!public(name), "{name}");
        }
    }
}
