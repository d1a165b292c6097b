//! Further key records: those of public reports, and what panels, chat programs and wrong encodings made of records.

use super::*;

#[test]
fn what_was_reported_of_records_is_named_too() {
    use Flaw::Tags;
    use Signs::{Ed25519, Rsa};
    let key = SigningKey::generate_rsa(2048).unwrap();
    let second = SigningKey::from_ed25519_seed(&[7; 32]).unwrap();
    let p = key.public_key_base64().unwrap();
    let q = second.public_key_base64().unwrap();
    let old = SigningKey::generate_rsa(2048).unwrap().public_key_base64().unwrap();
    let small = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    let (first, rest) = p.split_at(220);
    let spki = key.public_key().unwrap();
    let bare_rsa = STANDARD.encode(&spki[24..]);
    let good = format!("v=DKIM1; k=rsa; p={p}");
    let mut table = Table { rsa: key, ed25519: second, differences: Differences::default() };
    let semicolon = |name: &str| Tags(Mistake::NoSemicolon(name.to_owned()));
    let twice = |name: &str| Tags(Mistake::Twice(name.to_owned()));
    let no_tag = |text: &str| Tags(Mistake::NoTag(text.to_owned()));
    let quoting = |mark| Tags(Mistake::Quoting(mark));
    let character = |c| Tags(Mistake::Character(c));
    let zone_line = || Tags(Mistake::ZoneLine);

    // Real records of reports.
    table.says(Rsa, &format!("v=DKIM1; p=DKIM1; p={p}"), &[twice("p"), Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; h=rsa-sha256; k=rsa; p={p}"), &[Flaw::Hash("rsa-sha256".to_owned())]);
    table.says(Rsa, &format!("k=rsa; t=s; p={p}"), &[Flaw::NoVersion]);
    table.says(Rsa, &format!("v=DKIM1;t=s;p={p}"), &[]);
    table.says(Rsa, &format!("v=DKIM1; h=sha256; k=rsa; s=email; p={first} {rest}"), &[]);
    table.says(Rsa, &format!("postbud1._domainkey IN TXT ( \"v=DKIM1; h=sha256; k=rsa; \" \"p={first}\" \"{rest}\" ) ; ----- DKIM key postbud1 for test.dk"), &[zone_line()]);
    table.says(Rsa, &format!("postbud1._domainkey\tIN\tTXT\t( \"v=DKIM1; h=sha256; k=rsa; \"\n\t  \"p={first}\"\n\t  \"{rest}\" )  ; ----- DKIM key postbud1 for test.dk"), &[zone_line()]);
    table.says(Rsa, &format!("\"v=DKIM1; h=sha256; k=rsa; \" \"p={first}\" \"{rest}\""), &[quoting('"')]);
    table.says(Rsa, &format!("v=DKIM1\\; h=sha256; k=rsa\\; p={first}\" \"{rest}"), &[quoting('\\')]);
    table.says(Rsa, &format!("p={bare_rsa}"), &[Flaw::NoVersion]);
    table.says(Rsa, &format!("-----BEGIN RSA PUBLIC KEY-----\n{bare_rsa}\n-----END RSA PUBLIC KEY-----"), &[Flaw::Pem]);
    table.says(Rsa, &good[..255], &[Flaw::Truncated]);
    table.says_other(&format!("v=DKIM1; k=rsa; p={small}"), &[Flaw::Weak(1024)]);
    table.says_other(&format!("v=DKIM1; k=rsa; p={old}"), &[]);

    // Tags.
    table.says(Rsa, &format!("v=DKIM1; t=n; p={p}"), &[]);
    table.says(Rsa, &format!("v=DKIM1; h=sha256:sha1; p={p}"), &[]);
    table.says(Rsa, &format!("v=DKIM1; h=; p={p}"), &[Flaw::Hash(String::new())]);
    table.says(Rsa, &format!("v=DKIM1; h=*; p={p}"), &[Flaw::Hash("*".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; s=; p={p}"), &[Flaw::Service(String::new())]);
    table.says(Rsa, &format!("v=DKIM1; s=e-mail; p={p}"), &[Flaw::Service("e-mail".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; n=a;b; p={p}"), &[no_tag("b")]);
    table.says(Rsa, &format!("v=DKIM1; g=; k=rsa; p={p}"), &[]);
    table.says(Rsa, &format!("v=DKIM1; a=rsa-sha256; k=rsa; p={p}"), &[]);
    table.says(Rsa, &format!("v=DKIM1; t=Y; p={p}"), &[Flaw::Testing]);
    table.says(Rsa, &format!("v=DKIM1;p={p};k=rsa;"), &[]);
    table.says(Rsa, &format!("k=rsa; v=DKIM1; p={p}"), &[Flaw::VersionNotFirst]);
    table.says(Rsa, &format!("v= DKIM1 ; p = {p}"), &[]);
    table.says(Rsa, &format!("v=\"DKIM1\"; k=\"rsa\"; p=\"{p}\""), &[quoting('"')]);
    table.says(
        Rsa,
        &format!("V=DKIM1; K=rsa; P={p}"),
        &[Flaw::Case("V".to_owned()), Flaw::Case("K".to_owned()), Flaw::Case("P".to_owned())],
    );
    table.says(Rsa, &format!("v=DKIM1; k=rsa; t=y; t=s; p={p}"), &[twice("t"), Flaw::Testing]);
    table.says(Rsa, &format!("v=DKIM1; k=; p={p}"), &[Flaw::KeyType(String::new())]);
    table.says(Ed25519, &format!("v=DKIM1; k=eddsa; p={q}"), &[Flaw::KeyType("eddsa".to_owned())]);
    table.says(Ed25519, &format!("v=DKIM1; k=ed25519; h=sha256; p={q}"), &[]);
    table.says(Ed25519, &format!("v=DKIM1; k=ed25519; p={}", q.trim_end_matches('=')), &[Flaw::NoPadding]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p}; p="), &[twice("p")]);

    // The key.
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\\\n{rest}"), &[quoting('\\')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\\\r\n {rest}"), &[quoting('\\')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\\032{rest}"), &[quoting('\\')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}<wbr>{rest}"), &[Flaw::NotBase64('<')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}&#8203;{rest}"), &[no_tag(&rest[..40]), Flaw::NotBase64('&')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}) ({rest}"), &[Flaw::NotBase64(')')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p}=="), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={rest}{first}"), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}…"), &[Flaw::NotBase64('…')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}..."), &[Flaw::NotBase64('.')]);
    table.says(Rsa, "v=DKIM1; k=rsa; p=null", &[Flaw::Truncated]);
    table.says(Rsa, "v=DKIM1; k=rsa; p=none", &[Flaw::Truncated]);
    table.says(Rsa, "v=DKIM1; k=rsa", &[Flaw::NoKey]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}{rest}v=DKIM1"), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p} IN TXT"), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=\n{p}\n"), &[]);

    // What was copied with it, and other encodings.
    table.says(Rsa, &format!("**{good}**"), &[quoting('*')]);
    table.says(Rsa, &format!("> {good}"), &[zone_line()]);
    table.says(Rsa, &format!("\u{ef}\u{bb}\u{bf}{good}"), &[character('\u{ef}')]);
    table.says(Rsa, &format!("v=DKIM1;\u{c2}\u{a0}k=rsa; p={p}"), &[character('\u{c2}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\u{c2}\u{a0}{rest}"), &[character('\u{c2}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p}\u{e2}\u{20ac}\u{9d}"), &[character('\u{e2}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\u{fffd}{rest}"), &[character('\u{fffd}')]);
    table.says(Rsa, &format!("v=DKIM1;\\ k=rsa;\\ p={p}"), &[quoting('\\')]);
    table.says(Rsa, &format!("\\\"v=DKIM1; k=rsa; p={p}\\\""), &[quoting('\\')]);
    table.says(
        Rsa,
        &format!("Type: TXT Host: postbud1._domainkey Value: {good} TTL: 3600"),
        &[zone_line(), Flaw::NotBase64(':')],
    );
    table.says(Rsa, &format!("v=DKIM1 - k=rsa - p={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1+k=rsa+p={p}"), &[semicolon("k"), semicolon("p")]);

    // Something else at the host of the key.
    let other = |text: &str| Flaw::NoRecord(text.to_owned());
    table.says(Rsa, "dkim.mcsv.net", &[other("dkim.mcsv.net")]);
    table.says(Rsa, "postbud-a.test-dk.dkim.webcrm.com.", &[other("postbud-a.test-dk.dkim.webcrm.com.")]);
    table.says(
        Rsa,
        "v=1; a=rsa-sha256; d=test.dk; s=postbud1; bh=x; b=y",
        &[other("v=1; a=rsa-sha256; d=test.dk; s=postbud1; bh=x; b=y")],
    );
    table.says(Rsa, "v=spf1 include:a.dk -all", &[other("v=spf1 include:a.dk -all")]);
    table.says(Rsa, "", &[other("")]);
    let ssh = format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{} me@pc", &p[..100]);
    table.says(Rsa, &ssh, &[other(&format!("{}…", &ssh[..60]))]);
    table.differences.assert_none();
}
