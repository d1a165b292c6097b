//! The ownership file, fetched from a real web server that plays tricks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use postbud::message::CustomerId;
use postbud::onboarding::fetch::{Fetcher, NotThere};
use postbud::onboarding::finding::Need;
use postbud::onboarding::{Challenge, Finding, Secret, Settings, ownership};
use postbud::resolver::FixedZone;
use tokio::net::TcpListener;

use crate::rig::domain;

/// What the server does with the file's path, by the Host it is asked as.
async fn answer(uri: Uri, headers: axum::http::HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let path = uri.path().to_owned();
    let token = SECRET_TOKEN.lock().unwrap().get(&host).cloned().unwrap_or_default();
    let is_file = path == format!("/{token}.txt");
    let to = |location: String| (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
    match host.as_str() {
        "empty.dk" | "www.redirects.dk" if is_file => ().into_response(),
        "www.redirects.dk" | "empty.dk" => StatusCode::NOT_FOUND.into_response(),
        "mark.dk" if is_file => "\u{feff}\r\n".into_response(),
        "mark.dk" => StatusCode::NOT_FOUND.into_response(),
        "full.dk" if is_file => "hello".into_response(),
        "pages.dk" => "<html>What you look for is not here.</html>".into_response(),
        "proven-among-pages.dk" if is_file => ().into_response(),
        "proven-among-pages.dk" => "<html>What you look for is not here.</html>".into_response(),
        "anything.dk" => ().into_response(),
        "redirects.dk" => to(format!("http://www.redirects.dk{path}")),
        "leaves.dk" => to(format!("http://empty.dk{path}")),
        "inside.dk" => to(format!("http://private.inside.dk{path}")),
        "file.dk" => to("file:///etc/passwd".to_owned()),
        "port.dk" => to(format!("http://port.dk:22{path}")),
        "loops.dk" => to(format!("http://loops.dk{path}")),
        "slow.dk" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            ().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

static SECRET_TOKEN: std::sync::Mutex<std::collections::BTreeMap<String, String>> =
    std::sync::Mutex::new(std::collections::BTreeMap::new());

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

async fn findings(name: &str, zone: &FixedZone, port: u16, allow_private: bool) -> Vec<Finding> {
    let settings = Settings {
        http_allow_private: allow_private,
        http_port: port,
        // Nobody listens: HTTPS is refused at once.
        https_port: 1,
        http_timeout: Duration::from_secs(3),
        ..Settings::default()
    };
    let challenge = Challenge::new(&settings, &Secret::from_octets(&[7; 32]), &CustomerId::new("x"), &domain(name));
    SECRET_TOKEN.lock().unwrap().insert(name.to_owned(), challenge.token.clone());
    // The name behind a redirect is asked for the same file.
    SECRET_TOKEN.lock().unwrap().insert(format!("www.{name}"), challenge.token.clone());
    ownership::check(zone, &Fetcher::new(&settings), &challenge, &domain(name), Need::Required).await.findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_empty_file_that_the_domain_itself_serves_proves_it() {
    let address = serve().await;
    let zone = Arc::new(FixedZone::new());
    for name in [
        "empty.dk",
        "mark.dk",
        "full.dk",
        "pages.dk",
        "proven-among-pages.dk",
        "anything.dk",
        "redirects.dk",
        "www.redirects.dk",
        "leaves.dk",
        "inside.dk",
        "private.inside.dk",
        "file.dk",
        "port.dk",
        "loops.dk",
        "slow.dk",
        "absent.dk",
    ] {
        zone.add(name, postbud::resolver::Record::A([127, 0, 0, 1].into()));
    }
    let mut wrong = Vec::new();
    for (name, expected) in [
        ("empty.dk", "ownership-by-file"),
        ("mark.dk", "ownership-by-file"),
        ("redirects.dk", "ownership-by-file"),
        ("full.dk", "file-not-empty"),
        ("pages.dk", "file-anywhere"),
        ("proven-among-pages.dk", "ownership-by-file"),
        ("anything.dk", "file-anywhere"),
        ("leaves.dk", "file-redirect-refused"),
        ("file.dk", "file-redirect-refused"),
        ("port.dk", "file-redirect-refused"),
        ("loops.dk", "file-redirect-refused"),
        ("slow.dk", "ownership-missing"),
        ("absent.dk", "ownership-missing"),
        ("nowhere.dk", "ownership-missing"),
    ] {
        let found = findings(name, &zone, address.port(), true).await;
        let codes: Vec<String> =
            found.iter().map(|f| serde_json::to_value(f).unwrap()["code"].as_str().unwrap().to_owned()).collect();
        let proven = codes.iter().any(|code| code == "ownership-by-file");
        if !codes.iter().any(|code| code == expected) || proven != (expected == "ownership-by-file") {
            wrong.push(format!("{name}: {codes:?} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_file_is_fetched_without_the_environments_proxies() {
    crate::proxies::passes_without_the_environments_proxies(
        "fetch::only_an_empty_file_that_the_domain_itself_serves_proves_it",
    );
}

/// Why the file was not fetched, by URL.
fn reasons(found: &[Finding]) -> Vec<(&str, &NotThere)> {
    found
        .iter()
        .filter_map(|f| match f {
            Finding::FileNotThere { url, reason } => Some((url.as_str(), reason)),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_web_server_was_not_reached_is_said_to_the_bottom() {
    let zone = FixedZone::new();
    zone.add("refuses.dk", postbud::resolver::Record::A([127, 0, 0, 1].into()));
    let found = findings("refuses.dk", &zone, 1, true).await;
    let [(url, reason)] = &reasons(&found)[..] else { panic!("the same reason twice: {found:?}") };
    assert!(url.starts_with("http://") && matches!(reason, NotThere::Refused { .. }), "{found:?}");
    assert!(reason.to_string().contains("Connection refused"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_http_and_https_fail_differently_both_reasons_are_said() {
    let address = serve().await;
    let zone = FixedZone::new();
    zone.add("absent.dk", postbud::resolver::Record::A([127, 0, 0, 1].into()));
    let found = findings("absent.dk", &zone, address.port(), true).await;
    let mut said = reasons(&found);
    said.sort_by_key(|(url, _)| *url);
    let [(http, NotThere::Status(404)), (https, NotThere::Refused { .. })] = &said[..] else { panic!("{found:?}") };
    assert!(http.starts_with("http://") && https.starts_with("https://"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_without_tls_or_with_a_strangers_certificate_is_named_so() {
    use rustls::pki_types::PrivateKeyDer;
    let zone = FixedZone::new();
    zone.add("a.dk", postbud::resolver::Record::A([127, 0, 0, 1].into()));
    let https = async |port: u16| {
        let settings = Settings { http_allow_private: true, http_port: 1, https_port: port, ..Settings::default() };
        let fetcher = Fetcher::new(&settings);
        fetcher.empty_file(&zone, "https://a.dk/x.txt", &domain("a.dk")).await.unwrap_err().to_string()
    };
    let plain = serve().await;
    assert!(https(plain.port()).await.starts_with("TLS: "), "{}", https(plain.port()).await);

    let made = rcgen::generate_simple_self_signed(vec!["a.dk".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (listener, acceptor) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let said = https(port).await;
    assert!(said.starts_with("certificate: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_addresses_are_never_connected_to() {
    let address = serve().await;
    let zone = FixedZone::new();
    // One public address beside a private one does not help: the connection might go to either.
    for ip in [[127, 0, 0, 1], [10, 0, 0, 5], [169, 254, 169, 254], [9, 9, 9, 9]] {
        zone.add("empty.dk", postbud::resolver::Record::A(ip.into()));
    }
    let found = findings("empty.dk", &zone, address.port(), false).await;
    assert!(found.iter().any(|f| matches!(f, Finding::FileAddressRefused { .. })), "{found:?}");
    assert!(!found.iter().any(|f| matches!(f, Finding::OwnershipByFile { .. })), "{found:?}");
}
