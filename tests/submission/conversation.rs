//! The server's replies to commands, in and out of order.

use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::intake_spool::{Outcome, text};
use crate::support::{PASSWORD, Setup, USERNAME, base64, plain};

const MAIL: &str = "From: a@test.dk\nSubject: hej\n\nDav\n";

#[test]
fn a_message_is_answered_with_its_queue_id_and_kept_signed() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let reply = client.mail("a@test.dk", MAIL);
    let draft = server.spool.only();
    assert_eq!(reply, format!("250 2.0.0 queued as {}", draft.id));
    let text = text(&draft);
    assert!(text.starts_with("Received: by out.webcrm.test (postbud) with ESMTPA id "), "{text}");
    assert!(text.contains("\r\nDKIM-Signature: v=1; a=rsa-sha256;"), "{text}");
    assert!(text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <"), "{text}");
    assert!(text.ends_with("From: a@test.dk\r\nSubject: hej\r\n\r\nDav\r\n"), "{text}");
    assert_eq!(draft.header_len as usize, "From: a@test.dk\r\nSubject: hej\r\n".len());
    assert!(text.contains(&format!("Message-ID: <{}>", draft.message_id)));
    client.say("QUIT", "221 2.0.0");
    client.closed();
}

#[test]
fn extensions_are_offered_where_they_hold() {
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let mut client = server.connect();
    let offered = client.say("EHLO x", "250-out.webcrm.test");
    for extension in [
        "PIPELINING",
        "SIZE 26214400",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
        "CHUNKING",
        "DSN",
        "LIMITS RCPTMAX=1000 MAILMAX=10000",
    ] {
        assert!(offered.contains(extension), "{extension} in {offered}");
    }
    assert!(!offered.contains("AUTH"), "{offered}");
    assert_eq!(client.say("HELO x", "250"), "250 out.webcrm.test");
}

#[test]
fn commands_out_of_order_are_refused() {
    Setup::default().start().connect().script(
        "
        C: MAIL FROM:<a@test.dk>
        S: 503 5.5.1
        C: AUTH LOGIN
        S: 503 5.5.1
        C: EHLO x
        S: 250
        C: MAIL FROM:<a@test.dk>
        S: 530 5.7.0
        C: RCPT TO:<b@test.dk>
        S: 503 5.5.1
        C: DATA
        S: 503 5.5.1
        C: BDAT 0 LAST
        S: 503 5.5.1
        C: BOGUS
        S: 500 5.5.1
        C: VRFY a
        S: 252 2.5.0
        C: EXPN a
        S: 502 5.5.1
        C: HELP
        S: 214
        C: NOOP x
        S: 250 2.0.0
        C: RSET
        S: 250 2.0.0
        C: EHLO
        S: 501 5.5.4
        C: DATA x
        S: 501 5.5.4
        C: QUIT
        S: 221
        ",
    );
}

#[test]
fn within_a_message_order_matters_too() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.script(
        "
        C: MAIL FROM:<a@test.dk>
        S: 250
        C: MAIL FROM:<a@test.dk>
        S: 503 5.5.1
        C: AUTH PLAIN
        S: 503 5.5.1
        C: DATA
        S: 554 5.5.1
        C: STARTTLS
        S: 503 5.5.1
        C: RCPT TO:<b@test.dk>
        S: 250
        C: RSET
        S: 250
        C: RCPT TO:<b@test.dk>
        S: 503 5.5.1
        C: MAIL FROM:<a@test.dk>
        S: 250
        C: RCPT TO:<b@test.dk>
        S: 250
        C: EHLO again
        S: 250
        C: DATA
        S: 503 5.5.1
        ",
    );
}

#[test]
fn rset_after_rcpt_forgets_recipients() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    client.say("RCPT TO:<wrong@example.com>", "250");
    client.say("RSET", "250");
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    let addresses: Vec<_> = server.spool.only().envelope.recipients.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(addresses, ["kunde@example.com"]);
}

#[test]
fn a_recipient_named_twice_gets_the_message_once() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let named = [
        ("kunde@example.com", true),
        ("KUNDE@example.com", true),
        ("kunde@EXAMPLE.com.", false),
        ("kunde@blåbær.dk", true),
        ("kunde@xn--blbr-roah.dk", false),
        ("<wrong>", false),
        ("kunde@[192.0.2.1]", true),
        ("kunde@example.com", false),
    ];
    for content in ["DATA", "BDAT 19 LAST"] {
        client.say("MAIL FROM:<a@test.dk>", "250");
        for (address, _) in named {
            let reply = if address == "<wrong>" { "501 5.5.4" } else { "250 2.1.5" };
            client.say(&format!("RCPT TO:<{address}>"), reply);
        }
        client.send(format!("{content}\r\nFrom: a@test.dk\r\n\r\n"));
        if content == "DATA" {
            client.hear("354");
            client.send(".\r\n");
        }
        client.hear("250 2.0.0 queued");
    }
    let once: Vec<_> = named.iter().filter(|(_, once)| *once).map(|(address, _)| *address).collect();
    let once: Vec<_> = once.into_iter().map(|address| address.replace("blåbær", "xn--blbr-roah")).collect();
    for draft in server.spool.drafts() {
        let sent: Vec<_> = draft.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
        assert_eq!(sent, once);
    }
}

