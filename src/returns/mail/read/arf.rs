//! Reads complaints: feedback reports in the Abuse Reporting Format (RFC 5965), with the message that they are about.

use super::mime::{MimeMessage, Part, unfolded, value};
use super::said::on_one_line;
use crate::message::QueueId;
use crate::message::headers::fields;
use crate::smtp::Mailbox;

/// The most Received fields of the included message that are examined.
const RECEIVED: usize = 50;

/// The content of a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The type in lower case; `abuse` if the report names none.
    pub kind: String,
    /// The recipients that the report names.
    pub recipients: Vec<String>,
    /// The identity of the message.
    pub about: Included,
    /// The program that wrote the report.
    pub by: Option<String>,
}

/// The identity of a message that is included in another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Included {
    /// Return paths: `Return-Path` of the message and `Original-Mail-From` of the report.
    pub return_paths: Vec<Mailbox>,
    /// Our queue ids, from Received fields that a postbud wrote.
    pub queue_ids: Vec<QueueId>,
    /// The Message-ID without angle brackets.
    pub message_id: Option<String>,
}

/// Reads a complaint: a feedback report, or a plain mail with a message in it, which some senders of complaints use. Returns `None` if
/// there is neither.
pub(super) fn complaint(message: &MimeMessage<'_>) -> Option<Complaint> {
    let report = message.part(&["message/feedback-report"]);
    let included = included(message);
    if report.is_none() && included.is_none() {
        return None;
    }
    let report = report.map(Part::octets).unwrap_or_default();
    let header = included.unwrap_or_default();
    let mut about = Included::of(&header);
    about.return_paths.extend(value(&report, "Original-Mail-From").as_deref().and_then(path));
    let named = ["Original-Rcpt-To", "Removal-Recipient"];
    let in_report = fields(&report).flatten().filter(|field| named.iter().any(|name| field.is(name))).map(unfolded);
    // Microsoft's complaints name the recipient in this field.
    let in_header = value(&header, "X-HmXmrOriginalRecipient");
    let recipients = in_report.chain(in_header).take(10).map(|text| bare(&text).to_owned());
    Some(Complaint {
        kind: value(&report, "Feedback-Type").map_or("abuse".into(), |kind| on_one_line(&kind).to_ascii_lowercase()),
        recipients: recipients.collect(),
        about,
        by: value(&report, "User-Agent").map(|text| on_one_line(&text)),
    })
}

/// Returns the header of the included message.
pub(super) fn included(message: &MimeMessage<'_>) -> Option<Vec<u8>> {
    let whole = ["message/rfc822", "message/global"];
    let headers = ["text/rfc822-headers", "message/global-headers", "message/rfc822-headers"];
    let part = message.part(&whole).or_else(|| message.part(&headers))?;
    Some(super::mime::split(&part.octets()).0.to_vec())
}

impl Included {
    /// Reads the header of an included message.
    pub(super) fn of(header: &[u8]) -> Included {
        let received = fields(header).flatten().filter(|field| field.is("Received")).take(RECEIVED).map(unfolded);
        Included {
            return_paths: value(header, "Return-Path").as_deref().and_then(path).into_iter().collect(),
            queue_ids: received.filter_map(|text| queue_id(&text)).take(5).collect(),
            message_id: value(header, "Message-ID").map(|id| bare(&id).to_owned()).filter(|id| !id.is_empty()),
        }
    }
}

/// Reads the queue id in a Received field that a postbud wrote: `by … (postbud) with ESMTPSA id 06FB30CNEKX2R; …`.
fn queue_id(received: &str) -> Option<QueueId> {
    // Servers on the way may have folded it anew.
    let mut words = received.split_ascii_whitespace().skip_while(|word| *word != "(postbud)");
    words.find(|word| *word == "id")?;
    words.next()?.trim_end_matches(';').parse().ok()
}

