//! Gaps: if Mailjet has reported nothing about a mail in time, the relay asks Mailjet's API.
//!
//! A request lists an account's messages of a period, page by page. The list shows deliveries; for failures the message's history is
//! requested, too. The answers go through the inbox like Mailjet's own events, so they are judged in the same way, and a late event is
//! reported only once. Calls of an account are at least a second apart, and each run makes a limited number of calls. Mail that was not
//! found is asked for again at growing intervals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::report::{Kind, Report};
use super::store::{self, Mail, Taken, name_of, recipient_of};
use crate::customers::own_account;
use crate::database;
use crate::message::CustomerId;
use crate::onboarding::MailjetAccount;
use crate::onboarding::mailjet::messages::{self, Message, Step};
use crate::onboarding::mailjet::{Client, RequestError};
use crate::time::Timestamp;

/// How often the relay looks for gaps; more often if `ask_after` is short.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most mails that one run asks for.
const MAILS: i64 = 5_000;
/// The most calls of one account in one run.
const CALLS: usize = 300;
/// The shortest time between two calls of an account.
const PACE: Duration = Duration::from_secs(1);
/// Mails that were relayed within this time of each other share one request.
const TOGETHER: Duration = Duration::from_secs(120);
/// The longest period of one request, so that the pages of a busy account come to an end.
const SPAN: Duration = Duration::from_secs(600);
/// The allowed difference between Mailjet's clock and ours, including the time that Mailjet needs to list a mail.
const MARGIN: Duration = Duration::from_secs(300);
/// Mailjet tries for at most five days. If it has reported nothing by then, it never will.
const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);

/// Returns the name of the account of a route, as the configuration names it, or `None` for routes to other servers.
pub(super) fn account_of(route: &str) -> Option<String> {
    match route.strip_prefix("mailjet.") {
        Some(tier) => Some(tier.to_owned()),
        None => Some(own_account(&CustomerId::new(route.strip_prefix("mailjet-own.")?))),
    }
}

/// Asks Mailjet's API about mail without a report, until `stopping`.
pub(super) async fn run(shared: Arc<Shared>, stopping: CancellationToken) {
    let Some(ask_after) = shared.settings.ask_after else { return };
    let every = LOOK_EVERY.min(ask_after.max(Duration::from_secs(1)));
    let mut clients = Clients::default();
    while tokio::time::timeout(every, stopping.cancelled()).await.is_err() {
        let asking = ask(&shared, &mut clients, ask_after);
        match stopping.run_until_cancelled(asking).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!("mail that Mailjet reported nothing of cannot be looked up: {error}"),
        }
    }
}

/// A client for each account. It is kept as long as the account is the same, so that a paused account stays paused.
#[derive(Default)]
struct Clients(BTreeMap<String, Arc<Client>>);

impl Clients {
    fn get(&mut self, name: &str, account: &MailjetAccount) -> Option<Arc<Client>> {
        if let Some(client) = self.0.get(name).filter(|client| client.account() == account) {
            return Some(Arc::clone(client));
        }
        let client = Arc::new(Client::new(account.clone()).ok()?);
        self.0.insert(name.to_owned(), Arc::clone(&client));
        Some(client)
    }
}

async fn ask(shared: &Arc<Shared>, clients: &mut Clients, ask_after: Duration) -> Result<(), database::Error> {
    let now = Timestamp::now();
    let database = &shared.parts.database;
    let (count, oldest) = database.read(move |tables| store::gaps(tables, now)).await?;
    shared.counters.gaps.set(count);
    let age = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
    shared.counters.oldest_gap.set(i64::try_from(age).unwrap_or(i64::MAX));
    if count == 0 {
        return Ok(());
    }
    let mut by_account = BTreeMap::<String, Vec<Mail>>::new();
    for mail in database.read(move |tables| store::to_ask(tables, now, MAILS)).await? {
        by_account.entry(account_of(&mail.route).unwrap_or_default()).or_default().push(mail);
    }
    let accounts = shared.parts.accounts.borrow().mailjet_accounts.clone();
    for (name, mails) in by_account {
        let client = accounts.get(&name).and_then(|account| clients.get(&name, account));
        let Some(client) = client else {
            // There is nobody to ask, because the tier has no API or is gone.
            put_off(shared, &mails, ask_after, now).await?;
            continue;
        };
        let mut run = Run { shared, client: &client, calls: 0, ask_after };
        for span in spans(mails) {
            match run.span(span).await? {
                Asked::All => {}
                Asked::NoMore => break,
            }
        }
    }
    Ok(())
}

