//! `postbud demo --once`, as the README tells a newcomer to run it.

use std::process::Command;

#[test]
fn the_demo_delivers_and_verifies_three_newsletters_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let demo = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["demo", "--once"])
        .env("TMPDIR", scratch.path())
        .output()
        .expect("postbud runs");
    let said = String::from_utf8_lossy(&demo.stdout);
    let complained = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{said}{complained}");
    assert_eq!(said.matches("signature d=nordlys.example s=postbud1: verified by mail-auth").count(), 3, "{said}");
    assert_eq!(said.matches("event relayed:").count(), 3, "{said}");
    assert!(said.contains("3 of 3 newsletters arrived"), "{said}");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("the folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
