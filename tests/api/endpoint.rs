//! The endpoint itself: names, headers, sizes, TLS, proxies, and invalid requests.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, parsed, raw};
use crate::rig::Rig;

#[test]
fn every_answer_has_the_headers_that_protect_it_and_no_page_elsewhere_may_read_it() {
    let rig = Rig::start();
    let client = rig.client("read");
    let nobody = Client { token: String::new(), ..client.clone() };
    for answer in [
        client.get("/queue"),
        client.get("/nothing"),
        nobody.get("/queue"),
        client.send(
            "OPTIONS",
            "/queue",
            &[("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")],
            None,
        ),
        client.send("GET", "/queue", &[("Origin", "https://evil.example")], None),
    ] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        for name in ["access-control-allow-origin", "set-cookie", "strict-transport-security"] {
            assert_eq!(answer.header(name), None, "{answer:?}");
        }
    }
}

#[test]
fn a_cookie_or_another_scheme_is_no_token() {
    let rig = Rig::start();
    let token = rig.client("admin").token;
    let nobody = Client { to: rig.api, token: String::new() };
    let cookie = format!("token={token}; Authorization=Bearer {token}");
    nobody.send("GET", "/queue", &[("Cookie", &cookie)], None).is_problem("no-token");
    nobody.get(&format!("/queue?access_token={token}")).is_problem("no-token");
}

