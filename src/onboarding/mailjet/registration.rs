//! The state of a domain in Mailjet's accounts: one JSON file for each domain in `<state_dir>/onboarding/mailjet`, or a row that all nodes
//! share.
//!
//! The file is replaced as a whole, under a lock, because the running relay and commands both write it. A file that cannot be read
//! is an error and is not changed.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::client::{DnsCheck, DnsSettings, RequestError, Sender};
use crate::customers::Requirement;
use crate::onboarding::kept::Texts;
use crate::onboarding::settings::{Issued, MailjetAccount, Settings};
use crate::onboarding::state::written;
use crate::smtp::Domain;
use crate::time::Timestamp;

const VERSION: u32 = 1;

/// The registrations of one domain, by tier.
pub type Registrations = BTreeMap<String, Registration>;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRegistrations {
    version: u32,
    tiers: Registrations,
}

/// A domain in one account. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The API key of the account. With another key the registration starts over.
    pub key: String,
    /// The id of the sender `*@domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<u64>,
    /// The id of the domain's DNS settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<u64>,
    /// The records that the customer publishes for this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Issued>,
    /// True if Mailjet regards the domain as the account's.
    #[serde(default)]
    pub active: bool,
    /// The result of Mailjet's check of the record of its key.
    #[serde(default)]
    pub dkim: MailjetCheck,
    /// The result of Mailjet's check of the SPF record.
    #[serde(default)]
    pub spf: MailjetCheck,
    /// Since when the tier accepts the domain's mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// When Mailjet was last asked to check the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// When Mailjet last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// The problem that stops the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<LastingProblem>,
}

/// The result of Mailjet's check of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "why", rename_all = "lowercase")]
pub enum MailjetCheck {
    /// Mailjet has not checked it yet.
    #[default]
    Unchecked,
    /// The record is right.
    Ok,
    /// The record is missing or wrong, for these reasons from Mailjet. The text may be empty.
    Error(String),
}

/// A problem that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastingProblem {
    /// The latest problem.
    pub problem: RequestError,
    /// When it first occurred.
    pub since: u64,
    /// When it last occurred.
    pub last: u64,
}

impl MailjetCheck {
    /// Reads a status with the errors that came with it.
    fn of(status: &str, errors: &serde_json::Value) -> Self {
        match status.to_ascii_lowercase().as_str() {
            "ok" => MailjetCheck::Ok,
            "error" | "not found" => MailjetCheck::Error(match errors {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(list) => {
                    list.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join("; ")
                }
                _ => String::new(),
            }),
            _ => MailjetCheck::Unchecked,
        }
    }

    /// Replaces the result with a newer one. The reasons stay if the newer one has none.
    fn follow(&mut self, newer: MailjetCheck) {
        let keeps = matches!((&*self, &newer), (MailjetCheck::Error(why), MailjetCheck::Error(new)) if new.is_empty() && !why.is_empty());
        if !keeps {
            *self = newer;
        }
    }
}

impl Registration {
    /// Makes the registration of a domain whose state is unknown.
    pub fn new(account: &MailjetAccount) -> Self {
        Registration { key: account.key.clone(), ..Registration::default() }
    }

    pub fn has_sender(&mut self, sender: &Sender) {
        self.sender = Some(sender.id);
        self.active = sender.is_active();
    }

    /// Stores the DNS settings. An answer with records that could not be published is a problem.
    pub fn has_settings(&mut self, found: &DnsSettings, domain: &Domain) -> Result<(), RequestError> {
        let legal = (8..=63).contains(&found.token.len()) && found.token.bytes().all(|b| b.is_ascii_alphanumeric());
        let host = found.token_host.trim_end_matches('.').to_ascii_lowercase();
        let host = match host.is_empty() {
            true => format!("mailjet._{}.{domain}", found.token.chars().take(8).collect::<String>()),
            false => host,
        };
        if !legal || !host.ends_with(&format!(".{domain}")) || !host.is_ascii() || !found.dkim.contains("p=") {
            let what = "Mailjet's answer is not understood: its records cannot be published";
            return Err(RequestError::NoAnswer(what.to_owned()));
        }
        self.dns = Some(found.id);
        self.issued = Some(Issued { token: found.token.clone(), token_host: host, dkim: found.dkim.trim().to_owned() });
        self.dkim.follow(MailjetCheck::of(&found.dkim_status, &serde_json::Value::Null));
        self.spf.follow(MailjetCheck::of(&found.spf_status, &serde_json::Value::Null));
        Ok(())
    }

