//! A real Exim as the customer's own server that takes three recipients a message and refuses all of one that names more.

use crate::own_server;
use crate::support::client::{Client, message, queue_id};
use crate::support::peers::{self, Options, start_exim};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME};

#[test]
fn exim_with_a_limit_of_recipients_gets_the_mail_to_all_of_them_once() {
    const NAME: &str = "exim_with_a_limit_of_recipients_gets_the_mail_to_all_of_them_once";
    let more = vec!["recipients_max = 3".to_owned(), "recipients_max_reject = true".to_owned()];
    let Some(exim) = start_exim(NAME, &Options { more, ..Options::default() }) else { return };
    let site = Site::new(&[]);
    let route = own_server(&site, &exim, peers::USERNAME);
    site.add(&Customer { id: "good", domain: "good.example", route });
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let to: Vec<String> = (1..=8).map(|n| format!("r{n}@test.net")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mail = message("a@good.example", "list@test.net", "n1");
    let id = queue_id(&client.send("a@good.example", &to, &mail).unwrap()).to_owned();
    exim.wait_for_mails(8);
    site.wait_for_event("all eight are handed over", |_| {
        site.events().iter().filter(|event| event["event"] == "relayed" && event["queue_id"] == id).count() == 8
    });
    relay.stop();
    let kinds: Vec<_> =
        site.events().into_iter().filter(|event| event["queue_id"] == id).map(|event| event["event"].clone()).collect();
    assert!(kinds.iter().all(|kind| kind == "accepted" || kind == "relayed"), "{kinds:?}");
    let log = exim.log();
    assert!(log.contains("too many recipients"), "Exim refused nothing:\n{log}");
    let taken: String = log.lines().filter(|line| line.contains(" <= ")).collect();
    for address in to {
        assert_eq!(taken.matches(address).count(), 1, "{address}:\n{log}");
    }
    assert_eq!(exim.mails().len(), 8);
}