#[test]
fn a_pipelined_flight_is_answered_in_order() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for _ in 0..3 {
        client.send(
            "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<bad>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n",
        );
        for start in ["250 2.1.0", "250 2.1.5", "501 5.1.3", "250 2.1.5", "354"] {
            client.hear(start);
        }
        client.send(format!("{}.\r\nNOOP\r\n", MAIL.replace('\n', "\r\n")));
        client.hear("250 2.0.0 queued as ");
        client.hear("250 2.0.0 still");
    }
    assert_eq!(server.spool.drafts().len(), 3);
    assert_eq!(server.spool.drafts()[0].envelope.recipients.len(), 2);
}

#[test]
fn content_behind_a_refused_data_is_never_obeyed() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.send("DATA\r\nMAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nFrom: a@test.dk\r\n\r\n.\r\n");
    client.hear("503 5.5.1");
    client.closed();
    assert!(server.spool.drafts().is_empty());
}

#[test]
fn content_behind_a_malformed_data_is_never_obeyed() {
    let server = Setup::default().start();
    for (data, reply) in [("DATA \x01\r\n", "500 5.5.2"), ("DATA x\r\n", "501 5.5.4"), ("DATA\n", "500 5.5.2")] {
        let mut client = server.logged_in();
        client.send(format!(
            "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n{data}From: a@test.dk\r\n\r\nRSET\r\n\
             MAIL FROM:<a@test.dk>\r\nRCPT TO:<c@example.com>\r\nDATA\r\nFrom: a@test.dk\r\n\r\n.\r\n"
        ));
        for start in ["250", "250", reply] {
            client.hear(start);
        }
        client.closed();
    }
    assert!(server.spool.drafts().is_empty());
}

#[test]
fn lines_that_are_no_lines_are_refused() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for octets in [&b"NOOP\n\r\n"[..], b"NO\rOP\r\n", b"NOOP \0\r\n", b"NOOP \xff\r\n"] {
        client.send(octets);
        client.hear("500 5.5.2");
    }
    client.send([&[b'x'; 5000][..], b"\r\n"].concat());
    client.hear("500 5.5.2");
    client.send(vec![b'x'; 200_000]);
    client.hear("421 4.5.2");
    client.closed();
}

#[test]
fn a_browser_is_sent_away() {
    let server = Setup::default().start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n");
    client.hear("421 4.7.0");
    client.closed();
}

#[test]
fn parameters_reach_the_envelope() {
    use postbud::message::{BodyKind, Notify, Ret};
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.script(
        "
        C: MAIL FROM:<søren@test.dk> SIZE=100
        S: 553 5.6.7
        C: MAIL FROM:<a@test.dk> XFOO
        S: 555 5.5.4
        C: MAIL FROM:<a@test.dk> BODY=BINARYMIME
        S: 555 5.5.4
        C: MAIL FROM:<søren@test.dk> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=abc AUTH=<>
        S: 250
        C: RCPT TO:<@relay.dk:b@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+40example.com
        S: 250
        C: RCPT TO:<c@[192.0.2.1]> NOTIFY=NEVER
        S: 250
        C: DATA
        S: 354
        ",
    );
    client.send("From: =?utf-8?q?S=C3=B8ren?= <søren@test.dk>\r\n\r\nHilsen Søren\r\n.\r\n");
    client.hear("250 2.0.0");
    let draft = server.spool.only();
    let envelope = &draft.envelope;
    assert_eq!(envelope.reverse_path.to_string(), "søren@test.dk");
    assert_eq!((envelope.ret, envelope.envid.as_deref()), (Some(Ret::Headers), Some("abc")));
    assert_eq!((envelope.body, envelope.smtputf8), (BodyKind::EightBit, true));
    assert_eq!(envelope.recipients[0].address.to_string(), "b@example.com");
    assert_eq!(envelope.recipients[0].notify, Some(Notify { success: true, failure: true, delay: false }));
    assert_eq!(envelope.recipients[0].orcpt.as_deref(), Some("rfc822;b+40example.com"));
    assert_eq!(envelope.recipients[1].notify, Some(Notify::NEVER));
    assert!(text(&draft).contains("with UTF8SMTPA id"));
}

