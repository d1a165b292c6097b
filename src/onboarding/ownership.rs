//! Proof that a customer controls a domain: a token that only webCRM and the customer know, published in a TXT record or as the
//! name of an empty file on the domain's web server.
//!
//! Our token is an HMAC over customer and domain, with a secret of this installation. It never changes, cannot be guessed, and need not be
//! stored. If Mailjet has issued a token for the domain, that token is used instead, so that one record serves both. If several accounts at
//! Mailjet have issued tokens, any of them is a proof for us, but each account requires its own.

use std::io;
use std::path::Path;

use aws_lc_rs::hmac;

use super::Settings;
use super::fetch::{FetchError, Fetched, Fetcher};
use super::finding::{Check, Finding, Item, Need};
use super::kept::Shared;
use super::misplaced::{doubled, label, wrong_host, zone};
use crate::files::{self, Whole};
use crate::hex::hex;
use crate::message::CustomerId;
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::smtp::Domain;

/// The secret from which tokens are made.
pub struct Secret(hmac::Key);

const SECRET_LEN: usize = 32;
const TOKEN_LEN: usize = 32;

impl Secret {
    /// Makes a secret from given octets. Tests use it to get the same tokens each time.
    pub fn from_octets(octets: &[u8]) -> Self {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, octets))
    }

    /// Reads the file `secret` in the onboarding directory, and makes it on first use. If two processes make it at the same time, both
    /// use the same secret, because an existing file is never replaced.
    pub fn load(dir: &Path) -> io::Result<Self> {
        files::in_state(&[dir], || Secret::load_or_make(dir))
    }

    /// Makes the secret that all nodes share this node's own too. The first node's counts. Blocks.
    pub fn share(dir: &Path, shared: &Shared) -> io::Result<()> {
        Secret::load(dir)?;
        files::in_state(&[dir], || {
            let path = dir.join("secret");
            let own = files::read_state_octets(&path)?;
            let counts = shared.secret(&own)?;
            if counts == own { Ok(()) } else { files::replace(&path, &counts) }
        })
    }

    fn load_or_make(dir: &Path) -> io::Result<Self> {
        let path = dir.join("secret");
        if !path.exists() {
            files::make_private_dir(dir)?;
            let made = Whole::write(dir, &rand::random::<[u8; SECRET_LEN]>(), 0o600, Some(dir))?;
            match made.name(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let octets = files::read_state_octets(&path)?;
        if octets.len() < SECRET_LEN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the ownership secret is too short"));
        }
        Ok(Secret::from_octets(&octets))
    }
}

/// What a customer must publish to prove that it controls a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The host of the TXT record.
    pub host: String,
    /// The value of the TXT record, which is also the file's name without `.txt`.
    pub token: String,
    /// The URL of the file.
    pub url: String,
    /// True if Mailjet issued the token.
    pub by_mailjet: bool,
    /// The hosts and tokens of Mailjet's other accounts.
    pub others: Vec<(String, String)>,
}

impl Challenge {
    /// Makes the challenge for a domain of a customer.
    pub fn new(settings: &Settings, secret: &Secret, customer: &CustomerId, domain: &Domain) -> Self {
        let mut mailjets = settings.mailjets_tokens(domain).into_iter();
        let (host, token, by_mailjet) = match mailjets.next() {
            Some((host, token)) => (host, token, true),
            None => {
                // Neither part can contain a NUL, so two different pairs never give the same text.
                let tag = hmac::sign(&secret.0, format!("ownership\0{customer}\0{domain}").as_bytes());
                let token = hex(tag.as_ref())[..TOKEN_LEN].to_owned();
                (format!("{}.{domain}", settings.ownership_label), token, false)
            }
        };
        let url = format!("http://{domain}/{token}.txt");
        Challenge { host, token, url, by_mailjet, others: mailjets.collect() }
    }

    /// Returns true if a TXT value is the token. Quotation marks and spaces around it are ignored: the token cannot be guessed, so they
    /// do not weaken the proof.
    fn is_met_by(&self, value: &str) -> bool {
        bare(value).eq_ignore_ascii_case(&self.token)
    }

