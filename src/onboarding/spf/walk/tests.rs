use super::*;
use crate::onboarding::spf::record::{Fault, SyntaxError};
use crate::resolver::FixedZone;

fn run(zone: &FixedZone, domain: &str, ip: &str, limits: Limits) -> Walk {
    let query = Query { ip: ip.parse().unwrap(), domain, local: "postmaster", helo: "out.webcrm.com", instead: None };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(walk(zone, &query, limits))
}

fn result(zone: &str, domain: &str, ip: &str) -> SpfResult {
    run(&FixedZone::parse(zone).unwrap(), domain, ip, Limits::receiver()).result
}

/// RFC 7208 Appendix A: the zone, and each of its records with the addresses the text gives.
const APPENDIX_A: &str = r#"
    example.com MX 10 mail-a.example.com
    example.com MX 20 mail-b.example.com
    example.com A 192.0.2.10
    example.com A 192.0.2.11
    amy.example.com A 192.0.2.65
    bob.example.com A 192.0.2.66
    mail-a.example.com A 192.0.2.129
    mail-b.example.com A 192.0.2.130
    www.example.com CNAME example.com
    example.org MX 10 mail-c.example.org
    mail-c.example.org A 192.0.2.140
    10.2.0.192.in-addr.arpa PTR example.com
    11.2.0.192.in-addr.arpa PTR example.com
    65.2.0.192.in-addr.arpa PTR amy.example.com
    66.2.0.192.in-addr.arpa PTR bob.example.com
    129.2.0.192.in-addr.arpa PTR mail-a.example.com
    130.2.0.192.in-addr.arpa PTR mail-b.example.com
    140.2.0.192.in-addr.arpa PTR mail-c.example.org
    4.0.0.10.in-addr.arpa PTR bob.example.com
"#;

const ADDRESSES: [&str; 9] = [
    "192.0.2.10",
    "192.0.2.11",
    "192.0.2.65",
    "192.0.2.66",
    "192.0.2.129",
    "192.0.2.130",
    "192.0.2.131",
    "192.0.2.140",
    "10.0.0.4",
];

fn appendix_a(record: &str, passing: &[&str]) {
    let zone = FixedZone::parse(APPENDIX_A).unwrap();
    zone.add_txt("example.com", record);
    for ip in ADDRESSES {
        let expected = if passing.contains(&ip) { SpfResult::Pass } else { SpfResult::Fail };
        assert_eq!(run(&zone, "example.com", ip, Limits::receiver()).result, expected, "{record} {ip}");
    }
}

#[test]
fn rfc7208_appendix_a_1_simple_examples() {
    appendix_a("v=spf1 +all", &ADDRESSES);
    appendix_a("v=spf1 a -all", &["192.0.2.10", "192.0.2.11"]);
    appendix_a("v=spf1 a:example.org -all", &[]);
    appendix_a("v=spf1 mx -all", &["192.0.2.129", "192.0.2.130"]);
    appendix_a("v=spf1 mx:example.org -all", &["192.0.2.140"]);
    appendix_a("v=spf1 mx mx:example.org -all", &["192.0.2.129", "192.0.2.130", "192.0.2.140"]);
    appendix_a("v=spf1 mx/30 mx:example.org/30 -all", &["192.0.2.129", "192.0.2.130", "192.0.2.131", "192.0.2.140"]);
    appendix_a(
        "v=spf1 ptr -all",
        &["192.0.2.10", "192.0.2.11", "192.0.2.65", "192.0.2.66", "192.0.2.129", "192.0.2.130"],
    );
    appendix_a("v=spf1 ip4:192.0.2.128/28 -all", &["192.0.2.129", "192.0.2.130", "192.0.2.131", "192.0.2.140"]);
}

#[test]
fn rfc7208_appendix_a_2_multiple_domains() {
    let zone = r#"
        example.org TXT "v=spf1 include:example.com include:example.net -all"
        la.example.org TXT "v=spf1 redirect=example.org"
        example.com TXT "v=spf1 ip4:192.0.2.1 -all"
        example.net TXT "v=spf1 ip4:192.0.2.2 -all"
    "#;
    for domain in ["example.org", "la.example.org"] {
        assert_eq!(result(zone, domain, "192.0.2.1"), SpfResult::Pass);
        assert_eq!(result(zone, domain, "192.0.2.2"), SpfResult::Pass);
        assert_eq!(result(zone, domain, "192.0.2.3"), SpfResult::Fail);
    }
}

#[test]
fn rfc7208_appendix_a_3_dnsbl_style() {
    let zone = r#"
        example.com TXT "v=spf1 exists:%{l1r+}.%{d}.users._spf.example.net -all"
        postmaster.example.com.users._spf.example.net A 127.0.0.2
    "#;
    assert_eq!(result(zone, "example.com", "192.0.2.1"), SpfResult::Pass);
}

