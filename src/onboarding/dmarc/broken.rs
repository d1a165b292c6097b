//! DMARC records as customers, panels and copying break them, each with what the check says of it and the record that it proposes.

mod reported;

use super::check::look;
use super::judgement::Path;
use crate::onboarding::finding::{Finding, Need, TagMistake};
use crate::onboarding::test_table::{Differences, assert_worded, owned};
use crate::onboarding::{Seen, Settings};
use crate::resolver::FixedZone;
use crate::smtp::{Domain, Mailbox};

/// Names a finding in a word or two. `None` for what is said of records in order.
fn short(finding: &Finding) -> Option<String> {
    Some(match finding {
        Finding::DmarcGood { policy, .. } => format!("good {policy}"),
        Finding::DmarcNearMiss { mistake: None, .. } => "version".to_owned(),
        Finding::DmarcNearMiss { mistake: Some(TagMistake(mistake)), .. } => format!("no record: {mistake:?}"),
        Finding::DmarcMistake { mistake: TagMistake(mistake), .. } => format!("{mistake:?}"),
        Finding::DmarcInvalid { tag, .. } => format!("policy {tag}"),
        Finding::DmarcPolicyName { name, .. } => format!("name {name}"),
        Finding::DmarcNoPolicy { .. } => "no policy".to_owned(),
        Finding::DmarcValue { tag, .. } => format!("value {tag}"),
        Finding::DmarcTag { tag, .. } => format!("unread {tag}"),
        Finding::DmarcObsolete { tag } => format!("obsolete {tag}"),
        Finding::DmarcPercent { percent, .. } => format!("percent {percent}"),
        Finding::DmarcTesting => "testing".to_owned(),
        Finding::DmarcMissing { .. } | Finding::DmarcNoReports { .. } | Finding::DmarcMonitoring => return None,
        Finding::DmarcDkimAligned { .. } => return None,
        other => format!("{other:?}"),
    })
}

/// Returns what is said of a record at `_dmarc.test.dk`, and the record to publish.
fn judged(text: &str) -> (Vec<String>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let settings = Settings { rua: Mailbox::parse("dmarc@test.dk").ok(), ..Settings::default() };
    let zone = FixedZone::new();
    zone.add_txt("_dmarc.test.dk", text);
    let domain = Domain::parse("test.dk").unwrap();
    let (check, proposed) =
        runtime.block_on(look(&zone, &settings, &domain, Need::Required)).judge(Path::OwnServer, Seen::Verified);
    check.findings.iter().for_each(assert_worded);
    (check.findings.iter().filter_map(short).collect(), proposed)
}

/// The record for whoever has none.
const FIRST: &str = "v=DMARC1; p=none; rua=mailto:dmarc@test.dk";
const REJECT: &str = "v=DMARC1; p=reject";
const WITH_RUA: &str = "v=DMARC1; p=reject; rua=mailto:a@test.dk";

