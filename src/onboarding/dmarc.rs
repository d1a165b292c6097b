//! DMARC: the policy that applies to a domain (tree walk of RFC 9989 §4.10), whether our mail aligns with it, and whether its
//! reports go anywhere.

use super::finding::{Check, Finding, Item, Need, Severity};
use super::{Seen, Settings, doubled};
use crate::resolver::{self, Resolver, joined};
use crate::smtp::{Domain, Mailbox};

/// A record, as far as receivers read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `p=`, for the domain itself.
    pub policy: Policy,
    /// `sp=`, for names below it.
    pub subdomain_policy: Option<Policy>,
    /// `aspf=s`.
    pub strict_spf: bool,
    /// `psd=`: `Some(true)` for y, `Some(false)` for n.
    pub public_suffix: Option<bool>,
    /// `t=y`.
    pub testing: bool,
    /// `rua=`.
    pub reports: Vec<String>,
    /// The tag without a usable policy because of which receivers act as if the policy were none (RFC 9989 §4.10.1).
    pub fallback: Option<String>,
    /// Tags that RFC 9989 has removed.
    pub obsolete: Vec<String>,
    /// Parts that are no tag, or tags with a value that is none.
    pub unread: Vec<String>,
}

/// Why receivers cannot use a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A policy is missing, or is none: the tag as written.
    Policy(String),
    /// A tag stands in it twice.
    Twice(String),
}

/// What receivers shall do with mail that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// Spam folder.
    Quarantine,
    /// Refuse.
    Reject,
}

impl Policy {
    /// As records write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }
}

/// Whether a TXT value claims to be a DMARC record: `v=DMARC1` is its first tag, the value in this very case, the name in any
/// (RFC 9989 §4.7, §4.8).
pub fn is_dmarc(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(tag, value)| tag.trim().eq_ignore_ascii_case("v") && value.trim() == "DMARC1")
}

/// Whether a TXT value was meant to be a DMARC record and is none: quotes of a web form kept, a comma for a semicolon, small
/// letters.
fn looks_like_dmarc(text: &str) -> bool {
    let squeezed: String = text.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let squeezed = squeezed.to_ascii_lowercase();
    !is_dmarc(text) && (squeezed.starts_with("vdmarc") || squeezed.starts_with("dmarc"))
}

impl Record {
    /// Reads a record. `Err` says why receivers cannot use it.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let mut record = Record {
            policy: Policy::None,
            subdomain_policy: None,
            strict_spf: false,
            public_suffix: None,
            testing: false,
            reports: Vec::new(),
            fallback: None,
            obsolete: Vec::new(),
            unread: Vec::new(),
        };
        let mut policy = None;
        // The first tag that should name a policy and does not.
        let mut without: Option<String> = None;
        let mut tags = vec!["v".to_owned()];
        for part in text.split(';').skip(1).map(str::trim).filter(|part| !part.is_empty()) {
            let Some((tag, value)) = part.split_once('=') else {
                record.unread.push(part.to_owned());
                continue;
            };
            let (tag, value) = (tag.trim().to_ascii_lowercase(), value.trim());
            // RFC 9989 §4.7 takes the syntax of RFC 6376 §3.2: a tag that comes twice makes the whole list invalid.
            if tags.contains(&tag) {
                return Err(Unusable::Twice(tag));
            }
            tags.push(tag.clone());
            let read = match tag.as_str() {
                "p" | "sp" | "np" => {
                    match (Policy::parse(value), tag.as_str()) {
                        (None, _) => without = without.or(Some(part.to_owned())),
                        (found, "p") => policy = found,
                        (found, "sp") => record.subdomain_policy = found,
                        _ => {}
                    }
                    true
                }
                "aspf" | "adkim" => {
                    record.strict_spf |= tag == "aspf" && value.eq_ignore_ascii_case("s");
                    ["r", "s"].iter().any(|v| value.eq_ignore_ascii_case(v))
                }
                "psd" => {
                    let is = |letter| value.eq_ignore_ascii_case(letter);
                    record.public_suffix = (is("y") || is("n")).then(|| is("y"));
                    is("y") || is("n") || is("u")
                }
                "t" => {
                    record.testing = value.eq_ignore_ascii_case("y");
                    record.testing || value.eq_ignore_ascii_case("n")
                }
                "rua" => {
                    record.reports = value.split(',').map(|uri| uri.trim().to_owned()).collect();
                    true
                }
                "ruf" => true,
                "fo" => value.split(':').all(|v| matches!(v.trim(), "0" | "1" | "d" | "s")),
                "pct" | "rf" | "ri" => {
                    record.obsolete.push(tag.clone());
                    true
                }
                _ => false,
            };
            if !read {
                record.unread.push(part.to_owned());
            }
        }
        match (policy, without) {
            (Some(policy), None) => record.policy = policy,
            // RFC 9989 §4.10.1: without a usable p=, or with an sp= or np= that is none, a record with a usable rua= counts as
            // p=none, any other not at all.
            (_, without) if record.reports.iter().any(|uri| destination(uri).is_some()) => {
                record.subdomain_policy = None;
                record.fallback = Some(without.unwrap_or_else(|| "p=".to_owned()));
            }
            (_, without) => return Err(Unusable::Policy(without.unwrap_or_else(|| "p=".to_owned()))),
        }
        Ok(record)
    }
}

