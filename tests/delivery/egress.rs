//! Where connections come from: the configured address, or nowhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::{Delivery, Egress, EgressError, EgressPath, Settings, Trouble, Verdict};
use postbud::resolver::{Answer, FixedZone, HostsFile, Lookup, Record, RecordType, Resolver};
use postbud::route::{Caps, Cause, Route};

use super::messages::{attempt, delivery, message, patient_delivery, route, settings_from};
use super::own_network::{in_own_network, ip};
use super::peers::{Options, start_microsocks, start_postfix};
use super::script::{Server, hear, hello, say, takes_one};

/// The address that customers allow-list.
const EGRESS: &str = "40.74.40.57";

/// The commands of `ip` that make two interfaces that are each other's ends, one with the egress address (among others), one with the
/// customer's server's.
const INTERFACES: [&str; 8] = [
    "link set lo up",
    "link add out0 type veth peer name server0",
    "addr add 198.51.100.9/24 dev out0",
    "addr add 40.74.40.57/24 dev out0",
    "addr add 192.0.2.10/24 dev server0",
    "-6 addr add 2001:db8::57/64 dev out0 nodad",
    "link set out0 up",
    "link set server0 up",
];

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn mail_leaves_from_the_egress_address_and_stops_when_it_is_lost() {
    const TEST: &str = "mail_leaves_from_the_egress_address_and_stops_when_it_is_lost";
    in_own_network(TEST, &INTERFACES, || {
        let options = Options { address: "192.0.2.10", starttls: false, login: false, ..Options::default() };
        let Some(postfix) = start_postfix(TEST, &options) else { return };
        run(async {
            let egress: IpAddr = EGRESS.parse().unwrap();
            let delivery = Delivery::new(Settings::new("out.webcrm.test", Egress::bound(egress, egress))).unwrap();
            let mut route = route(postfix.smtp);
            route.caps = Caps { messages_per_connection: 1, ..Caps::default() };
            let route = Arc::new(route);
            for _ in 0..3 {
                let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
                assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}\n{}", postfix.log());
            }
            let log = postfix.log();
            assert_eq!(log.matches(&format!("]: connect from unknown[{EGRESS}]")).count(), 3, "{log}");

            assert!(ip("addr del 40.74.40.57/24 dev out0"));
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
            let Some(Trouble::BackOff { reason, advice: Some(advice), .. }) = outcome.trouble else {
                panic!("an alert")
            };
            assert!(reason.contains("not on this machine any more"), "{reason}");
            assert!(advice.contains("mail waits"), "{advice}");

            assert!(ip("addr add 40.74.40.57/24 dev out0"));
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
        });
        let mails = postfix.wait_for_mails(4);
        assert_eq!(mails.len(), 4);
        // The probe that it listens came from the server's own address; nothing else did.
        let log = postfix.log();
        let connections = log.matches("]: connect from").count();
        assert_eq!(connections, 1 + log.matches(&format!("]: connect from unknown[{EGRESS}]")).count(), "{log}");
    });
}

#[test]
fn ipv6_leaves_from_its_own_address_too() {
    const TEST: &str = "ipv6_leaves_from_its_own_address_too";
    in_own_network(TEST, &INTERFACES, || {
        run(async {
            let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
            let to = listener.local_addr().unwrap();
            let accepted = tokio::spawn(async move { listener.accept().await.unwrap().1 });
            let delivery = Delivery::new(settings_from("2001:db8::57".parse().unwrap())).unwrap();
            let one = Arc::new(route(to));
            let _ = attempt(&delivery, &one, &message(&["x@test.net"])).await;
            assert_eq!(accepted.await.unwrap().ip(), "2001:db8::57".parse::<IpAddr>().unwrap());
        });
    });
}

