use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::scratch::{Scratch, project};
use crate::skip::skip;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_reader_that_goes_away_ends_a_command_without_a_panic() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("postbud runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}

#[test]
fn output_that_cannot_be_written_is_said_in_one_line_and_fails() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("the full device");
    let completions = |stderr: std::process::Stdio| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postbud"));
        command.args(["completions", "bash"]).stdout(full()).stderr(stderr).output().expect("postbud runs")
    };
    let output = completions(std::process::Stdio::piped());
    let said = "postbud: cannot write the output: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), said));
    assert_eq!(completions(full().into()).status.code(), Some(1), "nor can standard error be written");
}

#[test]
fn what_cannot_be_said_on_standard_error_ends_no_command() {
    let scratch = Scratch::new();
    scratch.write("config/broken.toml", "hostname = 1\n");
    let silent = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("the full device");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postbud"));
        let ended =
            command.args(arguments).current_dir(scratch.path("")).stdin(std::process::Stdio::null()).stderr(full);
        ended.output().expect("postbud runs").status.code()
    };
    assert_eq!(silent(&["dkim", "keygen", "--out", "keys/new.pem"]), Some(0));
    assert_eq!(silent(&["check", "--config", "config/broken.toml"]), Some(1));
    assert_eq!(
        silent(&["customer", "add", "x", "--config", "config/postbud.toml"]),
        Some(1),
        "the question is not answered"
    );
}

#[test]
fn the_examples_pass_once_their_keys_and_secrets_are_made() {
    let scratch = Scratch::new();
    let checked = scratch.postbud(&["check", "--config", "config/postbud.toml"]);
    let (out, err) = (text(&checked.stdout), text(&checked.stderr));
    assert!(checked.status.success(), "{out}{err}");
    assert_eq!(out, "OK: 1 listener, 2 customers with 3 domains, 2 Mailjet tiers and 1 own server\n");
    assert_eq!(err, "");
}

