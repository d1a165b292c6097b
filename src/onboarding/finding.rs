//! Everything the checks can say, as data: the languages put it into words ([`super::text`]), JSON carries it as it is.

use serde::Serialize;

use super::dmarc::Unusable;
use super::fetch::NotThere;
use super::rotation::{Role, Shown};
use super::spf::SyntaxError;
use super::spf::obstacle::Obstacle;
use super::spf::record::Fault;
use crate::dkim::tags::Mistake;
use crate::resolver;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// The domain is one that bulk mail can be sent from.
    FromDomain,
    /// The domain is the customer's.
    Ownership,
    /// SPF.
    Spf,
    /// Our DKIM key.
    Dkim,
    /// Mailjet's DKIM key.
    MailjetDkim,
    /// DMARC.
    Dmarc,
    /// The alias that aligns Mailjet's return path.
    ReturnPath,
    /// The domain can receive mail.
    Mx,
    /// The customer's own server.
    OwnServer,
    /// Mail to the customer's own people.
    InternalMail,
}

impl Item {
    /// All, in the order people read them.
    pub const ALL: [Item; 10] = [
        Item::FromDomain,
        Item::Ownership,
        Item::Spf,
        Item::Dkim,
        Item::MailjetDkim,
        Item::Dmarc,
        Item::ReturnPath,
        Item::Mx,
        Item::OwnServer,
        Item::InternalMail,
    ];
}

/// How much a customer needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Nice to have.
    Optional,
    /// Mail arrives better with it.
    Recommended,
    /// Nothing, or no bulk mail, is sent without it.
    Required,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Hint,
    /// Works, and should be mended.
    Warning,
    /// Could not be seen: DNS or the web server did not answer. Says nothing about the customer's records.
    Unknown,
    /// Does not work.
    Fault,
}

/// One thing a check has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case", rename_all_fields = "snake_case")]
#[allow(missing_docs, reason = "the fields are names, values and counts that each variant's sentence says")]
pub enum Finding {
    /// DNS did not answer.
    Unanswered { reason: resolver::Error },
    /// The check took too long: name servers or a web server are slow.
    OutOfTime { secs: u64 },
    /// The record stands at the wrong host: the zone's name twice, an underscore or a dot missing.
    WrongHost { found_at: String, right_host: String, zone: Option<String> },

    /// The domain belongs to a public mailbox provider.
    PublicProvider { domain: String },
    /// It does not.
    OwnDomain { domain: String },

    /// It is an alias: its TXT and MX records are those of another name.
    FromDomainAlias { domain: String, target: String },

    /// Proven by the TXT record.
    OwnershipByTxt { host: String },
    /// The token stands among quotation marks or spaces: good enough for us, and maybe not for Mailjet, whose token it is.
    OwnershipUntidy { host: String, found: String },
    /// Proven by the file.
    OwnershipByFile { url: String },
    /// Neither is there.
    OwnershipMissing { host: String, value: String, url: String },
    /// The host has another value.
    OwnershipWrongValue { host: String, found: String },
    /// The file is there with something in it.
    FileNotEmpty { url: String },
    /// The web server has a page of any name, so the file proves nothing.
    FileAnywhere { url: String },
    /// The file's address, or a redirect's, is private.
    FileAddressRefused { url: String },
    /// Redirects lead out of the domain, or there are too many.
    FileRedirectRefused { url: String },
    /// The web server says that there is no file, or nothing at all.
    FileNotThere { url: String, reason: NotThere },

