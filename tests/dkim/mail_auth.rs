//! The `verify` command, which rests on mail-auth, accepts what the engine signs.

use postbud::dkim::verify::{Keys, verify};
use postbud::dkim::{Canonicalization, Signer};
use proptest::prelude::*;

use crate::signatures::{ed25519, profile, sign};

const RECORD: &str = "v=DKIM1; k=ed25519; p=";

fn checks(message: &[u8], record: &str) -> Vec<Result<(), String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checks = runtime.block_on(verify(message, Keys::Record(record))).unwrap();
    checks.into_iter().map(|check| check.result).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn mail_auth_verifies_what_we_sign(
        values in prop::collection::vec("[!-~æøå][ -~æøå\t]{0,60}", 4),
        lines in prop::collection::vec("[ -~æøå\t]{0,80}", 0..20),
        last in "[a-z]{0,2}[ \t]{0,3}(\r\n[ \t]{0,3}){0,3}",
    ) {
        let names = ["Subject", "To", "X-Other", "References"];
        let mut header = "From: a@test.dk\r\n".to_owned();
        for (name, value) in names.iter().zip(&values) {
            header.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = format!("{}\r\n{last}\r\n", lines.join("\r\n"));
        let mut simple = profile(ed25519());
        (simple.header_canonicalization, simple.body_canonicalization) = (Canonicalization::Simple, Canonicalization::Simple);
        let signer = Signer::new(vec![profile(ed25519()), simple]).unwrap();
        let signatures = sign(&signer, header.as_bytes(), body.as_bytes()).unwrap().concat();
        let message = [&signatures, header.as_bytes(), b"\r\n", body.as_bytes()].concat();
        let record = format!("{RECORD}{}", ed25519().public_key_base64().unwrap());
        prop_assert_eq!(checks(&message, &record), [Ok(()), Ok(())]);
        let altered = [&message[..], b"more\r\n"].concat();
        prop_assert!(checks(&altered, &record).iter().all(Result::is_err));
    }
}
