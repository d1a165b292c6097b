//! A stream with or without TLS, with the few operations that a load needs. It is kept small, because a load on the relay's own machine
//! shares its cores.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Tls {
    /// The connection stays without TLS.
    #[default]
    Off,
    /// TLS after STARTTLS.
    Starttls,
    /// TLS from the first octet.
    Implicit,
}

/// How a client logs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Auth {
    /// The client sends without a login.
    #[default]
    Off,
    /// `AUTH PLAIN` with initial response.
    Plain,
    /// `AUTH login` with the user name as initial response, as .NET's System.Net.Mail does.
    Login,
}

/// A stream with or without TLS.
pub enum Stream {
    /// A connection without TLS.
    Plain(TcpStream),
    /// TLS, as client or server.
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

/// A stream with a read buffer.
pub struct Wire {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    taken: usize,
    said: Vec<u8>,
}

/// The octets of a refusal that are kept.
const SAID: usize = 200;
/// The longest line of a reply (RFC 5321 §4.5.3.1.5 allows 512).
const LONGEST_LINE: usize = 64 << 10;

impl Wire {
    /// Wraps a connected socket.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Wire {
            stream: Some(Stream::Plain(socket)),
            buffer: Vec::with_capacity(16 * 1024),
            taken: 0,
            said: Vec::new(),
        })
    }

    fn stream(&mut self) -> &mut Stream {
        self.stream.as_mut().expect("a stream is only away during a handshake, which owns the wire")
    }

    /// Returns the octets that were read and not taken yet.
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

    /// Reads once. The end of the stream is an error.
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

    /// Returns the length of the next line in the buffer, including its LF.
    pub fn line_len(&self) -> Option<usize> {
        memchr::memchr(b'\n', self.pending()).map(|at| at + 1)
    }

    /// Reads a whole reply and returns its code. The text of a refusal is kept for [`said`](Self::said).
    pub async fn reply(&mut self) -> io::Result<u16> {
        self.said.clear();
        loop {
            let Some(len) = self.line_len() else {
                if self.pending().len() > LONGEST_LINE {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply without end"));
                }
                self.fill().await?;
                continue;
            };
            let line = &self.buffer[self.taken..self.taken + len];
            let code = line.get(..3).and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| c.parse::<u16>().ok());
            let last = line.get(3) != Some(&b'-');
            if self.said.is_empty() && code.is_some_and(|code| code >= 400) {
                self.said.extend_from_slice(&line[..len.min(SAID)]);
            }
            self.take(len);
            match code {
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "not an SMTP reply")),
                Some(code) if last => return Ok(code),
                Some(_) => {}
            }
        }
    }

    /// Returns the first line of the last refusal.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(self.said.trim_ascii_end()).into_owned()
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes).await?;
        if let Stream::Tls(tls) = self.stream() {
            tls.flush().await?;
        }
        Ok(())
    }

    /// Starts TLS. `handshake` gets the plain socket.
    pub async fn secure(
        &mut self,
        handshake: impl AsyncFnOnce(TcpStream) -> io::Result<tokio_rustls::TlsStream<TcpStream>>,
    ) -> io::Result<()> {
        if !self.pending().is_empty() {
            // Octets before the handshake were not protected by it.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain text behind the reply to STARTTLS"));
        }
        let socket = self.plain()?;
        self.stream = Some(Stream::Tls(Box::new(handshake(socket).await?)));
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

/// Makes a TLS client that trusts the authorities in a file, or the system's if none is given.
pub fn client_config(ca: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        Some(ca) => {
            let refused = |error: &dyn std::fmt::Display| format!("{}: {error}", ca.display());
            let octets = crate::files::read(ca).map_err(|error| refused(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&octets) {
                let certificate = certificate.map_err(|error| refused(&error))?;
                roots.add(certificate).map_err(|error| refused(&error))?;
            }
            if roots.is_empty() {
                return Err(refused(&"no certificate is in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