/// Groups mails that were relayed at about the same time. `mails` is in the order of relaying.
fn spans(mails: Vec<Mail>) -> Vec<Vec<Mail>> {
    let mut spans: Vec<Vec<Mail>> = Vec::new();
    for mail in mails {
        match spans.last_mut() {
            Some(span) if goes_with(span, &mail) => span.push(mail),
            _ => spans.push(vec![mail]),
        }
    }
    spans
}

fn goes_with(span: &[Mail], mail: &Mail) -> bool {
    let after = |earlier: Option<&Mail>| earlier.map_or(Duration::MAX, |earlier| mail.relayed.since(earlier.relayed));
    after(span.last()) <= TOGETHER && after(span.first()) <= SPAN
}

/// The progress of a span.
enum Asked {
    /// Every page was read.
    All,
    /// The account accepts no more calls now. The rest is due at the next run.
    NoMore,
}

struct Run<'a> {
    shared: &'a Arc<Shared>,
    client: &'a Client,
    calls: usize,
    ask_after: Duration,
}

impl Run<'_> {
    /// Asks about the mails of a span.
    async fn span(&mut self, mut open: Vec<Mail>) -> Result<Asked, database::Error> {
        let (Some(first), Some(last)) = (open.first(), open.last()) else { return Ok(Asked::All) };
        let (from, to) = ((first.relayed - MARGIN).as_secs(), (last.relayed + MARGIN).as_secs());
        let (mut offset, had_all_calls) = (0, self.calls == 0);
        while !open.is_empty() {
            let page = self.call(messages::list(self.client, from, to, offset)).await;
            let Some(page) = page else {
                if had_all_calls && self.calls >= CALLS {
                    // The next run would get no further.
                    put_off(self.shared, &open, self.ask_after, Timestamp::now()).await?;
                }
                return Ok(Asked::NoMore);
            };
            let (is_last, mut reports, mut found) = (page.len() < messages::PAGE, Vec::new(), Vec::new());
            offset += page.len();
            for message in &page {
                let Some(at) = named(&open, message) else { continue };
                let Some(more) = self.reports(message, &open[at]).await else {
                    self.keep(reports, &found).await?;
                    return Ok(Asked::NoMore);
                };
                reports.extend(more);
                found.push(open.remove(at));
            }
            self.keep(reports, &found).await?;
            if is_last {
                break;
            }
        }
        put_off(self.shared, &open, self.ask_after, Timestamp::now()).await?;
        Ok(Asked::All)
    }

    /// Returns Mailjet's reports about a message, or `None` if no more calls can be made.
    async fn reports(&mut self, message: &Message, mail: &Mail) -> Option<Vec<Report>> {
        match message.status.as_str() {
            "sent" | "opened" | "clicked" => Some(vec![delivered(message, mail)]),
            "bounce" | "bounced" | "hardbounced" | "softbounced" | "blocked" | "spam" | "unsub" => {
                let steps = self.call(messages::history(self.client, message.id)).await?;
                let mut reports: Vec<Report> = steps.iter().filter_map(|step| step_of(step, message, mail)).collect();
                if reports.is_empty() {
                    reports.extend(status_of(message, mail));
                }
                Some(reports)
            }
            // The message is still on its way.
            _ => Some(Vec::new()),
        }
    }

    /// Makes a call at the allowed rate. Returns `None` if there were enough calls, or if this one failed.
    async fn call<T>(&mut self, call: impl Future<Output = Result<T, RequestError>>) -> Option<T> {
        if self.calls >= CALLS {
            return None;
        }
        if self.calls > 0 {
            tokio::time::sleep(PACE).await;
        }
        self.calls += 1;
        match call.await {
            Ok(answer) => {
                self.shared.counters.called("answered");
                Some(answer)
            }
            Err(problem) => {
                self.shared.counters.called(match problem {
                    RequestError::Busy(_) => "busy",
                    RequestError::NoAnswer(_) => "no_answer",
                    _ => "refused",
                });
                let key = &self.client.account().key;
                tracing::warn!("Mailjet's account {key} does not say what became of mail: {}", problem.detail());
                None
            }
        }
    }

    /// Puts reports into the inbox, and schedules the next question for mails without a report.
    async fn keep(&self, reports: Vec<Report>, found: &[Mail]) -> Result<(), database::Error> {
        if found.is_empty() {
            return Ok(());
        }
        let (shared, now) = (self.shared, Timestamp::now());
        let count = reports.len();
        let row = (count > 0).then(|| (Taken { number: shared.next_number(), came: now, reports, handed: false }, now));
        let (found, ask_after) = (found.to_vec(), self.ask_after);
        let given_up = found.iter().filter(|mail| next_time(mail, ask_after, now).is_none()).count();
        let work = move |tables: &database::Transaction<'_>| {
            store::put(tables, row.as_slice())?;
            found.iter().try_for_each(|mail| store::ask_at(tables, mail, next_time(mail, ask_after, now)))
        };
        shared.parts.database.write(work).await?;
        shared.counters.filled.inc_by(count as u64);
        shared.counters.given_up.inc_by(given_up as u64);
        shared.counters.waiting.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        shared.arrived.notify_one();
        Ok(())
    }
}

