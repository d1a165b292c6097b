//! A disk that gets full in the middle of a change: the configuration that was there stays whole, and the answer says what was wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::Client;
use crate::rig::Rig;
use crate::support::disks::Memory;
use crate::support::skip::skip;

/// The files of a folder, without the one that fills the disk.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let files = files.filter(|path| !path.ends_with(".full"));
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A relay whose folder lies on a small disk, with the files that it had before. The first customer's file has some pages.
fn rig(name: &str, folder: &str) -> Option<(Rig, Memory)> {
    let rig = Rig::start();
    let file = rig.site.customer_file("anna");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{}{text}", "# A remark that makes the file long.\n".repeat(500))).unwrap();
    let path = rig.site.path(folder);
    fs::create_dir_all(&path).unwrap();
    let before = content(&path);
    let disk = match Memory::over(&path, "size=256k,mode=700") {
        Ok(disk) => disk,
        Err(why) => {
            skip(name, &why);
            return None;
        }
    };
    before.into_iter().for_each(|(path, octets)| fs::write(path, octets).unwrap());
    Some((rig, disk))
}

fn add(client: &Client, id: &str) -> crate::client::Answer {
    let body = json!({
        "id": id, "name": "Ny A/S", "domains": [format!("{id}.example")],
        "route": { "via": "own-server", "host": "127.0.0.1", "tls": "required", "login": { "username": "u", "password": "hemmelig" } },
    });
    client.post("/customers", &body.to_string())
}

fn change(client: &Client) -> crate::client::Answer {
    client.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(r#"{"name":"Changed","bulk":"refuse"}"#))
}

/// Makes changes while there are so many octets left, which must fail and leave everything as it was.
fn fails(rig: &Rig, disk: &Memory, leave: u64, changes: &[fn(&Client) -> crate::client::Answer]) {
    let client = rig.client("admin");
    let folders = ["config/customers", "config/secrets", "keys"].map(|folder| rig.site.path(folder));
    folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    let before = folders.each_ref().map(|folder| content(folder));
    let filler = disk.fill(leave);
    for change in changes {
        let answer = change(&client);
        answer.is_problem("unavailable");
        assert_eq!(answer.status, 503);
        assert_eq!(folders.each_ref().map(|folder| content(folder)), before, "{answer:?}");
    }
    assert_eq!(client.read("/customers/anna")["name"], "anna");
    assert!(rig.site.operate(&["check"]).status.success());
    fs::remove_file(filler).unwrap();
    for change in changes {
        let answer = change(&client);
        assert!([200, 201].contains(&answer.status), "{answer:?}");
    }
    assert!(rig.site.operate(&["check"]).status.success());
}

#[test]
fn a_full_disk_under_customers_files_leaves_the_old_ones_whole() {
    let name = "a_full_disk_under_customers_files_leaves_the_old_ones_whole";
    for leave in [0, 8 << 10] {
        let Some((rig, disk)) = rig(name, "config/customers") else { return };
        // With some room left the write begins and breaks off.
        fails(&rig, &disk, leave, &[change]);
    }
    let Some((rig, disk)) = rig(name, "config/customers") else { return };
    fails(&rig, &disk, 0, &[|client| add(client, "cecilie")]);
}

#[test]
fn a_full_disk_under_keys_or_secrets_leaves_no_half_of_a_customer() {
    for folder in ["keys", "config/secrets"] {
        let Some((rig, disk)) = rig("a_full_disk_under_keys_or_secrets_leaves_no_half_of_a_customer", folder) else {
            return;
        };
        fails(&rig, &disk, 0, &[|client| add(client, "cecilie")]);
    }
}

#[test]
fn without_room_for_the_old_version_nothing_is_changed() {
    let name = "without_room_for_the_old_version_nothing_is_changed";
    let Some((rig, disk)) = rig(name, "state/customers") else { return };
    fails(&rig, &disk, 0, &[change]);
}
