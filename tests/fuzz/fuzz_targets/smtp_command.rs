//! Any line is read or refused; what is read is what its written form is read as; a refusal is one whole reply.
//!
//! `tests/fuzz/run 120 smtp_command`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::smtp::{Command, Mailbox, ReversePath};

fuzz_target!(|line: &[u8]| {
    match Command::parse(line) {
        Ok(Command::Rcpt(rcpt)) => {
            let written = rcpt.address.to_string();
            assert!(!written.bytes().any(|b| b.is_ascii_control()), "{written:?}");
            assert_eq!(Mailbox::parse(&written).as_ref(), Ok(&rcpt.address));
            let again = format!("RCPT TO:<{written}>");
            let Ok(Command::Rcpt(same)) = Command::parse(again.as_bytes()) else { panic!("{again:?}") };
            assert_eq!(same.address, rcpt.address);
        }
        Ok(Command::Mail(mail)) => {
            if let ReversePath::Mailbox(mailbox) = &mail.path {
                assert_eq!(Mailbox::parse(&mailbox.to_string()).as_ref(), Ok(mailbox));
            }
            assert!(mail.envid.is_none_or(|id| id.len() <= 100 && id.bytes().all(|b| (33..=126).contains(&b))));
        }
        Ok(_) => {}
        Err(refusal) => {
            let mut out = Vec::new();
            refusal.reply().write_to(&mut out);
            assert!(out.ends_with(b"\r\n"));
            assert_eq!(out.iter().filter(|b| matches!(b, b'\r' | b'\n' | 0)).count(), 2);
        }
    }
});
