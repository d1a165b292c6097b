//! Generates `docs/events.schema.json` from the types. The test fails if the file in the repository differs.

use serde_json::{Value, json};

use super::{Event, EventKind};
use crate::message::FailureClass;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");

/// Kinds that report an attempt of this relay.
const ATTEMPTS: [EventKind; 2] = [EventKind::Relayed, EventKind::Deferred];
/// Kinds that have a failure class.
const CLASSIFIED: [EventKind; 4] = [EventKind::Deferred, EventKind::Bounced, EventKind::Expired, EventKind::Rejected];
/// Kinds that are not about one recipient of a mail in the spool.
const OTHERS: [EventKind; 12] = [
    EventKind::Lost,
    EventKind::Rejected,
    EventKind::Unmatched,
    EventKind::Suppressed,
    EventKind::Paused,
    EventKind::Resumed,
    EventKind::Alert,
    EventKind::Audit,
    EventKind::Omitted,
    EventKind::DomainVerified,
    EventKind::DomainVanished,
    EventKind::DomainTierMoved,
];

fn schema() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Event<'static>)).unwrap();
    without_null(&mut schema);
    schema["title"] = json!("postbud: an event");
    schema["$id"] = json!("https://postbud/events.schema.json");
    let names = |kinds: &[EventKind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    let of_mail: Vec<EventKind> = EventKind::ALL.into_iter().filter(|kind| !OTHERS.contains(kind)).collect();
    // What `record erase` leaves of an event has no field about the recipient.
    schema["properties"]["erased"] = json!({
        "description": "True if the recipient was erased from the record. The fields about the person and all texts are then absent.",
        "type": "boolean"
    });
    let requires = |kinds: &[EventKind], fields: &[&str]| {
        let is_other = json!({ "anyOf": [{ "required": ["left_out"] }, { "required": ["erased"] }] });
        json!({
            "if": { "properties": { "event": { "enum": names(kinds) } }, "not": is_other },
            "then": { "required": fields }
        })
    };
    schema["allOf"] = json!([
        requires(&of_mail, &["queue_id", "message_id", "customer", "from_domain", "sender", "recipient"]),
        requires(&ATTEMPTS, &["route", "server", "attempt"]),
        requires(&[EventKind::Relayed], &["code", "reply"]),
        requires(
            &[EventKind::Held, EventKind::Removed, EventKind::Delayed, EventKind::Unmatched, EventKind::Alert],
            &["detail"]
        ),
        requires(&CLASSIFIED, &["class"]),
        requires(&[EventKind::Lost], &["queue_id", "detail"]),
        requires(&[EventKind::Suppressed], &["customer", "sender", "recipient", "reason"]),
        requires(&[EventKind::Rejected], &["peer", "reason", "code", "reply"]),
        requires(&[EventKind::Audit], &["actor", "command", "detail"]),
        requires(&[EventKind::Paused, EventKind::Resumed, EventKind::Omitted], &["customer", "detail"]),
        requires(
            &[EventKind::DomainVerified, EventKind::DomainVanished, EventKind::DomainTierMoved],
            &["customer", "from_domain", "detail"]
        ),
    ]);
    schema["$defs"]["WebhookCall"] = json!({
        "description": "The body of one call of a webhook.",
        "type": "object",
        "properties": {
            "webhook": { "description": "The webhook's name.", "type": "string" },
            "batch": { "description": "The cursor where the batch begins.", "type": "string" },
            "next": { "description": "The cursor behind the batch.", "type": "string" },
            "events": { "type": "array", "minItems": 1, "items": { "$ref": "#" } }
        },
        "required": ["webhook", "batch", "next", "events"]
    });
    schema
}

/// Makes the schema forbid null: a field that does not apply is absent.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(any)) = object.get_mut("anyOf") {
                any.retain(|one| one["type"] != "null");
                if let [Value::Object(one)] = any.as_slice() {
                    let one = one.clone();
                    object.remove("anyOf");
                    object.extend(one);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[test]
fn the_schema_that_is_checked_in_is_that_of_the_types() {
    let made = format!("{:#}\n", schema());
    if std::env::var_os("POSTBUD_WRITE_SCHEMA").is_some() {
        std::fs::write(PATH, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(made == checked_in, "run this test once with POSTBUD_WRITE_SCHEMA=1, and look at what changed in {PATH}");
}

#[test]
fn every_kind_and_every_field_is_described_for_its_readers() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md")).unwrap();
    let schema = schema();
    let mut names: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    names.extend(EventKind::ALL.iter().map(|kind| kind.as_str()));
    names.extend(FailureClass::ALL.iter().map(|class| class.as_str()));
    let missing: Vec<_> = names.into_iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/events.md does not name {missing:?}");
}
