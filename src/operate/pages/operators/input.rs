//! Reads the input of requests: query parameters, and durations as people write them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::operate::Error;
use crate::operate::pages::elements::Field;

/// The parameters of a request. Unknown parameters are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(BTreeMap<String, String>);

impl Asked {
    /// Returns the value of a parameter without surrounding spaces, or an empty text if it is absent.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// Returns the value of a parameter, or `None` if it is empty.
    pub fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// Makes a query of all these parameters.
    pub fn query(&self, path: &str) -> String {
        let all: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query(path, &all)
    }

    /// Returns these parameters with another value of one of them.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut all = self.clone();
        all.0.insert(name.to_owned(), value.to_owned());
        all
    }

    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Asked(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Asked(url::form_urlencoded::parse(query.as_bytes()).into_owned().take(50).collect()))
    }
}

/// Makes the field of a search.
pub(super) fn search<'a>(name: &'a str, label: &'a str, hint: &'a str, value: &'a str) -> Field<'a> {
    Field { name, label, hint, kind: "search", value, error: None, autocomplete: "off", required: false }
}

/// Makes a query of these parameters. Empty parameters are left out.
pub(super) fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Encodes a name as a path segment.
pub(super) fn segment(name: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// Converts `90s`, `5m`, `4h` or `3d` to seconds.
pub(super) fn seconds(field: &str, text: &str) -> Result<u64, Error> {
    let wrong = || Error::invalid(format!("{field}: \"{text}\" is no time"), "write one like 90s, 5m, 4h or 3d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn times_and_addresses_are_read_and_written() {
        for (text, expected) in [("90s", 90), ("5m", 300), ("4h", 14_400), ("3d", 259_200)] {
            assert_eq!(seconds("age", text).unwrap(), expected);
        }
        for text in ["", "5", "m", "-1m", "5æ", "99999999999999999999d", "99999999999999999d"] {
            assert!(seconds("age", text).is_err(), "{text}");
        }
        assert_eq!(query("/queue", &[("a", "x y&"), ("b", "")]), "/queue?a=x+y%26");
        assert_eq!(query("/queue", &[]), "/queue");
        assert_eq!(Asked::of(&[("b", "x&y"), ("a", ""), ("c", "1")]).query("/queue/live"), "/queue/live?b=x%26y&c=1");
        assert_eq!(segment("own server/<x>"), "own%20server%2F%3Cx%3E");
    }
}
