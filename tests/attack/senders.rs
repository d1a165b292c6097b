//! An attacker without a login who wants to send, and a customer's submitter who wants to send as another customer.

use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::Client;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

fn site(server: &Capture) -> Site {
    let route = || plain_route(server.address);
    Site::new(&[
        Customer { id: "a", domain: "a.example", route: route() },
        Customer { id: "b", domain: "b.example", route: route() },
    ])
}

#[test]
fn nobody_sends_without_a_login_in_any_form() {
    let server = Capture::start();
    let site = site(&server);
    let relay = site.start();
    let to = [
        "victim@example.net",
        "victim%example.net@out.example.com",
        "victim%example.net@[127.0.0.1]",
        "\"victim@example.net\"@out.example.com",
        "@out.example.com:victim@example.net",
        "example.net!victim@out.example.com",
        "victim@example.net@out.example.com",
        "postmaster",
        "postmaster@out.example.com",
    ];
    for from in ["x@a.example", "", "postmaster@out.example.com", "x@[127.0.0.1]", "x@localhost", "webcrm"] {
        let mut client = Client::connect(site.smtp).unwrap();
        let heard = client.say(&format!("MAIL FROM:<{from}>")).unwrap();
        assert!(heard.starts_with("530") || heard.starts_with("501"), "{from}: {heard}");
        for to in to {
            // The connection may be closed after so many errors.
            let Ok(heard) = client.say(&format!("RCPT TO:<{to}>")) else { break };
            assert!(heard.starts_with(['4', '5']), "{from} {to}: {heard}");
        }
        if let Ok(heard) = client.say("DATA") {
            assert!(heard.starts_with(['4', '5']), "{from}: {heard}");
        }
    }
    // All of it in one packet.
    let mut client = Client::connect(site.smtp).unwrap();
    client
        .push(b"MAIL FROM:<x@a.example>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nFrom: x@a.example\r\n\r\nx\r\n.\r\n")
        .unwrap();
    while let Ok(heard) = client.hear() {
        assert!(heard.starts_with(['4', '5']), "{heard}");
        if heard.starts_with("421") || heard.contains("not a command") || heard.starts_with("500") {
            break;
        }
    }
    // Whoever is logged in gets through, and nothing else has.
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let content = b"From: x@a.example\r\nSubject: mine\r\n\r\nx\r\n";
    assert!(client.send("x@a.example", &["c@example.net"], content).unwrap().starts_with("250"));
    let received = server.wait_for(1, Duration::from_secs(20));
    assert!(received.len() == 1 && received[0].to == ["<c@example.net>"], "{received:?}");
    relay.stop();
}

