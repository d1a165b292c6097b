//! `postbud health`: reports whether the relay on this machine works, for health checks that run a command, such as a container's.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::ConfigFile;
use super::relay::{NAME_CONFIG, part_of};

/// The maximum time to connect, and to wait for octets of the answer. A slower relay is unhealthy.
const PATIENCE: Duration = Duration::from_secs(4);
/// The maximum size of an answer. Real answers are shorter.
const LONGEST: u64 = 64 << 10;

/// Ask the running relay whether it works.
///
/// Requests /healthz at [web] address and prints the answer. With --ready it requests /readyz: whether mail is accepted now. Only the
/// address is read from the configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud health
  postbud health --ready

Exit codes: 0 it works; 1 it does not, or does not answer.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Ask whether mail is accepted now.
    #[arg(long)]
    ready: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let file = self.config.path.display();
        let Server { web } = part_of(&self.config.path, NAME_CONFIG)?;
        let Some(address) = web.and_then(|web| web.address) else {
            bail!("{file} has no [web] address, so nothing answers")
        };
        let address: SocketAddr = address.parse().with_context(|| format!("{file}: [web] address {address}"))?;
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let (is_well, said) = ask(from_here(address), path).with_context(|| format!("nothing answers at {address}"))?;
        show!("{}", crate::visible::visible(said.trim()));
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The part of the server file that this command reads.
#[derive(Deserialize)]
struct Server {
    web: Option<Web>,
}

#[derive(Deserialize)]
struct Web {
    address: Option<String>,
}

/// Returns the address at which this machine reaches itself.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Returns whether the status is 200, and the text.
fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((status == "200", body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everybody_is_asked_on_this_machine() {
        for (configured, asked) in [
            ("127.0.0.1:8025", "127.0.0.1:8025"),
            ("0.0.0.0:8025", "127.0.0.1:8025"),
            ("[::]:8025", "[::1]:8025"),
            ("10.0.0.4:80", "10.0.0.4:80"),
        ] {
            assert_eq!(from_here(configured.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