    /// The address passes.
    SpfPasses { ip: String, lookups: u32 },
    /// No record.
    SpfMissing { domain: String },
    /// A TXT value that was meant to be one.
    SpfNearMiss { text: String },
    /// More than one.
    SpfSeveral { domain: String, count: usize },
    /// A term at fault.
    SpfSyntax { domain: String, term: String, fault: &'static str },
    /// More octets than are evaluated.
    SpfTooLong { domain: String, octets: usize },
    /// Legal terms without effect that were meant to have one.
    SpfNoEffect { domain: String, terms: Vec<String> },
    /// What something in the record was meant to be.
    SpfMeant { written: String, meant: String },
    /// What cannot be read.
    SpfUnread { terms: Vec<String> },
    /// Terms after `all`.
    SpfAfterAll { domain: String, terms: Vec<String> },
    /// `+all`, or a network of as good as all addresses.
    SpfEverybody { domain: String, term: String },
    /// `ptr`.
    SpfPtr { domain: String },
    /// Leads back to itself.
    SpfLoop { domain: String },
    /// More than ten lookups.
    SpfTooManyLookups { count: u32 },
    /// Close to ten.
    SpfNearLookupLimit { count: u32 },
    /// More than two lookups that found no address.
    SpfTooManyVoidLookups { count: u32 },
    /// The same behind what lets us send: only others meet it.
    SpfManyVoidLookups { count: u32 },
    /// An `mx` of more than ten.
    SpfTooManyExchanges { domain: String },
    /// An included name has no record.
    SpfIncludeWithoutRecord { domain: String },
    /// An included name has more than one.
    SpfIncludeSeveral { domain: String, count: usize },
    /// An included record cannot be used (`none`, `several`, `syntax`, `loop`), and stands behind what lets us send: only others
    /// meet it.
    SpfBeyondUs { domain: String, fault: &'static str },
    /// What we tell customers to include does not let us send.
    SpfOursBroken { include: String, ip: String },
    /// Ours is not in it.
    SpfIncludeMissing { include: String },
    /// Ours is in it, where it is never reached.
    SpfIncludeShadowed { include: String, by: String },
    /// The address passes by its number, Mailjet's do not.
    SpfAddressOnly { ip: String, include: String },
    /// The record to publish would not work.
    SpfProposalFails { obstacle: Obstacle },
    /// The verdict is not pass.
    SpfDoesNotPass { ip: String, verdict: &'static str },
    /// The customer's own server sends; only internal mail sees our address.
    SpfWithoutUs { ip: String },
    /// A record for the own server is there.
    SpfUsable { lookups: u32 },

    /// The record to publish cannot stand beside the alias that the domain is.
    SpfBesideAlias { domain: String, target: String },

    /// The published key is the one we sign with.
    DkimGood { host: String },
    /// Nothing there.
    DkimMissing { host: String },
    /// More than one.
    DkimSeveral { host: String, count: usize },
    /// Another key.
    DkimMismatch { host: String },
    /// Something about the record itself.
    DkimFlaw { host: String, flaw: DkimFlaw },
    /// A key that does not sign, while keys are changed.
    DkimRotating { host: String, role: Role, shown: Shown },
    /// No answer about a key that does not sign: what signs is known all the same.
    DkimRotatingUnanswered { host: String, reason: resolver::Error },
    /// What is known of a change of keys cannot be read.
    DkimRotationUnreadable { reason: String },
    /// Something is wrong with the key of the second signature, while the first one verifies, or nobody knows whether it does.
    DkimSecond { said: Box<Finding>, first_known: bool },
    /// Our private key cannot be used.
    DkimKeyUnusable { reason: String },
    /// No key of Mailjet's that can be used, and its value is not configured, so that nobody can be told it.
    MailjetKeyMissing { host: String, domain: String, why: NoKey },
    /// Fewer bits than ours have; with fewer than 1024 receivers do not accept it.
    MailjetKeyShort { host: String, bits: usize },
    /// A key that can be used; its value is not configured, so that nobody knows whether it is Mailjet's.
    MailjetKeyUnset { host: String, domain: String },

    /// A policy applies.
    DmarcGood { host: String, policy: String },
    /// None applies.
    DmarcMissing { host: String },
    /// More than one: none counts.
    DmarcSeveral { host: String, count: usize },
    /// A TXT value that was meant to be one.
    DmarcNearMiss { host: String, text: String, mistake: Option<TagMistake> },
    /// A policy in it is none, so that many receivers drop the whole record.
    DmarcInvalid { host: String, tag: String },
    /// It has no `p=`; tags that name a policy for other names do not help.
    DmarcNoPolicy { host: String, tags: Vec<String> },
    /// A value in it makes many receivers drop the whole record.
    DmarcValue { host: String, tag: String },
    /// It departs from the grammar of tags.
    DmarcMistake { host: String, mistake: TagMistake },
    /// A policy for a share of the mail, which RFC 9989 does not know.
    DmarcPercent { percent: u8, policy: String },
    /// A tag nobody reads, or with a value that is none.
    DmarcTag { host: String, tag: String },
    /// From a parent domain.
    DmarcInherited { host: String },
    /// A tag that RFC 9989 has removed.
    DmarcObsolete { tag: String },
    /// Nobody gets reports.
    DmarcNoReports { host: String },
    /// The destination has not agreed to get them.
    DmarcReportsRefused { destination: String, host: String },
    /// p=none.
    DmarcMonitoring,
    /// t=y.
    DmarcTesting,
    /// Policy stands, the key that counts does not: receivers act on it against our mail.
    DmarcWithoutDkim { policy: String, key: Item },
    /// The same, but the return path passes and aligns: SPF carries DMARC alone, and does not outlive a forwarding.
    DmarcOnSpfAlone { policy: String, key: Item },
    /// Our signature aligns.
    DmarcDkimAligned { domain: String },
    /// SPF adds nothing to DMARC without the alias.
    DmarcSpfUnaligned { alias: String },
    /// aspf=s: the alias is below the From domain, thus not aligned.
    DmarcSpfStrict { alias: String },

    /// The alias stands.
    ReturnPathGood { host: String },
    /// It does not.
    ReturnPathMissing { host: String, target: String },
    /// It points elsewhere.
    ReturnPathWrong { host: String, found: String, target: String },
    /// An address in its place: a proxy answers, or an address record stands there.
    ReturnPathAddress { host: String, target: String, address: String },

    /// Mail can be received.
    MxGood { host: String },
    /// Nothing there.
    MxMissing { domain: String },
    /// Nothing there, and beside the alias that the domain is nothing can be.
    MxBesideAlias { domain: String, target: String },
    /// None of its exchanges has an address.
    MxUnreachable { host: String },
    /// "MX 0 .": takes no mail at all.
    MxNull { domain: String },

    /// The server was probed.
    ProbeGood { server: String, detail: String },
    /// And something is wrong.
    ProbeFailed { server: String, reason: String, remedy: String },
    /// It was not probed this time.
    ProbeSkipped { server: String },

    /// We log in nowhere: the server has to let our address send.
    RelayByAddress { server: String, ip: String },

    /// Mail to the customer's own people comes from outside, from our address.
    InternalMail { ip: String, provider: Provider },
    /// The same from Mailjet's addresses, which the include names.
    InternalMailByMailjet { domain: String, include: String, provider: Provider },
}

/// Why a host has no key that receivers can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum NoKey {
    /// Nothing there.
    Missing,
    /// More than one.
    Several {
        /// How many.
        count: usize,
    },
    /// One that is no good.
    Flawed {
        /// What is wrong with it.
        flaws: Vec<DkimFlaw>,
    },
}

/// Something about a key record itself, as [`crate::dkim::record::Flaw`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimFlaw(pub crate::dkim::record::Flaw);

impl Serialize for DkimFlaw {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// What is wrong with the grammar of a record of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMistake(pub Mistake);

impl Serialize for TagMistake {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// Who runs the customer's mailboxes, as the MX shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Microsoft 365.
    Microsoft365,
    /// Google Workspace.
    Google,
    /// Somebody else, or the customer.
    Other,
}

impl Provider {
    /// By the names of the mail exchangers.
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

    /// What an SPF record for its mailboxes includes.
    pub fn spf_terms(self) -> &'static [&'static str] {
        match self {
            Provider::Microsoft365 => &["include:spf.protection.outlook.com"],
            Provider::Google => &["include:_spf.google.com"],
            Provider::Other => &["mx"],
        }
    }
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        use Finding as F;
        match self {
            F::OwnDomain { .. }
            | F::OwnershipByTxt { .. }
            | F::OwnershipByFile { .. }
            | F::SpfPasses { .. }
            | F::SpfUsable { .. }
            | F::DkimGood { .. }
            | F::DkimRotating { shown: Shown::Right, .. }
            | F::DmarcGood { .. }
            | F::DmarcDkimAligned { .. }
            | F::ReturnPathGood { .. }
            | F::MxGood { .. }
            | F::ProbeGood { .. } => Severity::Good,

            F::DmarcInherited { .. }
            | F::DmarcMonitoring
            | F::DmarcSpfUnaligned { .. }
            | F::InternalMail { .. }
            | F::InternalMailByMailjet { .. }
            | F::FromDomainAlias { .. }
            | F::RelayByAddress { .. }
            | F::ProbeSkipped { .. }
            | F::SpfWithoutUs { .. }
            | F::SpfMeant { .. }
            | F::MailjetKeyUnset { .. }
            | F::FileNotThere { .. } => Severity::Hint,

            F::SpfNearMiss { .. }
            | F::SpfAfterAll { .. }
            | F::SpfNoEffect { .. }
            | F::SpfUnread { .. }
            | F::SpfEverybody { .. }
            | F::SpfPtr { .. }
            | F::SpfNearLookupLimit { .. }
            | F::SpfManyVoidLookups { .. }
            | F::SpfBeyondUs { .. }
            | F::SpfTooManyExchanges { .. }
            | F::SpfProposalFails { .. }
            | F::DmarcTag { .. }
            | F::DmarcNearMiss { .. }
            | F::DmarcPercent { .. }
            | F::DmarcObsolete { .. }
            | F::DmarcNoReports { .. }
            | F::DmarcReportsRefused { .. }
            | F::DmarcTesting
            | F::DmarcWithoutDkim { .. }
            | F::DmarcOnSpfAlone { .. }
            | F::DmarcSpfStrict { .. }
            | F::MxNull { .. }
            | F::MxMissing { .. }
            | F::MxBesideAlias { .. }
            | F::MxUnreachable { .. }
            | F::WrongHost { .. }
            | F::FileNotEmpty { .. }
            | F::FileAnywhere { .. }
            | F::FileAddressRefused { .. }
            | F::FileRedirectRefused { .. }
            | F::DkimRotating { .. }
            | F::DkimRotatingUnanswered { .. }
            | F::DkimRotationUnreadable { .. }
            | F::DkimSecond { .. }
            | F::OwnershipUntidy { .. }
            | F::OwnershipWrongValue { .. } => Severity::Warning,

            F::DkimFlaw { flaw, .. } if !flaw.0.is_fatal() => match flaw.0 {
                crate::dkim::record::Flaw::Testing => Severity::Warning,
                _ => Severity::Hint,
            },

            F::MailjetKeyShort { bits, .. } if crate::dkim::record::Flaw::Weak(*bits).is_fatal_to_others() => {
                Severity::Fault
            }
            F::MailjetKeyShort { .. } => Severity::Hint,

            F::Unanswered { .. } | F::OutOfTime { .. } => Severity::Unknown,

            F::PublicProvider { .. }
            | F::OwnershipMissing { .. }
            | F::SpfMissing { .. }
            | F::SpfSeveral { .. }
            | F::SpfSyntax { .. }
            | F::SpfTooLong { .. }
            | F::SpfLoop { .. }
            | F::SpfTooManyLookups { .. }
            | F::SpfTooManyVoidLookups { .. }
            | F::SpfIncludeWithoutRecord { .. }
            | F::SpfIncludeSeveral { .. }
            | F::SpfOursBroken { .. }
            | F::SpfIncludeMissing { .. }
            | F::SpfIncludeShadowed { .. }
            | F::SpfAddressOnly { .. }
            | F::SpfDoesNotPass { .. }
            | F::SpfBesideAlias { .. }
            | F::DkimMissing { .. }
            | F::DkimSeveral { .. }
            | F::DkimMismatch { .. }
            | F::DkimFlaw { .. }
            | F::DkimKeyUnusable { .. }
            | F::MailjetKeyMissing { .. }
            | F::DmarcMissing { .. }
            | F::DmarcSeveral { .. }
            | F::DmarcInvalid { .. }
            | F::DmarcNoPolicy { .. }
            | F::DmarcValue { .. }
            | F::DmarcMistake { .. }
            | F::ReturnPathMissing { .. }
            | F::ReturnPathWrong { .. }
            | F::ReturnPathAddress { .. }
            | F::ProbeFailed { .. } => Severity::Fault,
        }
    }

    /// What the resolver, the HTTP library, a key or the disk said itself, in English: for operators. The languages say the same
    /// in words of their own.
    pub fn detail(&self) -> Option<String> {
        match self {
            Finding::Unanswered { reason } | Finding::DkimRotatingUnanswered { reason, .. } => Some(reason.to_string()),
            Finding::FileNotThere { reason, .. } => Some(reason.to_string()),
            Finding::DkimKeyUnusable { reason } | Finding::DkimRotationUnreadable { reason } => Some(reason.clone()),
            Finding::DkimSecond { said, .. } => said.detail(),
            _ => None,
        }
    }

    /// Why receivers cannot use a DMARC record, as a finding.
    pub fn unusable_dmarc(host: &str, unusable: Unusable) -> Self {
        let host = host.to_owned();
        match unusable {
            Unusable::Policy(tag) => Finding::DmarcInvalid { host, tag },
            Unusable::NoPolicy(tags) => Finding::DmarcNoPolicy { host, tags },
            Unusable::Value(tag) => Finding::DmarcValue { host, tag },
            Unusable::Tags(mistake) => Finding::DmarcMistake { host, mistake: TagMistake(mistake) },
        }
    }

    /// A syntax error of SPF as a finding.
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

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub item: Item,
    /// How much it is needed.
    pub need: Need,
    /// What is published now, as found.
    pub found: Vec<String>,
    /// What should be.
    pub expected: Vec<String>,
    /// How the verdict came about, step by step, where there are steps: SPF's terms as a receiver tries them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What is there to say, the worst first.
    pub findings: Vec<Finding>,
}

impl Check {
    /// A check with nothing to say yet.
    pub fn new(item: Item, need: Need) -> Self {
        Check { item, need, found: Vec::new(), expected: Vec::new(), steps: Vec::new(), findings: Vec::new() }
    }

    /// With one more finding.
    pub fn say(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
            self.findings.sort_by_key(|f| std::cmp::Reverse(f.severity()));
        }
    }

    /// With one more finding, which explains those of its severity.
    pub fn say_first(&mut self, finding: Finding) {
        self.findings.insert(0, finding);
        self.findings.sort_by_key(|f| std::cmp::Reverse(f.severity()));
    }

    /// The worst of its findings.
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(Finding::severity).max().unwrap_or(Severity::Good)
    }
}