    /// Returns true if a TXT value that is not the token was meant to be the token. A wildcard record can answer for this host with an
    /// SPF record or another service's token, which the customer must not replace.
    fn is_meant_by(&self, value: &str) -> bool {
        let squeezed: String = value.chars().filter(|c| c.is_alphanumeric()).collect();
        let holds_token = squeezed.to_ascii_lowercase().contains(&self.token.to_ascii_lowercase());
        holds_token || !bare(value).contains([' ', '=', ';'])
    }
}

/// Checks the TXT record and the file. One of them is enough.
pub async fn check(
    resolver: &dyn Resolver,
    fetcher: &Fetcher,
    challenge: &Challenge,
    domain: &Domain,
    need: Need,
) -> Check {
    let mut check = Check::new(Item::Ownership, need);
    check.expected = vec![format!("{} TXT \"{}\"", challenge.host, challenge.token), challenge.url.clone()];
    let (others, mut unanswered) = by_other_tokens(resolver, challenge).await;
    match resolver.txt(&challenge.host).await {
        Ok(texts) => check.found.extend(texts.iter().map(|strings| text(strings))),
        Err(error) => unanswered = Some(error),
    }
    let is_met = say_token(&mut check, challenge) || !others.is_empty();
    others.into_iter().for_each(|other| check.say(other));
    if is_met {
        return check;
    }
    for found in check.found.iter().filter(|found| challenge.is_meant_by(found)).cloned().collect::<Vec<_>>() {
        check.say(Finding::OwnershipWrongValue { host: challenge.host.clone(), found });
    }
    if by_file(&mut check, resolver, fetcher, challenge, domain, &mut unanswered).await {
        return check;
    }
    if let Some(reason) = unanswered {
        check.say(Finding::Unanswered { reason });
        return check;
    }
    if !check.findings.iter().any(|finding| matches!(finding, Finding::OwnershipWrongValue { .. })) {
        for host in misplaced(resolver, challenge, domain).await {
            let is_met = |texts: Vec<Vec<Vec<u8>>>| texts.iter().any(|strings| challenge.is_met_by(&text(strings)));
            if resolver.txt(&host).await.is_ok_and(is_met) {
                check.say(wrong_host(resolver, host, &challenge.host).await);
            }
        }
    }
    check.say(Finding::OwnershipMissing {
        host: challenge.host.clone(),
        value: challenge.token.clone(),
        url: challenge.url.clone(),
    });
    check
}

/// Looks for the tokens of Mailjet's other accounts. Returns those that are published, and the error if DNS did not answer.
async fn by_other_tokens(resolver: &dyn Resolver, challenge: &Challenge) -> (Vec<Finding>, Option<resolver::Error>) {
    let (mut found, mut unanswered) = (Vec::new(), None);
    for (host, token) in &challenge.others {
        match resolver.txt(host).await {
            Ok(texts) if texts.iter().any(|strings| bare(&text(strings)).eq_ignore_ascii_case(token)) => {
                found.push(Finding::OwnershipByTxt { host: host.clone() });
            }
            Ok(_) => {}
            Err(error) => unanswered = Some(error),
        }
    }
    (found, unanswered)
}

/// Says that the token is published, if it is among the values that were found. Returns true if so.
fn say_token(check: &mut Check, challenge: &Challenge) -> bool {
    let Some(found) = check.found.iter().find(|found| challenge.is_met_by(found)).cloned() else { return false };
    let host = || challenge.host.clone();
    check.say(Finding::OwnershipByTxt { host: host() });
    if challenge.by_mailjet && !found.eq_ignore_ascii_case(&challenge.token) {
        check.say(Finding::OwnershipUntidy { host: host(), found });
    }
    true
}