/// Schedules the next question for mails, or none.
async fn put_off(shared: &Shared, mails: &[Mail], ask_after: Duration, now: Timestamp) -> Result<(), database::Error> {
    let mails = mails.to_vec();
    let given_up = mails.iter().filter(|mail| next_time(mail, ask_after, now).is_none()).count();
    let work = move |tables: &database::Transaction<'_>| {
        mails.iter().try_for_each(|mail| store::ask_at(tables, mail, next_time(mail, ask_after, now)))
    };
    shared.parts.database.write(work).await?;
    shared.counters.given_up.inc_by(given_up as u64);
    Ok(())
}

/// Returns when to ask about a mail again: after half of the time that has passed since it was relayed, but at least after `ask_after`.
/// Returns `None` once the relay gives up.
fn next_time(mail: &Mail, ask_after: Duration, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(mail.relayed);
    (age < GIVE_UP).then(|| now + ask_after.max(age / 2))
}

/// Returns the mail that a listed message is. If Mailjet's reply did not identify the mail, recipient and time do.
fn named(open: &[Mail], message: &Message) -> Option<usize> {
    let number = i64::try_from(message.id).ok();
    let names = [number, name_of(&message.uuid)];
    let recipient = recipient_of(&message.contact_alt);
    let by_name: Vec<usize> =
        (0..open.len()).filter(|at| open[*at].name.is_some() && names.contains(&open[*at].name)).collect();
    // The recipients of one mail have its name in common.
    let by_name = match by_name.as_slice() {
        [only] => Some(*only),
        several => several.iter().copied().find(|at| open[*at].recipient == recipient),
    };
    by_name.or_else(|| {
        let arrived = message.arrived_at.parse::<Timestamp>().ok()?;
        let is_near = |mail: &Mail| arrived.since(mail.relayed) <= MARGIN && mail.relayed.since(arrived) <= MARGIN;
        let mut meant = open
            .iter()
            .enumerate()
            .filter(|(_, mail)| mail.name.is_none() && mail.recipient == recipient && is_near(mail));
        match (meant.next(), meant.next()) {
            (Some((at, _)), None) => Some(at),
            // Two mails to one recipient at the same time cannot be distinguished.
            _ => None,
        }
    })
}

fn report(kind: Kind, message: &Message, mail: &Mail, time: f64) -> Report {
    Report {
        time: if time.is_finite() && time > 0.0 { time as u64 } else { 0 },
        mail: Some(mail.id),
        place: Some(mail.place),
        number: Some(message.id),
        email: message.contact_alt.chars().take(320).collect(),
        ..Report::new(kind)
    }
}

fn arrived(message: &Message) -> f64 {
    message.arrived_at.parse::<Timestamp>().map_or(0.0, |at| at.as_secs() as f64)
}

fn delivered(message: &Message, mail: &Mail) -> Report {
    report(Kind::Sent, message, mail, arrived(message) + message.delay.clamp(0.0, GIVE_UP.as_secs_f64()))
}

