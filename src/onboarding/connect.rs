//! Domain Connect: if the DNS provider of a customer's zone knows our template, the customer can create the missing records with one click.
//!
//! ```text
//! TXT _domainconnect.<zone>                        the provider's API host
//! GET https://<host>/v2/<zone>/settings            the provider's name, and where its pages are
//! GET <api>/v2/domainTemplates/providers/…/…       200 means that it knows our template
//! <pages>/v2/domainTemplates/…/apply?…&key=…&sig=… the customer's browser goes there, logs in, and confirms
//! ```
//!
//! The zone's owner chooses the host, so it is not trusted: each request passes the same checks as the ownership file (`fetch`), is small,
//! and follows no redirect. One deadline covers all requests. The last link is signed with our key, whose public half is in TXT records at
//! `<key>.<our domain>`, so nobody else can offer records in our name. The link contains only records that the customer lacks, by the
//! groups of the template (`config/domain-connect/`).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::fetch::Fetcher;
use super::records::Row;
use super::settings::DomainConnect;
use super::{Item, RecordTable, Settings};
use crate::plain;
use crate::resolver::{Resolver, joined};

/// The time limit of the whole discovery.
const TIME: Duration = Duration::from_secs(8);
/// The longest answer that is read. Answers of the protocol are shorter.
const LONGEST_ANSWER: usize = 64 << 10;
/// A provider's name is cut to this many characters.
const LONGEST_NAME: usize = 100;

/// The link with which one click creates the missing records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// The name of the provider.
    pub provider: String,
    pub url: String,
}

/// A provider's answer about a zone (Domain Connect, "settings").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    provider_name: Option<String>,
    provider_display_name: Option<String>,
    #[serde(rename = "urlSyncUX")]
    url_sync_ux: Option<String>,
    #[serde(rename = "urlAPI")]
    url_api: Option<String>,
}

/// Returns the link that creates the missing records. Returns `None` if the provider does not support Domain Connect, does not know our
/// template, or does not answer. The customer then publishes the records by hand.
pub async fn discover(resolver: &dyn Resolver, settings: &Settings, table: &RecordTable) -> Option<Apply> {
    let ours = settings.domain_connect.as_ref()?;
    let zone = table.zone.as_ref()?;
    let parameters = parameters(table, settings)?;
    tokio::time::timeout(TIME, ask(resolver, settings, ours, zone, &parameters)).await.ok().flatten()
}

async fn ask(
    resolver: &dyn Resolver,
    settings: &Settings,
    ours: &DomainConnect,
    zone: &str,
    parameters: &[(&str, String)],
) -> Option<Apply> {
    let texts = resolver.txt(&format!("_domainconnect.{zone}")).await.ok()?;
    let [strings] = &texts[..] else { return None };
    let named = plain::text(&joined(strings));
    let scheme = if settings.http_allow_private { "http" } else { "https" };
    let base = address(&format!("{scheme}://{}", named.trim()), scheme)?;
    let fetcher = Fetcher::new(settings);
    let (status, body) =
        fetcher.short(resolver, &below(&base, &format!("v2/{zone}/settings"))?, LONGEST_ANSWER).await.ok()?;
    let ZoneProvider { name, api, pages } = (status == 200).then(|| ZoneProvider::read(&body, scheme)).flatten()?;
    let template = format!("v2/domainTemplates/providers/{}/services/{}", ours.provider_id, ours.service_id);
    let (status, _) = fetcher.short(resolver, &below(&api, &template)?, LONGEST_ANSWER).await.ok()?;
    if status != 200 {
        return None;
    }
    let query = query(zone, parameters);
    let signature = ours.sign(&query)?;
    let mut url = below(&pages, &format!("{template}/apply"))?;
    url.set_query(Some(&format!("{query}&key={}&sig={}", encoded(&ours.key_host), encoded(&signature))));
    Some(Apply { provider: name.unwrap_or_else(|| zone.to_owned()), url: url.into() })
}

/// The provider of a zone, with its checked addresses.
pub(super) struct ZoneProvider {
    /// Its name, if it says one; of at most [`LONGEST_NAME`] characters.
    pub name: Option<String>,
    /// Its API.
    pub api: Url,
    /// Its pages for the zone's owner.
    pub pages: Url,
}

