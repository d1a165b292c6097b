//! Zones as real DNS servers hold them, with all that is said of one item.

use postbud::onboarding::Item;

use crate::checks::{OURS, codes, reports, settings};
use crate::knot::Knot;
use crate::rig::{key_record, txt};
use crate::skip::skip;

/// Strings of every size, aliases of every kind, and wildcards: a domain, the item, the codes of all its findings, and the zone.
fn held_cases() -> Vec<(&'static str, Item, &'static [&'static str], String)> {
    let key = key_record("x.dk");
    let spf = "v=spf1 include:spf.webcrm.com -all";
    let strings = |of: usize| {
        let strings: Vec<String> =
            key.as_bytes().chunks(of).map(|chunk| format!("\"{}\"", str::from_utf8(chunk).unwrap())).collect();
        format!("( {} )", strings.join(" "))
    };
    let at = |name: &str| format!("postbud1._domainkey.{name}");
    let line = |name: &str, data: &str| format!("{name}. 60 IN {data}\n");
    vec![
        ("two.h.dk", Item::Spf, &["spf-passes"], line("two.h.dk", "TXT \"v=spf1 include:spf.webcrm.com\" \" -all\"")),
        (
            "glue.h.dk",
            Item::Spf,
            &["spf-include-without-record", "spf-does-not-pass", "spf-meant"],
            line("glue.h.dk", "TXT \"v=spf1 include:spf.webcrm.com\" \"-all\""),
        ),
        ("zero.h.dk", Item::Spf, &["spf-passes"], line("zero.h.dk", &format!("TXT \"\" \"{spf}\" \"\""))),
        ("empty.h.dk", Item::Spf, &["spf-missing"], line("empty.h.dk", "TXT \"\"")),
        (
            "byte.h.dk",
            Item::Spf,
            &["spf-missing", "spf-near-miss", "spf-meant"],
            line("byte.h.dk", "TXT \"v=spf1\\160include:spf.webcrm.com -all\""),
        ),
        (
            "utf8.h.dk",
            Item::Spf,
            &["spf-syntax", "spf-does-not-pass", "spf-meant"],
            line("utf8.h.dk", "TXT \"v=spf1 include:spf.webcrm.com\\194\\160-all\""),
        ),
        (
            "nul.h.dk",
            Item::Spf,
            &["spf-syntax", "spf-does-not-pass", "spf-meant"],
            line("nul.h.dk", "TXT \"v=spf1 include:spf.webcrm.com -all\\000\""),
        ),
        (
            "many.h.dk",
            Item::Spf,
            &["spf-passes"],
            txt("many.h.dk", spf)
                + &(0..60)
                    .map(|i| txt("many.h.dk", &format!("vendor-{i}-verification={}", "x".repeat(90))))
                    .collect::<String>(),
        ),
        ("big.h.dk", Item::Spf, &["spf-passes"], txt("big.h.dk", spf) + &txt("big.h.dk", &"x".repeat(5000))),
        ("strings.h.dk", Item::Dkim, &["dkim-good"], line(&at("strings.h.dk"), &format!("TXT {}", strings(64)))),
        ("ones.h.dk", Item::Dkim, &["dkim-good"], line(&at("ones.h.dk"), &format!("TXT {}", strings(1)))),
        (
            "alias.h.dk",
            Item::Dkim,
            &["dkim-good"],
            line(&at("alias.h.dk"), "CNAME key.vendor.h.") + &txt("key.vendor.h", &key),
        ),
        (
            "dname.h.dk",
            Item::Dkim,
            &["dkim-good"],
            line("_domainkey.dname.h.dk", "DNAME keys.vendor.h.") + &txt("postbud1.keys.vendor.h", &key),
        ),
        (
            "loop.h.dk",
            Item::Dkim,
            &["unanswered"],
            line(&at("loop.h.dk"), "CNAME back.h.") + &line("back.h", &format!("CNAME {}.", at("loop.h.dk"))),
        ),
        ("nowhere.h.dk", Item::Dkim, &["dkim-missing"], line(&at("nowhere.h.dk"), "CNAME gone.vendor.h.")),
        (
            "rr.h.dk",
            Item::Dkim,
            &["dkim-several"],
            txt(&at("rr.h.dk"), &key[..200]) + &txt(&at("rr.h.dk"), &key[200..]),
        ),
        ("target.h.dk", Item::Dkim, &["dkim-flaw"], txt(&at("target.h.dk"), "postbud1.target.h.dk.vendor.h")),
        ("void.h.dk", Item::Dkim, &["dkim-flaw"], line(&at("void.h.dk"), "TXT \"\"")),
        ("wild.h.dk", Item::Dkim, &["dkim-missing"], txt("*.wild.h.dk", "v=spf1 -all")),
        ("wild-policy.h.dk", Item::Dmarc, &["dmarc-missing"], txt("*.wild-policy.h.dk", "v=spf1 -all")),
        ("wild-proof.h.dk", Item::Ownership, &["ownership-missing"], txt("*.wild-proof.h.dk", "v=spf1 -all")),
        ("wild-key.h.dk", Item::Dkim, &["dkim-missing"], txt("*._domainkey.wild-key.h.dk", "v=DKIM1; p=")),
        (
            "wild-alias.h.dk",
            Item::Dkim,
            &["dkim-missing"],
            line("*.wild-alias.h.dk", "CNAME web.vendor.h.") + &txt("web.vendor.h", "v=spf1 a -all"),
        ),
        (
            "proof.h.dk",
            Item::Ownership,
            &["ownership-wrong-value", "ownership-missing"],
            line("_postbud-challenge.proof.h.dk", "TXT \"\""),
        ),
        (
            "vendor-policy.h.dk",
            Item::Dmarc,
            &["dmarc-good", "dmarc-without-dkim", "dmarc-spf-unaligned"],
            line("_dmarc.vendor-policy.h.dk", "CNAME policy.vendor.h.")
                + &txt("policy.vendor.h", "v=DMARC1; p=reject; rua=mailto:a@vendor-policy.h.dk"),
        ),
        (
            "appended.h.dk",
            Item::ReturnPath,
            &["return-path-wrong"],
            line("bnc3.appended.h.dk", "CNAME bnc3.mailjet.com.appended.h.dk."),
        ),
        (
            "mail-alias.h.dk",
            Item::Mx,
            &["mx-good"],
            line("mail-alias.h.dk", "MX 5 m.mail-alias.h.dk.")
                + &line("m.mail-alias.h.dk", "CNAME a.vendor.h.")
                + &line("a.vendor.h", "A 192.0.2.5"),
        ),
    ]
}

#[test]
fn each_zone_is_read_as_a_real_server_holds_it() {
    let cases = held_cases();
    let zone: String = OURS.to_owned() + &cases.iter().map(|case| case.3.as_str()).collect::<String>();
    let Some(knot) = Knot::start(&zone) else {
        return skip("each_zone_is_read_as_a_real_server_holds_it", "knot is not installed");
    };
    let names: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let mut wrong = Vec::new();
    for ((name, item, expected, _), report) in cases.iter().zip(reports(&knot, &settings(), &names)) {
        let (found, expected) = (codes(&report, *item), expected.iter().map(|code| (*code).to_owned()).collect());
        if found != expected {
            wrong.push(format!("{name}: {found:?} and not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
