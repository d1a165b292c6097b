use std::path::Path;

use super::*;

fn tokens(dir: &Path) -> Tokens {
    Tokens::open(Database::open(dir, &[SCHEMA]).unwrap()).unwrap()
}

fn kept(name: &str, role: RoleName, expires: Option<Timestamp>) -> (Secret, StoredToken) {
    let secret = Secret::new();
    let kept = StoredToken {
        digest: Digest::of(secret.as_str()),
        name: name.to_owned(),
        role,
        customers: BTreeSet::from(["a", "b"].map(CustomerId::new)),
        created: Timestamp::from_millis(1_000),
        expires,
        last_used: None,
    };
    (secret, kept)
}

#[tokio::test]
async fn a_token_counts_until_it_is_revoked_also_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let before = tokens(dir.path());
    let (secret, row) = kept("webcrm", RoleName::Customer, None);
    before.add(row).await.unwrap();
    let now = Timestamp::now();
    let expected = Actor::new("token webcrm", Role::Customer(BTreeSet::from(["a", "b"].map(CustomerId::new))));
    for tokens in [&before, &tokens(dir.path())] {
        assert_eq!(tokens.look(secret.as_str(), None, now), Presented::Valid(expected.clone()));
        for wrong in ["", "postbud_", Secret::new().as_str(), &secret.as_str()[1..], &format!("{} ", secret.as_str())] {
            assert_eq!(tokens.look(wrong, None, now), Presented::Unknown, "{wrong}");
        }
    }
    assert!(before.remove("webcrm").await.unwrap().is_some() && before.remove("webcrm").await.unwrap().is_none());
    assert_eq!(before.look(secret.as_str(), None, now), Presented::Unknown);
    assert_eq!(tokens(dir.path()).look(secret.as_str(), None, now), Presented::Unknown);
}

#[tokio::test]
async fn a_token_expires_to_the_moment() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let now = Timestamp::now();
    let (secret, row) = kept("short", RoleName::Read, Some(now + Duration::from_secs(60)));
    tokens.add(row).await.unwrap();
    let look = |secs| tokens.look(secret.as_str(), None, now + Duration::from_secs(secs));
    assert!(matches!(look(59), Presented::Valid(_)));
    assert_eq!(look(60), Presented::Expired("short".into()));
    let shown = tokens.shown(now + Duration::from_secs(61));
    assert!(shown[0].expired, "{shown:?}");
}

#[tokio::test]
async fn a_name_is_taken_once_and_no_file_holds_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let (secret, row) = kept("webcrm", RoleName::Admin, None);
    tokens.add(row).await.unwrap();
    let taken = tokens.add(kept("webcrm", RoleName::Read, None).1).await.map(drop).unwrap_err();
    assert_eq!(taken.kind, ErrorKind::Conflict);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        let secret = secret.as_str().as_bytes();
        assert!(!octets.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn the_last_use_is_shown_at_once_and_written_at_most_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let (secret, row) = kept("webcrm", RoleName::Read, None);
    let known = tokens.add(row).await.unwrap();
    let now = Timestamp::now();
    let due = [0, 1, 59, 60, 61, 119, 120].map(|secs| known.touch(now + Duration::from_secs(secs)));
    assert_eq!(due, [true, false, false, true, false, false, true]);
    assert!(known.touch(now), "the clock was set back");
    tokens.look(secret.as_str(), None, now + Duration::from_secs(500));
    assert_eq!(tokens.shown(now)[0].last_used, Some((now + Duration::from_secs(500)).to_string()));
}

#[test]
fn names_that_could_be_taken_for_something_else_are_refused() {
    for name in ["webcrm", "a", "webcrm-production.2", "A_b", &"x".repeat(64)] {
        check_name(name).unwrap();
    }
    for name in ["", " ", "a b", "-x", ".x", "../x", "a/b", "æ", "a\n", "a\"", &"x".repeat(65)] {
        assert_eq!(check_name(name).unwrap_err().kind, ErrorKind::Invalid, "{name}");
    }
}
