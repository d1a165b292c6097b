use std::fs;

use postbud::config::{Loaded, load};

use super::scratch::Scratch;

fn changed(edits: &[(&str, &str)]) -> Vec<String> {
    let scratch = Scratch::new();
    let path = scratch.path("config/postbud.toml");
    let loaded = |what: &str| -> Loaded { load(&path).map_err(|e| e.to_string()).expect(what) };
    let before = loaded("the example");
    let mut text = fs::read_to_string(&path).expect("the example");
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(&path, text).expect("written");
    before.keys.needs_restart(&loaded("the edited example").keys)
}

#[test]
fn keys_that_need_a_restart_are_named() {
    let edits = [
        ("127.0.0.1:2525", "127.0.0.1:2526"),
        ("bind = \"10.0.0.4\"", "bind = \"10.0.0.5\""),
        ("min_free = \"1 GiB\"", "min_free = \"2 GiB\""),
        ("[web]\naddress = \"127.0.0.1:8025\"", ""),
        ("# signer_threads = 0", "signer_threads = 2"),
    ];
    let expected = ["egress.bind", "listener[0].address", "signer_threads", "spool.min_free", "web.address"];
    assert_eq!(changed(&edits), expected);
}

#[test]
fn submitters_tiers_signing_and_customers_need_no_restart() {
    let edits = [
        ("username = \"webcrm\"", "username = \"webcrm2\""),
        ("requires = [\"ownership\", \"spf\", \"dkim\"]", "requires = [\"spf\"]"),
        ("# expires = \"14d\"", "expires = \"14d\""),
        ("# bulk = \"warn\"", "bulk = \"refuse\""),
        ("# bounces = \"event\"", "bounces = \"mail\""),
    ];
    assert_eq!(changed(&edits), Vec::<String>::new());
}

#[test]
fn comments_and_spaces_change_nothing() {
    assert_eq!(
        changed(&[("# Our name", "#  our name"), ("factor = 2.0", "factor   =   2.0  # twice")]),
        Vec::<String>::new()
    );
}