/// Looks for the file. Returns true if it proves the ownership. Sets `unanswered` if it is unknown whether the file exists, because a missing
/// TXT record does not mean then that the proof is missing.
async fn by_file(
    check: &mut Check,
    resolver: &dyn Resolver,
    fetcher: &Fetcher,
    challenge: &Challenge,
    domain: &Domain,
    unanswered: &mut Option<resolver::Error>,
) -> bool {
    for scheme in ["http", "https"] {
        let url = challenge.url.replacen("http", scheme, 1);
        match fetcher.empty_file(resolver, &url, domain).await {
            Ok(Fetched::Empty) => {
                check.findings.clear();
                check.say(Finding::OwnershipByFile { url });
                return true;
            }
            Ok(Fetched::NotEmpty) => check.say(Finding::FileNotEmpty { url }),
            Ok(Fetched::Anything) => check.say(Finding::FileAnywhere { url }),
            Err(FetchError::Unanswered(error)) => drop(unanswered.get_or_insert(error)),
            Err(error) => {
                let trouble = finding_about(error, url).filter(|trouble| !repeats(check, trouble));
                trouble.into_iter().for_each(|trouble| check.say(trouble));
            }
        }
    }
    false
}

/// Returns a TXT value as text.
fn text(strings: &[Vec<u8>]) -> String {
    plain::text(&joined(strings))
}

/// Removes what DNS panels, mail programs and text editors leave around a value: quotation marks, backslashes and spaces.
fn bare(value: &str) -> String {
    plain::as_meant(value).trim_matches(['"', '\'', '`', '\\', ' ']).to_owned()
}

/// Returns true if the check already has the same finding for the other scheme (HTTP or HTTPS).
fn repeats(check: &Check, trouble: &Finding) -> bool {
    let Finding::FileNotThere { reason, .. } = trouble else { return false };
    check
        .findings
        .iter()
        .any(|said| matches!(said, Finding::FileNotThere { reason: other, .. } if other.is_like(reason)))
}

/// Returns the hosts where common mistakes put the record: with the zone's name twice, at the domain itself, in the zone instead of
/// the subdomain, or at a wrong form of Mailjet's host.
async fn misplaced(resolver: &dyn Resolver, challenge: &Challenge, domain: &Domain) -> Vec<String> {
    let mut hosts = doubled(resolver, &challenge.host, domain).await;
    hosts.push(domain.to_string());
    if let Some(zone) = zone(resolver, domain.as_str()).await.filter(|zone| zone != domain.as_str()) {
        hosts.push(format!("{}.{zone}", label(&challenge.host, domain.as_str())));
    }
    if challenge.by_mailjet {
        let start: String = challenge.token.chars().take(8).collect();
        hosts.push(format!("mailjet_{start}.{domain}"));
    }
    hosts
}