/// Converts a step of the history to a report. Openings and clicks are taken from events only, which have more details.
fn step_of(step: &Step, message: &Message, mail: &Mail) -> Option<Report> {
    let kind = match step.event_type.to_ascii_lowercase().as_str() {
        "sent" => Kind::Sent,
        "bounce" | "bounced" | "hardbounced" | "softbounced" => Kind::Bounce,
        "blocked" => Kind::Blocked,
        "spam" => Kind::Spam,
        "unsub" => Kind::Unsub,
        _ => return None,
    };
    let (related_to, error) = messages::error_of(message.state);
    let error = if step.state.is_empty() { error } else { &step.state };
    let is_failure = matches!(kind, Kind::Bounce | Kind::Blocked);
    let words = |text: &str| if is_failure { text.chars().take(64).collect() } else { String::new() };
    Some(Report {
        hard: kind == Kind::Bounce && is_hard(message, &step.event_type),
        related_to: words(related_to),
        error: words(error),
        comment: step.comment.chars().take(512).collect(),
        ..report(kind, message, mail, step.event_at)
    })
}

/// Converts the status of a message without a history to a report.
fn status_of(message: &Message, mail: &Mail) -> Option<Report> {
    let step = Step { event_type: message.status.clone(), event_at: arrived(message), ..Step::default() };
    step_of(&step, message, mail)
}

/// Returns true for "hardbounced", and for "bounce" with a permanent error.
fn is_hard(message: &Message, event_type: &str) -> bool {
    let is = |name: &str| message.status.eq_ignore_ascii_case(name) || event_type.eq_ignore_ascii_case(name);
    is("hardbounced") || (!is("softbounced") && matches!(message.state, 1 | 2 | 4))
}

