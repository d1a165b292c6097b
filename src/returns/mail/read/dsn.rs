//! Reads delivery status notifications, `message/delivery-status` (RFC 3464) and its UTF-8 form (RFC 6533).

use super::mime::unfolded;
use super::said::{Said, on_one_line};
use super::{Action, DeliveryStatus};
use crate::message::headers::fields;
use crate::smtp::EnhancedCode;

/// The most recipients of a report that are read.
const RECIPIENTS: usize = 100;

/// Reads a status. The first block is about the message, and each further block about a recipient. If no block names its recipient, they
/// count as they are, because the return path names the recipient.
pub(super) fn fates(status: &[u8]) -> Vec<DeliveryStatus> {
    let mut blocks = blocks(status);
    let Some(of_message) = blocks.next() else { return Vec::new() };
    let reporter = Block(of_message).host("Reporting-MTA");
    // Some gateways omit the blank line behind the first block.
    let all = std::iter::once(of_message).chain(blocks).take(RECIPIENTS + 1);
    let (mut named, unnamed): (Vec<_>, Vec<_>) = all
        .filter_map(|block| Block(block).fate(reporter.as_deref()))
        .partition(|fate: &DeliveryStatus| !fate.recipients.is_empty());
    if named.is_empty() {
        named = unnamed;
    }
    named
}

/// Returns the blocks between blank lines.
fn blocks(status: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = status;
    std::iter::from_fn(move || {
        while let Some(behind) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")) {
            rest = behind;
        }
        let (block, behind) = super::mime::split(rest);
        rest = behind;
        (!block.is_empty()).then_some(block)
    })
}