/// Where an `rua` URI sends to. Only mailto is used; a size limit (`!10m`) is obsolete and cut.
fn destination(uri: &str) -> Option<Mailbox> {
    let (scheme, address) = uri.split_once(':')?;
    let address = address.split(['?', '!']).next()?;
    scheme.eq_ignore_ascii_case("mailto").then(|| Mailbox::parse(address).ok())?
}

/// What one name has.
enum At {
    /// With what was probably meant to be a record.
    Nothing(Vec<String>),
    One(String),
    Several(Vec<String>),
}

async fn at(resolver: &dyn Resolver, name: &str) -> Result<At, resolver::Error> {
    let host = format!("_dmarc.{name}");
    let texts = match resolver.txt(&host).await {
        // A name too long to have a record has none.
        Err(resolver::Error::Name(_)) => Vec::new(),
        texts => texts?,
    };
    let texts = texts.iter().map(|strings| String::from_utf8_lossy(&joined(strings)).into_owned());
    let (mut records, rest): (Vec<String>, Vec<String>) = texts.partition(|text| is_dmarc(text));
    // The answer's order is random; people compare what they read.
    records.sort();
    Ok(match records.len() {
        0 => At::Nothing(rest.into_iter().filter(|text| looks_like_dmarc(text)).collect()),
        1 => At::One(records.remove(0)),
        // RFC 9989 §4.10: where there are several, none counts.
        _ => At::Several(records),
    })
}

/// The names a tree walk asks above `name`, the longest first (RFC 9989 §4.10): at most eight questions in all.
fn parents(name: &str) -> Vec<&str> {
    let labels: Vec<usize> =
        std::iter::once(0).chain(name.bytes().enumerate().filter(|(_, b)| *b == b'.').map(|(at, _)| at + 1)).collect();
    let first = match labels.len() {
        count if count > 8 => count - 7,
        _ => 1,
    };
    labels[first.min(labels.len())..].iter().map(|start| &name[*start..]).collect()
}

/// Everything a walk found.
struct Tree {
    /// Name and record of each name that has one, the longest first.
    records: Vec<(String, String)>,
    /// The organizational domain.
    organization: String,
}

async fn tree(resolver: &dyn Resolver, name: &str) -> Result<Tree, resolver::Error> {
    let mut tree = Tree { records: Vec::new(), organization: name.to_owned() };
    let mut below = name;
    for asked in std::iter::once(name).chain(parents(name)) {
        if let At::One(text) = at(resolver, asked).await? {
            let suffix = Record::parse(&text).ok().and_then(|record| record.public_suffix);
            tree.records.push((asked.to_owned(), text));
            match suffix {
                Some(false) => {
                    tree.organization = asked.to_owned();
                    return Ok(tree);
                }
                Some(true) => {
                    tree.organization = if asked == name { name.to_owned() } else { below.to_owned() };
                    return Ok(tree);
                }
                // So far the one with the fewest labels.
                None => tree.organization = asked.to_owned(),
            }
        }
        below = asked;
    }
    Ok(tree)
}

/// The organizational domain of a name (RFC 9989 §4.10.2).
pub async fn organization(resolver: &dyn Resolver, name: &str) -> Result<String, resolver::Error> {
    Ok(tree(resolver, name).await?.organization)
}

/// How mail of the domain leaves, as far as alignment depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through Mailjet; whether its return-path alias stands.
    Mailjet {
        /// `bnc3.<domain>` points to Mailjet.
        alias: bool,
    },
    /// Through the customer's own server.
    OwnServer,
}

