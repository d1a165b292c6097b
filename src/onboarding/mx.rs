//! Checks that the domain can receive mail: many receivers refuse mail that cannot be answered.

use super::finding::{Check, Finding, Item, Need};
use crate::resolver::{self, Resolver};
use crate::smtp::Domain;

/// The most mail exchangers that are looked up. A domain may name any number.
const MOST_EXCHANGES: usize = 10;

/// Checks the mail exchangers, and returns them.
pub(super) async fn check(resolver: &dyn Resolver, domain: &Domain) -> (Check, Vec<(u16, String)>) {
    let mut check = Check::new(Item::Mx, Need::Recommended);
    let exchanges = match resolver.mx(domain.as_str()).await {
        Ok(exchanges) => exchanges,
        Err(error) => {
            check.say(Finding::Unanswered { reason: error });
            return (check, Vec::new());
        }
    };
    check.found = exchanges.iter().map(|(preference, host)| format!("{preference} {host}.")).collect();
    match exchanges.first() {
        // RFC 7505.
        Some((_, host)) if host.is_empty() => check.say(Finding::MxNull { domain: domain.to_string() }),
        Some(_) => check.say(reachable(resolver, &exchanges).await),
        // RFC 5321 §5.1: without an MX record, the domain's address receives the mail.
        None => match resolver.addresses(domain.as_str()).await {
            Ok(addresses) if !addresses.is_empty() => check.say(Finding::MxGood { host: domain.to_string() }),
            Ok(_) => check.say(Finding::MxMissing { domain: domain.to_string() }),
            Err(error) => check.say(Finding::Unanswered { reason: error }),
        },
    }
    (check, exchanges)
}

/// Finds the first mail exchanger that has a usable address.
async fn reachable(resolver: &dyn Resolver, exchanges: &[(u16, String)]) -> Finding {
    let mut unanswered = None;
    for (_, host) in exchanges.iter().take(MOST_EXCHANGES) {
        match resolver.addresses(host).await {
            Ok(addresses) if addresses.iter().any(|address| !address.is_loopback() && !address.is_unspecified()) => {
                return Finding::MxGood { host: host.clone() };
            }
            // A name that is not a DNS name has no address.
            Ok(_) | Err(resolver::Error::Name(_)) => {}
            Err(error) => unanswered = Some(error),
        }
    }
    match unanswered {
        Some(error) => Finding::Unanswered { reason: error },
        None => Finding::MxUnreachable { host: exchanges.first().map(|(_, host)| host.clone()).unwrap_or_default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Severity;

    #[tokio::test]
    async fn mail_is_reached_by_an_exchange_with_an_address() {
        use crate::resolver::FixedZone;
        let zone = "good.dk MX 5 gone.good.dk\ngood.dk MX 10 m.good.dk\nm.good.dk A 192.0.2.1\n\
                    gone.dk MX 5 m.gone.dk\nnumber.dk MX 5 192.0.2.1\nlocal.dk MX 5 m.local.dk\nm.local.dk A 127.0.0.1\n\
                    dead.dk MX 5 m.dead.example\ndead.example FAIL\nhost.dk A 192.0.2.1\nnull.dk MX 0 .";
        let zone = FixedZone::parse(zone).unwrap();
        for (name, severity, said) in [
            ("good.dk", Severity::Good, "m.good.dk"),
            ("gone.dk", Severity::Warning, "m.gone.dk"),
            ("number.dk", Severity::Warning, "192.0.2.1"),
            ("local.dk", Severity::Warning, "m.local.dk"),
            ("dead.dk", Severity::Unknown, "m.dead.example"),
            ("host.dk", Severity::Good, "host.dk"),
            ("null.dk", Severity::Warning, "null.dk"),
        ] {
            let (check, _) = super::check(&zone, &Domain::parse(name).unwrap()).await;
            assert_eq!(check.severity(), severity, "{name}: {:?}", check.findings);
            assert!(format!("{:?}", check.findings).contains(said), "{name}: {:?}", check.findings);
        }
    }
}
