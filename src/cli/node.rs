//! `postbud node`: the nodes that share a spool in PostgreSQL.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;

use super::{ConfigFile, output};
use crate::config;
use crate::server::SpoolSettings;
use crate::spool::postgres::{self, NodeStatus, Overview};
use crate::visible::visible;

/// Show the nodes that share a spool in PostgreSQL.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  postbud node list")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// List the nodes and their shards.
    ///
    /// Asks the database, not a relay, so any machine with the configuration can ask. A shard is a part of the customers, and its owner
    /// delivers their mail. A node is marked if its customers are configured differently from those of most nodes.
    #[command(after_long_help = "\
Examples:
  postbud node list
  postbud node list --json | jq '.nodes[] | select(.differs) | .name'

Exit codes: 0 every shard has an owner that is alive, and all nodes have the same customers; 1 not so, or the database does not
answer.")]
    List {
        /// Print one JSON object: nodes, shards with their epochs, and in_transit.
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let NodeCommand::List { json } = self.command;
        let SpoolSettings::Postgres(settings) = config::load(&self.config.path)?.settings.spool else {
            bail!(
                "the spool is in a folder of this machine, and one node has it; nodes share a spool with [spool] backend = \"postgres\""
            );
        };
        let overview = postgres::overview(&settings).map_err(|why| anyhow!(why))?;
        match json {
            true => output::json(&overview)?,
            false => print(&overview),
        }
        Ok(if overview.is_in_order() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print(overview: &Overview) {
    for node in &overview.nodes {
        let shards: Vec<String> = node.shards.iter().map(ToString::to_string).collect();
        let shards = if shards.is_empty() { "none".into() } else { shards.join(" ") };
        show!("{}: {}; shards {shards}", visible(&node.name), state(node));
        if node.differs {
            show!(
                "  its customers are configured in another way than those of most nodes; copy their files and keys there"
            );
        }
    }
    let is_alive = |owner: &str| overview.nodes.iter().any(|node| node.alive && node.name == owner);
    let orphans: Vec<String> =
        overview.shards.iter().filter(|shard| !is_alive(&shard.owner)).map(|shard| shard.shard.to_string()).collect();
    if !orphans.is_empty() {
        show!("without an owner that is alive: shards {}", orphans.join(" "));
    }
    show!("{} messages are on their way from the node that took them to their owner", overview.in_transit);
}

fn state(node: &NodeStatus) -> String {
    match (node.alive, node.leaving) {
        (false, _) => format!("silent; its lease ended {:.0} s ago", -node.lease_seconds),
        (true, true) => "leaving".into(),
        (true, false) => format!("alive for {:.0} s", node.up_seconds),
    }
}
