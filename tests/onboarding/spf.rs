//! Our walk against mail-auth's result, over the same DNS server.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail_auth::MessageAuthenticator;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::spf::verify::SpfParameters;
use postbud::onboarding::spf::{Limits, Query, SpfResult, walk};
use postbud::resolver::{self, Dns};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::knot::Knot;
use crate::rig::txt;
use crate::skip::skip;

const HOSTS: &str = "h1.spf. 60 IN A 192.0.2.1\nh2.spf. 60 IN A 192.0.2.2\nh2.spf. 60 IN A 198.51.100.2\n\
                     h6.spf. 60 IN AAAA 2001:db8::6\nmx.spf. 60 IN MX 10 h1.spf.\nmx.spf. 60 IN MX 20 h2.spf.\n\
                     1.2.0.192.list.spf. 60 IN A 127.0.0.2\n";
const LEAVES: &[(&str, &str)] = &[
    ("leaf1.spf", "v=spf1 ip4:192.0.2.0/25 -all"),
    ("leaf2.spf", "v=spf1 a:h2.spf ~all"),
    ("leaf3.spf", "v=spf1 -ip4:192.0.2.1 +all"),
    ("leaf4.spf", "v=spf1 redirect=leaf1.spf"),
    ("leaf5.spf", "v=spf1 ip6:2001:db8::/32 ?all"),
    ("node1.spf", "v=spf1 include:leaf1.spf include:leaf5.spf -all"),
    ("broken.spf", "v=spf1 ip4:1.2.3 -all"),
];

/// mail-auth, which asks this server.
fn mail_auth_asking(server: SocketAddr) -> MessageAuthenticator {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = server.port());
    let servers = vec![NameServerConfig::new(server.ip(), true, connections)];
    MessageAuthenticator::new(ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default()).unwrap()
}

fn result(theirs: mail_auth::SpfResult) -> SpfResult {
    match theirs {
        mail_auth::SpfResult::Pass => SpfResult::Pass,
        mail_auth::SpfResult::Fail => SpfResult::Fail,
        mail_auth::SpfResult::SoftFail => SpfResult::SoftFail,
        mail_auth::SpfResult::Neutral => SpfResult::Neutral,
        mail_auth::SpfResult::TempError => SpfResult::TempError,
        mail_auth::SpfResult::PermError => SpfResult::PermError,
        mail_auth::SpfResult::None => SpfResult::None,
    }
}

/// A record. What mail-auth is known to judge otherwise is left out: it does not count void lookups, takes the first of
/// several records, skips unknown mechanisms (RFC 7208 §4.6: a permanent error), and gives a nested include's match the qualifier of the innermost one.
fn record(random: &mut StdRng) -> String {
    let mut record = "v=spf1".to_owned();
    for _ in 0..random.random_range(0..7) {
        let plain = ["", "+", "-", "~", "?"].choose(random).expect("not empty");
        let term = [
            "ip4:192.0.2.1",
            "ip4:198.51.100.0/24",
            "ip4:192.0.2.128/25",
            "ip6:2001:db8::6",
            "ip6:2001:db8::/32",
            "a:h1.spf",
            "a:h2.spf/24",
            "a:h1.spf/32//64",
            "a:h6.spf//32",
            "mx:mx.spf",
            "mx:mx.spf/25",
            "exists:%{ir}.list.spf",
            "include:leaf1.spf",
            "include:leaf2.spf",
            "include:leaf3.spf",
            "include:leaf4.spf",
            "include:leaf5.spf",
        ]
        .choose(random)
        .expect("not empty");
        let _ = write!(record, " {plain}{term}");
    }
    let end = [
        "-all",
        "~all",
        "?all",
        "all",
        "",
        "redirect=leaf1.spf",
        "redirect=node1.spf",
        "include:node1.spf -all",
        "include:broken.spf -all",
        "include:absent.spf -all",
        "a:h1.spf a:h2.spf mx:mx.spf a:h1.spf a:h2.spf mx:mx.spf a:h1.spf a:h2.spf -all",
    ]
    .choose(random)
    .expect("not empty");
    record + " " + end
}

#[test]
fn our_walk_and_mail_auth_agree() {
    // A fixed seed: a disagreement is the same one tomorrow.
    let mut random = StdRng::seed_from_u64(7208);
    let records: Vec<String> = (0..300).map(|_| record(&mut random)).collect();
    let mut zone = HOSTS.to_owned();
    LEAVES.iter().for_each(|(name, record)| zone.push_str(&txt(name, record)));
    for (at, record) in records.iter().enumerate() {
        zone.push_str(&txt(&format!("c{at}.spf"), record));
    }
    let Some(knot) = Knot::start(&zone) else {
        return skip("our_walk_and_mail_auth_agree", "knot is not installed");
    };
    let addresses: Vec<IpAddr> =
        ["192.0.2.1", "192.0.2.200", "198.51.100.2", "203.0.113.9", "2001:db8::6", "2001:db9::1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut wrong = Vec::new();
    let mut seen = std::collections::HashSet::new();
    runtime.block_on(async {
        let settings = resolver::Settings {
            servers: vec![knot.address],
            timeout: Duration::from_secs(3),
            ..resolver::Settings::default()
        };
        let dns = Dns::new(&settings).unwrap();
        let mail_auth = mail_auth_asking(knot.address);
        for (at, record) in records.iter().enumerate() {
            let domain = format!("c{at}.spf");
            for ip in &addresses {
                let query = Query { ip: *ip, domain: &domain, local: "x", helo: "helo.spf", instead: None };
                let ours = walk(&dns, &query, Limits::receiver()).await;
                if ours.void_lookups > 0 {
                    continue;
                }
                let sender = format!("x@{domain}");
                let parameters = SpfParameters::verify_mail_from(*ip, "helo.spf", "receiver.spf", &sender);
                let theirs = result(mail_auth.verify_spf(parameters).await.result());
                seen.insert(ours.result);
                if ours.result != theirs {
                    wrong.push(format!("{record} for {ip}: ours {:?}, mail-auth {theirs:?}", ours.result));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{} disagreements: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    for result in [SpfResult::Pass, SpfResult::Fail, SpfResult::SoftFail, SpfResult::Neutral, SpfResult::PermError] {
        assert!(seen.contains(&result), "{result:?} never came up");
    }
}
