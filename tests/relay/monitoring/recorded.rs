//! The metrics of a real run: as they are while everything works, and once several things are wrong.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::capture::Capture;
use crate::support::certs::self_signed;
use crate::support::client::{Client, message, queue_id};
use crate::support::mailjet_events::{Rig, event};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, get, plain_route};

/// How Prometheus names the relay that works, until it gets into trouble.
pub const RELAY: &str = "relay:8025";
/// How it names the one whose disk has no room from the start.
const FULL: &str = "full:8025";

/// The value of each series, named as Prometheus stores it.
pub type Scrape = BTreeMap<String, f64>;

/// What Prometheus would have stored.
pub struct Recorded {
    /// While everything works.
    pub well: Scrape,
    /// Once several things are wrong.
    pub troubled: Scrape,
}

/// Runs the relays.
pub fn record() -> Recorded {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.contains("nobody@").then(|| "550 5.1.1 no such user".to_owned())),
    );
    let certificates = tempfile::tempdir().unwrap();
    self_signed(&["out.example.com"], false).write(certificates.path());
    let returns = free_port();
    let with_return_paths = format!("{}return_path = \"verp\"\n", plain_route(server.address));
    let site = Site::with(
        &[
            Customer { id: "good", domain: "good.example", route: with_return_paths },
            Customer { id: "kept", domain: "kept.example", route: plain_route(server.address) },
            Customer { id: "dead", domain: "dead.example", route: plain_route(free_port()) },
        ],
        // Its checks cost the tests' machine nothing, and their metrics are there. So is the lifetime of signatures.
        &format!(
            "[dkim]\nexpires = \"14d\"\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"1s\"\nattempts = 1\n[[listener]]\naddress = \"{}\"\n\
             tls = \"starttls\"\ncertificate = \"{2}/cert.pem\"\nprivate_key = \"{2}/cert.key\"\nallow_from = [\"{1}\"]\n\
             [returns]\ndomain = \"returns.test\"\nlisten = \"{returns}\"\ntls = \"off\"\n\
             [returns.dmarc]\naddress = \"dmarc@returns.test\"\n\
             [[events.webhook]]\nname = \"webcrm\"\nurl = \"http://127.0.0.1:9/\"\nsecret_file = \"hook.secret\"\n",
            free_port(),
            "127.0.0.0/8",
            certificates.path().display(),
        ),
    );
    fs::write(site.path("config/hook.secret"), "et langt og hemmeligt ord som ingen gætter\n").unwrap();
    import_report(&site);
    let relay = site.start();
    assert!(site.operate(&["token", "add", "webcrm", "--role", "read", "--expires", "365d"]).status.success());
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send = |from: &str, to: &str| client.send(from, &[to], &message(from, to, "x")).unwrap();
    for n in 0..3 {
        queue_id(&send("a@good.example", &format!("b{n}@example.net")));
    }
    server.wait_for(3, Duration::from_secs(20));
    wait(&site, "all is settled", |scrape| scrape["postbud_recipients_relayed_total"] == 3.0);
    let mut well = named(RELAY, &metrics(&site), 1.0);
    well.extend(named(RELAY, &of_mailjet(), 1.0));

    queue_id(&send("a@good.example", "nobody@example.net"));
    queue_id(&send("a@dead.example", "b@example.net"));
    assert!(send("a@evil.example", "b@example.net").starts_with("550"));
    // An evil From domain is found once the content is read; a wrong MAIL FROM before.
    client.say("MAIL FROM:<nonsense").unwrap();
    assert!(Client::login(site.smtp, USERNAME, "wrong").is_err());
    assert!(site.operate(&["route", "suspend", "own-server.kept", "--reason", "a test"]).status.success());
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send = |from: &str, to: &str| client.send(from, &[to], &message(from, to, "x")).unwrap();
    queue_id(&send("a@kept.example", "b@example.net"));
    assert!(site.operate(&["customer", "pause", "kept"]).status.success());
    let held = queue_id(&send("a@kept.example", "c@example.net")).to_owned();
    assert!(site.operate(&["queue", "hold", &held, "--reason", "a test"]).status.success());
    fs::write(site.config(), fs::read_to_string(site.config()).unwrap() + "mistaken = true\n").unwrap();
    relay.signal("HUP");
    come_back(returns, &server.received()[0].from);
    let state = |route: &str| format!("postbud_route_state{{route=\"own-server.{route}\"}}");
    wait(&site, "the trouble shows", |scrape| {
        scrape.get(&state("dead")) == Some(&1.0)
            && scrape.get(&state("kept")) == Some(&2.0)
            && scrape.get("postbud_alerts_open{about=\"configuration\"}") == Some(&1.0)
            && scrape.get("postbud_recipients_bounced_total") == Some(&1.0)
            && scrape.keys().any(|series| series.starts_with("postbud_dmarc_reports_total"))
            && scrape.get("postbud_returned_mail_read_total{what=\"bounced\"}") == Some(&1.0)
            && scrape.get("postbud_queue_held{customer=\"kept\",urgency=\"single\",kind=\"mail\"}") == Some(&1.0)
    });
    let mut troubled = named(RELAY, &metrics(&site), 1.0);
    relay.stop();
    troubled.extend(full());
    Recorded { well, troubled }
}

