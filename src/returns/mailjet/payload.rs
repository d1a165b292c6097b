//! Reads the body of a request: one event, or an array of them (Mailjet's "version 2").
//!
//! The body comes from anybody who knows the secret, and is not trusted further. Its size is limited before this module reads it. The
//! number of events and the length of every text are limited here. Fields are read one by one and never kept as a tree, so a body needs no
//! more memory than its events. A field of an unexpected type counts as absent. An unknown event is counted and skipped, because Mailjet
//! would only repeat it.
//!
//! Recipients and their servers choose some of the texts: replies, browsers, links. A text that is no Unicode must not cost the other events
//! of its group, so octets that are not UTF-8 and halves of surrogate pairs are replaced.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::report::{Kind, Report};
use crate::message::QueueId;

/// The longest address, in octets (RFC 5321 §4.5.3.1, and room for quotes).
const LONGEST_ADDRESS: usize = 512;
/// The longest of Mailjet's own words.
const LONGEST_WORD: usize = 64;
/// The longest text of a server.
const LONGEST_COMMENT: usize = 512;
const LONGEST_URL: usize = 2048;
/// The octets that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The content of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    /// The known events, in order.
    pub reports: Vec<Report>,
    /// The number of unknown events.
    pub unknown: u64,
}

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not JSON, or neither an object nor an array.
    Malformed(String),
    /// It has more events than this limit.
    TooMany(usize),
}

/// Reads a body with up to `most` events.
pub(super) fn read(body: &[u8], most: usize) -> Result<Payload, Refused> {
    let mut payload = Payload::default();
    let mut count = 0;
    let text = String::from_utf8_lossy(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body));
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = reader.deserialize_any(Body { payload: &mut payload, count: &mut count, most });
    match read.and_then(|()| reader.end()) {
        Ok(()) => Ok(payload),
        Err(_) if count > most => Err(Refused::TooMany(most)),
        Err(error) => Err(Refused::Malformed(error.to_string())),
    }
}

struct Body<'a> {
    payload: &'a mut Payload,
    count: &'a mut usize,
    most: usize,
}

impl Body<'_> {
    fn take(&mut self, report: Option<Report>) {
        match report {
            Some(report) => self.payload.reports.push(report),
            None => self.payload.unknown += 1,
        }
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event or an array of events")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let report = event(map)?;
        self.take(report);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(report) = list.next_element_seed(Element)? {
            *self.count += 1;
            if *self.count > self.most {
                return Err(de::Error::custom("too many events"));
            }
            self.take(report);
        }
        Ok(())
    }
}

/// One element of the array. Anything but an object is an unknown event.
struct Element;

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<Report>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Report>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = Option<Report>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        event(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads the fields of one event. Returns `None` if its kind is unknown.
fn event<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Report>, A::Error> {
    let mut report = Report::new(Kind::Sent);
    let mut kind = None;
    // Distinguishes openings or clicks of the same second.
    let mut mark = crc32fast::Hasher::new();
    while let Some(Name(name)) = map.next_key_seed(NameSeed)? {
        let value = Loose::of(map.next_value::<&RawValue>()?.get());
        match &*name {
            "event" => kind = value.text().and_then(Kind::parse),
            "time" => report.time = value.number().unwrap_or_default(),
            "email" => report.email = value.bounded(LONGEST_ADDRESS),
            "MessageID" => report.number = value.number().or(report.number),
            "mj_message_id" => report.number = report.number.or(value.number()),
            "Message_GUID" => report.guid = value.bounded(LONGEST_WORD),
            "Payload" => report.mail = value.text().and_then(|text| text.trim().parse::<QueueId>().ok()),
            "hard_bounce" => report.hard = value.truth(),
            "error_related_to" => report.related_to = value.bounded(LONGEST_WORD),
            "error" => report.error = value.bounded(LONGEST_WORD),
            "comment" | "smtp_reply" | "source" => {
                let text = value.bounded(LONGEST_COMMENT);
                if !text.is_empty() {
                    report.comment = text;
                }
            }
            "url" => {
                report.url = value.bounded(LONGEST_URL);
                mark.update(value.text().unwrap_or_default().as_bytes());
            }
            "ip" | "agent" => mark.update(value.text().unwrap_or_default().as_bytes()),
            _ => {}
        }
    }
    let Some(kind) = kind else { return Ok(None) };
    report.kind = kind;
    match kind {
        Kind::Open | Kind::Click => report.mark = mark.finalize(),
        _ => report.url.clear(),
    }
    Ok(Some(report))
}

/// The name of a field.
struct Name<'de>(Cow<'de, str>);
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Name<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

