//! The octets that must end DATA, and those that must not (see `smtp::data`), over a socket, split at every octet.

use crate::intake_spool::text;
use crate::lookalikes::LOOKALIKES;
use crate::support::Setup;

/// What an attacker would have the server obey.
const SMUGGLED: &[u8] =
    b"MAIL FROM:<evil@test.dk>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nFrom: a@test.dk\r\n\r\nevil";

#[test]
fn no_lookalike_ends_data_wherever_it_is_split() {
    let server = Setup::with(|limits| {
        limits.errors_per_connection = 1_000_000;
        limits.commands_per_minute = 1_000_000;
    })
    .start();
    let mut client = server.logged_in();
    for lookalike in LOOKALIKES {
        let head = b"From: a@test.dk\r\n\r\nbody";
        let wire = [head, lookalike, SMUGGLED, b"\r\n.\r\n"].concat();
        // Everywhere around the sequence itself and around the true end.
        let around = head.len()..=head.len() + lookalike.len() + 1;
        for split in around.chain(wire.len() - 5..=wire.len()) {
            client.begin("a@test.dk");
            client.send(&wire[..split]);
            // Without a pause both parts would be read as one.
            std::thread::sleep(std::time::Duration::from_millis(2));
            client.send(&wire[split..]);
            client.hear("550 5.6.0");
            // One answer only, and the next command is ours.
            client.say("NOOP", "250 2.0.0 still here");
        }
    }
    assert!(server.spool.drafts().is_empty());
    assert!(server.refused("line_end") > 100 && server.refused("nul") > 0);
}

#[test]
fn the_true_end_is_found_wherever_it_is_split() {
    let server = Setup::with(|limits| limits.commands_per_minute = 10_000).start();
    let mut client = server.logged_in();
    let wire = b"From: a@test.dk\r\n\r\nbody\r\n..\r\n...x\r\n\r\n.\r\n";
    for split in 0..=wire.len() {
        client.begin("a@test.dk");
        client.send(&wire[..split]);
        std::thread::sleep(std::time::Duration::from_millis(2));
        client.send(&wire[split..]);
        client.hear("250 2.0.0 queued");
    }
    let drafts = server.spool.drafts();
    assert_eq!(drafts.len(), wire.len() + 1);
    for draft in drafts {
        assert!(text(&draft).ends_with("From: a@test.dk\r\n\r\nbody\r\n.\r\n..x\r\n\r\n"));
    }
}

#[test]
fn an_empty_message_ends_at_once_and_is_refused_for_its_header() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.begin("a@test.dk");
    client.send(".\r\n");
    client.hear("550 5.6.0");
    client.say("NOOP", "250");
}