#[test]
fn rfc7208_section_5_2_include_table() {
    let zone = r#"
        pass.dk TXT "v=spf1 include:in-pass.dk ?all"
        in-pass.dk TXT "v=spf1 +all"
        fail.dk TXT "v=spf1 include:in-fail.dk ~all"
        in-fail.dk TXT "v=spf1 -all"
        none.dk TXT "v=spf1 include:in-none.dk -all"
        perm.dk TXT "v=spf1 include:in-perm.dk -all"
        in-perm.dk TXT "v=spf1 nonsense"
        temp.dk TXT "v=spf1 include:in-temp.dk -all"
        in-temp.dk FAIL
        minus.dk TXT "v=spf1 -include:in-pass.dk +all"
        nested.dk TXT "v=spf1 ~include:outer.dk +all"
        outer.dk TXT "v=spf1 -include:in-pass.dk +all"
    "#;
    for (domain, expected) in [
        ("pass.dk", SpfResult::Pass),
        ("fail.dk", SpfResult::SoftFail),
        ("none.dk", SpfResult::PermError),
        ("perm.dk", SpfResult::PermError),
        ("temp.dk", SpfResult::TempError),
        ("minus.dk", SpfResult::Fail),
        ("nested.dk", SpfResult::Pass),
        ("absent.dk", SpfResult::None),
        ("localhost", SpfResult::None),
    ] {
        assert_eq!(result(zone, domain, "192.0.2.1"), expected, "{domain}");
    }
}

#[test]
fn ten_lookups_are_fine_and_eleven_are_not() {
    let zone = FixedZone::new();
    let terms = |n: usize| (0..n).map(|i| format!(" a:h{i}.test.dk")).collect::<String>();
    for i in 0..11 {
        zone.add(&format!("h{i}.test.dk"), crate::resolver::Record::A([192, 0, 2, i].into()));
    }
    zone.add_txt("ten.dk", &format!("v=spf1{} -all", terms(10)));
    zone.add_txt("eleven.dk", &format!("v=spf1{} -all", terms(11)));
    assert_eq!(run(&zone, "ten.dk", "40.74.40.57", Limits::receiver()).result, SpfResult::Fail);
    let eleven = run(&zone, "eleven.dk", "40.74.40.57", Limits::receiver());
    assert_eq!((eleven.result, &eleven.problems[..]), (SpfResult::PermError, &[Problem::TooManyLookups][..]));
    assert_eq!(run(&zone, "eleven.dk", "192.0.2.3", Limits::receiver()).result, SpfResult::Pass);
    assert_eq!(run(&zone, "eleven.dk", "192.0.2.3", Limits::survey()).lookups, 11);
}

#[test]
fn two_void_lookups_are_fine_and_three_are_not() {
    let zone = "two.dk TXT \"v=spf1 a:x.dk exists:y.dk -all\"\nthree.dk TXT \"v=spf1 a:x.dk mx:y.dk a:z.dk -all\"";
    assert_eq!(result(zone, "two.dk", "192.0.2.1"), SpfResult::Fail);
    assert_eq!(result(zone, "three.dk", "192.0.2.1"), SpfResult::PermError);
}

#[test]
fn loops_end() {
    let zone = FixedZone::parse("a.dk TXT \"v=spf1 include:b.dk -all\"\nb.dk TXT \"v=spf1 include:a.dk -all\"\nself.dk TXT \"v=spf1 redirect=self.dk\"").unwrap();
    for domain in ["a.dk", "self.dk"] {
        assert_eq!(run(&zone, domain, "192.0.2.1", Limits::receiver()).result, SpfResult::PermError);
        let survey = run(&zone, domain, "192.0.2.1", Limits::survey());
        assert!(survey.problems.contains(&Problem::Loop { domain: domain.to_owned() }), "{survey:?}");
        assert!(survey.lookups <= 3);
    }
}

#[test]
fn a_survey_sees_everything_in_one_go() {
    let zone = r#"
        test.dk TXT "v=spf1 ptr ip4:1.2.3 include:none.dk include:all.dk +all a:x.dk"
        all.dk TXT "v=spf1 +all"
    "#;
    let survey = run(&FixedZone::parse(zone).unwrap(), "test.dk", "192.0.2.1", Limits::survey());
    assert_eq!(survey.visited, ["none.dk", "all.dk"]);
    assert_eq!(survey.lookups, 3);
    let d = |t: &str| t.to_owned();
    assert_eq!(
        survey.problems,
        [
            Problem::Ptr { domain: d("test.dk") },
            Problem::EverybodyPasses { domain: d("test.dk"), term: d("+all") },
            Problem::AfterAll { domain: d("test.dk"), terms: vec![d("a:x.dk")] },
            Problem::Syntax {
                domain: d("test.dk"),
                faults: vec![SyntaxError { term: d("ip4:1.2.3"), fault: Fault::Address }]
            },
            Problem::NoRecord { domain: d("none.dk"), near_misses: vec![] },
            Problem::EverybodyPasses { domain: d("all.dk"), term: d("+all") },
        ]
    );
}

