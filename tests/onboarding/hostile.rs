//! What a stranger puts into DNS is data: it commands no terminal, adds no line to a zone file and none to a mail.

use std::sync::Arc;
use std::time::Duration;

use postbud::onboarding::{Lang, Settings, records, report};
use postbud::resolver::FixedZone;
use postbud::time::Timestamp;

use crate::rig::{checker, customer, directory, domain, mailjet};

/// Sets a terminal's title, colours, turns the writing round, and ends the line it stands in with a record of its own.
const HOSTILE: &str = "\x1b]0;OWNED\x07\x1b[31m\u{9b}2J\u{202e}\r\nevil.dk.\t60\tIN\tA\t192.0.2.66";

#[tokio::test]
async fn records_of_strangers_reach_people_as_visible_text_only() {
    let zone = FixedZone::new();
    zone.add_txt("spf.webcrm.com", "v=spf1 ip4:40.74.40.57 -all");
    zone.add_txt("term.dk", &format!("v=spf1 {HOSTILE} include:x{HOSTILE}.dk -all exp=y{HOSTILE}"));
    zone.add_txt("near.dk", &format!("\"v=spf1 {HOSTILE} -all\""));
    for name in ["term.dk", "near.dk"] {
        zone.add_txt(&format!("_postbud-challenge.{name}"), HOSTILE);
        zone.add_txt(&format!("postbud1._domainkey.{name}"), &format!("v=DKIM1; {HOSTILE}=1; p={HOSTILE}; {HOSTILE}"));
    }
    zone.add_txt("_dmarc.term.dk", &format!("v=DMARC1; p=none; {HOSTILE}; rua={HOSTILE},mailto:{HOSTILE}@x.dk"));
    zone.add_txt("_dmarc.near.dk", &format!("v=DMARC1; p={HOSTILE}"));

    let names = ["near.dk", "term.dk"];
    let settings = Settings { http_timeout: Duration::from_millis(200), ..Settings::default() };
    let customer = customer("test-as", "Test A/S", &names, mailjet());
    let directory = directory(vec![customer.clone()]);
    let checker = checker(settings, Arc::new(zone));
    for name in names {
        let now = Timestamp::from_millis(1_795_458_240_000);
        let checked = checker.check(&directory, &customer, &domain(name), now).await;
        let table = records::table(&checker, &directory, &customer, &domain(name), now).await;
        for lang in [Lang::Da, Lang::En] {
            let zone_lines = records::zone(&table, lang);
            let strange =
                zone_lines.lines().find(|line| !line.starts_with("; ") && !line.contains(&format!("{name}. 3600 IN ")));
            assert_eq!(strange, None, "{zone_lines}");
            let outputs = [
                report::text(&checked, lang, true),
                records::text(&table, lang),
                zone_lines,
                lang.mail("Test A/S", std::slice::from_ref(&table)).1,
            ];
            for output in outputs {
                let obeyed = output.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
                assert_eq!(obeyed, None, "{output}");
                assert!(!output.contains("\nevil.dk"), "{output}");
            }
        }
    }
}
