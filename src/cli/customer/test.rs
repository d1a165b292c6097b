//! `postbud customer test`: one small mail through a customer's route.

use std::process::ExitCode;

use crate::cli::output;
use crate::cli::relay::{Running, understood};
use crate::operate::jobs::TestSent;
use crate::operate::socket::protocol::Command;
use crate::visible::visible;

/// Send one small mail through a customer's route, and say what the next server answered.
///
/// The running relay signs it, queues it and tells of it as of webCRM's mail. Test mode and the suppression list hold for it, too. Exits 0
/// once the next server has taken the mail, and 1 if it did not, or not within 100 seconds; then the mail stays in the queue as any
/// other, and `postbud trace` with its queue id tells what becomes of it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer test test-as --to me@webcrm.com
  postbud customer test test-as --to me@webcrm.com --from news@test.dk --json | jq -r .reply")]
pub(super) struct Test {
    #[command(flatten)]
    running: Running,
    /// The customer's id.
    customer: String,
    /// To whom it goes.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// From whom, in a From domain of the customer; postmaster@ its first domain where not given.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Test { running, customer, to, from, json } = self;
        let mut sent = None;
        running.call(Command::TestSend { customer, to, from }, |item| sent = Some(understood::<TestSent>(item)))?;
        let sent = sent.ok_or_else(|| anyhow::anyhow!("the relay did not say what came of it"))??;
        if json {
            output::json_line(&sent)?;
        } else {
            output::text(&described(&sent));
        }
        Ok(if sent.event == "relayed" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn described(sent: &TestSent) -> String {
    let mut text = format!("{} {}\n", sent.queue_id, sent.event);
    let code = sent.code.map(|code| code.to_string());
    let reply: Vec<&str> = [&code, &sent.status, &sent.reply].into_iter().flatten().map(String::as_str).collect();
    let reply = (!reply.is_empty()).then(|| reply.join(" "));
    let named = [
        ("Route", &sent.route),
        ("Server", &sent.server),
        ("Reply", &reply),
        ("Class", &sent.class),
        ("Detail", &sent.detail),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            text.push_str(&format!("{name:<14} {}\n", visible(value)));
        }
    }
    text
}
