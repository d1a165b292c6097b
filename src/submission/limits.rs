//! The limits of the submission server for its clients. Every limit is configurable, has a default here, and names the reply to a client
//! that exceeds it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The largest header block that can be configured: the block must lie in the first chunk of the content.
pub const MAX_HEADER_SIZE: usize = 256_000;

/// The limits, which hold for all listeners together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones get 421 4.3.2.
    pub connections: usize,
    /// Connections at once from one address; further ones get 421 4.7.0. An IPv6 /64 counts as one address here.
    pub connections_per_address: usize,
    /// Recipients of a message; further ones get 452 4.5.3.
    pub recipients: usize,
    /// Messages over one connection; then it gets 421 4.7.0 and is closed.
    pub messages_per_connection: u32,
    /// Refused commands and messages since the last accepted message; then the connection gets 421 4.7.0 and is closed. Refused recipients
    /// count only after as many as `recipients`, and temporarily refused ones after ten times as many, because a list with bad addresses is
    /// no attack. Commands that were pipelined behind a refused MAIL do not count.
    pub errors_per_connection: u32,
    /// Commands per minute that bring no mail forward. Accepted MAIL, RCPT, DATA and BDAT do not count, nor do commands before the last
    /// accepted message. Then the connection gets 421 4.7.0 and is closed.
    pub commands_per_minute: u32,
    /// Commands that bring no mail forward (NOOP, RSET, EHLO, …) since the last message began, however slowly they come. Then the
    /// connection gets 421 4.7.0 and is closed.
    pub commands_without_mail: u32,
    /// The time from connecting to a successful login, if one is required; then 421 4.7.0.
    pub login_timeout: Duration,
    /// The time for one whole command to arrive, including idle time (RFC 5321 §4.5.3.2.7: at least 5 minutes); then 421 4.4.2.
    pub command_timeout: Duration,
    /// The time limit of a TLS handshake.
    pub handshake_timeout: Duration,
    /// The time limit for the client to read our replies.
    pub reply_timeout: Duration,
    /// How long DATA may stand still (RFC 5321 §4.5.3.2.5: 3 minutes); then 421 4.4.2.
    pub data_timeout: Duration,
    /// The time for one message from MAIL to its end; then 421 4.4.2.
    pub transaction_timeout: Duration,
    /// The minimum octets per second of a message's content, after `minimum_rate_grace`; a slower client gets 421 4.4.2.
    pub minimum_rate: u64,
    /// How long a message may at first be slower than `minimum_rate`.
    pub minimum_rate_grace: Duration,
    /// Octets of a message as the client sends them (RFC 1870 §5: line ends count, stuffed dots and the final one do not), before anything
    /// is cut or added; a larger message gets 552 5.3.4. Routes may allow less.
    pub message_size: u64,
    /// Octets of the header block, at most [`MAX_HEADER_SIZE`]; a larger header gets 552 5.3.4.
    pub header_size: usize,
    /// Fields of the header block; more get 550 5.6.0. Lines are not limited, because a To field with the maximum number of recipients has
    /// more lines than this.
    pub header_fields: usize,
    /// Octets of a line without its CRLF (RFC 5322 §2.1.1); a longer line gets 550 5.6.0.
    pub line_length: usize,
    /// Received fields; more mean a loop, which gets 554 5.4.6 (RFC 5321 §6.3).
    pub received: usize,
    /// Octets of messages in memory over all connections, and as many again for long lists of recipients; a message or recipient without
    /// room gets 452 4.3.1.
    pub bytes_in_flight: u64,
    /// How long a message waits for room in `bytes_in_flight`, while TCP slows the client down. The one message that may exceed the limit
    /// may do so for at most six times as long, and only while it arrives quickly; then it gets 452 4.3.1. So does a message of less than
    /// 16 KiB per second whose memory others wait for.
    pub bytes_in_flight_wait: Duration,
    /// The delay of the 535 for the first wrong login. It doubles with each further one for the same address or name.
    pub login_delay: Duration,
    /// The longest such delay.
    pub longest_login_delay: Duration,
    /// Wrong logins from one address (an IPv6 /48 counts as one) within `login_window`. After that, one login from it is checked every
    /// `longest_login_delay`, and others get 454 4.7.0. A submitter is never locked out at an address where it has logged in before.
    pub login_failures_per_address: u32,
    /// Wrong logins for one name within `login_window`, from addresses where it has not logged in before. After that, each such address
    /// gets one login checked, and further ones get 454 4.7.0.
    pub login_failures_per_name: u32,
    /// How long a wrong login is remembered.
    pub login_window: Duration,
}

/// Returns the address that a client counts as. The owner of one IPv6 address has all 2⁶⁴ addresses of its network (RFC 6177), so counting
/// them separately would be no limit.
pub(crate) fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 20_000,
            connections_per_address: 1_000,
            recipients: 1_000,
            messages_per_connection: 10_000,
            errors_per_connection: 20,
            commands_per_minute: 120,
            commands_without_mail: 100,
            login_timeout: Duration::from_secs(120),
            command_timeout: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(30),
            reply_timeout: Duration::from_secs(120),
            data_timeout: Duration::from_secs(180),
            transaction_timeout: Duration::from_secs(1800),
            minimum_rate: 1024,
            minimum_rate_grace: Duration::from_secs(30),
            message_size: 25 << 20,
            header_size: MAX_HEADER_SIZE,
            header_fields: 1_000,
            line_length: 998,
            received: 50,
            bytes_in_flight: 256 << 20,
            bytes_in_flight_wait: Duration::from_secs(10),
            login_delay: Duration::from_secs(1),
            longest_login_delay: Duration::from_secs(30),
            login_failures_per_address: 30,
            login_failures_per_name: 100,
            login_window: Duration::from_secs(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let counted = |text: &str| counted_as(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2::1"), counted("2001:db8:1:2:ffff::"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_eq!((counted("192.0.2.7"), counted("::ffff:192.0.2.7")), ("192.0.2.7".into(), "192.0.2.7".into()));
    }
}
