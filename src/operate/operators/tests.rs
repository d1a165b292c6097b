use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::commands::{check_hash, check_name};
use super::sessions::Session;
use super::*;
use crate::database::Home;
use crate::operate::tokens::secret::Secret;
use crate::postgres::Server;
use crate::submission::{Credentials, Login};
use crate::test_postgres;
use crate::test_skip::skip;

const RIGHT: &str = "correct horse battery";

fn operators(dir: &Path) -> Operators {
    let limits = Limits { login_delay: Duration::ZERO, ..Limits::default() };
    Operators::open(Database::open(dir, &[SCHEMA]).unwrap(), &limits, SessionTimes::default()).unwrap()
}

fn address() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn kept(name: &str, role: RoleName, password: Option<&str>) -> StoredOperator {
    let password_hash = password.map(|password| PasswordHash::of(password).unwrap().0);
    StoredOperator { name: name.into(), role, password_hash, created: Timestamp::from_millis(1_000), last_login: None }
}

async fn add(operators: &Operators, kept: StoredOperator) {
    let row = kept.clone();
    assert!(operators.0.database.write(move |tables| super::table::add(tables, &row)).await.unwrap());
    operators.put(&kept.name.clone(), Some(kept));
}

async fn check(operators: &Operators, name: &str, password: &str) -> bool {
    let credentials =
        Credentials { username: Zeroizing::new(name.to_owned()), password: Zeroizing::new(password.to_owned()) };
    let passwords = operators.0.passwords.load_full();
    matches!(operators.0.logins.check(passwords, credentials, address()).await, Login::Right { .. })
}

#[tokio::test]
async fn a_password_lets_its_operator_in_also_after_a_start_and_no_file_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let before = operators(dir.path());
    add(&before, kept("anna", RoleName::Operate, Some(RIGHT))).await;
    add(&before, kept("proxied", RoleName::Read, None)).await;
    for operators in [&before, &operators(dir.path())] {
        assert!(check(operators, "anna", RIGHT).await);
        assert!(!check(operators, "anna", "correct horse battery ").await);
        assert!(!check(operators, "proxied", "").await && !check(operators, "proxied", RIGHT).await);
        let named = operators.named_by_proxy("proxied", None).unwrap();
        assert_eq!((named.to_string().as_str(), named.operator()), ("operator proxied", Some("proxied")));
        assert!(operators.named_by_proxy("Proxied", None).is_none());
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(RIGHT.len()).any(|window| window == RIGHT.as_bytes()));
    }
}

#[tokio::test]
async fn a_session_lasts_over_a_start_and_ends_with_another_password() {
    let dir = tempfile::tempdir().unwrap();
    let before = operators(dir.path());
    add(&before, kept("anna", RoleName::Admin, Some(RIGHT))).await;
    let (secret, now) = (Secret::new(), Timestamp::now());
    let digest = Digest::of(secret.as_str());
    let session = Session::begin("anna", Some(address()), now);
    let row = session.clone();
    before.0.database.write(move |tables| super::table::begin_session(tables, &digest, &row)).await.unwrap();
    before.0.sessions.begin(digest, session, now);
    let after = operators(dir.path());
    for operators in [&before, &after] {
        let actor = operators.look(secret.as_str(), Some(address()), now).unwrap();
        assert_eq!((actor.to_string().as_str(), actor.role()), ("operator anna", &Role::Admin));
        assert!(operators.look(&secret.as_str()[1..], None, now).is_none());
    }
    let changed = kept("anna", RoleName::Admin, Some("another password"));
    after.0.database.write(move |tables| super::table::change(tables, &changed)).await.unwrap();
    assert!(operators(dir.path()).look(secret.as_str(), None, now).is_none());
    let stale = Submitter {
        username: "anna".into(),
        password_hash: PasswordHash::of(RIGHT).unwrap().0,
        customers: Allowed::All,
        urgency: None,
        test: None,
    };
    assert!(after.logged_in(&stale, address(), now).is_none(), "the password was changed while the login was checked");
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(secret.as_str().len()).any(|window| window == secret.as_str().as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_or_ends_at_one_node_does_so_at_all() {
    let server = match test_postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("a_session_that_begins_or_ends_at_one_node_does_so_at_all", why),
    };
    let node = |name: &str| {
        let server = Server { node: name.into(), ..server.settings("sessions").server };
        let database = Database::open_at(&Home::Server(Box::new(server)), &[SCHEMA]).unwrap();
        let limits = Limits { login_delay: Duration::ZERO, ..Limits::default() };
        let operators = Operators::open(database, &limits, SessionTimes::default()).unwrap();
        let following = operators.clone();
        tokio::spawn(async move { following.follow().await });
        operators
    };
    let (a, b) = (node("a"), node("b"));
    add(&a, kept("anna", RoleName::Admin, Some(RIGHT))).await;
    let (secret, now) = (Secret::new(), Timestamp::now());
    let digest = Digest::of(secret.as_str());
    let session = Session::begin("anna", Some(address()), now);
    let row = session.clone();
    a.0.database.write(move |tables| super::table::begin_session(tables, &digest, &row)).await.unwrap();
    a.0.sessions.begin(digest, session, now);
    let until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let began = std::time::Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(20), "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("the other node knows the session", &|| b.is_open(secret.as_str(), now)).await;
    assert_eq!(b.look(secret.as_str(), Some(address()), now).unwrap().role(), &Role::Admin);
    let changed = kept("anna", RoleName::Admin, Some("another password"));
    b.0.database.write(move |tables| super::table::change(tables, &changed)).await.unwrap();
    until("it ends at both", &|| !a.is_open(secret.as_str(), now) && !b.is_open(secret.as_str(), now)).await;
    assert!(check(&a, "anna", "another password").await && !check(&a, "anna", RIGHT).await);
}

#[test]
fn names_and_passwords_that_are_too_little_are_refused() {
    for name in ["anna", "a", "anna@webcrm.dk", "Anna-B_2.x", &"x".repeat(64)] {
        check_name(name).unwrap();
    }
    for name in ["", " ", "a b", "-x", ".x", "@x", "../x", "a/b", "æ", "a\n", "<b>", &"x".repeat(65)] {
        assert_eq!(check_name(name).unwrap_err().kind, ErrorKind::Invalid, "{name}");
    }
    for password in ["", "short", "elevenchars"] {
        assert_eq!(PasswordHash::of(password).unwrap_err().kind, ErrorKind::Invalid);
    }
    let hash = PasswordHash::of("twelve chars").unwrap();
    check_hash("anna", &hash).unwrap();
    assert!(check_hash("anna", &PasswordHash("$2y$10$abc".into())).is_err());
    assert_eq!(format!("{hash:?}"), "PasswordHash");
    assert_eq!(role_named("customer"), None);
}
