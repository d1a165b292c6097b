//! The documents, tried: a consumer that was written from `docs/` alone takes the events of a relay by webhook and by cursor, drops what
//! comes again, and tells the life of each mail. And the samples of the signature, run.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postbud::events::{Secret, signature};
use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};
use crate::support::skip::skip;

const CONSUMER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/consumer/consumer.py");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

/// A consumer at work; killed when dropped.
struct Consumer(Child);

impl Consumer {
    fn serve(site: &Site, hook: SocketAddr) -> Consumer {
        let port = hook.port().to_string();
        let (secret, store) = (site.path("config/hook.secret"), store(site, "webhook"));
        let child = Command::new("/usr/bin/python3").arg(CONSUMER).args(["serve", &port]).args([secret, store]).spawn();
        Consumer(child.expect("python3 is there"))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn store(site: &Site, name: &str) -> PathBuf {
    site.path(&format!("{name}.sqlite"))
}

fn run(arguments: &[&str]) -> String {
    let done = Command::new("/usr/bin/python3").arg(CONSUMER).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn lives(site: &Site, name: &str) -> Value {
    serde_json::from_str(&run(&["lives", DOCS, store(site, name).to_str().unwrap()])).unwrap()
}

/// What the recipients' names ask for.
fn server() -> Capture {
    let script = |line: &str| {
        let answer = match line.strip_prefix("RCPT TO:<")?.split('@').next()? {
            "gone" => "550 5.1.1 no such user",
            "full" => "452 4.2.2 mailbox full",
            _ => return None,
        };
        Some(answer.to_owned())
    };
    Capture::scripted("127.0.0.1:0", Box::new(script))
}

fn send(site: &Site, from: &str, to: &[&str], reference: &str) -> String {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let fields = format!("X-Postbud-Reference: {reference}\r\n");
    let mail = [fields.as_bytes(), &message(from, to[0], "life")].concat();
    queue_id(&client.send(from, to, &mail).unwrap()).to_owned()
}

#[test]
fn a_consumer_written_from_the_documents_tells_the_life_of_each_mail() {
    let (server, hook, api) = (server(), free_port(), free_port());
    let more = format!(
        "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n[api]\naddress = \"{api}\"\ntls = \"off\"\n[suppression]\nmode = \"event\"\n\
         [[events.webhook]]\nname = \"webcrm\"\nurl = \"http://{hook}/hooks/mail\"\nsecret_file = \"hook.secret\"\nlinger = \"50ms\"\n\
         retry_first = \"100ms\"\nretry_longest = \"300ms\"\n"
    );
    let customer = |id, domain| Customer { id, domain, route: plain_route(server.address) };
    let site = Site::with(&[customer("life", "life.example"), customer("qa", "qa.example")], &more);
    std::fs::write(site.path("config/hook.secret"), "et langt og hemmeligt ord\n").unwrap();
    let file = std::fs::read_to_string(site.customer_file("qa")).unwrap();
    std::fs::write(site.customer_file("qa"), format!("test = true\n{file}")).unwrap();
    let relay = site.start();
    let listed = site.operate(&["suppression", "add", "life", "angry@x.example"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));

    // The consumer is down at first: what happens meanwhile waits for it.
    let from = "news@life.example";
    let first = send(&site, from, &["ok@x.example", "gone@x.example", "full@x.example"], "order 1");
    let second = send(&site, from, &["angry@x.example"], "order 2");
    site.wait_for_event("deferred", |event| event["event"] == "deferred");
    let consumer = Consumer::serve(&site, hook);
    let test = send(
        &site,
        "news@qa.example",
        &[
            "deliver@test.postbud.invalid",
            "complain@test.postbud.invalid",
            "bounce@test.postbud.invalid",
            "late-bounce@test.postbud.invalid",
        ],
        "order 3",
    );
    for command in ["hold", "release", "remove"] {
        while !site.operate(&["queue", command, &first]).status.success() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    site.wait_for_event("removed", |event| event["event"] == "removed");
    // A consumer that dies goes on with what it had stored.
    drop(consumer);
    let third = send(&site, from, &["ok@x.example"], "order 4");
    let _consumer = Consumer::serve(&site, hook);
    for id in [&first, &second, &test, &third] {
        site.wait_for_event("an end", |event| event["event"] == "relayed" && event["queue_id"] == **id);
    }
    site.wait_for_event("complained", |event| event["event"] == "complained");
    site.wait_for_event("bounced", |event| event["event"] == "bounced" && event["queue_id"] == *test);

    let told = site.events().len();
    let begun = Instant::now();
    // A call that failed comes again, perhaps after everything was heard.
    let is_complete = |heard: Value| heard["ids"].as_array().unwrap().len() >= told && heard["again"] != 0;
    while !is_complete(lives(&site, "webhook")) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", lives(&site, "webhook"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let made = site.operate(&["token", "add", "consumer", "--role", "read"]);
    let token = String::from_utf8(made.stdout).unwrap();
    run(&["replay", &format!("http://{api}"), token.trim(), store(&site, "cursor").to_str().unwrap()]);

    let (heard, read) = (lives(&site, "webhook"), lives(&site, "cursor"));
    assert_eq!(heard["mails"], read["mails"], "both ways tell the same");
    assert!(
        heard["again"].as_u64().unwrap() > 0 && read["again"] == 0,
        "calls that failed came again, and a cursor does not"
    );
    for (id, reference, recipient, ends, outcome) in [
        (&first, "order 1", "ok@x.example", "relayed", "relayed"),
        (&first, "order 1", "gone@x.example", "bounced", "bounced"),
        (&first, "order 1", "full@x.example", "removed", "removed"),
        (&second, "order 2", "angry@x.example", "suppressed relayed", "relayed"),
        (&test, "order 3", "deliver@test.postbud.invalid", "relayed", "delivered"),
        (&test, "order 3", "late-bounce@test.postbud.invalid", "relayed", "bounced"),
        (&test, "order 3", "complain@test.postbud.invalid", "relayed", "complained"),
        (&test, "order 3", "bounce@test.postbud.invalid", "bounced", "bounced"),
        (&third, "order 4", "ok@x.example", "relayed", "relayed"),
    ] {
        let mail = &heard["mails"][id.as_str()];
        let life = &mail["recipients"][recipient];
        let found: Vec<&str> = life["ends"]
            .as_array()
            .unwrap_or_else(|| panic!("{recipient}: {heard}"))
            .iter()
            .map(|end| end.as_str().unwrap())
            .collect();
        assert_eq!(
            (mail["reference"].as_str(), found.join(" ").as_str()),
            (Some(reference), ends),
            "{recipient}: {life}"
        );
        assert_eq!(life["outcome"], outcome, "{recipient}: {life}");
    }
    let held: Vec<&str> = heard["mails"][first.as_str()]["recipients"]["full@x.example"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event.as_str().unwrap())
        .filter(|event| !["deferred"].contains(event))
        .collect();
    assert_eq!(held, ["accepted", "held", "released", "removed"]);
    relay.stop();
}

/// Runs the C# sample over a body. Returns true if it takes the signature for genuine.
fn is_genuine(program: &std::path::Path, secret: &str, timestamp: u64, body: &[u8], signed: &str, now: u64) -> bool {
    let mut mono = Command::new("mono")
        .arg(program)
        .args([secret, &timestamp.to_string(), signed, &now.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    mono.stdin.take().unwrap().write_all(body).unwrap();
    match mono.wait().unwrap().code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("the sample ended with {other:?}"),
    }
}

/// The sample for ASP.NET Core is a program of statements alone, which mono's compiler knows only within a method, and relies on the
/// namespaces that such a project has anyway. `aspnet.cs` has what it uses of ASP.NET Core, which is not here.
#[test]
fn the_sample_for_aspnet_core_takes_what_a_relay_sends_once_and_no_forgery() {
    let this = "the_sample_for_aspnet_core_takes_what_a_relay_sends_once_and_no_forgery";
    let text = std::fs::read_to_string(format!("{DOCS}/samples/EventsWebhook.cs")).unwrap();
    let (usings, statements): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("using System"));
    let implicit = [
        "System",
        "System.Collections.Generic",
        "System.IO",
        "Microsoft.AspNetCore.Builder",
        "Microsoft.AspNetCore.Http",
    ];
    let implicit: String = implicit.iter().map(|name| format!("using {name};\n")).collect();
    let program = format!(
        "{implicit}{}\nstatic class Program {{ static void Main(string[] args) {{\n{}\n}} }}\n",
        usings.join("\n"),
        statements.join("\n")
    );
    let dir = tempfile::tempdir().unwrap();
    let executable = dir.path().join("sample.exe");
    let compile = |program: &str| {
        let main = dir.path().join("EventsWebhook.cs");
        std::fs::write(&main, program).unwrap();
        let used = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/consumer/aspnet.cs");
        let out = format!("-out:{}", executable.display());
        let signature = format!("{DOCS}/samples/WebhookSignature.cs");
        Command::new("mcs").arg("-warnaserror").arg(out).arg(&main).args([used, &signature]).output()
    };
    // A field of another name or type is found.
    let Ok(wrong) = compile(&program.replace("EnumerateArray", "EnumerateList")) else {
        return skip(this, "no mcs here (mono-mcs)");
    };
    assert!(!wrong.status.success());
    let compiled = compile(&program).unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let (server, hook) = (server(), free_port());
    let more = format!(
        "[[events.webhook]]\nname = \"webcrm\"\nurl = \"http://{hook}/hooks/mail\"\nsecret_file = \"hook.secret\"\nlinger = \"50ms\"\n\
         retry_first = \"100ms\"\nretry_longest = \"300ms\"\n"
    );
    let route = plain_route(server.address);
    let site = Site::with(&[Customer { id: "life", domain: "life.example", route }], &more);
    let secret = "et langt og hemmeligt ord som ingen gætter";
    for path in [site.path("config/hook.secret"), dir.path().join("webhook-secret")] {
        std::fs::write(path, format!("{secret}\n")).unwrap();
    }
    let relay = site.start();
    let mut mono = Command::new("mono");
    mono.arg(&executable).current_dir(dir.path());
    mono.env("ASPNETCORE_URLS", format!("http://{hook}")).env("LC_ALL", "C.UTF-8");
    let mut sample = Consumer(mono.stdout(Stdio::piped()).spawn().expect("mono comes with mcs"));
    let mut told = BufReader::new(sample.0.stdout.take().unwrap());
    send(&site, "news@life.example", &["ok@x.example"], "order 5");
    let mut heard = String::new();
    let mut hear = |last: &str| {
        while !heard.lines().any(|line| line == last) {
            assert!(told.read_line(&mut heard).unwrap() > 0, "the sample ended: {heard}");
        }
        heard.clone()
    };
    assert_eq!(hear("relayed order 5").lines().filter(|line| *line == "accepted order 5").count(), 1);

    let call = |number: u32, secret: &str| {
        let body = format!(
            "{{\"events\":[{{\"event_id\":\"{number}\",\"event\":\"held\",\"reference\":\"nr. {number} på\"}}]}}"
        );
        let now = postbud::time::Timestamp::now().as_secs();
        let signed = format!("Postbud-Signature: {}", signature(&Secret::new(secret), now, body.as_bytes()));
        let headers = ["-H", &format!("Postbud-Timestamp: {now}"), "-H", &signed, "-d", &body];
        let shown = ["-s", "-o", "/dev/null", "-w", "%{http_code}"];
        let url = format!("http://{hook}/hooks/mail");
        let answer = Command::new("curl").args(shown).args(headers).arg(url).output().unwrap();
        String::from_utf8(answer.stdout).unwrap()
    };
    let answers = [call(1, "a forger's"), call(1, secret), call(1, secret), call(2, secret)];
    assert_eq!(answers, ["401", "204", "204", "204"]);
    assert_eq!(hear("held nr. 2 på").lines().filter(|line| *line == "held nr. 1 på").count(), 1);
    relay.stop();
}

#[test]
fn the_sample_of_the_signature_in_c_sharp_compiles_and_knows_a_genuine_call() {
    const MAIN: &str = "using System; using System.IO; using System.Text;\n\
        static class Program { static int Main(string[] given) {\n\
        var body = new MemoryStream(); Console.OpenStandardInput().CopyTo(body);\n\
        var now = DateTimeOffset.FromUnixTimeSeconds(long.Parse(given[3]));\n\
        return WebhookSignature.IsGenuine(Encoding.UTF8.GetBytes(given[0]), given[1], body.ToArray(), given[2], now) ? 0 : 1; } }\n";
    let dir = tempfile::tempdir().unwrap();
    let (main, program) = (dir.path().join("Main.cs"), dir.path().join("sample.exe"));
    std::fs::write(&main, MAIN).unwrap();
    let sample = format!("{DOCS}/samples/WebhookSignature.cs");
    let compiled = Command::new("mcs")
        .arg("-warnaserror")
        .arg(format!("-out:{}", program.display()))
        .arg(&sample)
        .arg(&main)
        .output();
    let Ok(compiled) = compiled else {
        return skip(
            "the_sample_of_the_signature_in_c_sharp_compiles_and_knows_a_genuine_call",
            "no mcs here (mono-mcs)",
        );
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let (secret, now) = ("et langt og hemmeligt ord", 1_795_458_240);
    let body = r#"{"events":[{"reply":"gået"}]}"#.as_bytes();
    let signed = signature(&Secret::new(secret), now, body);
    assert!(is_genuine(&program, secret, now, body, &signed, now + 300));
    for (timestamp, body, signed, later) in [
        (now, &body[1..], signed.as_str(), 0),
        (now + 1, body, &signed, 0),
        (now, body, &signed, 301),
        (now, body, &signed.to_uppercase(), 0),
        (now, body, &signed[..signed.len() - 1], 0),
        (now, body, "", 0),
    ] {
        assert!(!is_genuine(&program, secret, timestamp, body, signed, now + later), "{timestamp} {signed} {later}");
    }
    assert!(!is_genuine(&program, "another", now, body, &signed, now));
}
