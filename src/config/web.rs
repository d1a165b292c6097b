//! `[web]` and `[api]`: what is served over HTTP.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::listener::{self, Mode, overlap};
use super::reader::Table;
use super::value::HostName;
use crate::submission::{ListenerSettings, ListenerTls};
use crate::web::{Proxies, Settings};

/// Where the pages are, unless the file says otherwise.
const PAGES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);
/// Where the API is, unless the file says otherwise.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8026);

/// `[web]`; no pages are served where it is absent.
pub(super) fn pages(table: &Table<'_>, listeners: &[ListenerSettings]) -> Option<Settings> {
    if !table.is_there() {
        return None;
    }
    let address = address(table, PAGES, "the status pages a port of their own", listeners);
    Some(Settings { hosts: hosts(table), ..Settings::plaintext(address) })
}

/// `[api]`; no API is served where it is absent.
pub(super) fn api(table: &Table<'_>, listeners: &[ListenerSettings], pages: Option<&Settings>) -> Option<Settings> {
    if !table.is_there() {
        return None;
    }
    let address = address(table, API, "the API a port of its own", listeners);
    if pages.is_some_and(|pages| overlap(pages.address, address)) {
        table.mistake("address", "[web] has this address already; give the API a port of its own");
    }
    let modes = [("off", Mode::Off), ("implicit", Mode::Implicit)];
    let mode = table.choice("tls", &modes).unwrap_or(Mode::Implicit);
    let proxies: Vec<IpNet> = table.or("proxies", Vec::new());
    let allow_plaintext = table.or("allow_plaintext", false);
    if mode == Mode::Implicit && table.has("allow_plaintext") {
        table.mistake("allow_plaintext", "has no use with TLS; it is for tls = \"off\"");
    }
    if mode == Mode::Off && !address.ip().is_loopback() && proxies.is_empty() && !allow_plaintext {
        let what = "tokens would cross the network in clear: give the API a certificate (tls = \"implicit\"), or name the proxies \
                    that encrypt for it in proxies, or say allow_plaintext = true";
        table.mistake("tls", what);
    }
    if listener::is_too_wide(&proxies) {
        let what =
            "whoever is in these networks may claim any address; name the proxies themselves, like [\"10.0.0.5/32\"]";
        table.mistake("proxies", what);
    }
    let hosts = hosts(table);
    let tls = match listener::tls(table, mode)? {
        ListenerTls::Off => None,
        ListenerTls::StartTls(tls) | ListenerTls::Implicit(tls) => Some(tls),
    };
    let proxies = Proxies::new(proxies);
    Some(Settings { address, hosts, tls, proxies, plaintext_from_anywhere: allow_plaintext })
}

fn address(table: &Table<'_>, usual: SocketAddr, what: &str, listeners: &[ListenerSettings]) -> SocketAddr {
    let address = table.or("address", usual);
    if let Some(listener) = listeners.iter().find(|listener| overlap(listener.address, address)) {
        let taken = listener.address;
        table.mistake("address", format!("a [[listener]] has {taken} already; give {what}"));
    }
    address
}

/// Names that requests may use.
fn hosts(table: &Table<'_>) -> Vec<String> {
    table.or::<Vec<HostName>>("hosts", Vec::new()).into_iter().map(|HostName(name)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::mistake::Notes;
    use crate::config::reader::File;

    /// The mistakes in `[api]`, beside pages at 127.0.0.1:8025.
    fn mistakes(text: &str) -> Vec<String> {
        let notes = Notes::default();
        let file = File::of(Path::new("postbud.toml"), format!("[api]\n{text}"));
        {
            let document = file.parse(&notes);
            api(&document.root().table("api"), &[], Some(&Settings::plaintext(PAGES)));
        }
        notes.finish().mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect()
    }

    #[test]
    fn plaintext_leaves_this_machine_only_where_the_file_says_so() {
        for text in [
            "tls = \"off\"",
            "tls = \"off\"\naddress = \"[::1]:8026\"",
            "tls = \"off\"\naddress = \"0.0.0.0:8026\"\nproxies = [\"10.0.0.5/32\"]",
            "tls = \"off\"\naddress = \"10.0.0.4:8026\"\nallow_plaintext = true\nhosts = [\"relay.internal\"]",
        ] {
            assert_eq!(mistakes(text), Vec::<String>::new(), "{text}");
        }
        for (text, key, said) in [
            ("tls = \"off\"\naddress = \"0.0.0.0:8026\"", "api.tls", "cross the network in clear"),
            ("tls = \"off\"\naddress = \"10.0.0.4:8026\"\nproxies = []", "api.tls", "cross the network in clear"),
            ("tls = \"off\"\naddress = \"[2001:db8::1]:8026\"", "api.tls", "cross the network in clear"),
            ("tls = \"off\"\nproxies = [\"0.0.0.0/0\"]", "api.proxies", "may claim any address"),
            ("tls = \"off\"\nproxies = [\"proxy\"]", "api.proxies", "proxy"),
            ("tls = \"off\"\ncertificate = \"x.pem\"", "api.certificate", "has no use"),
            ("tls = \"off\"\naddress = \"127.0.0.1:8025\"", "api.address", "[web] has this address"),
            ("tls = \"off\"\naddress = \"127.0.0.1\"", "api.address", "127.0.0.1"),
            ("tls = \"off\"\nhosts = [\"a b\"]", "api.hosts", "a b"),
            ("tls = \"off\"\nallow_plain = true", "api.allow_plain", "did you mean api.allow_plaintext"),
            ("tls = \"starttls\"", "api.tls", "starttls"),
            ("", "api.certificate", "is missing"),
            ("certificate = \"none.pem\"\nprivate_key = \"none.key\"", "api.certificate", "none.pem"),
            ("allow_plaintext = true", "api.allow_plaintext", "has no use with TLS"),
        ] {
            let found = mistakes(text);
            let fits = |mistake: &String| mistake.starts_with(&format!("{key}: ")) && mistake.contains(said);
            assert!(found.iter().any(fits), "{text}: {found:#?}");
        }
    }
}
