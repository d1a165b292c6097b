//! Stand-ins that customers' servers are tried against: a mail server with STARTTLS and logins, Microsoft's token endpoint, and a SOCKS5
//! proxy that leads to them by the names that they have in the world.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ALL_VERSIONS, ServerConfig, ServerConnection, StreamOwned};

use crate::support::certs::Issued;
use crate::support::script::tls_as;

/// What is let in, which a test changes as it goes on.
pub type Accepted = Arc<Mutex<String>>;

/// Calls `serve` for each connection, on threads of their own.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            // A client that hangs up has heard enough.
            std::thread::spawn(move || serve(stream).unwrap_or_default());
        }
    });
    address
}

/// A line without its end. Nothing is read beyond it, because TLS may follow.
fn line(stream: &mut dyn Read) -> io::Result<String> {
    let (mut octets, mut octet) = (Vec::new(), [0]);
    while octets.last() != Some(&b'\n') {
        stream.read_exact(&mut octet)?;
        octets.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&octets).trim_end().to_owned())
}

fn secured(stream: TcpStream, tls: &Arc<ServerConfig>) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// The content of each mail that a server took.
pub type Taken = Arc<Mutex<Vec<String>>>;

/// A mail server that takes mail over STARTTLS from whoever logs in with what is `accepted`: a password or a token, or one of several, a
/// line each.
pub fn mail_server(issued: &Issued, accepted: &Accepted) -> SocketAddr {
    mail_server_that_keeps(issued, accepted, &Taken::default())
}

/// The same, which keeps what it takes.
pub fn mail_server_that_keeps(issued: &Issued, accepted: &Accepted, taken: &Taken) -> SocketAddr {
    serve_mail(issued, accepted, taken, "535 5.7.3 Authentication unsuccessful <b>[TEST.PROD]</b>")
}

/// The same, which answers a login that is not accepted with `refusal`.
pub fn mail_server_that_says(issued: &Issued, accepted: &Accepted, refusal: &'static str) -> SocketAddr {
    serve_mail(issued, accepted, &Taken::default(), refusal)
}

fn serve_mail(issued: &Issued, accepted: &Accepted, taken: &Taken, refusal: &'static str) -> SocketAddr {
    let refusal = format!("{refusal}\r\n");
    let (tls, accepted, taken) = (tls_as(issued, ALL_VERSIONS, None), Arc::clone(accepted), Arc::clone(taken));
    listen(move |mut stream| {
        stream.write_all(b"220 mail.test.dk <script>alert(1)</script>\r\n")?;
        loop {
            let reply: &[u8] = match line(&mut stream)?.get(..4).unwrap_or_default() {
                "STAR" => break,
                "EHLO" => b"250-mail.test.dk\r\n250 STARTTLS\r\n",
                "QUIT" => return stream.write_all(b"221 bye\r\n"),
                _ => b"530 5.7.0 STARTTLS first\r\n",
            };
            stream.write_all(reply)?;
        }
        stream.write_all(b"220 go\r\n")?;
        let mut stream = secured(stream, &tls)?;
        let mut is_known = false;
        loop {
            let said = line(&mut stream)?;
            let reply: &[u8] = match said.get(..4).unwrap_or_default() {
                "EHLO" => b"250-mail.test.dk\r\n250 AUTH PLAIN XOAUTH2\r\n",
                "AUTH" => {
                    is_known = logs_in(&mut stream, &said, &accepted.lock().unwrap())?;
                    match is_known {
                        true => b"235 2.7.0 welcome\r\n",
                        false => refusal.as_bytes(),
                    }
                }
                "QUIT" => b"221 bye\r\n",
                "RSET" | "NOOP" => b"250 ok\r\n",
                "DATA" if is_known => {
                    stream.write_all(b"354 go\r\n")?;
                    let content = content(&mut stream)?;
                    taken.lock().unwrap().push(content);
                    b"250 2.0.0 taken\r\n"
                }
                _ if is_known => b"250 ok\r\n",
                _ => b"530 5.7.57 Client not authenticated to send mail\r\n",
            };
            stream.write_all(reply)?;
            if said.starts_with("QUIT") {
                return stream.flush();
            }
        }
    })
}

fn content(stream: &mut dyn Read) -> io::Result<String> {
    let mut lines = Vec::new();
    loop {
        match line(stream)? {
            end if end == "." => return Ok(lines.join("\n")),
            line => lines.push(line),
        }
    }
}

/// Reads the rest of a login, and says whether it holds what is accepted.
fn logs_in(stream: &mut (impl Read + Write), said: &str, accepted: &str) -> io::Result<bool> {
    let mut words = said.split(' ').skip(1);
    let (mechanism, initial) = (words.next().unwrap_or_default().to_owned(), words.next().map(str::to_owned));
    let response = match initial {
        Some(initial) => initial,
        None => {
            stream.write_all(b"334 \r\n")?;
            line(stream)?
        }
    };
    let response = STANDARD.decode(response).unwrap_or_default();
    let holds = |one: &str| response.windows(one.len()).any(|part| part == one.as_bytes());
    let is_known = accepted.lines().any(holds);
    if !is_known && mechanism == "XOAUTH2" {
        // The reason comes as a challenge, and the client answers with an empty line.
        stream.write_all(format!("334 {}\r\n", STANDARD.encode("{\"status\":\"400\"}")).as_bytes())?;
        line(stream)?;
    }
    Ok(is_known)
}

/// Microsoft's token endpoint, as it is documented: a token for the right secret, and an error with its number for another.
pub fn token_endpoint(issued: &Issued, secret: &'static str, token: &'static str) -> SocketAddr {
    let tls = tls_as(issued, ALL_VERSIONS, None);
    listen(move |stream| {
        let mut stream = secured(stream, &tls)?;
        let mut length = 0;
        loop {
            let header = line(&mut stream)?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut form = vec![0; length];
        stream.read_exact(&mut form)?;
        let form: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
        let is_right = form.iter().any(|(name, value)| name == "client_secret" && value == secret)
            && form.iter().any(|(name, value)| name == "scope" && value == "https://outlook.office365.com/.default");
        let (status, body) = match is_right {
            true => ("200 OK", format!("{{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"{token}\"}}")),
            false => (
                "401 Unauthorized",
                "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret provided. <b>Ensure</b> the secret being sent in \
                 the request is the client secret value, not the client secret ID.\"}"
                    .to_owned(),
            ),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.flush()
    })
}

/// A SOCKS5 proxy (RFC 1928) that leads to `places`: the name or the address that is asked for, and where it is.
pub fn proxy(places: Vec<(&'static str, SocketAddr)>) -> SocketAddr {
    listen(move |mut client| {
        let mut two = [0; 2];
        client.read_exact(&mut two)?;
        client.read_exact(&mut vec![0; two[1].into()])?;
        client.write_all(&[5, 0])?;
        let mut head = [0; 4];
        client.read_exact(&mut head)?;
        let name = match head[3] {
            1 => {
                let mut octets = [0; 4];
                client.read_exact(&mut octets)?;
                Ipv4Addr::from(octets).to_string()
            }
            _ => {
                let mut length = [0];
                client.read_exact(&mut length)?;
                let mut name = vec![0; length[0].into()];
                client.read_exact(&mut name)?;
                String::from_utf8_lossy(&name).into_owned()
            }
        };
        client.read_exact(&mut two)?;
        let Some((_, place)) = places.iter().find(|(known, _)| *known == name) else {
            return client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]);
        };
        let server = TcpStream::connect(place)?;
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        io::copy(&mut &server, &mut client)?;
        client.shutdown(std::net::Shutdown::Both)
    })
}
