//! Replies that servers, panels and filters give as their makers and users publish them (postmasters' pages, help pages, mailing lists). What
//! each should lead to was written down before the rules saw it.

use super::classify::Phase::*;
use super::classify::tests::{context, reply, short};
use super::classify::{Phase, classify};
use super::wordings::{miscounted, wrong};

/// The account has sent too much, or too fast: mail waits, with an alert.
const ALLOWANCES: &[&str] = &[
    "550 Domain test.dk is over its email quota",
    // Outmail, cPanel, DirectAdmin, Plesk.
    "554 5.7.1 <x@test.net>: Recipient address rejected: You have exceeded your Outmail quota.",
    "550 Domain test.dk has exceeded the max defers and failures per hour (5/5 (100%)) allowed. Message discarded.",
    "550 The domain's daily email limit of 200 has been reached. The message was not sent.",
    "550 Your account (test) has sent too many emails. Limit is 200",
    "550 This account has reached its outgoing mail hourly limit",
    "550 Sender rate overlimit - 150.2 / 1h",
    // QQ, NetEase.
    "550 Sender frequency limited. http://service.exmail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000723",
    "550 Connection frequency limited",
    "550 Mail frequency limited. http://service.mail.qq.com/detail/0/64",
    // postfwd and other policy services of Postfix.
    "554 5.7.1 <x@test.net>: Recipient address rejected: Number messages per hour exceeded",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Number recipients per hour exceeded",
    "554 5.7.1 <x@test.net>: Recipient address rejected: only 5 recipients per 5 minutes allowed",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Policy rejection; Message count quota exceeded",
    "554 5.7.1 <DATA>: Data command rejected: sorry, max 150 messages per 60 seconds",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Policy Rejection- Rate limit",
    // Mimecast, Microsoft, Google, Amazon, SparkPost.
    "550 Exceeding outbound thread limit - https://community.mimecast.com/docs/DOC-1369#550",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients (5.1.90)",
    "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients",
    "550 5.4.5 Daily user sending limit exceeded. Please visit https://support.google.com/mail/answer/22839",
    "554 Throttling failure: Daily message quota exceeded.",
    "550 5.7.1 Exceed Sending Limit (messages/day)",
    "550 5.7.1 The maximum number of emails per month on your account has been reached",
    "550 You have exceeded your messaging limits",
    // Kerio, MDaemon, SmarterMail, IceWarp.
    "550 5.7.1 Max. number of messages per hour reached",
    "550 Sorry, you cannot send more than 250 messages per day",
    "550 Outgoing messages per hour exceeded",
    "550 The account has exceeded the maximum number of outgoing messages per hour",
];

/// The account may send nothing until somebody lifts the block: mail waits, with an alert.
const BLOCKED: &[&str] = &[
    "550 Account locked: sending of spam",
    "550 Outgoing mail from \"info@test.dk\" has been suspended.",
    "554 5.1.8 Sender Address Blocked",
    "554 Message rejected: Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account.",
    "550 5.7.1 [CSR] Our system has detected an unusual amount of unsolicited email originating from your address",
    "550 Your account has been suspended for sending further emails",
    "550 5.7.1 Account suspended for sending spam, contact support",
    "550 Domain test.dk is not allowed to send: The domain is disabled",
    "554 5.7.1 Your account is locked because it was used to send spam",
    "550 5.7.1 This SMTP user has been disabled for sending",
];

