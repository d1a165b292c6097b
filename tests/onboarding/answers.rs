//! The meaning of a name server's answers about a record: present, absent, or unknown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use postbud::customers::Requirement;
use postbud::message::CustomerId;
use postbud::onboarding::{Seen, Settings, Store};
use postbud::resolver::{FixedZone, RecordType, Resolver};
use postbud::time::Timestamp;

use crate::rig::{checker, customer, directory, domain, key_record, mailjet};
use crate::scripted_dns::{ScriptedDns, cname, from_zone, ns, soa};

#[derive(Debug, PartialEq)]
enum Said {
    Absent,
    NoSuchName,
    Nothing,
}

/// Each kind of answer without the record, by the name it is asked under.
fn answer(name: &str, record_type: RecordType, answer: &mut Message) {
    let code = |answer: &mut Message, code| answer.metadata.response_code = code;
    match name.trim_end_matches(".test") {
        "no-data" | "empty-non-terminal" => drop(answer.add_authority(soa("test"))),
        "no-data-with-servers" => drop(answer.add_authority(soa("test")).add_authority(ns("test"))),
        "no-data-authoritative" => {
            answer.metadata.authoritative = true;
            answer.metadata.recursion_available = false;
            answer.add_authority(soa("test"));
        }
        // dnsmasq and systemd-resolved leave the SOA out.
        "no-data-bare" => {}
        "nx" => {
            code(answer, ResponseCode::NXDomain);
            answer.add_authority(soa("test"));
        }
        "nx-bare" => code(answer, ResponseCode::NXDomain),
        // RFC 2308 §2.1.1, type 4: the code says it, whatever comes with it.
        "nx-with-servers" => {
            code(answer, ResponseCode::NXDomain);
            answer.add_authority(ns("test"));
        }
        "alias-to-nothing" if record_type != RecordType::Cname => {
            answer.add_answer(cname(name, "no-data.test")).add_authority(soa("test"));
        }
        "alias-to-bare-nothing" if record_type != RecordType::Cname => {
            answer.add_answer(cname(name, "no-data-bare.test"));
        }
        "alias-to-no-name" if record_type != RecordType::Cname => {
            code(answer, ResponseCode::NXDomain);
            answer.add_answer(cname(name, "nx.test"));
        }

        "soa-of-another" => drop(answer.add_authority(soa("elsewhere.example"))),
        "soa-of-a-neighbour" => drop(answer.add_authority(soa("of-a-neighbour.test"))),
        "soa-from-below" => drop(answer.add_authority(soa("zone.soa-from-below.test"))),
        "soa-of-another-with-servers" => {
            answer.add_authority(ns("test")).add_authority(soa("elsewhere.example"));
        }
        "alias-to-another" if record_type != RecordType::Cname => {
            answer.add_answer(cname(name, "soa-of-another.test")).add_authority(soa("elsewhere.example"));
        }
        "alias-abroad" if record_type != RecordType::Cname => {
            answer.add_answer(cname(name, "no-data.example")).add_authority(soa("example"));
        }
        "no-data.example" => drop(answer.add_authority(soa("example"))),

        "referral" => drop(answer.add_authority(ns("test"))),
        "referral-upward" => drop(answer.add_authority(ns("."))),
        "referral-lame" => {
            answer.metadata.recursion_available = false;
            answer.add_authority(ns("referral-lame.test"));
        }
        "alias-to-referral" if record_type != RecordType::Cname => {
            answer.add_answer(cname(name, "referral.test")).add_authority(ns("test"));
        }
        "loop" => drop(answer.add_answer(cname(name, "loop-back.test"))),
        "loop-back" => drop(answer.add_answer(cname(name, "loop.test"))),
        "servfail" => code(answer, ResponseCode::ServFail),
        "refused" => code(answer, ResponseCode::Refused),
        "notimp" => code(answer, ResponseCode::NotImp),
        "formerr" => code(answer, ResponseCode::FormErr),
        "notauth" => code(answer, ResponseCode::NotAuth),
        "unknown-code" => code(answer, ResponseCode::Unknown(12)),
        // No server listens on TCP.
        "truncated" => answer.metadata.truncation = true,
        _ => drop(answer.add_authority(soa("test"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_answer_that_says_so_is_an_absence() {
    let server = ScriptedDns::start(|name, record_type, message| {
        answer(name, record_type, message);
        Duration::ZERO
    });
    let dns = server.resolver();
    let mut wrong = Vec::new();
    for (said, names) in [
        (
            Said::Absent,
            &[
                "no-data",
                "empty-non-terminal",
                "no-data-with-servers",
                "no-data-authoritative",
                "no-data-bare",
                "alias-to-nothing",
                "alias-to-bare-nothing",
                "alias-abroad",
            ][..],
        ),
        (Said::NoSuchName, &["nx", "nx-bare", "nx-with-servers", "alias-to-no-name"]),
        (
            Said::Nothing,
            &[
                "referral",
                "referral-upward",
                "referral-lame",
                "alias-to-referral",
                "soa-of-another",
                "soa-of-a-neighbour",
                "soa-from-below",
                "soa-of-another-with-servers",
                "alias-to-another",
                "loop",
                "servfail",
                "refused",
                "notimp",
                "formerr",
                "notauth",
                "unknown-code",
                "truncated",
            ],
        ),
    ] {
        for name in names {
            for record_type in [RecordType::Txt, RecordType::A, RecordType::Mx] {
                // The second time the answer may come from the cache.
                for _ in 0..2 {
                    let found = match dns.query(&format!("{name}.test"), record_type).await {
                        Ok(answer) if !answer.records.is_empty() => panic!("{name}: {answer:?}"),
                        Ok(answer) if answer.no_such_name => Said::NoSuchName,
                        Ok(_) => Said::Absent,
                        Err(_) => Said::Nothing,
                    };
                    if found != said {
                        wrong.push(format!("{record_type} {name}: {found:?} instead of {said:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_know_edns_is_asked_without_it() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let zone = FixedZone::parse("good.dk TXT \"v=spf1 -all\"").unwrap();
        let server = ScriptedDns::start_with(Some(code), move |name, record_type, answer| {
            from_zone(&zone, name, record_type, answer);
            Duration::ZERO
        });
        let dns = server.resolver();
        let dns: &dyn Resolver = &dns;
        assert_eq!(dns.txt("good.dk").await.unwrap().len(), 1, "{code}");
        assert!(dns.txt("absent.dk").await.unwrap().is_empty(), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_whose_servers_only_refer_elsewhere_loses_nothing() {
    let zone = FixedZone::new();
    for (host, value) in [
        ("good.dk", "v=spf1 include:spf.webcrm.com -all"),
        ("spf.webcrm.com", "v=spf1 ip4:40.74.40.57 -all"),
        ("postbud1._domainkey.good.dk", &key_record("good.dk")),
        ("_dmarc.good.dk", "v=DMARC1; p=none; rua=mailto:dmarc@good.dk"),
    ] {
        zone.add_txt(host, value);
    }
    let refers = Arc::new(AtomicBool::new(false));
    let (is_lame, zone) = (Arc::clone(&refers), Mutex::new(zone));
    let server = ScriptedDns::start(move |name, record_type, answer| {
        match is_lame.load(Ordering::Relaxed) && name.ends_with("good.dk") {
            true => drop(answer.add_authority(ns("good.dk"))),
            false => from_zone(&zone.lock().unwrap(), name, record_type, answer),
        }
        Duration::ZERO
    });
    let state = tempfile::tempdir().unwrap();
    let settings = Settings {
        state_dir: state.path().to_owned(),
        http_timeout: Duration::from_millis(200),
        grace: Duration::ZERO,
        ..Settings::default()
    };
    let store = Store::new(&settings);
    let customer = customer("test-as", "Test A/S", &["good.dk"], mailjet());
    let directory = directory(vec![customer.clone()]);
    let checker = checker(settings.clone(), Arc::new(server.resolver()));
    let check = async |now| checker.check(&directory, &customer, &domain("good.dk"), now).await;
    let requirements = [Requirement::Spf, Requirement::Dkim, Requirement::Dmarc];
    let id = CustomerId::new("test-as");

    let now = Timestamp::now();
    let report = check(now).await;
    for requirement in requirements {
        assert_eq!(report.seen(requirement), Seen::Verified, "{requirement}: {report:#?}");
    }
    let (_, changes) = store.record(&id, &report, &settings).unwrap();
    store.reported(&id, &report.domain, &changes).unwrap();

    refers.store(true, Ordering::Relaxed);
    for hours in [1, 1000] {
        let report = check(now + Duration::from_secs(hours * 3600)).await;
        for requirement in requirements {
            assert_eq!(report.seen(requirement), Seen::Unknown, "{requirement}: {report:#?}");
        }
        let (known, changes) = store.record(&id, &report, &settings).unwrap();
        assert_eq!(changes, []);
        assert!(requirements.iter().all(|requirement| known.status().has(*requirement)));
    }
}
