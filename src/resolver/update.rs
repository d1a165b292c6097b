//! Changes a DNS zone by dynamic update (RFC 2136), signed with TSIG (RFC 8945) by HMAC-SHA256.
//!
//! Each change replaces the TXT records of one name. An update goes over TCP to the zone's primary server and takes effect whole or
//! not at all. An answer counts only if it is signed with the same key: nobody on the way can pretend that a change was made.
//!
//! The DNS library can do this too, but only with its DNSSEC feature, which every other query would then carry. This is 6 kinds of
//! fields over `aws-lc-rs`' HMAC.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::smtp::Domain;

/// The most names that one update changes: it must fit in the 64 KiB of a DNS message, and a name with its key takes about 800 octets.
const NAMES_AT_ONCE: usize = 50;
/// By how much the clocks of the two sides may differ, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;
const HMAC_SHA256: &str = "hmac-sha256";

const TYPE_SOA: u16 = 6;
const TYPE_TXT: u16 = 16;
const TYPE_TSIG: u16 = 250;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
const OPCODE_UPDATE: u16 = 5 << 11;
const HEADER_LEN: usize = 12;

/// The server that takes updates of a zone, and the key that it knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Updates {
    /// The zone's primary server.
    pub server: SocketAddr,
    /// The name of the TSIG key.
    pub key_name: Domain,
    /// The secret of the TSIG key.
    pub secret: Zeroizing<Vec<u8>>,
}

/// The debug text never shows the secret.
impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Updates({}, {})", self.server, self.key_name)
    }
}

/// The one TXT record that a name has after the update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txt {
    /// The name, which lies in the zone.
    pub name: Domain,
    /// The value. Longer ones are split into strings of 255 octets.
    pub value: String,
    /// The TTL in seconds.
    pub ttl: u32,
}

/// Why an update was not made, or may not have been made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// The server could not be reached, or closed the connection.
    #[error("{server} does not take the update: {reason}; make sure that it listens there for this machine")]
    Unreachable {
        server: SocketAddr,
        /// The operating system's text.
        reason: String,
    },
    /// The server refused the update.
    #[error("{server} refuses the update of {zone} ({code}): {remedy}")]
    Refused {
        server: SocketAddr,
        zone: String,
        /// The code of RFC 2136 or RFC 8945.
        code: String,
        /// What a person can do.
        remedy: &'static str,
    },
    /// The answer is not signed with the key, or cannot be read.
    #[error(
        "the answer of {server} does not count ({reason}); make sure that {server} is the zone's server and has the same key"
    )]
    Untrusted {
        server: SocketAddr,
        /// What is wrong with the answer.
        reason: &'static str,
    },
}

impl Updates {
    /// Replaces the TXT records of these names. Returns after the server has made the changes.
    pub async fn replace(&self, zone: &Domain, records: &[Txt], limit: Duration) -> Result<(), UpdateError> {
        for records in records.chunks(NAMES_AT_ONCE) {
            let id = rand::random();
            let (message, mac) = self.request(zone, records, id, seconds());
            let late = || self.unreachable(format!("no answer within {} s", limit.as_secs()));
            let answer = tokio::time::timeout(limit, self.exchange(&message)).await.map_err(|_| late())?;
            let answer = answer.map_err(|error| self.unreachable(error.to_string()))?;
            self.judge(zone, &answer, id, &mac)?;
        }
        Ok(())
    }

    fn unreachable(&self, reason: String) -> UpdateError {
        UpdateError::Unreachable { server: self.server, reason }
    }

