//! What a client may ask of the submission server. Every limit is configurable, has a default here, and names the reply that a client
//! hears if it exceeds the limit.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The largest header block that can be configured: the block must lie in the first chunk of the content.
pub const MAX_HEADER_SIZE: usize = 256_000;

/// The limits, which hold for all listeners together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once in all; more hear 421 4.3.2.
    pub connections: usize,
    /// Connections at once from one address; more hear 421 4.7.0. Here and for logins an IPv6 /64 counts as one address.
    pub connections_per_address: usize,
    /// Recipients a message; more hear 452 4.5.3.
    pub recipients: usize,
    /// Messages over one connection; then 421 4.7.0 and the connection is closed.
    pub messages_per_connection: u32,
    /// Refused commands and messages since the last accepted message; then 421 4.7.0 and the connection is closed. Refused
    /// recipients count from `recipients` of them on only, and those put off from ten times as many on: a list with bad
    /// addresses in it is no attack. What is pipelined behind a refused MAIL does not count.
    pub errors_per_connection: u32,
    /// Commands a minute that carry no mail forward (accepted MAIL, RCPT, DATA and BDAT do not count, nor does anything before
    /// the last accepted message); then 421 4.7.0 and the connection is closed.
    pub commands_per_minute: u32,
    /// Commands that carry no mail forward since the last message began, however slowly they come (NOOP, RSET, EHLO, …); then 421
    /// 4.7.0 and the connection is closed.
    pub commands_without_mail: u32,
    /// How long a client may take from connecting to a right login, where one is needed; then 421 4.7.0.
    pub login_timeout: Duration,
    /// How long one whole command may take to arrive, idle time included (RFC 5321 §4.5.3.2.7: at least 5 minutes); then
    /// 421 4.4.2.
    pub command_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the client may take to read our replies.
    pub reply_timeout: Duration,
    /// How long DATA may stand still (RFC 5321 §4.5.3.2.5: 3 minutes); then 421 4.4.2.
    pub data_timeout: Duration,
    /// How long one message may take from MAIL to its end, the commands before its content included; then 421 4.4.2.
    pub transaction_timeout: Duration,
    /// The least octets a second over a message's DATA, counted once `minimum_rate_grace` has passed; slower hears 421 4.4.2.
    pub minimum_rate: u64,
    /// How long a message may be slower than `minimum_rate` at its beginning.
    pub minimum_rate_grace: Duration,
    /// Octets of a message as the client sends them (RFC 1870 §5: line ends count, stuffed dots and the final one do not), whatever
    /// is cut or added here; more hear 552 5.3.4. Routes may carry less.
    pub message_size: u64,
    /// Octets of the header block, at most [`MAX_HEADER_SIZE`]; more hear 552 5.3.4.
    pub header_size: usize,
    /// Fields of the header block; more hear 550 5.6.0. Not lines: a To that names as many recipients as a message may have takes
    /// more of them than there may be fields.
    pub header_fields: usize,
    /// Octets of a line without its CRLF (RFC 5322 §2.1.1); more hear 550 5.6.0.
    pub line_length: usize,
    /// Received fields; more are a loop, 554 5.4.6 (RFC 5321 §6.3).
    pub received: usize,
    /// Octets of messages in memory over all connections, and as many again of long lists of recipients; a message or recipient
    /// that finds no room hears 452 4.3.1.
    pub bytes_in_flight: u64,
    /// How long a message waits for room in `bytes_in_flight`. The client is held back by TCP meanwhile. The one message that may
    /// go over the limit keeps that right for at most six times as long, and for as long as it comes quickly; then it hears 452
    /// 4.3.1. So does any message of less than 16 KiB a second whose memory is waited for.
    pub bytes_in_flight_wait: Duration,
    /// How long the first wrong login waits for its 535; each further one of the same address or name twice as long.
    pub login_delay: Duration,
    /// The longest such wait.
    pub longest_login_delay: Duration,
    /// Wrong logins from one address within `login_window`, an IPv6 /48 counting as one; from then on one login of it is looked at
    /// each `longest_login_delay`, and others hear 454 4.7.0. A submitter is not kept out where it has logged in before.
    pub login_failures_per_address: u32,
    /// Wrong logins to one name within `login_window` from addresses where it has not logged in before; from then on each such
    /// address has one login looked at, and the next hears 454 4.7.0.
    pub login_failures_per_name: u32,
    /// How long a wrong login is remembered.
    pub login_window: Duration,
}

/// What a client's address is counted as. Whoever has one IPv6 address has the other 2⁶⁴ of its network as well (RFC 6177):
/// to count them one by one would be no limit.
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