/// A value of any type, because Mailjet writes some numbers as texts.
enum Loose<'de> {
    Text(Cow<'de, str>),
    Number(u64),
    Truth(bool),
    Other,
}

impl<'de> Loose<'de> {
    /// Reads one value of valid JSON.
    fn of(json: &'de str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => Loose::Text(text_of(json)),
            Some(b't') => Loose::Truth(true),
            Some(b'f') => Loose::Truth(false),
            Some(b'0'..=b'9') => json.parse().map_or_else(|_| Loose::fraction(json), Loose::Number),
            _ => Loose::Other,
        }
    }

    /// Reads a number of seconds with a fraction. A larger number has lost digits, so it identifies nothing.
    fn fraction(json: &str) -> Self {
        let exact = json.parse().ok().filter(|number| (0.0..9_007_199_254_740_992.0).contains(number));
        exact.map_or(Loose::Other, |number: f64| Loose::Number(number as u64))
    }
}

impl Loose<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Loose::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Loose::Text(text) => text.trim().parse().ok(),
            Loose::Number(number) => Some(*number),
            Loose::Truth(_) | Loose::Other => None,
        }
    }

    fn truth(&self) -> bool {
        match self {
            Loose::Text(text) => text.eq_ignore_ascii_case("true") || &**text == "1",
            Loose::Number(number) => *number == 1,
            Loose::Truth(truth) => *truth,
            Loose::Other => false,
        }
    }

    /// Returns the text, cut to this many octets.
    fn bounded(&self, most: usize) -> String {
        let text = self.text().unwrap_or_default();
        text[..text.floor_char_boundary(most)].to_owned()
    }
}

/// Returns the text that a string of valid JSON holds.
fn text_of(json: &str) -> Cow<'_, str> {
    let content = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    if !content.contains('\\') {
        return Cow::Borrowed(content);
    }
    let read = serde_json::from_str(json).or_else(|_| serde_json::from_str(&without_surrogates(json)));
    Cow::Owned(read.unwrap_or_default())
}