/// A block of fields.
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    fn value(&self, name: &str) -> Option<String> {
        fields(self.0).flatten().find(|field| field.is(name)).map(unfolded).filter(|value| !value.is_empty())
    }

    /// Returns a value behind its type: `rfc822; a@x.dk`, `dns; mx.x.dk`. The type may be missing.
    fn typed(&self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        let is_type = |kind: &str| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let typed = value.split_once(';').filter(|(kind, _)| is_type(kind.trim()));
        let bare = typed.map_or(value.as_str(), |(_, value)| value).trim();
        (!bare.is_empty()).then(|| on_one_line(bare))
    }

    /// Returns a host name without additions: `dns; mx.x.dk (192.0.2.1)`.
    fn host(&self, name: &str) -> Option<String> {
        let value = self.typed(name)?;
        let host = value.split([' ', '(']).next().unwrap_or_default().trim_end_matches('.');
        (!host.is_empty()).then(|| host.to_owned())
    }

    /// Returns the recipient's address. `\x{F8}` is decoded to UTF-8 (RFC 6533 §3).
    fn address(&self, name: &str) -> Option<String> {
        let value = self.typed(name)?;
        Some(unescaped(value.trim_start_matches('<').trim_end_matches('>')))
    }

    /// Returns the fate of the block's recipient, or `None` if the block is about no recipient.
    fn fate(&self, reporter: Option<&str>) -> Option<DeliveryStatus> {
        let (original, last) = (self.address("Original-Recipient"), self.address("Final-Recipient"));
        let status = self.value("Status").and_then(|value| EnhancedCode::parse(&value));
        let by_status = || {
            status.map(|status| match status.0 {
                2 => Action::Relayed,
                4 => Action::Delayed,
                _ => Action::Failed,
            })
        };
        let named = self.value("Action").and_then(|value| Action::parse(&value));
        // The block about the message may have a status, too.
        let is_recipients = original.is_some() || last.is_some() || named.is_some();
        let action = named.or_else(by_status).filter(|_| is_recipients)?;
        let said = Said::of(&self.typed("Diagnostic-Code").unwrap_or_default());
        Some(DeliveryStatus {
            action,
            recipients: original.into_iter().chain(last).collect(),
            said: said.or_status(status),
            server: self.host("Remote-MTA").or(reporter.map(str::to_owned)),
            until: self.value("Will-Retry-Until").map(|value| on_one_line(&value)),
        })
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let end = escape.bytes().take(12).position(|octet| octet == b'}');
        let c = end.and_then(|end| u32::from_str_radix(&escape[3..end], 16).ok()).and_then(char::from_u32);
        match (c, end) {
            (Some(c), Some(end)) => {
                out.push(c);
                rest = &escape[end + 1..];
            }
            _ => {
                out.push_str(&escape[..3]);
                rest = &escape[3..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<DeliveryStatus> {
        fates(text.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn each_recipient_has_its_fate() {
        let found = read(
            "Reporting-MTA: dns; mail.kunde.dk\nX-Postfix-Queue-ID: 1\nArrival-Date: Mon\n\n\
             Final-Recipient: rfc822; gone@x.dk\nOriginal-Recipient: rfc822;Gone@x.dk\nAction: failed\nStatus: 5.1.1\n\
             Remote-MTA: dns; mx.x.dk (192.0.2.1)\nDiagnostic-Code: smtp; 550 5.1.1 <gone@x.dk>:\n    User unknown\n\n\
             Final-Recipient: utf-8; s\\x{F8}ren@x.dk\nAction: DELAYED (later)\nStatus: 4.4.1 (no answer)\nWill-Retry-Until: Tue\n\n\
             Final-Recipient: rfc822;ok@x.dk\nAction: delivered\nStatus: 2.0.0\n",
        );
        let [failed, delayed, delivered] = found.try_into().unwrap();
        assert_eq!(failed.recipients, ["Gone@x.dk", "gone@x.dk"]);
        assert_eq!((failed.action, failed.server.as_deref()), (Action::Failed, Some("mx.x.dk")));
        assert_eq!(failed.said.line(), "550 5.1.1 <gone@x.dk>: User unknown");
        assert_eq!((delayed.action, &*delayed.recipients[0]), (Action::Delayed, "søren@x.dk"));
        assert_eq!((delayed.said.line().as_str(), delayed.until.as_deref()), ("4.4.1", Some("Tue")));
        assert_eq!((delivered.action, delivered.server.as_deref()), (Action::Delivered, Some("mail.kunde.dk")));
    }

    #[test]
    fn what_is_left_out_or_odd_is_read_as_it_was_meant() {
        // Without a blank line behind the first block, without Action and types, and with LF line ends.
        let found =
            fates(b"Reporting-MTA: mail.x.dk\nFinal-Recipient: <a@x.dk>\nStatus: 5.2.2\nDiagnostic-Code: full\n");
        assert_eq!((found[0].action, found[0].said.line().as_str()), (Action::Failed, "5.2.2 full"));
        assert_eq!(found[0].recipients, ["a@x.dk"]);
        assert!(read("").is_empty() && read("\n\n\n").is_empty() && read("A: b\nStatus: 5.1.1\n").is_empty());
        assert!(read("A: b\n\nFinal-Recipient: rfc822; a@x.dk\n").is_empty(), "neither action nor status");
        assert_eq!(unescaped("a\\x{}b\\x{110000}\\x{41"), "a\\x{}b\\x{110000}\\x{41");
        let many = "Final-Recipient: rfc822; a@x.dk\nAction: failed\n\n".repeat(1000);
        assert_eq!(read(&format!("A: b\n\n{many}")).len(), RECIPIENTS);
    }

    #[test]
    fn reports_of_other_servers_are_read_as_they_write_them() {
        let gmail = read(
            "Reporting-MTA: dns; googlemail.com\nReceived-From-MTA: dns; r-1@returns.test\nArrival-Date: Mon\nX-Original-Message-ID: <1@a>\n\n\
             Final-Recipient: rfc822; gone@gmail.example\nAction: failed\nStatus: 5.1.1\n\
             Remote-MTA: dns; gmail-smtp-in.l.google.example. (2001:db8::1a, the server for the\n domain gmail.example.)\n\
             Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try\n \
             550-5.1.1 double-checking the address.\n 550 5.1.1  https://support.google.example/mail/?p=NoSuchUser a1-20 - gsmtp\n\
             Last-Attempt-Date: Mon\n",
        );
        assert_eq!(
            (gmail[0].action, gmail[0].server.as_deref()),
            (Action::Failed, Some("gmail-smtp-in.l.google.example"))
        );
        assert!(gmail[0].said.line().starts_with("550 5.1.1 The email account"), "{:?}", gmail[0].said);
        let domino = read(
            "Reporting-MTA: dns;mail.x.dk\n\nFinal-Recipient: rfc822;gone@x.dk\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: X-Notes; User gone (gone@x.dk) not listed in Domino Directory\n",
        );
        assert_eq!(domino[0].said.line(), "5.1.1 User gone (gone@x.dk) not listed in Domino Directory");
        let untyped = read(
            "Reporting-MTA: x\n\nFinal-Recipient: gone@x.dk\nAction: failed\nStatus: 5.7.1\n\
             Diagnostic-Code: 550 5.7.1 Blocked; see https://x.dk/?a;b\n",
        );
        assert_eq!(untyped[0].said.line(), "550 5.7.1 Blocked; see https://x.dk/?a;b");
    }

    #[test]
    fn a_status_that_names_no_recipient_counts_and_one_beside_a_named_one_does_not() {
        let bare = read("Reporting-MTA: dns; x.dk\n\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 gone\n");
        assert_eq!((bare.len(), bare[0].action, bare[0].said.line().as_str()), (1, Action::Failed, "550 5.1.1 gone"));
        assert!(bare[0].recipients.is_empty());
        let empty = read("Reporting-MTA: dns; x.dk\n\nFinal-Recipient: rfc822;\nAction: delayed\n");
        assert_eq!((empty.len(), empty[0].action), (1, Action::Delayed));
        let mixed = read("Reporting-MTA: x\n\nAction: failed\n\nFinal-Recipient: rfc822; a@x.dk\nAction: delivered\n");
        assert_eq!((mixed.len(), mixed[0].action), (1, Action::Delivered));
    }

    #[test]
    fn a_status_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |status: &Vec<u8>| drop(fates(status)),
            &[
                ("blank lines", |size| b"\r\n".repeat(size / 2)),
                ("fields", |size| b"A: b\r\n".repeat(size / 6)),
                ("a folded field", |size| {
                    [
                        &b"Final-Recipient: rfc822; a@x.dk\r\nAction: failed\r\nDiagnostic-Code: smtp;"[..],
                        &b"\r\n a".repeat(size / 4),
                    ]
                    .concat()
                }),
                ("escapes", |size| {
                    [&b"Action: failed\r\nFinal-Recipient: utf-8; "[..], &b"\\x{F8}\\x{".repeat(size / 9)].concat()
                }),
            ],
        );
    }
}
