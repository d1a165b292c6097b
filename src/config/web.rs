//! Reads `[web]`, `[api]` and `[pages.…]`: the HTTP endpoints.

use std::net::SocketAddr;
use std::str::FromStr;

use axum::http::HeaderName;
use ipnet::IpNet;
use url::Url;

use super::listener::{self, Mode, overlap};
use super::reader::Table;
use super::server::positive;
use super::value::HostName;
use crate::operate;
use crate::operate::operators::SessionTimes;
use crate::operate::pages::operators;
use crate::submission::{ListenerSettings, ListenerTls};
use crate::web::{Proxies, Settings};

/// The default address of the status pages.
const PAGES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);
/// The default address of the API.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8026);

/// The default address of the customers' pages.
const CUSTOMERS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8027);
/// The default address of the operators' pages.
const OPERATORS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8028);
/// The default address of the endpoint for Mailjet's events.
const MAILJET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8029);

/// The address of another endpoint, with the name of its table.
pub(super) type TakenAddress<'a> = (&'a str, Option<SocketAddr>);

/// Reads `[web]`. Without this table no pages are served.
pub(super) fn pages(table: &Table<'_>, listeners: &[ListenerSettings]) -> Option<Settings> {
    if !table.is_there() {
        return None;
    }
    let address = address(table, PAGES, "the status pages a port of their own", listeners);
    Some(Settings { hosts: hosts(table), ..Settings::plaintext(address) })
}

/// Reads `[api]`. Without this table no API is served.
pub(super) fn api(table: &Table<'_>, listeners: &[ListenerSettings], pages: Option<&Settings>) -> Option<Settings> {
    if !table.is_there() {
        return None;
    }
    let address = address(table, API, "the API a port of its own", listeners);
    endpoint(table, address, "tokens", "the API", &[("[web]", pages.map(|pages| pages.address))])
}

/// Reads `[pages.customers]` and `[pages.operators]`. Pages without a table are not served.
pub(super) fn browsers(
    table: &Table<'_>,
    listeners: &[ListenerSettings],
    web: Option<&Settings>,
    api: Option<&Settings>,
) -> (Option<operate::pages::Settings>, Option<operators::Settings>) {
    let (web, api) = (web.map(|it| it.address), api.map(|it| it.address));
    let taken = [("[web]", web), ("[api]", api)];
    let customers = browser(&table.table("customers"), CUSTOMERS, "links", listeners, &taken);
    let of_customers = customers.as_ref().map(|it| it.endpoint.address);
    let taken = [("[web]", web), ("[api]", api), ("[pages.customers]", of_customers)];
    let operators = table.table("operators");
    let pages = browser(&operators, OPERATORS, "passwords", listeners, &taken);
    (customers, pages.and_then(|pages| of_operators(&operators, pages)))
}

/// Reads the settings that only operators' pages have.
fn of_operators(table: &Table<'_>, pages: operate::pages::Settings) -> Option<operators::Settings> {
    let default = SessionTimes::default();
    let sessions = SessionTimes {
        idle: positive(table, "session_idle", default.idle),
        longest: positive(table, "session_lifetime", default.longest),
    };
    if sessions.idle > sessions.longest {
        table.mistake("session_idle", "is longer than session_lifetime, and would never end a session");
    }
    let trusted_header = table.get::<String>("trusted_header").and_then(|name| match HeaderName::from_str(&name) {
        // A header that browsers or this program use for something else cannot name a user.
        Ok(header) if header.as_str().starts_with("x-") && header != "x-forwarded-for" => Some(header),
        _ => {
            let what =
                format!("\"{name}\" cannot name an operator; write one that begins with X-, like \"X-Remote-User\"");
            table.mistake("trusted_header", what);
            None
        }
    });
    if trusted_header.is_some() && pages.endpoint.proxies.is_empty() {
        let what =
            "has no use without a proxy that is trusted to set it: name the proxy in proxies, like [\"10.0.0.5/32\"]";
        table.mistake("trusted_header", what);
    }
    Some(operators::Settings { pages, trusted_header, sessions })
}

