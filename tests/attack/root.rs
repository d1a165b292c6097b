//! The relay's own user, who may write in its folders and has a person run commands as root there: links and pipes lead root nowhere.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::dns;
use crate::support::relay::{Customer, Site, binary, free_port, plain_route};
use crate::support::skip::skip;

/// The user that the relay runs as.
const SERVICE: u32 = 12_345;

/// A site whose state folder belongs to the service's user, and root's folder beside it.
struct World {
    site: Site,
    victim: PathBuf,
}

impl World {
    fn new(name: &str) -> Option<World> {
        if !rustix::process::geteuid().is_root() {
            skip(name, "not root");
            return None;
        }
        let site =
            Site::with(&[Customer { id: "a", domain: "a.example", route: plain_route(free_port()) }], &dns::empty());
        // The service's user can get to its folder.
        fs::set_permissions(site.path(""), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(site.path("state")).unwrap();
        let victim = site.path("etc");
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o755)).unwrap();
        fs::write(victim.join("shadow"), "root:*:1::::::\n").unwrap();
        let world = World { site, victim };
        world.give("state");
        Some(world)
    }

    fn give(&self, below: &str) {
        chown(self.site.path(below), Some(SERVICE), Some(SERVICE)).unwrap();
    }

    /// Folders of the service's, from the outside in.
    fn make(&self, folders: &str) {
        let mut path = "state".to_owned();
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            path = format!("{path}/{folder}");
            if !self.site.path(&path).exists() {
                fs::create_dir(self.site.path(&path)).unwrap();
                self.give(&path);
            }
        }
    }

    /// Nothing was ever kept, and the folder is the service's.
    fn clear(&self) {
        fs::remove_dir_all(self.site.path("state")).unwrap();
        fs::create_dir(self.site.path("state")).unwrap();
        self.give("state");
    }

    /// What root's folder holds, and whose it is.
    fn victim(&self) -> Vec<(PathBuf, u32, u32, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(&self.victim)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .chain([self.victim.clone()])
            .map(|path| {
                let found = fs::metadata(&path).unwrap();
                (path.clone(), found.uid(), found.mode(), fs::read(&path).unwrap_or_default())
            })
            .collect();
        all.sort();
        all
    }

    /// Runs a command as root, which must end by itself.
    fn run(&self, arguments: &[&str]) -> Output {
        self.run_alone(&[arguments, &["--config", self.site.config().to_str().unwrap()]].concat())
    }

    /// The same for a command that needs no configuration.
    fn run_alone(&self, arguments: &[&str]) -> Output {
        let mut child = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > patience {
                child.kill().unwrap();
                panic!("{arguments:?} does not end: {:?}", child.wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.wait_with_output().unwrap()
    }

    fn run_all(&self) -> String {
        let mut said = String::new();
        for command in [&["domain", "check", "a"][..], &["domain", "records", "a"], &["dkim", "rotate", "a"]] {
            let output = self.run(command);
            said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
        }
        said
    }
}

#[test]
fn links_in_the_state_folder_lead_root_nowhere() {
    const NAME: &str = "links_in_the_state_folder_lead_root_nowhere";
    let Some(world) = World::new(NAME) else { return };
    for (place, owner) in [
        ("onboarding", SERVICE),
        ("onboarding/domains", SERVICE),
        ("onboarding/rotations", SERVICE),
        ("onboarding", 0),
        ("onboarding/domains", 0),
        ("onboarding/rotations", 0),
    ] {
        world.clear();
        world.make(place.rsplit_once('/').map_or("", |(above, _)| above));
        let link = world.site.path("state").join(place);
        symlink(&world.victim, &link).unwrap();
        if owner == 0 {
            chown(world.site.path("state"), Some(0), Some(0)).unwrap();
        }
        let before = world.victim();
        let said = world.run_all();
        assert_eq!(world.victim(), before, "{place}: {said}");
        assert!(said.contains(place.rsplit('/').next().unwrap()) && said.contains("is a link"), "{place}: {said}");
    }
}

#[test]
fn links_in_place_of_files_lead_root_nowhere_and_pipes_hold_it_up_nowhere() {
    const NAME: &str = "links_in_place_of_files_lead_root_nowhere_and_pipes_hold_it_up_nowhere";
    let Some(world) = World::new(NAME) else { return };
    for file in [
        "onboarding/secret",
        "onboarding/domains/.lock",
        "onboarding/domains/a.example.json",
        "onboarding/rotations/.lock",
        "onboarding/rotations/a.main.json",
        "onboarding/rotations/a.ed25519.json",
    ] {
        for kind in ["link", "link to nothing", "hard link", "pipe"] {
            world.clear();
            world.make("onboarding/domains");
            world.make("onboarding/rotations");
            let path = world.site.path("state").join(file);
            match kind {
                "link" => symlink(world.victim.join("shadow"), &path).unwrap(),
                "link to nothing" => symlink(world.victim.join("new"), &path).unwrap(),
                "hard link" => fs::hard_link(world.victim.join("shadow"), &path).unwrap(),
                _ => {
                    let made = Command::new("mkfifo").arg(&path).status().unwrap();
                    assert!(made.success());
                    chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
                }
            }
            let before = world.victim();
            let said = world.run_all();
            let after = world.victim();
            assert_eq!(after, before, "{kind} {file}: {said}");
            assert!(!said.contains("root:*"), "{kind} {file}: {said}");
        }
    }
}

#[test]
fn what_root_does_there_is_done_as_its_owner() {
    let Some(world) = World::new("what_root_does_there_is_done_as_its_owner") else { return };
    let said = world.run_all();
    for file in
        ["onboarding", "onboarding/secret", "onboarding/domains/a.example.json", "onboarding/rotations/a.main.json"]
    {
        let found = fs::metadata(world.site.path("state").join(file)).unwrap_or_else(|e| panic!("{file}: {e}; {said}"));
        assert_eq!((found.uid(), found.gid()), (SERVICE, SERVICE), "{file}");
        assert_eq!(found.mode() & 0o077, 0, "{file}");
    }
    // Not even where root itself could: the folder's owner may not.
    fs::create_dir(world.site.path("state/onboarding/roots")).unwrap();
    let domains = world.site.path("state/onboarding/domains");
    fs::remove_dir_all(&domains).unwrap();
    fs::create_dir(&domains).unwrap();
    fs::set_permissions(&domains, Permissions::from_mode(0o755)).unwrap();
    let said = world.run_all();
    assert!(said.contains("was not kept") && said.contains("Permission denied"), "{said}");
    assert_eq!(fs::read_dir(&domains).unwrap().count(), 0);
}

#[test]
fn the_relay_does_not_run_as_root_in_the_folder_of_another() {
    const NAME: &str = "the_relay_does_not_run_as_root_in_the_folder_of_another";
    let refused = |world: &World, what: &str| {
        let before = world.victim();
        let output = world.run(&["run"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("do not run the relay as root, but as the user"), "{what}: {said}");
        assert_eq!(world.victim(), before, "{what}");
    };
    let Some(world) = World::new(NAME) else { return };
    world.make("spool");
    symlink(world.victim.join("shadow"), world.site.path("state/spool/LOCK")).unwrap();
    refused(&world, "the state folder is another's");
    chown(world.site.path("state"), Some(0), Some(0)).unwrap();
    refused(&world, "a folder in it is");
    chown(world.site.path("state/spool"), Some(0), Some(0)).unwrap();
    fs::set_permissions(world.site.path("state/spool"), Permissions::from_mode(0o777)).unwrap();
    refused(&world, "others may write in one");
    fs::set_permissions(world.site.path("state/spool"), Permissions::from_mode(0o755)).unwrap();
    // All is root's: then it is started, and still follows no link.
    let before = world.victim();
    let output = world.run(&["run"]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("LOCK"), "{said}");
    assert_eq!(world.victim(), before);
    fs::remove_file(world.site.path("state/spool/LOCK")).unwrap();
    world.site.start().stop();
    assert_is_roots(&world.site.path("state"));
}

fn assert_is_roots(path: &Path) {
    assert_eq!(fs::metadata(path).unwrap().uid(), 0);
}

/// The folders of keys and of customers' files may be the service's, too: it reads the keys, and the API changes the files.
#[test]
fn links_among_keys_and_customers_files_lead_root_nowhere() {
    const NAME: &str = "links_among_keys_and_customers_files_lead_root_nowhere";
    let Some(world) = World::new(NAME) else { return };
    let (site, victim) = (&world.site, &world.victim);
    for place in ["keys", "keys/a.example.pem", "config/customers", "config/customers/a.toml"] {
        world.give(place);
    }
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config + "[secrets]\npassphrase_file = \"passphrase\"\n").unwrap();
    fs::write(site.path("config/passphrase"), "the passphrase of this test\n").unwrap();
    let file = site.customer_file("a");
    fs::copy(&file, victim.join("a.toml")).unwrap();
    fs::copy(site.key("a.example"), victim.join("server.key")).unwrap();
    fs::write(victim.join("token"), "roots-own-token\n").unwrap();
    for name in ["server.key", "token"] {
        fs::set_permissions(victim.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    let before = world.victim();
    let said = |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    for name in ["server.key", "token", "shadow", "a.toml"] {
        let link = site.path("keys/link.pem");
        symlink(victim.join(name), &link).unwrap();
        for options in [&["seal"][..], &["seal", "--open"]] {
            let output = world.run(&[options, &[link.to_str().unwrap()]].concat());
            assert_eq!(world.victim(), before, "{name}: {}", said(&output));
            assert!(!said(&output).contains("roots-own"), "{name}: {}", said(&output));
        }
        fs::remove_file(&link).unwrap();
    }
    let key = site.key("a.example");
    let output = world.run(&["seal", key.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(fs::read_to_string(&key).unwrap().contains("ENCRYPTED"));
    assert_eq!(fs::metadata(&key).unwrap().uid(), SERVICE);

    fs::remove_file(&file).unwrap();
    symlink(victim.join("a.toml"), &file).unwrap();
    for command in [&["customer", "suspend", "a", "--reason", "x"][..], &["dkim", "rotate", "a"]] {
        let output = world.run(command);
        assert_eq!(world.victim(), before, "{command:?}: {}", said(&output));
    }
    let output = world.run(&["customer", "suspend", "a", "--reason", "x"]);
    assert!(!output.status.success() && said(&output).contains("Permission denied"), "{}", said(&output));
    // Without a link it is changed, and stays the service's.
    fs::remove_file(&file).unwrap();
    fs::copy(victim.join("a.toml"), &file).unwrap();
    chown(&file, Some(SERVICE), Some(SERVICE)).unwrap();
    let output = world.run(&["customer", "suspend", "a", "--reason", "x"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::metadata(&file).unwrap().uid(), SERVICE);

    // What the service writes there is not carried out by root.
    let text = fs::read_to_string(victim.join("a.toml")).unwrap();
    let command = format!("private_key_command = [\"touch\", \"{}\"]", victim.join("ran").display());
    fs::write(&file, text.replace("private_key = \"../../keys/a.example.pem\"", &command)).unwrap();
    for arguments in [&["check"][..], &["domain", "check", "a"], &["customer", "show", "a"], &["dkim", "rotate", "a"]] {
        let output = world.run(arguments);
        assert_eq!(world.victim(), before, "{arguments:?}: {}", said(&output));
    }
    let output = world.run(&["check"]);
    assert!(said(&output).contains("is not run by root"), "{}", said(&output));
    for place in ["config/customers", "config/customers/a.toml"] {
        chown(site.path(place), Some(0), Some(0)).unwrap();
    }
    world.run(&["check"]);
    assert!(victim.join("ran").exists(), "root's own file names a command for root");
}

#[test]
fn root_moves_no_mail_out_of_a_folder_of_anothers() {
    let Some(world) = World::new("root_moves_no_mail_out_of_a_folder_of_anothers") else { return };
    chown(world.site.path("state"), Some(0), Some(0)).unwrap();
    let old = world.site.path("old");
    fs::create_dir(&old).unwrap();
    symlink(world.victim.join("shadow"), old.join("00000001-0000000000000007.seg")).unwrap();
    world.give("old");
    let before = world.victim();
    let output = world.run(&["spool", "move", "--from", old.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("belongs to another user than root"), "{said}");
    assert_eq!(world.victim(), before);
    assert_eq!(fs::read_dir(&old).unwrap().count(), 1, "nothing is made there");
}

/// Files and folders that lie in the state folder at some time, and commands that a person runs as root while no relay runs.
#[test]
fn whatever_lies_in_the_state_folder_leads_root_nowhere() {
    const NAME: &str = "whatever_lies_in_the_state_folder_leads_root_nowhere";
    const PLACES: &[&str] = &[
        "audit",
        "customers",
        "customers.lock",
        "onboarding/mailjet",
        "postbud.db",
        "postbud.db-wal",
        "return-path.keys",
        "known-clients.json",
        "daily-counters.json",
        "suspensions.json",
        "customer-volumes.json",
        "events.jsonl",
        "webhook-outbox.jsonl",
        "returned",
        "spool/LOCK",
        "spool/00000001-0000000000000007.seg",
    ];
    let Some(world) = World::new(NAME) else { return };
    let archive = world.site.path("backup.tar.zst");
    let commands: &[&[&str]] = &[
        &["check"],
        &["customer", "show", "a"],
        &["customer", "suspend", "a", "--reason", "x"],
        &["customer", "resume", "a"],
        &["domain", "check", "a"],
        &["dmarc", "report", "a"],
        &["trace", "--recipient", "x@example.net"],
        &["events", "--since", "oldest"],
        &["backup", archive.to_str().unwrap()],
    ];
    let file = world.site.customer_file("a");
    let written = fs::read(&file).unwrap();
    for (at, place) in PLACES.iter().enumerate() {
        let kinds = ["link", "pipe", "link to a folder", "link to nothing"];
        for kind in kinds.iter().cycle().skip(at).take(crate::rounds(2, kinds.len())) {
            world.clear();
            world.make(place.rsplit_once('/').map_or("", |(above, _)| above));
            let path = world.site.path("state").join(place);
            match *kind {
                "link" => symlink(world.victim.join("shadow"), &path).unwrap(),
                "link to a folder" => symlink(&world.victim, &path).unwrap(),
                "link to nothing" => symlink(world.victim.join("new"), &path).unwrap(),
                _ => {
                    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
                    chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
                }
            }
            let before = world.victim();
            for command in commands {
                let output = world.run(command);
                let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert_eq!(world.victim(), before, "{kind} {place}, {command:?}: {said}");
                assert!(!said.contains("root:*"), "{kind} {place}, {command:?}: {said}");
            }
            let _ = fs::remove_file(&archive);
            fs::write(&file, &written).unwrap();
        }
    }
}

/// A person runs as root what makes files in the service's folder.
#[test]
fn links_on_the_way_to_new_files_lead_root_nowhere() {
    let Some(world) = World::new("links_on_the_way_to_new_files_lead_root_nowhere") else { return };
    let link = world.site.path("state/keys");
    symlink(&world.victim, &link).unwrap();
    lchown(&link, Some(SERVICE), Some(SERVICE)).unwrap();
    let before = world.victim();
    let below = |name: &str| link.join(name).to_str().unwrap().to_owned();
    for command in [&["backup", &below("b.tar.zst")][..], &["incident", "a", "--since", "1h", &below("i.tar.zst")]] {
        let output = world.run(command);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains("another user's link"), "{command:?}: {said}");
        assert_eq!(world.victim(), before, "{command:?}: {said}");
    }
    for command in [
        &["dkim", "keygen", "--out", &below("cron.pem")][..],
        &["dkim", "keygen", "--out", &below("new/cron.pem")],
        &["dkim", "keygen", "--type", "ed25519", "--out", &below("cron.pem")],
        &["dev-certs", "--dir", &below("")],
        &["dev-certs", "--dir", &below("new")],
    ] {
        let output = world.run_alone(command);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains("Permission denied"), "{command:?}: {said}");
        assert_eq!(world.victim(), before, "{command:?}: {said}");
    }
    fs::remove_file(&link).unwrap();
    let key = below("cron.pem");
    assert!(world.run_alone(&["dkim", "keygen", "--out", &key]).status.success());
    for path in [Path::new(&key), &link] {
        assert_eq!(fs::metadata(path).unwrap().uid(), SERVICE, "{}", path.display());
    }
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn pipes_in_place_of_files_that_a_person_names_hold_root_up_nowhere() {
    let Some(world) = World::new("pipes_in_place_of_files_that_a_person_names_hold_root_up_nowhere") else { return };
    let pipe = world.site.path("state/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    chown(&pipe, Some(SERVICE), Some(SERVICE)).unwrap();
    let pipe = pipe.to_str().unwrap();
    let said = |output: Output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for command in [&["dmarc", "import", pipe][..], &["suppression", "import", "a", pipe], &["check", "--config", pipe]]
    {
        let output = if command[0] == "check" { world.run_alone(command) } else { world.run(command) };
        assert!(!output.status.success(), "{command:?}");
        let said = said(output);
        assert!(said.contains("is not a file"), "{command:?}: {said}");
    }
    let refused = said(world.run_alone(&["restore", pipe]));
    assert!(refused.contains("is not a file"), "{refused}");
}

#[test]
fn nothing_in_the_way_of_a_restore_leads_root_elsewhere_or_holds_it_up() {
    let Some(world) = World::new("nothing_in_the_way_of_a_restore_leads_root_elsewhere_or_holds_it_up") else { return };
    let archive = world.site.path("backup.tar.zst");
    let said = |output: Output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(world.run(&["domain", "check", "a"]).status.code().is_some());
    for place in ["keys", "keys/a.example.pem"] {
        world.give(place);
    }
    let output = world.run(&["backup", archive.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(output));
    let restore = || world.run_alone(&["restore", archive.to_str().unwrap()]);

    // A program listens in the relay's place and accepts nobody.
    let socket = world.site.path("state/control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let full: Vec<_> = (0..2)
        .map(|_| {
            let socket_type = rustix::net::SocketType::STREAM;
            let flags = rustix::net::SocketFlags::NONBLOCK;
            let client = rustix::net::socket_with(rustix::net::AddressFamily::UNIX, socket_type, flags, None).unwrap();
            let _ = rustix::net::connect(&client, &rustix::net::SocketAddrUnix::new(&socket).unwrap());
            client
        })
        .collect();
    let refused = said(restore());
    assert!(refused.contains("a relay is running"), "{refused}");
    drop((full, listener));
    fs::remove_file(&socket).unwrap();

    // Links in place of the folders of keys and of the state.
    for place in ["keys", "state/onboarding"] {
        let folder = world.site.path(place);
        let aside = world.site.path("aside");
        fs::rename(&folder, &aside).unwrap();
        symlink(&world.victim, &folder).unwrap();
        lchown(&folder, Some(SERVICE), Some(SERVICE)).unwrap();
        let before = world.victim();
        let refused = restore();
        assert!(!refused.status.success(), "{place}: {}", said(refused));
        assert_eq!(world.victim(), before, "{place}: {}", said(refused));
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    }
    let key = world.site.key("a.example");
    fs::remove_file(&key).unwrap();
    let output = restore();
    assert!(output.status.success(), "{}", said(output));
    assert_eq!(fs::metadata(&key).unwrap().uid(), SERVICE);
}
