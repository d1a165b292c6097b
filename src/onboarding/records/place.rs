//! Finds the zone of each record's host, and what must be removed at the host before the record can be published.

use serde::Serialize;
use tokio::time::Instant;

use super::Row;
use crate::onboarding::alias::{self, Alias};
use crate::onboarding::misplaced::label;
use crate::onboarding::{Finding, Item, Report};
use crate::resolver::{Error, Resolver};
use crate::smtp::Domain;

/// What is published at a host and keeps a record from being published there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum InTheWay {
    /// The From domain itself is an alias.
    DomainAlias {
        /// The target of the alias.
        target: String,
    },
    /// The host is an alias.
    Alias {
        /// The target of the alias.
        target: String,
    },
    /// The host has an address, and an alias must be published there.
    Address {
        /// The address that the host has.
        address: String,
    },
}

/// Sets the zone and the label of each row, and what is in its way. Returns the zone of the domain. If slow name servers do not answer
/// before the checks end, these values stay unknown, and the table is still correct.
pub(super) async fn place(
    resolver: &dyn Resolver,
    until: Instant,
    domain: &Domain,
    report: &Report,
    rows: &mut [Row],
) -> Option<String> {
    let mut zone = None;
    let work = async {
        zone = resolver.zone(domain.as_str()).await?;
        for row in rows {
            row.zone = resolver.zone(&row.host).await?;
            if let Some(zone) = &row.zone {
                row.label = label(&row.host, zone).to_owned();
            }
            if !row.present {
                row.in_the_way = in_the_way(resolver, domain, report, row).await?;
            }
        }
        Ok::<(), Error>(())
    };
    // Stop at the first question without an answer: the others would probably take their whole time too.
    let _ = tokio::time::timeout_at(until, work).await;
    zone
}

async fn in_the_way(
    resolver: &dyn Resolver,
    domain: &Domain,
    report: &Report,
    row: &Row,
) -> Result<Option<InTheWay>, Error> {
    let returns = report.check(Item::ReturnPath).filter(|_| row.item == Item::ReturnPath);
    for finding in returns.iter().flat_map(|check| &check.findings) {
        if let Finding::ReturnPathAddress { address, .. } = finding {
            return Ok(Some(InTheWay::Address { address: address.clone() }));
        }
    }
    Ok(match alias::of(resolver, &row.host).await? {
        Some(Alias::Own(target)) if row.host == domain.as_str() => Some(InTheWay::DomainAlias { target }),
        Some(Alias::Own(target)) => Some(InTheWay::Alias { target }),
        // A record at the name replaces a wildcard.
        Some(Alias::Wildcard(_)) | None => None,
    })
}
