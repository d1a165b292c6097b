//! Replies of known products and providers at each step of a session, written down like those of
//! [`wordings_worldwide`](super::wordings_worldwide).

use super::classify::tests::context;
use super::classify::{Context, Phase::*};
use super::wordings::wrong;
use crate::route::{Login, LoginSecret};
use crate::smtp::Mailbox;

#[test]
fn each_other_reply_has_its_reach() {
    for (phase, text, right) in [
        (Greeting, "554 5.7.1 Your IP 40.74.40.57 is blocked", "dRb"),
        (Greeting, "421 Too many concurrent SMTP connections from this IP address; please try again later.", "dRb"),
        (Greeting, "550 Access denied - relay1", "dRb"),
        (Greeting, "554 Vi tager ikke imod mail fra dig", "dRb"),
        (End, "452 4.3.1 Insufficient system storage", "dR?"),
        (End, "452 4.3.1 message queue limit exceeded, disk full", "dR?"),
        (End, "452 4.3.1 Insufficient system storage, queue limit reached", "dR?"),
        (
            End,
            "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address",
            "dRb",
        ),
        (End, "451 4.7.1 message deferred: spam check takes up to an hour", "dm-"),
        (End, "450 4.7.1 content scan queue limit reached", "dm-"),
        (End, "451 4.7.0 DKIM lookup timed out, try again within the hour", "dm-"),
        (End, "451 4.7.1 virus scanner limit reached", "dm-"),
        (End, "451 4.6.0 too many MIME parts per message", "dm-"),
        (End, "450 4.7.1 spam score limit exceeded", "dm-"),
        (End, "451 4.7.1 Message temporarily deferred, 1 hour quarantine", "dm-"),
        (End, "450 4.7.1 Message contains a suspicious link; held for 24 h", "dm-"),
        (End, "451 4.7.0 Temporary server error. Please try again later. PRX5", "dm-"),
        (End, "451 4.7.23 SPF lookup limit exceeded", "dm-"),
        (End, "450 4.7.26 DMARC reports limit today", "dm-"),
        (
            End,
            "421 4.7.0 [TSS04] Messages from 40.74.40.57 temporarily deferred due to unexpected volume or user complaints",
            "ds?",
        ),
        (Hello, "504 5.5.2 <out>: Helo command rejected: need fully-qualified hostname", "dRb"),
        (Hello, "550 5.7.1 HELO out.webcrm.com does not resolve", "dRb"),
        (Hello, "421 4.3.2 Service not available", "dRb"),
        (Login, "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", "dR!"),
        (
            Login,
            "535-5.7.8 Username and Password not accepted. Learn more at\r\n535 5.7.8 https://support.google.com/mail/?p=BadCredentials",
            "dR!",
        ),
        (Login, "535 Incorrect authentication data", "dR!"),
        (Login, "535 5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]", "dR!"),
        (
            Login,
            "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
            "dR!",
        ),
        (
            Login,
            "534-5.7.9 Application-specific password required.\r\n534 5.7.9 For more information, go to support",
            "dR!",
        ),
        (Login, "534 5.7.14 Please log in via your web browser and then try again", "dR!"),
        (Login, "535 Forkert brugernavn eller adgangskode", "dR!"),
        (Login, "535 Anmeldung fehlgeschlagen", "dR!"),
        (Login, "550 5.7.30 Basic authentication is not supported for Client Submission.", "dR!"),
        (Login, "535 5.7.1 Account locked: too many failed logins", "dR!"),
        (Login, "535 Authentication failed. Restarting authentication process.", "dR!"),
        (Login, "535 5.7.0 Too many bad auth attempts", "dR!"),
        (Login, "538 5.7.11 Encryption required", "dR!"),
        (Login, "454 4.7.0 Temporary authentication failure: Connection lost to authentication server", "dRb"),
        (Login, "454 4.7.0 Too many login attempts, please try again later.", "dRb"),
        (Login, "535 5.7.0 Your account has reached its monthly sending limit", "dRb"),
        (
            Login,
            "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2",
            "dRb",
        ),
        (Login, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending", "dRb"),
        (Login, "535 5.7.1 Daily quota of messages used", "dRb"),
        (Mail, "452 4.3.1 Insufficient system storage", "dR?"),
        (Mail, "452 Insufficient system storage", "dR?"),
        (Mail, "452 4.3.1 Out of memory, maximum reached", "dR?"),
        (Mail, "451 4.7.0 Too many messages on this connection", "dRb"),
        (Mail, "452 4.5.3 Too many messages this session", "dRb"),
        (Mail, "450 4.7.1 Client host rejected: too many connections", "dRb"),
        (Mail, "450 4.1.8 <crm@test.dk>: Sender address rejected: Domain not found", "dm-"),
        (Mail, "451 4.1.8 Temporary DNS error for test.dk", "dm-"),
        (Mail, "450 4.1.8 Sender domain limit lookup failed", "dm-"),
        (Mail, "451 4.7.1 Greylisted, max 5 minutes", "dm-"),
        (Mail, "450 4.1.8 <crm@test.dk>: Sender address rejected: Domain not found, retry in 24 h", "dm-"),
        (Mail, "451 4.7.1 Sender verification in progress, try again in an hour", "dm-"),
        (Mail, "421 4.3.0 Server shutting down", "ds?"),
        (Mail, "550 5.1.8 <crm@test.dk>: Sender address rejected: Domain not found", "fm-"),
        (Mail, "553 5.1.7 Sender address format error", "fm-"),
        (Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "fm-"),
        (Mail, "554 5.2.252 SendAsDenied; webcrm@test.dk not allowed to send as info@test.dk", "fm-"),
        (Mail, "553 5.7.1 <info@test.dk>: Sender address rejected: not owned by user webcrm@test.dk", "fm-"),
        (Mail, "550 Sender verify failed", "fm-"),
        (Mail, "550 5.7.1 Your mailbox may only send as webcrm@test.dk", "fm-"),
        (Mail, "550 Afsenderadressen er ikke tilladt", "fm-"),
        (Mail, "550 Absenderadresse nicht erlaubt", "fm-"),
        (Mail, "553 5.7.1 Afsenderen er ikke blandt de tilladte afsendere", "fm-"),
        (Mail, "550 Din konto er begrænset", "dRb"),
        (Mail, "550 Your account is limited to local users until it is verified", "dRb"),
        (Mail, "550 Antallet af mails er begrænset til 200", "dRb"),
        (Mail, "550 Adgang er begrænset til godkendte afsendere", "fm-"),
        (Mail, "550 Åtkomst är begränsad till godkända avsändare", "fm-"),
        (Mail, "550 Zugriff ist auf bekannte Absender begrenzt", "fm-"),
        (Mail, "550 Toegang is beperkt tot bekende afzenders", "fm-"),
        (Mail, "550 5.7.1 Access is limited to approved senders", "fm-"),
        (Mail, "552 5.3.4 Message size exceeds fixed limit", "fm-"),
        (Rcpt, "530 5.5.1 Authentication Required", "dR!"),
    ] {
        assert_eq!(wrong(&[phase], &[text], &[right], &context(false)), []);
    }
}

#[test]
fn an_account_that_is_named_is_ours_only_if_it_is_the_login_or_the_sender() {
    let login = Login::new("webcrm@test.dk", LoginSecret::Password("secret".to_owned()));
    let sender = Mailbox::parse("crm@test.dk").unwrap();
    let context = Context { login: Some(&login), sender: Some(&sender), ..context(false) };
    for (text, right) in [
        ("550 5.7.1 Sender account crm@test.dk is blocked", "dRb"),
        ("550 5.7.1 User crm@test.dk is blocked", "dRb"),
        ("554 5.7.1 Account webcrm@test.dk disabled", "dRb"),
        ("550 Mailbox crm@test.dk has been suspended, contact your provider", "dRb"),
        ("550 5.2.1 <crm@test.dk>: account is disabled", "dRb"),
        ("550 Kontoen crm@test.dk er spærret", "dRb"),
        ("550 Benutzer webcrm@test.dk gesperrt", "dRb"),
        ("550 login webcrm@test.dk locked", "dRb"),
        ("550 5.7.1 Mail from crm@test.dk blocked by recipient", "fr-"),
        ("550 5.7.1 <crm@test.dk>: sender blocked by the recipient's policy", "fr-"),
        ("550 Account x@test.net disabled, mail from crm@test.dk refused", "fr-"),
        ("550 5.1.1 x@test.net: no such user (from crm@test.dk)", "fr-"),
        ("552 5.2.2 x@test.net over quota, message from crm@test.dk refused", "fr-"),
        ("552 5.7.1 crm@test.dk: quota of messages exceeded", "dRb"),
        ("552 5.2.2 Outbound message quota exceeded for crm@test.dk", "dRb"),
        (
            "451-40.74.40.57 is not yet authorized to deliver mail from\r\n451 <crm@test.dk> to <x@test.net>. Please try later.",
            "dr-",
        ),
        ("550 User webcrm is blocked", "fr-"),
        ("550 5.7.1 Sender crm@test.dk blocked by user", "fr-"),
        ("550 5.7.1 User blocked crm@test.dk", "fr-"),
        ("550 User's blocklist: crm@test.dk is blocked", "fr-"),
        ("550 User crm@test.dk blocked by x@test.net", "fr-"),
        ("550 User crm@test.dk is blocked from sending to this list", "fr-"),
        ("550 User crm@test.dk blocked by your administrator", "dRb"),
        ("550 The user crm@test.dk has been temporarily suspended", "dRb"),
    ] {
        assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{text}");
    }
    for text in ["554 5.7.1 Message from user crm@test.dk blocked as spam", "554 Message from user crm@test.dk blocked"]
    {
        assert_eq!(wrong(&[End], &[text], &["fm-"], &context), [], "{text}");
    }
    let by_name = Login::new("webcrm", LoginSecret::Password("secret".to_owned()));
    let context = Context { login: Some(&by_name), ..context };
    for (text, right) in [
        ("550 User webcrm is blocked", "dRb"),
        ("554 5.7.1 Account \"webcrm\" has been disabled", "dRb"),
        ("550 user webcrm@test.net is blocked", "fr-"),
        ("550 webcrm is blocked here", "fr-"),
    ] {
        assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{text}");
    }
    // A colleague's mailbox is not the sender's.
    let context = Context { internal: true, ..context };
    assert_eq!(wrong(&[Rcpt], &["550 5.2.1 <crm@test.dk>: account is disabled"], &["fr-"], &context), []);
}
