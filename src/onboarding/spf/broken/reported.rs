//! Further SPF records: those of public reports, and what panels, chat programs and wrong encodings made of records.

use super::*;

#[test]
fn what_was_reported_of_records_keeps_its_senders_too() {
    let mut differences = Differences::default();
    for (published, record, notes) in [
        // Lists with other signs between the items.
        (
            &["v=spf1 ip4:203.0.113.5&ip4:203.0.113.6 -all"][..],
            "v=spf1 ip4:203.0.113.5 ip4:203.0.113.6 -all",
            &["ip4:203.0.113.5&ip4:203.0.113.6 → ip4:203.0.113.5 ip4:203.0.113.6"][..],
        ),
        (
            &["v=spf1 include:a.dk&include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk&include:b.dk → include:a.dk include:b.dk"],
        ),
        (
            &["v=spf1 mx&a&include:a.dk ~all"],
            "v=spf1 mx a include:a.dk ~all",
            &["mx&a&include:a.dk → mx a include:a.dk"],
        ),
        (
            &["v=spf1 ip4:203.0.113.5&amp;ip4:203.0.113.6 -all"],
            "v=spf1 ip4:203.0.113.5 ip4:203.0.113.6 -all",
            &["ip4:203.0.113.5&amp;ip4:203.0.113.6 → ip4:203.0.113.5 ip4:203.0.113.6"],
        ),
        (&["v=spf1 ip4:203.0.113.5 & ip4:203.0.113.6 -all"], "v=spf1 ip4:203.0.113.5 ip4:203.0.113.6 -all", &["& → "]),
        (
            &["v=spf1 ip4:203.0.113.5&203.0.113.6 -all"],
            "v=spf1 ip4:203.0.113.5 ip4:203.0.113.6 -all",
            &["ip4:203.0.113.5&203.0.113.6 → ip4:203.0.113.5 ip4:203.0.113.6"],
        ),
        (
            &["v=spf1 include:a.dk/include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk/include:b.dk → include:a.dk include:b.dk"],
        ),
        (
            &["v=spf1 include:a.dk / include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk / → include:a.dk"],
        ),
        (
            &["v=spf1 ip4:203.0.113.5/ip4:203.0.113.6 -all"],
            "v=spf1 ip4:203.0.113.5 ip4:203.0.113.6 -all",
            &["ip4:203.0.113.5/ip4:203.0.113.6 → ip4:203.0.113.5 ip4:203.0.113.6"],
        ),
        (
            &["v=spf1 a:m.test.dk,mx,include:a.dk,?all"],
            "v=spf1 a:m.test.dk mx include:a.dk ?all",
            &["a:m.test.dk,mx,include:a.dk,?all → a:m.test.dk mx include:a.dk ?all"],
        ),
        (
            &["v=spf1 mx:test.dk;a:www.test.dk;include:spf.mandrillapp.com;?all"],
            "v=spf1 mx:test.dk a:www.test.dk include:spf.mandrillapp.com ?all",
            &[
                "mx:test.dk;a:www.test.dk;include:spf.mandrillapp.com;?all → mx:test.dk a:www.test.dk include:spf.mandrillapp.com ?all",
            ],
        ),
        (
            &["v=spf1 include:a.dk|include:b.dk|~all"],
            "v=spf1 include:a.dk include:b.dk ~all",
            &["include:a.dk|include:b.dk|~all → include:a.dk include:b.dk ~all"],
        ),
        // Real records of forums.
        (
            &[
                "v=spf1 a ip4: include:mx1.helloevery1.co.uk include:_spf.google.com include:smtproutes.com include:smtpout.com",
            ],
            "v=spf1 a include:mx1.helloevery1.co.uk include:_spf.google.com include:smtproutes.com include:smtpout.com ?all",
            &["unread ip4:"],
        ),
        (&["v=spf1 mx ra=postmaster -all"], "v=spf1 mx -all ra=postmaster", &[]),
        (
            &["v=spf1 include.spf.protection.outlook.com"],
            "v=spf1 include:spf.protection.outlook.com ~all",
            &["include.spf.protection.outlook.com → include:spf.protection.outlook.com", "~all"],
        ),
        (&["v=spf1 a im -all"], "v=spf1 a ~all", &["unread im", "softened"]),
        (
            &["v=spf1include:spf.mandrillapp.com?all"],
            "v=spf1 include:spf.mandrillapp.com ?all",
            &["begun", "v=spf1include:spf.mandrillapp.com?all → include:spf.mandrillapp.com ?all"],
        ),
        (
            &["v=spf1 include:_spf.google.com inlcude:sendgrid.net ip4:10.0.0.1 ~all"],
            "v=spf1 include:_spf.google.com include:sendgrid.net ip4:10.0.0.1 ~all",
            &["inlcude:sendgrid.net → include:sendgrid.net"],
        ),
        (
            &["v=spf1 include _spf.google.com -all"],
            "v=spf1 include:_spf.google.com -all",
            &["include _spf.google.com → include:_spf.google.com"],
        ),
        (
            &["v=spf1 inclide:_spf.google.com -all"],
            "v=spf1 include:_spf.google.com -all",
            &["inclide:_spf.google.com → include:_spf.google.com"],
        ),
        (
            &["v=spf1 +a +mx +ip4:192.0.2.9 +include:_spf.google.com ~all"],
            "v=spf1 +a +mx +ip4:192.0.2.9 +include:_spf.google.com ~all",
            &[],
        ),
        (
            &["v=spf1 include:_spf.google.com ~all include:sendgrid.net ~all"],
            "v=spf1 include:_spf.google.com include:sendgrid.net ~all",
            &["moved include:sendgrid.net", "dead ~all"],
        ),
        (
            &["v=spf1 include:_spf.google.com include: sendgrid.net include: servers.mcsv.net ?all"],
            "v=spf1 include:_spf.google.com include:sendgrid.net include:servers.mcsv.net ?all",
            &["include: sendgrid.net → include:sendgrid.net", "include: servers.mcsv.net → include:servers.mcsv.net"],
        ),
        (
            &["v=spf1 include:_spf.google.com include: ~all"],
            "v=spf1 include:_spf.google.com ~all",
            &["unread include:"],
        ),
        (
            &["v=spf1 mx a:mail.test.dk match_subdomains=yes -all"],
            "v=spf1 mx a:mail.test.dk -all match_subdomains=yes",
            &[],
        ),
        (
            &["v=spf1 redirect:_spf.mailspamprotection.com"],
            "v=spf1 redirect=_spf.mailspamprotection.com",
            &["redirect:_spf.mailspamprotection.com → redirect=_spf.mailspamprotection.com"],
        ),
        (
            &["v=spf1 include:a.dk redirect:_spf.b.dk"],
            "v=spf1 include:a.dk redirect=_spf.b.dk",
            &["redirect:_spf.b.dk → redirect=_spf.b.dk"],
        ),
        (
            &["v=spf1 include:_spf.google.com ~all", "v=spf1 include:servers.mcsv.net ?all"],
            "v=spf1 include:_spf.google.com include:servers.mcsv.net ?all",
            &["2 joined"],
        ),
        (&["v=spf1 mx ~all", "v=spf1 mx ~all", "v=spf1 mx ~all"], "v=spf1 mx ~all", &["3 joined"]),
        (&["v=spf1 a -all", "v=spf1 mx +all"], "v=spf1 a mx ~all", &["2 joined", "+all"]),
        (&["v=spf1 a -all", "v=spf1"], "v=spf1 a -all", &["2 joined"]),
        (
            &["v=spf1 include:_spf.google.com ~all;v=spf1 include:sendgrid.net ~all"],
            "v=spf1 include:_spf.google.com include:sendgrid.net ~all",
            &["~all;v=spf1 → ~all", "moved include:sendgrid.net", "dead ~all"],
        ),
        // The end.
        (&["v=spf1 mx- all"], "v=spf1 mx -all", &["mx- all → mx -all"]),
        (
            &["v=spf1 include:_spf.google.com~ all"],
            "v=spf1 include:_spf.google.com ~all",
            &["include:_spf.google.com~ all → include:_spf.google.com ~all"],
        ),
        (&["v=spf1 ip4:192.0.2.1- all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:192.0.2.1- all → ip4:192.0.2.1 -all"]),
        (&["v=spf1 mx -a11"], "v=spf1 mx -all", &["-a11 → -all"]),
        (&["v=spf1 mx -aII"], "v=spf1 mx -all", &["-aII → -all"]),
        (&["v=spf1 mx ~aIl"], "v=spf1 mx ~all", &["~aIl → ~all"]),
        (&["v=spf1 mx -all!"], "v=spf1 mx -all", &["-all! → -all"]),
        (&["v=spf1 mx -all\""], "v=spf1 mx -all", &["-all\" → -all"]),
        (&["v=spf1 mx -all \\"], "v=spf1 mx -all", &["\\ → "]),
        (&["v=spf1 mx -all \""], "v=spf1 mx -all", &["\" → "]),
        (&["v=spf1 mx ; a ; -all"], "v=spf1 mx a -all", &["; → ", "; → "]),
        (&["v=spf1 mx \u{a0} -all"], "v=spf1 mx -all", &["\u{a0} → "]),
        (&["v=spf1 ~all -all ?all +all"], "v=spf1 ~all", &["dead -all", "dead ?all", "dead +all"]),
        (
            &["v=spf1 -all,ip4:192.0.2.5"],
            "v=spf1 ip4:192.0.2.5 -all",
            &["-all,ip4:192.0.2.5 → -all ip4:192.0.2.5", "moved ip4:192.0.2.5"],
        ),
        (
            &["v=spf1 include:spf.protection.outlook.com.-all"],
            "v=spf1 include:spf.protection.outlook.com. -all",
            &["include:spf.protection.outlook.com.-all → include:spf.protection.outlook.com. -all"],
        ),
        (&["v=spf1 + mx - all"], "v=spf1 +mx -all", &["+ mx → +mx", "- all → -all"]),
        (&["v=spf1 mx - -all"], "v=spf1 mx -all", &["- -all → -all"]),
        (&["v=spf1"], "v=spf1 ~all", &["~all"]),
        (&["v=spf1 mx -all (Office 365)"], "v=spf1 mx ~all", &["unread (Office 365)", "softened"]),
        (&["v=spf1 mx all="], "v=spf1 mx ~all", &["all= → all", "+all"]),
        // Strings joined without a space.
        (&["v=spf1 a mxip4:192.0.2.1 -all"], "v=spf1 a mx ip4:192.0.2.1 -all", &["mxip4:192.0.2.1 → mx ip4:192.0.2.1"]),
        (&["v=spf1 mxa -all"], "v=spf1 mx a -all", &["mxa → mx a"]),
        (&["v=spf1 amx ~all"], "v=spf1 a mx ~all", &["amx → a mx"]),
        (
            &["v=spf1 include:_spf.google.coma:mail.x.dk -all"],
            "v=spf1 include:_spf.google.com a:mail.x.dk -all",
            &["include:_spf.google.coma:mail.x.dk → include:_spf.google.com a:mail.x.dk"],
        ),
        (
            &["v=spf1 ip4:192.0.2.1ip6:2001:db8::1include:a.dk-all"],
            "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 include:a.dk -all",
            &["ip4:192.0.2.1ip6:2001:db8::1include:a.dk-all → ip4:192.0.2.1 ip6:2001:db8::1 include:a.dk -all"],
        ),
        (
            &["v=spf1 amxip4:192.0.2.1include:a.dk~all"],
            "v=spf1 a mx ip4:192.0.2.1 include:a.dk ~all",
            &["amxip4:192.0.2.1include:a.dk~all → a mx ip4:192.0.2.1 include:a.dk ~all"],
        ),
        (
            &["v=spf1amxip4:192.0.2.1-all"],
            "v=spf1 a mx ip4:192.0.2.1 -all",
            &["begun", "v=spf1amxip4:192.0.2.1-all → a mx ip4:192.0.2.1 -all"],
        ),
        (
            &["v=spf1 ip4:192.0.2.1/24mx -all"],
            "v=spf1 ip4:192.0.2.1/24 mx -all",
            &["ip4:192.0.2.1/24mx → ip4:192.0.2.1/24 mx"],
        ),
        (
            &["v=spf1 ip6:2001:db8::/32-all"],
            "v=spf1 ip6:2001:db8::/32 -all",
            &["ip6:2001:db8::/32-all → ip6:2001:db8::/32 -all"],
        ),
        (&["v=spf1 mx/24-all"], "v=spf1 mx/24 -all", &["mx/24-all → mx/24 -all"]),
        // Chat programs, wikis and JSON.
        (
            &["v=spf1 include:[spf.a.dk](http://spf.a.dk) -all"],
            "v=spf1 include:spf.a.dk -all",
            &["include:[spf.a.dk](http://spf.a.dk) → include:spf.a.dk"],
        ),
        (
            &["v=spf1 include:<http://spf.a.dk|spf.a.dk> mx -all"],
            "v=spf1 include:spf.a.dk mx -all",
            &["include:<http://spf.a.dk|spf.a.dk> → include:spf.a.dk"],
        ),
        (
            &["v=spf1 [include:spf.a.dk](https://spf.a.dk/) -all"],
            "v=spf1 include:spf.a.dk -all",
            &["[include:spf.a.dk](https://spf.a.dk/) → include:spf.a.dk"],
        ),
        (
            &["v=spf1 include:<http://spf.a.dk> -all"],
            "v=spf1 include:spf.a.dk -all",
            &["include:<http://spf.a.dk> → include:spf.a.dk"],
        ),
        (&["**v=spf1 mx -all**"], "v=spf1 mx -all", &["begun", "-all** → -all"]),
        (&["`v=spf1 mx -all`"], "v=spf1 mx -all", &["begun", "-all` → -all"]),
        (&["> v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["- v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["1. v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (
            &["{\"type\":\"TXT\",\"name\":\"@\",\"value\":\"v=spf1 mx -all\"}"],
            "v=spf1 mx -all",
            &["begun", "-all\"} → -all"],
        ),
        (&["Value = \"v=spf1 mx -all\""], "v=spf1 mx -all", &["begun", "-all\" → -all"]),
        (&["'v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["test.dk. 300 IN SPF \"v=spf1 mx -all\""], "v=spf1 mx -all", &["begun", "-all\" → -all"]),
        (&["v=spf1\\ mx\\ -all"], "v=spf1 mx -all", &["begun", "mx\\ → mx"]),
        (&["v=spf1 \"v=spf1 mx -all\""], "v=spf1 mx -all", &["\"v=spf1 → ", "-all\" → -all"]),
        (
            &["v=spf1+include%3Aa.dk+~all"],
            "v=spf1 +include:a.dk ~all",
            &["begun", "v=spf1+include%3Aa.dk+~all → +include:a.dk ~all"],
        ),
        (&["v=spf1 mx -all\\010"], "v=spf1 mx -all", &["-all\\010 → -all"]),
        // Text that was stored as another encoding.
        (
            &["v=spf1 include:a.dk\u{c2}\u{a0}include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk\u{c2}\u{a0}include:b.dk → include:a.dk include:b.dk"],
        ),
        (&["\u{ef}\u{bb}\u{bf}v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1 mx \u{e2}\u{20ac}\u{201c}all"], "v=spf1 mx -all", &["\u{e2}\u{20ac}\u{201c}all → -all"]),
        (
            &["\u{e2}\u{20ac}\u{153}v=spf1 mx -all\u{e2}\u{20ac}\u{9d}"],
            "v=spf1 mx -all",
            &["begun", "-all\u{e2}\u{20ac}\u{9d} → -all"],
        ),
        (
            &["v=spf1 include:a.dk\u{fffd}include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk\u{fffd}include:b.dk → include:a.dk include:b.dk"],
        ),
        (&["v=spf1 mx \u{fffd}all"], "v=spf1 mx ~all", &["\u{fffd}all → ~all"]),
        (
            &["v=spf1 include:bl\u{c3}\u{a5}b\u{c3}\u{a6}r.dk -all"],
            "v=spf1 include:xn--blbr-roah.dk -all",
            &["include:bl\u{c3}\u{a5}b\u{c3}\u{a6}r.dk → include:xn--blbr-roah.dk"],
        ),
        (
            &["v=spf1 include:spf.blåbærsyltetøj.dk -all"],
            "v=spf1 include:spf.xn--blbrsyltetj-y8ao3x.dk -all",
            &["include:spf.blåbærsyltetøj.dk → include:spf.xn--blbrsyltetj-y8ao3x.dk"],
        ),
        // Addresses.
        (
            &["v=spf1 ip4:192.0.2.0 / 24 -all"],
            "v=spf1 ip4:192.0.2.0/24 -all",
            &["ip4:192.0.2.0 / 24 → ip4:192.0.2.0/24"],
        ),
        (&["v=spf1 ip4:::ffff:192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:::ffff:192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 ip4:192.0.2.1/32. -all"], "v=spf1 ip4:192.0.2.1/32 -all", &["ip4:192.0.2.1/32. → ip4:192.0.2.1/32"]),
        (&["v=spf1 ip4:192.0.*.* -all"], "v=spf1 ip4:192.0.0.0/16 -all", &["ip4:192.0.*.* → ip4:192.0.0.0/16"]),
        (&["v=spf1 ip4:192.0.2.0/0.0.0.255 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.0/0.0.0.255", "softened"]),
        (&["v=spf1 ip4:192.0.2. -all"], "v=spf1 ~all", &["unread ip4:192.0.2.", "softened"]),
        (&["v=spf1 ip4:: 192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:: 192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 IP: 192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["IP: 192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 mx 192.0.2.1 -all"], "v=spf1 mx ip4:192.0.2.1 -all", &["192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 ip4:\"192.0.2.1\" -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:\"192.0.2.1\" → ip4:192.0.2.1"]),
        (&["v=spf1 ip4:(192.0.2.1) -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:(192.0.2.1) → ip4:192.0.2.1"]),
        (&["v=spf1 ptr:192.0.2.5 -all"], "v=spf1 ip4:192.0.2.5 -all", &["ptr:192.0.2.5 → ip4:192.0.2.5"]),
        (&["v=spf1 a:192.0.2.5/24 -all"], "v=spf1 ip4:192.0.2.5/24 -all", &["a:192.0.2.5/24 → ip4:192.0.2.5/24"]),
        (
            &["v=spf1 ip6:2001:db8::1/64; -all"],
            "v=spf1 ip6:2001:db8::1/64 -all",
            &["ip6:2001:db8::1/64; → ip6:2001:db8::1/64"],
        ),
        (&["v=spf1 ip4:192.0.2.1all"], "v=spf1 ?all", &["unread ip4:192.0.2.1all"]),
        (&["v=spf1 ip4:192.0.2.1 ip4:192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &[]),
        (&["v=spf1 a:/24 mx:/25 -all"], "v=spf1 a/24 mx/25 -all", &["a:/24 → a/24", "mx:/25 → mx/25"]),
        (&["v=spf1 mx /24 -all"], "v=spf1 mx/24 -all", &["mx /24 → mx/24"]),
        (&["v=spf1 -ip4:198.51.100.7 mx -all"], "v=spf1 -ip4:198.51.100.7 mx -all", &[]),
        (
            &["v=spf1 ip4:192.0.2.1,192.0.2.2/31,mail.test.dk -all"],
            "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2/31 ~all",
            &[
                "ip4:192.0.2.1,192.0.2.2/31,mail.test.dk → ip4:192.0.2.1 ip4:192.0.2.2/31",
                "unread mail.test.dk",
                "softened",
            ],
        ),
        // Names, macros and modifiers.
        (&["v=spf1 redirect=192.0.2.5"], "v=spf1 ?all", &["unread redirect=192.0.2.5"]),
        (&["v=spf1 redirect="], "v=spf1 ?all", &["unread redirect="]),
        (&["v=spf1 a:.test.dk -all"], "v=spf1 a:test.dk -all", &["a:.test.dk → a:test.dk"]),
        (&["v=spf1 exp=explain._spf.%{d} mx -all"], "v=spf1 mx -all exp=explain._spf.%{d}", &[]),
        (
            &["v=spf1 exp:explain.a.dk mx -all"],
            "v=spf1 mx -all exp=explain.a.dk",
            &["exp:explain.a.dk → exp=explain.a.dk"],
        ),
        (&["v=spf1 include:a.dk -all exp="], "v=spf1 include:a.dk -all", &["exp= → "]),
        (
            &["v=spf1 include:a.dk -all exp=http://a.dk/why.html"],
            "v=spf1 include:a.dk -all",
            &["exp=http://a.dk/why.html → "],
        ),
        (
            &["v=spf1 exists:%{i}.%{h}._ehlo.%{d} include:%{d2}._spf.a.dk -all"],
            "v=spf1 exists:%{i}.%{h}._ehlo.%{d} include:%{d2}._spf.a.dk -all",
            &[],
        ),
        (&["v=spf1 exists:%(i).spf.a.dk -all"], "v=spf1 ~all", &["unread exists:%(i).spf.a.dk", "softened"]),
        (&["v=spf1 exists:%{i }.spf.a.dk -all"], "v=spf1 ~all", &["unread exists:%{i }.spf.a.dk", "softened"]),
        (&["v=spf1 exists:%{i.spf.a.dk -all"], "v=spf1 ~all", &["unread exists:%{i.spf.a.dk", "softened"]),
        (&["v=spf1 include:{domain}.spf.a.dk -all"], "v=spf1 ~all", &["unread include:{domain}.spf.a.dk", "softened"]),
        (&["v=spf1 exists:%{ir}.%{v}._spf.%{D} ~all"], "v=spf1 exists:%{ir}.%{v}._spf.%{D} ~all", &[]),
        (&["V=SPF1 INCLUDE:SPF.PROTECTION.OUTLOOK.COM -ALL"], "v=spf1 INCLUDE:SPF.PROTECTION.OUTLOOK.COM -all", &[]),
        (&["v=spf1 includes=spf.a.dk -all"], "v=spf1 include:spf.a.dk -all", &["includes=spf.a.dk → include:spf.a.dk"]),
        (
            &["v=spf1 include:\"spf.a.dk\" -all"],
            "v=spf1 include:spf.a.dk -all",
            &["include:\"spf.a.dk\" → include:spf.a.dk"],
        ),
        (&["v=spf1 b:b.dk -all"], "v=spf1 ~all", &["unread b:b.dk", "softened"]),
        (
            &["v=spf1 mx google-site-verification:abc123 ~all"],
            "v=spf1 mx ~all",
            &["unread google-site-verification:abc123"],
        ),
        (&["v=spf1 mx -all v=DKIM1; k=rsa; p=MIGfMA0"], "v=spf1 mx -all", &["v=DKIM1; k=rsa; p=MIGfMA0 → "]),
        (
            &["v=spf1 include:spf.protection.outlook.com,include:_spf.salesforce.com , ip4:192.0.2.7 ,-all"],
            "v=spf1 include:spf.protection.outlook.com include:_spf.salesforce.com ip4:192.0.2.7 -all",
            &[
                "include:spf.protection.outlook.com,include:_spf.salesforce.com → include:spf.protection.outlook.com include:_spf.salesforce.com",
                ", → ",
                ",-all → -all",
            ],
        ),
        (
            &["v=spf1 include:a.dk.include:b.dk -all"],
            "v=spf1 include:a.dk. include:b.dk -all",
            &["include:a.dk.include:b.dk → include:a.dk. include:b.dk"],
        ),
        (
            &["v=spf1 include:a.dk:include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk:include:b.dk → include:a.dk include:b.dk"],
        ),
        (
            &["v=spf1 include:a.dk-include:b.dk -all"],
            "v=spf1 include:a.dk include:b.dk -all",
            &["include:a.dk-include:b.dk → include:a.dk include:b.dk"],
        ),
        (&["v=spf1 include:a.dk -include:b.dk ~all"], "v=spf1 include:a.dk -include:b.dk ~all", &[]),
        (&["v=spf1 mx:mail.test.dk. a:mail.test.dk./24 -all"], "v=spf1 mx:mail.test.dk. a:mail.test.dk./24 -all", &[]),
        (&["v=spf1 a:mail.test.dk:25 mx -all"], "v=spf1 mx ~all", &["unread a:mail.test.dk:25", "softened"]),
        (
            &["v=spf1 a:https://www.test.dk/ mx:http://test.dk -all"],
            "v=spf1 a:www.test.dk mx:test.dk -all",
            &["a:https://www.test.dk/ → a:www.test.dk", "mx:http://test.dk → mx:test.dk"],
        ),
        (
            &["v=spf1 include:spf.a.dk?all"],
            "v=spf1 include:spf.a.dk ?all",
            &["include:spf.a.dk?all → include:spf.a.dk ?all"],
        ),
        (&["v=spf1 mx \u{2013} all"], "v=spf1 mx -all", &["\u{2013} all → -all"]),
        (
            &["v=spf1,mx,include:a.dk,-all"],
            "v=spf1 mx include:a.dk -all",
            &["begun", "v=spf1,mx,include:a.dk,-all → mx include:a.dk -all"],
        ),
        (
            &["v=spf1\nmx\ninclude:a.dk\n-all"],
            "v=spf1 mx include:a.dk -all",
            &["begun", "v=spf1\nmx\ninclude:a.dk\n-all → mx include:a.dk -all"],
        ),
    ] {
        differences.compare(published, &proposed(published), &(record.to_owned(), owned(notes)));
    }
    differences.assert_none();
}
