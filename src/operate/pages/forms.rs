//! Forms: a code that keeps other sites from sending them (CSRF), and the reading of their fields.
//!
//! Each form has a code that only this process can make. The code is valid for one session (a link, a login) and for one kind of form. A
//! site that does not know the session cannot make it. After a restart the codes of open pages are invalid, and the reader is asked to send
//! the form again.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::Problem;
use crate::hex::hex;

/// The name of the field with the code.
const CODE: &str = "form";
/// The maximum number of fields. Our forms have fewer.
const MOST_FIELDS: usize = 100;

/// Makes and checks the codes of forms. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Forms(hmac::Key);

impl Forms {
    /// Makes it with its own random key.
    pub fn new() -> Self {
        let random = Zeroizing::new(rand::random::<[u8; 32]>());
        Forms(hmac::Key::new(hmac::HMAC_SHA256, random.as_slice()))
    }

    fn code(&self, session: &str, form: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{session}\0{form}").as_bytes());
        hex(&tag.as_ref()[..16])
    }

    /// Makes the hidden field at the start of a form. `session` is the secret that identifies the reader; `form` names the kind of form.
    pub fn hidden(&self, session: &str, form: &str) -> Markup {
        html! { input type="hidden" name=(CODE) value=(self.code(session, form)); }
    }

    /// Reads the body of such a form.
    pub fn read(&self, session: &str, form: &str, body: &[u8]) -> Result<Fields, Problem> {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body).take(MOST_FIELDS) {
            fields.insert(name.into_owned(), Zeroizing::new(value.into_owned()));
        }
        let code = fields.remove(CODE).unwrap_or_default();
        let expected = self.code(session, form);
        match verify_slices_are_equal(code.as_bytes(), expected.as_bytes()) {
            Ok(()) => Ok(Fields(fields)),
            Err(_) => Err(Problem::StaleForm),
        }
    }
}

/// The fields of a form. They are wiped from memory after use, because one may be a password.
pub(crate) struct Fields(BTreeMap<String, Zeroizing<String>>);

impl Fields {
    /// Returns the value of a field without surrounding spaces, or an empty text if the field is absent.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// Returns the value of a field exactly as it was typed.
    pub fn raw(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.as_str())
    }

    /// Returns the names of all fields, because the name of a checkbox may contain data.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns true if a checkbox is ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_form_of_this_session_and_kind_is_read() {
        let forms = Forms::new();
        let body = |session: &str, form: &str| format!("host=+mail.test.dk+&form={}", forms.code(session, form));
        let read = forms.read("abc", "server", body("abc", "server").as_bytes()).ok().unwrap();
        assert_eq!((read.text("host"), read.raw("host"), read.text("port")), ("mail.test.dk", " mail.test.dk ", ""));
        for other in [body("abd", "server"), body("abc", "check"), String::new(), "form=".to_owned()] {
            assert_eq!(forms.read("abc", "server", other.as_bytes()).err(), Some(Problem::StaleForm), "{other}");
        }
        let others = Forms::new();
        assert!(others.read("abc", "server", body("abc", "server").as_bytes()).is_err());
        assert!(forms.hidden("a\"b", "x").into_string().contains("type=\"hidden\""));
    }
}
