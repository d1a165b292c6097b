//! Logging in: the mechanisms, refusals that suspend the route, and tokens.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::delivery::{Delivery, Outcome, Trouble, Verdict};
use postbud::route::{Cause, Login, LoginSecret, Route, TlsMode};
use postbud::smtp::Mechanism;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::certs::self_signed;
use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, hello, say, takes_one};

fn with_password(server: &Server) -> Arc<Route> {
    let secret = LoginSecret::Password("tanstaaftanstaaf".to_owned());
    let login = Login { allow_plaintext: true, ..Login::new("tim", secret) };
    Arc::new(Route { login: Some(login), ..route(server.address) })
}

async fn outcome_of(script: Vec<Vec<Step>>) -> Outcome {
    let server = Server::start(vec![script.concat()]).await;
    let outcome = attempt(&delivery(), &with_password(&server), &message(&["x@test.net"])).await;
    server.heard();
    outcome
}

#[tokio::test]
async fn each_mechanism_logs_in() {
    let plain = vec![hear("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"), say("235 2.7.0 ok")];
    let login = vec![
        hear("AUTH LOGIN"),
        say("334 VXNlcm5hbWU6"),
        hear("dGlt"),
        say("334 UGFzc3dvcmQ6"),
        hear("dGFuc3RhYWZ0YW5zdGFhZg=="),
        say("235 2.7.0 ok"),
    ];
    let cram = vec![
        hear("AUTH CRAM-MD5"),
        say("334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"),
        hear("dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"),
        say("235 2.7.0 ok"),
    ];
    for (offer, dialogue) in [("AUTH PLAIN", plain), ("AUTH=LOGIN NTLM", login), ("AUTH CRAM-MD5 PLAIN", cram)] {
        let outcome = outcome_of(vec![hello(&[offer]), dialogue, takes_one()]).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{offer}: {outcome:?}");
    }
}

/// How a login ends.
#[derive(Clone, Copy)]
pub enum Ends {
    /// Mail goes out.
    Well,
    /// The route is suspended: the reason begins so, and the advice has this.
    Suspended(&'static str, &'static str),
    /// The route backs off: the reason has this, and the advice.
    BackedOff(&'static str, &'static str),
    /// The route backs off: the reason has this, and there may be no advice.
    Waits(&'static str),
}

/// Logs in at a server that offers `auth`, over TLS or in clear, by `only` where it is given. The dialogue's lines begin with `C: `
/// and `S: `; the server hangs up at its end.
pub async fn logs_in(auth: &str, over_tls: bool, only: Option<Mechanism>, dialogue: &'static str, ends: Ends) {
    let mut script = match over_tls {
        true => [
            hello(&["STARTTLS"]),
            vec![hear("STARTTLS"), say("220 go"), Step::Tls(Box::new(self_signed(&["127.0.0.1"], false)))],
            vec![hear("EHLO"), say(&format!("250-mail.test.dk\r\n250 AUTH {auth}"))],
        ]
        .concat(),
        false => hello(&[&format!("AUTH {auth}")]),
    };
    script.extend(dialogue.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| match line.split_at(3) {
        ("C: ", heard) => hear(heard),
        (_, said) => say(said),
    }));
    if matches!(ends, Ends::Well) {
        script.extend(takes_one());
    }
    let server = Server::start(vec![script]).await;
    let mut route = (*with_password(&server)).clone();
    route.login.as_mut().unwrap().mechanism = only;
    if over_tls {
        route.tls.mode = TlsMode::Opportunistic;
    }
    let outcome = attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
    let what = format!("{auth}, TLS {over_tls}, only {only:?}: {dialogue}\n{outcome:?}");
    server.heard();
    match (ends, &outcome.trouble) {
        (Ends::Well, None) => assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{what}"),
        (Ends::Suspended(start, hint), Some(Trouble::Suspend { cause: Cause::Login, reason, advice })) => {
            assert!(reason.starts_with(start) && advice.contains(hint), "{what}");
        }
        (Ends::BackedOff(start, hint), Some(Trouble::BackOff { reason, advice: Some(advice), .. })) => {
            assert!(reason.contains(start) && advice.contains(hint), "{what}");
        }
        (Ends::Waits(start), Some(Trouble::BackOff { reason, .. })) => assert!(reason.contains(start), "{what}"),
        _ => panic!("{what}"),
    }
    assert_eq!(server.connections(), 1, "{what}");
}

