//! The commands of a transaction, with the parameters that the server offers.

use std::fmt::Write as _;

use super::job::Job;
use super::reply::signal::Phase;
use super::reply::words::Words;
use crate::message::{BodyKind, Recipient, Ret};
use crate::smtp::dsn::orcpt_in_ascii;
use crate::smtp::{EnhancedCode, Extensions, Reply};

/// One command of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// RSET, which ends a transaction that was left open.
    Rset,
    /// MAIL FROM with the sender.
    Mail,
    /// RCPT TO with the recipient at this index of the envelope.
    Rcpt(usize),
    /// DATA, which announces the content.
    Data,
}

impl Command {
    /// The phase of the session in which its reply is read.
    pub fn phase(self) -> Phase {
        match self {
            Command::Rset | Command::Mail => Phase::Mail,
            Command::Rcpt(_) => Phase::Rcpt,
            Command::Data => Phase::Data,
        }
    }

    /// The line without its CRLF. `parameters` adds the optional parameters that the server offers.
    pub fn line(self, job: &Job<'_>, offers: &Extensions, smtputf8: bool, parameters: bool) -> String {
        match self {
            Command::Rset => "RSET".to_owned(),
            Command::Mail => mail_line(job, offers, smtputf8, parameters),
            Command::Rcpt(index) => {
                let recipient = &job.envelope.recipients[index];
                rcpt_line(recipient, offers.dsn && parameters, smtputf8)
            }
            Command::Data => "DATA".to_owned(),
        }
    }
}

fn mail_line(job: &Job<'_>, offers: &Extensions, smtputf8: bool, parameters: bool) -> String {
    let mut line = format!("MAIL FROM:<{}>", job.sender);
    if offers.size && parameters {
        let _ = write!(line, " SIZE={}", job.body.size());
    }
    // If this parameter is left out, a server that offers 8BITMIME still carries eight bits.
    if job.envelope.body == BodyKind::EightBit && parameters {
        line.push_str(" BODY=8BITMIME");
    }
    if smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if offers.dsn && parameters {
        match job.envelope.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &job.envelope.envid {
            let _ = write!(line, " ENVID={envid}");
        }
    }
    line
}

fn rcpt_line(recipient: &Recipient, dsn: bool, smtputf8: bool) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if dsn {
        if let Some(notify) = recipient.notify {
            let wishes = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
            let wishes: Vec<_> = wishes.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
            let _ = write!(line, " NOTIFY={}", if wishes.is_empty() { "NEVER".to_owned() } else { wishes.join(",") });
        }
        // An ORCPT in UTF-8 is sent as it is only with SMTPUTF8, and is no reason to ask for SMTPUTF8 (RFC 6533 §3).
        let written = |orcpt: &String| if smtputf8 || orcpt.is_ascii() { orcpt.clone() } else { orcpt_in_ascii(orcpt) };
        // RFC 3461 §4.2: 500 octets at most.
        if let Some(orcpt) = recipient.orcpt.as_ref().map(written).filter(|orcpt| orcpt.len() <= 500) {
            let _ = write!(line, " ORCPT={orcpt}");
        }
    }
    line
}

/// Returns true if a refusal of MAIL or RCPT may be about a parameter and not about the address. Some servers offer
/// parameters that they do not understand.
pub fn may_refuse_parameters(reply: &Reply) -> bool {
    let of_size = reply.code == 552 || matches!(reply.enhanced, Some(EnhancedCode(_, 3, 4)));
    if !reply.is_permanent() || of_size {
        return false;
    }
    // RFC 5321 §4.2.2: syntax errors, parameters that are not implemented or not recognized.
    let by_code = matches!(reply.code, 500 | 501 | 502 | 504 | 555);
    by_code || matches!(reply.enhanced, Some(EnhancedCode(_, 5, 2 | 4))) || says_so(&reply.lines)
}

fn says_so(lines: &[String]) -> bool {
    let words = Words::of(&lines.join(" "));
    let named = [
        " parameter",
        " option",
        " argument",
        " keyword",
        " extension",
        " esmtp ",
        " size ",
        " body ",
        " 8bitmime ",
        " notify ",
        " orcpt ",
        " envid ",
        " ret ",
        " dsn ",
    ];
    let refused = [
        " unsupported ",
        " not supported ",
        " unknown ",
        " unrecogni",
        " not recogni",
        " not implemented ",
        " not understood ",
        " not allowed ",
        " not accepted ",
        " may not ",
        " invalid ",
        " malformed ",
        " syntax ",
        " bad ",
        " illegal ",
        " unexpected ",
    ];
    words.any(&named) && words.any(&refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::response::take_reply;

    #[test]
    fn a_refusal_of_a_parameter_is_told_from_one_of_the_address() {
        let found = |text: &str| {
            let reply = take_reply(format!("{text}\r\n").as_bytes()).unwrap().unwrap().0;
            may_refuse_parameters(&reply)
        };
        for text in [
            "555 5.5.4 Unsupported option: ORCPT",
            "501 5.5.4 Invalid arguments",
            "501 <x@test.net> NOTIFY=NEVER: malformed address: NOTIFY=NEVER may not follow <x@test.net>",
            "501 5.1.3 Bad recipient address syntax",
            "504 Command parameter not implemented",
            "500 line not understood",
            "502 what?",
            "550 5.5.4 no",
            "553 5.5.2 no",
            "550 SIZE is not supported",
            "553 unknown keyword BODY=8BITMIME",
            "550 ORCPT not allowed here",
        ] {
            assert!(found(text), "{text}");
        }
        for text in [
            "250 ok",
            "451 4.5.4 unsupported option, later",
            "552 5.3.4 SIZE is not accepted: the message is too large",
            "550 5.3.4 bad message size",
            "550 5.1.1 no such user",
            "550 unknown user",
            "553 5.1.8 bad sender",
            "554 5.7.1 Relay access denied",
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