    async fn exchange(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.server).await?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.secret)
    }

    /// Builds a signed request. Also returns its signature, which the answer's signature covers.
    fn request(&self, zone: &Domain, records: &[Txt], id: u16, now: u64) -> (Vec<u8>, Vec<u8>) {
        let count = u16::try_from(2 * records.len()).expect("a chunk is short");
        let mut out = Vec::new();
        for field in [id, OPCODE_UPDATE, 1, 0, count, 0] {
            out.extend(field.to_be_bytes());
        }
        put_name(&mut out, zone.as_str());
        put_all(&mut out, &[TYPE_SOA, CLASS_IN]);
        for Txt { name, value, ttl } in records {
            // RFC 2136 §2.5.2: delete an RRset.
            put_record(&mut out, name.as_str(), TYPE_TXT, CLASS_ANY, 0, &[]);
            // RFC 2136 §2.5.1: add to an RRset.
            put_record(&mut out, name.as_str(), TYPE_TXT, CLASS_IN, *ttl, &strings(value));
        }
        let mac = self.sign(&[&out], now, 0);
        let mut data = Vec::new();
        put_name(&mut data, HMAC_SHA256);
        data.extend(&now.to_be_bytes()[2..]);
        put_all(&mut data, &[FUDGE, u16::try_from(mac.len()).expect("a MAC is short")]);
        data.extend(&mac);
        put_all(&mut data, &[id, 0, 0]);
        put_record(&mut out, self.key_name.as_str(), TYPE_TSIG, CLASS_ANY, 0, &data);
        // ARCOUNT.
        out[10..12].copy_from_slice(&1u16.to_be_bytes());
        (out, mac)
    }

    /// Signs parts of a message with the TSIG variables (RFC 8945 §4.3.3).
    fn sign(&self, parts: &[&[u8]], now: u64, error: u16) -> Vec<u8> {
        hmac::sign(&self.key(), &[&parts.concat()[..], &self.variables(now, FUDGE, error, &[])].concat())
            .as_ref()
            .to_vec()
    }

    fn variables(&self, now: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, self.key_name.as_str());
        put_all(&mut out, &[CLASS_ANY, 0, 0]);
        put_name(&mut out, HMAC_SHA256);
        out.extend(&now.to_be_bytes()[2..]);
        put_all(&mut out, &[fudge, error, u16::try_from(other.len()).unwrap_or(u16::MAX)]);
        out.extend(other);
        out
    }

    /// Reads the answer. It counts as success only if it is signed and answers this request.
    fn judge(&self, zone: &Domain, answer: &[u8], id: u16, request_mac: &[u8]) -> Result<(), UpdateError> {
        let untrusted = |reason| UpdateError::Untrusted { server: self.server, reason };
        let refused = |code: u16| {
            let (code, remedy) = meaning(code);
            UpdateError::Refused { server: self.server, zone: zone.to_string(), code, remedy }
        };
        let unreadable = || untrusted("it cannot be read");
        if answer.len() < HEADER_LEN || answer[..2] != id.to_be_bytes() || answer[2] & 0x80 == 0 {
            return Err(unreadable());
        }
        let code = u16::from(answer[3] & 0x0f);
        let Some(signature) = Tsig::of(answer).ok_or_else(unreadable)? else {
            // An unsigned refusal changes nothing, so it may be believed.
            return Err(if code == 0 { untrusted("it is not signed") } else { refused(code) });
        };
        if signature.error != 0 {
            return Err(refused(signature.error));
        }
        let mut unsigned = answer[..signature.at].to_vec();
        let count = u16::from_be_bytes([unsigned[10], unsigned[11]]) - 1;
        unsigned[10..12].copy_from_slice(&count.to_be_bytes());
        unsigned[..2].copy_from_slice(&signature.original_id.to_be_bytes());
        let length = u16::try_from(request_mac.len()).unwrap_or(u16::MAX).to_be_bytes();
        let variables = self.variables(signature.time, signature.fudge, signature.error, &signature.other);
        let signed = [&length[..], request_mac, &unsigned, &variables].concat();
        hmac::verify(&self.key(), &signed, &signature.mac).map_err(|_| untrusted("its signature is wrong"))?;
        if signature.time.abs_diff(seconds()) > u64::from(signature.fudge.max(FUDGE)) {
            return Err(untrusted("it is signed for another time: compare the clocks"));
        }
        if code != 0 {
            return Err(refused(code));
        }
        Ok(())
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The code's name, and what a person can do.
fn meaning(code: u16) -> (String, &'static str) {
    let (name, remedy) = match code {
        1 => ("FORMERR", "the server does not understand updates: name the zone's primary server"),
        2 => ("SERVFAIL", "look into the server's log: it cannot write the zone"),
        4 => ("NOTIMP", "the server knows no updates: name a server that does"),
        5 => ("REFUSED", "allow the TSIG key to update the zone there"),
        9 => ("NOTAUTH", "the server is not the primary server of the zone, or does not know the TSIG key"),
        10 => ("NOTZONE", "a name is not in the zone: compare [dkim.delegation] zone with the server's"),
        16 => ("BADSIG", "the secret differs from the server's: correct tsig_secret_file"),
        17 => ("BADKEY", "the server has no key of this name for hmac-sha256: correct tsig_key"),
        18 => ("BADTIME", "the clocks differ by more than five minutes: set them"),
        other => return (format!("code {other}"), "look into the server's log"),
    };
    (name.to_owned(), remedy)
}

/// The content of a TSIG record, which is the last record of a message.
struct Tsig {
    /// Where the record begins.
    at: usize,
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    original_id: u16,
    error: u16,
    other: Vec<u8>,
}

impl Tsig {
    /// Finds the TSIG record. Returns `None` if the message cannot be read, and `Some(None)` if it has no TSIG record.
    fn of(message: &[u8]) -> Option<Option<Self>> {
        let mut reader = Reader { message, at: 4 };
        let [questions, answers, authority, additional] = [(); 4].map(|()| reader.u16());
        for _ in 0..questions? {
            reader.skip_name()?;
            reader.take(4)?;
        }
        let records = u32::from(answers?) + u32::from(authority?) + u32::from(additional?);
        let mut last = None;
        for _ in 0..records {
            let at = reader.at;
            reader.skip_name()?;
            let kind = reader.u16()?;
            reader.take(6)?;
            let length = reader.u16()?;
            let from = reader.at;
            reader.take(length.into())?;
            last = Some((at, kind, from, reader.at));
        }
        let Some((at, TYPE_TSIG, from, end)) = last else { return Some(None) };
        let mut reader = Reader { message: &message[..end], at: from };
        reader.skip_name()?;
        let time = reader.take(6)?.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let fudge = reader.u16()?;
        let length = reader.u16()?;
        let mac = reader.take(length.into())?.to_vec();
        let (original_id, error) = (reader.u16()?, reader.u16()?);
        let length = reader.u16()?;
        let other = reader.take(length.into())?.to_vec();
        Some(Some(Tsig { at, time, fudge, mac, original_id, error, other }))
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                // RFC 1035 §4.1.4: a pointer ends the name.
                192.. => return self.take(1).map(drop),
                length @ ..=63 => drop(self.take(length.into())?),
                _ => return None,
            }
        }
    }
}