const ALL: &str = "PLAIN LOGIN CRAM-MD5";
const WEAK: &str = "534 5.7.9 Authentication mechanism is too weak";
const WRONG: &str = "535 5.7.8 wrong";

#[tokio::test]
async fn another_mechanism_is_tried_only_where_the_refused_one_is_to_blame() {
    use Ends::{BackedOff, Suspended, Well};
    let rows = [
        // Too weak: a stronger one, and where there is none, another one.
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 235 ok",
            Well,
        ),
        (
            "LOGIN PLAIN",
            "C: AUTH PLAIN AHR\nS: 534 Authentication mechanism is too weak\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\n\
             S: 334 UGFzc3dvcmQ6\nC: dGFu\nS: 235 ok",
            Well,
        ),
        ("PLAIN", "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak", Suspended(WEAK, "in auth")),
        // One more, and not all of them. What was said last of the password counts, and what was said of the mechanism otherwise.
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 535 5.7.8 wrong",
            Suspended(WRONG, "\"tim\""),
        ),
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak\nC: AUTH CRAM-MD5\n\
             S: 534 5.7.9 Authentication mechanism is too weak",
            Suspended(WEAK, "too weak"),
        ),
        (
            "PLAIN CRAM-MD5",
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak\nC: AUTH CRAM-MD5\nS: 504 5.5.4 no",
            Suspended(WEAK, "too weak"),
        ),
        // A server that hangs up on the second one is not asked again with every connection.
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak\nC: AUTH CRAM-MD5",
            Suspended(WEAK, "too weak"),
        ),
        // The account's, although the code is the mechanism's.
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Application-specific password required",
            Suspended("534 5.7.9", "application-specific password"),
        ),
        (ALL, "C: AUTH PLAIN AHR\nS: 534 5.7.14 Please log in via your web browser", Suspended("534", "\"tim\"")),
        // A wrong password is wrong by every mechanism.
        (ALL, "C: AUTH PLAIN AHR\nS: 535 5.7.8 wrong", Suspended(WRONG, "\"tim\"")),
        (
            "LOGIN CRAM-MD5",
            "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 535 5.7.8 wrong",
            Suspended(WRONG, "\"tim\""),
        ),
        (
            "CRAM-MD5",
            "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 535 5.7.8 wrong",
            Suspended(WRONG, "name another mechanism in auth"),
        ),
        // Not understood: nobody looked at the password.
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 504 5.5.4 no\nC: AUTH LOGIN\nS: 502 5.5.1 no\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 235 ok",
            Well,
        ),
        ("PLAIN LOGIN", "C: AUTH PLAIN AHR\nS: 501 Syntax: AUTH mechanism\nC: AUTH LOGIN\nS: 235 ok", Well),
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 504 5.5.4 no\nC: AUTH LOGIN\nS: 504 5.5.4 no\nC: AUTH CRAM-MD5\nS: 504 5.5.4 none",
            Suspended("504 5.5.4 none", "does not understand"),
        ),
        (
            ALL,
            "C: AUTH PLAIN AHR\nS: 504 5.5.4 no\nC: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 535 5.7.8 wrong",
            Suspended(WRONG, "\"tim\""),
        ),
        // More than the mechanism has to say: given up, and the 501 that answers that is no refusal of the login.
        (
            "LOGIN CRAM-MD5",
            "C: AUTH LOGIN\nS: 334 a\nC: dGlt\nS: 334 b\nC: dGFu\nS: 334 c\nC: *\nS: 501 5.7.0 given up\nC: AUTH CRAM-MD5\n\
             S: 334 PDE+\nC: dGltI\nS: 235 ok",
            Well,
        ),
        (
            "CRAM-MD5 PLAIN",
            "C: AUTH PLAIN AHR\nS: 334\nC: AHR\nS: 334\nC: *\nS: 501 5.7.0 given up\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 235 ok",
            Well,
        ),
        (
            "LOGIN",
            "C: AUTH LOGIN\nS: 334 a\nC: dGlt\nS: 334 b\nC: dGFu\nS: 334 c\nC: *\nS: 501 5.7.0 given up",
            BackedOff("more than LOGIN has to say: 334 c", "another mechanism in auth"),
        ),
        (
            "CRAM-MD5",
            "C: AUTH CRAM-MD5\nS: 334 no base64!\nC: *\nS: 501 5.5.2 cannot decode",
            BackedOff("334 no base64!", "another mechanism in auth"),
        ),
        ("NTLM GSSAPI", "", BackedOff("only NTLM, GSSAPI", "PLAIN, LOGIN or CRAM-MD5")),
    ];
    for (offer, dialogue, ends) in rows {
        logs_in(offer, true, None, dialogue, ends).await;
    }
}

