//! Keys in every form a customer's administrator may hand over, and the reasons for those that are refused.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, Pkcs8V2Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postbud::dkim::key::KeyType;
use postbud::dkim::{KeyError, SigningKey};
use postbud::sealed::Passphrase;
use zeroize::Zeroizing;

use super::skip::skip;

/// An RSAPrivateKey with 1024 bits: no tool of ours makes one.
const WEAK_RSA: &str = "MIICXgIBAAKBgQCtDaIkab9sj+/SZdfPTIEPgaTugdaM5T2X/MFST6V8TV91fp++vB0YLFdR699qqwQiPPScdwagrXMPEk87UAsEzCZ1LcBjrnWioMI2F9uDZQz3Y3hsE4tAXPc9qtLityKmL2xBROYoGnf0rZUDakPGTVl/8I/Mo07lZZ//oJR8kwIDAQABAoGBAIheQfNn0Yz/MAEgeBvHMbzCcPHyJtwImaz3ZHA0izeU0TCJg+CN5G90IatQsFIiSbOhTTEvKm3bwNuTlhQrU0I8u8DH4N185eLGml/lCvz8KkCwtoLIi8VNaDU3r2B2u14oiWH6Pecdew/Sieq0xTXY6mYhh2IhGSE7P7B+jMEBAkEA15D0GTaVJDRDK3+fkr4DOK5cW3AWRqypukq1494pEucc/cwT4f0UuT5pOVmpiQEgG3XQQgnF7N8AUb3H2lTg4QJBAM2DS2hS0RvlQNxmYpLIRQfKYvuLevuINVBC1XbJxuBP+Wa6PRyj8skX2bUZwZZPi1ZP88B13jir4grHLHYY5/MCQQDAc+tZ7z8ruXUWirRegEHEAvb1s5ZPtqs5ZKYLMDafZ7Kca+x8YER2NeAfkYsog9a0bXRm4O7R0S4pzDN3GzxBAkEAjz3XHmSy6V2WIsieJi6+pppy+V8TniQm/MVIod4r5wb3D5n5pG/FdlJQZQEJxGm29bcOb3P4Ksnq6JZAsCPV7wJAeDByiweSivvfJKHW0nT2x3MeyzsFtIi44IRxTl9KABJ6yJImYySw3pqTYJBCv8eXX+op/H+PkoDeF71loD6lYA==";

fn pem(label: &str, der: &[u8]) -> String {
    let digits = BASE64.encode(der);
    let lines: Vec<_> = digits.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn der(pem: &str) -> Vec<u8> {
    BASE64.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

#[test]
fn rsa_comes_as_pkcs8_and_as_pkcs1() {
    let key = SigningKey::generate_rsa(2048).unwrap();
    let pkcs8 = key.to_pem().unwrap();
    // PrivateKeyInfo of RSA is 26 octets of header and then the RSAPrivateKey (RFC 5208, RFC 8017).
    let pkcs1 = pem("RSA PRIVATE KEY", &der(&pkcs8)[26..]);
    let with_text = format!("Bag Attributes\r\n    friendlyName: dkim\r\n{}", pkcs1.replace('\n', "\r\n"));
    for text in [pkcs8.as_str(), &pkcs1, &with_text] {
        let read = SigningKey::from_pem(text.as_bytes()).unwrap();
        assert_eq!((read.key_type(), read.bits()), (KeyType::Rsa, 2048));
        assert_eq!(read.public_key_base64().unwrap(), key.public_key_base64().unwrap());
    }
}

#[test]
fn ed25519_comes_as_pkcs8_v1_and_v2() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let v1: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let v2: Pkcs8V2Der<'_> = pair.as_der().unwrap();
    assert_ne!(v1.as_ref(), v2.as_ref());
    for der in [v1.as_ref(), v2.as_ref()] {
        let read = SigningKey::from_pem(pem("PRIVATE KEY", der).as_bytes()).unwrap();
        assert_eq!(read.key_type(), KeyType::Ed25519);
        assert_eq!(read.public_key().unwrap(), pair.public_key().as_ref());
        let again = SigningKey::from_pem(read.to_pem().unwrap().as_bytes()).unwrap();
        assert_eq!(again.public_key().unwrap(), pair.public_key().as_ref());
    }
}

#[test]
fn keys_are_made_in_three_sizes() {
    assert_eq!(SigningKey::generate_rsa(3072).unwrap().signature_len(), 384);
    for bits in [0, 1024, 2047, 8192] {
        assert_eq!(SigningKey::generate_rsa(bits).unwrap_err(), KeyError::NoSuchSize(bits));
    }
}

#[test]
fn what_cannot_sign_is_refused_with_the_reason() {
    let weak = BASE64.decode(WEAK_RSA).unwrap();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
    let whole = SigningKey::generate_rsa(2048).unwrap().to_pem().unwrap();
    let mut flipped = der(&whole);
    flipped[700] ^= 1;
    for (text, words) in [
        (String::new(), "keygen"),
        ("no key at all".into(), "keygen"),
        (pem("ENCRYPTED PRIVATE KEY", b"\x30\x00"), "passphrase"),
        (pem("PUBLIC KEY", b"\x30\x00"), "public key"),
        (pem("CERTIFICATE", b"\x30\x00"), "certificate"),
        (pem("EC PRIVATE KEY", b"\x30\x00"), "EC key"),
        (pem("PRIVATE KEY", ec.as_ref()), "EC key"),
        (pem("PRIVATE KEY", b"\x30\x00"), "damaged"),
        (pem("RSA PRIVATE KEY", b"junk"), "damaged"),
        (pem("PRIVATE KEY", &flipped), "damaged"),
        (pem("PRIVATE KEY", &der(&whole)[..900]), "damaged"),
        ("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n".into(), "damaged"),
    ] {
        let error = SigningKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert_eq!(SigningKey::from_pem(pem("RSA PRIVATE KEY", &weak).as_bytes()).unwrap_err(), KeyError::TooWeak(1024));
}

#[test]
fn a_key_file_that_others_can_read_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, SigningKey::generate_ed25519().unwrap().to_pem().unwrap().as_bytes()).unwrap();
    for (mode, warns) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (_, warning) = SigningKey::from_file(&path, None).unwrap();
        assert_eq!(warning.is_some(), warns, "{mode:o}");
        assert!(warning.is_none_or(|text| text.contains("chmod 600")));
    }
    let error = SigningKey::from_file(&dir.path().join("none.pem"), None).unwrap_err().to_string();
    assert!(error.contains("none.pem"), "{error}");
}