#[test]
fn an_original_recipient_outside_ascii_needs_smtputf8() {
    let server = Setup::default().start();
    server.logged_in().script(
        "
        C: MAIL FROM:<a@test.dk>
        S: 250
        C: RCPT TO:<b@example.com> ORCPT=utf-8;søren@example.com
        S: 553 5.6.7
        C: RSET
        S: 250
        C: MAIL FROM:<a@test.dk> SMTPUTF8
        S: 250
        C: RCPT TO:<b@example.com> ORCPT=utf-8;søren@example.com
        S: 250
        ",
    );
}

#[test]
fn helo_clients_are_served() {
    let server = Setup { auth: postbud::submission::ListenerAuth::Off, ..Setup::default() }.start();
    let mut client = server.connect();
    client.say("HELO old", "250 out.webcrm.test");
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    assert!(text(&server.spool.only()).contains("with SMTP id"));
}

#[test]
fn chunks_make_one_message() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    client.say("RCPT TO:<b@example.com>", "250");
    // All in one flight: commands stand directly behind the octets of a chunk.
    client.send("BDAT 10\r\nFrom: a@teBDAT 9\r\nst.dk\r\n\r\nBDAT 0\r\nBDAT 11 LAST\r\n.\r\nMAIL\r\n..NOOP\r\n");
    for start in ["250 2.0.0 10", "250 2.0.0 9", "250 2.0.0 0", "250 2.0.0 queued", "250 2.0.0 still"] {
        client.hear(start);
    }
    let text = text(&server.spool.only());
    // The last line had no end.
    assert!(text.ends_with("From: a@test.dk\r\n\r\n.\r\nMAIL\r\n..\r\n"), "{text:?}");
}

#[test]
fn chunks_can_be_given_up_and_their_rules_are_those_of_data() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let begin = "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n";
    client.send(format!("{begin}BDAT 5\r\nFrom:RSET\r\nBDAT 4\r\nQUITNOOP\r\n"));
    for start in ["250", "250", "250 2.0.0 5", "250 2.0.0 forgotten", "503 5.5.1", "250 2.0.0 still"] {
        client.hear(start);
    }
    client.send(format!("{begin}BDAT 5\r\nFrom:DATA\r\n"));
    for start in ["250", "250", "250 2.0.0 5", "503 5.5.1"] {
        client.hear(start);
    }
    client.send("RSET\r\n");
    client.hear("250");
    for (content, code) in [
        ("From: a@test.dk\r\n\r\na\nb", "550 5.6.0"),
        ("From: a@test.dk\r\n\r\na\r", "550 5.6.0"),
        ("From: a@test.dk\r\n\r\n\0", "550 5.6.0"),
        ("From: a@evil.dk\r\n\r\n", "550 5.7.1"),
    ] {
        client.send(format!("{begin}BDAT {}\r\n{content}BDAT 4 LAST\r\nQUIT", content.len()));
        client.hear("250");
        client.hear("250");
        if content.ends_with('\r') {
            // Only the next octet says that this CR is alone.
            client.hear("250");
            client.hear(code);
        } else {
            client.hear(code);
            client.hear("503 5.5.1");
        }
    }
    assert!(server.spool.drafts().is_empty());
}

#[test]
fn nothing_behind_a_malformed_bdat_is_obeyed() {
    let server = Setup::default().start();
    let overlong = format!("BDAT 6{} LAST\r\n", " ".repeat(5_000));
    for (bdat, reply) in [
        ("BDAT 6 LAST.\r\n", "501 5.5.4"),
        ("BDAT -6\r\n", "501 5.5.4"),
        ("BDAT\r\n", "501 5.5.4"),
        ("BDAT 999999999999999999999 LAST\r\n", "501 5.5.4"),
        ("BDAT\t6 LAST\r\n", "500 5.5.1"),
        ("BDAT 6 LAST\n", "500 5.5.2"),
        ("bdat 6 LAST\r", "500 5.5.2"),
        ("BDAT 6 \0LAST\r\n", "500 5.5.2"),
        (&overlong, "500 5.5.2"),
    ] {
        let mut client = server.logged_in();
        client.send(format!("MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n{bdat}NOOP\r\n"));
        for start in ["250", "250", reply] {
            client.hear(start);
        }
        client.closed();
    }
}

