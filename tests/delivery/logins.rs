//! Logging in: the mechanisms, refusals that suspend the route, and tokens.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::delivery::{Delivery, Outcome, Trouble, Verdict};
use postbud::route::{Cause, Login, LoginSecret, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, hello, say, takes_one};

fn with_password(server: &Server) -> Arc<Route> {
    let secret = LoginSecret::Password("tanstaaftanstaaf".to_owned());
    let login = Login { username: "tim".to_owned(), secret, allow_plaintext: true };
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
        assert_eq!(outcome.recipients[0].class.verdict, Verdict::Delivered, "{offer}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_understood_gives_way_to_the_next() {
    let outcome = outcome_of(vec![
        hello(&["AUTH CRAM-MD5 PLAIN"]),
        vec![hear("AUTH CRAM-MD5"), say("504 5.5.4 not here"), hear("AUTH PLAIN"), say("235 ok")],
        takes_one(),
    ])
    .await;
    assert_eq!(outcome.recipients[0].class.verdict, Verdict::Delivered, "{outcome:?}");
}

#[tokio::test]
async fn a_refused_login_suspends_the_route_and_no_other_mechanism_is_tried() {
    for reply in
        ["535 5.7.8 wrong", "535 5.7.139 SMTP AUTH is disabled", "550 5.7.30 Basic authentication is not supported"]
    {
        let outcome = outcome_of(vec![hello(&["AUTH PLAIN LOGIN"]), vec![hear("AUTH PLAIN"), say(reply)]]).await;
        assert_eq!(outcome.recipients[0].class.verdict, Verdict::Deferred, "mail waits: {outcome:?}");
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
    let login = Login { username: "a@test.dk".to_owned(), secret, allow_plaintext: true };
    Arc::new(Route { login: Some(login), ..route(server.address) })
}

fn bearer(token: &str) -> String {
    let text = format!("user=a@test.dk\x01auth=Bearer {token}\x01\x01");
    format!("AUTH XOAUTH2 {}", STANDARD.encode(text))
}

async fn delivers(delivery: &Delivery, route: &Arc<Route>) {
    let outcome = attempt(delivery, route, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].class.verdict, Verdict::Delivered, "{outcome:?}");
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
        assert_eq!(outcome.recipients[0].class.verdict, Verdict::Deferred);
        assert_eq!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), suspends, "{status}: {outcome:?}");
        if suspends {
            assert!(outcome.recipients[0].class.reply.contains("AADSTS7000215"), "{outcome:?}");
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
        assert_eq!(outcome.recipients[0].class.verdict, Verdict::Deferred);
        let Some(Trouble::BackOff { reason, advice: Some(advice), .. }) = &outcome.trouble else {
            panic!("{status} {body}: {outcome:?}")
        };
        assert!(reason.contains(status) && advice.contains("token_url"), "{reason}. {advice}");
    }
}

#[tokio::test]
async fn a_token_that_lives_for_ever_is_used_all_the_same() {
    let eternal = r#"{"access_token":"token-N","expires_in":9223372036854775807,"token_type":"Bearer"}"#;
    let (url, _) = token_endpoint_saying("200 OK", eternal).await;
    let accepts = [hello(&["AUTH XOAUTH2"]), vec![hear("AUTH XOAUTH2"), say("235 ok")], takes_one()].concat();
    let server = Server::start(vec![accepts]).await;
    delivers(&delivery(), &with_tokens(&server, url)).await;
}
