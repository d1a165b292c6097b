//! Recognizes the DNS provider of a zone by the names of its name servers. Each provider's panel expects hosts and values in its own form.

/// A provider whose panel we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsProvider {
    OneCom,
    Simply,
    DanDomain,
    GoDaddy,
    Cloudflare,
    AzureDns,
    Route53,
    /// Another or an unknown provider.
    Other,
}

impl DnsProvider {
    /// Returns the provider. If the name servers belong to two providers, it is unknown.
    pub fn of(name_servers: &[String]) -> Self {
        let mut all = name_servers.iter().map(|name| one(&name.to_ascii_lowercase()));
        let Some(first) = all.next() else { return DnsProvider::Other };
        if all.all(|it| it == first) { first } else { DnsProvider::Other }
    }

    /// Returns the provider's name, or `None` for other providers.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            DnsProvider::OneCom => "one.com",
            DnsProvider::Simply => "Simply.com",
            DnsProvider::DanDomain => "DanDomain",
            DnsProvider::GoDaddy => "GoDaddy",
            DnsProvider::Cloudflare => "Cloudflare",
            DnsProvider::AzureDns => "Azure DNS",
            DnsProvider::Route53 => "Amazon Route 53",
            DnsProvider::Other => return None,
        })
    }
}

fn one(name: &str) -> DnsProvider {
    let name = name.trim_end_matches('.');
    let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    // In ns1-07.azure-dns.com and ns-1234.awsdns-56.co.uk the number is in the domain's own label.
    let owner = |mark: &str| name.split('.').any(|label| label.starts_with(mark));
    match () {
        () if below("one.com") => DnsProvider::OneCom,
        () if below("simply.com") || below("unoeuro.com") => DnsProvider::Simply,
        () if below("dandomain.dk") || below("dandomain.net") => DnsProvider::DanDomain,
        () if below("domaincontrol.com") => DnsProvider::GoDaddy,
        () if below("ns.cloudflare.com") => DnsProvider::Cloudflare,
        () if owner("azure-dns") => DnsProvider::AzureDns,
        () if owner("awsdns-") => DnsProvider::Route53,
        () => DnsProvider::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_tell_whose_panel_it_is() {
        for (servers, expected) in [
            (vec!["ns01.one.com", "ns02.one.com"], DnsProvider::OneCom),
            (vec!["ns1.simply.com.", "NS2.Simply.COM"], DnsProvider::Simply),
            (vec!["ns1.unoeuro.com"], DnsProvider::Simply),
            (vec!["ns.dandomain.dk", "ns2.dandomain.dk"], DnsProvider::DanDomain),
            (vec!["ns53.domaincontrol.com"], DnsProvider::GoDaddy),
            (vec!["ada.ns.cloudflare.com"], DnsProvider::Cloudflare),
            (vec!["ns1-07.azure-dns.com", "ns2-07.azure-dns.net"], DnsProvider::AzureDns),
            (vec!["ns-1234.awsdns-56.co.uk", "ns-1.awsdns-00.com"], DnsProvider::Route53),
            (vec!["ns1.gone.com"], DnsProvider::Other),
            (vec!["one.com"], DnsProvider::Other),
            (vec!["ns01.one.com", "ns1.simply.com"], DnsProvider::Other),
            (vec![], DnsProvider::Other),
            (vec![""], DnsProvider::Other),
        ] {
            let names: Vec<String> = servers.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(DnsProvider::of(&names), expected, "{servers:?}");
        }
    }
}
