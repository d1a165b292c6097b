//! All findings of the checks, as data. `super::text` puts them into words in each language; JSON output has them as they are.

mod severity;

use serde::Serialize;

use super::dmarc::Unusable;
use super::dmarc::step::Step as DmarcStep;
use super::fetch::NotThere;
use super::rotation::{Role, Shown};
use super::spf::SyntaxError;
use super::spf::obstacle::Obstacle;
use super::spf::record::Fault;
use crate::delivery::Step;
use crate::dkim::tags::Mistake;
use crate::resolver;

/// An item that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// Bulk mail can be sent from the domain, because it does not belong to a mailbox provider.
    FromDomain,
    /// The customer controls the domain.
    Ownership,
    /// SPF allows our address to send.
    Spf,
    /// Our DKIM key is published.
    Dkim,
    /// Mailjet's account accepts the domain's mail.
    MailjetAccount,
    /// Mailjet's DKIM key is published.
    MailjetDkim,
    /// A DMARC policy applies, and our mail passes it.
    Dmarc,
    /// The alias that aligns Mailjet's return path is published.
    ReturnPath,
    /// The domain can receive mail.
    Mx,
    /// The customer's own server accepts our mail.
    OwnServer,
    /// Mail to people in the customer's own company arrives.
    InternalMail,
}

impl Item {
    /// All items, in the order in which reports show them.
    pub const ALL: [Item; 11] = [
        Item::FromDomain,
        Item::Ownership,
        Item::Spf,
        Item::Dkim,
        Item::MailjetAccount,
        Item::MailjetDkim,
        Item::Dmarc,
        Item::ReturnPath,
        Item::Mx,
        Item::OwnServer,
        Item::InternalMail,
    ];
}

/// How much a customer needs an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// The item is an extra.
    Optional,
    /// Mail arrives better with it.
    Recommended,
    /// Without it no mail, or no bulk mail, is sent.
    Required,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Good,
    /// It works, and there is something to know about it.
    Hint,
    /// It works, and should be corrected.
    Warning,
    /// DNS or the web server did not answer, so nothing is known about the customer's records.
    Unknown,
    /// It does not work.
    Fault,
}

/// One finding of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case", rename_all_fields = "snake_case")]
#[allow(missing_docs, reason = "the fields are names, values and counts that each variant's sentence says")]
pub enum Finding {
    /// DNS did not answer.
    Unanswered { reason: resolver::Error },
    /// The check took too long: name servers or a web server are slow.
    OutOfTime { secs: u64 },
    /// The record is at the wrong host: the zone's name is there twice, or an underscore or a dot is missing.
    WrongHost { found_at: String, right_host: String, zone: Option<String> },

    /// The domain belongs to a public mailbox provider.
    PublicProvider { domain: String },
    /// The domain does not belong to a public mailbox provider.
    OwnDomain { domain: String },

    /// The domain is an alias, so its TXT and MX records are those of another name.
    FromDomainAlias { domain: String, target: String },
    /// The domain has no record of its own: a wildcard answers for it.
    FromDomainWildcard { domain: String },

    /// The TXT record proves ownership.
    OwnershipByTxt { host: String },
    /// The token has quotation marks or spaces around it. We accept it, but it is Mailjet's token, and Mailjet may not.
    OwnershipUntidy { host: String, found: String },
    /// The file proves ownership.
    OwnershipByFile { url: String },
    /// Neither the TXT record nor the file is there.
    OwnershipMissing { host: String, value: String, url: String },
    /// The host has a TXT record with another value.
    OwnershipWrongValue { host: String, found: String },
    /// The file is there, but it is not empty.
    FileNotEmpty { url: String },
    /// The web server has a page for every name, so the file proves nothing.
    FileAnywhere { url: String },
    /// The web server, or the target of a redirect, has a private address.
    FileAddressRefused { url: String },
    /// A redirect leads out of the domain, or there are too many redirects.
    FileRedirectRefused { url: String },
    /// The web server says that there is no file, or it does not answer.
    FileNotThere { url: String, reason: NotThere },