/// Our address or our right to connect.
const BARRED: &[&str] = &[
    // GMX, T-Online, Orange, Comcast, Yahoo, AT&T, EarthLink.
    "550 <x@test.net>: IP address is block listed",
    "550 <x@test.net>: Bad DNS PTR resource record",
    "550 <x@test.net>: Reject due to policy restrictions (IP based)",
    "554 IP=40.74.40.57 - None/bad reputation. Ask your postmaster for help or to contact tobr@rx.t-online.de for reset. (NOWL)",
    "554 Dialup/transient IP not allowed. Use a mailgateway or contact toda@rx.t-online.de if obsolete. (DIAL)",
    "550 mwinf5c ME Adresse IP source bloquee pour incident de spam. Client host blocked for spamming issues. OFR006_102 Ref http://csi.cloudmark.com/reset-request/ [102]",
    "554 resimta-po-01 comcast 40.74.40.57 Comcast block for spam. Please see http://postmaster.comcast.net/smtp-error-codes.php#BL000000",
    "554 imta comcast Comcast requires that all mail servers must have a PTR record with a valid Reverse DNS entry.",
    "553 5.7.1 [BL21] Connections will not be accepted from 40.74.40.57, because the ip is in Spamhaus's list",
    "553 Mail from 40.74.40.57 not allowed - 5.7.1 [BL23] Connections not accepted from IP addresses on Spamhaus XBL",
    "550 5.7.1 Connections not accepted from servers without a valid sender domain. Fix reverse DNS for 40.74.40.57",
    "550 IP 40.74.40.57 is blocked by EarthLink. Go to earthlink.net/block for details.",
    // Filters.
    "550 5.7.1 Service unavailable; client [40.74.40.57] blocked using prs.proofpoint.com",
    "550 Blocked - see https://ipcheck.proofpoint.com/?ip=40.74.40.57",
    "550 5.7.1 Service unavailable; client [40.74.40.57] blocked using Cloudmark Sender Intelligence (Visit http://csi.cloudmark.com/reset-request/ if you feel this is in error)",
    "554 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using Barracuda Reputation",
    "550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs/DOC-1369#550",
    "554 Host network not allowed - https://community.mimecast.com/docs/DOC-1369#554",
    "501 Connection rejected by policy [7.7] 20202, please visit www.messagelabs.com/support for more details about this error message.",
    "554 5.7.1 host [40.74.40.57] black listed #120",
    "550 5.7.1 host out.webcrm.com from unknown TLD #122",
    "550-\"JunkMail rejected - out.webcrm.com [40.74.40.57]:34032 is in an RBL, see\r\n550 https://www.spamhaus.org/query/ip/40.74.40.57\"",
    // Microsoft, Google.
    "550 5.7.606 Access denied, banned sending IP [40.74.40.57]. To request removal from this list please visit https://sender.office.com/",
    "550 5.7.511 Access denied, banned sender[40.74.40.57]. To request removal from this list please forward this message",
    "550 5.7.1 Unfortunately, messages from [40.74.40.57] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
    "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
    "550 5.7.1 Invalid credentials for relay [40.74.40.57]. The IP address you've registered in your G Suite SMTP Relay service doesn't match the domain of the account this email is being sent from.",
    // MDaemon, Baruwa, Exim, Postfix, sendmail.
    "550 Sorry, IP address 40.74.40.57 has been banned",
    "550 The sender 40.74.40.57 is banned",
    "550 Client host rejected: may not be mail exchanger",
    "550 hosts with dynamic ip are not accepted",
    "550 Please get a custom reverse DNS name from your ISP for your host",
    "550 please use the SMTP server of your ISP",
    "550 access denied. IP name lookup failed",
    "550 no access from mail server 40.74.40.57",
    "550 Not currently accepting mail from your ip",
    "550 5.7.1 Rejected: listed at zen.spamhaus.org",
    "550 sorry, your remotehost looks suspiciously like spammer",
    "550 unresolvable relay host name",
    "550 Rejecting open proxy 40.74.40.57",
    "550 Requested mail action not taken: Invalid IP",
    "550 5.7.1 We do not accept mail from hosts with dynamic IP or generic dns PTR-records",
];

/// The server does not relay for us.
const NO_RELAY: &[&str] = &[
    "553 you are trying to use me [server-1.tower-1.messagelabs.com] as a relay, but I have not been configured to let you do this.",
    "550 5.7.0 Mail relay denied [40.74.40.57]. Invalid credentials for relay for one of the domains in: test.dk",
    "553 Relaying disallowed as info@test.dk",
    "553 5.7.1 Relaying disallowed",
    "550 relaying denied for <x@test.net>",
    "550 5.7.1 routed address relaying denied #131",
    "550 Requested action not taken: Local user only",
    "550 Insecure Mail Relay.",
    "550 not allowed to relay through this machine",
    "550 Relay prohibited",
    "553 Sorry, this domain is not in my list of allowed hosts (#5.7.1)",
    "550 5.7.1 Relaying to <x@test.net> denied",
];

/// The server wants a login that it did not get.
const LOGIN: &[&str] = &[
    "530 SMTP authentication is required.",
    "553 SMTP authentication is required",
    "550 Unauthenticated senders not allowed",
    "550 Submitter failed to authenticate - https://community.mimecast.com/docs/DOC-1369#550",
    "550 5.7.1 Authentification requise. Authentication Required. ofr_402 [402]",
    "550 Authentication turned on in your email client is required",
    "550 you are not authorized to send mail, authentication is required",
];

