//! The fields that this relay adds to a message: Received (RFC 5321 §4.4), and Date and Message-ID if there are none (RFC 6409 §8). The
//! signatures are added by [`dkim`](crate::dkim).

use std::net::IpAddr;

use crate::machine;
use crate::message::QueueId;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// What is known of the connection that a message came over.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) peer: IpAddr,
    /// The name that the client gave itself.
    pub(super) client: String,
    /// True if the client said EHLO, false if it said HELO.
    pub(super) extended: bool,
    /// The TLS version and cipher suite.
    pub(super) tls: Option<(&'static str, &'static str)>,
    pub(super) authenticated: bool,
}

impl Origin {
    /// Appends the Received field. A client with a private address is webCRM's own machine, so its address and name are left out (RFC 5321
    /// §7.6). The submitter's name is always left out.
    pub(super) fn received(&self, hostname: &Domain, id: QueueId, smtputf8: bool, now: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Received: ");
        if is_public(self.peer) {
            let literal = match self.peer {
                IpAddr::V4(ip) => format!("[{ip}]"),
                IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
            };
            let name: String = self.client.chars().filter(|c| is_shown(*c)).take(100).collect();
            let name = if name.is_empty() { &literal } else { &name };
            out.extend_from_slice(format!("from {name} ({literal})\r\n\t").as_bytes());
        }
        out.extend_from_slice(format!("by {hostname} (postbud) with {}", self.protocol(smtputf8)).as_bytes());
        if let Some((version, suite)) = self.tls {
            out.extend_from_slice(format!("\r\n\t(using {version} with {suite})").as_bytes());
        }
        out.extend_from_slice(format!(" id {id};\r\n\t{}\r\n", now.rfc5322()).as_bytes());
    }

    /// Returns the registered name of the protocol (RFC 3848, RFC 6531 §4.3).
    fn protocol(&self, smtputf8: bool) -> &'static str {
        match (self.extended, smtputf8, self.tls.is_some(), self.authenticated) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// Makes the Date and Message-ID that a message lacks, each line with its CRLF. `message_id` is the message's own, if it has one. Returns
/// the fields, and the Message-ID without brackets.
pub(super) fn missing(
    has_date: bool,
    message_id: Option<String>,
    id: QueueId,
    from_domain: &Domain,
    now: Timestamp,
) -> (Vec<u8>, String) {
    let mut added = String::new();
    if !has_date {
        added.push_str(&format!("Date: {}\r\n", now.rfc5322()));
    }
    let message_id = message_id.unwrap_or_else(|| {
        let made = new_message_id(id, from_domain);
        added.push_str(&format!("Message-ID: <{made}>\r\n"));
        made
    });
    (added.into_bytes(), message_id)
}

/// Makes a Message-ID without brackets. The queue id makes it unique, and its domain is the sender's.
fn new_message_id(id: QueueId, from_domain: &Domain) -> String {
    format!("{id}.{:08x}@{from_domain}", machine::random::<u32>())
}

fn is_shown(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_:[]".contains(c)
}

fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared(ip.octets())),
        // fc00::/7 is unique local, fe80::/10 link-local.
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            !(ip.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80)
        }
    }
}

/// Returns true for 100.64.0.0/10, which carriers and clouds use inside (RFC 6598).
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(origin: &Origin) -> String {
        let (id, now) = (QueueId::from_u64(1), Timestamp::from_millis(1_795_458_240_123));
        let mut out = Vec::new();
        origin.received(&Domain::parse("out.webcrm.com").unwrap(), id, false, now, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_inside_client_is_not_shown() {
        let mut origin = Origin {
            peer: "10.0.0.5".parse().unwrap(),
            client: "WEBCRM-APP07".into(),
            extended: true,
            tls: Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
            authenticated: true,
        };
        assert_eq!(
            received(&origin),
            "Received: by out.webcrm.com (postbud) with ESMTPSA\r\n\t(using TLSv1.3 with TLS_AES_256_GCM_SHA384) \
             id 0000000000001;\r\n\tMon, 23 Nov 2026 18:24:00 +0000\r\n"
        );
        origin.peer = "203.0.113.9".parse().unwrap();
        assert!(received(&origin).starts_with("Received: from WEBCRM-APP07 ([203.0.113.9])\r\n\tby "));
        origin.client = "(;<>)".into();
        assert!(received(&origin).starts_with("Received: from [203.0.113.9] ([203.0.113.9])\r\n\tby "));
    }

    #[test]
    fn inside_addresses_are_known() {
        for (ip, public) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("::ffff:10.1.1.1", false),
            ("100.100.1.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("40.74.40.57", true),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }
}