impl Path {
    /// The check of the key whose signature receivers find on our mail.
    fn key(self) -> Item {
        match self {
            Path::Mailjet { .. } => Item::MailjetDkim,
            Path::OwnServer => Item::Dkim,
        }
    }
}

/// Checks the policy that applies to the domain. `dkim`: how the key was seen whose signature receivers find
/// on our mail.
pub async fn check(
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    path: Path,
    dkim: Seen,
    need: Need,
) -> Check {
    let mut check = Check::new(Item::Dmarc, need);
    if let Err(error) = look(&mut check, resolver, settings, domain, path, dkim).await {
        check.say(Finding::Unanswered { reason: error.to_string() });
    }
    // Where a policy applies, the record to begin with would be a step back.
    if check.severity() == Severity::Fault {
        check.expected.push(format!("_dmarc.{domain} TXT \"{}\"", replacement(&check.found, settings, domain)));
    }
    check
}

/// The record to publish where those found do not count: of several the mildest, since none has counted until now; else the
/// one to begin with.
pub fn replacement(found: &[String], settings: &Settings, domain: &Domain) -> String {
    let usable = found.iter().filter_map(|text| Some((Record::parse(text).ok()?.policy, text)));
    match usable.min() {
        Some((_, text)) if found.len() > 1 => text.clone(),
        _ => proposed(settings, domain),
    }
}

/// The record to begin with: it changes nothing for anybody's mail and brings reports.
pub fn proposed(settings: &Settings, domain: &Domain) -> String {
    let rua = settings.rua.as_ref().map_or_else(|| format!("dmarc@{domain}"), Mailbox::to_string);
    format!("v=DMARC1; p=none; rua=mailto:{rua}")
}

async fn look(
    check: &mut Check,
    resolver: &dyn Resolver,
    settings: &Settings,
    domain: &Domain,
    path: Path,
    dkim: Seen,
) -> Result<(), resolver::Error> {
    let name = domain.as_str();
    let own_host = format!("_dmarc.{name}");
    match at(resolver, name).await? {
        At::Nothing(near_misses) => {
            for text in near_misses {
                check.say(Finding::DmarcNearMiss { host: own_host.clone(), text });
            }
        }
        At::One(_) => {}
        At::Several(records) => {
            check.say(Finding::DmarcSeveral { host: own_host.clone(), count: records.len() });
            check.found = records;
            return Ok(());
        }
    }
    let tree = tree(resolver, name).await?;
    let applies = tree
        .records
        .iter()
        .find(|(at, _)| at == name)
        .or_else(|| tree.records.iter().find(|(at, _)| *at == tree.organization))
        .or(tree.records.last());
    let Some((at, text)) = applies else {
        misplaced(check, resolver, domain).await;
        check.say(Finding::DmarcMissing { host: own_host });
        return Ok(());
    };
    let host = format!("_dmarc.{at}");
    check.found.push(text.clone());
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(Unusable::Policy(reason)) => {
            check.say(Finding::DmarcInvalid { host, reason });
            return Ok(());
        }
        Err(Unusable::Twice(tag)) => {
            check.say(Finding::DmarcTwice { host, tag });
            return Ok(());
        }
    };
    let inherited = at != name;
    let policy = if inherited { record.subdomain_policy.unwrap_or(record.policy) } else { record.policy };
    check.say(Finding::DmarcGood { host: host.clone(), policy: policy.as_str().to_owned() });
    if inherited {
        check.say(Finding::DmarcInherited { host: host.clone() });
    }
    if policy == Policy::None {
        check.say(Finding::DmarcMonitoring);
    }
    if record.testing {
        check.say(Finding::DmarcTesting);
    }
    if let Some(tag) = record.fallback.clone() {
        check.say(Finding::DmarcFallback { host: host.clone(), tag });
    }
    for tag in &record.obsolete {
        check.say(Finding::DmarcObsolete { tag: tag.clone() });
    }
    for tag in &record.unread {
        check.say(Finding::DmarcTag { host: host.clone(), tag: tag.clone() });
    }
    reports(check, resolver, &record, at, &host).await?;

    // Our d= is the From domain itself, and Mailjet's too, so the signature aligns in strict mode as well (RFC 9989 §4.4.1).
    let spf_aligns = path == Path::Mailjet { alias: true } && !record.strict_spf;
    match dkim {
        Seen::Verified => check.say(Finding::DmarcDkimAligned { domain: name.to_owned() }),
        Seen::Missing if policy > Policy::None => {
            let (policy, key) = (policy.as_str().to_owned(), path.key());
            check.say(match spf_aligns {
                true => Finding::DmarcOnSpfAlone { policy, key },
                false => Finding::DmarcWithoutDkim { policy, key },
            });
        }
        Seen::Missing | Seen::Unknown => {}
    }
    if let Path::Mailjet { alias } = path {
        let name_of_alias = format!("{}.{domain}", settings.return_path_label);
        match alias {
            false => check.say(Finding::DmarcSpfUnaligned { alias: name_of_alias }),
            true if record.strict_spf => check.say(Finding::DmarcSpfStrict { alias: name_of_alias }),
            true => {}
        }
    }
    Ok(())
}