/// The transaction has too many recipients.
const TOO_MANY: &[&str] = &[
    "552 recipients exceed quota of message",
    "452 Too many users",
    "552 5.5.3 Maximum limit of 50 recipients reached",
    "571 sorry, you reached the maximum number of recipients allowed in this session (#5.7.1 - chkuser)",
    "554 5.7.1 Too many recipients, please reduce to less than 50 or consider using a mailing list",
    "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
    "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.",
    "452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits, visit https://support.google.com/mail/answer/22839",
    "550 Bounces are never sent to more than one recipient. Too many recipients.",
    "552 Too many recipients for this message: at most 100",
    "452 4.5.3 Recipients limit reached",
    "550 number of users in this message exceeds the limit",
];

/// The recipient, or its mailbox.
const OF_RECIPIENT: &[&str] = &[
    "550 User is over the maximum number of messages",
    "550 5.1.1 <x@test.net> recipient mailbox unallocated",
    "550 5.2.0 <x@test.net> - Recipient unavailable",
    "552 5.1.1 <x@test.net> recipient rejected - extended quota violation",
    "552 5.1.1 Boite du destinataire pleine. Recipient overquota. OFR_417 [417]",
    "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416]",
    "552 5.2.2 <x@icloud.com>: user is overquota",
    "554 5.2.2 <x@free.fr>: Recipient address rejected: Quota exceeded (mailbox for user is full)",
    "550 <x@gmx.de>: Requested mail action aborted: exceeded storage allocation, Quota exceeded",
    "552 Requested mail action aborted: exceeded storage allocation Quota exceeded.",
    "552 5.2.2 The email account that you tried to reach is over quota. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaPerm - gsmtp",
    "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. For more information, please visit https://support.google.com/mail/?p=ReceivingRatePerm - gsmtp",
    "554 5.2.122 The recipient has exceeded their limit for the number of messages they can receive per hour.",
    "550 5.2.1 This mailbox has been blocked due to inactivity",
    "550 5.2.2 user quota exceeded",
    "550 Quota Exceeded",
    "550 Unknown User",
    "550 5.1.1 Not our Customer",
    "550 5.4.1 All recipient addresses rejected : Access denied [AM0EUR02FT003.eop-EUR02.prod.protection.outlook.com]",
    "550 5.5.0 Requested action not taken: mailbox unavailable. [DB3EUR04FT010.eop-eur04.prod.protection.outlook.com]",
    "541 5.4.1 Mail rejected by destination domain",
    "550 5.7.1 <x@test.net>: Recipient address rejected: User email address is marked as invalid.",
    "550 5.7.1 <x@test.net>: Recipient address rejected: ERS-Customized-Block.",
    "550 5.7.1 No such user!",
    "550 5.7.1 Policy rejection on the target address",
    "554 5.7.1 <x@test.net>: Recipient address rejected: BLOCK-RCPT.",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Not in recipient list",
    "550 Mail is rejected by recipients",
    "550 Mailbox not found. http://service.exmail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000728",
    "550 Message was not accepted -- invalid mailbox. Local mailbox x@mail.ru is unavailable: account is disabled",
    "550 permanent failure for one or more recipients (x@test.net:blocked)",
    "550 cuda_nsu 5.1.1 <x@test.net>... User unknown",
    "554 5.2.3 MailPolicy violation Error delivering to mailboxes,mx.zoho.com",
    "550 <x@gmx.de>: Reject due to policy restrictions (domain based)",
    "550 <x@gmx.de>: Invalid DNS MX or A/AAAA resource record",
    "550 <x@gmx.de>: Reject due to SPF policy. The originating IP of the message is not permitted by the domain owner",
    // hMailServer, qmail, Exim, cPanel, Coremail.
    "550 Account is not active.",
    "550 Alias is not active.",
    "550 Domain has been disabled.",
    "550 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
    "522 sorry, recipient mailbox is full (#5.2.2 - chkuser)",
    "550 sorry, your envelope recipient is in my badrcptto list (#5.7.1)",
    "550 Previous (cached) callout verification failure",
    "550-Verification failed for <info@test.dk>\r\n550-Unrouteable address\r\n550 Sender verify failed",
    "550 The mail server could not deliver mail to x@test.net. The account or domain may not exist, they may be blacklisted, or missing the proper dns entries.",
    "550 No Such User Here",
    "550 User suspended",
    "550 User hangup",
    "550 recipient suspend the service",
    "550 mailbox is frozen",
    "550 5.1.1 is a deactivated mailbox",
    "550 5.7.1 Boite du destinataire archivee",
    "552 Message for <x@test.net> would exceed mailbox quota",
    "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
];