/// Runs openssl on a file; `None` if it is not installed.
fn openssl(arguments: &[&str]) -> Option<bool> {
    let run = std::process::Command::new("openssl").args(arguments).output().ok()?;
    Some(run.status.success())
}

#[test]
fn keys_that_openssl_encrypts_are_opened_and_openssl_opens_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let right = Passphrase::new(Zeroizing::new("correct horse".to_owned()));
    let wrong = Passphrase::new(Zeroizing::new("battery staple".to_owned()));
    for key in [SigningKey::generate_rsa(2048).unwrap(), SigningKey::generate_ed25519().unwrap()] {
        let public = key.public_key_base64().unwrap();
        std::fs::write(path("plain"), key.to_pem().unwrap().as_bytes()).unwrap();
        for (options, opens) in [
            (&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"][..], true),
            (&["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"], true),
            (&["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-iter", "1"], true),
            (&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384", "-iter", "100000"], true),
            (&[], true),
            (&["-scrypt"], false),
            (&["-v2", "des3"], false),
            (&["-v1", "PBE-SHA1-3DES"], false),
        ] {
            let (plain, sealed) = (path("plain"), path("sealed"));
            let made = ["pkcs8", "-topk8", "-in", &plain, "-out", &sealed, "-passout", "pass:correct horse"];
            let Some(made) = openssl(&[&made[..], options].concat()) else {
                return skip("keys_that_openssl_encrypts_are_opened", "openssl is not installed");
            };
            assert!(made, "{options:?}");
            let text = std::fs::read(path("sealed")).unwrap();
            let opened = SigningKey::from_pem_with(&text, Some(&right));
            match opens {
                true => assert_eq!(opened.unwrap().public_key_base64().unwrap(), public, "{options:?}"),
                false => {
                    let said = opened.unwrap_err().to_string();
                    assert!(
                        said.contains("not supported") && said.contains("openssl pkcs8 -topk8"),
                        "{options:?}: {said}"
                    );
                    continue;
                }
            }
            let refused = SigningKey::from_pem_with(&text, Some(&wrong)).unwrap_err().to_string();
            assert!(refused.contains("the passphrase of [secrets] does not open it"), "{refused}");
            let refused = SigningKey::from_pem(&text).unwrap_err().to_string();
            assert!(refused.contains("passphrase_file"), "{refused}");
        }
        std::fs::write(path("ours"), key.to_sealed_pem(&right).unwrap()).unwrap();
        let (ours, out) = (path("ours"), path("out"));
        assert_eq!(openssl(&["pkey", "-in", &ours, "-passin", "pass:correct horse", "-out", &out]), Some(true));
        let again = SigningKey::from_pem(&std::fs::read(&out).unwrap()).unwrap();
        assert_eq!(again.public_key_base64().unwrap(), public);
    }
}

#[test]
fn a_private_key_is_never_shown() {
    let key = SigningKey::generate_ed25519().unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(ed25519 256 bits)");
}
