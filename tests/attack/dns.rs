//! A DNS server that knows no name, and says so at once.

use std::net::UdpSocket;

/// The table of a server file that asks it. It answers until the test ends.
pub fn empty() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut packet) {
            if len < 12 {
                continue;
            }
            // An answer, recursion available, NXDOMAIN; the question, and nothing else (RFC 1035 §4.1.1).
            packet[2] |= 0x80;
            packet[3] = 0x83;
            let question = packet[12..len].iter().position(|label| *label == 0).map_or(len, |end| 12 + end + 5);
            packet[6..12].fill(0);
            let _ = socket.send_to(&packet[..question.min(len)], client);
        }
    });
    format!("[dns]\nservers = [\"{address}\"]\n")
}
