//! Each limit, its reply and its metric.

use std::time::{Duration, Instant};

use postbud::submission::{ReasonLabels, ReplyLabels};

use crate::support::{Client, Server, Setup, tls};

const MAIL: &str = "From: a@test.dk\n\nDav\n";

fn reason(reason: &'static str) -> ReasonLabels {
    ReasonLabels { reason }
}

#[test]
fn connections_in_all_and_from_one_address_are_bounded() {
    for (setup, reply) in [
        (Setup::with(|l| l.connections = 2), "421 4.3.2"),
        (Setup::with(|l| l.connections_per_address = 2), "421 4.7.0"),
    ] {
        let server = setup.start();
        let inside = (server.connect(), server.connect());
        let mut third = Client::over(server.dial());
        third.hear(reply);
        third.closed();
        drop(inside);
        // Places are given back.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let mut next = Client::over(server.dial());
            if next.reply().starts_with("220") {
                break;
            }
            assert!(Instant::now() < deadline, "no place came free");
        }
    }
}

#[test]
fn who_may_not_connect_hears_so() {
    let server = Setup { allow_from: vec!["10.0.0.0/8".parse().unwrap()], ..Setup::default() }.start();
    let mut client = Client::over(server.dial());
    client.hear("554 5.7.1");
    client.closed();
    let server = Setup { allow_from: vec!["127.0.0.0/8".parse().unwrap()], ..Setup::default() }.start();
    server.connect();
}

#[test]
fn recipients_are_bounded() {
    let server = Setup::with(|l| l.recipients = 2).start();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    client.say("RCPT TO:<a@example.com>", "250");
    client.say("RCPT TO:<b@example.com>", "250");
    client.say("RCPT TO:<c@example.com>", "452 4.5.3");
    let too_many = ReplyLabels { reply: "452 4.5.3".to_owned() };
    assert_eq!(server.counters.refused_commands.get_or_create(&too_many).get(), 1);
    client.say("DATA", "354");
    client.send("From: a@test.dk\r\n\r\n.\r\n");
    client.hear("250");
    assert_eq!(server.spool.only().envelope.recipients.len(), 2);
}

/// Forty recipients a message, and little patience with clients that get things wrong.
fn strict_with_errors() -> Server {
    Setup::with(|l| {
        l.recipients = 40;
        l.errors_per_connection = 3;
        l.commands_per_minute = 20;
    })
    .start()
}

#[test]
fn recipients_over_the_limit_do_not_cost_the_others_their_mail() {
    let server = strict_with_errors();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    // RFC 5321 §4.5.3.1.10: the client sends the rest with another message, however many they are.
    for n in 0..120 {
        client.say(&format!("RCPT TO:<n{n}@example.com>"), if n < 40 { "250 2.1.5" } else { "452 4.5.3" });
    }
    client.say("DATA", "354");
    client.send("From: a@test.dk\r\n\r\n.\r\n");
    client.hear("250");
    assert_eq!(server.spool.only().envelope.recipients.len(), 40);
}

#[test]
fn bad_addresses_in_a_list_do_not_cost_the_others_their_mail() {
    let server = strict_with_errors();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    for n in 0..40 {
        let (wrong, reply) = if n % 2 == 0 { ("<n@-example->", "501 5.1.3") } else { ("n@example.com", "501 5.5.4") };
        client.say(&format!("RCPT TO:{wrong}"), reply);
    }
    client.say("RCPT TO:<kunde@example.com>", "250 2.1.5");
    client.say("DATA", "354");
    client.send("From: a@test.dk\r\n\r\n.\r\n");
    client.hear("250");
    // But they are counted at last.
    client.say("MAIL FROM:<a@test.dk>", "250");
    for n in 0..43 {
        client.say(&format!("RCPT TO:<n{n}@-example->"), "501 5.1.3");
    }
    client.say("RCPT TO:<x@-example->", "421 4.7.0");
    client.closed();
}

