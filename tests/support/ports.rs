//! Ports for servers that start later. No other test gets the same port, and no outgoing connection uses it meanwhile.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixListener};

/// Ports below the range that the system uses for outgoing connections.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Returns a port of `address` that is free over TCP and UDP. It is reserved for this process until its end by a mark that all tests'
/// processes see.
pub fn free_port(address: &str) -> SocketAddr {
    let first = std::process::id().wrapping_mul(37) % u32::from(PORTS.end - PORTS.start);
    let ports = (PORTS.start..PORTS.end).cycle().skip(first as usize).take(PORTS.len());
    for port in ports {
        let claimed = Name::from_abstract_name(format!("postbud-test-port-{port}"))
            .and_then(|name| UnixListener::bind_addr(&name));
        let Ok(claim) = claimed else { continue };
        let Ok(tcp) = TcpListener::bind((address, port)) else { continue };
        let found = tcp.local_addr().expect("a bound socket has an address");
        if UdpSocket::bind(found).is_ok() {
            std::mem::forget(claim);
            return found;
        }
    }
    panic!("no port of {address} is free");
}
