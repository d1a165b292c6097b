//! The memory that messages share while they arrive: who waits for it, who may overdraw, and who is too slow to keep it.

use std::time::{Duration, Instant};

use super::limits::repeat;
use crate::support::{Client, Server, Setup};

const MAIL: &str = "From: a@test.dk\n\nDav\n";

/// Waits until content of so many octets is in memory.
fn wait_for_octets(server: &Server, octets: i64) {
    let patience = Instant::now() + Duration::from_secs(10);
    while server.counters.bytes_in_flight.get() < octets {
        assert!(Instant::now() < patience, "the content is not counted");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn memory_is_shared_by_all_and_a_message_without_memory_gets_452() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 1 << 20;
        l.bytes_in_flight_wait = Duration::from_millis(200);
    })
    .start();
    let (mut first, mut second, mut third) = (server.logged_in(), server.logged_in(), server.logged_in());
    let body = format!("{}\r\n", "x".repeat(98)).repeat(9_000);
    first.begin("a@test.dk");
    first.send(format!("From: a@test.dk\r\n\r\n{body}"));
    wait_for_octets(&server, 900_000);
    // One message may go over the limit to its end; in chunks, so that the answer tells that it has.
    second.say("MAIL FROM:<a@test.dk>", "250");
    second.say("RCPT TO:<b@example.com>", "250");
    let content = format!("From: a@test.dk\r\n\r\n{body}");
    second.send(format!("BDAT {}\r\n{content}", content.len()));
    second.hear("250");
    third.begin("a@test.dk");
    third.send(format!("{content}.\r\n"));
    third.hear("452 4.3.1");
    third.say("NOOP", "250");
    first.send(".\r\n");
    first.hear("250");
    second.say("BDAT 0 LAST", "250");
    assert!(third.mail("a@test.dk", MAIL).starts_with("250"));
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn chunks_that_come_whole_are_accounted_and_their_message_has_its_time() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        l.bytes_in_flight_wait = Duration::from_millis(100);
        l.transaction_timeout = Duration::from_millis(1500);
    })
    .start();
    let (mut first, mut second) = (server.logged_in(), server.logged_in());
    let begin = "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n";
    let body = format!("{}\r\n", "x".repeat(98)).repeat(300);
    let chunks = format!("BDAT 19\r\nFrom: a@test.dk\r\n\r\nBDAT {}\r\n{body}", body.len());
    for client in [&mut first, &mut second] {
        client.send(format!("{begin}{chunks}"));
        for start in ["250 2.1.0", "250 2.1.5", "250 2.0.0 19", "250 2.0.0 30000"] {
            client.hear(start);
        }
    }
    assert_eq!(server.counters.bytes_in_flight.get(), 64 << 10);
    // The first goes over the limit, as one message may while it is quick: the second waits for that to end.
    first.send(format!("BDAT {}\r\n{body}", body.len()));
    first.hear("250 2.0.0 30000");
    second.send(format!("BDAT {}\r\n{body}", body.len()));
    second.hear("250 2.0.0 30000");
    first.send("BDAT 0 LAST\r\n");
    assert!(first.hear("452 4.3.1").contains("too slowly"));
    first.say("NOOP", "250");
    // Commands between the chunks do not keep the memory held.
    first.send(format!("{begin}{chunks}"));
    for start in ["250 2.1.0", "250 2.1.5", "250 2.0.0 19", "250 2.0.0 30000"] {
        first.hear(start);
    }
    assert!(repeat(&mut first, "NOOP").starts_with("421 4.4.2"));
    first.closed();
    second.hear("421 4.4.2");
    second.closed();
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn messages_that_come_whole_are_accounted_until_they_are_on_disk() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        l.bytes_in_flight_wait = Duration::from_millis(200);
    })
    .start();
    server.spool.hold_back();
    let message = "From: a@test.dk\r\n\r\nDav\r\n";
    let by_data = format!("DATA\r\n{message}.\r\n");
    let by_chunk = format!("BDAT {} LAST\r\n{message}", message.len());
    let mut clients: Vec<_> = (0..3).map(|_| server.logged_in()).collect();
    for (client, content) in clients.iter_mut().zip([&by_data, &by_chunk, &by_chunk]) {
        // In one write, so that nothing of the message is ever waited for.
        client.send(format!("MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n{content}"));
    }
    wait_for_octets(&server, 64 << 10);
    // The third goes over the limit, as one may. For the fourth there is no room before the disk takes something.
    std::thread::sleep(Duration::from_millis(100));
    let mut fourth = server.logged_in();
    assert!(fourth.mail("a@test.dk", MAIL).starts_with("452 4.3.1"));
    server.spool.let_go();
    for (client, data) in clients.iter_mut().zip([true, false, false]) {
        ["250", "250"].iter().chain(data.then_some(&"354")).for_each(|start| drop(client.hear(start)));
        client.hear("250 2.0.0 queued");
    }
    assert!(fourth.mail("a@test.dk", MAIL).starts_with("250"));
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn a_slow_message_over_the_memory_limit_does_not_hold_up_the_others() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        l.bytes_in_flight_wait = Duration::from_secs(1);
    })
    .start();
    let (mut holder, mut slow, mut other) = (server.logged_in(), server.logged_in(), server.logged_in());
    let body = format!("{}\r\n", "x".repeat(98)).repeat(600);
    let content = format!("From: a@test.dk\r\n\r\n{body}");
    holder.send(format!("MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\nBDAT {}\r\n{content}", content.len()));
    for start in ["250", "250", "250 2.0.0"] {
        holder.hear(start);
    }
    assert_eq!(server.counters.bytes_in_flight.get(), 64 << 10);
    slow.begin("a@test.dk");
    slow.send(&content);
    let mut dripping = slow.stream().try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        // Well over minimum_rate all the time.
        for _ in 0..80 {
            std::io::Write::write_all(&mut dripping, &[b"y".repeat(98), b"\r\n".to_vec()].concat()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    // Time for the slow one to overdraw.
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..2 {
        other.begin("a@test.dk");
        other.send(&content);
        std::thread::sleep(Duration::from_millis(20));
        other.send(".\r\n");
        other.hear("250 2.0.0 queued");
    }
    drip.join().unwrap();
    slow.send(".\r\n");
    let reply = slow.hear("452 4.3.1");
    assert!(reply.contains("too slowly"), "{reply}");
    // Only the message was refused.
    assert!(slow.mail("a@test.dk", MAIL).starts_with("250"));
    holder.say("BDAT 0 LAST", "250");
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn a_message_that_stands_still_keeps_no_memory_that_others_wait_for() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        l.bytes_in_flight_wait = Duration::from_secs(30);
        l.minimum_rate_grace = Duration::from_millis(100);
    })
    .start();
    let content = format!("From: a@test.dk\r\n\r\n{}", format!("{}\r\n", "x".repeat(98)).repeat(400));
    let begin = "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n";
    let in_chunks = format!("{begin}BDAT {}\r\n{content}", content.len());
    let body = format!("{}\r\n", "x".repeat(98)).repeat(4000);
    for (slow_content, starts, end) in [
        (format!("{begin}DATA\r\n{content}"), ["250", "250", "354"], ".\r\n"),
        (in_chunks.clone(), ["250", "250", "250 2.0.0"], "BDAT 0 LAST\r\n"),
    ] {
        let (mut slow, mut quick, mut other) = (server.logged_in(), server.logged_in(), server.logged_in());
        slow.send(slow_content);
        starts.iter().for_each(|start| drop(slow.hear(start)));
        wait_for_octets(&server, 64 << 10);
        // As long as nobody waits nothing is asked of it; the second message goes over the limit, the third has to wait. The second
        // has earned more time by what it brought.
        quick.send(&in_chunks);
        quick.send(format!("BDAT {}\r\n{}", body.len(), body));
        ["250", "250", "250 2.0.0", "250 2.0.0"].iter().for_each(|start| drop(quick.hear(start)));
        let begun = Instant::now();
        other.send(&in_chunks);
        ["250", "250", "250 2.0.0"].iter().for_each(|start| drop(other.hear(start)));
        assert!(begun.elapsed() < Duration::from_secs(13), "the permit to overdraw came free, and no memory");
        slow.send(end);
        assert!(slow.hear("452 4.3.1").contains("too slowly"));
        for client in [&mut other, &mut quick] {
            client.say("BDAT 0 LAST", "250 2.0.0 queued");
        }
        assert_eq!(server.counters.bytes_in_flight.get(), 0);
    }
}