#[test]
fn a_list_pipelined_behind_a_refused_mail_does_not_hide_why() {
    let server = strict_with_errors();
    let mut client = server.logged_in();
    for (mail, reply) in [
        ("MAIL FROM:<a@test.dk> SIZE=99999999999\r\n", "552 5.3.4"),
        ("MAIL FROM:<s\u{f8}ren@test.dk>\r\n", "553 5.6.7"),
        ("MAIL FROM:a@test.dk\n\r\n", "500 5.5.2"),
    ] {
        client.send(format!("{mail}{}DATA\r\n", "RCPT TO:<b@example.com>\r\n".repeat(40)));
        client.hear(reply);
        for _ in 0..41 {
            client.hear("503 5.5.1");
        }
    }
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    // Each is forgiven once only, and nothing after another command.
    client.say("MAIL FROM:a@test.dk", "501 5.5.4");
    client.say("DATA", "503 5.5.1");
    client.say("DATA", "503 5.5.1");
    client.say("RCPT TO:<b@example.com>", "503 5.5.1");
    client.say("RCPT TO:<b@example.com>", "421 4.7.0");
    client.closed();
}

#[test]
fn an_accepted_message_wipes_out_errors() {
    let server = Setup::with(|l| l.errors_per_connection = 3).start();
    let mut client = server.logged_in();
    for _ in 0..4 {
        client.say("BOGUS", "500");
        client.say("BOGUS", "500");
        assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    }
}

#[test]
fn messages_errors_and_idle_commands_are_bounded() {
    let server = Setup::with(|l| l.messages_per_connection = 2).start();
    let mut client = server.logged_in();
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    client.say("MAIL FROM:<a@test.dk>", "421 4.7.0");
    client.closed();
    assert_eq!(server.counters.refused_connections.get_or_create(&reason("messages")).get(), 1);

    let server = Setup::with(|l| l.errors_per_connection = 3).start();
    let mut client = server.logged_in();
    for _ in 0..2 {
        client.say("BOGUS", "500");
    }
    assert!(client.mail("a@test.dk", "From: a@evil.dk\n\n").starts_with("550"));
    client.say("BOGUS", "421 4.7.0");
    client.closed();

    let server = Setup::with(|l| l.commands_per_minute = 10).start();
    let mut client = server.logged_in();
    for _ in 0..20 {
        // Mail does not count, and wipes out what comes before it.
        client.say("RSET", "250");
        client.say("NOOP", "250");
        assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    }
    for _ in 0..10 {
        client.say("NOOP", "250");
    }
    client.say("NOOP", "421 4.7.0");
    client.closed();
}

#[test]
fn commands_that_lead_nowhere_are_bounded_however_slowly_they_come() {
    let server = Setup::with(|l| l.commands_without_mail = 10).start();
    let mut client = server.logged_in();
    for _ in 0..3 {
        // What is given up before its content is no mail.
        client.say("MAIL FROM:<a@test.dk>", "250");
        client.say("RCPT TO:<b@example.com>", "250");
        client.say("RSET", "250");
        client.say("NOOP", "250");
        client.say("EHLO client.test", "250");
        assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
    }
    for _ in 0..5 {
        client.say("MAIL FROM:<a@test.dk>", "250");
        client.say("RSET", "250");
        client.say("NOOP", "250");
    }
    client.say("NOOP", "421 4.7.0");
    client.closed();
    let mut client = server.logged_in();
    for _ in 0..8 {
        client.say("NOOP", "250");
    }
    client.say("QUIT", "221");
}

