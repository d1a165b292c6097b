//! A local user of the machine: what the relay keeps is not theirs to read, whatever the umask and whatever stood there before.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::dns;
use crate::rounds;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Everything below a folder that is open to others.
fn open_to_others(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if mode(&path) & 0o077 != 0 {
            found.push((path.clone(), mode(&path)));
        }
        if path.is_dir() {
            found.extend(open_to_others(&path));
        }
    }
    found
}

fn site() -> Site {
    let site = Site::with(&[Customer { id: "a", domain: "a.example", route: plain_route(free_port()) }], &dns::empty());
    let state = site.path("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    site
}

#[test]
fn what_is_kept_is_the_relays_alone_whatever_the_umask_is() {
    for umask in &["022", "000", "027", "077"][..rounds(2, 4)] {
        let site = site();
        let relay = site.start_with_umask(umask);
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let heard = client.send("x@a.example", &["b@example.net"], &message("x@a.example", "b@example.net", "kept"));
        queue_id(&heard.unwrap());
        site.wait_for_event("deferred", |event| event["event"] == "deferred");
        // Commands write there, too.
        site.run_in_shell("domain check a", "");
        site.run_in_shell("dkim rotate a", "");
        assert_eq!(open_to_others(&site.path("state")), [], "umask {umask}");
        assert_eq!(mode(&site.path("state")), 0o755, "it is the operator's");
        assert!(relay.log().contains("other users of this machine may look into"), "{}", relay.log());
        relay.stop();
        assert_eq!(open_to_others(&site.path("state")), [], "umask {umask}, after the stop");
    }
}

#[test]
fn what_an_earlier_program_left_open_is_closed_at_the_start() {
    let site = site();
    site.start().stop();
    fn open(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            fs::set_permissions(&path, Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o644 })).unwrap();
            if path.is_dir() {
                open(&path);
            }
        }
    }
    open(&site.path("state"));
    assert!(open_to_others(&site.path("state")).len() > 5);
    let relay = site.start();
    assert_eq!(open_to_others(&site.path("state")), []);
    relay.stop();
}

#[test]
fn check_warns_of_a_state_folder_that_others_may_enter() {
    let site = site();
    for (wide, warned) in [(0o755, true), (0o701, true), (0o750, true), (0o770, true), (0o700, false)] {
        fs::set_permissions(site.path("state"), Permissions::from_mode(wide)).unwrap();
        let checked = site.operate(&["check"]);
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(checked.status.success(), "{said}");
        assert_eq!(said.contains("state_dir: other users of this machine may look into"), warned, "{wide:o}: {said}");
    }
}

#[test]
fn an_event_log_that_lies_elsewhere_is_for_its_group_to_read_and_for_nobody_else() {
    let site = site();
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config.replace("../state/events.jsonl", "../log/events.jsonl")).unwrap();
    fs::create_dir(site.path("log")).unwrap();
    let relay = site.start_with_umask("000");
    assert_eq!(mode(&site.path("log/events.jsonl")), 0o640);
    relay.stop();
}

#[test]
fn a_crash_leaves_no_core_file_with_the_keys() {
    let site = site();
    let relay = site.start_with_core_files();
    let limits = fs::read_to_string(format!("/proc/{}/limits", relay.pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    relay.stop();
}
