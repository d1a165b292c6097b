//! A server that accepts mail and changes it as Mailjet does. Message-Id, Feedback-Id and List-Unsubscribe become its own, links lead over
//! it, an open pixel is added, its control fields are removed, and the From domain's `s=mailjet` key signs. Tracking is on unless the
//! message switches it off. Needs `capture.rs` as a sibling.

use std::net::SocketAddr;
use std::time::Duration;

use postbud::dkim::{Profile, Selector, Signer, SigningKey, record};
use postbud::message::{Field, headers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;

use super::capture::Capture;

/// The fields that it replaces.
const OWN: [&str; 3] = ["Message-ID", "Feedback-ID", "List-Unsubscribe"];
/// The fields that it reads and removes.
const CONTROL: [&str; 2] = ["x-mj-", "x-mailjet-"];

/// A server that answers as Mailjet does.
pub struct Mailjet {
    capture: Capture,
}

impl Mailjet {
    /// Accepts everything, with any login.
    pub fn start() -> Mailjet {
        Mailjet { capture: Capture::start() }
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.capture.address
    }

    /// Returns the `count`th message as the recipient gets it, and the record that Mailjet has the customer publish.
    pub fn passed_on(&self, count: usize, from: &Domain) -> (Vec<u8>, record::TxtRecord) {
        let received = self.capture.wait_for(count, Duration::from_secs(20)).swap_remove(count - 1);
        let selector = Selector::parse("mailjet").unwrap();
        let key = SigningKey::generate_rsa(2048).unwrap();
        let published = record::render(from, &selector, &key).unwrap();
        let (header, body) = rewritten(received.header(), received.body());
        let signer = Signer::new(vec![Profile::new(from.clone(), selector, key)]).unwrap();
        let mut hasher = signer.body_hasher();
        hasher.update(&body);
        let fields: Vec<Field<'_>> = headers::fields(&header).map(Result::unwrap).collect();
        let mut mail = Vec::new();
        signer.sign(&fields, &hasher.finish(), Timestamp::now(), &mut mail).unwrap();
        mail.extend_from_slice(&[&header[..], b"\r\n", &body].concat());
        (mail, published)
    }
}

/// Returns header and body after Mailjet's changes, before signing.
fn rewritten(header: &[u8], body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let fields: Vec<Field<'_>> = headers::fields(header).map(Result::unwrap).collect();
    let tracks = |name: &str| !fields.iter().any(|field| field.is(name) && field.value().trim_ascii() == b"0");
    let mut out = b"Message-Id: <0123abcd.AAAA@mailjet.com>\r\nFeedback-Id: 42.1:1:MJ\r\n\
        List-Unsubscribe: <https://mjt.lu/unsub>\r\n"
        .to_vec();
    for field in &fields {
        let name = String::from_utf8_lossy(field.name()).to_ascii_lowercase();
        let goes = OWN.iter().any(|own| field.is(own)) || CONTROL.iter().any(|start| name.starts_with(start));
        if !goes {
            out.extend_from_slice(field.raw());
        }
    }
    let mut text = String::from_utf8(body.to_vec()).unwrap();
    if tracks("X-Mailjet-TrackClick") {
        text = text.replace("href=\"https://", "href=\"https://mjt.lu/lnk/");
    }
    if tracks("X-Mailjet-TrackOpen") {
        text = text.replace("</body>", "<img src=\"https://mjt.lu/oo/1.gif\" height=\"1\" width=\"1\"></body>");
    }
    (out, text.into_bytes())
}