/// Returns an address without angle brackets and without a type prefix.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let text =
        text.split_once(';').filter(|(kind, _)| kind.eq_ignore_ascii_case("rfc822")).map_or(text, |(_, text)| text);
    text.trim().trim_start_matches('<').trim_end_matches('>')
}

fn path(text: &str) -> Option<Mailbox> {
    Mailbox::parse(bare(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Complaint> {
        complaint(&MimeMessage::of(text.replace('\n', "\r\n").as_bytes()))
    }

    const REPORT: &str = "From: fbl@isp.test\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n\
        --b\nContent-Type: text/plain\n\nThis is a complaint.\n\
        --b\nContent-Type: message/feedback-report\n\nFeedback-Type: Abuse\nUser-Agent: ISP/1.0\nVersion: 1\n\
        Original-Mail-From: <r-1@returns.test>\nOriginal-Rcpt-To: <a@isp.test>\n\
        --b\nContent-Type: message/rfc822\n\nReturn-Path: <news@kunde.dk>\nReceived: from x by y id 123\n\
        Received: from a ([192.0.2.1])\n\tby out.webcrm.com (postbud) with ESMTPSA\n\t(using TLSv1.3 with X) id 0000000000007;\n\tMon\n\
        Message-ID: <1@kunde.dk>\nSubject: x\n\nbody\n--b--\n";

    #[test]
    fn a_report_names_the_mail_in_several_ways() {
        let found = read(REPORT).unwrap();
        assert_eq!((found.kind.as_str(), found.by.as_deref()), ("abuse", Some("ISP/1.0")));
        assert_eq!(found.recipients, ["a@isp.test"]);
        let paths: Vec<_> = found.about.return_paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["news@kunde.dk", "r-1@returns.test"]);
        assert_eq!(found.about.queue_ids, [QueueId::from_u64(7)]);
        assert_eq!(found.about.message_id.as_deref(), Some("1@kunde.dk"));
    }

    #[test]
    fn a_queue_id_is_found_however_the_field_is_folded_and_a_redacted_report_names_nobody() {
        let folded = REPORT
            .replace(
                " (postbud) with ESMTPSA\n\t(using TLSv1.3 with X) id 0000000000007;\n",
                "\n (postbud)\n\twith ESMTPSA\n  id\n\t0000000000007\n ; ",
            )
            .replace("<r-1@returns.test>", "redacted")
            .replace("<a@isp.test>", "<redacted>");
        let found = read(&folded).unwrap();
        assert_eq!(found.about.queue_ids, [QueueId::from_u64(7)], "{folded}");
        let paths: Vec<_> = found.about.return_paths.iter().map(ToString::to_string).collect();
        assert_eq!((paths, found.recipients), (vec!["news@kunde.dk".to_owned()], vec!["redacted".to_owned()]));
    }

    #[test]
    fn a_mail_with_a_message_in_it_is_a_complaint_too() {
        let found = read(
            "From: staff@hotmail.test\nSubject: complaint about message\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
             Content-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: a@hotmail.test\nMessage-ID: <2@kunde.dk>\n\nx\n--b--\n",
        );
        let found = found.unwrap();
        assert_eq!((found.kind.as_str(), found.about.message_id.as_deref()), ("abuse", Some("2@kunde.dk")));
        assert_eq!(found.recipients, ["a@hotmail.test"]);
        assert_eq!(read("Subject: buy\n\nMessage-ID: <2@kunde.dk>\n"), None);
    }

    #[test]
    fn a_report_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(complaint(&MimeMessage::of(text.as_bytes()))),
            &[
                ("recipients", |size| REPORT.replace("Version: 1\n", &"Original-Rcpt-To: <a@b>\r\n".repeat(size / 25))),
                ("received", |size| {
                    REPORT.replace("Subject: x\n", &"Received: x (postbud) id id \r\n".repeat(size / 30))
                }),
            ],
        );
    }
}
