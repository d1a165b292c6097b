//! The settings of onboarding from the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::kept::Shared;
use super::lang::Lang;
use crate::customers::Requirement;
use crate::dkim::{Selector, Signer, SigningKey};
use crate::resolver::update::Updates;
use crate::smtp::{Domain, Mailbox};

/// Everything that the checks, the record tables and the monitor need to know about this installation.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The onboarding directory (`<state_dir>/onboarding`), which has the domains' states, the rotations and the ownership secret.
    pub state_dir: PathBuf,
    /// The tables that have the domains' states and Mailjet's registrations instead, where nodes share them.
    pub shared: Option<Shared>,
    /// The public address that mail is sent from. Customers must allow it.
    pub egress: IpAddr,
    /// The domain that a customer's SPF record must include.
    pub spf_include: Domain,
    /// The label below the customer's domain at which the ownership token is published.
    pub ownership_label: String,
    /// The records of domains that are registered with Mailjet by hand, as customers' files have them.
    pub mailjet: BTreeMap<Domain, MailjetRecords>,
    /// The accounts in which domains are registered over Mailjet's API, by tier.
    pub mailjet_accounts: BTreeMap<String, MailjetAccount>,
    /// The records that Mailjet has issued for each domain over its API. Those of the account that the domain uses come first.
    pub issued: BTreeMap<Domain, Vec<Issued>>,
    /// The zone of webCRM's that has customers' keys, if there is one.
    pub delegation: Option<Delegation>,
    /// The selector of Mailjet's own DKIM signature.
    pub mailjet_selector: String,
    /// The label of the return-path alias that aligns SPF with the From domain, `bnc3`.
    pub return_path_label: String,
    /// The target of the return-path alias.
    pub return_path_target: Domain,
    /// The address for reports in the proposed DMARC record. `None` proposes a record without reports, because nobody would read them
    /// without a configured address.
    pub rua: Option<Mailbox>,
    /// The address at which postbud itself takes reports, if there is one.
    pub report_address: Option<Mailbox>,
    /// The requirements that a domain must meet before it may send bulk mail.
    pub bulk_requires: Vec<Requirement>,
    /// The interval between two checks of a domain that is in order or has been incomplete for a long time.
    pub check_every: Duration,
    /// The interval between two checks while something is missing and the customer is probably working on it.
    pub check_every_while_incomplete: Duration,
    /// How long after the first check or the last change an incomplete domain counts as being worked on.
    pub incomplete_is_recent_for: Duration,
    /// The time limit for a check of one domain. Parts that are not answered by then are unknown.
    pub check_time: Duration,
    /// Each interval is made longer or shorter at random by up to this share of it, from 0 to 1.
    pub jitter: f64,
    /// How long a requirement still counts as verified after its record has vanished.
    pub grace: Duration,
    /// How long the old and the new DKIM key stay published together before the old one is revoked.
    pub rotation_overlap: Duration,
    /// The most changes that are kept in a domain's history. Older ones are dropped.
    pub history: usize,
    /// The time limit for fetching the ownership file, including redirects.
    pub http_timeout: Duration,
    /// True if the ownership file may be at a private or loopback address, for demonstrations and tests without a network.
    pub http_allow_private: bool,
    /// The port for fetching the ownership file over plain HTTP. It is 80 except in demonstrations and tests.
    pub http_port: u16,
    /// The port for fetching the ownership file over HTTPS. It is 443 except in demonstrations and tests.
    pub https_port: u16,
    /// Our template at providers that support Domain Connect. `None` means that no link is offered.
    pub domain_connect: Option<DomainConnect>,
    /// The sender of letters to customers' contacts. `None` means that no letters are sent.
    pub letters_from: Option<Mailbox>,
    /// The language of mails and other texts for customers, unless a command names another.
    pub lang: Lang,
}

impl Settings {
    /// Returns Mailjet's ownership tokens of a domain with their hosts. Any of them proves ownership.
    pub fn mailjets_tokens(&self, domain: &Domain) -> Vec<(String, String)> {
        if let Some(token) = self.mailjet.get(domain).and_then(|records| records.ownership.clone()) {
            // Mailjet looks for the record at mailjet._b68ecbf0.test.dk, even if its console prints the host in another form.
            let start: String = token.chars().take(8).collect();
            return vec![(format!("mailjet._{start}.{domain}"), token)];
        }
        let issued = self.issued.get(domain).into_iter().flatten();
        let mut tokens: Vec<_> = issued.map(|it| (it.token_host.clone(), it.token.clone())).collect();
        tokens.dedup();
        tokens
    }

    /// Returns the values of Mailjet's keys of a domain. The first one is to be published.
    pub fn mailjets_keys(&self, domain: &Domain) -> Vec<&str> {
        match self.mailjet.get(domain).and_then(|records| records.dkim.as_deref()) {
            Some(value) => vec![value],
            None => self.issued.get(domain).into_iter().flatten().map(|it| it.dkim.as_str()).collect(),
        }
    }