/// Makes a finding about `url`. Returns `None` if the failure says nothing to the customer.
fn finding_about(error: FetchError, url: String) -> Option<Finding> {
    Some(match error {
        FetchError::NoServer | FetchError::Unanswered(_) => return None,
        FetchError::Private(_) => Finding::FileAddressRefused { url },
        FetchError::Redirect(_) => Finding::FileRedirectRefused { url },
        FetchError::NotThere(reason) => Finding::FileNotThere { url, reason },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::{MailjetRecords, Severity};
    use crate::resolver::{self, FixedZone, Lookup, RecordType};

    fn parts() -> (Settings, Secret, CustomerId, Domain) {
        let customer = CustomerId::new("test-as");
        (Settings::default(), Secret::from_octets(&[7; 32]), customer, Domain::parse("test.dk").unwrap())
    }

    #[test]
    fn a_token_is_stable_and_differs_by_customer_domain_and_installation() {
        let (settings, secret, customer, domain) = parts();
        let one = Challenge::new(&settings, &secret, &customer, &domain);
        assert_eq!(one, Challenge::new(&settings, &secret, &customer, &domain));
        assert_eq!(one.host, "_postbud-challenge.test.dk");
        assert_eq!(one.url, format!("http://test.dk/{}.txt", one.token));
        assert_eq!(one.token.len(), 32);
        let others = [
            Challenge::new(&settings, &Secret::from_octets(&[8; 32]), &customer, &domain),
            Challenge::new(&settings, &secret, &CustomerId::new("other"), &domain),
            Challenge::new(&settings, &secret, &customer, &Domain::parse("test2.dk").unwrap()),
        ];
        assert!(others.iter().all(|other| other.token != one.token));
    }

    #[test]
    fn mailjets_token_takes_the_place_of_ours_at_the_right_host() {
        let (mut settings, secret, customer, domain) = parts();
        let token = "b68ecbf07a1f5b307e60f73762b343b4".to_owned();
        settings.mailjet.insert(domain.clone(), MailjetRecords { ownership: Some(token.clone()), dkim: None });
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        assert_eq!((challenge.host.as_str(), challenge.token), ("mailjet._b68ecbf0.test.dk", token));
    }

    /// A zone in which queries for addresses are not answered.
    struct WithoutAddresses(FixedZone);

    impl Resolver for WithoutAddresses {
        fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
            match record_type {
                RecordType::A | RecordType::Aaaa => {
                    Box::pin(std::future::ready(Err(resolver::Error::Timeout { name: name.to_owned(), record_type })))
                }
                _ => self.0.query(name, record_type),
            }
        }
    }

    #[tokio::test]
    async fn a_name_server_that_does_not_answer_for_the_web_server_is_unknown_and_not_missing() {
        let (settings, secret, customer, domain) = parts();
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        let fetcher = Fetcher::new(&settings);
        let dead = WithoutAddresses(FixedZone::new());
        let check = check(&dead, &fetcher, &challenge, &domain, Need::Required).await;
        assert_eq!(check.severity(), Severity::Unknown, "{:?}", check.findings);
        dead.0.add_txt(&challenge.host, &challenge.token);
        let check = super::check(&dead, &fetcher, &challenge, &domain, Need::Required).await;
        assert_eq!(check.severity(), Severity::Good, "{:?}", check.findings);
    }

    #[tokio::test]
    async fn what_a_wildcard_answers_is_no_wrong_value() {
        let (settings, secret, customer, domain) = parts();
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        let (fetcher, zone) = (Fetcher::new(&settings), FixedZone::new());
        let wrong = async |zone: &FixedZone| {
            let check = check(zone, &fetcher, &challenge, &domain, Need::Required).await;
            assert_eq!(check.severity(), Severity::Fault, "{:?}", check.findings);
            check.findings.iter().filter(|f| matches!(f, Finding::OwnershipWrongValue { .. })).count()
        };
        zone.add_txt(&challenge.host, "v=spf1 -all");
        zone.add_txt(&challenge.host, "google-site-verification=abc");
        assert_eq!(wrong(&zone).await, 0);
        zone.add_txt(&challenge.host, "b68ecbf07a1f5b307e60f73762b343b4");
        assert_eq!(wrong(&zone).await, 1);
    }

    #[tokio::test]
    async fn a_token_is_accepted_with_what_panels_leave_around_it_and_named_where_it_is_torn() {
        let (settings, secret, customer, domain) = parts();
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        let fetcher = Fetcher::new(&settings);
        let said = async |strings: Vec<Vec<u8>>| {
            let zone = FixedZone::new();
            zone.add(&challenge.host, resolver::Record::Txt(strings));
            check(&zone, &fetcher, &challenge, &domain, Need::Required).await.findings
        };
        let proven = [Finding::OwnershipByTxt { host: challenge.host.clone() }];
        for around in [
            "T",
            " T ",
            "\tT\r\n",
            "\"T\"",
            "'T'",
            "`T`",
            "\\\"T\\\"",
            "\"\"T\"\"",
            "\u{201c}T\u{201d}",
            "\u{201d}T\u{201d}",
            "\u{201e}T\u{201c}",
            "\u{2018}T\u{2019}",
            "\u{ab}T\u{bb}",
            "\u{bb}T\u{ab}",
            "\u{ff02}T\u{ff02}",
            "T\u{a0}",
            "\u{a0}T",
            "\u{a0}\"T\"\u{a0}",
            "T\u{202f}",
            "T\u{3000}",
            "T\u{200b}",
            "\u{feff}T",
            "T\u{2060}",
            "\" T \"",
        ] {
            for token in [challenge.token.clone(), challenge.token.to_uppercase()] {
                let value = around.replace('T', &token);
                assert_eq!(said(vec![value.clone().into_bytes()]).await, proven, "{value:?}");
            }
        }
        let latin1 = [challenge.token.as_bytes(), b"\xa0"].concat();
        assert_eq!(said(vec![latin1]).await, proven);
        let (start, end) = challenge.token.split_at(10);
        assert_eq!(said(vec![start.into(), end.into()]).await, proven, "two strings are one value");
        for torn in [
            format!("{start} {end}"),
            format!("{start}\u{a0}{end}"),
            format!("\"{start}\" \"{end}\""),
            format!("{}.txt", challenge.token),
            format!("value={}", challenge.token),
            format!("{} TXT {}", challenge.host, challenge.token),
            format!("{};", challenge.token),
            start.to_owned(),
        ] {
            let found = said(vec![torn.clone().into_bytes()]).await;
            let wrong = Finding::OwnershipWrongValue { host: challenge.host.clone(), found: torn.clone() };
            assert!(found.contains(&wrong), "{torn}: {found:?}");
        }
    }

    #[tokio::test]
    async fn what_mailjet_may_not_read_is_named_and_proves_the_domain_all_the_same() {
        let (mut settings, secret, customer, domain) = parts();
        let token = "b68ecbf07a1f5b307e60f73762b343b4";
        settings.mailjet.insert(domain.clone(), MailjetRecords { ownership: Some(token.to_owned()), dkim: None });
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        for (value, severity) in [(token.to_owned(), Severity::Good), (format!("\"{token}\""), Severity::Warning)] {
            let zone = FixedZone::new();
            zone.add_txt(&challenge.host, &value);
            let check = check(&zone, &Fetcher::new(&settings), &challenge, &domain, Need::Required).await;
            assert_eq!(check.severity(), severity, "{value}: {:?}", check.findings);
            assert!(check.findings.contains(&Finding::OwnershipByTxt { host: challenge.host.clone() }));
        }
    }

    #[tokio::test]
    async fn a_token_at_a_wrong_host_is_named_with_the_right_one() {
        let (settings, secret, customer, _) = parts();
        let domain = Domain::parse("nyhed.sub.dk").unwrap();
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        for wrong in [
            "_postbud-challenge.sub.dk",
            "_postbud-challenge.nyhed.sub.dk.sub.dk",
            "_postbud-challenge.nyhed.sub.dk.nyhed.sub.dk",
            "nyhed.sub.dk",
        ] {
            let zone = FixedZone::parse("sub.dk SOA").unwrap();
            zone.add_txt(wrong, &challenge.token);
            let found = check(&zone, &Fetcher::new(&settings), &challenge, &domain, Need::Required).await.findings;
            let named = Finding::WrongHost {
                found_at: wrong.to_owned(),
                right_host: challenge.host.clone(),
                zone: Some("sub.dk".to_owned()),
            };
            assert!(found.contains(&named), "{wrong}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_token_of_any_letters_is_cut_between_them() {
        let (mut settings, secret, customer, domain) = parts();
        let odd = MailjetRecords { ownership: Some("b68ecbøøø".to_owned()), dkim: None };
        settings.mailjet.insert(domain.clone(), odd);
        let challenge = Challenge::new(&settings, &secret, &customer, &domain);
        assert_eq!(misplaced(&FixedZone::new(), &challenge, &domain).await[2], "mailjet_b68ecbøø.test.dk");
    }

    #[test]
    fn the_secret_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, _, customer, domain) = parts();
        let token = || Challenge::new(&settings, &Secret::load(dir.path()).unwrap(), &customer, &domain).token;
        assert_eq!(token(), token());
        std::fs::write(dir.path().join("secret"), b"short").unwrap();
        assert!(Secret::load(dir.path()).is_err());
    }

    #[test]
    fn a_value_costs_in_proportion_to_its_length() {
        let secret = Secret::from_octets(&[7; 32]);
        let domain = Domain::parse("test.dk").unwrap();
        let challenge = Challenge::new(&Settings::default(), &secret, &CustomerId::new("x"), &domain);
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |strings: &Vec<Vec<u8>>| {
                let value = text(strings);
                challenge.is_met_by(&value);
                challenge.is_meant_by(&value);
            },
            &[
                ("letters", |size| vec![vec![b'a'; size]]),
                ("short strings", |size| vec![b"a".to_vec(); size]),
                ("blanks", |size| vec![vec![b' '; size]]),
                ("quotation marks", |size| vec!["\u{201c}".repeat(size / 3).into_bytes()]),
                ("no UTF-8", |size| vec![vec![0xff; size]]),
            ],
        );
    }
}