impl ZoneProvider {
    /// Reads a provider's answer. Returns `None` if it lacks an address, or names one that is none of the web.
    pub(super) fn read(answer: &[u8], scheme: &str) -> Option<Self> {
        let Provider { provider_name, provider_display_name, url_sync_ux, url_api } =
            serde_json::from_slice(answer).ok()?;
        let name = provider_display_name.or(provider_name).map(|name| name.chars().take(LONGEST_NAME).collect());
        Some(ZoneProvider { name, api: address(&url_api?, scheme)?, pages: address(&url_sync_ux?, scheme)? })
    }
}

/// Reads a web address of the provider: it must have this scheme and a host name, and no login. `fetch` asks only the usual ports.
fn address(text: &str, scheme: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (url.scheme() == scheme && is_plain && url.domain().is_some() && text.len() < 500).then_some(url)
}

/// Returns an address below another one.
pub(super) fn below(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}/{path}", base.as_str().trim_end_matches('/'))).ok()
}

/// Returns the parameters of the template for this table, and the groups of the missing records. Returns `None` if no record of the
/// template is missing.
fn parameters(table: &RecordTable, settings: &Settings) -> Option<Vec<(&'static str, String)>> {
    let zone = table.zone.as_ref()?;
    let host = table.domain.strip_suffix(zone.as_str())?.trim_end_matches('.').to_owned();
    let (mut groups, mut values) = (Vec::new(), vec![("host", host)]);
    let label = |row: &Row| {
        let below = row.host.strip_suffix(&table.domain).map(|label| label.trim_end_matches('.').to_owned());
        below.filter(|label| !label.is_empty())
    };
    let missing =
        table.rows.iter().filter(|row| !row.present && row.in_the_way.is_none() && row.zone.as_ref() == Some(zone));
    for row in missing {
        // The template has one record of each group.
        let mut put = |group: &'static str, more: Vec<(&'static str, String)>| {
            if !groups.contains(&group) {
                groups.push(group);
                values.extend(more);
            }
        };
        match (row.item, row.kind) {
            // Providers merge this into the existing record. If that record is broken, a person has to look at it.
            (Item::Spf, "TXT")
                if row.obstacles.is_empty() && row.notes.is_empty() && !table.sent_through.is_own_server() =>
            {
                put("spf", Vec::new())
            }
            (Item::Ownership, "TXT") => {
                put("ownership", vec![("ownershiphost", label(row)?), ("ownership", row.value.clone())])
            }
            (Item::Dkim, "TXT") if row.role.is_none() => {
                put("dkim", vec![("dkimhost", label(row)?), ("dkim", row.value.clone())])
            }
            (Item::MailjetDkim, "TXT") => put("mailjet", vec![("mailjetkey", row.value.clone())]),
            // An existing policy is never replaced in this way.
            (Item::Dmarc, "TXT") if row.replaces == 0 && row.first.is_none() => {
                put("dmarc", vec![("dmarc", row.value.clone())])
            }
            (Item::ReturnPath, "CNAME") => {
                put("returnpath", vec![("returnpath", settings.return_path_target.to_string())]);
            }
            _ => {}
        }
    }
    (!groups.is_empty()).then(|| {
        values.push(("groupId", groups.join(",")));
        values
    })
}

fn query(zone: &str, parameters: &[(&str, String)]) -> String {
    let mut query = format!("domain={}", encoded(zone));
    for (name, value) in parameters.iter().filter(|(name, value)| *name != "host" || !value.is_empty()) {
        query.push_str(&format!("&{name}={}", encoded(value)));
    }
    query
}

fn encoded(text: &str) -> String {
    let form: String = byte_serialize(text.as_bytes()).collect();
    form.replace('+', "%20")
}

impl DomainConnect {
    /// Signs the query of a link: RSA with SHA-256, in base64.
    fn sign(&self, query: &str) -> Option<String> {
        let mut signature = vec![0; self.key.signature_len()];
        self.key.sign_digest(&digest(&SHA256, query.as_bytes()), &mut signature).ok()?;
        Some(STANDARD.encode(signature))
    }

