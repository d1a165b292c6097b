//! Evaluates a record as `check_host()` of RFC 7208 §4 does, and records which terms were tried, the cost of each, which one matched, and
//! all problems on the way.
//!
//! The same walk answers two questions. What does a receiver decide for one address ([`Limits::receiver`])? And what can the whole record
//! cost at most ([`Limits::survey`])? A survey does not stop at a match or at a limit of the RFC, but has bounds of its own.

mod found;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use ipnet::{Ipv4Net, Ipv6Net};

use super::macros::{MacroString, Values};
use super::record::{Directive, MOST_OCTETS, Mechanism, Qualifier, Record, Target};
use super::{is_spf, looks_like_spf, repair};
use crate::plain;
use crate::resolver::{self, Resolver, joined};

pub use found::{Limits, MOST_LOOKUPS, MOST_VOID_LOOKUPS, Problem, Query, SpfResult, Step, Walk};

/// The most exchanges of an `mx`, and names of a `ptr` (RFC 7208 §4.6.4).
const MOST_NAMES: usize = 10;
/// The maximum depth of nested records. A receiver's ten lookups also limit it.
const DEEPEST: usize = 20;
/// The most faulty terms of a record that are named. Once these are corrected, the next check names the others.
const MOST_FAULTS: usize = 20;
/// The maximum number of steps that are kept, over all records.
const MOST_STEPS: usize = 2000;

/// Evaluates the record as a receiver does, and records its findings.
pub async fn walk(resolver: &dyn Resolver, query: &Query<'_>, limits: Limits) -> Walk {
    let found = Walk {
        result: SpfResult::None,
        record: None,
        lookups: 0,
        void_lookups: 0,
        steps: Vec::new(),
        problems: Vec::new(),
        visited: Vec::new(),
    };
    let mut walker = Walker { resolver, query, limits, found, validated: None };
    // RFC 7208 §4.3: a name with one label, or a text that is no name, has no policy.
    let domain = query.domain.trim_end_matches('.').to_ascii_lowercase();
    let result = match domain.contains('.') {
        true => walker.check_host(domain, Vec::new(), query.instead).await,
        false => Ok(SpfResult::None),
    };
    walker.found.result = result.unwrap_or_else(|stop| stop);
    walker.found
}

struct Walker<'a> {
    resolver: &'a dyn Resolver,
    query: &'a Query<'a>,
    limits: Limits,
    found: Walk,
    /// The validated name of the address, after the first question for it.
    validated: Option<Option<String>>,
}

/// An error ends the whole evaluation with this result: temperror or permerror.
type Evaluated<T> = Result<T, SpfResult>;
type Pending<'f> = Pin<Box<dyn Future<Output = Evaluated<SpfResult>> + Send + 'f>>;

impl<'a> Walker<'a> {
    /// `path` holds the domains whose records are being evaluated above this one.
    fn check_host<'f>(&'f mut self, domain: String, path: Vec<String>, instead: Option<&'f str>) -> Pending<'f> {
        Box::pin(async move {
            let text = match instead {
                Some(text) => text.to_owned(),
                None => match self.record_of(&domain).await? {
                    Some(text) => text,
                    None => return Ok(SpfResult::None),
                },
            };
            if path.is_empty() {
                self.found.record = Some(text.clone());
            }
            self.evaluate(domain, path, &text).await
        })
    }

    /// Returns the one record of a domain (§4.4, §4.5).
    async fn record_of(&mut self, domain: &str) -> Evaluated<Option<String>> {
        let texts = match self.resolver.txt(domain).await {
            Ok(texts) => texts,
            Err(resolver::Error::Name(_)) => Vec::new(),
            Err(error) => return self.unanswered(&error),
        };
        let texts: Vec<Vec<u8>> = texts.iter().map(|strings| joined(strings)).collect();
        let mut records: Vec<String> = texts.iter().filter(|text| is_spf(text)).map(|text| plain::text(text)).collect();
        match records.len() {
            0 => {
                let near = texts.iter().filter(|text| looks_like_spf(text));
                let near_misses = near.map(|text| plain::text(text)).collect();
                self.problem(Problem::NoRecord { domain: domain.to_owned(), near_misses });
                Ok(None)
            }
            1 => Ok(records.pop()),
            _ => {
                // The order of an answer is random, and people compare what they read.
                records.sort();
                self.problem(Problem::Several { domain: domain.to_owned(), records });
                Err(SpfResult::PermError)
            }
        }
    }

