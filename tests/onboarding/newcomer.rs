//! As a new operator and a new customer would: from `customer add` to a verified domain and a changed key, with nothing but
//! what the commands print.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::contract;
use crate::knot::Knot;
use crate::skip::skip;

pub struct Site {
    pub dir: tempfile::TempDir,
    pub knot: Knot,
}

impl Site {
    pub fn new(zone: &str) -> Option<Site> {
        let knot = Knot::start(zone)?;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("config/customers")).unwrap();
        fs::create_dir_all(dir.path().join("config/secrets")).unwrap();
        fs::write(dir.path().join("config/secrets/mailjet"), "secret\n").unwrap();
        let config = format!(
            r#"
            hostname = "out.webcrm.com"
            state_dir = "../state"
            customers_dir = "customers"
            [[listener]]
            address = "127.0.0.1:0"
            tls = "off"
            auth = "off"
            allow_from = ["127.0.0.0/8"]
            [egress]
            address = "40.74.40.57"
            bind = "127.0.0.1"
            [mailjet.starter]
            api = "off"
            username = "key"
            password_file = "secrets/mailjet"
            [mailjet.trusted]
            api = "off"
            username = "key"
            password_file = "secrets/mailjet"
            requires = ["ownership", "spf", "dkim"]
            [events]
            log = "../state/events.jsonl"
            [dns]
            servers = ["{}"]
            [onboarding]
            rotation_overlap = "1s"
            http_timeout = "2s"
            "#,
            knot.address
        );
        fs::write(dir.path().join("config/postbud.toml"), config).unwrap();
        Some(Site { dir, knot })
    }

    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        self.run_in(&[], arguments, input)
    }

    /// The same with these variables in its environment.
    pub fn run_in(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postbud"))
            .envs(environment.iter().copied())
            .args(arguments)
            .args(["--config", "config/postbud.toml"])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses at once does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// A command that reads no configuration.
    fn run_as_is(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_postbud")).args(arguments).current_dir(self.dir.path()).output().unwrap()
    }

    /// Enters Mailjet's key for each domain in a customer's file, as its console shows it.
    pub fn enter_mailjets_keys(&self, customer: &str, domains: &[&str]) {
        let value = crate::rig::key_record(domains[0]).replace("v=DKIM1; ", "");
        let path = self.file(&format!("config/customers/{customer}.toml"));
        let tables = domains.iter().map(|domain| format!("\n[mailjet.\"{domain}\"]\ndkim = \"{value}\"\n"));
        fs::write(&path, fs::read_to_string(&path).unwrap() + &tables.collect::<String>()).unwrap();
    }

    pub fn file(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }
}

/// All events of a site's relay are checked against the contract.
impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            contract::check(&self.file("state/events.jsonl"));
        }
    }
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

pub const WORLD: &str = "spf.webcrm.com. 60 IN TXT \"v=spf1 ip4:40.74.40.57 -all\"\nbnc3.mailjet.com. 60 IN A 203.0.113.1\n\
                     test.dk. 60 IN MX 0 mail.test.dk.\nmail.test.dk. 60 IN A 203.0.113.2\n";

