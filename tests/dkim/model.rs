//! A DKIM signature by the letter of RFC 6376, slow and obvious: what the engine is compared with.
//!
//! Nothing of the engine is used here: lines are split and joined as vectors, octet by octet.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Lines of `text` without their CRLF; an unterminated last line is a line too. A lone CR or LF ends no line.
fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(b"\r\n") {
            lines.push(Vec::new());
            at += 2;
        } else {
            lines.last_mut().unwrap().push(text[at]);
            at += 1;
        }
    }
    if lines.last().unwrap().is_empty() {
        lines.pop();
    }
    lines
}

fn is_space(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

/// Each run of white space becomes one space.
fn reduced(line: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for octet in line {
        match (is_space(*octet), out.last()) {
            (true, Some(b' ')) => {}
            (true, _) => out.push(b' '),
            (false, _) => out.push(*octet),
        }
    }
    out
}

/// RFC 6376 §3.4.3 and §3.4.4.
pub fn body(how: &str, text: &[u8]) -> Vec<u8> {
    let mut lines = lines(text);
    if how == "relaxed" {
        for line in &mut lines {
            while line.last().is_some_and(|octet| is_space(*octet)) {
                line.pop();
            }
            *line = reduced(line);
        }
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if how == "simple" && lines.is_empty() {
        return b"\r\n".to_vec();
    }
    lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
}

/// RFC 6376 §3.4.1 and §3.4.2, of one whole field with or without its CRLF.
pub fn field(how: &str, raw: &[u8]) -> Vec<u8> {
    if how == "simple" {
        return raw.to_vec();
    }
    let colon = raw.iter().position(|octet| *octet == b':').unwrap();
    let unfolded = lines(&raw[colon + 1..]).concat();
    let mut value = reduced(&unfolded);
    while value.first() == Some(&b' ') {
        value.remove(0);
    }
    while value.last() == Some(&b' ') {
        value.pop();
    }
    let end: &[u8] = if raw.ends_with(b"\r\n") { b"\r\n" } else { b"" };
    [&raw[..colon].to_ascii_lowercase()[..], b":", &value, end].concat()
}

/// The fields of a header block: a line that begins with white space goes on with the field before it.
pub fn fields(block: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in lines(block) {
        let line = [line, b"\r\n".to_vec()].concat();
        if is_space(line[0]) {
            fields.last_mut().unwrap().extend(line);
        } else {
            fields.push(line);
        }
    }
    fields
}

fn name(field: &[u8]) -> String {
    let colon = field.iter().position(|octet| *octet == b':').unwrap();
    String::from_utf8(field[..colon].to_ascii_lowercase()).unwrap()
}

/// The value of a tag with all white space taken out.
pub fn tag(signature: &[u8], wanted: &str) -> Option<String> {
    let text = String::from_utf8(signature.to_vec()).unwrap();
    let (_, value) = text.split_once(':').unwrap();
    value.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == wanted).then(|| value.split_whitespace().collect())
    })
}

/// The field with the value of `b=` taken out (RFC 6376 §3.5).
fn without_b(signature: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(signature.to_vec()).unwrap();
    let (name, value) = text.split_once(':').unwrap();
    let tags: Vec<String> = value
        .split(';')
        .map(|part| match part.split_once('=') {
            Some((name, _)) if name.trim() == "b" => format!("{name}="),
            _ => part.to_owned(),
        })
        .collect();
    // RFC 6376 §3.7: without the trailing CRLF of the field.
    format!("{name}:{}", tags.join(";")).trim_end_matches("\r\n").as_bytes().to_vec()
}

/// What a signature signs (RFC 6376 §3.7): the fields of `h=`, repeated ones from the bottom, and the signature itself.
pub fn signed_octets(signature: &[u8], header: &[u8]) -> Vec<u8> {
    let c = tag(signature, "c").unwrap();
    let how = c.split('/').next().unwrap();
    let mut left = fields(header);
    let mut out = Vec::new();
    for wanted in tag(signature, "h").unwrap().split(':') {
        if let Some(at) = left.iter().rposition(|field| name(field) == wanted.to_ascii_lowercase()) {
            out.extend(field(how, &left.remove(at)));
        }
    }
    out.extend(field(how, &without_b(signature)));
    out
}

/// Checks one signature of a message; `Err` says which half is wrong.
pub fn verify(signature: &[u8], header: &[u8], text: &[u8], public_key: &[u8]) -> Result<(), &'static str> {
    let c = tag(signature, "c").unwrap();
    let how = c.split('/').nth(1).unwrap();
    if tag(signature, "bh").unwrap() != BASE64.encode(digest(&SHA256, &body(how, text))) {
        return Err("body hash");
    }
    let signed = signed_octets(signature, header);
    let b = BASE64.decode(tag(signature, "b").unwrap()).map_err(|_| "base64")?;
    let verdict = match tag(signature, "a").unwrap().as_str() {
        "rsa-sha256" => {
            UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public_key).verify(&signed, &b)
        }
        "ed25519-sha256" => UnparsedPublicKey::new(&ED25519, public_key).verify(digest(&SHA256, &signed).as_ref(), &b),
        other => panic!("unknown algorithm {other}"),
    };
    verdict.map_err(|_| "signature")
}
