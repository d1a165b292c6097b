//! Replies of real servers, with the class of each. Add new ones here.

use super::classify::classify;
use super::classify::tests::{context, reply};
use super::signal::Phase::{self, *};
use crate::message::FailureClass::{self, *};

fn class_of(phase: Phase, text: &str) -> FailureClass {
    classify(phase, &reply(text), &context(false)).0.reply.class.expect("a refusal has a class")
}

fn check(server: &str, table: &[(Phase, &str, FailureClass)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(phase, text, right)| (phase, text, right, class_of(*phase, text)))
        .filter(|(_, _, right, found)| *right != found)
        .map(|(phase, text, right, found)| format!("{phase:?} {text}\n    is {found:?}, not {right:?}"))
        .collect();
    assert!(wrong.is_empty(), "{server}: {} of {}\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn gmail() {
    check(
        "Gmail",
        &[
            (
                Rcpt,
                "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos or unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser x - gsmtp",
                Hard,
            ),
            (
                Rcpt,
                "550 5.2.1 The email account that you tried to reach is disabled. https://support.google.com/mail/?p=DisabledUser - gsmtp",
                Hard,
            ),
            (
                Rcpt,
                "550 5.2.1 The email account that you tried to reach is inactive. https://support.google.com/mail/?p=DisabledUser",
                Hard,
            ),
            (
                Rcpt,
                "452 4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaTemp",
                MailboxFull,
            ),
            (
                Rcpt,
                "552 5.2.2 The recipient's inbox is out of storage space and inactive. https://support.google.com/mail/?p=OverQuotaPerm",
                MailboxFull,
            ),
            (Rcpt, "552 5.2.2 The email account that you tried to reach is over quota.", MailboxFull),
            (
                Rcpt,
                "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. https://support.google.com/mail/?p=ReceivingRate",
                Rate,
            ),
            (
                Rcpt,
                "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time.",
                Rate,
            ),
            (
                End,
                "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited.",
                Rate,
            ),
            (
                End,
                "550 5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked. https://support.google.com/mail/?p=UnsolicitedMessageError",
                Blocked,
            ),
            (
                End,
                "550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.",
                Auth,
            ),
            (End, "550 5.7.26 Unauthenticated email from test.dk is not accepted due to domain's DMARC policy.", Auth),
            (
                End,
                "421 4.7.26 This mail has been rate limited because it is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.",
                Auth,
            ),
            (
                End,
                "550 5.7.25 The IP address sending this message does not have a PTR record setup, or the corresponding forward DNS entry does not match",
                Blocked,
            ),
            (
                End,
                "552 5.2.3 Your message exceeded Google's message size limits. https://support.google.com/mail/?p=MaxSizeError",
                Content,
            ),
            (End, "552 5.3.4 Your message exceeded Google's message size limits.", Content),
            (
                End,
                "552 5.7.0 This message was blocked because its content presents a potential security issue. https://support.google.com/mail/?p=BlockedMessage",
                Content,
            ),
            (
                End,
                "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail that you sent.",
                Policy,
            ),
            (End, "550 5.7.1 This message is not RFC 5322 compliant. There are multiple From headers.", Content),
            (
                End,
                "550 5.7.1 Messages missing a valid address in From: header, or having no From: header, are not accepted.",
                Content,
            ),
            (Mail, "550 5.4.5 Daily user sending limit exceeded.", Rate),
            (Rcpt, "550 5.7.1 Daily SMTP relay limit exceeded for customer.", Rate),
            (Mail, "421 4.3.0 Temporary System Problem. Try again later.", Rate),
            (End, "451 4.3.0 Mail server temporarily rejected message.", Network),
            (Mail, "530 5.7.0 Authentication Required.", Auth),
            (Login, "535 5.7.8 Username and Password not accepted.", Auth),
        ],
    );
}

#[test]
fn microsoft() {
    check(
        "Outlook.com and Exchange Online",
        &[
            (Rcpt, "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", Hard),
            (Rcpt, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Hard),
            (
                Rcpt,
                "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [x.prod.protection.outlook.com]",
                Hard,
            ),
            (
                End,
                "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
                MailboxFull,
            ),
            (Rcpt, "452 4.2.2 Mailbox full", MailboxFull),
            (Rcpt, "552 5.2.2 mailbox full", MailboxFull),
            (
                Mail,
                "550 5.7.1 Unfortunately, messages from [40.74.40.57] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).",
                Blocked,
            ),
            (
                Mail,
                "421 4.7.0 RP-001 The mail server IP connecting to server has exceeded the rate limit allowed.",
                Rate,
            ),
            (
                Rcpt,
                "550 5.7.606 Access denied, banned sending IP [40.74.40.57]. To request removal from this list please visit https://sender.office.com/",
                Blocked,
            ),
            (
                Rcpt,
                "550 5.7.511 Access denied, banned sender[40.74.40.57]. To request removal from this list please forward this message to delist@microsoft.com.",
                Blocked,
            ),
            (
                End,
                "550 5.7.515 Access denied, sending domain test.dk doesn't meet the required authentication level.",
                Auth,
            ),
            (
                End,
                "550 5.7.509 Access denied, sending domain test.dk does not pass DMARC verification and has a DMARC policy of reject.",
                Auth,
            ),
            (End, "550 5.7.23 The message was rejected because of Sender Policy Framework violation", Auth),
            (Rcpt, "550 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using Spamhaus.", Blocked),
            (Rcpt, "451 4.7.500 Server busy. Please try again later from [40.74.40.57]. (S77719)", Rate),
            (Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied", Policy),
            (Rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Policy),
            (Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", Policy),
            (Mail, "530 5.7.57 Client not authenticated to send mail", Auth),
            (
                Login,
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
                Auth,
            ),
            (Login, "432 4.3.2 Concurrent connections limit exceeded.", Rate),
            (Mail, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", Rate),
            (
                End,
                "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception",
                Rate,
            ),
            (End, "550 5.7.705 Access denied, tenant has exceeded threshold", Blocked),
            (End, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", Blocked),
            (Rcpt, "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", Policy),
            (Rcpt, "550 5.7.124 RESOLVER.RST.NotAuthorized; sender not in allowed-senders list", Policy),
            (Rcpt, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", Policy),
            (
                End,
                "550 5.7.703 Your message can't be delivered because one or more URLs in it match the tenant allow/block list",
                Content,
            ),
            (Rcpt, "550 5.4.310 DNS domain example.invalid does not exist [Message=InfoDomainNonexistent]", Hard),
            (End, "554 5.6.0 Corrupt message content", Content),
            (End, "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", Content),
            (Mail, "552 5.3.4 Message size exceeds fixed maximum message size", Content),
            (Mail, "452 4.3.1 Insufficient system resources", Network),
            (Rcpt, "421 4.3.2 Service not available, closing transmission channel", Rate),
            (
                Rcpt,
                "451 4.4.4 Mail received as unauthenticated, incoming to a recipient domain configured in a hosted tenant which has no mail-enabled subscriptions. ATTR5",
                Network,
            ),
        ],
    );
}

#[test]
fn yahoo_and_aol() {
    check(
        "Yahoo",
        &[
            (
                Mail,
                "421 4.7.0 [TSS04] Messages from 40.74.40.57 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
                Rate,
            ),
            (
                Mail,
                "553 5.7.2 [TSS09] All messages from 40.74.40.57 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes",
                Blocked,
            ),
            (
                Mail,
                "553 5.7.1 [BL21] Connections will not be accepted from 40.74.40.57, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html",
                Blocked,
            ),
            (
                End,
                "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
                Policy,
            ),
            (End, "554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.com) [0]", Hard),
            (
                End,
                "554 30 Sorry, your message to a@aol.com cannot be delivered. This mailbox is disabled (554.30).",
                Hard,
            ),
            (Rcpt, "552 1 Requested mail action aborted, mailbox not found", Hard),
            (End, "451 4.3.2 [TSS] Resources temporarily unavailable. Please try again later", Rate),
            (End, "550 5.7.9 This message was rejected because its DMARC policy is reject", Auth),
        ],
    );
}

#[test]
fn mailjet_and_other_smarthosts() {
    check(
        "Mailjet, SendGrid, Amazon SES, Telia, one.com, Simply.com",
        &[
            (Login, "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", Auth),
            (Mail, "550 Authentication failed, your account has been blocked", Blocked),
            (End, "550 5.7.1 Your sender address has not been validated", Policy),
            (Mail, "553 5.7.1 <a@test.dk>: Sender address rejected: not owned by user x", Policy),
            (End, "552 5.3.4 Error: message file too big", Content),
            (Rcpt, "454 Throttling failure: Maximum sending rate exceeded.", Rate),
            (End, "454 Throttling failure: Daily message quota exceeded.", Rate),
            (End, "554 Message rejected: Email address is not verified.", Policy),
            (
                Rcpt,
                "550 Domain test.dk has exceeded the max emails per hour (50/50 (100%)) allowed. Message discarded.",
                Rate,
            ),
            (End, "550 5.7.1 limit on the number of allowed outgoing messages was exceeded. Try again later.", Rate),
            (Mail, "451 Authenticated requests are too many, credits exceeded", Rate),
            (Rcpt, "454 4.7.1 <x@y.dk>: Relay access denied", Policy),
        ],
    );
}

#[test]
fn postfix_and_exim() {
    check(
        "Postfix, Exim, Dovecot, Sendmail, qmail",
        &[
            (Rcpt, "550 5.1.1 <x@test.dk>: Recipient address rejected: User unknown in virtual mailbox table", Hard),
            (
                Rcpt,
                "550 5.1.1 <x@test.dk>: Recipient address rejected: undeliverable address: host mx[192.0.2.1] said: 550 no such user",
                Hard,
            ),
            (Rcpt, "550 5.1.2 <x@test.invalid>: Recipient address rejected: Domain not found", Hard),
            (Rcpt, "450 4.1.2 <x@test.invalid>: Recipient address rejected: Domain not found", Unknown),
            (
                Rcpt,
                "450 4.2.0 <x@test.dk>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/test.dk.html",
                Rate,
            ),
            (
                Rcpt,
                "450 4.7.1 <x@test.dk>: Recipient address rejected: Greylisting in action, please come back later",
                Rate,
            ),
            (Rcpt, "451 4.7.1 Greylisting in action, please come back in 00:05:00", Rate),
            (Rcpt, "451 4.7.1 Please try again later (TEMPFAIL)", Rate),
            (Rcpt, "450 4.7.1 <out.webcrm.com>: Helo command rejected: Host not found", Blocked),
            (Rcpt, "504 5.5.2 <out>: Helo command rejected: need fully-qualified hostname", Blocked),
            (
                Rcpt,
                "554 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/40.74.40.57",
                Blocked,
            ),
            (Rcpt, "554 5.7.1 <out.webcrm.com[40.74.40.57]>: Client host rejected: Access denied", Blocked),
            (Rcpt, "450 4.7.25 Client host rejected: cannot find your reverse hostname, [40.74.40.57]", Blocked),
            (Rcpt, "554 5.7.1 <x@other.dk>: Relay access denied", Policy),
            (Rcpt, "554 5.7.1 <a@test.dk>: Sender address rejected: Access denied", Policy),
            (Rcpt, "450 4.1.8 <a@test.dk>: Sender address rejected: Domain not found", Policy),
            (
                Rcpt,
                "550 5.7.23 <x@test.dk>: Recipient address rejected: Message rejected due to: SPF fail - not authorized. Please see http://www.openspf.net/Why",
                Auth,
            ),
            (Rcpt, "452 4.3.1 Insufficient system storage", Network),
            (Rcpt, "452 4.2.2 <x@test.dk> Mailbox is full / Blocks limit exceeded / Inode limit exceeded", MailboxFull),
            (Rcpt, "552 5.2.2 <x@test.dk>: Recipient address rejected: Mailbox is full", MailboxFull),
            (End, "552 5.2.2 <x@test.dk> Quota exceeded (mailbox for user is full)", MailboxFull),
            (End, "552 5.3.4 Error: message file too big", Content),
            (Mail, "552 5.3.4 Message size exceeds fixed limit", Content),
            (End, "550 5.7.1 Message rejected as spam by Content Filtering.", Content),
            (End, "554 5.7.1 Message rejected due to content restrictions", Content),
            (End, "550 5.7.1 Spam message rejected", Content),
            (End, "554 5.7.1 virus Eicar-Test-Signature detected by ClamAV - http://www.clamav.net", Content),
            (End, "550 5.7.1 DKIM signature verification failed", Auth),
            (Rcpt, "550 Unrouteable address", Hard),
            (Rcpt, "550 Unknown user", Hard),
            (Rcpt, "550 No such person at this address", Hard),
            (Rcpt, "550 No Such User Here", Hard),
            (
                Rcpt,
                "550 \"The mail server could not deliver mail to x@test.dk. The account or domain may not exist, they may be blacklisted, or missing the proper dns entries.\"",
                Blocked,
            ),
            (Rcpt, "451 Could not complete sender verify callout", Unknown),
            (Rcpt, "550 Administrative prohibition", Policy),
            (Rcpt, "550 relay not permitted", Policy),
            (Rcpt, "550-Verification failed for <a@test.dk>\r\n550 Sender verify failed", Unknown),
            (End, "550 High probability of spam", Content),
            (End, "550 This message was classified as SPAM and may not be delivered", Content),
            (End, "451 Temporary local problem - please try later", Rate),
            (Rcpt, "451 4.3.0 <x@test.dk>: Temporary lookup failure", Network),
            (
                Rcpt,
                "450 4.1.1 <x@test.dk>: Recipient address rejected: unverified address: Address verification in progress",
                Unknown,
            ),
            (Rcpt, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Policy),
            (Rcpt, "550 sorry, no mailbox here by that name. (#5.7.17)", Hard),
            (Rcpt, "550 5.1.1 <x@test.dk>... User unknown", Hard),
            (Rcpt, "550 5.2.1 <x@test.dk>... Mailbox disabled for this recipient", Hard),
            (Rcpt, "553 5.1.3 <x@test..dk>... Invalid host name", Hard),
            (Rcpt, "551 User not local; please try <y@other.dk>", Policy),
            (Mail, "421 4.7.0 Too many errors", Rate),
            (Rcpt, "452 4.5.3 Too many recipients", Rate),
            (Mail, "421 4.4.2 mx.test.dk Error: timeout exceeded", Network),
            (End, "554 5.4.6 Too many hops", Network),
        ],
    );
}

#[test]
fn filters_in_front_of_servers() {
    check(
        "Proofpoint, Mimecast, Barracuda, Cisco, Trend Micro, Sophos, Symantec, FortiMail",
        &[
            (Rcpt, "550 5.1.1 User Unknown", Hard),
            (Mail, "421 4.7.1 Message delayed - Too many messages from this host", Rate),
            (Greeting, "554 5.7.1 Blocked - see https://ipcheck.proofpoint.com/?ip=40.74.40.57", Blocked),
            (Greeting, "554 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=40.74.40.57", Blocked),
            (End, "550 5.7.0 Local Policy Violation", Policy),
            (End, "554 5.7.0 Message is not RFC compliant; missing \"Date\" header", Content),
            (Rcpt, "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550", Hard),
            (
                Rcpt,
                "550 Administrative prohibition - envelope blocked - https://community.mimecast.com/docs/DOC-1369#550",
                Policy,
            ),
            (
                Rcpt,
                "451 Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451",
                Network,
            ),
            (
                End,
                "554 Email rejected due to security policies - https://community.mimecast.com/docs/DOC-1369#554",
                Policy,
            ),
            (
                End,
                "550 Rejected by header based manually Blocked Senders: a@test.dk - https://community.mimecast.com/docs/DOC-1369#550",
                Policy,
            ),
            (
                Rcpt,
                "550 SPF Sender Invalid - envelope rejected - https://community.mimecast.com/docs/DOC-1369#550",
                Auth,
            ),
            (End, "550 DMARC Sender Invalid - envelope rejected - https://community.mimecast.com", Auth),
            (End, "550 permanent failure for one or more recipients (x@test.dk:blocked)", Unknown),
            (
                Rcpt,
                "550 5.7.1 Service unavailable; client [40.74.40.57] blocked using Barracuda Reputation; http://www.barracudanetworks.com/reputation/?r=1&ip=40.74.40.57",
                Blocked,
            ),
            (End, "554 rejected due to spam content", Content),
            (
                Greeting,
                "554-mx.test.dk\r\n554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
                Blocked,
            ),
            (Rcpt, "550 #5.1.0 Address rejected.", Hard),
            (
                Rcpt,
                "550 5.7.1 <x@test.dk>: Recipient address rejected: The mail server detected your message as spam and has prevented delivery.",
                Content,
            ),
            (
                Rcpt,
                "550 5.7.1 Connection refused: ip 40.74.40.57 is on Email Reputation Services Quick IP Lookup list",
                Blocked,
            ),
            (
                End,
                "553-Message filtered. Refer to the Troubleshooting page at\r\n553 http://www.symanteccloud.com/troubleshooting for more information. (#5.7.1)",
                Unknown,
            ),
            (Mail, "451 Server temporarily unavailable, please retry later", Rate),
            (Rcpt, "553 5.3.0 <x@test.dk>... No such user here", Hard),
            (End, "550 5.7.1 This email is considered spam", Content),
            (End, "550 5.7.1 Message content rejected, UBE", Content),
            (End, "550 attachment type not allowed (exe)", Content),
        ],
    );
}

#[test]
fn bare_codes_and_words_of_other_languages() {
    check(
        "codes alone",
        &[
            (Rcpt, "550 no", Unknown),
            (Rcpt, "550 5.0.0 no", Unknown),
            (Rcpt, "550 5.1.0 nej", Hard),
            (Rcpt, "550 5.1.1 ukendt modtager", Hard),
            (Rcpt, "550 5.2.0 nej", Hard),
            (Rcpt, "450 4.2.0 senere", Unknown),
            (Rcpt, "451 4.7.0 senere", Rate),
            (Rcpt, "550 5.7.1 afvist", Policy),
            (Rcpt, "552 nej", MailboxFull),
            (Rcpt, "553 nej", Hard),
            (End, "552 nej", Content),
            (End, "554 5.6.2 nej", Content),
            (End, "554 nej", Unknown),
            (End, "451 4.4.0 nej", Network),
            (End, "451 nej", Unknown),
            (Data, "554 5.5.1 nej", Unknown),
            (Greeting, "554 nej", Blocked),
            (Greeting, "421 nej", Network),
            (Hello, "550 nej", Blocked),
            (StartTls, "454 4.7.0 TLS not available", Network),
            (Login, "454 4.7.0 Temporary authentication failure", Auth),
        ],
    );
}