#[tokio::test]
async fn an_address_that_is_not_ours_refuses_the_start() {
    let refused = Delivery::new(settings_from("203.0.113.99".parse().unwrap())).err();
    let Some(EgressError::Bind { address, .. }) = &refused else { panic!("it started") };
    assert_eq!(*address, "203.0.113.99".parse::<IpAddr>().unwrap());
    assert!(refused.unwrap().to_string().contains("egress.bind"));
}

#[tokio::test]
async fn addresses_of_the_other_family_are_passed_over() {
    let server = Server::start(vec![]).await;
    let route = Route { host: "::1".to_owned(), ..route(server.address) };
    let outcome = attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
    assert!(outcome.recipients[0].meaning.reply.contains("no address of the family"), "{outcome:?}");
    assert_eq!(server.connections(), 0);
}

/// Answers for IPv4 and IPv6 as it is told; `None` never answers, an error is a dead name server's.
struct Families(Option<Result<Vec<Record>, ()>>, Option<Result<Vec<Record>, ()>>);

impl Resolver for Families {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        let told = if record_type == RecordType::A { &self.0 } else { &self.1 };
        Box::pin(async move {
            match told {
                None => std::future::pending().await,
                Some(Err(())) => Err(postbud::resolver::Error::Timeout { name: name.to_owned(), record_type }),
                Some(Ok(records)) => Ok(Answer { records: records.clone(), no_such_name: false }),
            }
        })
    }
}