#[tokio::test]
async fn in_clear_no_mechanism_follows_a_refusal_that_shows_more() {
    use Ends::{Suspended, Well};
    let rows = [
        (ALL, "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 535 5.7.8 wrong", Suspended(WRONG, "tls = \"required\"")),
        (
            ALL,
            "C: AUTH CRAM-MD5\nS: 534 5.7.9 Authentication mechanism is too weak",
            Suspended(WEAK, "PLAIN within TLS"),
        ),
        (
            "PLAIN LOGIN",
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak",
            Suspended(WEAK, "PLAIN within TLS"),
        ),
        // allow_plaintext_auth says that it may be shown, and the better one is not there in truth.
        ("CRAM-MD5 PLAIN", "C: AUTH CRAM-MD5\nS: 504 5.5.4 not here\nC: AUTH PLAIN\nS: 235 ok", Well),
    ];
    for (offer, dialogue, ends) in rows {
        logs_in(offer, false, None, dialogue, ends).await;
    }
}

#[tokio::test]
async fn a_mechanism_that_is_named_is_the_only_one() {
    use Ends::{BackedOff, Suspended, Well};
    let rows = [
        (true, Mechanism::Plain, "C: AUTH PLAIN AHR\nS: 235 ok", Well),
        (true, Mechanism::Login, "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 235 ok", Well),
        (true, Mechanism::CramMd5, "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 235 ok", Well),
        (false, Mechanism::Plain, "C: AUTH PLAIN AHR\nS: 235 ok", Well),
        (false, Mechanism::Login, "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 235 ok", Well),
        (
            true,
            Mechanism::Plain,
            "C: AUTH PLAIN AHR\nS: 534 5.7.9 Authentication mechanism is too weak",
            Suspended(WEAK, "in auth"),
        ),
        (true, Mechanism::Login, "C: AUTH LOGIN\nS: 504 5.5.4 no", Suspended("504", "in auth")),
        (
            true,
            Mechanism::CramMd5,
            "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 535 5.7.8 wrong",
            Suspended(WRONG, "in auth"),
        ),
    ];
    for (over_tls, only, dialogue, ends) in rows {
        logs_in(ALL, over_tls, Some(only), dialogue, ends).await;
    }
    let ends = BackedOff("no login by CRAM-MD5, only by LOGIN, NTLM", "leave auth out");
    logs_in("LOGIN NTLM", true, Some(Mechanism::CramMd5), "", ends).await;
}

#[tokio::test]
async fn the_mechanism_that_worked_is_the_first_one_of_the_next_connection() {
    let encrypted = |dialogue: Vec<Step>| {
        let issued = self_signed(&["127.0.0.1"], false);
        let start = vec![hear("STARTTLS"), say("220 go"), Step::Tls(Box::new(issued)), hear("EHLO")];
        let offer = say(&format!("250-mail.test.dk\r\n250 AUTH {ALL}"));
        [hello(&["STARTTLS"]), start, vec![offer], dialogue, takes_one()].concat()
    };
    let cram = [hear("AUTH CRAM-MD5"), say("334 PDE+"), hear("dGltI"), say("235 ok")];
    let first = [&[hear("AUTH PLAIN"), say(WEAK)][..], &cram].concat();
    let server = Server::start(vec![encrypted(first), encrypted(cram.to_vec())]).await;
    let mut route = (*with_password(&server)).clone();
    route.tls.mode = TlsMode::Opportunistic;
    route.caps.messages_per_connection = 1;
    let (delivery, route) = (delivery(), Arc::new(route));
    delivers(&delivery, &route).await;
    delivers(&delivery, &route).await;
    server.heard();
}

/// A name so long that its response does not fit in a command line.
const LONG: &str = "a-user-with-a-very-long-name";