#[tokio::test]
async fn the_containers_example_passes_and_needs_no_address_of_the_machine() {
    let scratch = Scratch::new();
    let checked = scratch.postbud(&["check", "--config", "config/docker.toml"]);
    let (out, err) = (text(&checked.stdout), text(&checked.stderr));
    assert!(checked.status.success(), "{out}{err}");
    assert_eq!(out, "OK: 1 listener, 2 customers with 3 domains, 2 Mailjet tiers and 1 own server\n");
    assert_eq!(err, "");

    let loaded = postbud::config::load(&scratch.path("config/docker.toml")).expect("it is right");
    let settings = loaded.settings;
    postbud::delivery::Delivery::new(postbud::delivery::Settings::new("x", settings.egress.clone()))
        .expect("any machine");
    assert_eq!(settings.egress.expect_seen_as, Some(settings.egress.address), "a wrong address is noticed");
    assert!(settings.listeners[0].address.ip().is_unspecified(), "Docker forwards to the container's address");

    // What the image runs and checks, and what is a volume there.
    let image = fs::read_to_string(project().join("Dockerfile")).expect("the Dockerfile");
    let line = |start: &str| image.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    assert_eq!(line("ENV POSTBUD_CONFIG="), "ENV POSTBUD_CONFIG=/etc/postbud/docker.toml");
    assert_eq!((line("ENTRYPOINT "), line("CMD ")), (r#"ENTRYPOINT ["postbud"]"#, r#"CMD ["run"]"#));
    assert_eq!(line("VOLUME "), format!("VOLUME {}", settings.state_dir.display()));
    assert!(settings.events.log.is_some_and(|log| log.starts_with(&settings.state_dir)), "nothing else can be written");
    assert!(settings.web.is_some(), "postbud health asks the pages");
    assert!(line("HEALTHCHECK ").ends_with(r#"CMD ["postbud", "health"]"#), "{image}");
    assert_eq!(line("EXPOSE "), format!("EXPOSE {}", settings.listeners[0].address.port()));
    let documents = fs::read_to_string(project().join("docs/deploy.md")).expect("the page");
    for mounted in ["-v ./config:/etc/postbud:ro", "-v ./keys:/etc/keys:ro", "-v ./certs:/etc/certs:ro"] {
        assert!(image.contains(mounted) && documents.contains(mounted), "{mounted}");
    }
}

#[test]
fn the_nodes_example_passes_and_takes_its_nodes_name_from_the_container() {
    let scratch = Scratch::new();
    fs::write(scratch.path("config/secrets/postgres.password"), "secret\n").unwrap();
    fs::set_permissions(scratch.path("config/secrets/postgres.password"), fs::Permissions::from_mode(0o600)).unwrap();
    // As a start looks at it: nobody answers for the database here.
    let check = |node: &str| {
        let command = &["check", "--start", "--config", "config/docker-nodes.toml"];
        let checked = scratch.command(command).env("HOSTNAME", node).output().expect("postbud runs");
        (checked.status.success(), text(&checked.stdout) + &text(&checked.stderr))
    };
    let (nameless, named) = (check(""), check("node1"));
    assert!(!nameless.0 && nameless.1.contains("node_env: HOSTNAME holds no name"), "{}", nameless.1);
    assert!(named.0 && named.1.contains("OK: 1 listener, 2 customers with 3 domains"), "{}", named.1);

    // What the compose file mounts and names is what this file reads.
    let compose = fs::read_to_string(project().join("deploy/compose.nodes.yaml")).expect("the compose file");
    assert!(compose.contains("POSTBUD_CONFIG: /etc/postbud/docker-nodes.toml"), "{compose}");
    for node in ["node1", "node2", "node3"] {
        assert!(compose.contains(&format!("hostname: {node}")), "{node}: {compose}");
    }
}

#[test]
fn a_clean_clone_lacks_nothing_but_its_keys_and_secrets() {
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["check", "--json"])
        .current_dir(project())
        .env_remove("POSTBUD_CONFIG")
        .output()
        .expect("postbud runs");
    let found: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("one JSON object");
    for mistake in found["mistakes"].as_array().expect("a list") {
        let what = mistake["what"].as_str().expect("a text");
        assert!(what.contains("No such file"), "{mistake}");
    }
}

#[test]
fn systemd_takes_the_unit_and_leaves_the_relay_time_to_stop() {
    let unit = fs::read_to_string(project().join("deploy/systemd/postbud.service")).expect("the unit");
    let values = |key: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    let value = |key: &str| values(key).first().copied().unwrap_or_default();
    let check = "/usr/bin/postbud check --start --config /etc/postbud/postbud.toml";
    assert_eq!(values("ExecStartPre"), [check]);
    assert_eq!(values("ExecReload"), [check, "/bin/kill -HUP $MAINPID"], "a mistake fails the reload");
    for (key, expected) in [
        ("Type", "notify"),
        ("WatchdogSec", "2min"),
        ("PrivateUsers", "yes"),
        ("RemoveIPC", "yes"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
    assert!(unit.contains("\nSystemCallFilter=~@privileged @resources\n"));
    let stop: u64 = value("TimeoutStopSec").trim_end_matches('s').parse().expect("seconds");
    let example = fs::read_to_string(project().join("config/postbud.toml")).expect("the example");
    let grace = example.lines().find_map(|line| line.strip_prefix("# shutdown_grace = \"")).expect("its default");
    assert!(stop > grace.trim_end_matches("s\"").parse().expect("seconds"), "{stop} s for {grace}");

    // The program is looked for where the unit says.
    let scratch = Scratch::new();
    scratch.write("postbud.service", &unit.replace("/usr/bin/postbud", env!("CARGO_BIN_EXE_postbud")));
    let mut verify = std::process::Command::new("systemd-analyze");
    match verify.args(["verify", "--man=no"]).arg(scratch.path("postbud.service")).output() {
        Ok(verified) => {
            let said = text(&verified.stderr);
            assert!(verified.status.success() && !said.contains("postbud.service"), "{said}");
        }
        Err(_) => skip("systemd_takes_the_unit_and_leaves_the_relay_time_to_stop", "systemd-analyze is not installed"),
    }
}

/// A commented key of the example is documentation: each must be known where it stands, with a value of the right kind.
#[test]
fn every_commented_key_of_the_examples_is_a_known_key() {
    let scratch = Scratch::new();
    for name in ["config/postbud.toml", "config/customers/test-as.toml", "config/customers/egen-server.toml"] {
        let example = fs::read_to_string(project().join(name)).expect("the example");
        scratch.write(name, &uncommented(&example));
    }
    let checked = scratch.postbud(&["check", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("one JSON object");
    let mistakes: Vec<_> = found["mistakes"].as_array().expect("a list").iter().map(ToString::to_string).collect();
    let unknown: Vec<_> =
        mistakes.iter().filter(|m| m.contains("not a known key") || m.contains("belongs here")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Takes the comment sign off lines that are `# key = value` or `# [table]`.
fn uncommented(example: &str) -> String {
    let mut lines = Vec::new();
    for line in example.lines() {
        let Some(rest) = line.strip_prefix("# ") else {
            lines.push(line.to_owned());
            continue;
        };
        let key =
            rest.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        let table = rest.starts_with('[') && rest.split(']').next().is_some_and(|name| !name.contains(' '));
        lines.push(if key || table { rest.to_owned() } else { line.to_owned() });
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_commands_that_the_example_names_make_what_it_needs() {
    let scratch = Scratch::new();
    for name in ["keys", "certs"] {
        fs::remove_dir_all(scratch.path(name)).expect("removed");
    }
    for key in ["keys/test.dk.pem", "keys/egenserver.dk.pem"] {
        assert!(scratch.postbud(&["dkim", "keygen", "--out", key]).status.success());
    }
    assert!(scratch.postbud(&["dev-certs", "--dir", "certs"]).status.success());
    let checked = scratch.postbud(&["check"]);
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));

    let records = text(&scratch.postbud(&["dkim", "record", "egen-server"]).stdout);
    let lines: Vec<_> = records.lines().collect();
    assert_eq!(lines.len(), 2, "one record a domain: {records}");
    assert!(lines[0].starts_with("postbud1._domainkey.egenserver.dk\tTXT\tv=DKIM1; k=rsa; p=MII"), "{records}");

    let again = scratch.postbud(&["dkim", "keygen", "--out", "keys/test.dk.pem"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("never overwritten"));
}

#[test]
fn there_is_a_manual_page_for_every_command_and_completions_for_every_shell() {
    fn count(command: &clap::Command) -> usize {
        1 + command.get_subcommands().map(count).sum::<usize>()
    }
    let scratch = Scratch::new();
    assert!(scratch.postbud(&["man", "man"]).status.success());
    let pages: Vec<_> =
        fs::read_dir(scratch.path("man")).expect("the pages").flatten().map(|e| e.file_name()).collect();
    for page in ["postbud.1", "postbud-check.1", "postbud-dkim-keygen.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} among {pages:?}");
    }
    assert!(pages.len() >= count(&postbud::cli::definition()), "{pages:?}");
    for shell in ["bash", "zsh", "fish"] {
        let completions = text(&scratch.postbud(&["completions", shell]).stdout);
        assert!(completions.contains("hash-password"), "{shell}");
    }
}

/// The documents' tables repeat what the example says, and the example what the program does.
#[test]
fn every_limit_is_documented_with_its_default() {
    let read = |path: &str| fs::read_to_string(project().join(path)).expect(path);
    let (example, table) = (read("config/postbud.toml"), read("docs/limits.md"));
    let limits = example.split("\n[limits]\n").nth(1).expect("a table [limits]").split("\n[").next().unwrap();
    let keys = limits.lines().filter_map(|line| {
        let (key, value) = line.trim_start_matches("# ").split_once(" = ")?;
        let value = value.split(" #").next()?.trim().trim_matches('"');
        key.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some((key, value))
    });
    let keys: Vec<_> = keys.collect();
    assert!(keys.len() >= 25, "{keys:?}");
    for (key, value) in keys {
        assert!(table.contains(&format!("| `{key}` | {value} |")), "{key} = {value} is not in docs/limits.md");
    }
}
