//! What DMARC reports say, on the customer's page: who sends in its name, and the next step that is safe.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rig::{BEFORE, Rig, Setup};
use crate::support::browser;

/// The record that asks for reports.
pub const POLICY: &str = "_dmarc.test.dk. 60 IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc@reports.webcrm.com\"\n";

/// A rig whose customer asks for reports, which the relay takes.
pub fn rig() -> Rig {
    Rig::with(&Setup {
        zone: &format!("{BEFORE}{POLICY}"),
        others: "*._report._dmarc.reports.webcrm.com. 60 IN TXT \"v=DMARC1;\"\n",
        more: "[returns.dmarc]\naddress = \"dmarc@reports.webcrm.com\"\n",
        ..Setup::default()
    })
}

/// Imports reports of two receivers on the last four weeks: mail of Mailjet's and Microsoft's that passes, and of a system that nobody has set
/// up, with a name that would be markup.
pub fn import(rig: &Rig) {
    const DAY: u64 = 86_400;
    let folder = rig.site.path("reports");
    std::fs::create_dir_all(&folder).unwrap();
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / DAY;
    let record = |ip: &str, count: u64, result: &str, signer: &str, by: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition><dkim>{result}</dkim>\
             <spf>fail</spf></policy_evaluated></row><identifiers><header_from>test.dk</header_from></identifiers><auth_results><dkim>\
             <domain>{by}</domain><selector>{signer}</selector><result>pass</result></dkim></auth_results></record>"
        )
    };
    for days_ago in 1..=28 {
        let begins = (today - days_ago) * DAY;
        let weekday = if days_ago % 7 < 2 { 1 } else { 9 };
        for reporter in ["google.com", "Enterprise Outlook"] {
            let records = record("87.253.233.7", 130 * weekday, "pass", "mailjet", "test.dk")
                + &record("40.107.1.2", 25 * weekday, "pass", "selector1", "test.dk")
                + &if days_ago % 5 == 2 {
                    record("198.51.100.9", 150, "fail", "x", "faktura.example")
                } else {
                    String::new()
                };
            let text = format!(
                "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>{reporter}</org_name><report_id>{days_ago}</report_id><date_range>\
                 <begin>{begins}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>test.dk</domain><p>none</p>\
                 </policy_published>{records}</feedback>",
                begins + DAY - 1
            );
            std::fs::write(folder.join(format!("{reporter}-{days_ago}.xml")), text).unwrap();
        }
    }
    let taken = rig.site.operate(&["dmarc", "import", folder.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
}

#[test]
fn reports_and_the_next_safe_step_stand_on_the_page() {
    let mut rig = rig();
    let usual = browser::Setup::default();
    let Some(browser) = rig.browser("reports_and_the_next_safe_step_stand_on_the_page", usual) else { return };
    let link = rig.link("test-as", &[]);
    browser.go(&link);
    browser.find("#dmarc");
    assert!(browser.text().contains("Der er ikke kommet DMARC-rapporter endnu."), "{}", browser.text());
    import(&rig);
    rig.check_until(&browser, "what reports show", |page| page.contains("Det viser DMARC-rapporterne"));
    browser.is_sound("reports");
    browser.is_walked_through_by_keyboard("reports");
    let page = browser.text();
    for wanted in [
        "var fra webCRM, og af dem blev 100 % godkendt",
        "webCRM (Mailjet)",
        "Microsoft 365",
        "jeres egen",
        "faktura.example",
        "kender I den?",
        "Næste sikre skridt",
        "er sikker, hvis ingen af disse afsendere er jeres",
        "Den er en prøve (t=y): modtagere, der kender t=y, gør endnu ikke noget ved falsk mail i jeres navn.",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    // The drawing is one that the browser draws, and it says the same in words.
    let drawn = browser.run("const it = document.querySelector('#reports img'); return [it.naturalWidth, it.alt]");
    assert_eq!(drawn[0], 760);
    assert!(drawn[1].as_str().unwrap().contains("mails"), "{drawn}");
    // On a phone all days are on the screen.
    let phone = browser::Setup { size: (360, 780), ..browser::Setup::default() };
    let phone = rig.browser("reports_and_the_next_safe_step_stand_on_the_page", phone).unwrap();
    phone.go(&link);
    phone.find("#reports img");
    let drawn = phone.run(
        "const it = document.querySelector('#reports img'), box = it.getBoundingClientRect(); \
         return [it.naturalWidth, box.right <= innerWidth && box.width > 200, document.documentElement.scrollWidth <= innerWidth]",
    );
    assert_eq!(drawn, serde_json::json!([340, true, true]));
    phone.is_sound("reports on a phone");
    // The record that is shown is the one that gets the domain a step further.
    let next = browser.run("return document.getElementById('dmarc-value').textContent");
    let next = next.as_str().unwrap();
    assert!(next.starts_with("v=DMARC1; p=quarantine;") && next.contains("t=y"), "{next}");
    let name = browser.run("return document.getElementById('dmarc-name').textContent");
    assert_eq!(name, "_dmarc");
    rig.publish(&format!("{BEFORE}_dmarc.test.dk. 60 IN TXT \"{next}\"\n"));
    rig.check_until(&browser, "the step after it", |page| page.contains("Den næste DMARC-politik (p=quarantine)"));
}