/// Says it every 50 ms until the answer begins with something else than 250; gives that answer.
pub fn repeat<S: std::io::Read + std::io::Write>(client: &mut Client<S>, line: &str) -> String {
    let begun = Instant::now();
    loop {
        client.send(format!("{line}\r\n"));
        let reply = client.reply();
        if !reply.starts_with("250") {
            return reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{line} for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_never_logs_in_is_sent_away_whatever_it_says() {
    let server = Setup::with(|l| {
        l.login_timeout = Duration::from_millis(400);
        l.commands_per_minute = 100_000;
        l.commands_without_mail = 100_000;
    })
    .start();
    for line in ["NOOP", "RSET", "EHLO x"] {
        let mut client = server.connect();
        assert!(repeat(&mut client, line).starts_with("421 4.7.0 too long without a login"));
        client.closed();
    }
    // Nor do octets that are read away, however quickly they come.
    let mut client = server.connect();
    client.send("BDAT 18446744073709551615\r\n");
    let mut endless = client.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || while std::io::Write::write_all(&mut endless, &[b'x'; 1024]).is_ok() {});
    client.hear("421 4.7.0 too long without a login");
    drop(client);
    sender.join().unwrap();
    // TLS does not begin the time anew, nor does an unfinished login.
    let begun = Instant::now();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say("STARTTLS", "220");
    let mut client = Client::over(tls(&server.client_tls(), client.into_stream()));
    client.say("EHLO x", "250");
    client.say("AUTH LOGIN", "334");
    client.hear("421 4.7.0 too long without a login");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(server.counters.refused_connections.get_or_create(&reason("login_timeout")).get(), 5);
    // Who is logged in may wait for the next message as before.
    let mut client = server.logged_in();
    std::thread::sleep(Duration::from_millis(600));
    assert!(client.mail("a@test.dk", MAIL).starts_with("250"));
}

#[test]
fn a_message_has_its_time_from_mail_on() {
    let server = Setup::with(|l| l.transaction_timeout = Duration::from_millis(400)).start();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@test.dk>", "250");
    assert!(repeat(&mut client, "RCPT TO:<b@example.com>").starts_with("421 4.4.2"));
    client.closed();
}

#[test]
fn size_is_bounded_at_mail_and_at_the_end() {
    let mut setup = Setup::with(|l| l.message_size = 100_000);
    setup.tier_size = 50_000;
    let server = setup.start();
    let mut client = server.logged_in();
    client.say("MAIL FROM:<a@own.dk> SIZE=100001", "552 5.3.4");
    // The route of test.dk carries less, and what is added must fit, too.
    client.say("MAIL FROM:<a@test.dk> SIZE=50001", "552 5.3.4");
    client.say("MAIL FROM:<a@own.dk> SIZE=100000", "250");
    client.say("RSET", "250");
    let body = format!("{}\n", "x".repeat(99));
    for (from, lines, reply) in [
        ("a@test.dk", 330, "250"),
        ("a@test.dk", 490, "552 5.3.4"),
        ("a@own.dk", 900, "250"),
        ("a@own.dk", 1100, "552 5.3.4"),
    ] {
        let heard = client.mail(from, &format!("From: {from}\n\n{}", body.repeat(lines)));
        assert!(heard.starts_with(reply), "{from} {lines}: {heard}");
    }
    assert_eq!(server.refused("size"), 2);
    // The message is read to its end and no memory is left behind.
    client.say("NOOP", "250");
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn the_size_limit_is_what_the_client_sends_to_the_octet() {
    const LIMIT: usize = 30_000;
    // Stuffed dots are not counted, the field that is cut is, and what is added here is not.
    let start = "From: a@DOMAIN\r\nBcc: b@example.com\r\n\r\n.dot\r\n";
    for domain in ["test.dk", "own.dk"] {
        let mut setup = Setup::with(|l| l.message_size = if domain == "own.dk" { LIMIT as u64 } else { 1 << 20 });
        setup.tier_size = LIMIT as u64 + postbud::route::ADDED;
        let server = setup.start();
        let mut client = server.logged_in();
        let begin = start.replace("DOMAIN", domain);
        for (size, reply) in [(LIMIT - 1, "250 2.0.0"), (LIMIT, "250 2.0.0"), (LIMIT + 1, "552 5.3.4")] {
            let lines = format!("{}\r\n", "x".repeat(98)).repeat((size - begin.len()) / 100 - 1);
            let rest = size - begin.len() - lines.len();
            for (by_data, ended) in [(true, true), (false, true), (false, false)] {
                // Over BDAT the last line may have no end; the one it is given is not counted.
                let last = format!("{}{}", "y".repeat(rest - 2), if ended { "\r\n" } else { "yy" });
                let message = format!("{begin}{lines}{last}");
                assert_eq!(message.len(), size);
                for announced in [true, false] {
                    let case = format!("{domain} {size} DATA {by_data} ended {ended} SIZE {announced}");
                    let parameter = if announced { format!(" SIZE={size}") } else { String::new() };
                    client.send(format!("MAIL FROM:<a@{domain}>{parameter}\r\n"));
                    let heard = client.reply();
                    if announced && size > LIMIT {
                        assert!(heard.starts_with(reply), "{case}: {heard}");
                        continue;
                    }
                    assert!(heard.starts_with("250"), "{case}: {heard}");
                    client.say("RCPT TO:<b@example.com>", "250");
                    if by_data {
                        client.say("DATA", "354");
                        client.send(format!("{}.\r\n", message.replace("\r\n.dot", "\r\n..dot")));
                    } else {
                        client.send(format!("BDAT {size} LAST\r\n{message}"));
                    }
                    let heard = client.reply();
                    assert!(heard.starts_with(reply), "{case}: {heard}");
                }
            }
        }
    }
}

#[test]
fn header_size_fields_and_loops_are_bounded() {
    let server = Setup::with(|l| {
        l.header_size = 5_000;
        l.header_fields = 50;
        l.received = 3;
    })
    .start();
    let mut client = server.logged_in();
    let field = format!("X-Long: {}\n", "x".repeat(490));
    for (more, reply) in [
        (field.repeat(9), "250"),
        (field.repeat(11), "552 5.3.4"),
        ("X: y\n".repeat(49), "250"),
        ("X: y\n".repeat(50), "550 5.6.0"),
        ("Received: x\n".repeat(3), "250"),
        ("Received: x\n".repeat(4), "554 5.4.6"),
    ] {
        let heard = client.mail("a@test.dk", &format!("From: a@test.dk\n{more}\nDav\n"));
        assert!(heard.starts_with(reply), "{} octets: {heard}", more.len());
    }
    // Endless headers are not collected.
    let heard = client.mail("a@test.dk", &format!("From: a@test.dk\n{}", field.repeat(2_000)));
    assert!(heard.starts_with("552 5.3.4"), "{heard}");
}

#[test]
fn a_to_that_names_as_many_recipients_as_are_offered_is_taken() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    // As Python's EmailMessage folds them: a long name on one line, its address on the next.
    let named = |n| format!("Firstname Middlename Lastname {n:04}\n <firstname.lastname{n:04}@example-company.dk>");
    let to = (0..1000).map(named).collect::<Vec<_>>().join(",\n ");
    let heard = client.mail("a@test.dk", &format!("From: a@test.dk\nTo: {to}\n\nDav\n"));
    assert!(heard.starts_with("250"), "{heard}");
}

#[test]
fn line_length_is_bounded() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for (len, reply) in [(998, "250"), (999, "550 5.6.0"), (100_000, "550 5.6.0")] {
        let line = "x".repeat(len);
        for (message, remedy) in [
            (format!("From: a@test.dk\n\n{line}\n"), "quoted-printable"),
            (format!("From: a@test.dk\nX: y\n {}\n\ntext\n", &line[1..]), "fold it"),
        ] {
            let heard = client.mail("a@test.dk", &message);
            assert!(heard.starts_with(reply), "{len}: {heard}");
            assert_eq!(heard.contains(remedy), len > 998, "{heard}");
        }
    }
}

#[test]
fn a_command_line_is_read_in_pieces_of_any_size_up_to_a_limit() {
    let server = Setup::default().start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    let line = |len| "x".repeat(len);
    for (pieces, reply) in [
        (vec![line(4096), "\r\n".to_owned()], "500 5.5.1 command not recognized"),
        (vec![line(4095), "\r".to_owned(), "\n".to_owned()], "500 5.5.1 command not recognized"),
        (vec![line(4097), "\r\n".to_owned()], "500 5.5.2 this line is too long"),
        (vec![line(50_000) + "\r", "\n".to_owned()], "500 5.5.2 this line is too long"),
        (vec![line(5_000), line(5_000), line(5_000) + "\r\n"], "500 5.5.2 this line is too long"),
        (vec![line(50_000), "\n\r\n".to_owned()], "500 5.5.2 a command holds printable characters"),
        (vec![format!("AUTH PLAIN {}", line(12_000)), "\r\n".to_owned()], "501"),
        (vec![format!("AUTH PLAIN {}", line(30_000)), "\r\n".to_owned()], "500 5.5.2 this line is too long"),
    ] {
        for piece in pieces {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(20));
        }
        client.hear(reply);
    }
    for _ in 0..7 {
        client.send(line(10_000));
        std::thread::sleep(Duration::from_millis(20));
    }
    client.hear("421 4.5.2 there is no end to this line");
    client.closed();
}

