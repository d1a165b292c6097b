//! STARTTLS, implicit TLS, resumption and new certificates.

use std::io::Write;

use postbud::submission::HandshakeLabels;

use crate::intake_spool::text;
use crate::support::{Client, Server, Setup, tls};

const MAIL: &str = "From: a@test.dk\n\nDav\n";

fn handshakes(server: &Server, result: &'static str) -> u64 {
    server.counters.handshakes.get_or_create(&HandshakeLabels { result }).get()
}

#[test]
fn starttls_forgets_what_was_said_before() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.say("STARTTLS", "220 2.0.0");
    let mut client = Client::over(tls(&server.client_tls(), client.into_stream()));
    client.say("MAIL FROM:<a@test.dk>", "503 5.5.1");
    let offered = client.say("EHLO x", "250");
    assert!(offered.contains("AUTH LOGIN PLAIN") && !offered.contains("STARTTLS"), "{offered}");
    client.say("MAIL FROM:<a@test.dk>", "530 5.7.0");
    client.say("STARTTLS", "503 5.5.1");
    client.log_in();
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    let text = text(&server.spool.only());
    assert!(text.contains("with ESMTPSA\r\n\t(using TLSv1.3 with TLS_AES_128_GCM_SHA256) id"), "{text}");
    client.say("QUIT", "221");
}

#[test]
fn plaintext_behind_starttls_is_never_obeyed() {
    let server = Setup::default().start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.send("STARTTLS\r\nRSET\r\nMAIL FROM:<a@test.dk>\r\n");
    client.hear("554 5.5.1");
    client.closed();
    // What comes in a later segment meets the TLS handshake, which it is not.
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say("STARTTLS", "220");
    client.send("RSET\r\nMAIL FROM:<a@test.dk>\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(client.stream(), &mut rest);
    assert!(!rest.windows(3).any(|w| w == b"250"), "{rest:?}");
    // Counted after the socket is closed.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while handshakes(&server, "failed") != 1 {
        assert!(std::time::Instant::now() < deadline, "the handshake does not count as failed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn implicit_tls_greets_inside_and_sessions_are_resumed() {
    let server = Setup::default().start();
    let config = server.client_tls();
    for _ in 0..3 {
        let stream = std::net::TcpStream::connect(server.implicit).unwrap();
        let mut client = Client::over(tls(&config, stream));
        client.hear("220 out.webcrm.test ESMTP");
        client.log_in();
        assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
        client.say("QUIT", "221");
    }
    assert_eq!((handshakes(&server, "full"), handshakes(&server, "resumed")), (1, 2));
    // A reload keeps tickets good and serves the new certificate.
    server.tls.reload().unwrap();
    let stream = std::net::TcpStream::connect(server.implicit).unwrap();
    Client::over(tls(&config, stream)).hear("220");
    assert_eq!(handshakes(&server, "resumed"), 3);
}

#[test]
fn a_client_that_never_shakes_hands_is_cut_off() {
    let server = Setup::with(|l| l.handshake_timeout = std::time::Duration::from_millis(200)).start();
    let mut stream = std::net::TcpStream::connect(server.implicit).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream.write_all(&[0x16, 3]).unwrap();
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    assert!(rest.is_empty());
}
