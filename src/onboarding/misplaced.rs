//! Records at a wrong host. Often a DNS panel has appended the zone's name to a host that was already complete.

use super::finding::Finding;
use crate::resolver::Resolver;
use crate::smtp::Domain;

/// Returns the hosts where a record is if a panel has appended the name of the domain or of its zone to a complete host.
pub(super) async fn doubled(resolver: &dyn Resolver, host: &str, domain: &Domain) -> Vec<String> {
    let zone = zone(resolver, domain.as_str()).await.filter(|zone| zone != domain.as_str());
    zone.iter().map(String::as_str).chain([domain.as_str()]).map(|appended| format!("{host}.{appended}")).collect()
}

/// Makes the finding about a record at a wrong host, with the zone of the right host.
pub(super) async fn wrong_host(resolver: &dyn Resolver, found_at: String, right_host: &str) -> Finding {
    Finding::WrongHost { found_at, right_host: right_host.to_owned(), zone: zone(resolver, right_host).await }
}

/// Returns the zone of a name, or `None` if DNS does not say.
pub(super) async fn zone(resolver: &dyn Resolver, name: &str) -> Option<String> {
    resolver.zone(name).await.ok().flatten()
}

/// Returns the part of a host to enter in a panel that appends the zone's name. `@` stands for the zone itself.
pub fn label<'a>(host: &'a str, zone: &str) -> &'a str {
    match host.strip_suffix(zone) {
        Some("") => "@",
        Some(label) => label.strip_suffix('.').unwrap_or(host),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::FixedZone;

    #[test]
    fn a_label_is_relative_to_its_zone() {
        for (host, zone, typed) in [
            ("sub.dk", "sub.dk", "@"),
            ("nyhed.sub.dk", "sub.dk", "nyhed"),
            ("_dmarc.nyhed.sub.dk", "sub.dk", "_dmarc.nyhed"),
            ("postbud1._domainkey.sub.dk", "_domainkey.sub.dk", "postbud1"),
            ("_dmarc.xsub.dk", "sub.dk", "_dmarc.xsub.dk"),
            ("a.b.dk", "c.dk", "a.b.dk"),
        ] {
            assert_eq!(label(host, zone), typed, "{host} in {zone}");
        }
    }

    #[tokio::test]
    async fn a_panel_appends_the_domain_or_its_zone() {
        let zone = FixedZone::parse("sub.dk SOA").unwrap();
        let domain = Domain::parse("nyhed.sub.dk").unwrap();
        let hosts = doubled(&zone, "_dmarc.nyhed.sub.dk", &domain).await;
        assert_eq!(hosts, ["_dmarc.nyhed.sub.dk.sub.dk", "_dmarc.nyhed.sub.dk.nyhed.sub.dk"]);
        let domain = Domain::parse("sub.dk").unwrap();
        assert_eq!(doubled(&zone, "_dmarc.sub.dk", &domain).await, ["_dmarc.sub.dk.sub.dk"]);
        assert_eq!(doubled(&FixedZone::new(), "_dmarc.sub.dk", &domain).await, ["_dmarc.sub.dk.sub.dk"]);
    }
}