    /// SPF passes for our address.
    SpfPasses { ip: String, lookups: u32 },
    /// The domain has no SPF record.
    SpfMissing { domain: String },
    /// A TXT value was meant to be an SPF record, but receivers do not read it as one.
    SpfNearMiss { text: String },
    /// The domain has more than one SPF record.
    SpfSeveral { domain: String, count: usize },
    /// The record has a term that is not valid.
    SpfSyntax { domain: String, term: String, fault: &'static str },
    /// The record is longer than the longest that is evaluated.
    SpfTooLong { domain: String, octets: usize },
    /// The record has terms that are legal but without effect, and they were meant to have one.
    SpfNoEffect { domain: String, terms: Vec<String> },
    /// A part of the record is read as `meant`.
    SpfMeant { written: String, meant: String },
    /// The record has parts that cannot be read.
    SpfUnread { terms: Vec<String> },
    /// The record has terms after `all`, which receivers ignore.
    SpfAfterAll { domain: String, terms: Vec<String> },
    /// A term (`+all` or a very large network) allows nearly every address.
    SpfEverybody { domain: String, term: String },
    /// The record uses `ptr`, which should not be used.
    SpfPtr { domain: String },
    /// An include or redirect leads back to the record itself.
    SpfLoop { domain: String },
    /// Evaluating the record needs more than ten lookups.
    SpfTooManyLookups { count: u32 },
    /// Evaluating the record needs close to ten lookups.
    SpfNearLookupLimit { count: u32 },
    /// More than two lookups find no address.
    SpfTooManyVoidLookups { count: u32 },
    /// More than two lookups find no address, after the term that allows us. This affects only other senders.
    SpfManyVoidLookups { count: u32 },
    /// An `mx` term has more than ten mail exchangers.
    SpfTooManyExchanges { domain: String },
    /// An included domain has no SPF record.
    SpfIncludeWithoutRecord { domain: String },
    /// An included domain has more than one SPF record.
    SpfIncludeSeveral { domain: String, count: usize },
    /// An included record cannot be used (`none`, `several`, `syntax`, `loop`). It comes after the term that allows us, so this
    /// affects only other senders.
    SpfBeyondUs { domain: String, fault: &'static str },
    /// The record that customers are told to include does not allow our address.
    SpfOursBroken { include: String, ip: String },
    /// The record does not have our include.
    SpfIncludeMissing { include: String },
    /// The record has our include in a place that receivers never reach.
    SpfIncludeShadowed { include: String, by: String },
    /// The record allows our own address, but not Mailjet's addresses.
    SpfAddressOnly { ip: String, include: String },
    /// The proposed record would not work.
    SpfProposalFails { obstacle: Obstacle },
    /// The SPF result for our address is not `pass`.
    SpfDoesNotPass { ip: String, verdict: &'static str },
    /// The customer's own server sends the mail, so only internal mail comes from our address.
    SpfWithoutUs { ip: String },
    /// A usable SPF record for the customer's own server is published.
    SpfUsable { lookups: u32 },

    /// The domain is an alias, so no SPF record can be published there.
    SpfBesideAlias { domain: String, target: String },

    /// The published key is the one that signs.
    DkimGood { host: String },
    /// No key record is published.
    DkimMissing { host: String },
    /// More than one key record is published.
    DkimSeveral { host: String, count: usize },
    /// The published key is another one.
    DkimMismatch { host: String },
    /// The key record has a flaw.
    DkimFlaw { host: String, flaw: DkimFlaw },
    /// The record of a key that does not sign, during a key rotation.
    DkimRotating { host: String, role: Role, shown: Shown },
    /// DNS did not answer about a key that does not sign. The state of the signing keys is known.
    DkimRotatingUnanswered { host: String, reason: resolver::Error },
    /// The file of a key rotation cannot be read.
    DkimRotationUnreadable { reason: String },
    /// Something is wrong with the key of the second signature. `first_known` is true if the first signature is known to verify.
    DkimSecond { said: Box<Finding>, first_known: bool },
    /// The private key cannot be used.
    DkimKeyUnusable { reason: String },
    /// The customer's alias leads to webCRM's zone, but the record there is wrong.
    DelegationZone { host: String, said: Box<Finding> },
    /// The customer's alias does not lead to webCRM's zone.
    DelegationWrong { host: String, found: String, target: String },
    /// The customer has not published the alias of the key that signs.
    DelegationMissing { host: String, target: String },
    /// The customer publishes the key itself in place of the alias.
    DelegationByHand { host: String, target: String },
    /// The customer has not published the alias of the key that signs next.
    DelegationIdle { host: String, target: String },
    /// The customer's keys are published by hand. With this alias and its twin they would change without the customer.
    /// `unanswered` is true if DNS did not answer whether it is there.
    DelegationOffered {
        host: String,
        target: String,
        #[serde(skip)]
        unanswered: bool,
    },
    /// The customer's keys are published by hand, and both aliases are there: the next key can be a delegated one.
    DelegationReady { zone: String },
    /// No usable Mailjet key is published, and its value is not configured, so the customer cannot be told which value to publish.
    MailjetKeyMissing { host: String, domain: String, why: NoKey },
    /// Mailjet's key is shorter than ours must be. Receivers do not accept keys below 1024 bits.
    MailjetKeyShort { host: String, bits: usize },
    /// A usable key is published, but the value of Mailjet's key is not configured, so nobody knows whether it is the right one.
    MailjetKeyUnset { host: String, domain: String },
    /// The published key is that of another account of Mailjet's than the one that the domain would use next.
    MailjetKeyOfOther { host: String },

    /// The account of the tier accepts the domain's mail.
    MailjetAccepts { tier: String, domain: String },
    /// The domain is registered in the account, and the account has not seen the proof of ownership.
    MailjetUnproven { tier: String, domain: String },
    /// Mailjet reports that a record which the tier requires is missing or wrong, with a reason that may be empty.
    MailjetObjects { tier: String, requirement: &'static str, reason: String },
    /// The domain belongs to another account at Mailjet.
    MailjetOwned { tier: String, domain: String, reason: String },
    /// Mailjet refuses to register the domain.
    MailjetRefuses { tier: String, domain: String, reason: String },
    /// Mailjet does not accept the API key of the tier.
    MailjetCredentials { tier: String, reason: String },
    /// Mailjet's API has given no usable answer for this number of hours.
    MailjetSilent { tier: String, reason: String, hours: u64 },
    /// Mailjet's answers cannot be read from or written to disk.
    MailjetUnkept { tier: String, reason: String },

    /// A DMARC policy applies to the domain.
    DmarcGood { host: String, policy: String },
    /// No DMARC policy applies to the domain.
    DmarcMissing { host: String },
    /// More than one DMARC record is published, so none counts.
    DmarcSeveral { host: String, count: usize },
    /// A TXT value was meant to be a DMARC record, but receivers do not read it as one.
    DmarcNearMiss { host: String, text: String, mistake: Option<TagMistake> },
    /// The value of a policy tag is not a policy, so many receivers ignore the whole record.
    DmarcInvalid { host: String, tag: String },
    /// The record has no `p=`. Policies for other names (`sp=`, `np=`) do not replace it.
    DmarcNoPolicy { host: String, tags: Vec<String> },
    /// A tag has a name that no receiver knows, in place of `p`.
    DmarcPolicyName { host: String, name: String },
    /// The value of a tag makes many receivers ignore the whole record.
    DmarcValue { host: String, tag: String },
    /// The record breaks the grammar of tag lists.
    DmarcMistake { host: String, mistake: TagMistake },
    /// The policy applies to a percentage of the mail, which RFC 9989 has removed.
    DmarcPercent { percent: u8, policy: String },
    /// A tag is unknown or has an unknown value, and receivers ignore it.
    DmarcTag { host: String, tag: String },
    /// The policy comes from a parent domain.
    DmarcInherited { host: String },
    /// The record has a tag that RFC 9989 has removed.
    DmarcObsolete { tag: String },
    /// The record asks for no reports. `wanted` is true if an address of ours accepts them.
    DmarcNoReports { host: String, wanted: bool },
    /// The destination of the reports has not agreed to receive them.
    DmarcReportsRefused { destination: String, host: String },
    /// The destination of the reports is ours, but our zone does not have the record yet that allows them.
    DmarcReportsNotAllowed { destination: String, host: String },
    /// The result of the reports of the last weeks: whether the next policy is safe.
    DmarcReports { step: Box<DmarcStep> },
    /// The policy is `p=none`.
    DmarcMonitoring,
    /// The record has `t=y`, so the policy is in test mode.
    DmarcTesting,
    /// A strict policy applies, but the key that DMARC needs is not in order: receivers apply the policy to our mail.
    DmarcWithoutDkim { policy: String, key: Item },
    /// A strict policy applies and the key is not in order. SPF passes and aligns, so DMARC passes until the mail is forwarded.
    DmarcOnSpfAlone { policy: String, key: Item },
    /// The proposed record is strict and would count at once, but the key that DMARC needs is not in order.
    DmarcKeyFirst { policy: String, key: Item },
    /// The DKIM signature aligns with the From domain.
    DmarcDkimAligned { domain: String },
    /// SPF does not align with the From domain, because the return-path alias is missing.
    DmarcSpfUnaligned { alias: String },
    /// The record has `aspf=s`, and the alias is below the From domain, so SPF does not align.
    DmarcSpfStrict { alias: String },

    /// The return-path alias is published.
    ReturnPathGood { host: String },
    /// The return-path alias is not published.
    ReturnPathMissing { host: String, target: String },
    /// The return-path alias points to another name.
    ReturnPathWrong { host: String, found: String, target: String },
    /// The host has an address instead of the alias: from a proxy or from an address record.
    ReturnPathAddress { host: String, target: String, address: String },

    /// The domain can receive mail.
    MxGood { host: String },
    /// The domain has neither an MX record nor an address.
    MxMissing { domain: String },
    /// The domain has no MX record, and none can be published, because the domain is an alias.
    MxBesideAlias { domain: String, target: String },
    /// None of the domain's mail exchangers has an address.
    MxUnreachable { host: String },
    /// The domain publishes "MX 0 .", so it accepts no mail.
    MxNull { domain: String },

    /// A probe of the customer's own server found everything in order.
    ProbeGood { server: String, detail: String },
    /// A probe of the customer's own server failed.
    ProbeFailed { server: String, step: Step, reason: String, remedy: String },
    /// The customer's own server was not probed.
    ProbeSkipped { server: String },

    /// The relay does not log in to the customer's own server, so that server must allow our address to send.
    RelayByAddress { server: String, ip: String },

    /// Mail to people in the customer's own company comes from outside, from our address.
    InternalMail { ip: String, provider: Provider },
    /// Mail to people in the customer's own company comes from outside, from Mailjet's addresses, which the include names.
    InternalMailByMailjet { domain: String, include: String, provider: Provider },
}

/// Why a host has no usable key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum NoKey {
    /// No key record is published.
    Missing,
    /// More than one key record is published.
    Several {
        /// The number of records.
        count: usize,
    },
    /// The key record has flaws that make it unusable.
    Flawed {
        /// The flaws of the record.
        flaws: Vec<DkimFlaw>,
    },
}

/// A flaw of a key record: see [`crate::dkim::record::Flaw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimFlaw(pub crate::dkim::record::Flaw);

impl Serialize for DkimFlaw {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// A mistake in the grammar of a tag list: see `Mistake`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMistake(pub Mistake);

impl Serialize for TagMistake {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// The provider of the customer's mailboxes, as its MX records show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// The mailboxes are at Microsoft 365.
    Microsoft365,
    /// The mailboxes are at Google Workspace.
    Google,
    /// Another provider, or the customer's own mail server.
    Other,
}

impl Provider {
    /// Recognizes the provider by the names of the mail exchangers.
    pub fn of(exchanges: &[(u16, String)]) -> Self {
        let any = |suffixes: &[&str]| exchanges.iter().any(|(_, host)| suffixes.iter().any(|s| host.ends_with(s)));
        if any(&[".mail.protection.outlook.com", ".mx.microsoft"]) {
            Provider::Microsoft365
        } else if any(&[".google.com", ".googlemail.com"]) {
            Provider::Google
        } else {
            Provider::Other
        }
    }

    /// Returns the SPF terms that allow this provider's servers to send.
    pub fn spf_terms(self) -> &'static [&'static str] {
        match self {
            Provider::Microsoft365 => &["include:spf.protection.outlook.com"],
            Provider::Google => &["include:_spf.google.com"],
            Provider::Other => &["mx"],
        }
    }
}

impl Finding {
    /// Makes the finding that says why receivers cannot use a DMARC record.
    pub fn unusable_dmarc(host: &str, unusable: Unusable) -> Self {
        let host = host.to_owned();
        match unusable {
            Unusable::Policy(tag) => Finding::DmarcInvalid { host, tag },
            Unusable::NoPolicy(tags) => Finding::DmarcNoPolicy { host, tags },
            Unusable::PolicyName(name) => Finding::DmarcPolicyName { host, name },
            Unusable::Value(tag) => Finding::DmarcValue { host, tag },
            Unusable::Tags(mistake) => Finding::DmarcMistake { host, mistake: TagMistake(mistake) },
        }
    }

    /// Makes the finding for a syntax error in an SPF record.
    pub fn spf_syntax(domain: &str, error: &SyntaxError) -> Self {
        let fault = match error.fault {
            Fault::Address => "address",
            Fault::Name => "name",
            Fault::Unknown => "unknown",
            Fault::Twice => "twice",
            Fault::Character => "character",
        };
        Finding::SpfSyntax { domain: domain.to_owned(), term: error.term.clone(), fault }
    }
}

/// The most findings that one check keeps. A zone can hold thousands of records with something wrong in each.
const MOST_FINDINGS: usize = 100;

/// The result of checking one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The item that was checked.
    pub item: Item,
    /// How much the customer needs the item.
    pub need: Need,
    /// The values that are published now.
    pub found: Vec<String>,
    /// The values that should be published.
    pub expected: Vec<String>,
    /// The steps of the evaluation, if there are any: the SPF terms in the order in which a receiver tries them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Makes a check without findings.
    pub fn new(item: Item, need: Need) -> Self {
        Check { item, need, found: Vec::new(), expected: Vec::new(), steps: Vec::new(), findings: Vec::new() }
    }

    /// Adds a finding after the others of the same severity, unless the check already has it.
    pub fn say(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            let at = self.findings.partition_point(|said| said.severity() >= finding.severity());
            self.findings.insert(at, finding);
            self.findings.truncate(MOST_FINDINGS);
        }
    }

    /// Returns the severity of the worst finding.
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(Finding::severity).max().unwrap_or(Severity::Good)
    }
}