fn browser(
    table: &Table<'_>,
    default: SocketAddr,
    secrets: &str,
    listeners: &[ListenerSettings],
    taken: &[TakenAddress<'_>],
) -> Option<operate::pages::Settings> {
    if !table.is_there() {
        return None;
    }
    let address = address(table, default, "the pages a port of their own", listeners);
    let url: Option<Url> = table.require("url", "\"https://mail.webcrm.com\"");
    let url = url.and_then(|url| public_url(table, url));
    let mut endpoint = endpoint(table, address, secrets, "the pages", taken)?;
    let url = url?;
    // Browsers request the pages by this host name.
    endpoint.hosts.extend(url.host_str().map(str::to_owned));
    Some(operate::pages::Settings { endpoint, url })
}

/// Reads `[returns.mailjet]`: the address of the endpoint for Mailjet's events, and the URL that Mailjet calls, without its path.
pub(super) fn mailjet(
    table: &Table<'_>,
    listeners: &[ListenerSettings],
    taken: &[TakenAddress<'_>],
) -> Option<(Settings, Url)> {
    let address = address(table, MAILJET, "Mailjet's events a port of their own", listeners);
    let url: Option<Url> = table.require("url", "\"https://hooks.webcrm.com\"");
    let url = url.and_then(|url| public_url(table, url));
    let mut endpoint = endpoint(table, address, "passwords", "the endpoint", taken)?;
    let url = url?;
    // Mailjet requests the endpoint by this host name.
    endpoint.hosts.extend(url.host_str().map(str::to_owned));
    Some((endpoint, url))
}

/// Reads the start of links: a scheme, a host and perhaps a port.
fn public_url(table: &Table<'_>, url: Url) -> Option<Url> {
    let is_local = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    let wrong = match url.scheme() {
        "https" => None,
        "http" if is_local => None,
        "http" => Some("must be https: whoever sees a link or a login on its way could use it"),
        _ => Some("is no https:// address; write one like \"https://mail.webcrm.com\""),
    };
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_plain = is_bare && url.username().is_empty() && url.password().is_none();
    let wrong = wrong.or((!is_plain).then_some("has more than a scheme, a host and a port; leave the rest out"));
    match wrong {
        Some(wrong) => {
            table.mistake("url", wrong);
            None
        }
        None => Some(url),
    }
}

/// Reads the protection of an endpoint. `secrets` describes the secrets that would cross the network unencrypted.
fn endpoint(
    table: &Table<'_>,
    address: SocketAddr,
    secrets: &str,
    what: &str,
    taken: &[TakenAddress<'_>],
) -> Option<Settings> {
    for (name, other) in taken {
        if other.is_some_and(|other| overlap(other, address)) {
            table.mistake("address", format!("{name} has this address already; give {what} a port of its own"));
        }
    }
    let modes = [("off", Mode::Off), ("implicit", Mode::Implicit)];
    let mode = table.choice("tls", &modes).unwrap_or(Mode::Implicit);
    let proxies: Vec<IpNet> = table.or("proxies", Vec::new());
    let allow_plaintext = table.or("allow_plaintext", false);
    if mode == Mode::Implicit && table.has("allow_plaintext") {
        table.mistake("allow_plaintext", "has no use with TLS; it is for tls = \"off\"");
    }
    if mode == Mode::Off && !address.ip().is_loopback() && proxies.is_empty() && !allow_plaintext {
        let what = format!(
            "{secrets} would cross the network in clear: give {what} a certificate (tls = \"implicit\"), or name the proxies that \
             encrypt for it in proxies, or say allow_plaintext = true"
        );
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

fn address(table: &Table<'_>, default: SocketAddr, what: &str, listeners: &[ListenerSettings]) -> SocketAddr {
    let address = table.or("address", default);
    if let Some(listener) = listeners.iter().find(|listener| overlap(listener.address, address)) {
        let taken = listener.address;
        table.mistake("address", format!("a [[listener]] has {taken} already; give {what}"));
    }
    address
}

/// Reads the host names that requests may use.
fn hosts(table: &Table<'_>) -> Vec<String> {
    table.or::<Vec<HostName>>("hosts", Vec::new()).into_iter().map(|HostName(name)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::mistake::Notes;
    use crate::config::reader::File;

    /// Returns the mistakes in `[api]`, with the status pages at 127.0.0.1:8025.
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
    /// Returns the mistakes in `[pages.customers]`, and those of the operators' pages beside it.
    fn mistakes_of_pages(text: &str) -> Vec<String> {
        let notes = Notes::default();
        let operators = "[pages.operators]\nurl = \"https://relay.internal\"\ntls = \"off\"";
        let file = File::of(Path::new("postbud.toml"), format!("[pages.customers]\n{text}\n{operators}"));
        {
            let document = file.parse(&notes);
            let found = browsers(&document.root().table("pages"), &[], Some(&Settings::plaintext(PAGES)), None);
            if let (Some(customers), _) = found {
                assert!(customers.endpoint.hosts.iter().any(|host| Some(host.as_str()) == customers.url.host_str()));
            }
        }
        notes.finish().mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect()
    }

    /// Returns the mistakes in `[pages.operators]`, and the settings of the pages if there are none.
    fn operators_of(text: &str) -> (Vec<String>, Option<operators::Settings>) {
        let notes = Notes::default();
        let text = format!("[pages.operators]\nurl = \"https://relay.internal\"\ntls = \"off\"\n{text}");
        let file = File::of(Path::new("postbud.toml"), text);
        let (_, found) = {
            let document = file.parse(&notes);
            browsers(&document.root().table("pages"), &[], None, None)
        };
        let mistakes = notes.finish().mistakes.into_iter();
        (mistakes.map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect(), found)
    }

    #[test]
    fn operators_are_named_by_a_header_of_trusted_proxies_only_and_their_sessions_end() {
        let (none, found) = operators_of(
            "proxies = [\"10.0.0.5/32\"]\ntrusted_header = \"X-Remote-User\"\nsession_idle = \"10m\"\nsession_lifetime = \"2h\"",
        );
        assert_eq!(none, Vec::<String>::new());
        let found = found.unwrap();
        assert_eq!(found.trusted_header.unwrap(), "x-remote-user");
        assert_eq!((found.sessions.idle.as_secs(), found.sessions.longest.as_secs()), (600, 7200));
        assert_eq!(operators_of("").1.unwrap().sessions, SessionTimes::default());
        for (text, key, said) in [
            ("trusted_header = \"X-Remote-User\"", "trusted_header", "no use without a proxy"),
            ("proxies = [\"10.0.0.5/32\"]\ntrusted_header = \"Cookie\"", "trusted_header", "cannot name an operator"),
            ("proxies = [\"10.0.0.5/32\"]\ntrusted_header = \"X-Forwarded-For\"", "trusted_header", "begins with X-"),
            ("proxies = [\"10.0.0.5/32\"]\ntrusted_header = \"X User\"", "trusted_header", "cannot name"),
            ("session_idle = \"13h\"", "session_idle", "longer than session_lifetime"),
            ("session_idle = \"0s\"", "session_idle", "longer than nothing"),
            ("session_lifetime = \"soon\"", "session_lifetime", "soon"),
            ("trusted_headers = \"X-U\"", "trusted_headers", "did you mean pages.operators.trusted_header"),
        ] {
            let (found, _) = operators_of(text);
            let fits =
                |mistake: &String| mistake.starts_with(&format!("pages.operators.{key}: ")) && mistake.contains(said);
            assert!(found.iter().any(fits), "{text}: {found:#?}");
        }
    }

    #[test]
    fn pages_say_by_which_address_browsers_reach_them() {
        for text in [
            "url = \"https://mail.webcrm.com\"\ntls = \"off\"",
            "url = \"https://mail.webcrm.com:8443/\"\ntls = \"off\"\naddress = \"0.0.0.0:80\"\nproxies = [\"10.0.0.5/32\"]",
            "url = \"http://127.0.0.1:8027\"\ntls = \"off\"",
        ] {
            assert_eq!(mistakes_of_pages(text), Vec::<String>::new(), "{text}");
        }
        for (text, key, said) in [
            ("tls = \"off\"", "pages.customers.url", "is missing"),
            ("url = \"http://mail.webcrm.com\"\ntls = \"off\"", "pages.customers.url", "must be https"),
            ("url = \"ftp://mail.webcrm.com\"\ntls = \"off\"", "pages.customers.url", "no https"),
            ("url = \"https://mail.webcrm.com/x\"\ntls = \"off\"", "pages.customers.url", "more than a scheme"),
            ("url = \"https://a:b@mail.webcrm.com\"\ntls = \"off\"", "pages.customers.url", "more than a scheme"),
            ("url = \"https://mail.webcrm.com\"", "pages.customers.certificate", "is missing"),
            (
                "url = \"https://m.dk\"\ntls = \"off\"\naddress = \"0.0.0.0:1\"",
                "pages.customers.tls",
                "links would cross the network in clear",
            ),
            (
                "url = \"https://m.dk\"\ntls = \"off\"\naddress = \"127.0.0.1:8025\"",
                "pages.customers.address",
                "[web] has this address",
            ),
            (
                "url = \"https://m.dk\"\ntls = \"off\"\naddress = \"127.0.0.1:8028\"",
                "pages.operators.address",
                "[pages.customers] has this address",
            ),
        ] {
            let found = mistakes_of_pages(text);
            let fits = |mistake: &String| mistake.starts_with(&format!("{key}: ")) && mistake.contains(said);
            assert!(found.iter().any(fits), "{text}: {found:#?}");
        }
    }
}