    /// Returns the host and the TXT records of the key below our domain, one record for each part (Domain Connect, "Signature"). Returns
    /// `None` if the public key cannot be encoded.
    pub fn key_records(&self) -> Option<(String, Vec<String>)> {
        let key = self.key.public_key_base64().ok()?;
        let parts = key.as_bytes().chunks(200).enumerate();
        let record = |(at, part): (usize, &[u8])| format!("p={},a=RS256,d={}", at + 1, String::from_utf8_lossy(part));
        Some((format!("{}.{}", self.key_host, self.provider_id), parts.map(record).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::dkim::SigningKey;
    use crate::onboarding::{Checker, Secret, records};
    use crate::resolver::{FixedZone, SharedResolver};
    use crate::smtp::Domain;
    use crate::test_customers;
    use crate::time::Timestamp;

    /// A stand-in for a provider: it answers each path with a status and a text, and records the requests.
    async fn provider(answers: impl Fn(u16) -> Vec<(&'static str, u16, String)>) -> (u16, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, asked) = (answers(port), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut octets = vec![0; 8192];
                let count = stream.read(&mut octets).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&octets[..count]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let found = answers.iter().find(|(known, ..)| *known == path);
                let (status, body) = found.map_or((404, String::new()), |(_, status, body)| (*status, body.clone()));
                heard.lock().unwrap().push(path);
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (port, asked)
    }

    fn settings(port: u16, state: &std::path::Path) -> Settings {
        let key = Arc::new(SigningKey::generate_rsa(2048).unwrap());
        let ours = DomainConnect {
            provider_id: "webcrm.com".into(),
            service_id: "mail".into(),
            key_host: "_dck1".into(),
            key,
        };
        Settings {
            state_dir: state.to_owned(),
            domain_connect: Some(ours),
            http_allow_private: true,
            http_port: port,
            ..Settings::default()
        }
    }

    async fn table(zone: &Arc<FixedZone>, settings: &Settings) -> RecordTable {
        let customer = test_customers::customer(
            "x",
            [test_customers::signed("test.dk", SigningKey::generate_rsa(2048).unwrap())],
            test_customers::mailjet(),
        );
        let directory = crate::customers::Directory::new(vec![customer.clone()], BTreeMap::new());
        let resolver = Arc::clone(zone) as SharedResolver;
        let checker =
            Checker { settings: Arc::new(settings.clone()), resolver, secret: Arc::new(Secret::from_octets(&[7; 32])) };
        let domain = Domain::parse("test.dk").unwrap();
        records::table(&checker, &directory, &customer, &domain, Timestamp::EPOCH).await
    }

    const ZONE: &str = "test.dk SOA\ntest.dk TXT \"v=spf1 include:other.dk -all\"\nother.dk TXT \"v=spf1 -all\"\nspf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"\n\
                        _domainconnect.test.dk TXT \"dc.example/api\"\ndc.example A 127.0.0.1\n_dmarc.test.dk TXT \"v=DMARC1; p=none\"";

    #[tokio::test]
    async fn a_provider_that_knows_our_template_gets_a_signed_link_with_what_is_missing() {
        let state = tempfile::tempdir().unwrap();
        let (port, asked) = provider(|port| {
            let urls =
                format!("\"urlSyncUX\":\"http://dc.example:{port}/ui/\",\"urlAPI\":\"http://dc.example:{port}/api\"");
            vec![
                (
                    "/api/v2/test.dk/settings",
                    200,
                    format!("{{\"providerId\":\"x\",\"providerName\":\"DC Example\",{urls}}}"),
                ),
                ("/api/v2/domainTemplates/providers/webcrm.com/services/mail", 200, "{}".into()),
            ]
        })
        .await;
        let (settings, zone) = (settings(port, state.path()), Arc::new(FixedZone::parse(ZONE).unwrap()));
        let table = table(&zone, &settings).await;
        let apply = discover(&*zone, &settings, &table).await.expect("the template is known");
        assert_eq!(apply.provider, "DC Example");
        assert_eq!(asked.lock().unwrap().len(), 2);
        let url = Url::parse(&apply.url).unwrap();
        assert_eq!(url.path(), "/ui/v2/domainTemplates/providers/webcrm.com/services/mail/apply");
        let values: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(values["domain"], "test.dk");
        let groups: Vec<&str> = values["groupId"].split(',').collect();
        assert!(groups.contains(&"spf") && groups.contains(&"dkim") && groups.contains(&"ownership"), "{groups:?}");
        assert!(!groups.contains(&"dmarc"), "what is there stays: {groups:?}");
        assert_eq!(values["dkimhost"], "postbud1._domainkey");
        assert!(values["dkim"].starts_with("v=DKIM1") || values["dkim"].contains("p="), "{values:?}");
        // The signature covers the text before it, and verifies with the key in our record.
        let ours = settings.domain_connect.as_ref().unwrap();
        let (signed, _) = url.query().unwrap().split_once("&key=").unwrap();
        let (host, parts) = ours.key_records().unwrap();
        assert_eq!(host, "_dck1.webcrm.com");
        let key: String = parts.iter().map(|part| part.split("d=").nth(1).unwrap()).collect();
        let key = STANDARD.decode(key).unwrap();
        let signature = STANDARD.decode(&values["sig"]).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed.as_bytes(), &signature).unwrap();
        assert_eq!(values["key"], "_dck1");
    }

    #[tokio::test]
    async fn a_provider_that_does_not_know_us_or_leads_elsewhere_gets_no_link() {
        let state = tempfile::tempdir().unwrap();
        for (status, settings_text) in [
            (404, "{\"urlSyncUX\":\"http://dc.example/ui\",\"urlAPI\":\"http://dc.example:PORT/api\"}"),
            (200, "{\"urlSyncUX\":\"javascript:alert(1)\",\"urlAPI\":\"http://dc.example:PORT/api\"}"),
            (200, "{\"urlSyncUX\":\"https://dc.example/?x=\\\"<script>\",\"urlAPI\":\"http://dc.example:PORT/api\"}"),
            (200, "{\"urlSyncUX\":\"http://dc.example/ui\",\"urlAPI\":\"http://127.0.0.1:PORT/api\"}"),
            (200, "{\"urlSyncUX\":\"http://dc.example/ui\"}"),
            (200, "not JSON"),
            (200, ""),
        ] {
            let (port, _) = provider(|port| {
                vec![
                    ("/api/v2/test.dk/settings", 200, settings_text.replace("PORT", &port.to_string())),
                    ("/api/v2/domainTemplates/providers/webcrm.com/services/mail", status, "{}".into()),
                ]
            })
            .await;
            let (settings, zone) = (settings(port, state.path()), Arc::new(FixedZone::parse(ZONE).unwrap()));
            let table = table(&zone, &settings).await;
            assert_eq!(discover(&*zone, &settings, &table).await, None, "{settings_text}");
            // Hosts in our own network are never asked.
            let guarded = Settings { http_allow_private: false, https_port: port, ..settings };
            assert_eq!(discover(&*zone, &guarded, &table).await, None);
        }
    }

    #[test]
    fn a_providers_answer_names_web_addresses_and_a_short_name_or_counts_for_nothing() {
        let read = |api: &str, pages: &str, more: &str| {
            let answer = format!("{{\"urlAPI\": {api}, \"urlSyncUX\": {pages}{more}}}");
            ZoneProvider::read(answer.as_bytes(), "https")
        };
        let (good, long) = ("\"https://dc.example/ui\"", "x".repeat(60_000));
        let name = read(good, good, &format!(", \"providerDisplayName\": \"{long}\"")).unwrap().name.unwrap();
        assert_eq!(name.len(), LONGEST_NAME);
        assert_eq!(read(good, good, ", \"deep\": 1, \"providerName\": \"DC\"").unwrap().name.as_deref(), Some("DC"));
        for bad in [
            "null",
            "1",
            "\"\"",
            "\"http://dc.example/\"",
            "\"https://127.0.0.1/\"",
            "\"https://[::1]/\"",
            "\"https://2130706433/\"",
            "\"https://user@dc.example/\"",
            "\"https://dc.example/?x=\"",
            "\"https://dc.example/#x\"",
            "\"javascript:alert(1)\"",
            "\"file:///etc/passwd\"",
            "\"//dc.example/\"",
        ] {
            assert!(read(bad, good, "").is_none() && read(good, bad, "").is_none(), "{bad}");
        }
        let deep = format!("{{\"x\": {}", "[".repeat(60_000));
        assert!(ZoneProvider::read(deep.as_bytes(), "https").is_none());
    }

    #[test]
    fn the_template_has_every_parameter_and_group_that_links_have() {
        let text = include_str!("../../config/domain-connect/webcrm.com.mail.json");
        let template: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (template["providerId"].as_str(), template["serviceId"].as_str()),
            (Some("webcrm.com"), Some("mail"))
        );
        let groups: Vec<_> =
            template["records"].as_array().unwrap().iter().map(|it| it["groupId"].as_str().unwrap()).collect();
        assert_eq!(groups, ["spf", "ownership", "dkim", "mailjet", "dmarc", "returnpath"]);
        for name in ["ownershiphost", "ownership", "dkimhost", "dkim", "mailjetkey", "dmarc", "returnpath"] {
            assert!(text.contains(&format!("%{name}%")), "{name}");
        }
    }
}