#[test]
fn no_form_of_from_shows_another_customer() {
    let server = Capture::start();
    let site = site(&server);
    let relay = site.start();
    let refused = [
        "From: ceo@b.example",
        "From: x@a.example, ceo@b.example",
        "From: ceo@b.example <x@a.example>",
        "From: x@a.example <ceo@b.example>",
        "From: x@a.example (<ceo@b.example>)",
        "From: \"<ceo@b.example>, \" <x@a.example>",
        "From: \"ceo@b.example\" <x@a.example>",
        "From: =?utf-8?Q?=3Cceo=40b=2Eexample=3E?= <x@a.example>",
        "From: =?utf-8?B?PGNlb0BiLmV4YW1wbGU+?= <x@a.example>",
        "From: =?utf-8?Q?ceo?= =?utf-8?Q?=40b.example?= <x@a.example>",
        "From: =?utf-7?Q?ceo+AEA-b.example?= <x@a.example>",
        "From: =?iso-8859-1*en?q?ceo=40b.example?= <x@a.example>",
        "From: =?utf-8?Q?a=00?= <x@a.example>",
        "From: =?utf-8?Q?a=0D=0ABcc=3A_c@d.example?= <x@a.example>",
        "From: \"ceo\u{ff20}b.example\" <x@a.example>",
        "From: \"ceo\u{fe6b}b\u{3002}example\" <x@a.example>",
        "From: \"elpmaxe.b@oec\u{202e}\" <x@a.example>",
        "From: ceo\u{ff20}b.example@a.example",
        "From: \"ceo@b.example\"@a.example",
        "From: x@a.example\r\nFrom: ceo@b.example",
        "From: x@a.example\r\nfrom : ceo@b.example",
        "From : ceo@b.example\r\nFrom: x@a.example",
        "From: x@a.example\r\nSender: ceo@b.example",
        "From: x@a.example\r\nSender: \"ceo@b.example\" <x@a.example>",
        "From: x@a.example\r\nResent-From: ceo@b.example",
        "From: x@a.example\r\nResent-Sender: ceo@b.example",
        "From: x@a.example\r\nResent-From: \"ceo@b.example\" <x@a.example>",
        "From: x@a.example\r\nAuthor: ceo@b.example",
        "From: @b.example:x@a.example",
        "From: g: x@a.example;",
        "From: x@a.example\0@b.example",
        "FROM: ceo@b.example",
        "From:ceo@b.example",
        "From:\r\n ceo@b.example",
        "From: (a)ceo(b)@(c)b.example(d)",
        "From: ((ceo@b.example)) x@a.example",
        "From: <x@a.example>, ",
        "From: x@a.example; ceo@b.example",
        "From: x@a.example ceo@b.example",
        "From: x@a.example\tceo@b.example",
        "From: <<ceo@b.example>> <x@a.example>",
        "From: <x@a.example><ceo@b.example>",
        "From: \"ceo@b.example\" (x) <x@a.example>",
        "From: \"ceo\u{a0}@\u{a0}b.example\" <x@a.example>",
        "From: \"ceo@b\u{ff61}example\" <x@a.example>",
        "From: \"c\u{200b}eo\u{200b}@b.example\" <x@a.example>",
        "From: \"ceo\u{1}@b.example\" <x@a.example>",
        "From: =?utf-16be?B?AGMAZQBvAEAAYgAuAGUAeABhAG0AcABsAGU=?= <x@a.example>",
        "From: =?shift_jis?B?Y2VvgZdiLmV4YW1wbGU=?= <x@a.example>",
        "From: =?utf-8?Q?ceo=40b?= =?us-ascii?Q?.example?= <x@a.example>",
        "From: <=?utf-8?Q?ceo=40b.example?=>",
        "From: =?iso-2022-kr?Q?ceo=40b.example?= <x@a.example>",
        "From: =?hz-gb-2312?Q?ceo=40b.example?= <x@a.example>",
        "From: =?hz-gb-2312?Q?ceo~{#=40~}b.example?= <x@a.example>",
        "From: =?unicode-1-1-utf-7?Q?ceo+AEA-b.example?= <x@a.example>",
        "From: =?utf-16?B?AGMAZQBvAEAAYgAuAGUAeABhAG0AcABsAGU=?= <x@a.example>",
        "From: =?ibm037?B?g4WWfIJLhaeBlJeThQ==?= <x@a.example>",
        "From: x@a.example\r\nSender: =?iso-2022-cn?Q?ceo=40b.example?= <x@a.example>",
        "From: =?utf-8?Q?=3Cceo=40b.example=3E?=",
        "From: \"=\\?utf-8?Q?ceo=40b.example?=\" <x@a.example>",
        "From: \"=\\?utf-8?B?Y2VvQGIuZXhhbXBsZQ==?=\" <x@a.example>",
        "From: =?utf-8?B?Y2VvQA==Yi5leGFtcGxl?= <x@a.example>",
        "From: =?utf-8?Q?ceo=40b.example <x@a.example>",
        "From: =?utf-8?Q?ceo=40b\r\n .example?= <x@a.example>",
        "From: =?iso-2022-jp?Q?=1B$B?= =?iso-2022-jp?Q?ceo=40b.example?= <x@a.example>",
        "From: =?utf-16be?B?//5jAGUAbwBAAGIALgBlAHgAYQBtAHAAbABlAA==?= <x@a.example>",
        "From: =?iso-8859-1?Q?=EF=BB=BFceo=EF=BC=A0b.example?= <x@a.example>",
        "From: =?utf-8?Q?ceo=C1=80b.example?= <x@a.example>",
        "From: =?unicode-escape?Q?ceo=5Cx40b.example?= <x@a.example>",
        "From: \"ceo@b\u{a4f8}example\" <x@a.example>",
        "From: \"ceo@b\u{6d4}example\" <x@a.example>",
        "From: \"ceo@b.\u{200a}example\" <x@a.example>",
        "From: \"ceo\u{24d0}b.example\" <x@a.example>",
        "From: =?utf-8?Q?ceo=40=22b.example=22?= <x@a.example>",
        "From: x@a.example (=\\?utf-8?Q?ceo=40b.example?=)",
        "From: =?utf-8?Q?ceo=40b.example@a.example",
        "From: x@a.example\r\nAuthor: \"=\\?utf-8?Q?ceo=40b.example?=\" <x@a.example>",
        "From: x@a.example\r\nSender: CEO <ceo@b.example>, x@a.example",
        "From: x@a.example\r\nSender: =?utf-8?Q?ceo=40b.example?= <x@a.example>",
        "From: x@a.example\r\nSender:\r\n ceo@b.example",
        "From: x@a.example\r\nSENDER : ceo@b.example",
        "From: x@a.example\r\nResent-Sender: =?utf-8?Q?ceo=40b.example?= <x@a.example>",
        "From: x@[192.0.2.1]",
        "From: x@a.example.",
        "From: x@a.example.b.example",
        "From: x%b.example@[a.example]",
    ];
    for header in refused {
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let content = format!("{header}\r\nSubject: not mine\r\n\r\nx\r\n");
        let heard = client.send("x@a.example", &["c@example.net"], content.as_bytes()).unwrap();
        // Both customers are this submitter's: one that is wholly the other's is no attack, but its envelope does not fit.
        assert!(heard.starts_with('5'), "{header:?}: {heard}");
    }
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let content = b"From: \"Hansen, Ole\" <x@a.example>\r\nSubject: mine\r\n\r\nx\r\n";
    assert!(client.send("x@a.example", &["c@example.net"], content).unwrap().starts_with("250"));
    let received = server.wait_for(1, Duration::from_secs(20));
    assert_eq!(received.len(), 1);
    assert!(String::from_utf8_lossy(received[0].header()).contains("Subject: mine"));
    relay.stop();
}
