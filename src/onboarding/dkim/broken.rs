//! Key records as customers, panels and copying break them, each with what the check says of it.

mod reported;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::dkim::record::Flaw;
use crate::dkim::tags::Mistake;
use crate::dkim::{KeyType, Selector, SigningKey};
use crate::onboarding::finding::{Check, DkimFlaw, Finding, Item, Need, Severity};
use crate::onboarding::test_table::{Differences, assert_worded};
use crate::resolver::FixedZone;
use crate::smtp::Domain;

/// The beginning of a SubjectPublicKeyInfo with an Ed25519 key (RFC 8410 §4).
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key that signs.
enum Signs {
    Rsa,
    Ed25519,
}

/// What the check finds at the key's host.
#[derive(Debug, PartialEq)]
struct Found {
    severity: Severity,
    flaws: Vec<Flaw>,
    is_other_key: bool,
}

struct Table {
    rsa: SigningKey,
    ed25519: SigningKey,
    differences: Differences,
}

impl Table {
    fn found(&self, key: &SigningKey, text: &str) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (domain, selector) = (Domain::parse("test.dk").unwrap(), Selector::parse("postbud1").unwrap());
        let zone = FixedZone::new();
        zone.add_txt("postbud1._domainkey.test.dk", text);
        let mut check = Check::new(Item::Dkim, Need::Required);
        runtime.block_on(super::published::one(&mut check, &zone, &domain, &selector, key));
        let severity = check.severity();
        let mut found = Found { severity, flaws: Vec::new(), is_other_key: false };
        for finding in check.findings {
            assert_worded(&finding);
            match finding {
                Finding::DkimFlaw { flaw: DkimFlaw(flaw), .. } => found.flaws.push(flaw),
                Finding::DkimMismatch { .. } => found.is_other_key = true,
                Finding::DkimGood { .. } => assert!(check.expected.is_empty() || !found.flaws.is_empty()),
                other => self.fail(text, &format!("{other:?}")),
            }
        }
        // Whoever hears of a mistake is shown the right record.
        assert!(severity < Severity::Warning || check.expected[0].contains("TXT \"v=DKIM1; k="), "{text}");
        found
    }

    fn fail(&self, text: &str, why: &str) {
        panic!("{text}: {why}");
    }

    /// Checks that a record of the key that signs has these flaws, and no other.
    fn says(&mut self, signs: Signs, text: &str, flaws: &[Flaw]) {
        self.compare(signs, text, flaws, false);
    }

    /// Checks that the record is that of another key as well.
    fn says_other(&mut self, text: &str, flaws: &[Flaw]) {
        self.compare(Signs::Rsa, text, flaws, true);
    }

    fn compare(&mut self, signs: Signs, text: &str, flaws: &[Flaw], is_other_key: bool) {
        let key = match signs {
            Signs::Rsa => &self.rsa,
            Signs::Ed25519 => &self.ed25519,
        };
        let severity = match flaws.iter().any(Flaw::is_fatal) || is_other_key {
            true => Severity::Fault,
            false if flaws.contains(&Flaw::Testing) => Severity::Warning,
            false if flaws.contains(&Flaw::NoVersion) => Severity::Hint,
            false => Severity::Good,
        };
        let found = self.found(key, text);
        let mut expected = Found { severity, flaws: flaws.to_vec(), is_other_key };
        expected.flaws.sort_by_key(|flaw| !flaw.is_fatal());
        self.differences.compare(text, &found, &expected);
    }
}