#[test]
fn a_network_of_everybody_is_found_where_it_counts() {
    for (record, term) in [
        ("v=spf1 ip4:0.0.0.0/0 -all", Some("ip4:0.0.0.0/0")),
        ("v=spf1 ip4:128.0.0.0/1 ip4:0.0.0.0/1 -all", Some("ip4:128.0.0.0/1")),
        ("v=spf1 +a/0 -all", Some("+a/0")),
        ("v=spf1 mx//0 -all", Some("mx//0")),
        ("v=spf1 ip6:2000::/3 ~all", Some("ip6:2000::/3")),
        ("v=spf1 all", Some("all")),
        ("v=spf1 -ip4:0.0.0.0/0", None),
        ("v=spf1 ip4:10.0.0.0/8 a/24 -all", None),
        ("v=spf1 -all ip4:0.0.0.0/0", None),
    ] {
        let zone = FixedZone::new();
        zone.add_txt("test.dk", record);
        let found =
            run(&zone, "test.dk", "192.0.2.1", Limits::survey()).problems.into_iter().find_map(
                |problem| match problem {
                    Problem::EverybodyPasses { term, .. } => Some(term),
                    _ => None,
                },
            );
        assert_eq!(found.as_deref(), term, "{record}");
    }
}

#[test]
fn two_records_are_a_permanent_error() {
    let zone = "test.dk TXT \"v=spf1 -all\"\ntest.dk TXT \"v=spf1 +all\"\ntest.dk TXT other";
    assert_eq!(result(zone, "test.dk", "192.0.2.1"), SpfResult::PermError);
}

#[test]
fn ipv6_is_matched_by_its_own_prefix() {
    let zone = "test.dk TXT \"v=spf1 a/24//32 ip6:fd00::/8 -all\"\ntest.dk AAAA 2001:db8::1";
    assert_eq!(result(zone, "test.dk", "2001:db8:ffff::2"), SpfResult::Pass);
    assert_eq!(result(zone, "test.dk", "2001:db9::2"), SpfResult::Fail);
    assert_eq!(result(zone, "test.dk", "fd12::1"), SpfResult::Pass);
}

#[test]
fn a_proposed_record_is_walked_in_place_of_the_published_one() {
    let zone =
        FixedZone::parse("test.dk TXT \"v=spf1 -all\"\nspf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"").unwrap();
    let query = Query {
        ip: "40.74.40.57".parse().unwrap(),
        domain: "test.dk",
        local: "x",
        helo: "x.dk",
        instead: Some("v=spf1 include:spf.webcrm.com -all"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(walk(&zone, &query, Limits::receiver())).result, SpfResult::Pass);
}

/// The records of a customer who attacks: each of `size` octets, and each includes all of the others.
fn hostile(size: usize, term: &str) -> FixedZone {
    let zone = FixedZone::new();
    let name = |at: usize| format!("{}.r{at}.dk", "x".repeat(60));
    let includes: String = (0..10).map(|at| format!("include:{} ", name(at))).collect();
    for at in 0..10 {
        zone.add_txt(&name(at), &format!("v=spf1 {includes}{}-all", term.repeat(size / term.len())));
    }
    zone.add_txt("test.dk", &format!("v=spf1 {includes}-all"));
    zone
}

#[test]
fn a_walk_costs_in_proportion_to_the_records_on_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let walked = |zone: &FixedZone, limits| {
        let query = Query::of_domain("40.74.40.57".parse().unwrap(), "test.dk");
        runtime.block_on(walk(zone, &query, limits))
    };
    crate::test_cost::is_linear(
        [100, 200, 400],
        |zone: &FixedZone| {
            walked(zone, Limits::receiver());
            walked(zone, Limits::survey());
        },
        &[
            ("networks", |size| hostile(10 * size, "ip4:192.0.2.1 ")),
            ("macros", |size| hostile(10 * size, "exists:%{d}%{d}%{d}%{d}%{d}%{d} ")),
            ("terms at fault", |size| hostile(10 * size, "x ")),
        ],
    );
}

#[test]
fn thousands_of_macros_behind_an_include_cost_no_more_than_a_name() {
    let zone = FixedZone::new();
    let long = format!("{}.x.dk", ["y".repeat(60).as_str(); 3].join("."));
    zone.add_txt("test.dk", &format!("v=spf1 include:{long} -all"));
    let macros = |count: usize| format!("v=spf1 exists:{} -all", "%{d}".repeat(count));
    zone.add_txt(&long, &macros(30));
    assert_eq!(run(&zone, "test.dk", "192.0.2.1", Limits::receiver()).result, SpfResult::Fail);
    zone.remove(&long, crate::resolver::RecordType::Txt);
    for count in [33, 1500, 6000] {
        zone.add_txt(&long, &macros(count));
        assert_eq!(run(&zone, "test.dk", "192.0.2.1", Limits::receiver()).result, SpfResult::PermError, "{count}");
        zone.remove(&long, crate::resolver::RecordType::Txt);
    }
}
