//! Recognizes the DNS provider of a zone by the names of its name servers. Each provider's panel expects hosts and values in its own form.

/// A provider whose panel we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsProvider {
    OneCom,
    Simply,
    DanDomain,
    Curanet,
    ScanNet,
    Wannafind,
    GoDaddy,
    Cloudflare,
    AzureDns,
    Route53,
    Microsoft365,
    Ionos,
    Ovh,
    Namecheap,
    Hostinger,
    /// Another or an unknown provider.
    Other,
}

impl DnsProvider {
    /// All providers, and `Other`.
    pub const ALL: [DnsProvider; 16] = [
        DnsProvider::OneCom,
        DnsProvider::Simply,
        DnsProvider::DanDomain,
        DnsProvider::Curanet,
        DnsProvider::ScanNet,
        DnsProvider::Wannafind,
        DnsProvider::GoDaddy,
        DnsProvider::Cloudflare,
        DnsProvider::AzureDns,
        DnsProvider::Route53,
        DnsProvider::Microsoft365,
        DnsProvider::Ionos,
        DnsProvider::Ovh,
        DnsProvider::Namecheap,
        DnsProvider::Hostinger,
        DnsProvider::Other,
    ];

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
            DnsProvider::Curanet => "Curanet",
            DnsProvider::ScanNet => "ScanNet",
            DnsProvider::Wannafind => "Wannafind",
            DnsProvider::GoDaddy => "GoDaddy",
            DnsProvider::Cloudflare => "Cloudflare",
            DnsProvider::AzureDns => "Azure DNS",
            DnsProvider::Route53 => "Amazon Route 53",
            DnsProvider::Microsoft365 => "Microsoft 365",
            DnsProvider::Ionos => "IONOS",
            DnsProvider::Ovh => "OVHcloud",
            DnsProvider::Namecheap => "Namecheap",
            DnsProvider::Hostinger => "Hostinger",
            DnsProvider::Other => return None,
        })
    }
}

fn one(name: &str) -> DnsProvider {
    let name = name.trim_end_matches('.');
    let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    // In ns1-07.azure-dns.com, ns-1234.awsdns-56.co.uk and ns1050.ui-dns.biz the rest of the domain varies.
    let owner = |mark: &str| name.split('.').any(|label| label.starts_with(mark));
    match () {
        () if below("one.com") => DnsProvider::OneCom,
        () if below("simply.com") || below("unoeuro.com") => DnsProvider::Simply,
        () if below("dandomain.dk") || below("dandomain.net") => DnsProvider::DanDomain,
        () if below("curanet.dk") => DnsProvider::Curanet,
        () if below("scannet.dk") => DnsProvider::ScanNet,
        () if below("wannafind.dk") => DnsProvider::Wannafind,
        () if below("domaincontrol.com") => DnsProvider::GoDaddy,
        () if below("ns.cloudflare.com") => DnsProvider::Cloudflare,
        () if owner("azure-dns") => DnsProvider::AzureDns,
        () if owner("awsdns-") => DnsProvider::Route53,
        () if below("bdm.microsoftonline.com") => DnsProvider::Microsoft365,
        () if owner("ui-dns") => DnsProvider::Ionos,
        () if below("ovh.net") || below("ovh.ca") => DnsProvider::Ovh,
        () if below("registrar-servers.com") => DnsProvider::Namecheap,
        () if below("dns-parking.com") => DnsProvider::Hostinger,
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
            (vec!["ns1.curanet.dk", "ns2.curanet.dk"], DnsProvider::Curanet),
            (vec!["ns1.scannet.dk"], DnsProvider::ScanNet),
            (vec!["ns1.wannafind.dk"], DnsProvider::Wannafind),
            (vec!["ns1.bdm.microsoftonline.com", "ns4.bdm.microsoftonline.com"], DnsProvider::Microsoft365),
            (vec!["ns1050.ui-dns.biz", "ns1121.ui-dns.de", "ns1084.ui-dns.org"], DnsProvider::Ionos),
            (vec!["dns15.ovh.net", "ns15.ovh.net"], DnsProvider::Ovh),
            (vec!["dns1.registrar-servers.com"], DnsProvider::Namecheap),
            (vec!["lunar.dns-parking.com", "solar.dns-parking.com"], DnsProvider::Hostinger),
            (vec!["login.microsoftonline.com"], DnsProvider::Other),
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
