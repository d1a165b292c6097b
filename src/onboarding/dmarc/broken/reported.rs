//! Further DMARC records: those of public reports, and what panels, chat programs and wrong encodings made of records.

use super::*;

#[test]
fn what_was_reported_of_records_keeps_its_policy_too() {
    let mut differences = Differences::default();
    const N: &str = "v=DMARC1; p=none; rua=mailto:a@test.dk";
    for (text, said, proposed) in [
        // Real records of reports and studies.
        ("v=DMARC1;p=none;p", &["NoTag(\"p\")"][..], Some(FIRST)),
        (
            "v=DMARCl; p=reject; rua=mailto:abuse@test.dk; sp- reject; aspf-s; adkim=s; ri=604800",
            &["version"],
            Some("v=DMARC1; p=reject; sp=reject; adkim=s; aspf=s; rua=mailto:abuse@test.dk"),
        ),
        ("v=DMARC; p=none; pct=100; rua=mailto:a@test.dk", &["version"], Some(N)),
        ("v=dmarc1;p=none;", &["version"], Some(FIRST)),
        (
            "p=reject;rua=mailto:a@test.dk;ruf=mailto:b@test.dk",
            &["version"],
            Some("v=DMARC1; p=reject; rua=mailto:a@test.dk; ruf=mailto:b@test.dk"),
        ),
        (
            "v=DMARC1; p=none; fo=0,1,d,s; rua=mailto:a@test.dk",
            &["value fo=0,1,d,s"],
            Some("v=DMARC1; p=none; rua=mailto:a@test.dk"),
        ),
        (
            "v=DMARC1; p=jerect; sp=reject; rua=mailto:a@test.dk; adkim=r; aspf=r;",
            &["policy p=jerect"],
            Some("v=DMARC1; p=reject; sp=reject; adkim=r; aspf=r; rua=mailto:a@test.dk"),
        ),
        ("v=DMARC1;p=reject;rua=mailto:a@test.dk;pct=;ruf=mailto:a@test.dk", &["obsolete pct", "good reject"], None),
        (
            "v=DMARC1; p=none; sp=none; rf=afrf; pct=100; ri=86400",
            &["obsolete rf", "obsolete pct", "obsolete ri", "good none"],
            None,
        ),
        (
            "v=DMARC1; p=reject; sp=none; ruf=mailto:a@test.dk; rf=afrf; pct=100; ri=86400",
            &["obsolete rf", "obsolete pct", "obsolete ri", "good reject"],
            None,
        ),
        ("v=DMARC1; p=quarantine; rua=mailto:a@test.dk; ruf=mailto:; fo=1", &["good quarantine"], None),
        ("v=DMARC1; p=reject bogus", &["policy p=reject bogus"], Some(REJECT)),
        ("v=DMARC1; p=reject; rua", &["NoTag(\"rua\")"], Some(REJECT)),
        // The name of the policy.
        ("v=DMARC1; policy:reject", &["name policy"], Some(REJECT)),
        ("v=DMARC1; policy: reject; rua=mailto:a@test.dk", &["name policy"], Some(WITH_RUA)),
        ("v=DMARC1; policy reject", &["name policy"], Some(REJECT)),
        ("v=DMARC1 policy=reject", &["no record: NoSemicolon(\"policy\")"], Some(REJECT)),
        ("v=DMARC1; politik=afvis", &["name politik"], Some(REJECT)),
        ("v=DMARC1; p_=reject", &["name p_"], Some(REJECT)),
        ("v=DMARC1; p1=reject", &["name p1"], Some(REJECT)),
        // Policies.
        ("v=DMARC1; p=none|quarantine|reject", &["policy p=none|quarantine|reject"], Some(FIRST)),
        ("v=DMARC1; p=quarantine; sp=nonee", &["policy sp=nonee"], Some("v=DMARC1; p=quarantine; sp=none")),
        (
            "v=DMARC1; p=none; np=rejct",
            &["policy np=rejct"],
            Some("v=DMARC1; p=none; np=reject; rua=mailto:dmarc@test.dk"),
        ),
        ("v=DMARC1; p=REJECT;", &["good reject"], None),
        ("v=DMARC1; p=0", &["policy p=0"], Some(FIRST)),
        ("v=DMARC1; p=reject\\", &["Quoting('\\\\')"], Some(REJECT)),
        ("v=DMARC1; p=reject;-all", &["NoTag(\"-all\")"], Some(REJECT)),
        ("v=DMARC1; p=reject -all", &["policy p=reject -all"], Some(REJECT)),
        ("v=DMARC1; p=quarantine; sp=subdomain", &["policy sp=subdomain"], Some("v=DMARC1; p=quarantine")),
        ("v=DMARC1; p=\u{201e}reject\u{201c}", &["Quoting('\u{201e}')"], Some(REJECT)),
        (
            "v=DMARC1; p=qurantine; rua=mailto:a@test.dk",
            &["policy p=qurantine"],
            Some("v=DMARC1; p=quarantine; rua=mailto:a@test.dk"),
        ),
        ("v=DMARC1; p=QUARANTINE,reject", &["policy p=QUARANTINE,reject"], Some(FIRST)),
        // The percentage.
        ("v=DMARC1; p=reject pct=50", &["NoSemicolon(\"pct\")"], Some("v=DMARC1; p=reject; pct=50")),
        ("v=DMARC1; p=reject; pct=50; adkim=strict", &["value adkim=strict"], Some("v=DMARC1; p=reject; pct=50")),
        ("v=DMARC1, p=quarantine, pct=5", &["no record: NoSemicolon(\"p\")"], Some("v=DMARC1; p=quarantine; pct=5")),
        ("v=DMARC1, p=none, pct=5", &["no record: NoSemicolon(\"p\")"], Some(FIRST)),
        ("v=DMARC1; p=quarantine; pct=25; t=y", &["testing", "percent 25", "good quarantine"], None),
        ("v=DMARC1; p=reject; pct=1OO", &["obsolete pct", "good reject"], None),
        ("v=DMARC1; p=reject; pct:20", &["NoSign(\"pct\")"], Some("v=DMARC1; p=reject; pct=20")),
        // Other tags.
        ("v=DMARC1; p=reject; sp=reject; np=reject; t=n; psd=u", &["good reject"], None),
        ("v=DMARC1; p=reject; psd=yes", &["unread psd=yes", "good reject"], None),
        ("v=DMARC1; p=reject; t=yes", &["unread t=yes", "good reject"], None),
        ("v=DMARC1; p=reject; fo=1; fo=d", &["Twice(\"fo\")"], Some("v=DMARC1; p=reject; fo=1")),
        ("v=DMARC1; p=reject; adkim=; aspf=r", &["value adkim="], Some("v=DMARC1; p=reject; aspf=r")),
        ("v=DMARC1; rua=mailto:a@test.dk; p=reject", &["good reject"], None),
        ("v=DMARC1; include:spf.a.dk; p=none", &["NoTag(\"include:spf.a.dk\")"], Some(FIRST)),
        ("v=DMARC1; p=reject; aspf=s; adkim=s; fo=0:1:d:s", &["good reject"], None),
        ("v=DMARC1; p=reject; fo=", &["value fo="], Some(REJECT)),
        ("v=DMARC1; p=reject; dkim=s; spf=r", &["unread dkim=s", "unread spf=r", "good reject"], None),
        (";v=DMARC1; p=none", &["no record: EmptyTag"], Some(FIRST)),
        ("v=DMARC1 ; p=none", &["good none"], None),
        ("v=TLSRPTv1; rua=mailto:a@test.dk", &[], Some(FIRST)),
        ("v=BIMI1; l=https://test.dk/logo.svg", &[], Some(FIRST)),
        ("v=STSv1; id=20260101", &[], Some(FIRST)),
        // Addresses.
        ("v=DMARC1; p=none; rua=", &["unread rua=", "good none"], None),
        ("v=DMARC1; p=none; rua=mailto:a@test.dk,", &["unread rua=mailto:a@test.dk,", "good none"], None),
        ("v=DMARC1; p=reject; rua=mailto:a@test.dk,b@test.dk", &["unread rua=b@test.dk", "good reject"], None),
        ("v=DMARC1; p=none; rua=mailto://a@test.dk", &["unread rua=mailto://a@test.dk", "good none"], None),
        ("v=DMARC1; p=none; rua=mailto:a@test.dk.", &["good none"], None),
        ("v=DMARC1; p=none; rua=mailto:a@test.dk?subject=dmarc", &["good none"], None),
        ("v=DMARC1; p=none; rua=http://test.dk/dmarc", &["unread rua=http://test.dk/dmarc", "good none"], None),
        ("v=DMARC1; p=none; rua=mailto:dmarc@", &["unread rua=mailto:dmarc@", "good none"], None),
        ("v=DMARC1; p=none; rua=mailto:a @test.dk", &["unread rua=mailto:a @test.dk", "good none"], None),
        ("v=DMARC1; p=none; rua=mailto:a@test.dk, mailto:b@test.dk ,mailto:c@test.dk", &["good none"], None),
        (
            "v=DMARC1; p=none; rua=mailto:[a@test.dk](mailto:a@test.dk)",
            &["unread rua=mailto:[a@test.dk](mailto:a@test.dk)", "good none"],
            None,
        ),
        (
            "v=DMARC1; p=none; rua=[mailto:a@test.dk](mailto:a@test.dk)",
            &["unread rua=[mailto:a@test.dk](mailto:a@test.dk)", "good none"],
            None,
        ),
        ("v=DMARC1, p=none, rua=mailto:[a@test.dk](mailto:a@test.dk)", &["no record: NoSemicolon(\"p\")"], Some(N)),
        ("v=DMARC1, p=none, rua=[mailto:a@test.dk](mailto:a@test.dk)", &["no record: NoSemicolon(\"p\")"], Some(N)),
        (
            "v=DMARC1; p=none; rua=mailto:a@test.dk <mailto:a@test.dk>",
            &["unread rua=mailto:a@test.dk <mailto:a@test.dk>", "good none"],
            None,
        ),
        (
            "v=DMARC1; p=none; rua=mailto:a@test.dk&ruf=mailto:b@test.dk",
            &["NoSemicolon(\"ruf\")"],
            Some("v=DMARC1; p=none; rua=mailto:a@test.dk; ruf=mailto:b@test.dk"),
        ),
        ("v=DMARC1; p=none; rua=mailto:a(at)test.dk", &["unread rua=mailto:a(at)test.dk", "good none"], None),
        (
            "v=DMARC1; p=quarantine; rua=mailto:a@test.dk; rua=",
            &["Twice(\"rua\")"],
            Some("v=DMARC1; p=quarantine; rua=mailto:a@test.dk"),
        ),
        ("v=DMARC1; p=none; rua = \"mailto:a@test.dk\"", &["Quoting('\"')"], Some(N)),
        (
            "v=DMARC1; p=none; rua=mailto:a@test.dk; ruf=mailto:a@test.dk!10m!5m",
            &["value ruf=mailto:a@test.dk!10m!5m"],
            Some(N),
        ),
        ("v=DMARC1; p=none; rua=mailto:a@test.dk ; ruf", &["NoTag(\"ruf\")"], Some(N)),
        ("v=DMARC1; p=none; rua=mailto=a@test.dk, p=none", &["NoSemicolon(\"p\")", "Twice(\"p\")"], Some(N)),
        (
            "v=DMARC1; p=none; rua=mailto:a@test.dk\nruf=mailto:b@test.dk",
            &["NoSemicolon(\"ruf\")"],
            Some("v=DMARC1; p=none; rua=mailto:a@test.dk; ruf=mailto:b@test.dk"),
        ),
        // What was copied with it, and other encodings.
        ("**v=DMARC1; p=reject**", &["no record: Quoting('*')"], Some(REJECT)),
        ("`v=DMARC1; p=reject`", &["no record: Quoting('`')"], Some(REJECT)),
        ("> v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("DMARC=v=DMARC1; p=reject", &["no record: ZoneLine"], Some(REJECT)),
        ("\u{ef}\u{bb}\u{bf}v=DMARC1; p=reject", &["no record: Character('\u{ef}')"], Some(REJECT)),
        ("v=DMARC1;\u{c2}\u{a0}p=reject", &["Character('\u{c2}')"], Some(REJECT)),
        ("v=DMARC1; p=reject; rua=mailto:a@test.dk\u{e2}\u{20ac}\u{9d}", &["Character('\u{e2}')"], Some(WITH_RUA)),
        ("v=DMARC1\u{fffd}; p=reject", &["no record: Character('\u{fffd}')"], Some(REJECT)),
        ("v=DMARC1;\\ p=reject;\\ rua=mailto:a@test.dk", &["Quoting('\\\\')"], Some(WITH_RUA)),
        ("\"v=DMARC1\\; p=reject\\; rua=mailto:a@test.dk\"", &["no record: Quoting('\"')"], Some(WITH_RUA)),
        ("v=DMARC1;\" \"p=reject", &["Quoting('\"')"], Some(REJECT)),
        ("{\"v\":\"DMARC1\",\"p\":\"reject\"}", &["version"], Some(FIRST)),
        ("v=DMARC1,p=reject,rua=mailto:a@test.dk", &["no record: NoSemicolon(\"p\")"], Some(WITH_RUA)),
        (
            "v=DMARC1;p=reject,rua=mailto:a@test.dk,ruf=mailto:b@test.dk",
            &["NoSemicolon(\"rua\")", "NoSemicolon(\"ruf\")"],
            Some("v=DMARC1; p=reject; rua=mailto:a@test.dk; ruf=mailto:b@test.dk"),
        ),
        ("v=DMARC1+p=reject+rua=mailto:a@test.dk", &["no record: NoSemicolon(\"p\")"], Some(WITH_RUA)),
        ("v=DMARC1 - p=reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("v = DMARC1 p = reject", &["no record: NoSemicolon(\"p\")"], Some(REJECT)),
        ("TXT v=DMARC1; p=none; rua=mailto:a@test.dk TTL 3600", &["no record: ZoneLine"], Some(N)),
        ("v=dmarc1, p=reject", &["version"], Some(REJECT)),
        (
            "v=DMARC1;p=quarantine;rua=mailto:a@test.dk;sp=quarantine;aspf=r;adkim=r;fo=1;rf=afrf;pct=100;ri=86400;",
            &["obsolete rf", "obsolete pct", "obsolete ri", "good quarantine"],
            None,
        ),
    ] {
        differences.compare(text, &judged(text), &(owned(said), proposed.map(str::to_owned)));
    }
    differences.assert_none();
}
