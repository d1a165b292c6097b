//! Finds a list in a body where an object belongs. serde would take the list's values for the object's fields in their order, although the
//! OpenAPI document describes an object.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// Returns the path of such a list in a body of type `T`. The path of the body itself is empty.
pub(super) fn list_for_object<T: JsonSchema + 'static>(body: &Value) -> Option<String> {
    let schema = schema_of::<T>();
    find(body, &schema, &schema["$defs"]).map(|path| path.trim_start_matches('.').to_owned())
}

/// Returns the schema of `T`, which is made once.
fn schema_of<T: JsonSchema + 'static>() -> Arc<Value> {
    static MADE: Mutex<Option<HashMap<TypeId, Arc<Value>>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = made.get_or_insert_default().entry(TypeId::of::<T>());
    Arc::clone(schema.or_insert_with(|| Arc::new(schema_for!(T).to_value())))
}

fn find(value: &Value, schema: &Value, definitions: &Value) -> Option<String> {
    let forms = forms(schema, definitions);
    match value {
        Value::Array(items) => {
            let may_be = |kind: &str| forms.iter().any(|form| is_of(form, kind));
            if may_be("object") && !may_be("array") {
                return Some(String::new());
            }
            let mut places = items.iter().enumerate();
            places.find_map(|(at, item)| {
                let found = forms.iter().find_map(|form| find(item, &form["items"], definitions))?;
                Some(format!("[{at}]{found}"))
            })
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let found = forms.iter().find_map(|form| find(value, &form["properties"][name], definitions))?;
            Some(format!(".{name}{found}"))
        }),
        _ => None,
    }
}

/// Returns the schemas that a value may follow: a reference is followed, and each alternative counts.
fn forms<'a>(schema: &'a Value, definitions: &'a Value) -> Vec<&'a Value> {
    let named = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
    let alternatives = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten();
    let others = named.map(|name| &definitions[name]).into_iter().chain(alternatives);
    let mut found = vec![schema];
    found.extend(others.flat_map(|other| forms(other, definitions)));
    found
}

fn is_of(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|it| it == kind),
        it => it == kind,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::atomic::{AtomicU32, Ordering};

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Body {
        name: String,
        domains: Vec<String>,
        route: Option<Route>,
        contacts: Vec<Route>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Route {
        via: String,
        login: Option<Box<Route>>,
    }

    /// Counts how often its schema is made.
    struct Counted;

    static MADE: AtomicU32 = AtomicU32::new(0);

    impl JsonSchema for Counted {
        fn schema_name() -> Cow<'static, str> {
            "Counted".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            MADE.fetch_add(1, Ordering::Relaxed);
            json_schema!({"type": "object"})
        }
    }

    #[test]
    fn the_schema_of_a_type_is_made_once() {
        for _ in 0..3 {
            assert_eq!(list_for_object::<Counted>(&json!([])).as_deref(), Some(""));
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_list_in_place_of_an_object_is_found_at_each_depth() {
        for (body, found) in [
            (json!({"name": "b", "domains": ["b.dk"], "route": {"via": "mailjet"}, "contacts": [{"via": "x"}]}), None),
            (json!({"name": ["b"], "route": null, "more": [[]]}), None),
            (json!(["b"]), Some("")),
            (json!({"route": ["mailjet"]}), Some("route")),
            (json!({"route": {"login": []}}), Some("route.login")),
            (json!({"contacts": [{"via": "x"}, ["x"]]}), Some("contacts[1]")),
        ] {
            assert_eq!(list_for_object::<Body>(&body).as_deref(), found, "{body}");
        }
    }
}
