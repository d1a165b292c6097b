//! The Debian package as `deploy/debian/build` makes it of the program under test. `tests/package/run` installs it in a real systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::relay::binary;
use crate::support::skip::skip;

const THIS: &str = "a_package_is_the_same_twice_and_has_everything_where_it_belongs";

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns why no package can be built here.
pub fn cannot_be_built() -> Option<String> {
    let is_missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    let missing = ["dpkg-deb", "objcopy", "/usr/bin/python3"].into_iter().find(is_missing);
    missing.map(|tool| format!("{tool} is not installed"))
}

/// Builds the package of version 1.2.3 into a folder, and returns its path.
pub fn build(out: &Path, umask: &str) -> PathBuf {
    let script = format!("umask {umask} && exec deploy/debian/build --out \"$1\" --binary \"$0\" --version 1.2.3");
    let built = Command::new("bash")
        .args(["-c", &script, &binary()])
        .arg(out)
        .current_dir(source())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("POSTBUD_DEB_COMPRESSION", "none")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut packages = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    packages.find(|path| path.to_string_lossy().contains("/postbud_1.2.3_")).expect("the package")
}

#[test]
fn a_package_is_the_same_twice_and_has_everything_where_it_belongs() {
    if let Some(why) = cannot_be_built() {
        return skip(THIS, &why);
    }
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = build(dirs[0].path(), "022");
    build(dirs[1].path(), "077");
    for entry in fs::read_dir(dirs[0].path()).unwrap() {
        let path = entry.unwrap().path();
        let other = dirs[1].path().join(path.file_name().unwrap());
        assert!(fs::read(&path).unwrap() == fs::read(&other).unwrap(), "{} differs", path.display());
    }

    let listed = Command::new("dpkg-deb").arg("-c").arg(&first).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for entry in [
        "-rwxr-xr-x root/root ./usr/bin/postbud",
        "-rw-r--r-- root/root ./etc/postbud/postbud.toml",
        "-rw-r--r-- root/root ./usr/lib/systemd/system/postbud.service",
        "-rw-r--r-- root/root ./usr/share/man/man1/postbud-queue-list.1.gz",
        "-rw-r--r-- root/root ./usr/share/bash-completion/completions/postbud",
        "-rw-r--r-- root/root ./usr/share/doc/postbud/examples/customers/test-as.toml",
        "-rw-r--r-- root/root ./usr/share/doc/postbud/docs/events.schema.json",
        "-rw-r--r-- root/root ./usr/share/doc/postbud/docs/samples/events.jsonl",
        "-rw-r--r-- root/root ./usr/share/doc/postbud/sbom.cdx.json",
        "-rw-r--r-- root/root ./usr/share/doc/postbud/licences-of-libraries.gz",
        "-rw-r--r-- root/root ./usr/share/postbud/postbud.toml",
    ] {
        let (mode, path) = (&entry[..20], &entry[21..]);
        let is_there = listed.lines().any(|line| line.starts_with(mode) && line.ends_with(&format!(" {path}")));
        assert!(is_there, "{entry}: {listed}");
    }
    assert!(listed.lines().all(|line| line.contains("2023-11-14 22:13")), "times are the commit's: {listed}");

    let files = tempfile::tempdir().unwrap();
    assert!(Command::new("dpkg-deb").arg("-x").arg(&first).arg(files.path()).status().unwrap().success());
    let config = fs::read_to_string(files.path().join("etc/postbud/postbud.toml")).unwrap();
    assert!(!config.contains("\"../"), "paths of an installed relay: {config}");
    let licences =
        Command::new("zcat").arg(files.path().join("usr/share/doc/postbud/licences-of-libraries.gz")).output();
    let licences = String::from_utf8(licences.unwrap().stdout).unwrap();
    for part in ["\n  aws-lc-rs ", "Permission is hereby granted", "rustls-native-certs ", "\nWith "] {
        assert!(licences.contains(part), "{part}: {}", licences.len());
    }
    let bill = fs::read(files.path().join("usr/share/doc/postbud/sbom.cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_slice(&bill).expect("the bill is JSON");
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(bill["metadata"]["component"]["version"], "1.2.3");
    let components = bill["components"].as_array().unwrap();
    let has =
        |name: &str| components.iter().any(|component| component["name"] == name && component["hashes"].is_array());
    assert!(has("aws-lc-rs") && has("mail-auth") && !has("criterion"), "{bill}");
    assert!(components.iter().all(|component| component["licenses"].is_array()), "{bill}");
}

#[test]
fn the_unit_leaves_the_relay_no_more_rights_than_it_needs() {
    let this = "the_unit_leaves_the_relay_no_more_rights_than_it_needs";
    // Tenths of systemd's measure, where 10 is a service without any protection.
    let judge = ["security", "--no-pager", "--offline=yes", "--threshold=15", "deploy/systemd/postbud.service"];
    let Ok(judged) = Command::new("systemd-analyze").args(judge).current_dir(source()).output() else {
        return skip(this, "systemd-analyze is not installed");
    };
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

#[test]
fn the_bill_of_materials_keeps_its_schema() {
    let this = "the_bill_of_materials_keeps_its_schema";
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source().join("target"), PathBuf::from);
    let python = target.join("cyclonedx/bin/python3");
    if !python.exists() {
        return skip(this, "cyclonedx-python-lib is not installed; tests/install does that");
    }
    let bill =
        Command::new("deploy/sbom").current_dir(source()).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(bill.status.success(), "{}", String::from_utf8_lossy(&bill.stderr));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sbom.cdx.json");
    let judge = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                 why = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n\
                 sys.exit(None if why is None else str(why))";
    let judged = |octets: &[u8]| {
        fs::write(&path, octets).unwrap();
        Command::new(&python).args(["-c", judge]).arg(&path).output().unwrap()
    };
    let verdict = judged(&bill.stdout);
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
    // The judge notices what is wrong.
    let wrong = String::from_utf8(bill.stdout).unwrap().replace("\"type\": \"library\"", "\"type\": \"book\"");
    assert!(!judged(wrong.as_bytes()).status.success());
}