/// For `tests/fuzz` only (feature `fuzzing`): what a list of messages and a history say about two mails, one with a name and one without.
#[cfg(feature = "fuzzing")]
pub(super) fn judged(messages: &[u8], history: &[u8]) -> Vec<Report> {
    let mail = |place: u32, name: Option<i64>| Mail {
        node: String::new(),
        id: crate::message::QueueId::first_at(Timestamp::from_millis(1_795_458_240_000)),
        place,
        name,
        recipient: recipient_of("a@x.dk"),
        customer: "a".into(),
        route: "mailjet.trusted".into(),
        at: crate::record::journal::Position::default(),
        relayed: Timestamp::from_millis(1_795_458_240_000),
        state: super::state::State::default(),
    };
    let open = [mail(0, name_of("1ab23cd4-e567-8901-2345-6789f0a1b2c3")), mail(1, None)];
    let (messages, steps) = messages::read(messages, history);
    let mut reports = Vec::new();
    for message in &messages {
        let about = named(&open, message).map_or(&open[1], |at| &open[at]);
        reports.push(delivered(message, about));
        reports.extend(steps.iter().filter_map(|step| step_of(step, message, about)));
        reports.extend(status_of(message, about));
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::super::state::State;
    use super::*;
    use crate::message::QueueId;
    use crate::record::journal::Position;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn mail(number: u64, after: u64, name: Option<&str>, to: &str) -> Mail {
        Mail {
            node: String::new(),
            id: QueueId::from_u64(number),
            place: 0,
            name: name.and_then(name_of),
            recipient: recipient_of(to),
            customer: "a".into(),
            route: "mailjet.trusted".into(),
            at: Position::default(),
            relayed: NOW + Duration::from_secs(after),
            state: State::default(),
        }
    }

    fn message(id: u64, uuid: &str, to: &str, arrived_at: &str) -> Message {
        let (uuid, contact_alt, arrived_at) = (uuid.into(), to.into(), arrived_at.into());
        Message { id, uuid, contact_alt, arrived_at, ..Message::default() }
    }

    #[test]
    fn a_route_leads_to_its_account() {
        assert_eq!(account_of("mailjet.trusted").as_deref(), Some("trusted"));
        assert_eq!(account_of("mailjet-own.acme"), Some(own_account(&CustomerId::new("acme"))));
        assert_eq!((account_of("own-server.acme"), account_of("mailjet"), account_of("bounces")), (None, None, None));
    }

    #[test]
    fn neighbours_are_asked_for_together() {
        let mails = [0, 60, 180, 301, 900].map(|after| mail(after, after, None, "a@x.dk"));
        let sizes: Vec<usize> = spans(mails.into()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 1, 1]);
        let stream = (0..20).map(|n| mail(n, n * 100, None, "a@x.dk")).collect();
        assert!(spans(stream).iter().all(|span| span.len() <= 7), "a stream without pause is cut");
    }

    #[test]
    fn a_message_is_found_by_its_name_and_else_by_recipient_and_time_if_that_is_clear() {
        const GUID: &str = "1ab23cd4-e567-8901-2345-6789f0a1b2c3";
        const SHARED: &str = "2ab23cd4-e567-8901-2345-6789f0a1b2c3";
        let at = "2026-11-23T18:24:10Z";
        let open = [
            mail(1, 0, Some(GUID), "a@x.dk"),
            mail(2, 0, Some("19421777835146490"), "b@x.dk"),
            mail(3, 0, None, "c@x.dk"),
            mail(4, 0, None, "d@x.dk"),
            mail(5, 30, None, "d@x.dk"),
            mail(6, 0, Some(SHARED), "e@x.dk"),
            mail(6, 0, Some(SHARED), "f@x.dk"),
        ];
        for (found, expected) in [
            (message(7, &GUID.to_uppercase(), "", at), Some(0)),
            (message(19_421_777_835_146_490, "", "", at), Some(1)),
            (message(9, "", "C@x.dk", at), Some(2)),
            (message(9, "", "c@x.dk", "2026-11-23T19:24:10Z"), None),
            (message(9, "", "c@x.dk", "soon"), None),
            (message(9, "", "d@x.dk", at), None),
            (message(9, "", "a@x.dk", at), None),
            (message(0, "", "", at), None),
            (message(9, SHARED, "F@x.dk", at), Some(6)),
            (message(9, SHARED, "", at), None),
        ] {
            assert_eq!(named(&open, &found), expected, "{found:?}");
        }
    }

    #[test]
    fn what_is_not_heard_of_is_asked_for_less_and_less_often_and_then_given_up() {
        let mail = mail(1, 0, None, "a@x.dk");
        let ask_after = Duration::from_secs(6 * 3600);
        let (mut now, mut times) = (NOW + ask_after, 1);
        while let Some(next) = next_time(&mail, ask_after, now) {
            assert!(next >= now + ask_after);
            (now, times) = (next, times + 1);
        }
        assert!((5..=12).contains(&times), "{times}");
        assert!(now.since(NOW) >= GIVE_UP);
    }

    #[test]
    fn a_history_is_told_as_events_would_tell_it() {
        let mail = mail(1, 0, None, "a@x.dk");
        let failed =
            Message { status: "hardbounced".into(), state: 1, ..message(7, "", "a@x.dk", "2026-11-23T18:24:10Z") };
        let step = |event_type: &str, state: &str, comment: &str| Step {
            event_type: event_type.into(),
            event_at: 1_795_458_300.0,
            state: state.into(),
            comment: comment.into(),
        };
        let bounced = step_of(&step("bounced", "", "550 5.1.1 no"), &failed, &mail).unwrap();
        assert_eq!((bounced.kind, bounced.hard, bounced.time), (Kind::Bounce, true, 1_795_458_300));
        assert_eq!((bounced.related_to.as_str(), bounced.error.as_str()), ("recipient", "user unknown"));
        assert_eq!((bounced.mail, bounced.place), (Some(mail.id), Some(0)));
        assert_eq!(step_of(&step("opened", "", ""), &failed, &mail), None);
        assert_eq!(
            step_of(&step("sent", "", ""), &failed, &mail).map(|it| (it.kind, it.error)),
            Some((Kind::Sent, String::new()))
        );
        let bare = status_of(&failed, &mail).unwrap();
        assert_eq!((bare.kind, bare.hard, bare.time), (Kind::Bounce, true, 1_795_458_250));
        let soft = Message { status: "softbounced".into(), state: 3, ..failed };
        assert!(!status_of(&soft, &mail).unwrap().hard);
        let sent = Message { delay: 5.0, ..message(7, "", "a@x.dk", "2026-11-23T18:24:10Z") };
        assert_eq!(delivered(&sent, &mail).time, 1_795_458_255);
    }
}
