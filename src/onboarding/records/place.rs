//! Where each record goes: the zone that its host lies in, and what stands at the host already and has to go first.

use std::time::Duration;

use serde::Serialize;

use super::Row;
use crate::onboarding::alias::{self, Alias};
use crate::onboarding::misplaced::label;
use crate::onboarding::{Finding, Item, Report};
use crate::resolver::{Error, Resolver};
use crate::smtp::Domain;

/// What slow name servers do not say in this time stays unknown: the table without it is right, only less handy.
const LONGEST: Duration = Duration::from_secs(10);

/// What stands at a host so that a record cannot be published beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum InTheWay {
    /// The From domain itself is an alias.
    DomainAlias {
        /// Where it leads.
        target: String,
    },
    /// The host is an alias.
    Alias {
        /// Where it leads.
        target: String,
    },
    /// Where an alias is to be published, there is an address.
    Address {
        /// Which one.
        address: String,
    },
}

/// Fills in each row's zone and label, and what is in its way. Gives the domain's zone.
pub(super) async fn place(
    resolver: &dyn Resolver,
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
    // After the first question without an answer the others would only take their time.
    let _ = tokio::time::timeout(LONGEST, work).await;
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
        // A record at the name takes a wildcard's place.
        Some(Alias::Wildcard(_)) | None => None,
    })
}
