//! A version that meets what another one has stored: it says so before anything depends on it, and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::package;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, binary, files, free_port, plain_route};
use crate::support::skip::skip;

/// A site whose relay has run, with mail that waits.
fn site() -> Site {
    let site = Site::new(&[Customer { id: "c", domain: "c.example", route: plain_route(free_port()) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let said = client.send("a@c.example", &["b@example.net"], &message("a@c.example", "b@example.net", "x"));
    queue_id(&said.unwrap());
    relay.stop();
    site
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Gives the first segment of the spool another format. Returns the segment, and what it was.
fn another_format(site: &Site) -> (PathBuf, Vec<u8>) {
    let segment = files(&site.path("state/spool"), "seg").remove(0);
    let before = fs::read(&segment).unwrap();
    let mut octets = before.clone();
    octets[16] = 9;
    let crc = crc32fast::hash(&octets[..60]);
    octets[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, octets).unwrap();
    (segment, before)
}

/// The names and contents of a folder's files.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_check_names_what_another_version_has_stored_and_changes_nothing() {
    let site = site();
    let check = |arguments: &[&str]| site.operate(&[&["check"], arguments].concat());
    let fine = check(&["--start"]);
    assert!(fine.status.success(), "{}", text(&fine));

    let (segment, before) = another_format(&site);
    let changed = content(&site.path("state/spool"));
    for arguments in [&[][..], &["--start"]] {
        let refused = check(arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused).contains("has format 9, and this program reads format 1"), "{}", text(&refused));
    }
    assert!(content(&site.path("state/spool")) == changed);
    fs::write(segment, before).unwrap();

    let database = site.path("state/postbud.db");
    let newer = rusqlite::Connection::open(&database).unwrap();
    newer.execute("UPDATE schema_step SET step = 99 WHERE owner = 'token'", []).unwrap();
    let in_log = check(&["--start"]);
    assert!(text(&in_log).contains("is from a newer version (the tables of token are at step 99"), "{}", text(&in_log));
    drop(newer);
    let changed = content(&site.path("state"));
    let in_file = check(&["--start"]);
    assert_eq!((in_file.status.code(), text(&in_file)), (Some(1), text(&in_log)));
    assert!(content(&site.path("state")) == changed, "it made files beside the database");
}

#[test]
fn the_package_is_not_installed_over_a_spool_that_it_cannot_read() {
    let this = "the_package_is_not_installed_over_a_spool_that_it_cannot_read";
    if let Some(why) = package::cannot_be_built() {
        return skip(this, &why);
    }
    let dir = tempfile::tempdir().unwrap();
    let built = package::build(dir.path(), "022");
    let control = dir.path().join("control");
    assert!(Command::new("dpkg-deb").arg("-e").arg(&built).arg(&control).status().unwrap().success());
    let script = fs::read_to_string(control.join("preinst")).unwrap();
    assert!(script.contains("\nknown=1\n"), "{script}");
    let site = site();
    let run = |config: &Path, step: &str| {
        let script = script.replace("/etc/postbud/postbud.toml", config.to_str().unwrap());
        Command::new("sh").args(["-c", &script, "preinst", step, "1.2.2"]).output().unwrap()
    };
    let passes = |config: &Path, step: &str| {
        let output = run(config, step);
        assert!(output.status.success() && text(&output).is_empty(), "{step}: {}", text(&output));
    };
    let config = site.config();
    passes(&config, "upgrade");
    another_format(&site);
    for step in ["install", "upgrade"] {
        let refused = run(&config, step);
        assert_eq!(refused.status.code(), Some(1));
        let wanted = "state/spool has format 9, and this version reads format 1. Nothing was replaced";
        assert!(text(&refused).contains(wanted), "{}", text(&refused));
    }
    passes(&config, "abort-upgrade");
    passes(&site.path("config/nowhere.toml"), "install");
}

#[test]
fn the_version_names_the_commit_and_the_build() {
    let said = Command::new(binary()).arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let build = said.trim_end().strip_prefix(concat!("postbud ", env!("CARGO_PKG_VERSION"), " (commit "));
    let build = build.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{said}"));
    let [commit, profile, target, compiler] = build.split(", ").collect::<Vec<_>>()[..] else { panic!("{said}") };
    let digits = commit.strip_suffix("-dirty").unwrap_or(commit);
    assert!(digits == "unknown" || digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{said}");
    assert!(["debug", "release"].contains(&profile) && target.contains("linux"), "{said}");
    assert!(compiler.starts_with("rustc 1."), "{said}");
}