#[test]
fn each_broken_record_is_named_for_what_broke_it() {
    use Flaw::Tags;
    use Signs::{Ed25519, Rsa};
    let key = SigningKey::generate_rsa(2048).unwrap();
    let second = SigningKey::from_ed25519_seed(&[7; 32]).unwrap();
    let p = key.public_key_base64().unwrap();
    let q = second.public_key_base64().unwrap();
    let wrapped = STANDARD.encode([&ED25519_INFO[..], &second.public_key().unwrap()].concat());
    let old = SigningKey::generate_rsa(2048).unwrap().public_key_base64().unwrap();
    let lines = p.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n");
    let (first, rest) = p.split_at(220);
    let good = format!("v=DKIM1; k=rsa; p={p}");
    let private = key.to_pem().unwrap();
    let private_base64: String = private.lines().filter(|line| !line.starts_with('-')).collect();
    let mut table = Table { rsa: key, ed25519: second, differences: Differences::default() };

    let bare = |missing: &str| Flaw::Bare(missing.to_owned());
    let kind = |written: &str| Flaw::KeyType(written.to_owned());
    let semicolon = |name: &str| Tags(Mistake::NoSemicolon(name.to_owned()));
    let sign = |name: &str| Tags(Mistake::NoSign(name.to_owned()));
    let markup = |written: &str| Tags(Mistake::Markup(written.to_owned()));
    let twice = |name: &str| Tags(Mistake::Twice(name.to_owned()));
    let quoting = |mark| Tags(Mistake::Quoting(mark));
    let character = |c| Tags(Mistake::Character(c));
    let zone_line = || Tags(Mistake::ZoneLine);

    // The key without the record around it.
    for text in [
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"),
        format!("-----BEGIN PUBLIC KEY-----{p}-----END PUBLIC KEY-----"),
        format!("–––––BEGIN PUBLIC KEY––––– {p} –––––END PUBLIC KEY–––––"),
        format!("v=DKIM1; k=rsa; p=-----BEGIN PUBLIC KEY----- {p} -----END PUBLIC KEY-----"),
        format!("p=-----BEGIN PUBLIC KEY-----{lines}"),
        format!("v=DKIM1; k=rsa; -----BEGIN PUBLIC KEY-----{p}-----END PUBLIC KEY-----"),
    ] {
        table.says(Rsa, &text, &[Flaw::Pem]);
    }
    table.says(Rsa, &p, &[bare("v=DKIM1; k=rsa; p=")]);
    table.says(Rsa, &lines, &[bare("v=DKIM1; k=rsa; p=")]);
    table.says(Rsa, &format!("\"{p}\""), &[bare("v=DKIM1; k=rsa; p="), quoting('"')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; {p}"), &[bare("p=")]);
    table.says(Rsa, &format!("k=rsa; {p}"), &[bare("p="), Flaw::NoVersion]);
    table.says(Rsa, &format!("v=DKIM1 k=rsa {p}"), &[bare("p="), semicolon("k")]);
    table.says(Ed25519, &q, &[bare("v=DKIM1; k=ed25519; p=")]);
    table.says(Ed25519, &format!("v=DKIM1; k=ed25519; {q}"), &[bare("p=")]);
    table.says(Rsa, &p[..200], &[bare("v=DKIM1; k=rsa; p="), Flaw::Truncated]);
    table.says_other(&old, &[bare("v=DKIM1; k=rsa; p=")]);
    table.says(Rsa, &private, &[Flaw::Pem, Flaw::Private]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={private_base64}"), &[Flaw::Private]);

    // The type of the key.
    for written in ["RSA", "rsa:", "rsa.", "Rsa", "rsa2048", "rsa-sha256", "sha256", "rsa,", "<rsa>"] {
        table.says(Rsa, &format!("v=DKIM1; k={written}; p={p}"), &[kind(written)]);
    }
    table.says(Rsa, &format!("v=DKIM1; k=ed25519; p={p}"), &[Flaw::OtherKeyType(KeyType::Rsa)]);
    table.says(Ed25519, &format!("v=DKIM1; k=Ed25519; p={q}"), &[kind("Ed25519")]);
    table.says(Ed25519, &format!("v=DKIM1; k=rsa; p={q}"), &[Flaw::OtherKeyType(KeyType::Ed25519)]);
    table.says(Ed25519, &format!("v=DKIM1; p={q}"), &[Flaw::OtherKeyType(KeyType::Ed25519)]);
    table.says(Ed25519, &format!("v=DKIM1; k=ed25519; p={wrapped}"), &[Flaw::Wrapped]);
    table.says_other(&format!("v=DKIM1; k=RSA; p={old}"), &[kind("RSA")]);

    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=BEGIN PUBLIC KEY {p} END PUBLIC KEY"), &[Flaw::Pem]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; key={p}"), &[Flaw::OtherName("key".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; publickey={p}"), &[Flaw::OtherName("publickey".to_owned())]);

    // Signs between and around the tags.
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=p={p}"), &[twice("p")]);
    table.says(Rsa, &format!("v=DKIM1/k=rsa/p={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=<{p}>"), &[quoting('<')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}' '{rest}"), &[quoting('\'')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p:{p}"), &[sign("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p {p}"), &[sign("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=={p}"), &[sign("p")]);
    table.says(Rsa, &format!("v: DKIM1; k: rsa; p: {p}"), &[sign("v"), sign("k"), sign("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=; {p}"), &[Tags(Mistake::EmptyTag)]);
    table.says(Rsa, &format!("v=DKIM1k=rsap={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1: k=rsa: p={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1 & k=rsa & p={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1,k=rsa,p={p}"), &[semicolon("k"), semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1. k=rsa; p={p}"), &[semicolon("k")]);
    table.says(Rsa, &format!("({good})"), &[quoting('(')]);
    table.says(Rsa, &format!("'{good}'"), &[quoting('\'')]);
    table.says(Rsa, &format!("`{good}`"), &[quoting('`')]);
    table.says(Rsa, &format!("\"v=DKIM1; k=rsa; p={first}\" \"{rest}\""), &[quoting('"')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\"\"{rest}"), &[quoting('"')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\\n{rest}"), &[quoting('\\')]);
    table.says(Rsa, &format!("v=DKIM1\\059 k=rsa\\059 p={p}"), &[quoting('\\')]);

    // What was copied with the record.
    for text in [
        format!("postbud1._domainkey 3600 IN TXT ( \"v=DKIM1; k=rsa; \" \"p={first}\" \"{rest}\" )"),
        format!("postbud1._domainkey.test.dk=v=DKIM1; k=rsa; p={p}"),
        format!("TXT = v=DKIM1; k=rsa; p={p}"),
        format!("Value: v=DKIM1; k=rsa; p={p}"),
        format!("postbud1._domainkey.test.dk text = \"v=DKIM1; k=rsa; p={p}\""),
    ] {
        table.says(Rsa, &text, &[zone_line()]);
    }
    table.says(Rsa, &format!("v=DKIM1&#59; k=rsa&#59; p={p}"), &[markup("&#59;")]);
    table.says(Rsa, &format!("v=DKIM1;&nbsp;k=rsa;&nbsp;p={p}"), &[markup("&nbsp;")]);
    table.says(Rsa, &format!("<p>{good}</p>"), &[markup("<p>")]);
    table.says(Rsa, &format!("v=DKIM1%3B%20k=rsa%3B%20p={p}"), &[markup("%3B")]);
    table.says(Rsa, &format!("v=DKIM1%3B+k%3Drsa%3B+p%3D{p}"), &[markup("%3B")]);
    table.says(Rsa, &format!("v=DKIM1&semi; k&equals;rsa&semi; p&equals;{p}"), &[markup("&semi;")]);
    table.says(Rsa, &format!("v=3DDKIM1; k=3Drsa; p=3D{p}"), &[markup("=3D")]);
    table.says(Rsa, &good.replace(" p=", " \u{440}="), &[character('\u{440}')]);
    table.says(Rsa, &good.replace("DKIM1", "D\u{41a}IM1"), &[character('\u{41a}')]);
    table.says(Rsa, &format!("v=DKIM1；k=rsa；p={p}"), &[character('；')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\u{a0}{rest}"), &[character('\u{a0}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\u{200b}{rest}"), &[character('\u{200b}')]);
    table.says(Rsa, &format!("“v=DKIM1; k=rsa; p={p}”"), &[quoting('“')]);

    // The version, the key itself, and other tags.
    table.says(Rsa, &format!("DKIM1; k=rsa; p={p}"), &[Tags(Mistake::NoTag("DKIM1".to_owned())), Flaw::NoVersion]);
    table.says(Rsa, &format!("v=DKIM; k=rsa; p={p}"), &[Flaw::Version("DKIM".to_owned())]);
    table.says(Rsa, &format!("v=DMARC1; k=rsa; p={p}"), &[Flaw::Version("DMARC1".to_owned())]);
    table.says(Rsa, &format!("V=DKIM1; k=rsa; p={p}"), &[Flaw::Case("V".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={}", &p[1..]), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p}{p}"), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={}", &p[..237]), &[Flaw::Truncated]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p}."), &[Flaw::NotBase64('.')]);
    table.says(Rsa, "v=DKIM1; k=rsa; p=<insert key here>", &[Flaw::NotBase64('<')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; s=mail; p={p}"), &[Flaw::Service("mail".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; h=sha-256; p={p}"), &[Flaw::Hash("sha-256".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; t=y; p={p}"), &[Flaw::Testing]);
    let merged = [semicolon("v"), twice("v"), twice("k"), twice("p")];
    table.says_other(&format!("v=DKIM1; k=rsa; p={old} v=DKIM1; k=rsa; p={p}"), &merged);

    // Others of the same kinds.
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\u{3000}{rest}"), &[character('\u{3000}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa\u{a0}; p={p}"), &[character('\u{a0}')]);
    table.says(Rsa, &format!("v=DKIM1;\u{2003}k=rsa; p={p}"), &[character('\u{2003}')]);
    table.says(Rsa, &format!("\u{200b}{good}"), &[character('\u{200b}')]);
    table.says(Rsa, &format!("{good}\u{feff}"), &[character('\u{feff}')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p=“{p}”"), &[quoting('“')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p='{p}'"), &[quoting('\'')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={first}\" \"{rest}"), &[quoting('"')]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa;; p={p}"), &[Tags(Mistake::EmptyTag)]);
    table.says(Rsa, &format!("v=DKIM1; ; k=rsa; p={p}"), &[Tags(Mistake::EmptyTag)]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa, p={p}"), &[semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa p={p}"), &[semicolon("p")]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={p} ; s=email t=s"), &[semicolon("t")]);
    table.says(Rsa, &format!("v=DKIM 1; k=rsa; p={p}"), &[Flaw::Version("DKIM 1".to_owned())]);
    table.says(Rsa, &format!("v=Dkim1; k=rsa; p={p}"), &[Flaw::Version("Dkim1".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1\\; k=rsa\\; p={p}"), &[quoting('\\')]);
    table.says(Rsa, &format!("\"{good}"), &[quoting('"')]);
    table.says(Rsa, &format!("IN TXT {good}"), &[zone_line()]);
    table.says(Rsa, &format!("postbud1._domainkey.test.dk. TXT \"v=DKIM1; k=rsa; p={p}\""), &[zone_line()]);
    table.says(Rsa, &format!("Name: postbud1._domainkey Value: {good}"), &[zone_line()]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; t=y:s; p={p}"), &[Flaw::Testing]);
    table.says(Rsa, "v=DKIM1; k=rsa; p=revoked", &[Flaw::Truncated]);
    table.says(Rsa, "v=DKIM1; k=rsa; p=;", &[Flaw::Revoked]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p={}", p.replace('+', " ")), &[Flaw::Truncated]);
    table.says(
        Rsa,
        &format!("v=DKIM1; k=rsa; p={}", p.replace('+', "-").replace('/', "_")),
        &[Flaw::NotBase64(
            p.chars()
                .find_map(|c| match c {
                    '+' => Some('-'),
                    '/' => Some('_'),
                    _ => None,
                })
                .unwrap(),
        )],
    );
    table.says(Rsa, &format!("v=DKIM1; h=sha1; k=rsa; p={p}"), &[Flaw::Hash("sha1".to_owned())]);
    table.says(Rsa, &format!("v=DKIM1; k=rsa; p = {p} ;"), &[]);

    // Unusual and right.
    for text in [
        format!("v=DKIM1;k=rsa;p={lines};"),
        format!("v=DKIM1; n=the key of webCRM, RSA 2048 bits; p={p}"),
        format!("v=DKIM1; g=*; k=rsa; h=sha256; s=email; t=s; p={p}"),
        format!("v=DKIM1; k=rsa; p={first} {rest}"),
        format!("v=DKIM1; n=send key to webCRM; p={p}"),
    ] {
        table.says(Rsa, &text, &[]);
    }
    table.differences.assert_none();
}