#[test]
fn a_slow_message_goes_on_where_memory_came_free() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        // A holder that lets go within the first seconds lets go in time, also on a slow machine.
        l.bytes_in_flight_wait = Duration::from_secs(3);
    })
    .start();
    let (mut holder, mut slow) = (server.logged_in(), server.logged_in());
    let content = format!("From: a@test.dk\r\n\r\n{}", format!("{}\r\n", "x".repeat(98)).repeat(600));
    let begin = "MAIL FROM:<a@test.dk>\r\nRCPT TO:<b@example.com>\r\n";
    let in_chunks = format!("{begin}BDAT {}\r\n{content}", content.len());
    for (slow_content, starts, end) in [
        (format!("{begin}DATA\r\n{content}"), &["250", "250", "354"][..], ".\r\n"),
        (in_chunks.clone(), &["250", "250", "250 2.0.0"], "BDAT 0 LAST\r\n"),
    ] {
        holder.send(&in_chunks);
        for start in ["250", "250", "250 2.0.0"] {
            holder.hear(start);
        }
        slow.send(slow_content);
        for start in starts {
            slow.hear(start);
        }
        // Time for the slow one to overdraw; then nobody needs the memory any more, and its time to overdraw passes.
        std::thread::sleep(Duration::from_millis(200));
        holder.say("RSET", "250");
        std::thread::sleep(Duration::from_millis(2500));
        slow.send(end);
        slow.hear("250 2.0.0 queued");
    }
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn a_message_whose_fields_are_cut_while_it_overdraws_stops_overdrawing() {
    let server = Setup::with(|l| {
        l.bytes_in_flight = 64 << 10;
        l.bytes_in_flight_wait = Duration::from_secs(2);
    })
    .start();
    let (mut holder, mut cut, mut other) = (server.logged_in(), server.logged_in(), server.logged_in());
    let chunk = |client: &mut Client<_>, text: &str| {
        client.send(format!("BDAT {}\r\n{text}", text.len()));
        client.hear("250 2.0.0");
    };
    for client in [&mut holder, &mut cut, &mut other] {
        client.say("MAIL FROM:<a@test.dk>", "250");
        client.say("RCPT TO:<b@example.com>", "250");
    }
    chunk(&mut holder, &format!("From: a@test.dk\r\n\r\n{}", "x\r\n".repeat(1000)));
    // The second 32 KiB are this one's, then it overdraws; with its header cut it need not any more.
    let bcc = format!("Bcc: x@example.com{}\r\n", ",\r\n y@example.com".repeat(700));
    chunk(&mut cut, &format!("From: a@test.dk\r\n{bcc}{}", format!("X: {}\r\n", "y".repeat(900)).repeat(20)));
    chunk(&mut cut, &format!("X: {}\r\n", "y".repeat(900)).repeat(5));
    chunk(&mut cut, "\r\nDav\r\n");
    // Its time to overdraw would be over by then.
    std::thread::sleep(Duration::from_millis(1200));
    cut.say("NOOP", "250");
    chunk(&mut other, &format!("From: a@test.dk\r\n\r\n{}", "x\r\n".repeat(1000)));
    for client in [&mut cut, &mut other, &mut holder] {
        client.say("BDAT 0 LAST", "250 2.0.0 queued");
    }
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}
