//! Writes the status for machines, `message/delivery-status` (RFC 3464).

use std::net::IpAddr;

use super::Settings;
use super::mime::{address_field, status_field};
use super::report::{Action, RecipientReport};
use crate::smtp::EnhancedCode;
use crate::smtp::dsn::xtext_decoded;
use crate::smtp::dsn::{orcpt_in_ascii, utf8_addr_xtext};
use crate::spool::Record;

/// Writes the status: one block for the message, and one for each recipient.
pub(super) fn delivery_status(
    record: &Record,
    action: Action,
    reports: &[(&RecipientReport, EnhancedCode)],
    settings: &Settings,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(envid) = record.envelope.envid.as_deref().and_then(xtext_decoded) {
        status_field("Original-Envelope-Id", &envid, &mut out);
    }
    status_field("Reporting-MTA", &format!("dns; {}", settings.reporting_mta), &mut out);
    status_field("Arrival-Date", &record.id.arrived().rfc5322(), &mut out);
    status_field("X-Postbud-Queue-ID", &record.id.to_string(), &mut out);
    for (report, status) in reports {
        out.extend_from_slice(b"\r\n");
        let recipient = &record.envelope.recipients[report.index];
        if let Some((kind, original)) = recipient.orcpt.as_deref().and_then(original_recipient) {
            address_field("Original-Recipient", &kind, &original, &mut out);
        }
        let address = recipient.address.to_string();
        let (kind, address) =
            if address.is_ascii() { ("rfc822", address) } else { ("utf-8", utf8_addr_xtext(&address)) };
        let fits = address_field("Final-Recipient", kind, &address, &mut out);
        debug_assert!(fits, "an address of 254 octets is printable and fits on a line");
        status_field("Action", action.as_str(), &mut out);
        status_field("Status", &status.to_string(), &mut out);
        let heard = smtp_code(&report.reply).is_some();
        if let Some(attempt) = report.attempt.as_ref().filter(|_| heard) {
            status_field("Remote-MTA", &format!("dns; {}", mta_name(&attempt.server)), &mut out);
        }
        let kind = if heard { "smtp" } else { "X-Postbud" };
        status_field("Diagnostic-Code", &format!("{kind}; {}", report.reply), &mut out);
        if let Some(attempt) = &report.attempt {
            status_field("Last-Attempt-Date", &attempt.at.rfc5322(), &mut out);
        }
        if let Action::Delayed { until } = action {
            status_field("Will-Retry-Until", &until.rfc5322(), &mut out);
        }
    }
    out
}

/// Returns a host as RFC 3464 §2.1.2 names an MTA. An address is written as a literal.
fn mta_name(host: &str) -> String {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Err(_) => host.to_owned(),
    }
}

/// Returns the recipient as the sender named it (RFC 3461 §6.3, RFC 6533 §3), with its address type. `None` if it holds
/// characters that may not stand in the field.
fn original_recipient(orcpt: &str) -> Option<(String, String)> {
    let in_ascii = (!orcpt.is_ascii()).then(|| orcpt_in_ascii(orcpt));
    let (kind, address) = in_ascii.as_deref().unwrap_or(orcpt).split_once(';')?;
    let address = if in_ascii.is_some() { address.to_owned() } else { xtext_decoded(address)? };
    Some((kind.to_owned(), address))
}

/// Returns the status code of a report. The subject and detail are those of the server's enhanced code, if there is
/// one. The class is that of the action.
pub(super) fn status(report: &RecipientReport, action: Action) -> EnhancedCode {
    let class = match action {
        Action::Failed => 5,
        Action::Delayed { .. } => 4,
        Action::Relayed => 2,
    };
    if report.expired {
        // X.4.7 means that the delivery time expired.
        return EnhancedCode(class, 4, 7);
    }
    let after_code = smtp_code(&report.reply).map_or(&*report.reply, |_| report.reply[3..].trim_start());
    match EnhancedCode::parse(after_code) {
        Some(EnhancedCode(_, subject, detail)) => EnhancedCode(class, subject, detail),
        // X.4.1 means that no host answered.
        None if smtp_code(&report.reply).is_none() && class == 4 => EnhancedCode(class, 4, 1),
        None => EnhancedCode(class, 0, 0),
    }
}

/// Returns the three digits that a reply begins with, or `None` if the text is not a server's reply. Our own texts
/// begin with a status (`5.3.4 …`) at most.
pub(super) fn smtp_code(reply: &str) -> Option<u16> {
    let code = reply.get(..3)?.parse().ok()?;
    let ends = reply.as_bytes().get(3).is_none_or(|octet| matches!(octet, b' ' | b'-'));
    (ends && (200..600).contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn report(index: usize, reply: &str) -> RecipientReport {
        RecipientReport { index, reply: reply.into(), advice: None, attempt: None, expired: false }
    }

    #[test]
    fn the_status_has_the_class_of_what_became_of_the_recipient() {
        let code = |reply: &str, action| status(&report(0, reply), action).to_string();
        let delayed = Action::Delayed { until: NOW };
        assert_eq!(code("550 5.1.1 no", Action::Failed), "5.1.1");
        assert_eq!(code("550 no", Action::Failed), "5.0.0");
        assert_eq!(code("450 4.2.2 full", Action::Failed), "5.2.2");
        assert_eq!(code("connection refused", Action::Failed), "5.0.0");
        assert_eq!(code("connection refused", delayed), "4.4.1");
        assert_eq!(code("451 4.7.1 later", delayed), "4.7.1");
        assert_eq!(code("250 2.0.0 ok", Action::Relayed), "2.0.0");
        assert_eq!(code("55", Action::Failed), "5.0.0");
        assert_eq!(code("5505.1.1", Action::Failed), "5.0.0");
        let expired = RecipientReport { expired: true, ..report(0, "451 4.7.1 later") };
        assert_eq!(status(&expired, Action::Failed).to_string(), "5.4.7");
    }

    #[test]
    fn the_original_recipient_is_named_in_ascii() {
        let named = |orcpt| original_recipient(orcpt).map(|(kind, address)| format!("{kind}; {address}"));
        for (orcpt, name) in [
            ("rfc822;user+40test.dk", "rfc822; user@test.dk"),
            ("rfc822;+22a+20+20b+22@test.dk", "rfc822; \"a  b\"@test.dk"),
            ("rfc822;+22+20+22@test.dk", "rfc822; \" \"@test.dk"),
            ("utf-8;søren@blåbær.dk", "utf-8; s\\x{F8}ren@bl\\x{E5}b\\x{E6}r.dk"),
            ("utf-8;s\\x{F8}ren@test.dk", "utf-8; s\\x{F8}ren@test.dk"),
        ] {
            assert_eq!(named(orcpt).as_deref(), Some(name));
        }
        assert_eq!(named("rfc822;a+0Ab"), None);
    }

    #[test]
    fn the_longest_address_fits_in_its_field() {
        // The local part may have 64 octets, and each character that is not ASCII becomes six characters or more.
        let local = ["+".repeat(62) + "æ", "中".repeat(21), "\u{1f600}".repeat(16), "æ".repeat(32)];
        let domain = format!("{}.{}.{}.dk", "a".repeat(63), "b".repeat(63), "c".repeat(50));
        for local in local {
            let address = crate::smtp::Mailbox::parse(&format!("{local}@{domain}")).unwrap().to_string();
            let mut out = Vec::new();
            assert!(address_field("Final-Recipient", "utf-8", &utf8_addr_xtext(&address), &mut out), "{address}");
        }
    }
}