    async fn evaluate(&mut self, domain: String, mut path: Vec<String>, text: &str) -> Evaluated<SpfResult> {
        if text.len() > MOST_OCTETS {
            self.problem(Problem::TooLong { domain, octets: text.len() });
            return Err(SpfResult::PermError);
        }
        let (record, mut faults) = Record::parse_leniently(text);
        self.remark(&domain, &record);
        if !faults.is_empty() {
            faults.truncate(MOST_FAULTS);
            self.problem(Problem::Syntax { domain: domain.clone(), faults });
            // §4.6: a faulty term anywhere ends the evaluation before it begins.
            if self.limits.stop_at_match {
                return Err(SpfResult::PermError);
            }
        }
        path.push(domain.clone());
        let depth = path.len() - 1;
        for directive in &record.directives {
            let at = self.found.steps.len();
            if at < MOST_STEPS {
                let (domain, term) = (domain.clone(), directive.text.clone());
                self.found.steps.push(Step { depth, domain, term, matched: false });
            }
            let matched = self.matches(directive, &domain, &path).await?;
            if let Some(step) = self.found.steps.get_mut(at) {
                step.matched = matched;
            }
            if matched && self.limits.stop_at_match {
                return Ok(directive.qualifier.into());
            }
            if directive.mechanism == Mechanism::All {
                // §6.1: with `all`, redirect is ignored.
                return Ok(SpfResult::Neutral);
            }
        }
        let Some(target) = &record.redirect else { return Ok(SpfResult::Neutral) };
        self.count_lookup()?;
        let target = self.expand(target, &domain).await?;
        match self.enter(target, &path).await? {
            SpfResult::None => Err(SpfResult::PermError),
            result => Ok(result),
        }
    }

    /// Reports the problems of a record that are visible without evaluating it.
    fn remark(&mut self, domain: &str, record: &Record) {
        let domain = domain.to_owned();
        if record.directives.iter().any(|d| matches!(d.mechanism, Mechanism::Ptr(_))) {
            self.problem(Problem::Ptr { domain: domain.clone() });
        }
        let terms: Vec<String> = record.modifiers.iter().filter(|m| repair::is_without_effect(m)).cloned().collect();
        if !terms.is_empty() {
            self.problem(Problem::NoEffect { domain: domain.clone(), terms });
        }
        let all = record.all();
        let counts = &record.directives[..all.map_or(record.directives.len(), |all| all + 1)];
        if let Some(wide) = counts.iter().find(|d| d.qualifier == Qualifier::Pass && d.mechanism.is_everybody()) {
            self.problem(Problem::EverybodyPasses { domain: domain.clone(), term: wide.text.clone() });
        }
        let Some(all) = all else { return };
        let mut terms: Vec<String> = record.directives[all + 1..].iter().map(|d| d.text.clone()).collect();
        if record.redirect.is_some() {
            terms.extend(record.modifiers.iter().filter(|m| m.to_ascii_lowercase().starts_with("redirect=")).cloned());
        }
        if !terms.is_empty() {
            self.problem(Problem::AfterAll { domain, terms });
        }
    }

