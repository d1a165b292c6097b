//! A server that follows a test's scripts, one for each connection, and records what it receives.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certs::{Authority, Issued};

/// One step of a script.
#[derive(Clone)]
pub enum Step {
    /// Sends these octets unchanged.
    Say(Vec<u8>),
    /// Waits for a line that begins with this.
    Hear(&'static str),
    /// Reads content up to the final dot.
    HearContent,
    /// Reads at least this many octets, and no more than are available.
    HearSome(usize),
    /// Waits for this long.
    Pause(Duration),
    /// Sends this repeatedly until the client is gone.
    SayForEver(Vec<u8>),
    /// Continues over TLS with this certificate.
    Tls(Box<Issued>),
    /// Continues over TLS with this configuration.
    TlsAs(Arc<ServerConfig>),
    /// Resets the connection.
    Reset,
    /// Sends nothing more, but keeps the connection.
    Hang,
}

/// A step that sends a line with CRLF.
pub fn say(line: &str) -> Step {
    Step::Say(format!("{line}\r\n").into_bytes())
}

/// A step that waits for a line with this beginning.
pub fn hear(start: &'static str) -> Step {
    Step::Hear(start)
}

/// The steps of the greeting and EHLO, with these extensions.
pub fn hello(extensions: &[&str]) -> Vec<Step> {
    let mut lines = vec!["mail.test.dk"];
    lines.extend(extensions);
    let last = lines.len() - 1;
    let answer: Vec<String> =
        lines.iter().enumerate().map(|(i, line)| format!("250{}{line}", if i == last { ' ' } else { '-' })).collect();
    vec![say("220 mail.test.dk ESMTP"), hear("EHLO out.webcrm.test"), say(&answer.join("\r\n"))]
}

/// The steps of one whole delivery without PIPELINING, to one recipient.
pub fn takes_one() -> Vec<Step> {
    vec![
        hear("MAIL"),
        say("250 2.1.0 ok"),
        hear("RCPT"),
        say("250 2.1.5 ok"),
        hear("DATA"),
        say("354 go"),
        Step::HearContent,
        say("250 2.0.0 queued"),
    ]
}

/// Makes TLS settings with this certificate and these versions. With `clients`, only clients with a certificate of that authority are
/// accepted.
pub fn tls_as(
    issued: &Issued,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A scripted server.
pub struct Server {
    /// The address of the server.
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<String>>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Plays one script for each connection, in this order; further connections are closed at once.
    pub async fn start(scripts: Vec<Vec<Step>>) -> Server {
        Server::start_at("127.0.0.1:0".parse().unwrap(), scripts).await
    }

    /// Does the same at this address.
    pub async fn start_at(address: SocketAddr, scripts: Vec<Vec<Step>>) -> Server {
        let listener = TcpListener::bind(address).await.unwrap();
        let server =
            Server { address: listener.local_addr().unwrap(), heard: Arc::default(), failures: Arc::default() };
        let (heard, failures) = (Arc::clone(&server.heard), Arc::clone(&server.failures));
        tokio::spawn(async move {
            for script in scripts {
                let Ok((stream, _)) = listener.accept().await else { return };
                let number = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let (heard, failures) = (Arc::clone(&heard), Arc::clone(&failures));
                tokio::spawn(async move {
                    let note = |line: String| heard.lock().unwrap()[number].push(line);
                    if let Err(failure) = play(stream, script, note).await {
                        failures.lock().unwrap().push(format!("connection {number}: {failure}"));
                    }
                });
            }
            while let Ok((stream, _)) = listener.accept().await {
                heard.lock().unwrap().push(vec!["unexpected connection".to_owned()]);
                drop(stream);
            }
        });
        server
    }

    /// Returns what each connection received, line by line, with content as one entry. Fails if a script did not run as written.
    pub fn heard(&self) -> Vec<Vec<String>> {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        self.heard.lock().unwrap().clone()
    }

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

async fn play(stream: TcpStream, script: Vec<Step>, note: impl Fn(String)) -> Result<(), String> {
    stream.set_nodelay(true).unwrap();
    let mut steps = script.into_iter();
    let mut plain = BufReader::new(stream);
    match play_on(&mut plain, &mut steps, &note).await? {
        Over::End => Ok(()),
        Over::Reset => {
            socket2::SockRef::from(plain.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
            Ok(())
        }
        Over::Tls(config) => {
            let mut encrypted = match TlsAcceptor::from(config).accept(plain.into_inner()).into_fallible().await {
                Ok(encrypted) => BufReader::new(encrypted),
                // A client that refuses the certificate, or is refused, ends here, as the test intends. Read its remaining data, so that no
                // reset overtakes the alert.
                Err((_, mut stream)) => {
                    let mut nowhere = tokio::io::sink();
                    let rest = tokio::io::copy(&mut stream, &mut nowhere);
                    let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
                    return Ok(());
                }
            };
            play_on(&mut encrypted, &mut steps, &note).await.map(|_| ())
        }
    }
}

enum Over {
    End,
    Reset,
    Tls(Arc<ServerConfig>),
}

async fn play_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    steps: &mut std::vec::IntoIter<Step>,
    note: &impl Fn(String),
) -> Result<Over, String> {
    let gone = |error: std::io::Error| error.to_string();
    for step in steps.by_ref() {
        match step {
            Step::Say(text) => {
                stream.write_all(&text).await.map_err(gone)?;
                stream.flush().await.map_err(gone)?;
            }
            Step::Hear(start) => {
                let mut line = String::new();
                if stream.read_line(&mut line).await.map_err(gone)? == 0 {
                    return Err(format!("closed while waiting for {start}"));
                }
                if !line.starts_with(start) || !line.ends_with("\r\n") {
                    return Err(format!("heard {line:?} instead of {start}"));
                }
                note(line.trim_end().to_owned());
            }
            Step::HearContent => {
                let mut content = Vec::new();
                while content != b".\r\n" && !content.ends_with(b"\r\n.\r\n") {
                    if stream.read_until(b'\n', &mut content).await.map_err(gone)? == 0 {
                        return Err("closed within the content".to_owned());
                    }
                }
                note(String::from_utf8_lossy(&content).into_owned());
            }
            Step::HearSome(count) => {
                let mut some = vec![0; count];
                stream.read_exact(&mut some).await.map_err(gone)?;
            }
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::SayForEver(text) => while stream.write_all(&text).await.is_ok() {},
            Step::Tls(issued) => return Ok(Over::Tls(tls_as(&issued, rustls::ALL_VERSIONS, None))),
            Step::TlsAs(config) => return Ok(Over::Tls(config)),
            Step::Reset => return Ok(Over::Reset),
            Step::Hang => tokio::time::sleep(Duration::from_secs(30)).await,
        }
    }
    Ok(Over::End)
}