    /// Returns the delegation, if it has this selector.
    pub fn delegation_of(&self, selector: &str) -> Option<&Delegation> {
        self.delegation.as_ref().filter(|delegation| delegation.has(selector))
    }

    /// Returns the delegation, if none of a domain's keys has one of its selectors.
    pub(super) fn delegation_to_offer(&self, domain: &Domain, signer: &Signer) -> Option<&Delegation> {
        let is_by_hand = |it: &&Delegation| !signer.profiles_of(domain).any(|key| it.has(key.selector.as_str()));
        self.delegation.as_ref().filter(is_by_hand)
    }
}

/// An account at Mailjet: the API key and its secret, which are also the login of the SMTP route.
#[derive(Clone, PartialEq, Eq)]
pub struct MailjetAccount {
    /// The address of the API, `https://api.mailjet.com`.
    pub api: Url,
    pub key: String,
    /// The secret of the API key.
    pub secret: String,
}

/// The debug text never shows the secret.
impl fmt::Debug for MailjetAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailjetAccount({}, {})", self.api, self.key)
    }
}

/// The records that Mailjet's console shows for a domain. Mailjet generates them; postbud shows them to the customer and checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailjetRecords {
    /// The ownership token. The file is `<token>.txt`, and the TXT host is `mailjet._<its first 8 characters>`.
    pub ownership: Option<String>,
    /// The value of the key record at `mailjet._domainkey`, `k=rsa; p=…`.
    pub dkim: Option<String>,
}

/// The records that Mailjet issues for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// The token that proves ownership.
    pub token: String,
    /// The host of the token's TXT record.
    pub token_host: String,
    /// The value of the record of Mailjet's key.
    pub dkim: String,
}

/// `[dkim.delegation]` of the server file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// webCRM's zone with the keys.
    pub zone: Domain,
    /// The two selectors that sign in turn.
    pub selectors: [Selector; 2],
    /// How long a key signs before the running relay replaces it.
    pub rotate_every: Duration,
    /// The TTL of the keys' records. A new key signs only after DNS has shown it for as long.
    pub ttl: Duration,
    /// Where the zone is kept by dynamic update. `None`: a person puts the zone's lines in place.
    pub updates: Option<Updates>,
}

impl Delegation {
    /// Returns true if keys at this selector are delegated.
    pub fn has(&self, selector: &str) -> bool {
        self.selectors.iter().any(|it| it.as_str().eq_ignore_ascii_case(selector))
    }

    /// Returns the selector that signs next.
    pub fn other(&self, selector: &Selector) -> Selector {
        let [a, b] = &self.selectors;
        if selector == a { b.clone() } else { a.clone() }
    }

    /// Returns the name in the zone to which a customer's alias points. `None` if it would be too long for DNS.
    pub fn target(&self, selector: &str, domain: &Domain) -> Option<Domain> {
        Domain::parse(&format!("{selector}.{domain}.{}", self.zone)).ok()
    }
}

/// Our template and the key that signs links to it.
#[derive(Clone)]
pub struct DomainConnect {
    /// Our id at providers: the domain below which the key's records are published.
    pub provider_id: String,
    pub service_id: String,
    /// The label of the key's records below `provider_id`.
    pub key_host: String,
    pub key: Arc<SigningKey>,
}

impl PartialEq for DomainConnect {
    fn eq(&self, other: &Self) -> bool {
        let names = |it: &Self| (it.provider_id.clone(), it.service_id.clone(), it.key_host.clone());
        names(self) == names(other) && self.key.public_key().ok() == other.key.public_key().ok()
    }
}

/// The debug text never shows the key.
impl fmt::Debug for DomainConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainConnect({}/{})", self.provider_id, self.service_id)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let domain = |name| Domain::parse(name).expect("a constant that is a domain name");
        Settings {
            state_dir: PathBuf::from("state/onboarding"),
            shared: None,
            egress: IpAddr::from([40, 74, 40, 57]),
            spf_include: domain("spf.webcrm.com"),
            ownership_label: "_postbud-challenge".to_owned(),
            mailjet: BTreeMap::new(),
            mailjet_accounts: BTreeMap::new(),
            issued: BTreeMap::new(),
            delegation: None,
            mailjet_selector: "mailjet".to_owned(),
            return_path_label: "bnc3".to_owned(),
            return_path_target: domain("bnc3.mailjet.com"),
            rua: None,
            report_address: None,
            bulk_requires: vec![Requirement::Spf],
            check_every: Duration::from_secs(6 * 3600),
            check_every_while_incomplete: Duration::from_secs(10 * 60),
            incomplete_is_recent_for: Duration::from_secs(14 * 86400),
            check_time: Duration::from_secs(30),
            jitter: 0.2,
            grace: Duration::from_secs(48 * 3600),
            rotation_overlap: Duration::from_secs(10 * 86400),
            history: 200,
            http_timeout: Duration::from_secs(10),
            http_allow_private: false,
            http_port: 80,
            https_port: 443,
            domain_connect: None,
            letters_from: None,
            lang: Lang::Da,
        }
    }
}