/// Whether reports reach anybody: a destination in another organization has to say that it wants them (RFC 9990 §4).
async fn reports(
    check: &mut Check,
    resolver: &dyn Resolver,
    record: &Record,
    policy_domain: &str,
    host: &str,
) -> Result<(), resolver::Error> {
    if record.reports.is_empty() {
        check.say(Finding::DmarcNoReports { host: host.to_owned() });
    }
    // A record may list any number; a real one has few.
    for uri in record.reports.iter().take(10) {
        let Some(to) = destination(uri).and_then(|mailbox| mailbox.domain().cloned()) else {
            check.say(Finding::DmarcTag { host: host.to_owned(), tag: format!("rua={uri}") });
            continue;
        };
        let same = to.as_str() == policy_domain
            || organization(resolver, to.as_str()).await? == organization(resolver, policy_domain).await?;
        if same {
            continue;
        }
        let permission = format!("{policy_domain}._report._dmarc.{to}");
        let granted = match resolver.txt(&permission).await {
            Err(resolver::Error::Name(_)) => false,
            texts => texts?.iter().any(|strings| is_dmarc(&String::from_utf8_lossy(&joined(strings)))),
        };
        if !granted {
            check.say(Finding::DmarcReportsRefused { destination: to.to_string(), host: permission });
        }
    }
    Ok(())
}