#[test]
fn each_broken_record_is_named_for_what_broke_it_and_keeps_its_policy() {
    let mut differences = Differences::default();
    for (text, said, proposed) in [
        // The version.
        ("p=reject; v=DMARC1", &["version"][..], Some(REJECT)),
        ("p=reject; rua=mailto:a@test.dk", &["version"], Some(WITH_RUA)),
        ("v=DMARC1.0; p=reject", &["version"], Some(REJECT)),
        ("v=DMARC2; p=reject", &["version"], Some(REJECT)),
        ("v=DKIM1; p=reject", &["version"], Some(REJECT)),
        ("v=Dmarc1; p=reject", &["version"], Some(REJECT)),
        ("DMARC1; p=reject", &["no record: NoTag(\"DMARC1\")"], Some(REJECT)),
        ("v=DMARC 1; p=reject", &["version"], Some(REJECT)),
        ("v=spf1 include:spf.test.dk -all", &[], Some(FIRST)),
        ("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxgYiMdSaVjAbNuD8mbhE", &[], Some(FIRST)),
        // The policy.
        ("v=DMARC1; p=reject.", &["policy p=reject."], Some(REJECT)),
        ("v=DMARC1; p=reject!; rua=mailto:a@test.dk", &["policy p=reject!"], Some(WITH_RUA)),
        ("v=DMARC1; p=rejected", &["policy p=rejected"], Some(REJECT)),
        ("v=DMARC1; p=re ject", &["policy p=re ject"], Some(REJECT)),
        ("v=DMARC1; p=quarentine", &["policy p=quarentine"], Some("v=DMARC1; p=quarantine")),
        ("v=DMARC1; p=<reject>", &["policy p=<reject>"], Some(REJECT)),
        ("v=DMARC1; p=afvis", &["policy p=afvis"], Some(REJECT)),
        ("v=DMARC1; p=non", &["policy p=non"], Some(FIRST)),
        ("v=DMARC1; p=", &["policy p="], Some(FIRST)),
        ("v=DMARC1; p=reject all", &["policy p=reject all"], Some(REJECT)),
        ("v=DMARC1; p=reject (strict)", &["policy p=reject (strict)"], Some(REJECT)),
        ("v=DMARC1; p=none/quarantine", &["policy p=none/quarantine"], Some(FIRST)),
        ("v=DMARC1; p=p=reject", &["Twice(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p=monitor", &["policy p=monitor"], Some(FIRST)),
        ("v=DMARC1; p=reject; sp=rejekt", &["policy sp=rejekt"], Some("v=DMARC1; p=reject; sp=reject")),
        ("v=DMARC1; policy=reject", &["name policy"], Some(REJECT)),
        ("v=DMARC1; Policy=quarantine; pct=100", &["name Policy"], Some("v=DMARC1; p=quarantine")),
        ("v=DMARC1; sp=reject", &["no policy"], Some("v=DMARC1; p=none; sp=reject; rua=mailto:dmarc@test.dk")),
        (
            "v=DMARC1; np=reject; rua=mailto:a@test.dk",
            &["no policy"],
            Some("v=DMARC1; p=none; np=reject; rua=mailto:a@test.dk"),
        ),
        (
            "v=DMARC1; sp=quarantine; np=reject; pct=0",
            &["no policy"],
            Some("v=DMARC1; p=none; sp=quarantine; np=reject; t=y; rua=mailto:dmarc@test.dk"),
        ),
        ("v=DMARC1; sp=maybe", &["policy sp=maybe", "no policy"], Some(FIRST)),
        // A percentage of no mail, and of a policy for names below only.
        ("v=DMARC1; p=none; sp=reject; pct=0", &["percent 0", "good none"], Some("v=DMARC1; p=none; sp=reject; t=y")),
        ("v=DMARC1; p=none; np=reject; pct=0", &["percent 0", "good none"], Some("v=DMARC1; p=none; np=reject; t=y")),
        ("v=DMARC1; p=none; sp=none; pct=0", &["obsolete pct", "good none"], None),
        ("v=DMARC1; p=none; sp=quarantine; pct=50", &["percent 50", "good none"], None),
        (
            "v=DMARC1; p=quarantine; sp=none; pct=0",
            &["percent 0", "good quarantine"],
            Some("v=DMARC1; p=quarantine; sp=none; t=y"),
        ),
        ("v=DMARC1; p=reject; pct=0%", &["percent 0", "good reject"], Some("v=DMARC1; p=reject; t=y")),
        ("v=DMARC1; p=reject; pct=0.0", &["percent 0", "good reject"], Some("v=DMARC1; p=reject; t=y")),
        ("v=DMARC1; p=reject; pct=000", &["percent 0", "good reject"], Some("v=DMARC1; p=reject; t=y")),
        ("v=DMARC1; p=reject; pct=0.5", &["obsolete pct", "good reject"], None),
        ("v=DMARC1; p='reject'", &["Quoting('\\'')"], Some(REJECT)),
        ("v=DMARC1; p=\"reject\"", &["Quoting('\"')"], Some(REJECT)),
        // Signs between and around the tags.
        ("v=DMARC1; p:reject", &["NoSign(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p reject", &["NoSign(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p-reject", &["NoSign(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p==reject", &["NoSign(\"p\")"], Some(REJECT)),
        ("v:DMARC1; p:reject", &["no record: NoSign(\"v\")"], Some(REJECT)),
        ("v=DMARC1p=reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p=rejectrua=mailto:a@test.dk", &["NoSemicolon(\"rua\")"], Some(WITH_RUA)),
        ("v=DMARC1; p=reject rua=mailto:a@test.dk", &["NoSemicolon(\"rua\")"], Some(WITH_RUA)),
        ("v=DMARC1: p=reject: rua=mailto:a@test.dk", &["no record: NoSemicolon(\"p\")"], Some(WITH_RUA)),
        ("v=DMARC1. p=reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("v=DMARC1/p=reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("DMARC1 p=reject", &["no record: NoTag(\"DMARC1\")"], Some(REJECT)),
        ("v=DMARC1; <p=reject", &["Quoting('<')"], Some(REJECT)),
        ("v=DMARC1; p=reject&quot;", &["Markup(\"&quot;\")"], Some(REJECT)),
        ("_dmarc 300 IN TXT \"v=DMARC1; p=reject;\" ; ours", &["no record: ZoneLine"], Some(REJECT)),
        ("v=DMARC1 & p=reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("v=DMARC1; p=reject;; rua=mailto:a@test.dk", &["EmptyTag"], Some(WITH_RUA)),
        ("(v=DMARC1; p=reject)", &["no record: Quoting('(')"], Some(REJECT)),
        ("“v=DMARC1; p=reject”", &["no record: Quoting('“')"], Some(REJECT)),
        ("v=DMARC1\\; p=reject\\;", &["no record: Quoting('\\\\')"], Some(REJECT)),
        ("v=DMARC1\\059 p=reject", &["no record: Quoting('\\\\')"], Some(REJECT)),
        ("v=DMARC1;\\n p=reject", &["Quoting('\\\\')"], Some(REJECT)),
        // What was copied with the record.
        ("_dmarc.test.dk. 3600 IN TXT \"v=DMARC1; p=reject\"", &["no record: ZoneLine"], Some(REJECT)),
        ("_dmarc=v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("Host: _dmarc Value: v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("v=DMARC1&#59; p=reject", &["no record: Markup(\"&#59;\")"], Some(REJECT)),
        ("v=DMARC1;&nbsp;p=reject", &["Markup(\"&nbsp;\")"], Some(REJECT)),
        ("v%3DDMARC1%3B%20p%3Dreject", &["no record: Markup(\"%3D\")"], Some(REJECT)),
        ("v=3DDMARC1; p=3Dreject", &["no record: Markup(\"=3D\")"], Some(REJECT)),
        ("<p>v=DMARC1; p=reject</p>", &["no record: Markup(\"<p>\")"], Some(REJECT)),
        ("v=DMARC1; p=r\u{435}ject", &["Character('е')"], Some(REJECT)),
        ("v=DM\u{410}RC1; p=reject", &["no record: Character('А')"], Some(REJECT)),
        ("v=DMARC1; \u{440}=reject", &["Character('р')"], Some(REJECT)),
        ("v=DMARC1；p=reject", &["no record: Character('；')"], Some(REJECT)),
        ("v=DMARC1; p=reject\u{200b}", &["Character('\\u{200b}')"], Some(REJECT)),
        // Two records in one, and tags that are there twice.
        ("v=DMARC1; p=none; p=reject", &["Twice(\"p\")"], Some(FIRST)),
        ("v=DMARC1; p=reject v=DMARC1; p=none", &["NoSemicolon(\"v\")", "Twice(\"v\")", "Twice(\"p\")"], Some(FIRST)),
        ("v=DMARC1; p=reject; v=spf1 include:spf.test.dk -all", &["Twice(\"v\")"], Some(REJECT)),
        // Other tags.
        ("v=DMARC1; p=reject; adkim=strict", &["value adkim=strict"], Some(REJECT)),
        ("v=DMARC1; p=reject; fo=1,d", &["value fo=1,d"], Some(REJECT)),
        (
            "v=DMARC1; p=reject; rua=mailto:a@test.dk;mailto:b@test.dk",
            &["NoTag(\"mailto:b@test.dk\")"],
            Some("v=DMARC1; p=reject; rua=mailto:a@test.dk,mailto:b@test.dk"),
        ),
        (
            "v=DMARC1; p=reject; rua=mailto:a@test.dk, ruf=mailto:b@test.dk",
            &["NoSemicolon(\"ruf\")"],
            Some("v=DMARC1; p=reject; rua=mailto:a@test.dk; ruf=mailto:b@test.dk"),
        ),
        (
            "v=DMARC1; p=reject; pct=0; rua=mailto:a@test.dk",
            &["percent 0", "good reject"],
            Some("v=DMARC1; p=reject; t=y; rua=mailto:a@test.dk"),
        ),
        // Right, or right enough.
        ("v=DMARC1; p=reject; rua=a@test.dk", &["unread rua=a@test.dk", "good reject"], None),
        ("v=DMARC1; p=reject; rau=mailto:a@test.dk", &["unread rau=mailto:a@test.dk", "good reject"], None),
        ("v=DMARC1; p=reject; t=Y", &["testing", "good reject"], None),
        ("v=DMARC1; p=reject; ri=1d; rf=afrf", &["obsolete ri", "obsolete rf", "good reject"], None),
        ("V=DMARC1; P=REJECT; RUA=MAILTO:a@test.dk", &["good reject"], None),
        (" v = DMARC1 ;\r\n\tp = reject ; rua = mailto:a%2Bb@test.dk ; ", &["good reject"], None),
        ("v=DMARC1; p=reject; rua=mailto:o'brien@test.dk", &["good reject"], None),
        // Others of the same kinds.
        ("v=DMARC1;p=reject\u{a0}", &["Character('\\u{a0}')"], Some(REJECT)),
        ("v=DMARC1;\u{3000}p=reject", &["Character('\\u{3000}')"], Some(REJECT)),
        ("v=DMARC1\u{a0}; p=reject", &["no record: Character('\\u{a0}')"], Some(REJECT)),
        ("\u{feff}v=DMARC1; p=reject", &["no record: Character('\\u{feff}')"], Some(REJECT)),
        ("\u{200b}v=DMARC1; p=reject", &["no record: Character('\\u{200b}')"], Some(REJECT)),
        ("v=DMARC1; p =reject", &["good reject"], None),
        ("v=DMARC1; p=Reject; sp=None", &["good reject"], None),
        ("v=DMARC1; p=reject;;", &["EmptyTag"], Some(REJECT)),
        ("v=DMARC1;; p=reject", &["EmptyTag"], Some(REJECT)),
        ("v=DMARC1; p=reject,", &["policy p=reject,"], Some(REJECT)),
        ("v=DMARC1; p=reject; sp=", &["policy sp="], Some(REJECT)),
        ("v=DMARC1; p=reject; pct=", &["obsolete pct", "good reject"], None),
        ("v=DMARC1; p=reject; pct=101", &["obsolete pct", "good reject"], None),
        ("v=DMARC1; p=reject; pct=50%", &["obsolete pct", "good reject"], None),
        ("v=DMARC1; p=none; pct=50", &["obsolete pct", "good none"], None),
        (
            "v=DMARC1; p=quarantine; pct=00; rua=mailto:a@test.dk",
            &["percent 0", "good quarantine"],
            Some("v=DMARC1; p=quarantine; t=y; rua=mailto:a@test.dk"),
        ),
        (
            "v=DMARC1; p=reject; rua=mailto:a@test.dk mailto:b@test.dk",
            &["unread rua=mailto:a@test.dk mailto:b@test.dk", "good reject"],
            None,
        ),
        ("v=DMARC1; p=reject; rua= mailto:a@test.dk", &["good reject"], None),
        ("v=DMARC1; p=reject; rua=mailto: a@test.dk", &["unread rua=mailto: a@test.dk", "good reject"], None),
        ("v=DMARC1; p=reject; rua=mailto:<a@test.dk>", &["unread rua=mailto:<a@test.dk>", "good reject"], None),
        ("v=DMARC1; p=reject; rua:mailto:a@test.dk", &["NoSign(\"rua\")"], Some(WITH_RUA)),
        ("v=DMARC1; p=reject; rua=mailto=a@test.dk", &["unread rua=mailto=a@test.dk", "good reject"], None),
        ("v=DMARC1; p=reject; p=reject", &["Twice(\"p\")"], Some(REJECT)),
        (
            "v=DMARC1; p=reject; rua=mailto:a@test.dk; rua=mailto:b@test.dk",
            &["Twice(\"rua\")"],
            Some("v=DMARC1; p=reject; rua=mailto:a@test.dk,mailto:b@test.dk"),
        ),
        ("v=DMARC1; p=reject; adkim=s; aspf=relaxed", &["value aspf=relaxed"], Some("v=DMARC1; p=reject; adkim=s")),
        ("v=DMARC1; p=karantæne", &["policy p=karantæne"], Some("v=DMARC1; p=quarantine")),
        ("v=DMARC1; p=ingen", &["policy p=ingen"], Some(FIRST)),
        ("v=DMARC1; p=block", &["policy p=block"], Some(FIRST)),
        ("v=DMARC1; p=ablehnen", &["policy p=ablehnen"], Some(REJECT)),
        (
            "v=DMARC1; p=avvisa; sp=karantän",
            &["policy p=avvisa", "policy sp=karantän"],
            Some("v=DMARC1; p=reject; sp=quarantine"),
        ),
        ("v=DMARC1; p=weigeren", &["policy p=weigeren"], Some(REJECT)),
        ("v=DMARC1; p=rechazar", &["policy p=rechazar"], Some(REJECT)),
        ("v=DMARC1; p=quarantaine", &["policy p=quarantaine"], Some("v=DMARC1; p=quarantine")),
        (
            "v=DMARC1; p=keine; sp=ablehnen",
            &["policy p=keine", "policy sp=ablehnen"],
            Some("v=DMARC1; p=none; sp=reject; rua=mailto:dmarc@test.dk"),
        ),
        ("v=DMARC1; p=deny", &["policy p=deny"], Some(FIRST)),
        ("v=DMARC1; pp=reject", &["name pp"], Some(REJECT)),
        ("v=DMARC1; p=Quarantine;sp=Reject;", &["good quarantine"], None),
        ("_dmarc.test.dk TXT v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("TXT: v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("'v=DMARC1; p=reject'", &["no record: Quoting('\\'')"], Some(REJECT)),
        ("v=\"DMARC1\"; p=reject", &["no record: Quoting('\"')"], Some(REJECT)),
        ("v=DMARC1; p=reject\r\n", &["good reject"], None),
        ("v=DMARC1; p=reject | rua=mailto:a@test.dk", &["NoSemicolon(\"rua\")"], Some(WITH_RUA)),
        ("v=DMARC1; p=reject, sp=none", &["NoSemicolon(\"sp\")"], Some("v=DMARC1; p=reject; sp=none")),
        ("v=DMARC1; p\u{200b}=reject", &["Character('\\u{200b}')"], Some(REJECT)),
        ("v=DMARC1; p=reject; np=quarantine; psd=n", &["good reject"], None),
    ] {
        differences.compare(text, &judged(text), &(owned(said), proposed.map(str::to_owned)));
    }
    differences.assert_none();
}
