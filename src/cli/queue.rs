//! `postbud queue …`: shows and changes the running relay's queue.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::names::MailNames;
use super::relay::{Columns, Running, age, octets, understood};
use super::time;
use crate::cli::output;
use crate::operate::queue::{Message, MessageState, Selection, Stats};
use crate::operate::socket::protocol::{Command, Done};
use crate::visible::visible;

/// Show the queue of the running relay, and change waiting messages.
///
/// A command about thousands of messages works in batches and shows its progress. If it is interrupted, the changes so far remain.
///
/// The commands talk to the running relay over its socket (control.sock in its state folder), as root or as the user that runs the relay.
/// Each reports what it did and to how many messages.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud queue stats                                      How much waits, by customer
  postbud queue list --customer test-as --state deferred   What of a customer did not get through yet
  postbud queue show 6H0K9MEFC7721                         One message, every reply heard
  postbud queue hold --customer test-as --campaign 'Spring 2027' --reason 'wrong list'")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List messages, oldest first.
    ///
    /// All given filters must match. A message with several recipients is listed with those that still wait.
    ///
    /// STATE is the message's own: waiting, deferred, held (by `queue hold`, because it cannot be read, or because its DKIM signature has
    /// expired), delivering. A waiting or deferred message is marked "stopped" while its customer is suspended or paused, while its route
    /// is suspended, or while it has no route. The reason is then shown in place of the last reply (`stopped` in the JSON object). It is not
    /// held, so `queue release` has no effect on it. It continues after the customer's file or the route is corrected, after `postbud route
    /// resume`, or when the pause ends, at the latest by `postbud customer unpause`.
    #[command(after_long_help = "\
Examples:
  postbud queue list
  postbud queue list --state stopped
  postbud queue list --customer test-as --recipient-domain example.com
  postbud queue list --state held --older-than 2d
  postbud queue list --route mailjet.trusted --limit 0 --json | jq .id")]
    List {
        #[command(flatten)]
        which: Which,
        /// The maximum number of messages; 0 for all.
        #[arg(long, default_value_t = 100, value_name = "COUNT")]
        limit: u64,
        /// Print one JSON object per line, with every field.
        #[arg(long)]
        json: bool,
    },
    /// Show one message: envelope, attempts with their replies, header.
    ///
    /// The last reply of each recipient comes from the spool. Earlier attempts come from the event log, as far back as it is kept ([events]
    /// keep and keep_size).
    #[command(after_long_help = "\
