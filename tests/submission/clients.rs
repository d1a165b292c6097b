//! Real mail clients: what each sends arrives whole, for all recipients, without Bcc, and signed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use postbud::submission::LoginLabels;

use crate::intake_spool::bytes;
use crate::skip::skip;
use crate::support::{PASSWORD, Server, Setup, USERNAME};

const SUBJECT: &str = "Æbler og pærer";
const LINES: [&str; 4] = ["Kære kunde", ".", ".punktum", "Slut"];

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    found.is_ok()
}

/// Runs a client for at most a minute. Its output must not show the password.
fn run(command: &mut Command, input: &str) -> Output {
    use std::io::Write;
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(command.get_program()).args(command.get_args());
    bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        bounded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // A client that has failed already does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

fn assert_sent(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// What arrived, checked against what every client was told to send.
fn assert_arrived(server: &Server, messages: usize, recipients: &[&str]) {
    let drafts = server.spool.wait_for(messages);
    assert_eq!(drafts.len(), messages);
    for draft in drafts {
        let to: Vec<_> = draft.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
        assert_eq!(to, recipients);
        let message = bytes(&draft);
        assert!(message.windows(16).any(|w| w == b"\r\nDKIM-Signature"), "signed");
        let parsed = mail_parser::MessageParser::default().parse(&message).unwrap();
        assert_eq!(parsed.subject(), Some(SUBJECT));
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("info@test.dk"));
        assert!(parsed.bcc().is_none());
        assert!(parsed.message_id().is_some() && parsed.date().is_some());
        let body = parsed.body_text(0).unwrap();
        let lines: Vec<_> = body.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, LINES);
    }
}

/// A whole message for clients that take one.
fn message() -> String {
    let body = LINES.join("\n");
    format!(
        "From: info@test.dk\nTo: kunde@example.com\nBcc: skjult@example.com\nSubject: =?utf-8?Q?=C3=86bler_og_p=C3=A6rer?=\n\
         MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}\n"
    )
}

const BOTH: [&str; 2] = ["kunde@example.com", "skjult@example.com"];

#[test]
fn swaks() {
    if !has("swaks") {
        return skip("submission::swaks", "swaks is not installed");
    }
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let port = server.address.port().to_string();
    let output = run(
        Command::new("swaks").args(["--server", "127.0.0.1", "--port", &port, "--tls", "--auth", "LOGIN"]).args([
            "--auth-user",
            USERNAME,
            "--auth-password",
            PASSWORD,
            "--from",
            "info@test.dk",
            "--to",
            "kunde@example.com,skjult@example.com",
            "--data",
            "-",
        ]),
        &message(),
    );
    assert_sent(&output);
    assert_arrived(&server, 1, &BOTH);
}

#[test]
fn curl() {
    if !has("curl") {
        return skip("submission::curl", "curl is not installed");
    }
    let server = Setup::default().start();
    let url = format!("smtps://localhost:{}", server.implicit.port());
    let output = run(
        Command::new("curl").args(["-sS", "--url", &url, "--user", &format!("{USERNAME}:{PASSWORD}")]).args([
            "--cacert",
            server.ca_file().to_str().unwrap(),
            "--mail-from",
            "info@test.dk",
            "--mail-rcpt",
            "kunde@example.com",
            "--mail-rcpt",
            "skjult@example.com",
            "--crlf",
            "-T",
            "-",
        ]),
        &message(),
    );
    assert_sent(&output);
    assert_arrived(&server, 1, &BOTH);
}

#[test]
fn msmtp() {
    if !has("msmtp") {
        return skip("submission::msmtp", "msmtp is not installed");
    }
    let server = Setup::default().start();
    let port = server.address.port().to_string();
    let ca = format!("--tls-trust-file={}", server.ca_file().display());
    let output = run(
        Command::new("msmtp").args(["--file=/dev/null", "--host=localhost", &format!("--port={port}")]).args([
            "--tls=on",
            "--tls-starttls=on",
            &ca,
            "--auth=plain",
            &format!("--user={USERNAME}"),
            &format!("--passwordeval=echo {PASSWORD}"),
            "--from=info@test.dk",
            "--keepbcc=on",
            "kunde@example.com",
            "skjult@example.com",
        ]),
        &message(),
    );
    assert_sent(&output);
    assert_arrived(&server, 1, &BOTH);
}

#[test]
fn python_smtplib() {
    if !has("/usr/bin/python3") {
        return skip("submission::python_smtplib", "python3 is not installed");
    }
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let output = run(
        Command::new("/usr/bin/python3")
            .arg("tests/clients/smtplib_client.py")
            .arg(server.address.port().to_string())
            .arg(server.ca_file())
            .args([USERNAME, PASSWORD]),
        "",
    );
    assert_sent(&output);
    assert_arrived(&server, 1, &BOTH);
}

#[test]
fn nodemailer() {
    let modules = Path::new("target/clients/node_modules");
    if !has("node") || !modules.join("nodemailer").exists() {
        return skip("submission::nodemailer", "nodemailer is not installed; tests/install does it");
    }
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let output = run(
        Command::new("node")
            .arg("tests/clients/nodemailer.js")
            .arg(server.address.port().to_string())
            .arg(server.ca_file())
            .args([USERNAME, PASSWORD])
            .env("NODE_PATH", modules.canonicalize().unwrap()),
        "",
    );
    assert_sent(&output);
    assert_arrived(&server, 2, &BOTH);
}

#[test]
fn system_net_mail() {
    let python = Path::new("target/clients/venv/bin/python");
    if !Path::new("target/clients/venv/ready").exists() {
        return skip(
            "submission::system_net_mail",
            "pythonnet and dotnetcore2 are not installed; tests/install does it",
        );
    }
    // Its TLS needs an OpenSSL older than what systems have: plaintext on loopback.
    let server = Setup::default().start();
    let output = run(
        Command::new(python)
            .arg("tests/clients/system_net_mail.py")
            .arg(server.address.port().to_string())
            .args([USERNAME, PASSWORD])
            .env("DOTNET_CLI_TELEMETRY_OPTOUT", "1"),
        "",
    );
    assert_sent(&output);
    assert_arrived(&server, 2, &BOTH);
    let verified = server.counters.logins.get_or_create(&LoginLabels { result: "verified" }).get();
    assert_eq!(verified, 1, "Argon2 runs once however often it connects");
}

#[test]
fn lettre() {
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let mail = Message::builder()
        .from("Søren <info@test.dk>".parse().unwrap())
        .to("kunde@example.com".parse().unwrap())
        .bcc("skjult@example.com".parse().unwrap())
        .subject(SUBJECT)
        .header(ContentType::TEXT_PLAIN)
        .body(LINES.join("\r\n"))
        .unwrap();
    let ca = std::fs::read_to_string(server.ca_file()).unwrap();
    let authority =
        ca.rsplit_once("-----BEGIN CERTIFICATE").map(|(_, last)| format!("-----BEGIN CERTIFICATE{last}")).unwrap();
    let certificate = Certificate::from_pem(authority.as_bytes()).unwrap();
    let tls = TlsParameters::builder("localhost".to_owned()).add_root_certificate(certificate).build().unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(server.address.port())
        .tls(Tls::Required(tls))
        .credentials(Credentials::new(USERNAME.to_owned(), PASSWORD.to_owned()))
        .build();
    server.runtime.block_on(async {
        for _ in 0..2 {
            transport.send(mail.clone()).await.unwrap();
        }
    });
    assert_arrived(&server, 2, &BOTH);
}