/// Replaces the escapes of surrogates, of which one half is missing somewhere in a string.
fn without_surrogates(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let is_surrogate =
            matches!(escape.as_bytes(), [_, b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
        let (put, length) = if is_surrogate { ("\u{fffd}", 6) } else { (escape.get(..2).unwrap_or(escape), 2) };
        mended.push_str(put);
        rest = escape.get(length..).unwrap_or_default();
    }
    mended.push_str(rest);
    mended
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The events in Mailjet's documentation, with values of our own.
    fn documented() -> Vec<(Value, Report)> {
        let base = |event: &str, more: Value| {
            let mut value = json!({
                "event": event, "time": 1_795_458_240, "MessageID": 19_421_777_835_146_490u64,
                "Message_GUID": "1ab23cd4-e567-8901-2345-6789f0a1b2c3", "email": "a@x.dk", "mj_campaign_id": 7257,
                "mj_contact_id": 4, "customcampaign": "spring", "CustomID": "order 7", "Payload": "0000000000007"
            });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            value
        };
        let report = |kind| Report {
            time: 1_795_458_240,
            number: Some(19_421_777_835_146_490),
            guid: "1ab23cd4-e567-8901-2345-6789f0a1b2c3".into(),
            email: "a@x.dk".into(),
            mail: Some(QueueId::from_u64(7)),
            ..Report::new(kind)
        };
        let error = json!({"error_related_to": "recipient", "error": "user unknown", "comment": "550 5.1.1 no"});
        let failed = |kind, hard| Report {
            hard,
            related_to: "recipient".into(),
            error: "user unknown".into(),
            comment: "550 5.1.1 no".into(),
            ..report(kind)
        };
        let mut bounce = error.clone();
        bounce["blocked"] = true.into();
        bounce["hard_bounce"] = true.into();
        vec![
            (
                base("sent", json!({"mj_message_id": "19421777835146490", "smtp_reply": "sent (250 2.0.0 OK)"})),
                Report { comment: "sent (250 2.0.0 OK)".into(), ..report(Kind::Sent) },
            ),
            (base("bounce", bounce), failed(Kind::Bounce, true)),
            (base("blocked", error), failed(Kind::Blocked, false)),
            (base("spam", json!({"source": "JMRPP"})), Report { comment: "JMRPP".into(), ..report(Kind::Spam) }),
            (
                base("unsub", json!({"mj_list_id": 1, "ip": "192.0.2.1", "geo": "DK", "agent": "x"})),
                report(Kind::Unsub),
            ),
        ]
    }

    fn one(value: &Value) -> Report {
        let payload = read(value.to_string().as_bytes(), 1).unwrap();
        assert_eq!((payload.reports.len(), payload.unknown), (1, 0), "{value}");
        payload.reports.into_iter().next().unwrap()
    }

    #[test]
    fn every_documented_event_is_read_alone_and_in_a_group() {
        let (values, reports): (Vec<Value>, Vec<Report>) = documented().into_iter().unzip();
        for (value, report) in values.iter().zip(&reports) {
            assert_eq!(one(value), *report);
        }
        let group = read(Value::Array(values).to_string().as_bytes(), 100).unwrap();
        assert_eq!(group, Payload { reports, unknown: 0 });
    }

    #[test]
    fn a_report_is_kept_as_it_was_read() {
        for (_, report) in documented() {
            let kept = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&kept).unwrap(), report, "{kept}");
        }
    }

    #[test]
    fn openings_of_one_second_are_told_apart_by_who_and_what() {
        let open = |ip: &str, agent: &str| one(&json!({"event": "open", "time": 7, "ip": ip, "agent": agent})).mark;
        assert_eq!(open("192.0.2.1", "a"), open("192.0.2.1", "a"));
        assert_ne!(open("192.0.2.1", "a"), open("192.0.2.2", "a"));
        assert_ne!(open("192.0.2.1", "a"), open("192.0.2.1", "b"));
        let click = |url: &str| one(&json!({"event": "click", "time": 7, "url": url}));
        assert_eq!(click("https://x.dk/1").url, "https://x.dk/1");
        assert_ne!(click("https://x.dk/1").mark, click("https://x.dk/2").mark);
    }

    #[test]
    fn odd_types_count_as_absent_and_unknown_events_are_passed_over() {
        let odd = json!({
            "event": "bounce", "time": "1795458240", "email": ["a@x.dk"], "MessageID": "17", "Message_GUID": null,
            "Payload": {"a": [1, {"b": 2}]}, "hard_bounce": "true", "error": 7, "error_related_to": true, "comment": -1.5
        });
        let expected = Report { time: 1_795_458_240, number: Some(17), hard: true, ..Report::new(Kind::Bounce) };
        assert_eq!(one(&odd), expected);
        let group = json!([
            {"event": "sent", "time": 1}, {"event": "typed"}, {}, 7, -7, 1.5, "sent", null, true, [[{"event": "sent"}]],
            {"time": 2, "event": "spam"}
        ]);
        let payload = read(group.to_string().as_bytes(), 100).unwrap();
        assert_eq!((payload.reports.len(), payload.unknown), (2, 9));
        assert_eq!(read(b" [] ", 1), Ok(Payload::default()));
    }

    #[test]
    fn a_text_that_is_no_unicode_costs_no_other_event_of_its_group() {
        let bounce = |comment: &[u8]| {
            let mut body = b"\xef\xbb\xbf[{\"event\":\"bounce\",\"email\":\"a@x.dk\",\"comment\":\"".to_vec();
            body.extend_from_slice(comment);
            body.extend_from_slice(
                b"\",\"error\":\"user unknown\",\"\\u0065xtra\":1e999},{\"event\":\"sent\",\"time\":1}]",
            );
            let payload = read(&body, 9).unwrap();
            assert_eq!((payload.reports.len(), payload.unknown), (2, 0));
            assert_eq!(
                (payload.reports[0].email.as_str(), payload.reports[0].error.as_str()),
                ("a@x.dk", "user unknown")
            );
            payload.reports[0].comment.clone()
        };
        for (comment, read) in [
            (&b"550 g\xe5et"[..], "550 g\u{fffd}et"),
            (b"550 \\ud83d", "550 \u{fffd}"),
            (b"550 \\uDE00 \\\\ud83d\\n", "550 \u{fffd} \\ud83d\n"),
            (b"550 \\ud83d\\u0041 \\\"", "550 \u{fffd}A \""),
            (b"550 \\ud83d\\ude00 \\u00e5\\/", "550 \u{1f600} \u{e5}/"),
            (b"550 \\ud7ff\\ue000", "550 \u{d7ff}\u{e000}"),
        ] {
            assert_eq!(bounce(comment), read, "{}", String::from_utf8_lossy(comment));
        }
    }

    #[test]
    fn numbers_that_hold_nothing_are_absent_and_of_fields_that_stand_twice_the_last_counts() {
        for (time, expected) in [
            ("1795458240.9", 1_795_458_240),
            ("1.79545824e9", 1_795_458_240),
            ("\" 1795458240 \"", 1_795_458_240),
            ("1795458240123", 1_795_458_240_123),
            ("-1", 0),
            ("-0.5", 0),
            ("1e999", 0),
            ("99999999999999999999999999", 0),
            ("[[[1]]]", 0),
            ("{\"a\":{}}", 0),
            ("null", 0),
            ("true", 0),
        ] {
            let body =
                format!("{{\"event\":\"spam\",\"time\":7,\"time\":{time},\"event\":\"sent\",\"MessageID\":{time}}}");
            let payload = read(body.as_bytes(), 1).unwrap();
            assert_eq!((payload.reports[0].kind, payload.reports[0].time), (Kind::Sent, expected), "{time}");
            assert_eq!(payload.reports[0].number, (expected > 0).then_some(expected), "{time}");
        }
    }

    #[test]
    fn another_clients_payload_names_no_mail_of_ours() {
        for text in ["", "order 7", "000000000000", "00000000000077", "{\"id\":\"0000000000007\"}"] {
            assert_eq!(one(&json!({"event": "sent", "Payload": text})).mail, None, "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused_whole_and_everything_is_bounded() {
        for body in [
            &b""[..],
            b"null",
            b"7",
            b"\"sent\"",
            b"{",
            b"[{\"event\":\"sent\"}",
            b"{\"event\":\"sent\"} {}",
            b"[{\"event\":\"sent\"},]",
            b"event=sent",
            b"<html>",
        ] {
            assert!(matches!(read(body, 9), Err(Refused::Malformed(_))), "{}", String::from_utf8_lossy(body));
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(read(&deep, 9), Ok(Payload { reports: Vec::new(), unknown: 1 }), "passed over without recursion");
        let many = Value::Array(vec![json!({"event": "sent"}); 10]).to_string();
        assert_eq!(read(many.as_bytes(), 9), Err(Refused::TooMany(9)));
        assert_eq!(read(many.as_bytes(), 10).unwrap().reports.len(), 10);
        let long = "æ".repeat(100_000);
        let report = one(&json!({"event": "click", "email": long, "comment": long, "url": long, "error": long}));
        assert!(report.email.len() <= LONGEST_ADDRESS && report.comment.len() <= LONGEST_COMMENT);
        assert!(report.url.len() <= LONGEST_URL && report.error.len() <= LONGEST_WORD);
    }
}