    /// Stores the result of a check.
    pub fn was_checked(&mut self, found: &DnsCheck) {
        self.dkim.follow(MailjetCheck::of(&found.dkim_status, &found.dkim_errors));
        self.spf.follow(MailjetCheck::of(&found.spf_status, &found.spf_errors));
    }

    /// Accepts the domain after Mailjet regards it as the account's and has verified everything that the tier requires. It then stays
    /// accepted while it belongs to the account, because the relay's own checks notice records that vanish, with a grace period.
    pub fn judge(&mut self, requires: &[Requirement], now: Timestamp) {
        let is_met = |requirement: &Requirement| match requirement {
            Requirement::Dkim => self.dkim == MailjetCheck::Ok,
            Requirement::Spf => self.spf == MailjetCheck::Ok,
            Requirement::Ownership | Requirement::Dmarc => true,
        };
        match self.active {
            false => self.accepted = None,
            true if self.accepted.is_none() && requires.iter().all(is_met) => self.accepted = Some(now.as_millis()),
            true => {}
        }
    }

    /// Stores the problem that stops the registration.
    pub fn failed(&mut self, problem: RequestError, now: Timestamp) {
        let same = self
            .trouble
            .as_ref()
            .filter(|before| std::mem::discriminant(&before.problem) == std::mem::discriminant(&problem));
        let since = same.map_or(now.as_millis(), |before| before.since);
        self.trouble = Some(LastingProblem { problem, since, last: now.as_millis() });
    }
}

/// The registrations of all domains: a file each, or a row each where nodes share them.
#[derive(Clone, Debug)]
pub struct Store(Texts);

impl Store {
    /// Uses the folder below the onboarding directory, or the shared tables.
    pub fn new(settings: &Settings) -> Self {
        Store(Texts::new("mailjet", settings.state_dir.clone(), settings.shared.clone()))
    }

    /// Loads the registrations of a domain, which are empty if it was never registered.
    pub fn load(&self, domain: &Domain) -> io::Result<Registrations> {
        self.0.read(domain)?.map_or_else(|| Ok(Registrations::new()), |text| self.understood(domain, &text))
    }

