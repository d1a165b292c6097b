//! The operator's commands, over the real socket, on the embedded spool.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command as Process;

use postbud::events::{EventKind, Mail, RecipientEvent, Tried};
use postbud::message::{FailureClass, MailKind, QueueId, ReplyText};
use postbud::operate::queue::{Message, MessageState, Selection, Stats};
use postbud::operate::routes::Route;
use postbud::operate::socket::protocol::{Command, Done};
use postbud::operate::socket::{self, CallError};
use postbud::route::Cause;
use postbud::spool::{Commit, Inspect, Settlement, Work};
use postbud::time::Timestamp;
use serde_json::Value;

use crate::customers::route;
use crate::drafts::{backoff, lane, soon};
use crate::relay::{Fixture, suspended, wait_until};

async fn call(fixture: &Fixture, command: Command) -> Result<(Vec<Value>, Done), CallError> {
    let dir = fixture.state_dir().to_owned();
    let work = move || {
        let mut items = Vec::new();
        let done = socket::call(&dir, command, |item| items.push(item), |_| {})?;
        Ok((items, done))
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn list(fixture: &Fixture, which: Selection) -> Vec<Message> {
    let (items, done) = call(fixture, Command::List { which, limit: None }).await.unwrap();
    assert_eq!(done.count, items.len() as u64);
    items.into_iter().map(|item| serde_json::from_value(item).unwrap()).collect()
}

fn one(id: QueueId) -> Selection {
    Selection { ids: vec![id.to_string()], ..Selection::default() }
}

fn of_customer(customer: &str) -> Selection {
    Selection { customer: Some(customer.into()), ..Selection::default() }
}

fn refusal(result: Result<(Vec<Value>, Done), CallError>) -> String {
    match result {
        Err(CallError::Refused(error)) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_shows_what_fits_every_filter() {
    let fixture = Fixture::start();
    let a = fixture.queue("test-as", &["x@example.com", "y@example.org"]).await;
    let b = fixture.queue("mj", &["z@example.org"]).await;
    let held = fixture.queue("mj", &["z@example.net"]).await;
    call(&fixture, Command::Hold { which: one(held), reason: "why".into() }).await.unwrap();
    let ids = |messages: Vec<Message>| messages.into_iter().map(|m| m.id).collect::<Vec<_>>();
    let text = |ids: &[QueueId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let by = |change: &dyn Fn(&mut Selection)| {
        let mut which = Selection::default();
        change(&mut which);
        which
    };
    for (which, expected) in [
        (Selection::default(), text(&[a, b, held])),
        (of_customer("mj"), text(&[b, held])),
        (by(&|w| w.recipient_domain = Some("example.org".into())), text(&[a, b])),
        (by(&|w| w.route = Some("mailjet.starter".into())), text(&[b, held])),
        (by(&|w| w.state = Some(MessageState::Held)), text(&[held])),
        (by(&|w| w.state = Some(MessageState::Waiting)), text(&[a, b])),
        (by(&|w| w.state = Some(MessageState::Deferred)), vec![]),
        (by(&|w| w.older_than_secs = Some(3600)), vec![]),
        (by(&|w| (w.customer, w.state) = (Some("mj".into()), Some(MessageState::Waiting))), text(&[b])),
        (one(b), text(&[b])),
    ] {
        assert_eq!(ids(list(&fixture, which.clone()).await), expected, "{which:?}");
    }
    let message = list(&fixture, one(held)).await.remove(0);
    assert_eq!(message.held.as_deref(), Some("why"));
    assert_eq!(message.route.as_deref(), Some("mailjet.starter"));
    assert_eq!((message.sender.as_str(), message.recipients[0].address.as_str()), ("sender@test.dk", "z@example.net"));
    let (items, done) = call(&fixture, Command::List { which: Selection::default(), limit: Some(2) }).await.unwrap();
    assert_eq!((items.len(), done.count, done.more), (2, 2, true));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_paged_and_complete() {
    let fixture = Fixture::start();
    let mut expected = HashSet::new();
    let mut commits = tokio::task::JoinSet::new();
    for n in 0..1_203 {
        let draft = crate::drafts::draft("test-as", &["x@example.com"], n, 10);
        expected.insert(draft.id.to_string());
        commits.spawn(fixture.spool.commit(draft));
    }
    commits.join_all().await.into_iter().for_each(|done| drop(done.unwrap()));
    let found: Vec<String> = list(&fixture, Selection::default()).await.into_iter().map(|m| m.id).collect();
    assert_eq!(found.len(), 1_203);
    assert!(found.is_sorted(), "oldest first");
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected);
    // By route the spool cannot tell: the command walks the pages.
    let by_route = Selection { route: Some("own-server.test-as".into()), ..Selection::default() };
    let (_, done) = call(&fixture, Command::Hold { which: by_route, reason: "all".into() }).await.unwrap();
    assert_eq!(done.count, 1_203);
    let (_, done) =
        call(&fixture, Command::Remove { which: of_customer("test-as"), reason: "all".into() }).await.unwrap();
    assert_eq!((done.count, done.busy), (1_203, 0));
    assert!(fixture.records().await.is_empty());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_ids_share_their_syncs_and_the_operator_hears_how_far_it_came() {
    const MESSAGES: u64 = 4_000;
    let fixture = Fixture::start();
    let mut commits = tokio::task::JoinSet::new();
    for n in 0..MESSAGES {
        commits.spawn(fixture.spool.commit(crate::drafts::draft("test-as", &["x@example.com"], n, 10)));
    }
    let mut ids: Vec<String> =
        commits.join_all().await.into_iter().map(|done| done.unwrap().id().to_string()).collect();
    ids.push(fixture.spool.next_id().to_string());
    ids.push(ids[0].clone());
    let which = || Selection { ids: ids.clone(), ..Selection::default() };
    for command in [
        Command::Hold { which: which(), reason: "all of them".into() },
        Command::Release { which: which() },
        Command::Retry { which: which() },
        Command::Remove { which: which(), reason: "all of them".into() },
    ] {
        let before = fixture.counters.syncs.get();
        let dir = fixture.state_dir().to_owned();
        let work = move || {
            let mut told = Vec::new();
            let done = socket::call(&dir, command, |_| {}, |done| told.push(done.count)).unwrap();
            (done, told)
        };
        let (done, told) = tokio::task::spawn_blocking(work).await.unwrap();
        assert_eq!((done.count, done.busy), (MESSAGES, 0));
        assert!(told.len() > 4 && told.is_sorted() && told.last() == Some(&MESSAGES), "{told:?}");
        let syncs = fixture.counters.syncs.get() - before;
        // However the threads are scheduled, many changes share a sync.
        assert!(syncs < MESSAGES / 8, "{syncs} syncs");
    }
    assert!(fixture.records().await.is_empty());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_gone_for_good_when_the_operator_hears_so() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com"]).await;
    let syncs = fixture.counters.syncs.get();
    call(&fixture, Command::Remove { which: one(id), reason: "x".into() }).await.unwrap();
    assert!(fixture.counters.syncs.get() > syncs, "it is on disk");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_route_says_since_when_and_what_lifts_it() {
    let fixture = Fixture::start();
    for (cause, lifted_by) in [(Cause::Login, "changed login"), (Cause::Operator, "route resume")] {
        fixture.routes.set("mailjet.starter", suspended(cause, "535 no"));
        let (items, _) = call(&fixture, Command::Routes).await.unwrap();
        let route: Route = serde_json::from_value(items[0].clone()).unwrap();
        assert_eq!((route.state.as_str(), route.since.as_deref()), ("suspended", Some("2020-01-01T00:00:00.000Z")));
        assert!(route.lifted_by.as_ref().unwrap().contains(lifted_by), "{route:?}");
        let dir = fixture.state_dir().to_owned();
        let run = move || postbud(&dir, &["route", "list"]);
        let (ok, out, _) = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(ok && out.contains("2020-01-01") && out.contains("535 no") && out.contains(lifted_by), "{out}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_behind_a_suspended_route_is_listed_as_stopped_with_the_reason() {
    let fixture = Fixture::start();
    fixture.queue("test-as", &["x@example.com"]).await;
    let stopped = fixture.queue("mj", &["z@example.org"]).await;
    let held = fixture.queue("mj", &["z@example.net"]).await;
    call(&fixture, Command::Hold { which: one(held), reason: "why".into() }).await.unwrap();
    let which = Selection { state: Some(MessageState::Stopped), ..Selection::default() };
    assert!(list(&fixture, which.clone()).await.is_empty());
    fixture.routes.set("mailjet.starter", suspended(Cause::Login, "535 no"));
    let listed = list(&fixture, which).await;
    let [message] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((message.id.clone(), message.state), (stopped.to_string(), MessageState::Waiting));
    assert_eq!(message.stopped.as_deref(), Some("route mailjet.starter is suspended: 535 no"));
    assert_eq!(list(&fixture, one(held)).await[0].stopped, None, "it is held");
    let (items, _) = call(&fixture, Command::Stats).await.unwrap();
    let stats: Stats = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!((stats.stopped, stats.held), (1, 1));
    let dir = fixture.state_dir().to_owned();
    let run = move || postbud(&dir, &["queue", "list", "--state", "stopped"]);
    let (ok, out, _) = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(ok && out.contains("waiting, stopped") && out.contains("is suspended: 535 no"), "{out}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_release_and_retry_change_when_a_message_is_due_and_say_so() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com"]).await;
    let held = || async { fixture.records().await[0].held.clone() };
    let hold = Command::Hold { which: one(id), reason: "wrong list".into() };
    assert_eq!(call(&fixture, hold).await.unwrap().1.count, 1);
    assert_eq!(held().await.as_deref(), Some("wrong list"));
    assert!(fixture.spool.claim(&lane("test-as"), soon(), 10, &backoff()).await.unwrap().is_empty());
    assert_eq!(call(&fixture, Command::Release { which: of_customer("test-as") }).await.unwrap().1.count, 1);
    assert_eq!(held().await, None);
    assert_eq!(call(&fixture, Command::Retry { which: one(id) }).await.unwrap().1.count, 1);
    assert_eq!(call(&fixture, Command::Release { which: one(id) }).await.unwrap().1.count, 0, "nothing is held");
    let events = fixture.end().await;
    let acts: Vec<_> = events.iter().filter(|event| event["event"] == "audit").collect();
    let actions: Vec<_> = acts.iter().map(|act| act["command"].as_str().unwrap()).collect();
    assert_eq!(actions, ["queue.hold", "queue.release", "queue.retry"], "nothing that changed nothing");
    assert!(
        acts.iter().all(|act| act["changed"] == 1 && act["actor"].as_str().unwrap().starts_with("uid ")),
        "{acts:?}"
    );
    let mut told: Vec<(String, String)> =
        events.iter().map(|e| (e["event"].as_str().unwrap().into(), e["detail"].as_str().unwrap().into())).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    // What is told of mail comes with the spool's next sync, and a command at once.
    told.sort();
    assert!(told[0].0 == "audit" && told[0].1.starts_with("1 messages released"), "{told:?}");
    assert!(told[1].0 == "audit" && told[1].1.contains("wrong list"), "{told:?}");
    assert!(told[2].0 == "audit" && told[2].1.starts_with("made due at once"), "{told:?}");
    assert!(told[3].0 == "held" && told[3].1.contains("wrong list"), "{told:?}");
    assert!(told[4].0 == "released" && told[4].1.starts_with("released by an operator"), "{told:?}");
    for event in events.iter().filter(|event| event["event"] == "held" || event["event"] == "released") {
        assert_eq!((&event["queue_id"], &event["recipient"]), (&id.to_string().into(), &"x@example.com".into()));
        assert!(event["actor"].as_str().unwrap().starts_with("uid "), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounce_tells_the_sender_by_signed_mail_where_the_route_takes_the_null_sender() {
    let fixture = Fixture::start();
    let own = fixture.queue("test-as", &["x@example.com"]).await;
    fixture.queue("mj", &["x@example.com"]).await;
    let all = Selection { all: true, ..Selection::default() };
    let done = call(&fixture, Command::Bounce { which: all, reason: "closed".into() }).await.unwrap().1;
    assert_eq!((done.count, done.busy), (2, 0));
    assert_eq!(fixture.outcomes.counters().bounced.get(), 2, "counted as any other bounce");
    let left = fixture.records().await;
    assert_eq!(left.len(), 1, "Mailjet takes no null sender: that bounce stays an event");
    let notice = &left[0];
    assert_eq!((notice.lane.kind, notice.lane.customer.as_str()), (MailKind::Bounce, "test-as"));
    assert_eq!(notice.envelope.reverse_path.to_string(), "");
    assert_eq!(notice.envelope.recipients[0].address.to_string(), "sender@test.dk");
    let (_, header) = fixture.spool.show(notice.id).await.unwrap();
    let header = String::from_utf8(header).unwrap();
    assert!(header.starts_with("DKIM-Signature:"), "{header}");
    assert!(header.contains("d=test.dk") && header.contains("<mailer-daemon@test.dk>"), "{header}");
    let events = fixture.end().await;
    let bounced: Vec<_> = events.iter().filter(|event| event["event"] == "bounced").collect();
    assert_eq!(bounced.len(), 2);
    let first = bounced.iter().find(|event| event["queue_id"] == own.to_string()).unwrap();
    assert_eq!((first["recipient"].as_str(), first["customer"].as_str()), (Some("x@example.com"), Some("test-as")));
    assert!(first["detail"].as_str().unwrap().contains("closed"));
    assert_eq!((&first["class"], first.get("reply"), first.get("code")), (&"policy".into(), None, None));
    assert!(first["actor"].as_str().unwrap().starts_with("uid "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_domain_gives_up_only_recipients_there() {
    let fixture = Fixture::start();
    fixture.queue("mj", &["a@gmial.com", "b@example.com"]).await;
    let which = Selection { recipient_domain: Some("gmial.com".into()), ..Selection::default() };
    let done = call(&fixture, Command::Bounce { which: which.clone(), reason: "misspelt".into() }).await.unwrap().1;
    assert_eq!(done.count, 1);
    let record = fixture.records().await.remove(0);
    let waiting: Vec<String> = record.waiting().map(|(_, to)| to.address.to_string()).collect();
    assert_eq!(waiting, ["b@example.com"]);
    let again = call(&fixture, Command::Remove { which, reason: "x".into() }).await.unwrap().1;
    assert_eq!(again.count, 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_delivered_is_left_alone_and_counted() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com"]).await;
    let leases = fixture.spool.claim(&lane("test-as"), soon(), 10, &backoff()).await.unwrap();
    assert_eq!(leases.len(), 1);
    let busy = Selection { state: Some(MessageState::Delivering), ..Selection::default() };
    assert_eq!(list(&fixture, busy).await.len(), 1);
    let remove = || Command::Remove { which: one(id), reason: "x".into() };
    let done = call(&fixture, remove()).await.unwrap().1;
    assert_eq!((done.count, done.busy), (0, 1));
    drop(leases);
    let mut removed = 0;
    for _ in 0..500 {
        removed += call(&fixture, remove()).await.unwrap().1.count;
        if removed > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(removed, 1, "once its attempt is over it can be removed");
    assert!(fixture.records().await.is_empty());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn show_tells_every_reply_heard() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com", "y@example.com"]).await;
    let record = fixture.records().await.remove(0);
    let tried = Tried::new(&record, &route("own-server.test-as", "mail.test.dk"));
    let told = ["451 4.7.1 later", "421 4.3.2 busy"].map(|reply| {
        let heard = ReplyText::new(reply, Some(FailureClass::Rate));
        RecipientEvent::of_attempt(EventKind::Deferred, 0, Timestamp::now(), &tried, heard)
    });
    let lines = fixture.events.write(&Mail::of(&record), &told).take_lines();
    let lease = fixture.spool.claim(&lane("test-as"), soon(), 1, &backoff()).await.unwrap().remove(0);
    fixture.spool.settle(lease, Settlement { lines, ..Settlement::default() }).await.unwrap();
    let log = fixture.state_dir().join("events.jsonl");
    wait_until("the log is written", || std::fs::read_to_string(&log).unwrap().lines().count() == 2).await;
    let (items, _) = call(&fixture, Command::Show { id: id.to_string().to_lowercase() }).await.unwrap();
    let message: Message = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!(message.recipients.len(), 2);
    assert!(message.header.unwrap().starts_with("X-Seed: 1\r\nSubject: 1\r\nFrom: a@test.dk\r\n"));
    let replies: Vec<_> = message.history.iter().map(|event| event["reply"].as_str().unwrap()).collect();
    assert_eq!(replies, ["later", "busy"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_and_routes_are_the_relays_own() {
    let fixture = Fixture::start();
    fixture.queue("test-as", &["x@example.com"]).await;
    fixture.queue("mj", &["x@example.com"]).await;
    let (items, _) = call(&fixture, Command::Stats).await.unwrap();
    let stats: Stats = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!((stats.messages, stats.held, stats.lanes.len()), (2, 0, 2));
    assert_eq!(stats.lanes[0].route.as_deref(), Some("mailjet.starter"));

    let suspend = |route: &str| Command::SuspendRoute { route: route.into(), reason: "moving".into() };
    call(&fixture, suspend("mailjet.starter")).await.unwrap();
    let (items, done) = call(&fixture, Command::Routes).await.unwrap();
    assert_eq!(done.count, 2);
    let route: Route = serde_json::from_value(items[0].clone()).unwrap();
    assert_eq!(
        (route.route.as_str(), route.state.as_str(), route.reason.as_deref()),
        ("mailjet.starter", "suspended", Some("moving"))
    );
    call(&fixture, Command::ResumeRoute { route: "mailjet.starter".into() }).await.unwrap();
    let text = refusal(call(&fixture, suspend("mailjet.trusted")).await);
    assert!(text.contains("no route \"mailjet.trusted\"") && text.contains("own-server.test-as"), "{text}");
    let events = fixture.end().await;
    assert_eq!(events.iter().filter(|event| event["route"] == "mailjet.starter").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_the_remedy() {
    let fixture = Fixture::start();
    fixture.queue("mj", &["x@example.com"]).await;
    let remove = |which| Command::Remove { which, reason: String::new() };
    let ids = Selection { ids: vec!["nonsense".into()], ..Selection::default() };
    let domain = Selection { recipient_domain: Some("no domain".into()), ..Selection::default() };
    for (command, expected) in [
        (remove(Selection::default()), "--all"),
        (remove(of_customer("nobody")), "no customer \"nobody\""),
        (remove(ids), "not a queue id"),
        (remove(domain), "not a domain name"),
        (Command::Show { id: fixture.spool.next_id().to_string() }, "no message"),
        (Command::Show { id: "x".into() }, "not a queue id"),
    ] {
        let text = refusal(call(&fixture, command.clone()).await);
        assert!(text.contains(expected), "{command:?}: {text}");
    }
    assert_eq!(fixture.records().await.len(), 1, "nothing was removed");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_alone_and_replaces_one_left_behind() {
    let fixture = Fixture::start();
    let path = socket::socket_path(fixture.state_dir());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let dir = fixture.state_dir().to_owned();
    let entries = || std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<HashSet<_>>();
    assert!(!entries().iter().any(|name| name.to_string_lossy().starts_with(".c")), "{:?}", entries());
    let again = socket::bind(fixture.state_dir()).unwrap();
    drop(again);
    let error = call(&fixture, Command::Stats).await.unwrap_err();
    assert!(matches!(error, CallError::NotRunning(_)), "{error}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_socket_is_answered_or_dropped_and_harms_nobody() {
    use std::io::{Read, Write};
    let fixture = Fixture::start();
    fixture.queue("mj", &["x@example.com"]).await;
    let path = socket::socket_path(fixture.state_dir());
    let say = move |octets: Vec<u8>| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        // The relay may have hung up on the longest one already.
        let _ = stream.write_all(&octets);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    let answers = tokio::task::spawn_blocking(move || {
        let requests = [
            b"\n".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            br#"{"version":1,"command":"remove"}"#.to_vec(),
            br#"{"version":1,"command":"remove","which":{"all":true,"cusomer":"x"},"reason":""}"#.to_vec(),
            br#"{"version":7,"command":"remove","which":{"all":true},"reason":""}"#.to_vec(),
        ];
        say(vec![b'x'; 2 << 20]);
        say(b"{\"version\":1,\"command\":\xff".to_vec());
        requests.map(&say)
    });
    for answer in answers.await.unwrap() {
        assert!(answer.starts_with("{\"error\":"), "{answer}");
    }
    assert_eq!(call(&fixture, Command::Stats).await.unwrap().1.count, 1);
    assert_eq!(fixture.records().await.len(), 1, "a misspelt filter never means all");
    fixture.end().await;
}

fn postbud(fixture_dir: &std::path::Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Process::new(env!("CARGO_BIN_EXE_postbud"))
        .args(arguments)
        .arg("--state-dir")
        .arg(fixture_dir)
        .output()
        .unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_what_it_did_and_to_how_many() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com"]).await.to_string();
    fixture.queue("mj", &["y@example.com"]).await;
    let dir = fixture.state_dir().to_owned();
    let run = |arguments: &'static str| {
        let (dir, id) = (dir.clone(), id.clone());
        let work = move || {
            let arguments: Vec<&str> = arguments.split(' ').map(|word| if word == "ID" { &id } else { word }).collect();
            postbud(&dir, &arguments)
        };
        tokio::task::spawn_blocking(work)
    };
    let (ok, out, err) = run("queue list").await.unwrap();
    assert!(ok && out.contains(&id) && out.contains("y@example.com") && err.contains("2 messages"), "{out}{err}");
    let (ok, out, _) = run("queue list --customer mj --json").await.unwrap();
    assert!(ok && serde_json::from_str::<Message>(&out).unwrap().customer == "mj", "{out}");
    let (ok, out, _) = run("queue show ID").await.unwrap();
    assert!(ok && out.contains("x@example.com") && out.contains("Subject: 1"), "{out}");
    let (ok, out, _) = run("queue hold ID --reason test").await.unwrap();
    assert_eq!((ok, out.as_str()), (true, "1 message held\n"));
    let (ok, out, _) = run("queue stats").await.unwrap();
    assert!(ok && out.contains("2 messages in the queue") && out.contains("1 held"), "{out}");
    let (ok, out, _) = run("queue release --all").await.unwrap();
    assert_eq!((ok, out.as_str()), (true, "1 message released and due at once\n"));
    let (ok, out, _) = run("queue release --all").await.unwrap();
    assert_eq!((ok, out.as_str()), (false, "No message fits; nothing was released and due at once\n"));
    let (ok, out, _) = run("queue remove ID").await.unwrap();
    assert_eq!((ok, out.as_str()), (true, "1 message removed\n"));
    let (ok, out, _) = run("route list").await.unwrap();
    assert!(ok && out.contains("mailjet.starter") && out.contains("7 of 100"), "{out}");
    let (ok, _, err) = run("queue remove").await.unwrap();
    assert!(!ok && err.contains("--all"), "{err}");
    fixture.end().await;
    let (ok, _, err) = run("queue stats").await.unwrap();
    assert!(!ok && err.contains("no relay is running") && err.contains("postbud run"), "{err}");
}