/// The sender, named at MAIL.
const OF_SENDER: &[&str] = &[
    "550 5.1.8 <info@test.dk>: Sender address rejected: Domain not found",
    "550 5.1.8 Domain of sender address does not exist",
    "553 5.7.1 Sender address rejected: not owned by auth user.",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "501 Invalid MAIL FROM address provided",
    "511 sorry, can't find a valid MX for sender domain (#5.1.1 - chkuser)",
    "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
    "550 Emetteur invalide. Invalid Sender. OFR004_405",
    "550 5.7.1 sender <info@test.dk> black listed #127",
    "550 Suspected spam sender.",
    "550 5.7.1 Unconfigured Sending Domain <test.dk>",
];

/// Replies that refuse the message for what it says.
const OF_MESSAGE: &[&str] = &[
    "550 Message is spam; limit your sending",
    "550 5.2.0 Mail rejete. Mail rejected. ofr_506 [506]",
    "550 5.5.0 Envoi refuse. Sending refused. LPN007_510",
    "550 5.7.1 DMARC LPN007_517",
    "550 <x@gmx.de>: Reject due to policy restrictions (header based)",
    "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137",
    "550 5.7.1 Your message was rejected due to test.dk's DMARC policy. See https://support.apple.com/en-us/HT204137 for info",
    "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
    "554 Message not allowed - Headers are not RFC compliant[291]",
    "554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc",
    "550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=7y4y or report details to abuse@corp.mail.ru.",
    "550 5.7.1 [40.74.40.57 14] Messages missing a valid address in From: header, or having no From: header, are not accepted. - gsmtp",
    "550 5.7.1 [40.74.40.57] Our system has detected that this message is likely suspicious due to the very low reputation of the sending domain. To best protect our users from spam, the message has been blocked.",
    "550 5.7.1 Your email was rejected due to having a domain present in the Spamhaus DBL -- see https://www.spamhaus.org/dbl/",
    "550 5.7.1 Message considered as SPAM",
    "550 5.7.1 Rejected by spam filter",
    "554 5.7.1 Email cannot be delivered. Reason: Email flagged as Spam.",
    "554 rejected due to spam URL in content",
    "554 rejecting banned content",
    "550 rejecting spoofed message",
    "550 Mail content denied. http://service.exmail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000726",
    "554 DT:SPM 163 smtp7",
    "550 Rejected by header based Anti-Spoofing policy: info@test.dk - https://community.mimecast.com/docs/DOC-1369#550",
    "554 Email rejected due to security policies - https://community.mimecast.com/docs/DOC-1369#554",
    "554 Maximum email size exceeded - https://community.mimecast.com/docs/DOC-1369#554",
    "553 Message filtered. Refer to the Troubleshooting page at http://www.symanteccloud.com/troubleshooting for more information. (#5.7.1)",
    "552 5.7.1 virus EICAR_HDB-1 detected by Zoho Mail",
    "552 5.2.3 Your message exceeded Google's message size limits.",
    "552 5.7.0 Our system detected an illegal attachment on your message.",
    "552 sorry, that message size exceeds my databytes limit (#5.3.4)",
    "554 mail server permanently rejected message (#5.3.0)",
    "550 \"The mail server detected your message as spam and has prevented delivery.\"",
    "550 This message was classified as SPAM and may not be delivered",
    "550 From header sender domain not verified",
    "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.",
    "550 From domain must match authenticated domain",
    "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: test.dk",
    "550 5.7.520 Access denied, Your organization does not allow external forwarding.",
    "554 5.2.252 SendAsDenied; info@test.dk not allowed to send as b@test.dk",
    "550 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender",
];