    /// Loads those of all domains that have a row, where rows are shared. What cannot be read is left out here.
    pub fn load_rows(&self) -> io::Result<BTreeMap<String, Registrations>> {
        let rows = self.0.read_rows()?;
        let read = |(domain, text): (String, Vec<u8>)| {
            let kept =
                serde_json::from_slice::<StoredRegistrations>(&text).ok().filter(|kept| kept.version == VERSION)?;
            Some((domain, kept.tiers))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Stores the registration of a domain in one tier.
    pub fn keep(&self, domain: &Domain, tier: &str, registration: &Registration) -> io::Result<()> {
        self.0.change(domain, |text| {
            let mut tiers = match text {
                Some(text) => self.understood(domain, &text)?,
                None => Registrations::new(),
            };
            tiers.insert(tier.to_owned(), registration.clone());
            Ok::<_, io::Error>((written(&StoredRegistrations { version: VERSION, tiers })?, ()))
        })
    }

    fn understood(&self, domain: &Domain, text: &[u8]) -> io::Result<Registrations> {
        let invalid = |reason: String| {
            let place = self.0.place(domain);
            let what = format!("{}: {reason}; move the file away to register the domain anew", place.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let kept: StoredRegistrations = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        match kept.version {
            VERSION => Ok(kept.tiers),
            other => Err(invalid(format!("version {other}, and this postbud knows version {VERSION}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_accepted_once_it_is_active_and_what_the_tier_requires_is_in_order() {
        let now = Timestamp::from_millis(7);
        let judged = |active, dkim: &MailjetCheck, spf: &MailjetCheck, requires: &[Requirement]| {
            let mut it = Registration { active, dkim: dkim.clone(), spf: spf.clone(), ..Registration::default() };
            it.judge(requires, now);
            it.accepted.is_some()
        };
        let (ok, bad, unknown) = (MailjetCheck::Ok, MailjetCheck::Error("x".into()), MailjetCheck::Unchecked);
        use Requirement::{Dkim, Dmarc, Ownership, Spf};
        assert!(judged(true, &bad, &unknown, &[Ownership, Dmarc]));
        assert!(!judged(false, &ok, &ok, &[]));
        assert!(judged(true, &ok, &ok, &[Ownership, Spf, Dkim]));
        assert!(!judged(true, &ok, &bad, &[Spf]) && judged(true, &ok, &bad, &[Dkim]));
        assert!(!judged(true, &unknown, &ok, &[Dkim]));
        let mut it = Registration { active: true, accepted: Some(3), dkim: bad, ..Registration::default() };
        it.judge(&[Dkim], now);
        assert_eq!(it.accepted, Some(3), "a record that vanishes is for the relay's own checks");
        it.active = false;
        it.judge(&[], now);
        assert_eq!(it.accepted, None);
    }

    #[test]
    fn an_answer_whose_records_cannot_be_published_is_a_problem() {
        let domain = Domain::parse("test.dk").unwrap();
        let good = DnsSettings {
            id: 7,
            token: "b68ecbf07a1f5b307e60f73762b343b4".into(),
            token_host: "mailjet._b68ecbf0.Test.dk.".into(),
            dkim: "k=rsa; p=AAAA".into(),
            dkim_status: "OK".into(),
            spf_status: "Not found".into(),
            is_checking: false,
        };
        let mut it = Registration::default();
        it.has_settings(&good, &domain).unwrap();
        assert_eq!(it.issued.as_ref().unwrap().token_host, "mailjet._b68ecbf0.test.dk");
        assert_eq!((&it.dkim, &it.spf), (&MailjetCheck::Ok, &MailjetCheck::Error(String::new())));
        let without_host = DnsSettings { token_host: String::new(), ..good.clone() };
        it.has_settings(&without_host, &domain).unwrap();
        assert_eq!(it.issued.as_ref().unwrap().token_host, "mailjet._b68ecbf0.test.dk");
        let before = it.clone();
        for bad in [
            DnsSettings { token: "../x".into(), ..good.clone() },
            DnsSettings { token: String::new(), ..good.clone() },
            DnsSettings { token_host: "mailjet._b68ecbf0.other.dk.".into(), ..good.clone() },
            DnsSettings { dkim: String::new(), ..good.clone() },
        ] {
            assert!(matches!(it.has_settings(&bad, &domain), Err(RequestError::NoAnswer(_))), "{bad:?}");
            assert_eq!(it, before);
        }
    }

    #[test]
    fn registrations_are_kept_by_tier_and_strange_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&Settings { state_dir: dir.path().to_owned(), ..Settings::default() });
        let domain = Domain::parse("test.dk").unwrap();
        assert!(store.load(&domain).unwrap().is_empty());
        let mut one = Registration { key: "k".into(), sender: Some(1), ..Registration::default() };
        one.failed(RequestError::Owned("x".into()), Timestamp::from_millis(5));
        one.failed(RequestError::Owned("y".into()), Timestamp::from_millis(9));
        assert_eq!(one.trouble.as_ref().map(|it| (it.since, it.last)), Some((5, 9)));
        store.keep(&domain, "starter", &one).unwrap();
        store.keep(&domain, "trusted", &Registration::default()).unwrap();
        let kept = store.load(&domain).unwrap();
        assert_eq!((kept.len(), &kept["starter"]), (2, &one));
        std::fs::write(store.0.place(&domain), "{\"version\": 9, \"tiers\": {}}").unwrap();
        assert!(store.keep(&domain, "starter", &one).unwrap_err().to_string().contains("version 9"));
        assert!(store.load(&domain).is_err());
    }
}
