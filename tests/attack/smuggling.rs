//! A submitter who hides a second message in the first one: after octets that some server takes for the end of DATA, on the way in and on
//! the way out.

use std::time::Duration;

use crate::rounds;
use crate::support::capture::Capture;
use crate::support::client::Client;
use crate::support::lookalikes::LOOKALIKES;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

/// The first message.
const START: &[u8] = b"From: x@a.example\r\nSubject: first\r\n\r\nend";
/// What the hidden transaction would be.
const HIDDEN: &[u8] =
    b"MAIL FROM:<x@a.example>\r\nRCPT TO:<evil@example.net>\r\nDATA\r\nFrom: x@a.example\r\n\r\nsmuggled\r\n";

#[test]
fn a_lookalike_of_the_end_of_data_ends_no_message_on_either_side() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let mut taken = 0;
    for lookalike in LOOKALIKES {
        let content = [START, lookalike, HIDDEN, b"\r\n.\r\n"].concat();
        for cut in (1..lookalike.len() + 4).step_by(rounds(2, 1)) {
            let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
            client.say("MAIL FROM:<x@a.example>").unwrap();
            client.say("RCPT TO:<b@example.net>").unwrap();
            client.say("DATA").unwrap();
            // The lookalike is cut in two, and so is what follows it.
            let at = content.len() - HIDDEN.len() - b"\r\n.\r\n".len() - lookalike.len() + cut;
            client.push(&content[..at]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            client.push(&content[at..]).unwrap();
            let heard = client.hear().unwrap();
            assert!(heard.starts_with("250") || heard.starts_with("550"), "{lookalike:?}: {heard}");
            taken += usize::from(heard.starts_with("250"));
            // One message, one reply.
            assert!(client.say("NOOP").unwrap().starts_with("250 2.0.0 still here"), "{lookalike:?}");
        }
    }
    // What is legal in the middle of a line, and what dots at the beginning of lines become, stays in the one message.
    for hidden in [&b"\r\n..\r\n"[..], b"\r\n...\r\n", b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n.x\r\n.\r\r\n"] {
        let content = [START, hidden, HIDDEN].concat();
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let heard = client.send("x@a.example", &["b@example.net"], &content).unwrap();
        taken += usize::from(heard.starts_with("250"));
    }
    assert!(taken >= 4, "dots are legal");
    let received = server.wait_for(taken, Duration::from_secs(60));
    assert_eq!(received.len(), taken);
    for message in received {
        assert_eq!(message.to, ["<b@example.net>"]);
        assert!(!message.content.windows(2).any(|two| two[0] != b'\r' && two[1] == b'\n'), "a lone LF was sent on");
        let is_lone = |two: &[u8]| two[0] == b'\r' && two[1] != b'\n';
        assert!(!message.content.windows(2).any(is_lone), "a lone CR was sent on");
    }
    relay.stop();
}
