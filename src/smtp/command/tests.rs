use proptest::prelude::*;

use super::arguments::{MAIL, RCPT};
use super::*;
use crate::smtp::Mailbox;
use crate::smtp::dsn::{Notify, Ret};

fn sender(line: &str) -> Result<String, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Mail(mail) => Ok(mail.path.to_string()),
        other => panic!("{other:?}"),
    }
}

fn recipient(line: &str) -> Result<String, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Rcpt(rcpt) => Ok(rcpt.address.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verbs_are_read_in_any_case() {
    assert_eq!(Command::parse(b"dAtA"), Ok(Command::Data));
    assert_eq!(Command::parse(b"ehlo win-pc_1"), Ok(Command::Ehlo("win-pc_1".into())));
    assert_eq!(Command::parse(b"QUIT  "), Ok(Command::Quit));
    assert_eq!(
        Command::parse(b"AUTH login d2ViY3Jt"),
        Ok(Command::Auth { mechanism: "login", initial: Some("d2ViY3Jt") })
    );
    assert_eq!(Command::parse(b"bdat 12 last"), Ok(Command::Bdat { size: 12, last: true }));
    assert_eq!(Command::parse(b"GET / HTTP/1.1"), Ok(Command::Http));
}

#[test]
fn a_clients_name_may_be_in_any_character_set_and_nothing_else_may() {
    for (line, name) in [
        (&b"EHLO WIN-BL\xc5B\xc6R"[..], "WIN-BL\u{fffd}B\u{fffd}R"),
        (b"helo \xe6\xf8\xe5  ", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"Ehlo \x80pc\xff.local", "\u{fffd}pc\u{fffd}.local"),
        ("EHLO blåbær.dk".as_bytes(), "blåbær.dk"),
    ] {
        match Command::parse(line) {
            Ok(Command::Ehlo(found) | Command::Helo(found)) => assert_eq!(found, name),
            other => panic!("{other:?}"),
        }
    }
    for line in [
        &b"MAIL FROM:<a\xe5@test.dk>"[..],
        b"RCPT TO:<a@test.dk> \xff",
        b"EHLO\xff x",
        b"EHLO a\x1b\xe5",
        b"EHLO \xe5\x00",
        b"\xffEHLO x",
        b"NOOP \xe5",
    ] {
        assert_eq!(Command::parse(line), Err(CommandError::Octets), "{}", line.escape_ascii());
    }
    assert_eq!(Command::parse(b"EHLO a \xe5"), Err(CommandError::Syntax("EHLO <name>")));
}

#[test]
fn paths_lose_brackets_and_source_routes_and_keep_quotes() {
    assert_eq!(sender("MAIL FROM:<>").unwrap(), "");
    assert_eq!(sender("mail from: <a@Test.DK>").unwrap(), "a@test.dk");
    assert_eq!(recipient("RCPT TO:<@x.dk,@y.dk:\"a>b@c\\\"\"@test.dk>").unwrap(), "\"a>b@c\\\"\"@test.dk");
    assert_eq!(recipient("RCPT TO:<søren@blåbær.dk>").unwrap(), "søren@xn--blbr-roah.dk");
}

#[test]
fn malformed_paths_are_refused() {
    for line in [
        "RCPT TO:a@test.dk",
        "RCPT TO:<a@test.dk",
        "RCPT TO:<a@test.dk>x",
        "RCPT TO:<>",
        "RCPT TO:<postmaster>",
        "RCPT TO:<a@test.dk><b@test.dk>",
        "RCPT TO:<@x.dk,y.dk:a@test.dk>",
        "RCPT TO:<@x.dk>",
        "RCPT TO:<\"a@test.dk>",
        "RCPT <a@test.dk>",
        "RCPT",
    ] {
        assert!(recipient(line).is_err(), "{line}");
    }
    assert_eq!(recipient("RCPT TO:<Postmaster>"), Err(CommandError::Postmaster));
    assert_eq!(recipient("RCPT TO:<a@test.dk> =x"), Err(RCPT));
    assert_eq!(Command::parse(b"MAIL FROM:<a@test.dk>\rRCPT"), Err(CommandError::Octets));
    assert_eq!(Command::parse(b"MAIL FROM:<\xe6@test.dk>"), Err(CommandError::Octets));
}

#[test]
fn parameters_are_taken_once_and_only_if_offered() {
    let line = b"MAIL FROM:<a@test.dk> SIZE=10 BODY=8bitmime SMTPUTF8 RET=HDRS ENVID=x+2By AUTH=<>";
    let Ok(Command::Mail(mail)) = Command::parse(line) else { panic!() };
    assert_eq!((mail.size, mail.smtputf8, mail.ret), (Some(10), true, Some(Ret::Headers)));
    assert_eq!(mail.envid.as_deref(), Some("x+2By"));
    let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<a@test.dk> ENVID=") else { panic!() };
    assert_eq!(mail.envid, None);
    for (parameter, refusal) in [
        ("SIZE=1 SIZE=2", CommandError::Value("SIZE")),
        ("SIZE=-1", CommandError::Value("SIZE")),
        ("SIZE", CommandError::Value("SIZE")),
        ("BODY=9BIT", CommandError::Value("BODY")),
        ("BODY=BINARYMIME", CommandError::Parameter("BODY=BINARYMIME".into())),
        ("SMTPUTF8=1", CommandError::Value("SMTPUTF8")),
        ("XFOO=1", CommandError::Parameter("XFOO".into())),
        ("ENVID=a=b", CommandError::Value("ENVID")),
        ("ENVID", CommandError::Value("ENVID")),
        ("ENVID= ENVID=a", CommandError::Value("ENVID")),
        ("=x", MAIL),
        ("-X=1", MAIL),
        ("<b@test.dk>", MAIL),
    ] {
        let line = format!("MAIL FROM:<a@test.dk> {parameter}");
        assert_eq!(Command::parse(line.as_bytes()), Err(refusal), "{line}");
    }
    let line = b"RCPT TO:<a@test.dk> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+40test.dk";
    let Ok(Command::Rcpt(rcpt)) = Command::parse(line) else { panic!() };
    assert_eq!(rcpt.notify, Some(Notify { success: false, failure: true, delay: true }));
    assert_eq!(rcpt.orcpt.as_deref(), Some("rfc822;a+40test.dk"));
}

#[test]
fn a_size_beyond_all_numbers_is_large_not_wrong() {
    let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<> SIZE=99999999999999999999") else { panic!() };
    assert_eq!(mail.size, Some(u64::MAX));
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused_with_one_whole_reply(line in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(refusal) = Command::parse(&line) {
            let mut out = Vec::new();
            refusal.reply().write_to(&mut out);
            prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        }
    }

    #[test]
    fn what_is_read_from_a_path_is_a_path(text in "[a-z@\"\\\\<>:,. ]{0,30}") {
        if let Ok(Command::Rcpt(rcpt)) = Command::parse(format!("RCPT TO:{text}").as_bytes()) {
            prop_assert_eq!(Mailbox::parse(&rcpt.address.to_string()).unwrap(), rcpt.address);
        }
    }
}

#[test]
fn a_command_costs_in_proportion_to_its_length() {
    crate::test_cost::is_linear(
        crate::test_cost::LONG,
        |line: &Vec<u8>| drop(Command::parse(line)),
        &[
            ("a local part", |size| [b"MAIL FROM:<".as_slice(), &vec![b'a'; size], b"@test.dk>"].concat()),
            ("dots", |size| [b"MAIL FROM:<".as_slice(), &b"a.".repeat(size / 2), b"b@test.dk>"].concat()),
            ("a quoted local part", |size| {
                [b"MAIL FROM:<\"".as_slice(), &b"\\\"".repeat(size / 2), b"\"@test.dk>"].concat()
            }),
            ("labels", |size| [b"RCPT TO:<a@".as_slice(), &b"a.".repeat(size / 2), b"dk>"].concat()),
            ("a source route", |size| [b"RCPT TO:<".as_slice(), &b"@a.dk,".repeat(size / 6), b":a@b.dk>"].concat()),
            ("parameters", |size| [b"MAIL FROM:<a@b.dk>".as_slice(), &b" X=Y".repeat(size / 4)].concat()),
            ("a long parameter", |size| [b"MAIL FROM:<a@b.dk> ENVID=".as_slice(), &b"+41".repeat(size / 3)].concat()),
            ("blanks", |size| [b"MAIL FROM:".as_slice(), &vec![b' '; size]].concat()),
            ("brackets", |size| [b"RCPT TO:".as_slice(), &vec![b'<'; size]].concat()),
            ("a verb", |size| vec![b'X'; size]),
            ("letters of its own", |size| {
                [b"RCPT TO:<a@".as_slice(), "ø".repeat(size / 2).as_bytes(), b".dk>"].concat()
            }),
            ("EHLO", |size| [b"EHLO ".as_slice(), &b"a.".repeat(size / 2)].concat()),
        ],
    );
}