#[test]
fn silence_and_dripping_are_cut_off() {
    let server = Setup::with(|l| l.command_timeout = Duration::from_millis(300)).start();
    let mut client = server.connect();
    client.hear("421 4.4.2");
    client.closed();
    // An octet now and then does not extend the time for a command.
    let mut client = server.connect();
    let begun = Instant::now();
    let mut dripping = client.stream().try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        // Each within the time, all together far beyond it; the server's close ends it.
        while begun.elapsed() < Duration::from_secs(20) && std::io::Write::write_all(&mut dripping, b"N").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        begun.elapsed()
    });
    client.hear("421 4.4.2");
    drop(client);
    assert!(drip.join().unwrap() < Duration::from_secs(20), "the server never closed");
}

#[test]
fn a_header_size_that_cannot_be_kept_is_refused_at_the_start() {
    let started = std::panic::catch_unwind(|| Setup::with(|l| l.header_size = 256_001).start());
    assert!(started.is_err(), "a limit would be another one than was asked for");
    let server = Setup::with(|l| l.header_size = 256_000).start();
    server.connect();
}

#[test]
fn slow_messages_are_cut_off() {
    for setup in [
        Setup::with(|l| l.data_timeout = Duration::from_millis(300)),
        Setup::with(|l| l.transaction_timeout = Duration::from_millis(300)),
        Setup::with(|l| l.minimum_rate_grace = Duration::from_millis(300)),
    ] {
        let server = setup.start();
        let mut client = server.logged_in();
        client.begin("a@test.dk");
        client.send("From: a@test.dk\r\n");
        client.hear("421 4.4.2");
        client.closed();
        let mut client = server.logged_in();
        client.say("MAIL FROM:<a@test.dk>", "250");
        client.say("RCPT TO:<a@example.com>", "250");
        client.send("BDAT 100 LAST\r\nFrom");
        client.hear("421 4.4.2");
        assert!(server.spool.drafts().is_empty());
    }
}

#[test]
fn an_octet_now_and_then_does_not_keep_a_message_alive() {
    let server = Setup::with(|l| {
        l.minimum_rate = 1_000;
        l.minimum_rate_grace = Duration::from_millis(500);
    })
    .start();
    let mut client = server.logged_in();
    client.begin("a@test.dk");
    for _ in 0..4 {
        client.send("X");
        std::thread::sleep(Duration::from_millis(100));
    }
    client.hear("421 4.4.2");
}