#[tokio::test]
async fn a_response_too_long_for_a_command_line_waits_until_it_is_asked_for() {
    for (length, is_inline) in [(10, true), (300, true), (500, false), (2_000, false), (9_000, false)] {
        let password = "p".repeat(length);
        let secret = LoginSecret::Password(password.clone());
        let response = STANDARD.encode(format!("\0{LONG}\0{password}"));
        let dialogue = match is_inline {
            true => vec![hear("AUTH PLAIN "), say("235 ok")],
            false => vec![hear("AUTH PLAIN\r\n"), say("334 "), hear("AG"), say("235 ok")],
        };
        let server = Server::start(vec![[hello(&["AUTH PLAIN"]), dialogue, takes_one()].concat()]).await;
        let login = Login { allow_plaintext: true, ..Login::new(LONG, secret) };
        delivers(&delivery(), &Arc::new(Route { login: Some(login), ..route(server.address) })).await;
        let heard = server.heard();
        let answered = if is_inline { heard[0][1].trim_start_matches("AUTH PLAIN ") } else { heard[0][2].as_str() };
        assert_eq!(answered, response, "{length}");
        assert!(heard[0].iter().take(2).all(|line| line.len() + 2 <= 512), "{length}");
    }
}

#[tokio::test]
async fn a_long_token_is_given_when_the_server_asks_for_it_and_its_refusal_is_heard() {
    let token = "t".repeat(2_000);
    let granted = format!(r#"{{"access_token":"{token}-N","expires_in":3600,"token_type":"Bearer"}}"#);
    let (url, asked) = token_endpoint_saying("200 OK", granted.leak()).await;
    let reason = "334 eyJzdGF0dXMiOiI0MDEifQ==";
    let asks = [hear("AUTH XOAUTH2\r\n"), say("334 "), hear("dXNlcj1h")];
    let accepts = [hello(&["AUTH XOAUTH2"]), [&asks[..], &[say("235 ok")]].concat(), takes_one()].concat();
    let refusal = [say(reason), hear("\r\n"), say("535 5.7.3 Authentication unsuccessful")];
    let refuses = [hello(&["AUTH XOAUTH2"]), [&asks[..], &refusal, &asks, &refusal].concat()].concat();
    let server = Server::start(vec![accepts, refuses]).await;
    let mut changed = (*with_tokens(&server, url)).clone();
    changed.caps.messages_per_connection = 1;
    let (delivery, route) = (delivery(), Arc::new(changed));
    delivers(&delivery, &route).await;
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    let Some(Trouble::Suspend { reason, advice, .. }) = &outcome.trouble else { panic!("{outcome:?}") };
    assert!(reason.starts_with("535 5.7.3") && advice.contains("consented"), "{reason}. {advice}");
    assert_eq!(asked.lock().unwrap().len(), 2, "the kept token was refused, and a new one tried");
    let heard = server.heard();
    let given = |token: &str| STANDARD.encode(format!("user=a@test.dk\x01auth=Bearer {token}\x01\x01"));
    assert_eq!(heard[0][2], given(&format!("{token}-1")));
    assert_eq!((&heard[1][2], &heard[1][5]), (&given(&format!("{token}-1")), &given(&format!("{token}-2"))));
}

#[tokio::test]
async fn a_server_that_passes_over_a_response_is_given_it_once_more() {
    let outcome = outcome_of(vec![
        hello(&["AUTH PLAIN"]),
        vec![hear("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"), say("334"), hear("AHRpbQB0YW5zdGFhZnRhbnN0YWFm")],
        vec![say("235 ok")],
        takes_one(),
    ])
    .await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
    let (url, _) = token_endpoint("200 OK").await;
    let dialogue = vec![hear("AUTH XOAUTH2 dXNlcj1h"), say("334 "), hear("dXNlcj1h"), say("235 ok")];
    let server = Server::start(vec![[hello(&["AUTH XOAUTH2"]), dialogue, takes_one()].concat()]).await;
    delivers(&delivery(), &with_tokens(&server, url)).await;
}

#[tokio::test]
async fn advice_names_the_place_where_the_login_stands() {
    let server = Server::start(vec![[hello(&["AUTH PLAIN"]), vec![hear("AUTH"), say(WRONG)]].concat()]).await;
    let mut route = (*with_password(&server)).clone();
    let place = "username_file (secrets/key) and password_file (secrets/secret) in [mailjet.trusted] of postbud.toml";
    route.login.as_mut().unwrap().stands_in = place.to_owned();
    let outcome = attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
    let Some(Trouble::Suspend { advice, .. }) = &outcome.trouble else { panic!("{outcome:?}") };
    assert_eq!(*advice, format!("the login \"tim\" was refused: correct {place}, and reload"));
}

#[tokio::test]
async fn a_refused_login_suspends_the_route_and_no_other_mechanism_is_tried() {
    for reply in
        ["535 5.7.8 wrong", "535 5.7.139 SMTP AUTH is disabled", "550 5.7.30 Basic authentication is not supported"]
    {
        let outcome = outcome_of(vec![hello(&["AUTH PLAIN LOGIN"]), vec![hear("AUTH PLAIN"), say(reply)]]).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "mail waits: {outcome:?}");
        let Some(Trouble::Suspend { cause: Cause::Login, reason, advice }) = &outcome.trouble else {
            panic!("{outcome:?}")
        };
        assert!(reason.starts_with(reply) && !advice.is_empty());
    }
    let outcome = outcome_of(vec![hello(&["AUTH PLAIN"]), vec![hear("AUTH PLAIN"), say("454 4.7.0 later")]]).await;
    assert!(matches!(outcome.trouble, Some(Trouble::BackOff { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_by_all_connections_together() {
    let refusing = || {
        let refusal = vec![hear("AUTH"), Step::Pause(Duration::from_millis(100)), say("535 5.7.8 wrong")];
        [hello(&["AUTH PLAIN"]), refusal].concat()
    };
    let server = Server::start((0..8).map(|_| refusing()).collect()).await;
    let (delivery, route) = (Arc::new(delivery()), with_password(&server));
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let (delivery, route) = (Arc::clone(&delivery), Arc::clone(&route));
            tokio::spawn(async move { attempt(&delivery, &route, &message(&["x@test.net"])).await })
        })
        .collect();
    for one in attempts {
        assert!(matches!(one.await.unwrap().trouble, Some(Trouble::Suspend { .. })));
    }
    assert_eq!(server.connections(), 1, "seven more wrong passwords would have locked the account");
    // An operator who resumes the route gets a real try.
    assert!(matches!(
        attempt(&delivery, &route, &message(&["x@test.net"])).await.trouble,
        Some(Trouble::Suspend { .. })
    ));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_without_a_login_makes_mail_wait() {
    let outcome = outcome_of(vec![hello(&[])]).await;
    let Some(Trouble::BackOff { reason, advice: Some(_), .. }) = outcome.trouble else { panic!("{outcome:?}") };
    assert!(reason.contains("offers no login"));
}

const INVALID_CLIENT: &str = r#"{"error":"invalid_client","error_description":"AADSTS7000215: bad secret"}"#;

/// A token endpoint that gives `token-1`, `token-2`, …, or a refusal with this status; keeps what it was asked.
async fn token_endpoint(status: &'static str) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let granted = r#"{"access_token":"token-N","expires_in":3600,"token_type":"Bearer"}"#;
    token_endpoint_saying(status, if status == "200 OK" { granted } else { INVALID_CLIENT }).await
}

/// One that answers with this status and body, the number of the request in place of `N`.
async fn token_endpoint_saying(
    status: &'static str,
    body: &'static str,
) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tenant/oauth2/v2.0/token", listener.local_addr().unwrap());
    let asked: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // The form ends with the scope.
            while !request.ends_with(b".default") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let number = {
                let mut log = log.lock().unwrap();
                log.push(String::from_utf8_lossy(&request).into_owned());
                log.len()
            };
            let body = body.replace("-N", &format!("-{number}"));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (url, asked)
}

fn with_tokens(server: &Server, token_url: String) -> Arc<Route> {
    let secret = LoginSecret::ClientCredentials {
        token_url,
        client_id: "app".to_owned(),
        client_secret: "s3cr&t".to_owned(),
        scope: "https://outlook.office365.com/.default".to_owned(),
    };
    let login = Login { allow_plaintext: true, ..Login::new("a@test.dk", secret) };
    Arc::new(Route { login: Some(login), ..route(server.address) })
}

fn bearer(token: &str) -> String {
    let text = format!("user=a@test.dk\x01auth=Bearer {token}\x01\x01");
    format!("AUTH XOAUTH2 {}", STANDARD.encode(text))
}

async fn delivers(delivery: &Delivery, route: &Arc<Route>) {
    let outcome = attempt(delivery, route, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
}

#[tokio::test]
async fn tokens_are_fetched_kept_and_renewed_when_refused() {
    let (url, asked) = token_endpoint("200 OK").await;
    let offers = || hello(&["AUTH XOAUTH2"]);
    let accepts = || [offers(), vec![hear("AUTH XOAUTH2"), say("235 ok")], takes_one()].concat();
    let revokes = [
        offers(),
        vec![
            hear("AUTH XOAUTH2"),
            say("334 eyJzdGF0dXMiOiI0MDEifQ=="),
            hear(""),
            say("535 5.7.3 Authentication unsuccessful"),
            hear("AUTH XOAUTH2"),
            say("235 ok"),
        ],
        takes_one(),
    ];
    let server = Server::start(vec![accepts(), accepts(), revokes.concat()]).await;
    let mut changed = (*with_tokens(&server, url)).clone();
    changed.caps.messages_per_connection = 1;
    let (delivery, route) = (delivery(), Arc::new(changed));
    delivers(&delivery, &route).await;
    delivers(&delivery, &route).await;
    assert_eq!(asked.lock().unwrap().len(), 1, "the second connection uses the kept token");
    delivers(&delivery, &route).await;
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0]
            .contains("grant_type=client_credentials&client_id=app&client_secret=s3cr%26t&scope=https%3A%2F%2Foutlook")
    );
    let heard = server.heard();
    assert_eq!(heard[0][1], bearer("token-1"));
    assert_eq!(heard[1][1], bearer("token-1"));
    assert_eq!((&heard[2][1], &heard[2][3]), (&bearer("token-1"), &bearer("token-2")));
}

#[test]
fn tokens_are_fetched_without_the_environments_proxies() {
    crate::proxies::passes_without_the_environments_proxies("logins::tokens_are_fetched_kept_and_renewed_when_refused");
}

#[tokio::test]
async fn a_refusing_token_endpoint_suspends_and_a_broken_one_only_waits() {
    for (status, suspends) in
        [("401 Unauthorized", true), ("400 Bad Request", true), ("503 Unavailable", false), ("429 Slow", false)]
    {
        let (url, _) = token_endpoint(status).await;
        let server = Server::start(vec![hello(&["AUTH XOAUTH2"])]).await;
        let outcome = attempt(&delivery(), &with_tokens(&server, url), &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred);
        assert_eq!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), suspends, "{status}: {outcome:?}");
        if suspends {
            assert!(outcome.recipients[0].meaning.reply.contains("AADSTS7000215"), "{outcome:?}");
            let Some(Trouble::Suspend { advice, .. }) = &outcome.trouble else { panic!("{outcome:?}") };
            assert!(advice.contains("the secret's Value, not its Secret ID"), "{advice}");
        }
        assert!(!format!("{outcome:?}").contains("s3cr"), "no secret in what operators see");
    }
}