/// Where the record lands by common mistakes: without the underscore (the guide's own example), with the zone's name twice,
/// or at the domain itself.
async fn misplaced(check: &mut Check, resolver: &dyn Resolver, domain: &Domain) {
    let right = format!("_dmarc.{domain}");
    for wrong in [format!("dmarc.{domain}"), doubled(&right, domain), domain.to_string()] {
        let there = resolver
            .txt(&wrong)
            .await
            .is_ok_and(|texts| texts.iter().any(|strings| is_dmarc(&String::from_utf8_lossy(&joined(strings)))));
        if there {
            check.say(Finding::WrongHost { found_at: wrong, right_host: right.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::FixedZone;

    fn run(zone: &str, domain: &str, path: Path, dkim: Seen) -> Vec<Finding> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(zone).unwrap();
        let domain = Domain::parse(domain).unwrap();
        runtime.block_on(check(&zone, &Settings::default(), &domain, path, dkim, Need::Optional)).findings
    }

    #[test]
    fn the_guides_own_record_is_read_and_its_obsolete_tag_named() {
        let text = "v=DMARC1; p=none; pct=100; rua=mailto:yourmail@yourdomain.com; sp=none; aspf=r;";
        let record = Record::parse(text).unwrap();
        assert_eq!(
            (record.policy, &record.obsolete[..], record.unread.len()),
            (Policy::None, &["pct".to_owned()][..], 0)
        );
    }

    #[test]
    fn a_tree_walk_asks_eight_names_at_most() {
        assert_eq!(parents("a.b.dk"), ["b.dk", "dk"]);
        assert_eq!(parents("dk"), Vec::<&str>::new());
        // RFC 9989 §4.10: a.b.c.d.e.f.g.h.i.j.mail.example.com
        let deep = parents("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(deep.first(), Some(&"g.h.i.j.mail.example.com"));
        assert_eq!(deep.len(), 7);
    }

    #[test]
    fn a_subdomain_inherits_the_organizations_subdomain_policy() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@test.dk\"";
        let findings = run(zone, "nyt.test.dk", Path::OwnServer, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "quarantine".into() }));
        assert!(findings.contains(&Finding::DmarcInherited { host: "_dmarc.test.dk".into() }));
    }

    #[test]
    fn psd_tags_end_the_walk() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(
            "_dmarc.dk TXT \"v=DMARC1; p=none; psd=y\"\n_dmarc.org.net TXT \"v=DMARC1; p=none; psd=n\"\n\
             _dmarc.net TXT \"v=DMARC1; p=none\"\n_dmarc.deep.com TXT \"v=DMARC1; p=none\"\n_dmarc.a.deep.com TXT \"v=DMARC1; p=none\"",
        )
        .unwrap();
        let org = |name| runtime.block_on(organization(&zone, name)).unwrap();
        assert_eq!(org("mail.test.dk"), "test.dk");
        assert_eq!(org("a.b.org.net"), "org.net");
        assert_eq!(org("x.a.deep.com"), "deep.com");
        assert_eq!(org("nothing.example"), "nothing.example");
    }

    #[test]
    fn several_records_count_as_none() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=none\"\n_dmarc.test.dk TXT \"v=DMARC1; p=reject\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Verified);
        // To say besides that there is none, and to show a third one, would only confuse.
        assert_eq!(findings, [Finding::DmarcSeveral { host: "_dmarc.test.dk".into(), count: 2 }]);
    }

    #[test]
    fn of_several_records_the_mildest_is_to_be_kept() {
        let domain = Domain::parse("test.dk").unwrap();
        let keep = |found: &[&str]| {
            let found: Vec<String> = found.iter().map(|text| (*text).to_owned()).collect();
            replacement(&found, &Settings::default(), &domain)
        };
        let first = "v=DMARC1; p=none; rua=mailto:dmarc@test.dk";
        assert_eq!(keep(&["v=DMARC1; p=reject", "v=DMARC1; p=quarantine"]), "v=DMARC1; p=quarantine");
        assert_eq!(keep(&["v=DMARC1; p=reject", "v=DMARC1; p=maybe"]), "v=DMARC1; p=reject");
        assert_eq!(keep(&["v=DMARC1; p=never", "v=DMARC1; p=maybe"]), first);
        assert_eq!(keep(&["v=DMARC1; p=reject; p=none"]), first);
        assert_eq!(keep(&[]), first);
    }

    #[test]
    fn what_was_meant_to_be_a_record_is_named() {
        for text in
            ["v=DMARC1, p=none", "v=DMARC1 p=none", "v=dmarc1; p=none", "\"v=DMARC1; p=none\"", "DMARC1; p=none"]
        {
            let zone = FixedZone::new();
            zone.add_txt("_dmarc.test.dk", text);
            zone.add_txt("_dmarc.test.dk", "v=spf1 -all");
            let domain = Domain::parse("test.dk").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let check = runtime.block_on(check(
                &zone,
                &Settings::default(),
                &domain,
                Path::OwnServer,
                Seen::Verified,
                Need::Optional,
            ));
            let near = Finding::DmarcNearMiss { host: "_dmarc.test.dk".into(), text: text.into() };
            assert!(check.findings.contains(&near), "{:?}", check.findings);
            assert_eq!(check.findings.len(), 2, "{:?}", check.findings);
        }
    }

    #[test]
    fn reports_to_another_organization_need_its_consent() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=none; rua=mailto:a@reports.test.dk, mailto:b@agrees.com!10m,mailto:c@silent.com,https://x\"\n\
                    test.dk._report._dmarc.agrees.com TXT \"v=DMARC1;\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Verified);
        let refused = |destination: &str, host: &str| Finding::DmarcReportsRefused {
            destination: destination.into(),
            host: host.into(),
        };
        assert!(findings.contains(&refused("silent.com", "test.dk._report._dmarc.silent.com")));
        assert!(
            !findings
                .iter()
                .any(|f| matches!(f, Finding::DmarcReportsRefused { destination, .. } if destination != "silent.com")),
            "{findings:?}"
        );
        assert!(findings.contains(&Finding::DmarcTag { host: "_dmarc.test.dk".into(), tag: "rua=https://x".into() }));
    }

    #[test]
    fn wrong_hosts_are_found() {
        for at in ["dmarc.test.dk", "_dmarc.test.dk.test.dk", "test.dk"] {
            let findings = run(&format!("{at} TXT \"v=DMARC1; p=none\""), "test.dk", Path::OwnServer, Seen::Verified);
            let wrong = Finding::WrongHost { found_at: at.into(), right_host: "_dmarc.test.dk".into() };
            assert!(findings.contains(&wrong), "{findings:?}");
        }
    }

    #[test]
    fn a_policy_that_hits_our_own_mail_is_named() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; aspf=s; rua=mailto:d@test.dk\"";
        let findings = run(zone, "test.dk", Path::Mailjet { alias: true }, Seen::Missing);
        assert!(findings.contains(&Finding::DmarcWithoutDkim { policy: "reject".into(), key: Item::MailjetDkim }));
        assert!(findings.contains(&Finding::DmarcSpfStrict { alias: "bnc3.test.dk".into() }));
        let findings = run(zone, "test.dk", Path::Mailjet { alias: false }, Seen::Verified);
        assert!(findings.contains(&Finding::DmarcSpfUnaligned { alias: "bnc3.test.dk".into() }));
    }

    #[test]
    fn a_policy_hits_only_what_is_forwarded_where_spf_aligns() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let (policy, key) = (|| "reject".to_owned(), Item::MailjetDkim);
        for (alias, said) in [
            (true, Finding::DmarcOnSpfAlone { policy: policy(), key }),
            (false, Finding::DmarcWithoutDkim { policy: policy(), key }),
        ] {
            let findings = run(zone, "test.dk", Path::Mailjet { alias }, Seen::Missing);
            let hits = |f: &&Finding| matches!(f, Finding::DmarcOnSpfAlone { .. } | Finding::DmarcWithoutDkim { .. });
            assert_eq!(findings.iter().filter(hits).collect::<Vec<_>>(), [&said]);
        }
    }

    #[test]
    fn of_a_key_that_nobody_could_ask_for_nothing_is_said() {
        let zone = "_dmarc.test.dk TXT \"v=DMARC1; p=reject; rua=mailto:d@test.dk\"";
        let findings = run(zone, "test.dk", Path::OwnServer, Seen::Unknown);
        assert_eq!(findings, [Finding::DmarcGood { host: "_dmarc.test.dk".into(), policy: "reject".into() }]);
    }

    #[test]
    fn records_receivers_cannot_use_are_refused() {
        let policy = |tag: &str| Err(Unusable::Policy(tag.to_owned()));
        for (text, refused) in [
            ("v=DMARC1; p=maybe", policy("p=maybe")),
            ("v=DMARC1", policy("p=")),
            ("v=DMARC1; p=reject; sp=maybe", policy("sp=maybe")),
            ("v=DMARC1; p=reject; np=maybe; rua=d@test.dk", policy("np=maybe")),
            ("v=DMARC1; p=none; P=reject; rua=mailto:d@test.dk", Err(Unusable::Twice("p".to_owned()))),
            ("v=DMARC1; v=DMARC1; p=none", Err(Unusable::Twice("v".to_owned()))),
        ] {
            assert_eq!(Record::parse(text), refused, "{text}");
        }
    }

    #[test]
    fn with_an_address_for_reports_an_unusable_policy_counts_as_none() {
        for (text, tag) in [
            ("v=DMARC1; p=maybe; rua=mailto:a@b.dk", "p=maybe"),
            ("v=DMARC1; rua=mailto:a@b.dk", "p="),
            ("v=DMARC1; p=reject; sp=maybe; rua=mailto:a@b.dk", "sp=maybe"),
            ("v=DMARC1; p=reject; sp=reject; np=maybe; rua=mailto:a@b.dk", "np=maybe"),
        ] {
            let record = Record::parse(text).unwrap();
            assert_eq!((record.policy, record.subdomain_policy), (Policy::None, None), "{text}");
            assert_eq!(record.fallback.as_deref(), Some(tag), "{text}");
        }
        assert_eq!(Record::parse("V=DMARC1; P=Reject; SP=none; t=Y").unwrap().fallback, None);
    }

    #[test]
    fn only_the_exact_version_is_dmarc() {
        assert!(is_dmarc("V=DMARC1; p=none") && !is_dmarc("v=dmarc1; p=none"));
        assert!(!is_dmarc("v=DMARC1x; p=none") && !is_dmarc("p=none; v=DMARC1") && is_dmarc("v = DMARC1;p=none"));
    }

    #[test]
    fn a_dead_name_server_is_no_missing_record() {
        let findings = run("test.dk FAIL", "test.dk", Path::OwnServer, Seen::Verified);
        assert!(matches!(&findings[..], [Finding::Unanswered { .. }]), "{findings:?}");
    }
}