/// Appends a name without compression, in lower case as TSIG requires.
fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // A domain's labels have at most 63 octets.
        out.push(label.len() as u8);
        out.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    out.push(0);
}

fn put_all(out: &mut Vec<u8>, fields: &[u16]) {
    fields.iter().for_each(|field| out.extend(field.to_be_bytes()));
}

fn put_record(out: &mut Vec<u8>, name: &str, kind: u16, class: u16, ttl: u32, data: &[u8]) {
    put_name(out, name);
    put_all(out, &[kind, class]);
    out.extend(ttl.to_be_bytes());
    put_all(out, &[u16::try_from(data.len()).expect("a key record is short")]);
    out.extend(data);
}

/// Encodes a TXT value as strings of at most 255 octets (RFC 1035 §3.3.14).
fn strings(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in value.as_bytes().chunks(255) {
        out.push(chunk.len() as u8);
        out.extend(chunk);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates() -> Updates {
        Updates {
            server: "127.0.0.1:53".parse().unwrap(),
            key_name: Domain::parse("postbud").unwrap(),
            secret: Zeroizing::new(vec![7; 32]),
        }
    }

    fn zone() -> Domain {
        Domain::parse("dkim.example").unwrap()
    }

    fn record(value: String) -> Txt {
        Txt { name: Domain::parse("a.test.dk.dkim.example").unwrap(), value, ttl: 300 }
    }

    /// The answer that a server with this key gives to a request.
    fn answer(updates: &Updates, id: u16, mac: &[u8], code: u8, now: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_all(&mut out, &[id, 0x8000 | OPCODE_UPDATE | u16::from(code), 0, 0, 0, 0]);
        let length = (mac.len() as u16).to_be_bytes();
        let signature = updates.sign(&[&length, mac, &out], now, 0);
        let mut data = Vec::new();
        put_name(&mut data, HMAC_SHA256);
        data.extend(&now.to_be_bytes()[2..]);
        put_all(&mut data, &[FUDGE, 32]);
        data.extend(signature);
        put_all(&mut data, &[id, 0, 0]);
        put_record(&mut out, "postbud", TYPE_TSIG, CLASS_ANY, 0, &data);
        out[10..12].copy_from_slice(&1u16.to_be_bytes());
        out
    }

    #[test]
    fn an_answer_counts_only_if_it_is_whole_and_signed_for_this_request() {
        let (updates, zone) = (updates(), zone());
        let (_, mac) = updates.request(&zone, &[record("v=DKIM1; p=".into())], 7, seconds());
        let good = answer(&updates, 7, &mac, 0, seconds());
        assert_eq!(updates.judge(&zone, &good, 7, &mac), Ok(()));
        for length in 0..good.len() {
            assert!(updates.judge(&zone, &good[..length], 7, &mac).is_err(), "{length} octets of it");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let judged = updates.judge(&zone, &bad, 7, &mac);
            // The class, TTL and name of the TSIG record itself are not covered: they are fixed.
            let tsig = good.len() - (10 + 9 + 13 + 6 + 4 + 32 + 6);
            assert!(judged.is_err() || (tsig..tsig + 32).contains(&at), "octet {at} changed");
        }
        let (_, other) = updates.request(&zone, &[record("v=DKIM1; p=x".into())], 7, seconds());
        assert!(matches!(updates.judge(&zone, &good, 7, &other), Err(UpdateError::Untrusted { .. })));
        let old = answer(&updates, 7, &mac, 0, seconds() - 3600);
        assert!(matches!(updates.judge(&zone, &old, 7, &mac), Err(UpdateError::Untrusted { .. })));
        let mut unsigned = good[..HEADER_LEN].to_vec();
        unsigned[10..12].copy_from_slice(&[0, 0]);
        assert!(matches!(updates.judge(&zone, &unsigned, 7, &mac), Err(UpdateError::Untrusted { .. })));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let (updates, zone) = (updates(), zone());
        for code in 1..=15u8 {
            let (_, mac) = updates.request(&zone, &[], 7, seconds());
            let refused = updates.judge(&zone, &answer(&updates, 7, &mac, code, seconds()), 7, &mac).unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("refuses the update of dkim.example") && text.len() > 60, "{text}");
        }
        for (code, part) in [(16, "tsig_secret_file"), (17, "tsig_key"), (18, "clocks"), (5, "allow")] {
            assert!(meaning(code).1.contains(part), "{code}");
        }
    }

    #[test]
    fn a_long_key_is_split_into_strings_that_join_to_it() {
        let value = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
        let octets = strings(&value);
        assert_eq!((octets[0], octets.len()), (255, value.len() + 2));
        assert_eq!([&octets[1..256], &octets[257..]].concat(), value.as_bytes());
    }
}