Examples:
  postbud queue show 6H0K9MEFC7721
  postbud queue show 6H0K9MEFC7721 --json | jq .recipients")]
    Show {
        /// The queue id, as in "250 … queued as 6H0K9MEFC7721".
        id: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Hold messages until they are released.
    ///
    /// A message that is being delivered is held when its attempt ends without success.
    #[command(after_long_help = "\
Examples:
  postbud queue hold 6H0K9MEFC7721 --reason 'asked for by the customer'
  postbud queue hold --customer test-as --campaign 'Spring 2027' --reason 'wrong list'")]
    Hold {
        #[command(flatten)]
        which: Which,
        /// The reason, shown in the queue and in the event.
        #[arg(long, default_value = "held by an operator")]
        reason: String,
    },
    /// Release held messages, which are due at once.
    ///
    /// The time on hold does not count toward a message's maximum age ([retry] give_up). A released message gets at least one attempt, even
    /// if its route carries mail again only later. If this attempt fails temporarily and the message is past its maximum age, it is given
    /// up.
    #[command(after_long_help = "\
Examples:
  postbud queue release 6H0K9MEFC7721
  postbud queue release --customer test-as")]
    Release {
        #[command(flatten)]
        which: Which,
    },
    /// Try messages again now instead of at their scheduled time.
    ///
    /// Messages that are already due keep their place in line. If their route is in trouble they wait for it, and their age counts as
    /// usual: past its maximum age ([retry] give_up) a message is given up. Held messages stay held.
    #[command(after_long_help = "\
Examples:
  postbud queue retry 6H0K9MEFC7721
  postbud queue retry --recipient-domain example.com --state deferred")]
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Give messages up and inform their senders, as if the receiving server had refused them.
    ///
    /// The sender is informed as of any bounce: by an event, and by mail if the customer's file says `bounces = "mail"` and the route
    /// accepts the null sender. With --recipient-domain only the recipients in that domain are given up; the others continue.
    #[command(after_long_help = "\
Examples:
  postbud queue bounce 6H0K9MEFC7721 --reason 'this address is closed'
  postbud queue bounce --recipient-domain gmial.com --reason 'misspelt domain'")]
    Bounce {
        #[command(flatten)]
        which: Which,
        /// The reason, which the sender reads.
        #[arg(long, default_value = "given up by the postmaster")]
        reason: String,
    },
    /// Give messages up without informing their senders.
    ///
    /// The event log records the recipients and the reason; the mail itself is deleted.
    #[command(after_long_help = "\
Examples:
  postbud queue remove 6H0K9MEFC7721 --reason 'sent twice'
  postbud queue remove --customer test-as --state held --reason 'wrong list'")]
    Remove {
        #[command(flatten)]
        which: Which,
        /// The reason, kept in the event.
        #[arg(long, default_value = "no reason given")]
        reason: String,
    },
    /// Count waiting messages, in total and by customer.
    #[command(after_long_help = "\
Examples:
  postbud queue stats
  postbud queue stats --json | jq .messages")]
    Stats {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The selected messages: all given filters must match.
#[derive(Debug, clap::Args)]
struct Which {
    /// The queue ids of the messages.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Messages of this customer (the name of its file without .toml).
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Messages that take this route, as `postbud route list` names it.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Messages with a waiting recipient in this domain.
    #[arg(long, value_name = "DOMAIN")]
    recipient_domain: Option<String>,
    #[command(flatten)]
    names: MailNames,
    /// Messages that were accepted at least this long ago: 90s, 5m, 4h, 2d.
    #[arg(long, value_name = "AGE", value_parser = time::seconds)]
    older_than: Option<u64>,
    /// Messages in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// All messages; required by commands that change messages if no filter is given.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Waiting for its first attempt. One that failed because of the route does not count.
    Waiting,
    /// Tried without success, and waiting for the next attempt.
    Deferred,
    /// Held until released by `queue release`.
    Held,
    /// Being delivered now.
    Delivering,
    /// Waiting or deferred, but not tried: its customer is suspended or paused, its route is suspended, or it has no route.
    Stopped,
}

impl From<Which> for Selection {
    fn from(which: Which) -> Self {
        Selection {
            ids: which.ids,
            customer: which.customer,
            route: which.route,
            recipient_domain: which.recipient_domain,
            reference: which.names.reference,
            campaign: which.names.campaign,
            tag: which.names.tag,
            envid: which.names.envid,
            sender: which.names.sender,
            older_than_secs: which.older_than,
            state: which.state.map(|state| match state {
                State::Waiting => MessageState::Waiting,
                State::Deferred => MessageState::Deferred,
                State::Held => MessageState::Held,
                State::Delivering => MessageState::Delivering,
                State::Stopped => MessageState::Stopped,
            }),
            all: which.all,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let running = self.running;
        match self.command {
            QueueCommand::List { which, limit, json } => list(&running, which.into(), limit, json),
            QueueCommand::Show { id, json } => show(&running, id, json),
            QueueCommand::Stats { json } => stats(&running, json),
            QueueCommand::Hold { which, reason } => {
                change(&running, Command::Hold { which: which.into(), reason }, "held")
            }
            QueueCommand::Release { which } => {
                change(&running, Command::Release { which: which.into() }, "released and due at once")
            }
            QueueCommand::Retry { which } => change(&running, Command::Retry { which: which.into() }, "due at once"),
            QueueCommand::Bounce { which, reason } => {
                change(&running, Command::Bounce { which: which.into(), reason }, "bounced")
            }
            QueueCommand::Remove { which, reason } => {
                change(&running, Command::Remove { which: which.into(), reason }, "removed")
            }
        }
    }
}

fn list(running: &Running, which: Selection, limit: u64, json: bool) -> anyhow::Result<ExitCode> {
    let command = Command::List { which, limit: (limit > 0).then_some(limit) };
    if json {
        running.call_and_show(command)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut columns =
        Columns::new(&["ID", "AGE", "SIZE", "STATE", "TRIES", "CUSTOMER", "ROUTE", "FROM", "TO", "LAST REPLY"]);
    let mut unreadable = 0;
    let done = running.call(command, |item| match serde_json::from_value::<Message>(item) {
        Ok(message) => columns.row(row(running, &message)),
        Err(_) => unreadable += 1,
    })?;
    anyhow::ensure!(unreadable == 0, "{unreadable} messages of the answer were not understood");
    if done.count > 0 {
        columns.print();
    }
    let more = if done.more { " shown; there are more, see --limit" } else { "" };
    say!("{}{more}", messages(done.count));
    Ok(ExitCode::SUCCESS)
}

fn row(running: &Running, message: &Message) -> Vec<String> {
    let first = message.recipients.first();
    let to = match (first, message.waiting_count) {
        (None, _) => "-".into(),
        (Some(to), 0 | 1) => to.address.clone(),
        (Some(to), count) => format!("{} and {} more", to.address, count - 1),
    };
    let state = message.state.as_str();
    let state = if message.stopped.is_some() { format!("{state}, stopped") } else { state.to_owned() };
    let ours = message.held.as_ref().or(message.stopped.as_ref()).map(|reason| running.in_commands(reason));
    let why = ours.or_else(|| first.and_then(|to| to.reply.clone()));
    vec![
        message.id.clone(),
        age(message.age_secs),
        octets(message.size),
        state,
        message.attempts.to_string(),
        message.customer.clone(),
        message.route.clone().unwrap_or_else(|| "none".into()),
        format!("<{}>", message.sender),
        to,
        why.unwrap_or_default(),
    ]
}

fn show(running: &Running, id: String, json: bool) -> anyhow::Result<ExitCode> {
    let item = running.item::<Value>(Command::Show { id }, "message")?;
    if json {
        output::json_line(&item)?;
        return Ok(ExitCode::SUCCESS);
    }
    let message: Message = understood(item)?;
    output::text(&described(running, &message));
    Ok(ExitCode::SUCCESS)
}

fn described(running: &Running, message: &Message) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12} {}\n", visible(value)));
    line("Queue id", &message.id);
    line("Message-ID", &message.message_id);
    line("Customer", &format!("{} ({}, {})", message.customer, message.kind, message.urgency));
    let no_route = || {
        running.in_commands(&format!("none: see `postbud domain check {}` and the customer's file", message.customer))
    };
    line("Route", &message.route.clone().unwrap_or_else(no_route));
    line("Arrived", &format!("{} ({} ago)", message.arrived, age(message.age_secs)));
    line("Size", &octets(message.size));
    line("State", message.state.as_str());
    if let Some(reason) = &message.held {
        line("Held", &running.in_commands(reason));
    }
    if let Some(reason) = &message.stopped {
        line("Stopped", &running.in_commands(reason));
    }
    line("Attempts", &format!("{}; the next is due {}", message.attempts, message.due));
    line("Signed for", &message.from_domain);
    line("From", &format!("<{}>", message.sender));
    for (name, value) in [("Reference", &message.reference), ("Campaign", &message.campaign), ("ENVID", &message.envid)]
    {
        if let Some(value) = value {
            line(name, value);
        }
    }
    if !message.tags.is_empty() {
        line("Tags", &message.tags.join(", "));
    }
    for to in &message.recipients {
        let reply = to.reply.as_deref().map(|reply| format!(": {reply}")).unwrap_or_default();
        line("To", &format!("<{}> {}{reply}", to.address, to.state));
    }
    text.push_str("\nHistory (from the event log)\n");
    if message.history.is_empty() {
        text.push_str("  nothing is kept\n");
    }
    for event in &message.history {
        text.push_str(&format!("  {}\n", visible(&happened(event))));
    }
    text.push_str("\nHeader\n");
    for field in message.header.as_deref().unwrap_or_default().lines() {
        text.push_str(&format!("  {}\n", visible(&field.replace('\t', " "))));
    }
    text
}

/// Formats an event on one line.
fn happened(event: &Value) -> String {
    let field = |name: &str| event[name].as_str().map(str::to_owned);
    let named = |name: &str, label: &str| field(name).map(|value| format!("{label}{value}"));
    let parts = [
        field("at"),
        field("event"),
        named("recipient", "to "),
        named("route", "via "),
        output::said(event).map(|said| format!("reply: {said}")),
        field("detail"),
        named("next_attempt", "next "),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn stats(running: &Running, json: bool) -> anyhow::Result<ExitCode> {
    let item = running.item::<Value>(Command::Stats, "numbers")?;
    if json {
        output::json_line(&item)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stats: Stats = understood(item)?;
    let oldest = stats.oldest_secs.map(|secs| format!(", the oldest {} old", age(secs))).unwrap_or_default();
    show!("{} in the queue{oldest}", messages(stats.messages));
    show!("{} held, {} tried before, {} being delivered", stats.held, stats.deferred, stats.delivering);
    if stats.stopped > 0 {
        let see = running.in_commands("see `postbud queue list --state stopped`");
        show!("{} stopped, and not tried for now: {see}", stats.stopped);
    }
    show!("{} of mail, {} on disk", octets(stats.bytes), octets(stats.disk_bytes));
    super::relay::warn_of_missing(&stats.missing);
    if stats.quarantined > 0 {
        show!("{} records set aside as unreadable: see the spool's quarantine folder", stats.quarantined);
    }
    if stats.lanes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    show!("");
    let mut columns = Columns::new(&[
        "CUSTOMER",
        "DOMAIN",
        "URGENCY",
        "KIND",
        "MESSAGES",
        "HELD",
        "DEFERRED",
        "DELIVERING",
        "OLDEST",
        "ROUTE",
    ]);
    for lane in stats.lanes {
        columns.row([
            lane.customer,
            lane.domain,
            lane.urgency,
            lane.kind,
            lane.messages.to_string(),
            lane.held.to_string(),
            lane.deferred.to_string(),
            lane.delivering.to_string(),
            age(lane.oldest_secs),
            lane.route.unwrap_or_else(|| "none".into()),
        ]);
    }
    columns.print();
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that changes messages. If nothing changed, the exit code tells a script so.
fn change(running: &Running, command: Command, what: &str) -> anyhow::Result<ExitCode> {
    let done = running.change(command, what)?;
    show!("{}", confirmation(&done, what));
    Ok(if done.count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn confirmation(done: &Done, what: &str) -> String {
    let mut text = match done.count {
        0 => format!("No message fits; nothing was {what}"),
        count => format!("{} {what}", messages(count)),
    };
    if done.busy > 0 {
        text.push_str(&format!(
            "\n{} left alone: being delivered at this moment, or gone already. Look again in a moment",
            messages(done.busy)
        ));
    }
    text
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_says_what_was_done_to_how_many() {
        let said = |count, busy| confirmation(&Done { count, busy, ..Done::default() }, "held");
        assert_eq!(said(1, 0), "1 message held");
        assert_eq!(said(20, 0), "20 messages held");
        assert_eq!(said(0, 0), "No message fits; nothing was held");
        assert!(said(2, 1).starts_with("2 messages held\n1 message left alone"));
    }

    #[test]
    fn an_event_is_told_on_one_line() {
        let event = serde_json::json!({"at": "2026-11-23T18:24:00.000Z", "event": "deferred", "recipient": "a@example.com",
            "route": "mailjet.starter", "code": 451, "status": "4.7.1", "reply": "later"});
        assert_eq!(
            happened(&event),
            "2026-11-23T18:24:00.000Z  deferred  to a@example.com  via mailjet.starter  reply: 451 4.7.1 later"
        );
    }
}
