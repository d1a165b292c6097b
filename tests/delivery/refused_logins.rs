//! Refusals of AUTH at every step: whether another mechanism is tried, whether the route is suspended, and what a person is told.

use postbud::smtp::Mechanism;

use super::logins::Ends::{self, Suspended, Waits, Well};
use super::logins::logs_in;

const ALL: &str = "PLAIN LOGIN CRAM-MD5";

/// A dialogue after which CRAM-MD5 is tried and works.
macro_rules! then_cram {
    ($dialogue:literal) => {
        concat!($dialogue, "\nC: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 235 2.7.0 ok")
    };
}

async fn each(over_tls: bool, rows: &[(&str, Option<Mechanism>, &'static str, Ends)]) {
    for (offer, only, dialogue, ends) in rows {
        logs_in(offer, over_tls, *only, dialogue, *ends).await;
    }
}

#[tokio::test]
async fn a_mechanism_that_is_too_weak_is_followed_by_a_stronger_one_wherever_that_is_said() {
    let login_after_name = then_cram!("C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 534 5.7.9 too weak");
    let login_at_end =
        then_cram!("C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 534 mechanism too weak for this user");
    let plain_asked_again = then_cram!("C: AUTH PLAIN AHR\nS: 334\nC: AHR\nS: 535 5.7.9 mechanism is too weak");
    let cram_alone = "C: AUTH CRAM-MD5\nS: 534 5.7.9 too weak";
    let login_alone = "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 534 5.7.9 weak";
    each(
        true,
        &[
            ("LOGIN CRAM-MD5", None, login_after_name, Well),
            ("LOGIN CRAM-MD5", None, login_at_end, Well),
            (ALL, None, plain_asked_again, Well),
            // Named in auth, so no other one follows.
            (ALL, Some(Mechanism::CramMd5), cram_alone, Suspended("534", "in auth")),
            (ALL, Some(Mechanism::Login), login_alone, Suspended("534", "in auth")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_line_that_is_not_understood_tells_nothing_of_the_password() {
    let too_long = "C: AUTH PLAIN AHR\nS: 500 Line too long\nC: AUTH LOGIN\nS: 235 ok";
    let not_inline = "C: AUTH PLAIN AHR\nS: 501 5.5.2 Initial response not supported\nC: AUTH LOGIN\nS: 235 ok";
    let not_known = "C: AUTH PLAIN AHR\nS: 504 5.7.4 Unrecognized authentication type\nC: AUTH LOGIN\nS: 235 ok";
    let at_name = then_cram!("C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 501 5.5.2 cannot decode");
    let at_verb = then_cram!("C: AUTH LOGIN\nS: 502 5.5.1 disabled");
    let cram_alone = "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 501 5.5.2 bad response";
    each(
        true,
        &[
            (ALL, None, too_long, Well),
            (ALL, None, not_inline, Well),
            (ALL, None, not_known, Well),
            ("LOGIN CRAM-MD5", None, at_name, Well),
            ("LOGIN CRAM-MD5", None, at_verb, Well),
            (ALL, Some(Mechanism::CramMd5), cram_alone, Suspended("501", "in auth")),
            (ALL, Some(Mechanism::Plain), "C: AUTH PLAIN AHR\nS: 504 5.5.4 no", Suspended("504", "in auth")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_offered_once_wherever_it_is_refused() {
    let plain_asked_again = "C: AUTH PLAIN AHR\nS: 334\nC: AHR\nS: 535 5.7.8 wrong";
    let at_name = "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 535 5.7.8 unknown user";
    let by_501 = "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 501 5.7.8 Authentication failed";
    let by_cram = "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 535 5.7.8 authentication failure";
    each(
        true,
        &[
            (ALL, None, plain_asked_again, Suspended("535", "\"tim\"")),
            ("LOGIN CRAM-MD5", None, at_name, Suspended("535", "\"tim\"")),
            ("LOGIN CRAM-MD5", None, "C: AUTH LOGIN\nS: 535 5.7.1 not for you", Suspended("535", "\"tim\"")),
            (ALL, Some(Mechanism::Login), by_501, Suspended("501", "\"tim\"")),
            (ALL, Some(Mechanism::CramMd5), by_cram, Suspended("535", "keep passwords as hashes")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_login_that_cannot_be_checked_now_waits_and_no_other_mechanism_is_tried() {
    let at_end = "C: AUTH LOGIN\nS: 334 x\nC: dGlt\nS: 334 x\nC: dGFu\nS: 454 4.3.0 try later";
    let by_cram = "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: dGltI\nS: 432 4.7.12 A password transition is needed";
    each(
        true,
        &[
            (ALL, None, "C: AUTH PLAIN AHR\nS: 454 4.7.0 Temporary authentication failure", Waits("454 4.7.0")),
            ("LOGIN CRAM-MD5", None, at_end, Waits("454 4.3.0")),
            (ALL, Some(Mechanism::CramMd5), by_cram, Waits("432 4.7.12")),
            (ALL, None, "C: AUTH PLAIN AHR\nS: 421 4.7.0 too many errors", Waits("421 4.7.0")),
            (ALL, None, "C: AUTH PLAIN AHR\nS: 451 4.3.0 internal error", Waits("451 4.3.0")),
            // The allowance of the account, said where the login is.
            (ALL, None, "C: AUTH PLAIN AHR\nS: 535 5.7.0 Your sending limit is exceeded", Waits("535 5.7.0")),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_login_that_is_right_is_said() {
    let of_ip = "C: AUTH PLAIN AHR\nS: 535 5.7.1 login from your IP is not allowed";
    let by_app = "C: AUTH PLAIN AHR\nS: 534 5.7.9 Please use an App Password";
    let off = "C: AUTH PLAIN AHR\nS: 535 5.7.139 SMTP AUTH is disabled for the mailbox";
    each(
        true,
        &[
            (ALL, None, "C: AUTH PLAIN AHR\nS: 535 5.7.13 User account disabled", Suspended("535", "administrator")),
            (ALL, None, "C: AUTH PLAIN AHR\nS: 535 your account has been locked", Suspended("535", "administrator")),
            (ALL, None, of_ip, Suspended("535", "allow 40.74.40.57")),
            (ALL, None, "C: AUTH PLAIN AHR\nS: 554 5.7.1 40.74.40.57 denied", Suspended("554", "allow 40.74.40.57")),
            (ALL, None, by_app, Suspended("534", "application-specific")),
            (ALL, None, off, Suspended("535", "XOAUTH2")),
        ],
    )
    .await;
    let encrypted = "C: AUTH PLAIN AHR\nS: 538 5.7.11 Encryption required";
    let starttls = "C: AUTH PLAIN AHR\nS: 530 5.7.0 Must issue a STARTTLS command first";
    each(
        false,
        &[
            ("PLAIN", None, encrypted, Suspended("538", "tls = \"required\"")),
            ("PLAIN", None, starttls, Suspended("530", "tls = \"required\"")),
        ],
    )
    .await;
}
