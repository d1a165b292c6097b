//! The customer's own server in the demo: it accepts every mail after STARTTLS and AUTH PLAIN, and passes it on.
//!
//! It implements just enough of RFC 5321 for one well-behaved client on loopback, and answers 502 to other commands.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::workshop::{SERVER_USERNAME, Workshop};

/// The maximum size of a line and of a message. Both ends are ours.
const LONGEST: u64 = 64 << 20;

/// A received mail.
pub(super) struct Received {
    pub content: Vec<u8>,
    pub peer: SocketAddr,
    pub tls: String,
    pub login: String,
}

/// The server. It ends with the runtime.
pub(super) struct Receiver {
    address: SocketAddr,
}

struct Session {
    expected: String,
    arrived: mpsc::Sender<Received>,
    peer: SocketAddr,
}

impl Receiver {
    /// Listens on a free port of the loopback interface.
    pub(super) async fn start(workshop: &Workshop, arrived: mpsc::Sender<Received>) -> anyhow::Result<Self> {
        let chain =
            CertificateDer::pem_file_iter(workshop.dir().join("customer.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(workshop.dir().join("customer.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let login = format!("\0{SERVER_USERNAME}\0{}", workshop.server_password());
        let expected = BASE64.encode(login);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let session = Session { expected: expected.clone(), arrived: arrived.clone(), peer };
                // The relay reports a session that breaks as an event.
                tokio::spawn(session.serve(stream, acceptor.clone()));
            }
        });
        Ok(Receiver { address })
    }

    /// Returns the address of the server.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Session {
    async fn serve(self, stream: TcpStream, acceptor: TlsAcceptor) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut plain = BufReader::new(stream);
        plain.write_all(b"220 mail.nordlys.example ESMTP\r\n").await?;
        loop {
            let line = read_line(&mut plain).await?;
            match verb(&line).as_str() {
                "EHLO" => plain.write_all(b"250-mail.nordlys.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n").await?,
                "STARTTLS" => break,
                "QUIT" => return Ok(plain.write_all(b"221 2.0.0 bye\r\n").await?),
                _ => plain.write_all(b"530 5.7.0 STARTTLS first\r\n").await?,
            }
        }
        plain.write_all(b"220 2.0.0 go on\r\n").await?;
        let tls = acceptor.accept(plain.into_inner()).await?;
        let version = match tls.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        self.mail(BufReader::new(tls), version.to_owned()).await
    }

    async fn mail<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut stream: BufReader<S>,
        tls: String,
    ) -> anyhow::Result<()> {
        let mut logged_in = false;
        loop {
            let line = read_line(&mut stream).await?;
            let reply = match verb(&line).as_str() {
                "EHLO" => {
                    "250-mail.nordlys.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN"
                }
                "AUTH" => {
                    logged_in = line.split(' ').nth(2) == Some(&self.expected);
                    if logged_in { "235 2.7.0 welcome" } else { "535 5.7.8 wrong login" }
                }
                "MAIL" | "RCPT" | "DATA" if !logged_in => "530 5.7.0 log in first",
                "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 2.0.0 ok",
                "DATA" => {
                    stream.write_all(b"354 end with a dot\r\n").await?;
                    let content = read_content(&mut stream).await?;
                    let login = SERVER_USERNAME.to_owned();
                    let received = Received { content, peer: self.peer, tls: tls.clone(), login };
                    self.arrived.send(received).await.context("the demo has ended")?;
                    "250 2.0.0 delivered to the mailbox"
                }
                "QUIT" => "221 2.0.0 bye",
                _ => "502 5.5.1 not here",
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
            stream.flush().await?;
            if reply.starts_with("221") {
                return Ok(());
            }
        }
    }
}

fn verb(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> anyhow::Result<String> {
    let mut line = Vec::new();
    stream.take(LONGEST).read_until(b'\n', &mut line).await?;
    let text = String::from_utf8(line)?;
    let line = text.strip_suffix("\r\n").context("the connection ended")?;
    Ok(line.to_owned())
}

/// Reads DATA up to the final dot, and removes dot stuffing (RFC 5321 §4.5.2).
async fn read_content<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.take(LONGEST).read_until(b'\n', &mut line).await?;
        anyhow::ensure!(line.ends_with(b"\r\n") && content.len() as u64 <= LONGEST, "the connection ended");
        match line.as_slice() {
            b".\r\n" => return Ok(content),
            [b'.', rest @ ..] => content.extend_from_slice(rest),
            whole => content.extend_from_slice(whole),
        }
    }
}