#[test]
fn requests_that_are_none_are_refused_and_nothing_breaks() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let token = &client.token;
    for (method, path, body, status, ending, said) in [
        ("GET", "/queue?nonsense=1", None, 400, "invalid", "nonsense"),
        ("GET", "/queue/stats?nonsense=1", None, 400, "invalid", "nonsense"),
        ("GET", "/token?nonsense=1", None, 400, "invalid", "nonsense"),
        ("POST", "/queue/count?nonsense=1", Some("{\"all\":true}"), 400, "invalid", "nonsense"),
        ("GET", "/queue?limit=0", None, 400, "invalid", "limit"),
        ("GET", "/queue?limit=501", None, 400, "invalid", "limit"),
        ("GET", "/queue?limit=-1", None, 400, "invalid", "\"detail\":\"limit: invalid digit"),
        ("GET", "/queue?limit=1&limit=2", None, 400, "invalid", "limit"),
        ("GET", "/queue?state=lost", None, 400, "invalid", "lost"),
        ("GET", "/queue?cursor=..%2F..", None, 400, "invalid", "../.."),
        ("GET", "/queue?recipient_domain=a%20b", None, 400, "invalid", "a b"),
        ("GET", "/queue?customer=nobody", None, 404, "not-found", "nobody"),
        ("GET", "/queue?route=nowhere", None, 404, "not-found", "nowhere"),
        ("GET", "/queue/messages/..%2F..%2Fetc%2Fpasswd", None, 400, "invalid", "etc/passwd"),
        ("GET", "/queue/messages/%00", None, 400, "invalid", "queue id"),
        ("GET", "/queue/messages/%FF", None, 400, "invalid", "UTF-8"),
        ("GET", "/customers/..%2F..%2Fpostbud", None, 404, "not-found", "../../postbud"),
        ("GET", "/customers/%2e%2e", None, 404, "not-found", ".."),
        ("GET", "/customers/anna.toml", None, 404, "not-found", "anna.toml"),
        ("GET", "/customers/ANNA", None, 404, "not-found", "ANNA"),
        ("GET", "/domains/..%2Fx", None, 400, "invalid", "../x"),
        ("GET", "/domains/unknown.example", None, 404, "not-found", "unknown.example"),
        ("GET", "/jobs/..%2F1", None, 404, "not-found", "../1"),
        ("GET", "/jobs/1?wait_secs=26", None, 404, "not-found", "job"),
        ("GET", "/trace", None, 400, "invalid", "names no mail"),
        ("GET", "/trace?since=yesterday", None, 400, "invalid", "since"),
        ("GET", "/trace?queue_id=nonsense", None, 400, "invalid", "queue_id"),
        ("GET", "/routes?state=broken", None, 400, "invalid", "broken"),
        ("GET", "/nothing", None, 404, "not-found", "/api/v1/nothing"),
        ("GET", "//queue", None, 404, "not-found", "queue"),
        ("DELETE", "/queue", None, 405, "no-such-method", "/api/v1/queue"),
        ("POST", "/queue/count", Some("{"), 400, "invalid", "not understood"),
        ("POST", "/queue/count", Some(""), 400, "invalid", "not understood"),
        ("POST", "/queue/count", Some("[]"), 400, "invalid", "invalid"),
        ("POST", "/queue/count", Some("{\"al\":true}"), 400, "invalid", "al"),
        ("POST", "/queue/count", Some("{\"older_than_secs\":\"1\"}"), 400, "invalid", "older_than_secs"),
        ("POST", "/queue/count", Some("{\"all\":true} {}"), 400, "invalid", "more follows"),
        ("POST", "/queue/count", Some("{}"), 400, "invalid", "no message was named"),
        ("POST", "/queue/hold", Some("{\"which\":{\"all\":true},\"reason\":\"x\"}"), 400, "invalid", "at_most"),
        (
            "POST",
            "/queue/hold",
            Some("{\"which\":{\"all\":true},\"at_most\":9,\"reason\":\"\"}"),
            400,
            "invalid",
            "reason",
        ),
        (
            "POST",
            "/queue/hold",
            Some("{\"which\":{\"all\":true},\"at_most\":9,\"reason\":\"a\\nb\"}"),
            400,
            "invalid",
            "reason",
        ),
        (
            "POST",
            "/queue/hold",
            Some("{\"which\":{\"all\":true,\"x\":1},\"at_most\":9,\"reason\":\"a\"}"),
            400,
            "invalid",
            "which",
        ),
        ("POST", "/routes/nowhere/suspend", Some("{\"reason\":\"x\"}"), 404, "not-found", "nowhere"),
        ("POST", "/customers/anna/probe", Some("{\"to\":\"nobody\"}"), 400, "invalid", "to:"),
    ] {
        let answer = client.send(method, path, &[], body);
        assert_eq!(answer.status, status, "{method} {path} {body:?}: {answer:?}");
        assert!(answer.is_problem(ending).body.contains(said), "{method} {path} {body:?} names {said}: {answer:?}");
    }
    let wrong_type = client.send("POST", "/queue/count", &[("Content-Type", "text/plain")], Some("{}"));
    assert_eq!(wrong_type.status, 415, "{wrong_type:?}");
    wrong_type.is_problem("other-type");
    let large = format!("{{\"ids\":[\"{}\"]}}", "x".repeat(300 << 10));
    let answer = client.post("/queue/count", &large);
    assert_eq!(answer.status, 413, "{}", answer.status);
    answer.is_problem("too-large");
    for (request, statuses) in [
        (
            format!(
                "GET /api/v1/token HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            ),
            [421, 421],
        ),
        (
            format!("GET /api/v1/token HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"),
            [421, 400],
        ),
        (format!("GET /api/v1/token HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)), [431, 400]),
        ("\r\n\r\nnonsense\r\n\r\n".to_owned(), [400, 400]),
        (
            format!(
                "POST /api/v1/queue/count HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\
                     Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            [400, 415],
        ),
    ] {
        let status = raw(rig.api, request.as_bytes()).status;
        assert!(statuses.contains(&status), "{status}: {}", &request[..request.len().min(200)]);
    }
    assert_eq!(client.get("/token").status, 200);
}

/// Connections that are held, silent or in the middle of a request, keep nobody out, and each comes to an end.
#[test]
fn whoever_sends_slowly_hears_504_or_is_closed_and_keeps_nobody_out() {
    let rig = Rig::start();
    let client = rig.client("operate");
    let open = |octets: &str| {
        let mut stream = TcpStream::connect(rig.api).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        stream.write_all(octets.as_bytes()).unwrap();
        stream
    };
    let head = "POST /api/v1/queue/count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let body = format!("{head}Authorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{\"all\":", client.token);
    let started = Instant::now();
    let mut half_a_body = open(&body);
    let mut held: Vec<TcpStream> = (0..40).flat_map(|_| [open(""), open(head)]).collect();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(client.get("/token").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    let answer = parsed(&mut half_a_body);
    assert_eq!(answer.status, 504, "{answer:?}");
    answer.is_problem("timed-out");
    assert!(started.elapsed() >= Duration::from_secs(25), "a request has its time: {:?}", started.elapsed());
    for stream in &mut held {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let is_late = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!is_late, "a connection is held open");
    }
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    assert_eq!(client.get("/token").status, 200);
}

#[test]
fn the_client_is_whoever_a_trusted_proxy_names_and_nobody_else_is_believed() {
    for (proxies, expected) in [("proxies = [\"127.0.0.1/32\"]", "198.51.100.7"), ("", "127.0.0.1")] {
        let rig = Rig::with(proxies);
        let answer = rig.client("read").send("GET", "/token", &[("X-Forwarded-For", "10.0.0.1, 198.51.100.7")], None);
        assert_eq!(answer.json()["address"], expected);
    }
}

#[test]
fn the_audit_has_actor_and_address() {
    let rig = Rig::with("proxies = [\"127.0.0.1/32\"]");
    let client = rig.client("operate");
    let answer = client.send(
        "POST",
        "/routes/own-server.anna/suspend",
        &[("X-Forwarded-For", "198.51.100.7")],
        Some("{\"reason\":\"moves\"}"),
    );
    assert_eq!(answer.status, 204, "{answer:?}");
    let event = rig.site.wait_for_event("the suspension", |event| event["command"] == "route.suspend");
    assert_eq!((&event["peer"], &event["route"]), (&"198.51.100.7".into(), &"own-server.anna".into()));
    assert!(event["actor"].as_str().unwrap().starts_with("token operate-"), "{event}");
    assert_eq!(client.read("/routes?state=suspended")["items"][0]["route"], "own-server.anna");
    assert_eq!(client.post("/routes/own-server.anna/resume", "{}").status, 204);
}

#[test]
fn tls_of_its_own_uses_the_certificate_that_a_reload_reads() {
    let dir = tempfile::tempdir().unwrap();
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let first = pair("localhost");
    let dir_name = dir.path().display();
    let api = crate::support::relay::free_port();
    let lines = format!(
        "[api]\naddress = \"{api}\"\ncertificate = \"{dir_name}/cert.pem\"\nprivate_key = \"{dir_name}/key.pem\"\n"
    );
    let customer = crate::support::relay::Customer {
        id: "anna",
        domain: "anna.example",
        route: crate::support::relay::plain_route(crate::support::relay::free_port()),
    };
    let site = crate::support::relay::Site::with(&[customer], &lines);
    let relay = site.start();
    let rig = Rig { site, relay, api };
    let client = rig.client("read");
    let ask = |certificate: &rustls::pki_types::CertificateDer<'static>| -> std::io::Result<crate::client::Answer> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(rig.api)?;
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let token = &client.token;
        stream.write_all(
            format!("GET /api/v1/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n")
                .as_bytes(),
        )?;
        Ok(parsed(&mut stream))
    };
    let answer = ask(&first).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    let second = pair("localhost");
    rig.relay.signal("HUP");
    rig.site.wait_for_event("the reload", |event| event["command"] == "configuration.reload");
    assert_eq!(ask(&second).unwrap().status, 200);
    assert!(ask(&first).is_err(), "the old certificate is gone");
    // Plaintext where TLS is spoken is no request, and harms nobody.
    let mut plain = TcpStream::connect(rig.api).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(ask(&second).unwrap().status, 200);
}