/// Has a server report that a mail that it took bounced, and somebody try an address that is none.
fn come_back(returns: SocketAddr, return_path: &str) {
    let report = "From: MAILER-DAEMON@mx.test\r\nSubject: report\r\nMIME-Version: 1.0\r\n\
                  Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nWords.\r\n\
                  --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n\
                  Final-Recipient: rfc822; b0@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--\r\n";
    let mut client = Client::connect(returns).unwrap();
    let path = return_path.split(['<', '>']).nth(1).expect("a path in brackets");
    assert!(client.send("", &[path], report.as_bytes()).unwrap().starts_with("250"));
    assert!(client.send("", &["nobody@returns.test"], report.as_bytes()).unwrap().starts_with('5'));
    // No report is in it, and that is counted, whatever the sender hears.
    let mut client = Client::connect(returns).unwrap();
    drop(client.send("r@example.net", &["dmarc@returns.test"], &message("r@example.net", "dmarc@returns.test", "x")));
}

/// Gives the relay a DMARC report of yesterday about a customer's domain.
fn import_report(site: &Site) {
    let end = postbud::time::Timestamp::now().as_secs() - 86_400;
    let report = format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>r.example</org_name><report_id>7</report_id><date_range>\
         <begin>{}</begin><end>{end}</end></date_range></report_metadata><policy_published><domain>good.example</domain>\
         <p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated>\
         <disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row><identifiers>\
         <header_from>good.example</header_from></identifiers><auth_results></auth_results></record></feedback>",
        end - 86_400
    );
    let path = site.path("report.xml");
    fs::write(&path, report).unwrap();
    let imported = site.operate(&["dmarc", "import", path.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
}

/// What a relay tells of Mailjet's events, once one came: its tier is no route of the relay that is recorded.
fn of_mailjet() -> Scrape {
    let rig = Rig::new("", "", "");
    let relay = rig.site.start();
    let id = rig.send("b@example.net", "");
    assert_eq!(rig.post(&event("sent", "b@example.net", &id, &serde_json::json!({}))), 200);
    rig.wait_for("delivered", &id);
    rig.wait_for_metric("postbud_mailjet_waiting_events", |waiting| waiting == 0.0);
    let mut scrape = metrics(&rig.site);
    scrape.retain(|series, _| series.starts_with("postbud_mailjet_"));
    relay.stop();
    scrape
}

/// A relay that has no room for new mail.
fn full() -> Scrape {
    let site = Site::new(&[]);
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config.replace("min_free = \"16 MiB\"", "min_free = \"900000 GiB\"")).unwrap();
    let relay = site.start();
    wait(&site, "it is full", |scrape| scrape["postbud_spool_full"] == 1.0);
    let scrape = named(FULL, &metrics(&site), 1.0);
    relay.stop();
    scrape
}

fn wait(site: &Site, what: &str, is_so: impl Fn(&Scrape) -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !is_so(&metrics(site)) {
        assert!(Instant::now() < patience, "{what}: {:#?}", metrics(site));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The samples as the relay writes them.
fn metrics(site: &Site) -> Scrape {
    let answer = get(site.web, "/metrics");
    let (_, text) = answer.split_once("\r\n\r\n").expect("a header");
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample: {line}"));
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("a number: {line}")))
        })
        .collect()
}

/// As Prometheus stores them: with the labels of the target, and whether it answers.
fn named(instance: &str, scrape: &Scrape, up: f64) -> Scrape {
    let target = format!("instance=\"{instance}\",job=\"postbud\"");
    let mut named: Scrape = scrape
        .iter()
        .map(|(series, value)| {
            let series = match series.strip_suffix('}') {
                Some(labels) => format!("{labels},{target}}}"),
                None => format!("{series}{{{target}}}"),
            };
            (series, *value)
        })
        .collect();
    named.insert(format!("up{{{target}}}"), up);
    named
}