#[tokio::test]
async fn what_answers_in_place_of_the_token_endpoint_says_nothing_of_the_credentials() {
    for (status, body) in [
        ("408 Request Timeout", INVALID_CLIENT),
        ("403 Forbidden", "<html>this site is blocked</html>"),
        ("404 Not Found", "<html>no such page</html>"),
        ("403 Forbidden", r#"{"error":{"code":403,"message":"quota"}}"#),
        ("400 Bad Request", r#"{"error":"temporarily_unavailable"}"#),
    ] {
        let (url, _) = token_endpoint_saying(status, body).await;
        let server = Server::start(vec![hello(&["AUTH XOAUTH2"])]).await;
        let outcome = attempt(&delivery(), &with_tokens(&server, url), &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred);
        let Some(Trouble::BackOff { reason, advice: Some(advice), .. }) = &outcome.trouble else {
            panic!("{status} {body}: {outcome:?}")
        };
        assert!(reason.contains(status) && advice.contains("token_url"), "{reason}. {advice}");
    }
}

#[tokio::test]
async fn a_token_without_an_expiry_is_used() {
    let eternal = r#"{"access_token":"token-N","expires_in":9223372036854775807,"token_type":"Bearer"}"#;
    let (url, _) = token_endpoint_saying("200 OK", eternal).await;
    let accepts = [hello(&["AUTH XOAUTH2"]), vec![hear("AUTH XOAUTH2"), say("235 ok")], takes_one()].concat();
    let server = Server::start(vec![accepts]).await;
    delivers(&delivery(), &with_tokens(&server, url)).await;
}
