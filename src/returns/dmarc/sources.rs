//! Identifies senders. A few are known by their networks and by the domains with which they sign and bounce. For others, the domain that
//! signed the mail or whose SPF record allows the address is shown, or else only the network.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::report::ReportRecord;
use crate::smtp::Domain;

/// The sender of messages, as far as a report tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The relay's own address.
    Relay,
    /// A sender with a known name.
    Known(KnownService),
    /// The owner of this domain, which signed the mail or allows the address in its SPF record.
    Domain(String),
    /// An unknown sender in this network.
    Network(IpNet),
    /// Nothing is known about the sender.
    Unknown,
    /// All senders that are not counted separately.
    Others,
}

/// A sender with a known name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KnownService {
    Mailjet,
    /// Microsoft 365 and Outlook.com.
    Microsoft365,
    /// Google Workspace and Gmail.
    Google,
}

impl KnownService {
    const ALL: [KnownService; 3] = [KnownService::Mailjet, KnownService::Microsoft365, KnownService::Google];

    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            KnownService::Mailjet => "Mailjet",
            KnownService::Microsoft365 => "Microsoft 365",
            KnownService::Google => "Google",
        }
    }

    fn key(self) -> &'static str {
        match self {
            KnownService::Mailjet => "mailjet",
            KnownService::Microsoft365 => "microsoft365",
            KnownService::Google => "google",
        }
    }

    /// The networks in its SPF record as of November 2026: spf.mailjet.com, spf.protection.outlook.com, _spf.google.com.
    fn networks(self) -> &'static [&'static str] {
        match self {
            KnownService::Mailjet => &["87.253.232.0/21", "185.189.236.0/22", "185.211.120.0/22", "185.250.236.0/22"],
            KnownService::Microsoft365 => &[
                "40.92.0.0/15",
                "40.107.0.0/16",
                "52.100.0.0/15",
                "52.102.0.0/16",
                "52.103.0.0/17",
                "104.47.0.0/17",
                "2a01:111:f400::/48",
                "2a01:111:f403::/49",
                "2a01:111:f403:8000::/51",
                "2a01:111:f403:c000::/51",
                "2a01:111:f403:f000::/52",
            ],
            KnownService::Google => &[
                "35.190.247.0/24",
                "64.233.160.0/19",
                "66.102.0.0/20",
                "66.249.80.0/20",
                "72.14.192.0/18",
                "74.125.0.0/16",
                "108.177.8.0/21",
                "173.194.0.0/16",
                "209.85.128.0/17",
                "216.58.192.0/19",
                "216.239.32.0/19",
                "2001:4860:4000::/36",
                "2404:6800:4000::/36",
                "2607:f8b0:4000::/36",
                "2800:3f0:4000::/36",
                "2a00:1450:4000::/36",
                "2c0f:fb50:4000::/36",
            ],
        }
    }

    /// The domains with which its mail is signed or bounces.
    fn domains(self) -> &'static [&'static str] {
        match self {
            KnownService::Mailjet => &["mailjet.com", "mailjet.net"],
            KnownService::Microsoft365 => &["onmicrosoft.com", "outlook.com", "hotmail.com"],
            KnownService::Google => &["google.com", "gmail.com", "gappssmtp.com"],
        }
    }
}

/// The properties that identify a domain's own mail.
#[derive(Clone, Debug)]
pub struct Marks {
    pub domain: Domain,
    /// True if its mail leaves through Mailjet.
    pub via_mailjet: bool,
    /// The selectors of the keys that we sign its mail with, in lower case.
    pub selectors: Vec<String>,
    /// The label of its return path at Mailjet: `bnc3`.
    pub return_path_label: String,
    /// The selector of Mailjet's key.
    pub mailjet_selector: String,
}

/// Identifies the sender of a record's messages, and tells whether they are ours. `egress` is the relay's address.
pub fn source(record: &ReportRecord, egress: IpAddr, marks: &Marks) -> (Source, bool) {
    let domain = marks.domain.as_str();
    let own = |name: &str| is_within(name, domain);
    let signed_by_us = record.signatures.iter().any(|it| own(&it.domain) && marks.selectors.contains(&it.selector));
    if record.source == Some(egress) {
        return (Source::Relay, true);
    }
    let source = known(record, marks).map(Source::Known).or_else(|| named(record, own));
    let source = source.or_else(|| record.source.map(network)).unwrap_or(Source::Unknown);
    let ours = signed_by_us || (marks.via_mailjet && source == Source::Known(KnownService::Mailjet));
    (source, ours)
}