#[test]
fn from_nothing_to_verified_to_a_new_key() {
    let old_spf = "test.dk. 60 IN TXT \"v=spf1 mx -all\"\n";
    let Some(mut site) = Site::new(&format!("{WORLD}{old_spf}")) else {
        return skip("from_nothing_to_verified_to_a_new_key", "knot is not installed");
    };
    // Name, domains, and Enter for Mailjet.
    let added = site.run(&["customer", "add", "test-as"], "Test A/S\ntest.dk\n\n");
    assert!(added.status.success(), "{}", err(&added));
    assert_eq!(mode(&site.file("keys/test.dk.pem")), 0o600);
    assert!(out(&added).contains("v=spf1 mx include:spf.webcrm.com -all"), "{}", out(&added));

    let notes: Vec<String> = fs::read_dir(site.file("state/audit"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(matches!(&notes[..], [note] if note.contains("customer.add") && note.contains("test-as")), "{notes:?}");

    let again = site.run(&["customer", "add", "test-as"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("never overwritten"), "{}", err(&again));
    let taken = site.run(&["customer", "add", "other", "--name", "O", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(err(&taken).contains("belongs to the customer \"test-as\""), "{}", err(&taken));
    assert!(!site.file("config/customers/other.toml").exists());

    let before = site.run(&["domain", "check", "test-as"], "");
    assert_eq!(before.status.code(), Some(1), "{}", out(&before));
    assert!(out(&before).contains("Add include:spf.webcrm.com before \"all\"."), "{}", out(&before));

    let by_domain = site.run(&["domain", "check", "test.dk"], "");
    assert!(err(&by_domain).contains("it is a domain of the customer \"test-as\""), "{}", err(&by_domain));

    let without = site.run(&["domain", "records", "test-as", "--zone"], "");
    assert_eq!(without.status.code(), Some(1), "not all there is to publish");
    assert!(err(&without).contains("dkim in [mailjet.\"test.dk\"]"), "{}", err(&without));
    site.enter_mailjets_keys("test-as", &["test.dk"]);

    // The customer publishes exactly what the zone lines say; SPF replaces the old record, as they say too.
    let records = out(&site.run(&["domain", "records", "test-as", "--zone"], ""));
    site.knot.publish(&format!("{WORLD}{records}"));
    let after = site.run(&["domain", "check", "test-as"], "");
    assert_eq!(after.status.code(), Some(0), "{}", out(&after));
    assert!(out(&after).contains("Everything is in order."), "{}", out(&after));
    let json: serde_json::Value =
        serde_json::from_str(&out(&site.run(&["domain", "check", "--all", "--json"], ""))).unwrap();
    assert_eq!((json[0]["domain"].as_str(), json[0]["outcome"].as_str()), (Some("test.dk"), Some("good")));
    let state = fs::read_to_string(site.file("state/onboarding/domains/test.dk.json")).unwrap();
    let verified = |state: &str| state.matches("\"change\": \"verified\"").count();
    let (history, unreported) = state.split_once("\"unreported\"").expect("no relay runs");
    assert_eq!((verified(history), verified(unreported)), (4, 4), "{state}");

    rotate(&mut site, &records);
}

/// Host and value of a record that `dkim rotate` printed.
pub fn printed(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("  ")).unwrap_or_else(|| panic!("no record in {text}"));
    let (host, value) = line.trim().split_once(" TXT ").unwrap();
    crate::rig::txt(host, value)
}

fn rotate(site: &mut Site, records: &str) {
    let rotate = |site: &Site| site.run(&["dkim", "rotate", "test-as"], "");
    let first = rotate(site);
    assert!(first.status.success(), "{}", err(&first));
    let new = printed(&out(&first));
    assert!(new.starts_with("postbud2._domainkey.test.dk. "), "{new}");
    let waiting = rotate(site);
    assert_eq!(waiting.status.code(), Some(1));
    assert_eq!(printed(&out(&waiting)), new, "the same key again");

    site.knot.publish(&format!("{WORLD}{records}{new}"));
    let switched = rotate(site);
    assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));
    let file = fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap();
    assert!(file.contains("selector = \"postbud2\"") && file.contains("test.dk.postbud2.pem"), "{file}");
    assert!(file.contains("# `postbud dkim rotate test-as` changes the key."), "comments stay: {file}");
    let check = site.run(&["domain", "check", "test-as"], "");
    assert_eq!(check.status.code(), Some(0), "{}", out(&check));

    // The file names the new key, which shows nothing about what signs.
    std::thread::sleep(Duration::from_millis(1100));
    let unseen = rotate(site);
    assert_eq!(unseen.status.code(), Some(1));
    assert!(out(&unseen).contains("Nothing shows that mail is signed with postbud2"), "{}", out(&unseen));
    let _relay = Relay::start(site);
    let overlap = rotate(site);
    assert!(overlap.status.success() && out(&overlap).contains("stay published together"), "{}", out(&overlap));
    std::thread::sleep(Duration::from_millis(1100));
    let revoke = rotate(site);
    assert_eq!(revoke.status.code(), Some(1));
    let revoked = printed(&out(&revoke));
    let rest: String = records.lines().filter(|l| !l.starts_with("postbud1.")).map(|l| format!("{l}\n")).collect();
    site.knot.publish(&format!("{WORLD}{rest}{new}{revoked}"));
    let done = rotate(site);
    assert!(
        done.status.success() && out(&done).contains("postbud2 signs, and the old key is revoked"),
        "{}",
        out(&done)
    );
}

/// Everything that zone lines say should stand in DNS: what is there already is a comment.
fn everything(zone: &str) -> String {
    let lines = zone.lines().map(|line| line.strip_prefix("; ").unwrap_or(line));
    lines.filter(|line| line.contains(". 3600 IN ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_key_changes_at_every_domain_with_nothing_but_the_table_of_records() {
    let world = format!("{WORLD}nordlys.dk. 60 IN MX 0 mail.test.dk.\nfjord.dk. 60 IN MX 0 mail.test.dk.\n");
    let Some(mut site) = Site::new(&world) else {
        let name = "every_key_changes_at_every_domain_with_nothing_but_the_table_of_records";
        return skip(name, "knot is not installed");
    };
    let domains = ["--domain", "fjord.dk", "--domain", "nordlys.dk"];
    let added =
        site.run(&[&["customer", "add", "nordlys", "--name", "N", "--via", "mailjet"], &domains[..]].concat(), "");
    assert!(added.status.success(), "{}", err(&added));
    let second = site.run_as_is(&["dkim", "keygen", "--type", "ed25519", "--out", "keys/second.pem"]);
    assert!(second.status.success(), "{}", err(&second));
    let file = site.file("config/customers/nordlys.toml");
    let two_keys =
        "selector = \"postbud1\"\ned25519_selector = \"postbud2\"\ned25519_private_key = \"../../keys/second.pem\"";
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("selector = \"postbud1\"", two_keys)).unwrap();

    site.enter_mailjets_keys("nordlys", &["fjord.dk", "nordlys.dk"]);

    let records = |site: &Site| out(&site.run(&["domain", "records", "nordlys", "--zone"], ""));
    let check = |site: &Site| site.run(&["domain", "check", "nordlys"], "");
    let first = records(&site);
    for host in ["postbud1._domainkey.fjord.dk", "postbud2._domainkey.fjord.dk", "postbud2._domainkey.nordlys.dk"] {
        assert!(first.contains(host), "{host} is not in {first}");
    }
    site.knot.publish(&format!("{world}{}", everything(&first)));
    assert_eq!(check(&site).status.code(), Some(0), "{}", out(&check(&site)));

    // One after the other, the second key first; no selector is used twice.
    for (key, kind, old, new) in
        [("ed25519", "ed25519", "postbud2", "postbud3"), ("main", "rsa", "postbud1", "postbud4")]
    {
        let rotate = |site: &Site| site.run(&["dkim", "rotate", "nordlys", "--key", key], "");
        let begun = rotate(&site);
        assert!(begun.status.success(), "{}", err(&begun));
        let wanted = records(&site);
        for domain in ["fjord.dk", "nordlys.dk"] {
            let line = format!("{new}._domainkey.{domain}. 3600 IN TXT");
            assert!(
                wanted.lines().any(|l| l.starts_with(&line) && l.contains(&format!("k={kind}; p="))),
                "{line}: {wanted}"
            );
            assert!(out(&begun).contains(&format!("  {new}._domainkey.{domain} TXT ")), "{}", out(&begun));
        }
        let checked = check(&site);
        assert_eq!(checked.status.code(), Some(3), "a new key to be published is no breakage: {}", out(&checked));
        assert!(out(&checked).contains(&format!("A new key is to be published at {new}._domainkey.fjord.dk")));

        // One domain of two is not enough.
        let half: String = everything(&wanted)
            .lines()
            .filter(|l| !l.starts_with(&format!("{new}._domainkey.n")))
            .map(|l| format!("{l}\n"))
            .collect();
        site.knot.publish(&format!("{world}{half}"));
        let waiting = rotate(&site);
        assert_eq!(waiting.status.code(), Some(1), "{}", out(&waiting));
        assert!(out(&waiting).contains(&format!("not in DNS yet: {new}._domainkey.nordlys.dk.")), "{}", out(&waiting));

        site.knot.publish(&format!("{world}{}", everything(&wanted)));
        assert_eq!(check(&site).status.code(), Some(0), "{}", out(&check(&site)));
        let switched = rotate(&site);
        assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));
        assert!(fs::read_to_string(&file).unwrap().contains(&format!("selector = \"{new}\"")));
        let overlap = records(&site);
        assert!(
            overlap.contains(&format!("; {old}._domainkey.fjord.dk. 3600 IN TXT")),
            "there and to be kept: {overlap}"
        );
        assert_eq!(check(&site).status.code(), Some(0), "{}", out(&check(&site)));

        let _relay = Relay::start(&site);
        let seen = rotate(&site);
        assert!(seen.status.success(), "{}{}", out(&seen), err(&seen));
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(records(&site), overlap, "the clock alone revokes nothing");
        assert_eq!(check(&site).status.code(), Some(0), "{}", out(&check(&site)));
        let revoke = rotate(&site);
        assert_eq!(revoke.status.code(), Some(1), "{}{}", out(&revoke), err(&revoke));
        let last = records(&site);
        assert!(last.contains(&format!("\n{old}._domainkey.nordlys.dk. 3600 IN TXT \"v=DKIM1; p=\"\n")), "{last}");
        assert!(
            out(&check(&site)).contains(&format!("is not revoked at {old}._domainkey.nordlys.dk")),
            "{}",
            out(&check(&site))
        );
        site.knot.publish(&format!("{world}{}", everything(&last)));
        assert_eq!(check(&site).status.code(), Some(0), "{}", out(&check(&site)));
        let done = rotate(&site);
        assert!(done.status.success() && out(&done).contains(&format!("{new} signs")), "{}", out(&done));
        assert!(!records(&site).contains(&format!("{old}._domainkey")));
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("selector = \"postbud4\"\ned25519_selector = \"postbud3\"\n"), "{text}");
    assert!(err(&site.run(&["dkim", "rotate", "test-as", "--key", "ed25519"], "")).contains("no customer"));
}

/// A relay that is ended with its test.
pub struct Relay(pub std::process::Child);

impl Relay {
    /// Starts it and waits until it answers.
    pub fn start(site: &Site) -> Relay {
        Relay::start_in(site, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(site: &Site, environment: &[(&str, &str)]) -> Relay {
        let log = fs::File::create(site.file("relay.log")).unwrap();
        let relay = Relay(
            Command::new(env!("CARGO_BIN_EXE_postbud"))
                .args(["run", "--config", "config/postbud.toml"])
                .envs(environment.iter().copied())
                .current_dir(site.dir.path())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while !site.run_in(environment, &["route", "list"], "").status.success() {
            let log = || fs::read_to_string(site.file("relay.log")).unwrap();
            assert!(std::time::Instant::now() < patience, "the relay does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_root_leaves_behind_belongs_to_the_relays_user() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    const NAME: &str = "what_root_leaves_behind_belongs_to_the_relays_user";
    let Some(mut site) = Site::new(WORLD) else { return skip(NAME, "knot is not installed") };
    if site.dir.path().metadata().unwrap().uid() != 0 {
        return skip(NAME, "not root");
    }
    let relay = 12_345;
    fs::create_dir(site.file("state")).unwrap();
    chown(site.file("state"), Some(relay), Some(relay)).unwrap();
    // A shell as careful as the one that wrote the secrets.
    let add = "umask 077; exec \"$0\" customer add test-as --name T --domain test.dk --via mailjet --config config/postbud.toml";
    let added = Command::new("sh")
        .args(["-c", add, env!("CARGO_BIN_EXE_postbud")])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", err(&added));
    assert_eq!(mode(&site.file("config/customers/test-as.toml")), 0o644);
    // The customer's file lies elsewhere, with a link to it.
    let (link, file) = (site.file("config/customers/test-as.toml"), site.file("config/test-as.txt"));
    fs::rename(&link, &file).unwrap();
    symlink("../test-as.txt", &link).unwrap();
    chown(&file, Some(relay), Some(54_321)).unwrap();
    site.run(&["domain", "check", "test-as"], "");
    let key = printed(&out(&site.run(&["dkim", "rotate", "test-as"], "")));
    site.knot.publish(&format!("{WORLD}{key}"));
    let switched = site.run(&["dkim", "rotate", "test-as"], "");
    assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));

    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().contains("postbud2"));
    assert_eq!((file.metadata().unwrap().uid(), file.metadata().unwrap().gid()), (relay, 54_321));
    for name in [
        "keys",
        "keys/test.dk.pem",
        "keys/test.dk.postbud2.pem",
        "state/onboarding",
        "state/onboarding/secret",
        "state/onboarding/domains/.lock",
        "state/onboarding/domains/test.dk.json",
        "state/onboarding/rotations/.lock",
        "state/onboarding/rotations/test-as.main.json",
    ] {
        let found = site.file(name).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (relay, relay), "{name}");
    }
}

#[test]
fn an_own_server_customer_is_asked_for_its_server() {
    let Some(site) = Site::new(WORLD) else {
        return skip("an_own_server_customer_is_asked_for_its_server", "knot is not installed");
    };
    let answers = "Egen Server ApS\negenserver.dk, nyt.egenserver.dk\nown-server\nmail.egenserver.dk\nimplicit\n\nwebcrm\nhemmeligt\n";
    let added = site.run(&["customer", "add", "egen-server"], answers);
    assert!(added.status.success(), "{}", err(&added));
    let file = fs::read_to_string(site.file("config/customers/egen-server.toml")).unwrap();
    for line in ["host = \"mail.egenserver.dk\"", "port = 465", "tls = \"implicit\"", "username = \"webcrm\""] {
        assert!(file.contains(line), "{line} is not in {file}");
    }
    assert!(!file.contains("hemmeligt") && !out(&added).contains("hemmeligt") && !err(&added).contains("hemmeligt"));
    let secret = site.file("config/secrets/egen-server.password");
    assert_eq!((fs::read_to_string(&secret).unwrap().as_str(), mode(&secret)), ("hemmeligt\n", 0o600));
    assert!(out(&added).contains("nyt.egenserver.dk"));

    let probed = site.run(&["domain", "check", "egen-server", "--probe"], "");
    assert_eq!(probed.status.code(), Some(1), "{}", err(&probed));
    assert!(out(&probed).contains("mail.egenserver.dk:465 cannot be used: resolve"), "{}", out(&probed));
}

#[test]
fn a_customer_that_configuration_refuses_leaves_nothing() {
    let Some(site) = Site::new(WORLD) else {
        return skip("a_customer_that_configuration_refuses_leaves_nothing", "knot is not installed");
    };
    let refused = site.run(
        &[
            "customer",
            "add",
            "bad",
            "--name",
            "Bad",
            "--domain",
            "bad.dk",
            "--via",
            "own-server",
            "--host",
            "not a host",
            "--port",
            "587",
            "--tls",
            "required",
            "--username",
            "",
        ],
        "",
    );
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
    assert!(err(&refused).contains("route.host"), "{}", err(&refused));
    assert!(!site.file("config/customers/bad.toml").exists() && !site.file("keys/bad.dk.pem").exists());
    let address = site.run(&["customer", "add", "x", "--name", "X", "--domain", "192.0.2.1", "--via", "mailjet"], "");
    assert!(err(&address).contains("is an address, not a domain name"), "{}", err(&address));
    assert!(!site.file("config/customers/x.toml").exists() && !site.file("keys/192.0.2.1.pem").exists());
    let unasked = site.run(&["customer", "add", "x", "--name", "X", "--domain", "x.dk"], "");
    assert_eq!(unasked.status.code(), Some(1), "{}", out(&unasked));
    assert!(err(&unasked).contains("no answer; give --via"), "{}", err(&unasked));
    assert!(!site.file("config/customers/x.toml").exists() && !site.file("keys/x.dk.pem").exists());
    let freemail = site.run(&["customer", "add", "x", "--name", "X", "--domain", "hotmail.dk", "--via", "mailjet"], "");
    assert!(err(&freemail).contains("public mailbox provider"), "{}", err(&freemail));
}

#[test]
fn commands_that_are_printed_name_the_configuration_they_were_given() {
    let Some(site) = Site::new(WORLD) else {
        return skip("commands_that_are_printed_name_the_configuration_they_were_given", "knot is not installed");
    };
    fs::copy(site.file("config/postbud.toml"), site.file("config/second relay.toml")).unwrap();
    let config = "config/second relay.toml";
    let arguments =
        ["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet", "--config", config];
    let added = site.run_as_is(&arguments);
    assert!(added.status.success(), "{}", err(&added));
    for command in ["domain records test-as --mail", "domain check test-as"] {
        let line = format!("postbud {command} --config '{config}'");
        assert!(err(&added).contains(&line), "{}", err(&added));
    }
    let checked = site.run_as_is(&["domain", "check", "test-as", "--config", config]);
    let records = format!("`postbud domain records --config '{config}'`");
    assert!(out(&checked).contains(&records), "{}", out(&checked));
    let usual = site.run_as_is(&["domain", "check", "test-as"]);
    assert!(out(&usual).contains("`postbud domain records`"), "{}", out(&usual));
}