#[tokio::test]
async fn only_addresses_of_our_own_family_are_asked_for() {
    let v4 = || Some(Ok(vec![Record::A([127, 0, 0, 1].into())]));
    let v6 = || Some(Ok(vec![Record::Aaaa("::1".parse().unwrap())]));
    let server = Server::start(vec![[hello(&[]), takes_one()].concat()]).await;
    let route = Arc::new(Route { host: "mail.kunde.test".to_owned(), ..route(server.address) });
    for (families, heard, advised) in [
        (Families(v4(), None), "250 2.0.0 queued", false),
        (Families(Some(Err(())), v6()), "cannot resolve mail.kunde.test", false),
        (Families(Some(Ok(vec![])), v6()), "no address of the family", true),
        (Families(Some(Ok(vec![])), Some(Err(()))), "no address of the family", true),
        (Families(Some(Ok(vec![])), Some(Ok(vec![]))), "the name has no address", false),
    ] {
        let settings = Settings { resolver: Some(Arc::new(families)), ..settings_from([127, 0, 0, 1].into()) };
        let delivery = Delivery::new(settings).unwrap();
        let message = message(&["x@test.net"]);
        let attempted = tokio::time::timeout(Duration::from_secs(10), attempt(&delivery, &route, &message));
        let outcome = attempted.await.unwrap_or_else(|_| panic!("{heard} is not heard"));
        assert!(outcome.recipients[0].meaning.reply.contains(heard), "{heard}: {outcome:?}");
        assert_eq!(outcome.recipients[0].meaning.advice.is_some(), advised, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_sees_another_address_stops_the_route() {
    let greets =
        |seen: &str| vec![say("220 mail.test.dk"), hear("EHLO"), say(&format!("250 mail.test.dk Hello {seen}"))];
    let server = Server::start(vec![
        greets("out.webcrm.test [203.0.113.7]"),
        [greets("out.webcrm.test [40.74.40.57]"), takes_one()].concat(),
        [hello(&[]), takes_one()].concat(),
    ])
    .await;
    let mut settings = settings_from([127, 0, 0, 1].into());
    settings.egress.expect_seen_as = Some(EGRESS.parse().unwrap());
    let delivery = Delivery::new(settings).unwrap();
    let mut route = route(server.address);
    route.caps.messages_per_connection = 1;
    let route = Arc::new(route);
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    let Some(Trouble::Suspend { cause: Cause::Address, reason, .. }) = &outcome.trouble else { panic!("{outcome:?}") };
    assert_eq!(reason, "the server sees us as 203.0.113.7, not as 40.74.40.57");
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "mail waits");
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks5_proxy_carries_mail_and_its_failure_makes_mail_wait() {
    const TEST: &str = "a_socks5_proxy_carries_mail_and_its_failure_makes_mail_wait";
    let login = ("postbud", "proxy-secret");
    let Some((proxy, running)) = start_microsocks(TEST, Some(login)) else { return };
    let through = |password: &str| {
        let mut settings: Settings = settings_from([127, 0, 0, 1].into());
        settings.egress.path = EgressPath::Socks5 { proxy, login: Some((login.0.to_owned(), password.to_owned())) };
        settings.timeouts.connect = Duration::from_secs(5);
        Delivery::new(settings).unwrap()
    };
    let server = Server::start(vec![[hello(&[]), takes_one()].concat()]).await;
    let mut one = route(server.address);
    one.caps.messages_per_connection = 1;
    let one = Arc::new(one);
    let outcome = attempt(&through(login.1), &one, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");

    let outcome = attempt(&through("wrong"), &one, &message(&["x@test.net"])).await;
    assert!(
        matches!(&outcome.trouble, Some(Trouble::BackOff { advice: Some(advice), .. }) if advice.contains("proxy")),
        "{outcome:?}"
    );
    // Nobody listens behind a proxy that works: that is the server's trouble, not the proxy's.
    let nobody = Arc::new(route(super::peers::free_port("127.0.0.1")));
    let outcome = attempt(&through(login.1), &nobody, &message(&["x@test.net"])).await;
    assert!(matches!(&outcome.trouble, Some(Trouble::BackOff { advice: None, .. })), "{outcome:?}");

    drop(running);
    let outcome = attempt(&through(login.1), &one, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred);
    assert_eq!(server.connections(), 1, "nothing went around the proxy");
}

#[tokio::test]
async fn a_name_without_address_makes_mail_wait() {
    let route = Route { host: "no-such-host.invalid".to_owned(), ..route("127.0.0.1:25".parse().unwrap()) };
    let outcome = attempt(&patient_delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred);
    assert!(outcome.recipients[0].meaning.reply.contains("cannot resolve no-such-host.invalid"), "{outcome:?}");
}

#[tokio::test]
async fn the_hosts_file_goes_before_dns_and_is_read_at_each_connection() {
    const HOST: &str = "mail.kunde.test";
    let server = Server::start(vec![[hello(&[]), takes_one()].concat(); 3]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let zone = Arc::new(FixedZone::new());
    let settings = Settings {
        hosts: HostsFile::new(file.path()),
        resolver: Some(zone.clone()),
        ..settings_from([127, 0, 0, 1].into())
    };
    // One message a connection: each attempt resolves the name.
    let caps = Caps { messages_per_connection: 1, ..Caps::default() };
    let route = Arc::new(Route { host: HOST.to_owned(), caps, ..route(server.address) });
    let delivery = Delivery::new(settings).unwrap();
    let verdict = async || attempt(&delivery, &route, &message(&["x@test.net"])).await.recipients[0].meaning.verdict;

    assert_eq!(verdict().await, Verdict::Deferred, "neither knows the name");
    std::fs::write(file.path(), format!("127.0.0.1 {HOST}\n")).unwrap();
    assert_eq!(verdict().await, Verdict::Relayed, "only the file knows it");
    // Nobody is there: whoever asks DNS is not delivered.
    zone.add(HOST, Record::A([127, 0, 0, 99].into()));
    assert_eq!(verdict().await, Verdict::Relayed, "the file goes first");
    std::fs::write(file.path(), "127.0.0.99 other.kunde.test\n").unwrap();
    assert_eq!(verdict().await, Verdict::Deferred, "only DNS knows it, and leads nowhere");
    zone.remove(HOST, RecordType::A);
    zone.add(HOST, Record::A([127, 0, 0, 1].into()));
    assert_eq!(verdict().await, Verdict::Relayed, "DNS is asked where the file is silent");
}