/// Everything with 4xx waits, whoever it is about.
const FOR_THE_MOMENT: &[&str] = &[
    "421 mwinf5c ME Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down. OFR004_104",
    "450 4.7.1 Client host rejected: Service refuse. Veuillez essayer plus tard. service refused, please try later. LPN027_503",
    "450 4.1.8 Emetteur invalide / Invalid Sender LPN007_405",
    "421 4.7.0 [TSS04] Messages from 40.74.40.57 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1",
    "421 4.7.1 Messages to x@icloud.com deferred due to excessive volume. Try again later",
    "451 too many errors from your ip (40.74.40.57), please visit http://postmaster.free.fr/",
    "452 4.1.1 <x@test.net> too many recent messages; Try again later",
    "451 4.7.500 Server busy. Please try again later from [40.74.40.57]. (AS77712344)",
    "451 4.7.650 The mail server [40.74.40.57] has been temporarily rate limited due to IP reputation.",
    "421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, closing transmission channel.",
    "450 4.7.3 Organization queue quota exceeded.",
    "450 4.3.2 Please wait to send more emails, or contact support for a rate limit increase.",
    "451 Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451",
    "451 Account outbounds disabled - https://community.mimecast.com/docs/DOC-1369#451",
    "451 Open relay not allowed - https://community.mimecast.com/docs/DOC-1369#451",
    "450 Requested action aborted [9] 20412, please visit https://knowledge.broadcom.com for more details about this error message.",
    "451 4.7.1 Received too many messages from a new or untrusted IP (G28)",
    "450 4.2.1 <x@test.net>: Mailbox received too much email in a short period of time (G30)",
    "450 4.7.1 Client host 40.74.40.57 has no PTR record (G1F)",
    "450 4.7.1 Error: too much mail from 40.74.40.57",
    "451 qq trouble in home directory (#4.3.0)",
    "452 4.4.5 Insufficient disk space; try again later",
    "421 Rate limit reached. Please try again later",
    "450 Reject due to policy violations.",
    "454 Throttling failure: Daily message quota exceeded.",
    "420 Exceed Sending Limit (messages/day)",
    "451 Ratelimit exceeded mailbox info@test.dk. Try again later.",
    "422 License Expired",
    "421 4.7.28 [40.74.40.57] Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
    "450 4.2.0 <x@test.net>: Recipient address rejected: test.net greylisted for 60 seconds by ZEROSPAM",
];

#[test]
fn an_allowance_and_a_blocked_account_make_mail_wait() {
    let all = [ALLOWANCES, BLOCKED].concat();
    assert_eq!(wrong(&[Mail, Rcpt, Data, End], &all, &["dRb"], &context(false)), []);
    let limited = "550 Please wait to send more emails, or contact support for a rate limit increase.";
    assert_eq!(short(&classify(Login, &reply(limited), &context(false))), "dRb");
}

#[test]
fn a_refusal_of_our_machine_of_relaying_or_without_login_puts_the_route_in_doubt_or_out() {
    let barred = wrong(&[Mail, Rcpt, Data], BARRED, &["dR?"], &context(false));
    let no_relay = wrong(&[Rcpt], NO_RELAY, &["dR?"], &context(false));
    let login = wrong(&[Mail], LOGIN, &["dR!"], &context(false));
    assert_eq!([barred, no_relay, login].concat(), []);
}

#[test]
fn too_many_recipients_are_told_from_bad_ones() {
    let others = [ALLOWANCES, BLOCKED, BARRED, NO_RELAY, OF_RECIPIENT, OF_SENDER, OF_MESSAGE].concat();
    assert_eq!(miscounted(TOO_MANY, &others), [""; 0]);
}

#[test]
fn what_is_about_one_recipient_one_sender_or_one_message_bounces() {
    let of_recipient = wrong(&[Rcpt], OF_RECIPIENT, &["fr-"], &context(false));
    let of_sender = wrong(&[Mail], OF_SENDER, &["fm-"], &context(false));
    let of_message = wrong(&[End], OF_MESSAGE, &["fm-"], &context(false));
    assert_eq!([of_recipient, of_sender, of_message].concat(), []);
}

#[test]
fn nothing_bounces_that_is_said_for_the_moment() {
    const PHASES: [Phase; 4] = [Mail, Rcpt, Data, End];
    for (phase, text) in PHASES.iter().flat_map(|phase| FOR_THE_MOMENT.iter().map(move |text| (*phase, *text))) {
        let found = short(&classify(phase, &reply(text), &context(false)));
        assert!(found.starts_with('d'), "{phase:?} {text}: {found}");
    }
}
