//! What onboarding is told by configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::text::Lang;
use crate::customers::Requirement;
use crate::smtp::{Domain, Mailbox};

/// Everything the checks, the tables and the monitor need to know about this installation.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Verdicts with their history, rotations and the ownership secret are kept below this directory (`<state_dir>/onboarding`).
    pub state_dir: PathBuf,
    /// The public address mail leaves from; customers allow it.
    pub egress: IpAddr,
    /// What a customer's SPF record has to include.
    pub spf_include: Domain,
    /// The label under the customer's domain that holds the ownership token.
    pub ownership_label: String,
    /// What Mailjet has given out, domain by domain.
    pub mailjet: BTreeMap<Domain, MailjetRecords>,
    /// The selector of Mailjet's own DKIM signature.
    pub mailjet_selector: String,
    /// The label of the return-path alias that aligns SPF with the From domain, `bnc3`.
    pub return_path_label: String,
    /// Where that alias points.
    pub return_path_target: Domain,
    /// Where the proposed DMARC record sends its reports; `None` proposes `dmarc@` in the customer's own domain.
    pub rua: Option<Mailbox>,
    /// What a domain must have before it may send bulk mail (the guide: SPF).
    pub bulk_requires: Vec<Requirement>,
    /// Between two checks of a domain that is in order, or has been incomplete for long.
    pub check_every: Duration,
    /// Between two checks while something is missing and the customer is likely to be working on it.
    pub check_every_while_incomplete: Duration,
    /// For how long after the first check, or after the last change seen, an incomplete domain counts as being worked on.
    pub incomplete_is_recent_for: Duration,
    /// A check of one domain ends after this long; what was not answered by then is unknown.
    pub check_time: Duration,
    /// Each interval is stretched or shrunk at random by up to this share of it, 0 to 1.
    pub jitter: f64,
    /// How long something that was verified stays so after its record vanished.
    pub grace: Duration,
    /// How long the old and the new DKIM key stay published together before the old one is revoked.
    pub rotation_overlap: Duration,
    /// Changes kept in a domain's history; older ones are dropped.
    pub history: usize,
    /// For fetching the ownership file, redirects included.
    pub http_timeout: Duration,
    /// Whether the ownership file may lie at a private or loopback address: for demonstrations and tests without a network.
    pub http_allow_private: bool,
    /// The port the ownership file is asked for at over plain HTTP: 80 outside demonstrations and tests.
    pub http_port: u16,
    /// The same for HTTPS: 443.
    pub https_port: u16,
    /// The language of mail texts and of what customers read, unless a command says otherwise.
    pub lang: Lang,
}

/// What Mailjet's console shows for a domain. Mailjet generates both; postbud only passes them on and checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailjetRecords {
    /// The ownership token: the file is `<token>.txt`, the TXT host `mailjet._<its first 8 characters>`.
    pub ownership: Option<String>,
    /// The value of the key record at `mailjet._domainkey`, `k=rsa; p=…`.
    pub dkim: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let domain = |name| Domain::parse(name).expect("a constant that is a domain name");
        Settings {
            state_dir: PathBuf::from("state/onboarding"),
            egress: IpAddr::from([40, 74, 40, 57]),
            spf_include: domain("spf.webcrm.com"),
            ownership_label: "_postbud-challenge".to_owned(),
            mailjet: BTreeMap::new(),
            mailjet_selector: "mailjet".to_owned(),
            return_path_label: "bnc3".to_owned(),
            return_path_target: domain("bnc3.mailjet.com"),
            rua: None,
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
            lang: Lang::Da,
        }
    }
}
