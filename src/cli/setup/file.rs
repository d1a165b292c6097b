//! Makes the server file of a new relay: the answers, with explanations. Every other key has a default, which the example explains.

use std::fmt::Write as _;
use std::path::Path;

use super::answers::Answers;
use crate::onboarding::rotation::toml_string;

/// Makes the text of the server file.
pub(super) fn text(state_dir: &Path, answers: &Answers) -> String {
    let quoted = |text: &dyn ToString| toml_string(&text.to_string());
    let path = |path: &Path| toml_string(&path.display().to_string());
    let networks: Vec<String> = answers.allow_from.iter().map(|network| quoted(network)).collect();
    let mut text = format!(
        "# postbud: the server file. `postbud check` finds every mistake in it. What is not here has a default: the example that comes\n\
         # with postbud (config/postbud.toml, /usr/share/doc/postbud/examples) has every key with its default and what it means.\n\
         # Relative paths are relative to this file.\n\n\
         # Our name: greeting, EHLO, Received. It should be the PTR record of the egress address.\n\
         hostname = {}\n\
         # Spool, verified domains, daily counters and the operators' socket.\n\
         state_dir = {}\n\
         customers_dir = \"customers\"\n\n\
         # Where webCRM submits its mail.\n\
         [[listener]]\n\
         address = {}\n",
        quoted(&answers.hostname),
        path(state_dir),
        quoted(&answers.listen),
    );
    match &answers.tls {
        Some(tls) => {
            let (certificate, key) = (path(&tls.certificate), path(&tls.private_key));
            let _ = write!(
                text,
                "tls = \"starttls\"                        # \"off\" | \"starttls\" | \"implicit\"\n\
                 certificate = {certificate}   # replaced without a restart\nprivate_key = {key}\n"
            );
        }
        None => text.push_str(
            "tls = \"off\"                             # only on a loopback address\nallow_plaintext_auth = true\n",
        ),
    }
    let _ = write!(
        text,
        "auth = \"required\"\n# Who may connect at all; everyone else is refused at the door.\nallow_from = [{}]\n\n\
         # Who may log in. `postbud hash-password` makes the hash.\n\
         [[submitter]]\nusername = {}\npassword_hash_file = \"secrets/webcrm.hash\"\ncustomers = \"all\"\n\n\
         # Every outgoing connection leaves from this address, or not at all.\n\
         [egress]\naddress = {}                 # what customers have allow-listed\n",
        networks.join(", "),
        toml_string(&answers.username),
        quoted(&answers.egress),
    );
    match answers.bind {
        None => text.push_str(
            "bind = \"any\"                            # the network around this machine gives it the address\n",
        ),
        Some(local) if local != answers.egress => {
            let _ =
                writeln!(text, "bind = {}                    # the local address that leaves as it", quoted(&local));
        }
        Some(_) => {}
    }
    if let Some(mailjet) = &answers.mailjet {
        text.push_str(
            "\n# Mailjet: one tier, with the credentials of one API key. More tiers may ask for what a domain has verified (requires).\n\
             [mailjet.starter]\n",
        );
        if mailjet.host != "in-v3.mailjet.com" || mailjet.port != 587 {
            let _ = write!(text, "host = {}\nport = {}\n", toml_string(&mailjet.host), mailjet.port);
        }
        if mailjet.host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback()) {
            text.push_str("tls = \"off\"\nallow_plaintext_auth = true\n");
        }
        text.push_str(
            "username_file = \"secrets/mailjet-starter.key\"\npassword_file = \"secrets/mailjet-starter.secret\"\n",
        );
    }
    let log = state_dir.join("events.jsonl");
    let _ = write!(
        text,
        "\n# What happened, for machines: JSON lines.\n[events]\nlog = {}\n\n\
         # /healthz, /readyz, /metrics and the status page.\n[web]\naddress = {}\n",
        path(&log),
        quoted(&answers.web),
    );
    text
}
