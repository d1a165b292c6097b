//! A submitter's program that lets others write into its commands: only CRLF ends a line, and a line with another line end in it is
//! refused whole.

use std::time::Duration;

use crate::rounds;
use crate::support::capture::Capture;
use crate::support::client::{Client, message};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

const EVIL: &str = "RCPT TO:<evil@example.net>";

/// Lines in which a second command stands behind something that is not CRLF.
fn lines() -> Vec<String> {
    let ends = ["\n", "\r", "\0", "\n\r", "\n\n", "\r\r", "\u{85}", "\u{2028}", "\u{b}", "\u{c}"];
    let commands = ["RCPT TO:<y@example.net>", "NOOP", "VRFY x", "HELP", "RCPT TO:<y@example.net> NOTIFY=NEVER"];
    let mut lines = Vec::new();
    for end in ends {
        lines.extend(commands.iter().map(|command| format!("{command}{end}{EVIL}\r\n")));
        lines.push(format!("{end}{EVIL}\r\n"));
        lines.push(format!("{EVIL}{end}\r\n"));
    }
    lines
}

#[test]
fn no_command_is_obeyed_behind_another_line_end() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let lines = lines();
    let mut sent = 0;
    for line in lines.iter().step_by(rounds(5, 1)) {
        for split in [0, line.len() / 2, line.len() - 2, line.len() - 1] {
            let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
            client.say("MAIL FROM:<x@a.example>").unwrap();
            client.say("RCPT TO:<b@example.net>").unwrap();
            client.push(&line.as_bytes()[..split]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            client.push(&line.as_bytes()[split..]).unwrap();
            let heard = client.hear().unwrap();
            // U+0085 and U+2028 are letters of VRFY's one argument like any other.
            let is_one_line = line.starts_with("VRFY") && heard.starts_with("252");
            assert!(heard.starts_with('5') || is_one_line, "{line:?} at {split}: {heard}");
            // There was one reply, and the transaction goes on as if the line had not come.
            assert!(client.say("NOOP").unwrap().starts_with("250 2.0.0 still here"), "{line:?} at {split}");
            let heard = client.content(&message("x@a.example", "b@example.net", "commands")).unwrap();
            assert!(heard.starts_with("250"), "{line:?} at {split}: {heard}");
            sent += 1;
        }
    }
    for received in server.wait_for(sent, Duration::from_secs(60)) {
        assert_eq!(received.to, ["<b@example.net>"]);
    }
    relay.stop();
}