    async fn matches(&mut self, directive: &Directive, domain: &str, path: &[String]) -> Evaluated<bool> {
        if directive.mechanism.costs_a_lookup() {
            self.count_lookup()?;
        }
        let ip = self.query.ip;
        Ok(match &directive.mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(net) => canonical(ip).is_some_and(|ip| net.contains(&ip)),
            Mechanism::Ip6(net) => matches!(ip, IpAddr::V6(ip) if net.contains(&ip)),
            Mechanism::A(target) => {
                let name = self.target_name(target, domain).await?;
                self.has_address(&name, target).await?
            }
            Mechanism::Mx(target) => {
                let name = self.target_name(target, domain).await?;
                let exchanges = match self.resolver.mx(&name).await {
                    Ok(exchanges) => exchanges,
                    Err(resolver::Error::Name(_)) => Vec::new(),
                    Err(error) => return self.unanswered(&error),
                };
                self.count_void(exchanges.is_empty())?;
                if exchanges.len() > MOST_NAMES {
                    self.problem(Problem::TooManyExchanges { domain: name });
                    if self.limits.stop_at_match {
                        return Err(SpfResult::PermError);
                    }
                }
                let mut matched = false;
                for (_, host) in exchanges.iter().take(MOST_NAMES) {
                    // "MX 0 ." says that there is no exchange (RFC 7505).
                    matched |= !host.is_empty() && self.has_address(host, target).await?;
                    if matched && self.limits.stop_at_match {
                        break;
                    }
                }
                matched
            }
            Mechanism::Ptr(name) => {
                let name = match name {
                    Some(name) => self.expand(name, domain).await?,
                    None => domain.to_owned(),
                };
                self.validated_names().await.iter().any(|valid| is_within(valid, &name.to_ascii_lowercase()))
            }
            Mechanism::Exists(name) => {
                let name = self.expand(name, domain).await?;
                let found = match self.resolver.ipv4(&name).await {
                    Ok(found) => !found.is_empty(),
                    Err(resolver::Error::Name(_)) => false,
                    Err(error) => return self.unanswered(&error),
                };
                self.count_void(!found)?;
                found
            }
            Mechanism::Include(name) => {
                let name = self.expand(name, domain).await?;
                match self.enter(name, path).await? {
                    SpfResult::Pass => true,
                    SpfResult::None => return Err(SpfResult::PermError),
                    _ => false,
                }
            }
        })
    }

    /// Evaluates an included or redirected record.
    async fn enter(&mut self, name: String, path: &[String]) -> Evaluated<SpfResult> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if path.contains(&name) {
            self.problem(Problem::Loop { domain: name.clone() });
            if !self.limits.stop_at_match {
                return Ok(SpfResult::Neutral);
            }
        }
        if path.len() >= DEEPEST {
            return Err(SpfResult::PermError);
        }
        if !self.found.visited.contains(&name) {
            self.found.visited.push(name.clone());
        }
        let result = self.check_host(name, path.to_vec(), None).await;
        match result {
            // A survey continues with the other terms.
            Err(SpfResult::PermError) | Ok(SpfResult::None)
                if !self.limits.stop_at_match && self.found.lookups < self.limits.lookups =>
            {
                Ok(SpfResult::Neutral)
            }
            result => result,
        }
    }

    async fn target_name(&mut self, target: &Target, domain: &str) -> Evaluated<String> {
        match &target.name {
            Some(name) => self.expand(name, domain).await,
            None => Ok(domain.to_owned()),
        }
    }

    async fn has_address(&mut self, name: &str, target: &Target) -> Evaluated<bool> {
        let answer = match self.query.ip {
            IpAddr::V4(ip) => self.resolver.ipv4(name).await.map(|found| {
                let near = |at: Ipv4Addr| Ipv4Net::new(at, target.v4).is_ok_and(|net| net.contains(&ip));
                (found.is_empty(), found.into_iter().any(near))
            }),
            IpAddr::V6(ip) => self.resolver.ipv6(name).await.map(|found| {
                let near = |at: Ipv6Addr| Ipv6Net::new(at, target.v6).is_ok_and(|net| net.contains(&ip));
                (found.is_empty(), found.into_iter().any(near))
            }),
        };
        match answer {
            Ok((void, matched)) => {
                self.count_void(void)?;
                Ok(matched)
            }
            // A name that DNS cannot hold has no address (§4.8).
            Err(resolver::Error::Name(_)) => Ok(false),
            Err(error) => self.unanswered(&error),
        }
    }

    /// Returns the names of the address that point back to it (§5.5). A failure only makes the list shorter.
    async fn validated_names(&mut self) -> Vec<String> {
        let ip = self.query.ip;
        let mut valid = Vec::new();
        for name in self.resolver.ptr(ip).await.unwrap_or_default().into_iter().take(MOST_NAMES) {
            let back = match ip {
                IpAddr::V4(ip) => self.resolver.ipv4(&name).await.is_ok_and(|found| found.contains(&ip)),
                IpAddr::V6(ip) => self.resolver.ipv6(&name).await.is_ok_and(|found| found.contains(&ip)),
            };
            if back {
                valid.push(name);
            }
        }
        valid
    }

    async fn expand(&mut self, name: &MacroString, domain: &str) -> Evaluated<String> {
        if name.needs_validated_name() && self.validated.is_none() {
            let names = self.validated_names().await;
            // §7.3: prefer the domain itself, then a name below it, then any name.
            let best = names
                .iter()
                .find(|name| *name == domain)
                .or_else(|| names.iter().find(|name| is_within(name, domain)))
                .or(names.first());
            self.validated = Some(best.cloned());
        }
        Ok(name.expand(&Values {
            ip: self.query.ip,
            local: self.query.local,
            sender_domain: self.query.domain,
            domain,
            helo: self.query.helo,
            validated: self.validated.as_ref().and_then(Option::as_deref),
        }))
    }

    fn count_lookup(&mut self) -> Evaluated<()> {
        self.found.lookups += 1;
        if self.found.lookups > self.limits.lookups {
            self.problem(Problem::TooManyLookups);
            return Err(SpfResult::PermError);
        }
        Ok(())
    }

    fn count_void(&mut self, void: bool) -> Evaluated<()> {
        self.found.void_lookups += u32::from(void);
        if self.found.void_lookups > self.limits.voids {
            self.problem(Problem::TooManyVoidLookups);
            return Err(SpfResult::PermError);
        }
        Ok(())
    }

    fn unanswered<T>(&mut self, error: &resolver::Error) -> Evaluated<T> {
        self.problem(Problem::Unanswered(error.clone()));
        Err(SpfResult::TempError)
    }

    fn problem(&mut self, problem: Problem) {
        if !self.found.problems.contains(&problem) {
            self.found.problems.push(problem);
        }
    }
}

/// Returns the address as IPv4, if it is IPv4 or IPv4-mapped IPv6 (§5).
fn canonical(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}

fn is_within(name: &str, parent: &str) -> bool {
    name == parent || name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
