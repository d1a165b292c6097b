//! Only CRLF ends a command line. A line that holds another line end, or a NUL, is refused whole: one reply, nothing in it obeyed,
//! however it is split into segments.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Client, PASSWORD, Server, Setup, USERNAME, base64, plain};

fn server() -> Server {
    Setup::with(|limits| {
        limits.errors_per_connection = 1_000_000;
        limits.commands_per_minute = 1_000_000;
        limits.commands_without_mail = 1_000_000;
    })
    .start()
}

/// Sends `line` in two parts, hears that it is refused, and that this was the only answer.
fn refused(client: &mut Client<TcpStream>, line: &str, split: usize) {
    client.send(&line[..split]);
    // Without a pause both parts would be read as one.
    std::thread::sleep(Duration::from_millis(2));
    client.send(&line[split..]);
    let reply = client.reply();
    assert!(reply.starts_with("500 5.5.2 a command holds printable characters"), "{line:?} at {split}: {reply}");
    client.say("NOOP", "250 2.0.0 still here");
}

#[test]
fn a_line_with_another_line_end_in_it_is_refused_whole_wherever_it_is_split() {
    let server = server();
    let mut client = server.logged_in();
    let rcpt = "RCPT TO:<y@example.com>";
    let evil = "RCPT TO:<evil@example.com>";
    for line in [
        format!("{rcpt}\n{evil}\r\n"),
        format!("{rcpt}\r{evil}\r\n"),
        format!("{rcpt}\0{evil}\r\n"),
        format!("{rcpt}\n\r{evil}\r\n"),
        format!("{rcpt}\n\n{evil}\n{evil}\r\n"),
        format!("\n{evil}\r\n"),
        format!("{rcpt}\n\r\n"),
        format!("{rcpt}\r\r\n"),
        format!("NOOP\nRSET\n{evil}\r\n"),
        "QUIT\nQUIT\r\n".to_owned(),
        "DATA\n\r\n".to_owned(),
    ] {
        for split in 0..=line.len() {
            client.say("MAIL FROM:<a@test.dk>", "250");
            if line.starts_with("DATA") {
                // What came along with a DATA that is refused could only be content: then the connection closes.
                client.send(&line[..5]);
                client.hear("500 5.5.2");
                client.send(&line[5..]);
                client.say("NOOP", "250 2.0.0 still here");
            } else {
                refused(&mut client, &line, split);
            }
            // The transaction is still there, and nobody is in it.
            client.say("DATA", "554 5.5.1 no recipient was accepted");
            client.say("RSET", "250");
        }
    }
}

#[test]
fn a_login_with_another_line_end_in_it_is_refused_whole_wherever_it_is_split() {
    let server = server();
    let right = plain(USERNAME, PASSWORD);
    let (begin, end) = right.split_at(12);
    let mut client = server.connect();
    client.say("EHLO x", "250");
    for line in [
        format!("AUTH PLAIN\nAUTH PLAIN {right}\r\n"),
        format!("AUTH PLAIN {right}\n\r\n"),
        format!("AUTH PLAIN\r{right}\r\n"),
        format!("NOOP\0\nAUTH PLAIN {right}\r\n"),
    ] {
        for split in 0..=line.len() {
            refused(&mut client, &line, split);
        }
    }
    for answer in [
        format!("{begin}\n{right}\r\n"),
        format!("\n{right}\r\n"),
        format!("{right}\n\r\n"),
        format!("{right}\r\r\n"),
        format!("{begin}\r{end}\r\n"),
        format!("{begin}\0{end}\r\n"),
    ] {
        for split in 0..=answer.len() {
            client.say("AUTH PLAIN", "334");
            refused(&mut client, &answer, split);
        }
    }
    client.say("AUTH LOGIN", "334");
    client.say(&base64(USERNAME), "334");
    refused(&mut client, &format!("x\n{}\r\n", base64(PASSWORD)), 1);
    client.say("MAIL FROM:<a@test.dk>", "530 5.7.0");
    client.say(&format!("AUTH PLAIN {right}"), "235");
}

#[test]
fn the_rest_of_a_refused_line_is_bounded() {
    let server = server();
    let mut client = server.connect();
    client.send("EHLO x\n");
    client.hear("500 5.5.2");
    client.send("y".repeat(70_000));
    client.hear("421 4.5.2 there is no end to this line");
    client.closed();
}