fn known(record: &ReportRecord, marks: &Marks) -> Option<KnownService> {
    static NETWORKS: LazyLock<Vec<(IpNet, KnownService)>> = LazyLock::new(|| {
        let of =
            |known: KnownService| known.networks().iter().map(move |text| (text.parse().expect("a network"), known));
        KnownService::ALL.into_iter().flat_map(of).collect()
    });
    let by_network = record.source.and_then(|address| {
        let found = NETWORKS.iter().find(|(network, _)| network.contains(&address));
        found.map(|(_, known)| *known)
    });
    if by_network.is_some() {
        return by_network;
    }
    let return_path = format!("{}.{}", marks.return_path_label, marks.domain);
    let is_mailjets = record.envelopes.iter().any(|it| it.passes && it.domain == return_path)
        || record.signatures.iter().any(|it| {
            it.passes && it.selector == marks.mailjet_selector && is_within(&it.domain, marks.domain.as_str())
        });
    if is_mailjets {
        return Some(KnownService::Mailjet);
    }
    // Only a domain whose check passed is evidence.
    let passing = passing(record).collect::<Vec<_>>();
    let signs =
        |known: &KnownService| known.domains().iter().any(|own| passing.iter().any(|name| is_within(name, own)));
    KnownService::ALL.into_iter().find(signs)
}

/// Returns the domain behind the mail, other than the From domain itself.
fn named(record: &ReportRecord, own: impl Fn(&str) -> bool) -> Option<Source> {
    let other = passing(record).find(|name| !own(name) && Domain::parse(name).is_ok())?;
    Some(Source::Domain(organization(other).to_owned()))
}

/// Returns the domains that passed, those of SPF first, because SPF identifies the server.
fn passing(record: &ReportRecord) -> impl Iterator<Item = &str> {
    let envelopes = record.envelopes.iter().filter(|it| it.passes).map(|it| it.domain.as_str());
    envelopes.chain(record.signatures.iter().filter(|it| it.passes).map(|it| it.domain.as_str()))
}

/// Returns the network under which an address is shown: the usual size of one sender's network.
fn network(address: IpAddr) -> Source {
    let network = match address {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).map(|it| IpNet::V4(it.trunc())),
        IpAddr::V6(address) => Ipv6Net::new(address, 48).map(|it| IpNet::V6(it.trunc())),
    };
    network.map_or(Source::Unknown, Source::Network)
}

/// Returns true if a name is `parent` or below it.
pub(super) fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Guesses the registered part of a name from the name itself: the last two labels, or three below endings like `co.uk`. It only groups
/// what is shown; the reporter judges alignment.
pub(super) fn organization(name: &str) -> &str {
    let labels: Vec<usize> = name.rmatch_indices('.').map(|(at, _)| at).take(3).collect();
    let second_level = match labels[..] {
        [last, before, ..] => &name[before + 1..last],
        [last] => &name[..last],
        _ => "",
    };
    let country = labels.first().is_some_and(|last| name.len() - last == 3);
    let is_ending = country
        && (second_level.len() <= 3
            && ["co", "com", "org", "net", "gov", "edu", "ac", "or", "ne"].contains(&second_level));
    match (is_ending, &labels[..]) {
        (true, [_, _, third]) | (false, [_, third, ..]) => &name[third + 1..],
        _ => name,
    }
}

/// Writes a source in its stored form. [`Source::stored`] reads it back.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Relay => f.write_str("relay"),
            Source::Known(known) => f.write_str(known.key()),
            Source::Domain(name) => write!(f, "domain:{name}"),
            Source::Network(network) => write!(f, "network:{network}"),
            Source::Unknown => f.write_str("unknown"),
            Source::Others => f.write_str("others"),
        }
    }
}

