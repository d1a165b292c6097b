//! Domains where anybody can get a mailbox: Gmail, Hotmail, the mail services of Internet providers. This is the only list of them.
//!
//! Customers cannot publish our key in such a domain, and the DMARC policies of these providers and the bulk rules of Gmail, Yahoo
//! and Microsoft forbid other servers to send mail from it. So a new customer cannot use one as a From domain, and submission refuses
//! bulk mail from one.

use crate::smtp::Domain;

/// Brands that own their name under every country's ending: `yahoo.de`, `hotmail.co.uk`.
const FAMILIES: [&str; 5] = ["gmx", "googlemail", "hotmail", "windowslive", "yahoo"];

/// All other domains, sorted for the binary search. Other companies use the words `live` and `outlook` too, so the list has the
/// endings where Microsoft gives out mailboxes.
const DOMAINS: [&str; 202] = [
    "126.com",
    "163.com",
    "abv.bg",
    "aim.com",
    "alice.it",
    "aol.co.uk",
    "aol.com",
    "aol.de",
    "aol.fr",
    "arcor.de",
    "att.net",
    "azet.sk",
    "bellsouth.net",
    "bigpond.com",
    "bk.ru",
    "bluewin.ch",
    "blueyonder.co.uk",
    "bol.com.br",
    "bredband.net",
    "broadpark.no",
    "btinternet.com",
    "c.dk",
    "centrum.cz",
    "charter.net",
    "citromail.hu",
    "comcast.net",
    "comhem.se",
    "cox.net",
    "daum.net",
    "duck.com",
    "earthlink.net",
    "email.com",
    "email.cz",
    "email.de",
    "email.dk",
    "fastmail.com",
    "fastmail.fm",
    "foxmail.com",
    "free.fr",
    "freemail.hu",
    "freenet.de",
    "get2net.dk",
    "gmail.com",
    "hanmail.net",
    "hetnet.nl",
    "hey.com",
    "hispeed.ch",
    "home.nl",
    "hushmail.com",
    "icloud.com",
    "inbox.ru",
    "interia.pl",
    "internet.ru",
    "inwind.it",
    "jubii.dk",
    "jubiimail.dk",
    "keemail.me",
    "kpnmail.nl",
    "laposte.net",
    "libero.it",
    "list.ru",
    "live.at",
    "live.be",
    "live.ca",
    "live.cl",
    "live.cn",
    "live.co.kr",
    "live.co.uk",
    "live.co.za",
    "live.com",
    "live.com.ar",
    "live.com.au",
    "live.com.mx",
    "live.com.my",
    "live.com.ph",
    "live.com.pt",
    "live.com.sg",
    "live.de",
    "live.dk",
    "live.fi",
    "live.fr",
    "live.hk",
    "live.ie",
    "live.in",
    "live.it",
    "live.jp",
    "live.nl",
    "live.no",
    "live.ru",
    "live.se",
    "mac.com",
    "mail.com",
    "mail.de",
    "mail.dk",
    "mail.ru",
    "mail.tele.dk",
    "mailbox.org",
    "me.com",
    "msn.com",
    "myyahoo.com",
    "naver.com",
    "neuf.fr",
    "ntlworld.com",
    "o2.pl",
    "ofir.dk",
    "onet.pl",
    "online.no",
    "op.pl",
    "optonline.net",
    "optusnet.com.au",
    "orange.fr",
    "outlook.at",
    "outlook.be",
    "outlook.cl",
    "outlook.co.id",
    "outlook.co.il",
    "outlook.co.th",
    "outlook.com",
    "outlook.com.ar",
    "outlook.com.au",
    "outlook.com.br",
    "outlook.com.gr",
    "outlook.com.tr",
    "outlook.com.vn",
    "outlook.cz",
    "outlook.de",
    "outlook.dk",
    "outlook.es",
    "outlook.fr",
    "outlook.hu",
    "outlook.ie",
    "outlook.in",
    "outlook.it",
    "outlook.jp",
    "outlook.kr",
    "outlook.lv",
    "outlook.my",
    "outlook.ph",
    "outlook.pt",
    "outlook.sa",
    "outlook.sg",
    "outlook.sk",
    "planet.nl",
    "pm.me",
    "post.cz",
    "post.tele.dk",
    "posteo.de",
    "privat.dk",
    "proton.me",
    "protonmail.ch",
    "protonmail.com",
    "qq.com",
    "rambler.ru",
    "rediffmail.com",
    "rocketmail.com",
    "rogers.com",
    "sbcglobal.net",
    "seznam.cz",
    "sfr.fr",
    "shaw.ca",
    "sina.cn",
    "sina.com",
    "skynet.be",
    "sohu.com",
    "sol.dk",
    "start.no",
    "stofanet.dk",
    "sympatico.ca",
    "t-online.de",
    "talktalk.net",
    "tdcadsl.dk",
    "telenet.be",
    "telia.com",
    "terra.com.br",
    "tin.it",
    "tiscali.co.uk",
    "tiscali.it",
    "tuta.com",
    "tuta.io",
    "tutamail.com",
    "tutanota.com",
    "tutanota.de",
    "ukr.net",
    "uol.com.br",
    "verizon.net",
    "virgilio.it",
    "virginmedia.com",
    "wanadoo.fr",
    "web.de",
    "webspeed.dk",
    "wp.pl",
    "xs4all.nl",
    "ya.ru",
    "yandex.com",
    "yandex.ru",
    "yeah.net",
    "ymail.com",
    "youmail.dk",
    "ziggo.nl",
    "zoho.com",
    "zohomail.com",
    "zohomail.eu",
];