#[test]
fn replies_are_short_ascii_lines_whatever_they_quote() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for line in [format!("MAIL FROM:<{}>", "x".repeat(4000)), format!("MAIL FROM:<a@test.dk> {}", "P".repeat(4000))] {
        client.send(format!("{line}\r\n"));
        assert_eq!(client.reply().len(), 510, "{line}");
    }
    client.say("MAIL FROM:<søren@own.dk> SMTPUTF8", "250");
    client.say("RCPT TO:<b@example.com>", "250");
    client.say("DATA", "354");
    client.send("From: a@test.dk\r\n\r\n.\r\n");
    client.hear("550 5.7.1 MAIL FROM s?ren@own.dk is in no domain");
}

#[test]
fn what_cannot_be_stored_is_deferred_and_the_reason_stays_inside() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    server.spool.end_with(Outcome::Full);
    assert!(client.mail("a@test.dk", MAIL).starts_with("452 4.3.1"));
    server.spool.end_with(Outcome::Broken);
    let reply = client.mail("a@test.dk", MAIL);
    assert!(reply.starts_with("451 4.3.0") && !reply.contains("secret"), "{reply}");
    server.spool.end_with(Outcome::Kept);
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
}

#[test]
fn a_message_is_kept_though_the_client_is_gone() {
    let server = Setup::default().start();
    server.spool.hold_back();
    let mut client = server.logged_in();
    client.begin("a@test.dk");
    client.send(format!("{}.\r\n", MAIL.replace('\n', "\r\n")));
    std::thread::sleep(Duration::from_millis(100));
    drop(client);
    server.spool.let_go();
    server.spool.wait_for(1);
}

#[test]
fn a_stop_says_421_between_messages_and_finishes_the_one_under_way() {
    let server = Setup::default().start();
    let mut idle = server.logged_in();
    let mut busy = server.logged_in();
    let mut read_away = server.logged_in();
    read_away.send("BDAT 1000000 LAST\r\nFrom");
    busy.begin("a@test.dk");
    busy.send("From: a@test.dk\r\n");
    std::thread::sleep(Duration::from_millis(50));
    server.shutdown.cancel();
    idle.hear("421 4.3.2");
    idle.closed();
    read_away.hear("421 4.3.2");
    read_away.closed();
    busy.send("\r\nDav\r\n.\r\n");
    busy.hear("250 2.0.0 queued");
    busy.hear("421 4.3.2");
    drop((idle, busy));
    server.stop();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn a_stop_does_not_wait_for_who_is_not_sending_mail() {
    let server = Setup::with(|limits| {
        limits.login_delay = Duration::from_secs(60);
        limits.longest_login_delay = Duration::from_secs(60);
        limits.handshake_timeout = Duration::from_secs(60);
    })
    .start();
    let mut wrong = server.connect();
    wrong.say("EHLO x", "250");
    wrong.send(format!("AUTH PLAIN {}\r\n", plain(USERNAME, "wrong")));
    let mut starting = server.connect();
    starting.say("EHLO x", "250");
    starting.say("STARTTLS", "220");
    let implicit = std::net::TcpStream::connect(server.implicit).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.shutdown.cancel();
    wrong.hear("421 4.3.2");
    wrong.closed();
    starting.closed();
    server.stop();
    drop(implicit);
}

/// Everything logged in this process.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_credential_is_in_any_reply_message_or_log() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Log).init();
    let server = Setup::default().start();
    let mut heard = String::new();
    let secrets =
        [PASSWORD.to_owned(), base64(PASSWORD), plain(USERNAME, PASSWORD), base64(USERNAME), plain(USERNAME, "wrong")];
    let mut client = server.connect();
    // Passwords where they do not belong, too.
    for line in [
        "EHLO x".to_owned(),
        format!("AUTH PLAIN {}", plain(USERNAME, "wrong")),
        format!("AUTH BOGUS {}", plain(USERNAME, PASSWORD)),
        plain(USERNAME, PASSWORD),
        format!("AUTH PLAIN {} x", plain(USERNAME, PASSWORD)),
        format!("AUTH PLAIN {}%", plain(USERNAME, PASSWORD)),
        "AUTH LOGIN".to_owned(),
        base64(USERNAME),
        base64(PASSWORD),
    ] {
        client.send(format!("{line}\r\n"));
        heard += &client.reply();
    }
    assert!(heard.contains("235"));
    heard += &client.mail("a@test.dk", MAIL);
    heard += &text(&server.spool.only());
    heard += &format!("{:?}", server.spool.only().envelope);
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(log.contains("login failed"), "the log is looked at: {log}");
    heard += &log;
    for secret in &secrets {
        assert!(!heard.contains(secret.as_str()), "{secret}");
    }
}
