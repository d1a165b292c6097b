//! Backup and restore: what one machine wrote, another goes on with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

/// Everything of a relay but what is never backed up.
const KEPT: [&str; 3] = ["config", "keys", "state/onboarding"];

/// The files below a folder, with their modes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
            }
        }
    }
    found
}

fn kept(site: &Site) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    KEPT.iter().flat_map(|folder| tree(&site.path(folder))).filter(|(path, _)| !path.ends_with(".lock")).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn site(server: &Capture) -> Site {
    let login = "username = \"webcrm\"\npassword_file = \"../login.password\"\nallow_plaintext_auth = true\n";
    let route = format!("{}{login}", plain_route(server.address));
    let site = Site::new(&[
        Customer { id: "good", domain: "good.example", route: plain_route(server.address) },
        Customer { id: "login", domain: "login.example", route },
    ]);
    fs::write(site.path("config/login.password"), "secret\n").unwrap();
    fs::set_permissions(site.path("config/login.password"), fs::Permissions::from_mode(0o600)).unwrap();
    site
}

fn backup(site: &Site, name: &str) -> PathBuf {
    let archive = site.path(name);
    let done = site.operate(&["backup", archive.to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    archive
}

fn restore(site: &Site, more: &[&str], archive: &Path) -> Output {
    let mut arguments = vec!["restore"];
    arguments.extend(more);
    arguments.push(archive.to_str().unwrap());
    site.run(&arguments)
}

#[test]
fn a_relay_goes_on_from_the_backup_that_was_made_while_it_ran() {
    let server = Capture::start();
    let site = site(&server);
    let relay = site.start();
    assert!(site.operate(&["route", "suspend", "own-server.login", "--reason", "a test"]).status.success());
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let waiting = client.send("a@login.example", &["b@x.dk"], &message("a@login.example", "b@x.dk", "x")).unwrap();
    // A key that waits for its record is in no configuration yet.
    let begun = site.operate(&["dkim", "rotate", "good"]);
    assert!(begun.status.success(), "{}", said(&begun));
    let archive = backup(&site, "backup.tar.zst");
    assert_eq!(archive.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let twice = site.operate(&["backup", archive.to_str().unwrap()]);
    assert!(!twice.status.success() && said(&twice).contains("nothing that exists is overwritten"), "{}", said(&twice));
    let running = restore(&site, &[], &archive);
    assert!(!running.status.success() && said(&running).contains("stop it first"), "{}", said(&running));
    relay.stop();

    let listed = Command::new("tar").arg("--zstd").arg("-tf").arg(&archive).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for (path, is_in) in [
        ("config/postbud.toml", true),
        ("config/webcrm.hash", true),
        ("config/login.password", true),
        ("config/customers/good.toml", true),
        ("keys/good.example.pem", true),
        ("keys/good.example.postbud2.pem", true),
        ("state/onboarding/rotations/good.main.json", true),
        ("state/onboarding/secret", true),
        ("state/suspensions.json", true),
        ("state/postbud.db", true),
        ("state/postbud.db-wal", false),
        ("state/spool/", false),
        ("state/events.jsonl", false),
        ("state/daily-counters.json", false),
    ] {
        assert_eq!(
            listed.contains(&format!("{path}{}", if path.ends_with('/') { "" } else { "\n" })),
            is_in,
            "{path}: {listed}"
        );
    }

    let before = kept(&site);
    for folder in ["config", "keys", "state"] {
        fs::rename(site.path(folder), site.path(&format!("old-{folder}"))).unwrap();
    }
    let dry = restore(&site, &["--dry-run"], &archive);
    assert!(dry.status.success() && said(&dry).contains("write   "), "{}", said(&dry));
    assert!(!site.path("config").exists() && !site.path("state").exists(), "a dry run writes nothing");
    let restored = restore(&site, &[], &archive);
    assert!(restored.status.success() && said(&restored).contains("has no mistakes"), "{}", said(&restored));
    assert_eq!(kept(&site), before);

    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    queue_id(&client.send("a@good.example", &["b@x.dk"], &message("a@good.example", "b@x.dk", "x")).unwrap());
    server.wait_for(1, Duration::from_secs(20));
    let routes = String::from_utf8(site.operate(&["route", "list"]).stdout).unwrap();
    assert!(routes.contains("suspended"), "{routes}");
    let queue = said(&site.operate(&["queue", "list"]));
    assert!(!queue.contains(queue_id(&waiting)), "waiting mail is not in a backup: {queue}");
    relay.stop();
}

#[test]
fn a_restore_keeps_what_is_the_same_replaces_what_is_older_and_refuses_what_is_newer() {
    let server = Capture::start();
    let site = site(&server);
    site.start().stop();
    let customer = site.customer_file("good");
    let first = fs::read_to_string(&customer).unwrap();
    let archive = backup(&site, "backup.tar.zst");
    fs::write(&customer, first.replace("name = \"good\"", "name = \"changed\"")).unwrap();
    let times = fs::FileTimes::new();
    let set = |at: SystemTime| {
        fs::File::options().write(true).open(&customer).unwrap().set_times(times.set_modified(at)).unwrap()
    };

    set(SystemTime::now() + Duration::from_secs(60));
    let newer = restore(&site, &[], &archive);
    assert!(!newer.status.success() && said(&newer).contains("newer than the archive"), "{}", said(&newer));
    assert!(fs::read_to_string(&customer).unwrap().contains("changed"));

    let said_so = restore(&site, &["--replace-newer"], &archive);
    assert!(said_so.status.success(), "{}", said(&said_so));
    assert_eq!(fs::read_to_string(&customer).unwrap(), first);
    fs::write(&customer, first.replace("name = \"good\"", "name = \"changed\"")).unwrap();

    set(SystemTime::now() - Duration::from_secs(86_400));
    let older = restore(&site, &[], &archive);
    let text = said(&older);
    assert!(older.status.success(), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("replace ")).count(), 1, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("write ")).count(), 0, "{text}");
    assert_eq!(fs::read_to_string(&customer).unwrap(), first);

    let elsewhere = site.path("elsewhere");
    assert!(restore(&site, &["--root", elsewhere.to_str().unwrap()], &archive).stdout.starts_with(b"write "));
    let below = elsewhere.join(customer.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(below).unwrap(), first);
}

#[test]
fn an_archive_that_is_damaged_cut_off_or_none_at_all_restores_nothing() {
    let server = Capture::start();
    let site = site(&server);
    site.start().stop();
    let archive = fs::read(backup(&site, "backup.tar.zst")).unwrap();
    let unpacked = zstd::stream::decode_all(&archive[..]).unwrap();
    let packed = |octets: &[u8]| zstd::stream::encode_all(octets, 3).unwrap();
    // The secret of a customer's login, in the last file but some.
    let at = unpacked.windows(7).position(|octets| octets == b"secret\n").expect("the password is in it");
    let mut changed = unpacked.clone();
    changed[at] ^= 1;
    let no_manifest =
        unpacked[unpacked.windows(6).skip(512).position(|octets| octets == b"files/").unwrap() + 512..].to_vec();
    for (what, octets) in [
        ("another content", packed(&changed)),
        ("no manifest", packed(&no_manifest)),
        ("half of it", archive[..archive.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("text", b"hostname = \"x\"".to_vec()),
    ] {
        let path = site.path("damaged.tar.zst");
        fs::write(&path, octets).unwrap();
        let root = site.path("nowhere");
        let refused = restore(&site, &["--root", root.to_str().unwrap()], &path);
        assert!(!refused.status.success() && !root.exists(), "{what}: {}", said(&refused));
        assert!(said(&refused).contains("damaged.tar.zst"), "{what}: {}", said(&refused));
    }
}
