//! A stream, plain or TLS, with the few reads both ends need. Lean on purpose: source and sink share the relay's cores.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Tls {
    /// No TLS.
    #[default]
    Off,
    /// TLS after STARTTLS.
    Starttls,
    /// TLS from the first octet.
    Implicit,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Auth {
    /// Not at all.
    #[default]
    Off,
    /// `AUTH PLAIN` with initial response.
    Plain,
    /// `AUTH login` with the user name as initial response, as .NET's System.Net.Mail does.
    Login,
}

/// Plain or TLS.
pub enum Stream {
    /// A connection without TLS.
    Plain(TcpStream),
    /// TLS, either end.
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}

/// A stream and what was read from it ahead of need.
pub struct Wire {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// Around a connected socket.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Wire { stream: Some(Stream::Plain(socket)), buffer: Vec::with_capacity(16 * 1024), taken: 0 })
    }

    fn stream(&mut self) -> &mut Stream {
        self.stream.as_mut().expect("a stream is only away during a handshake, which owns the wire")
    }

    /// What is in memory and not taken yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Takes `n` octets of [`pending`](Self::pending).
    pub fn take(&mut self, n: usize) {
        self.taken += n;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
    }

    /// Reads once more; the end of the stream is an error.
    pub async fn fill(&mut self) -> io::Result<()> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        if self.buffer.capacity() - self.buffer.len() < 4096 {
            self.buffer.reserve(self.buffer.capacity());
        }
        let stream = self.stream.as_mut().expect("as in stream()");
        match stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// How long the next line in memory is, its LF included.
    pub fn line_len(&self) -> Option<usize> {
        memchr::memchr(b'\n', self.pending()).map(|at| at + 1)
    }

    /// Reads a reply to its last line; gives its code.
    pub async fn reply(&mut self) -> io::Result<u16> {
        self.reply_containing(b"\0").await.map(|(code, _)| code)
    }

    /// As [`reply`](Self::reply); tells besides whether a line contains `word`.
    pub async fn reply_containing(&mut self, word: &[u8]) -> io::Result<(u16, bool)> {
        let mut found = false;
        loop {
            let Some(len) = self.line_len() else {
                self.fill().await?;
                continue;
            };
            let line = &self.pending()[..len];
            found |= memchr::memmem::find(line, word).is_some();
            let code = line.get(..3).and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| c.parse().ok());
            let last = line.get(3) != Some(&b'-');
            self.take(len);
            match code {
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "not an SMTP reply")),
                Some(code) if last => return Ok((code, found)),
                Some(_) => {}
            }
        }
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes).await?;
        if let Stream::Tls(tls) = self.stream() {
            tls.flush().await?;
        }
        Ok(())
    }

    /// Speaks TLS from here on, as the client of `config`.
    pub async fn connect_tls(&mut self, config: &Arc<rustls::ClientConfig>) -> io::Result<()> {
        let name = ServerName::try_from("localhost").expect("a valid name");
        let socket = self.plain()?;
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, socket).await?;
        self.stream = Some(Stream::Tls(Box::new(tls.into())));
        Ok(())
    }

    /// Speaks TLS from here on, as the server of `config`.
    pub async fn accept_tls(&mut self, config: &Arc<rustls::ServerConfig>) -> io::Result<()> {
        let socket = self.plain()?;
        let tls = tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(socket).await?;
        self.stream = Some(Stream::Tls(Box::new(tls.into())));
        Ok(())
    }

    /// Returns true if TLS resumed an earlier session.
    pub fn resumed(&self) -> bool {
        match &self.stream {
            Some(Stream::Tls(tls)) => tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            _ => false,
        }
    }

    fn plain(&mut self) -> io::Result<TcpStream> {
        match self.stream.take() {
            Some(Stream::Plain(socket)) => Ok(socket),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "TLS inside TLS")),
        }
    }
}

/// A client that trusts one authority and resumes sessions.
pub fn client_config(ca: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A server with one certificate that lets clients resume.
pub fn server_config(chain: &Path, key: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}