impl Source {
    /// Reads a source from its stored form.
    pub fn stored(text: &str) -> Source {
        if let Some(known) = KnownService::ALL.into_iter().find(|known| known.key() == text) {
            return Source::Known(known);
        }
        match text.split_once(':') {
            Some(("domain", name)) => Source::Domain(name.to_owned()),
            Some(("network", network)) => network.parse().map_or(Source::Unknown, Source::Network),
            _ => match text {
                "relay" => Source::Relay,
                "others" => Source::Others,
                _ => Source::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::returns::dmarc::report::{Envelope, Signature};

    fn marks(via_mailjet: bool) -> Marks {
        Marks {
            domain: Domain::parse("test.dk").unwrap(),
            via_mailjet,
            selectors: vec!["postbud-a".to_owned()],
            return_path_label: "bnc3".to_owned(),
            mailjet_selector: "mailjet".to_owned(),
        }
    }

    fn told(
        address: &str,
        signatures: &[(&str, &str, bool)],
        envelopes: &[(&str, bool)],
        via_mailjet: bool,
    ) -> (String, bool) {
        let record = ReportRecord {
            source: address.parse().ok(),
            signatures: signatures
                .iter()
                .map(|(domain, selector, passes)| Signature {
                    domain: (*domain).into(),
                    selector: (*selector).into(),
                    passes: *passes,
                })
                .collect(),
            envelopes: envelopes
                .iter()
                .map(|(domain, passes)| Envelope { domain: (*domain).into(), passes: *passes })
                .collect(),
            ..ReportRecord::default()
        };
        let (source, ours) = source(&record, "40.74.40.57".parse().unwrap(), &marks(via_mailjet));
        assert_eq!(Source::stored(&source.to_string()), source);
        (source.to_string(), ours)
    }

    #[test]
    fn senders_are_told_by_their_networks_keys_and_return_paths() {
        let mailjet = ("mailjet".to_owned(), true);
        assert_eq!(told("40.74.40.57", &[], &[], false), ("relay".into(), true));
        assert_eq!(told("87.253.233.7", &[], &[], true), mailjet);
        // The customer also uses Mailjet without us.
        assert_eq!(told("87.253.233.7", &[], &[], false), ("mailjet".into(), false));
        assert_eq!(told("192.0.2.1", &[], &[("bnc3.test.dk", true)], true), mailjet);
        assert_eq!(told("192.0.2.1", &[("test.dk", "mailjet", true)], &[], true), mailjet);
        assert_eq!(told("192.0.2.1", &[("test.dk", "mailjet", false)], &[], true).0, "network:192.0.2.0/24");
        // With the customer's own server, our signature identifies our mail, even if it no longer verifies.
        assert_eq!(told("40.107.5.6", &[("test.dk", "postbud-a", false)], &[], false), ("microsoft365".into(), true));
        assert_eq!(told("40.107.5.6", &[("test.dk", "selector1", true)], &[], false), ("microsoft365".into(), false));
        assert_eq!(told("2a00:1450:4864:20::3", &[], &[], false).0, "google");
    }

    #[test]
    fn others_are_named_by_what_passed_and_never_by_what_failed() {
        assert_eq!(told("192.0.2.1", &[], &[("em12.mail.sendgrid.net", true)], false).0, "domain:sendgrid.net");
        assert_eq!(
            told("192.0.2.1", &[("news.shop.co.uk", "s", true)], &[("x.dk", false)], false).0,
            "domain:shop.co.uk"
        );
        assert_eq!(
            told("192.0.2.1", &[("google.com", "s", false)], &[("google.com", false)], false).0,
            "network:192.0.2.0/24"
        );
        assert_eq!(told("2001:db8:1:2::3", &[], &[("mail.test.dk", true)], false).0, "network:2001:db8:1::/48");
        assert_eq!(told("nonsense", &[], &[], false), ("unknown".into(), false));
        assert_eq!(told("192.0.2.1", &[], &[("x\u{202e}y.dk", true)], false).0, "network:192.0.2.0/24");
    }

    #[test]
    fn organizations_are_guessed_for_showing() {
        for (name, organization_of_it) in [
            ("a.b.test.dk", "test.dk"),
            ("test.dk", "test.dk"),
            ("dk", "dk"),
            ("a.test.co.uk", "test.co.uk"),
            ("test.co.uk", "test.co.uk"),
            ("a.b.com", "b.com"),
            ("mail.com.br", "mail.com.br"),
            ("", ""),
        ] {
            assert_eq!(organization(name), organization_of_it, "{name}");
        }
    }
}