/// Returns true if anybody can get a mailbox in `domain`.
pub fn is_public_mailbox(domain: &Domain) -> bool {
    let name = domain.as_str();
    DOMAINS.binary_search(&name).is_ok() || FAMILIES.iter().any(|family| is_of_family(name, family))
}

/// Returns true if the name is the brand with the ending of a country or an old general ending: `dk`, `com`, `co.uk`. Newer
/// endings are longer than three letters, except `dev`.
fn is_of_family(name: &str, family: &str) -> bool {
    let ending = name.strip_prefix(family).and_then(|rest| rest.strip_prefix('.'));
    ending.is_some_and(|ending| ending != "dev" && ending.split('.').all(|label| label.len() <= 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(name: &str) -> bool {
        is_public_mailbox(&Domain::parse(name).unwrap())
    }

    #[test]
    fn public_mailboxes_are_known_and_companies_are_not() {
        assert!(DOMAINS.is_sorted(), "for the binary search");
        for name in [
            "gmail.com",
            "Hotmail.DK",
            "hotmail.co.uk",
            "outlook.dk",
            "outlook.fr",
            "live.nl",
            "live.com.au",
            "yahoo.de",
            "yahoo.co.uk",
            "yahoo.com.br",
            "gmx.ch",
            "gmx.net",
            "googlemail.com",
            "tuta.com",
            "tutanota.com",
            "proton.me",
            "mail.dk",
            "mail.tele.dk",
            "post.tele.dk",
            "jubiimail.dk",
            "duck.com",
            "hey.com",
            "bluewin.ch",
            "btinternet.com",
            "zoho.com",
            "seznam.cz",
        ] {
            assert!(public(name), "{name}");
        }
        for name in [
            "test.dk",
            "live.example.dk",
            "live.eu",
            "outlook-partner.dk",
            "hotmail.company",
            "mail.test.dk",
            "yahoo",
            "gmx.dev",
            "tele.dk",
            "mygmail.com",
            "gmail.com.test.dk",
            "news.gmail.com",
        ] {
            assert!(!public(name), "{name}");
        }
    }

    /// Collects every file of Rust code below a folder.
    fn sources(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, found),
                false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
                false => {}
            }
        }
    }

    #[test]
    fn no_other_file_lists_public_mailboxes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        let own = root.join("customers/public_mailboxes.rs");
        assert!(files.contains(&own));
        // Samples and tests in files of their own may name some, and so may the senders that DMARC reports name.
        let others = ["samples.rs", "tests.rs", "returns/dmarc/sources.rs"];
        let is_code = |file: &std::path::Path| !others.iter().any(|other| file.ends_with(other));
        for file in files.iter().filter(|file| **file != own && is_code(file)) {
            let text = std::fs::read_to_string(file).unwrap();
            // Tests may name a few of these domains.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let literals = code.split('"').skip(1).step_by(2);
            let listed: Vec<&str> =
                literals.filter(|text| Domain::parse(text).is_ok_and(|name| is_public_mailbox(&name))).collect();
            assert!(listed.is_empty(), "{} lists {listed:?}", file.display());
        }
    }
}
