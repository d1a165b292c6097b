//! Tests of the classification with real wordings: replies about an account's allowance, our address and relaying, and
//! replies that concern only the recipient or the message.

use super::classify::tests::{context, reply, short};
use super::classify::{Context, Phase, Phase::*, TakenRecipients, classify};
use super::number_of_recipients::is_about_number_of_recipients;

/// Returns the texts that are classified wrongly, with the class found.
pub(super) fn wrong<'a>(
    phases: &[Phase],
    texts: &[&'a str],
    right: &[&str],
    context: &Context<'_>,
) -> Vec<(Phase, &'a str, String)> {
    let all = phases.iter().flat_map(|phase| texts.iter().map(|text| (*phase, *text)));
    let found = all.map(|(phase, text)| (phase, text, short(&classify(phase, &reply(text), context))));
    found.filter(|(.., found)| !right.contains(&found.as_str())).collect()
}

/// Returns the texts of `of_number` that are not taken for a refusal for the number of recipients, and those of `others` that are.
pub(super) fn miscounted<'a>(of_number: &[&'a str], others: &[&'a str]) -> Vec<&'a str> {
    let is = |text: &&&str| is_about_number_of_recipients(&reply(text));
    of_number.iter().filter(|text| !is(text)).chain(others.iter().filter(is)).copied().collect()
}

/// Replies with 5xx that say that an account's allowance is used up, or that mail comes too fast.
const ALLOWANCES: &[&str] = &[
    // Plesk.
    "554 5.7.0 The limit on the number of allowed outgoing messages was exceeded. Try again later.",
    "550 5.7.1 Message rejected: the limit of outgoing messages from the mailbox has been reached",
    "554 5.7.1 Outgoing mail from this subscription exceeded its limit",
    // cPanel.
    "550 Domain test.dk has exceeded the max emails per hour (150/150 (100%)) allowed. Message discarded.",
    "550 Domain test.dk has exceeded the max defers and failures per hour (5/5 (71%)) allowed. Message discarded.",
    "550 test has exceeded the maximum number of emails per day",
    "550-User webcrm has an outgoing mail limit of 100 per hour\r\n550 and it has been reached",
    // DirectAdmin.
    "550 You have reached the daily limit of emails you can send",
    "550 The webcrm account has just reached its email limit: 1000",
    "550 You have sent too many emails today",
    "550 Sender rate overlimit for webcrm: hourly limit of 200 exceeded",
    // one.com, Simply.com, DanDomain.
    "550 5.7.1 You have sent too many mails, please try again later",
    "554 5.7.1 Too many messages sent from this account in the last hour",
    "550 5.7.1 Your daily sending limit is reached",
    // OVH.
    "550 5.7.1 [R1] Too many emails sent, quota exceeded for today",
    "554 5.7.1 <webcrm@test.dk>: Sender address rejected: hourly quota exceeded",
    // Ionos, GMX, Strato.
    "550 Requested action not taken: mail send limit exceeded",
    "554 Requested mail action not taken: mailbox unavailable Mail send limit exceeded For explanation visit https://x.test",
    "554 Transaction failed: daily message limit reached",
    "550 5.7.0 maximum number of mails for this account exceeded",
    // Google.
    "550 5.4.5 Daily user sending quota exceeded. For more information visit https://support.google.com/mail/answer/22839",
    "550-5.4.5 Daily user sending limit exceeded.\r\n550 5.4.5 a12-20020a05600c - gsmtp",
    "550 5.7.1 Daily SMTP relay limit exceeded for customer",
    "550 5.7.1 Daily SMTP relay sending limit exceeded for this user",
    // Zoho.
    "550 5.4.6 Unusual sending activity detected. Please try after sometime",
    "550 5.4.6 Outgoing limit exceeded for this account",
    // GoDaddy.
    "550 5.7.1 webcrm@test.dk has exceeded its daily SMTP relay quota",
    "554 You have exceeded the relaying limit of your plan",
    "550 Hourly relay quota exceeded IB504",
    // Yandex, Mail.ru.
    "550 5.7.1 Message sending limit exceeded. Try again later",
    "554 5.7.1 The sender has exceeded the message rate limit",
    "550 Sender has exceeded daily limit of 500 messages",
    // Amazon SES.
    "554 Maximum sending rate exceeded",
    "554 Message rejected: Daily message quota exceeded",
    "554 Daily sending quota",
    "554 Throttling failure: Maximum sending rate exceeded.",
    // Microsoft.
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; submission quota exceeded",
    "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit for sending email",
    "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients",
    // Mailgun, SendGrid, Brevo, SMTP2GO, Mailjet.
    "550 5.7.1 Domain test.dk has reached its hourly message limit",
    "550 Maximum credits exceeded",
    "554 You exceeded your monthly plan limit",
    "550 5.7.0 Your account exceeded its sending limit",
    "550 that account has exceeded its monthly email quota",
    // Exim, Postfix policy services, SmarterMail, Kerio, hMailServer, IceWarp, MDaemon.
    "550 too many messages",
    "550 5.7.1 Too many mails per hour",
    "550 too many e-mails from your account",
    "550 5.7.1 Rate limit exceeded",
    "554 5.7.1 <webcrm>: Sender address rejected: Policy Rejection- Quota Exceeded. You sent too many",
    "550 The maximum number of messages per hour has been exceeded",
    "550 Outgoing message limit exceeded",
    "550 Message submission rate exceeded for user webcrm",
    "554 5.7.1 Throttled: too many messages per minute",
    "550 Sending too fast, slow down",
    "552 5.7.1 Max outbound messages (100) reached",
    "550 5.7.1 You may send at most 500 messages in 24 hours",
    "550 5.7.1 Number of recipients per day exceeded",
    "550 5.7.0 Error: too many errors",
    "554 5.7.1 Too many invalid recipients from your address",
    "550 Mail quota of your package is exhausted for this month",
    "550 5.7.1 you exceeded the allowed number of emails per 24h",
    "554 you're sending too quickly",
    "550 Message quota exceeded",
    "550 webcrm@test.dk is over its outgoing email limit",
    "552 Sorry, your sending quota has been exhausted",
    "550 Excessive mail volume from your account",
    "550 The mail server has detected that your account has sent more mail than allowed",
    "550 Volume limit exceeded",
    "554 delivery error: Sender exceeded the maximum messages",
    "550 5.7.1 too much mail",
    "550 Message rate too high",
    "550 Das Limit für ausgehende E-Mails wurde erreicht",
    "550 Free accounts may send 50 messages a day only",
    "550 Trial account: allowed 10 recipients daily",
    "552 5.1.0 Maximum message count per session reached",
    "550 ratelimit exceeded",
    "550 Ratelimit: 100/hour",
    "550 message throttled",
    "550 mail count limit",
    "550 5.3.2 system not accepting more messages from this account",
    // Nothing is left of it.
    "550 5.7.1 the plan's monthly emails are all used",
    "550 No messages left in your daily plan",
    "550 Messages per day: 500, used: 500",
    "550 Sending temporarily suspended: over monthly volume",
    "550 5.7.1 Your monthly mails are all used",
    "550 0 mails left in this package",
    "554 Remaining emails: 0",
    "550 You have no credits left",
    "550 5.7.1 Out of email credits",
    "550 Emails today: 300, used 300 of 300",
    "550 5.7.1 None of your daily mails remaining: 0 left",
    "550 Sending is paused: over the monthly allowance",
    "550 no more mails today",
    "550 Your package has no messages remaining this week",
    "550 all emails of this month are used up",
    "550 5.7.1 Emails left: 0",
    "550 zero messages remaining",
    "550 plan volume of this month all used",
];

#[test]
fn an_allowance_said_with_5xx_waits_and_raises_an_alert_wherever_it_is_said() {
    let phases = [Mail, Rcpt, Data, End];
    assert_eq!(wrong(&phases, ALLOWANCES, &["dRb"], &context(false)), []);
    for (phase, text) in phases.iter().flat_map(|phase| ALLOWANCES.iter().map(move |text| (*phase, *text))) {
        let (meaning, _) = classify(phase, &reply(text), &context(false));
        assert!(meaning.advice.is_some(), "{phase:?}: {text}");
    }
    // The rest of the allowance may be enough for another recipient.
    let beside_others = Context { taken: TakenRecipients::Others, ..context(false) };
    assert_eq!(wrong(&[Rcpt], ALLOWANCES, &["dr-"], &beside_others), []);
}

#[test]
fn a_blocked_account_waits_and_raises_an_alert() {
    let blocked = [
        "550 5.1.8 Access denied, bad outbound sender AS(42004)",
        "501 5.1.8 Access denied, bad outbound sender",
        "550 5.7.705 Access denied, tenant has exceeded threshold",
        "550 5.7.501 Access denied, spam abuse detected",
        "550 5.7.502 Access denied, banned sender",
        "554 5.1.8 Email Outgoing Blocked",
        "550 5.7.1 Your account has been suspended for sending spam",
        "550 5.7.1 sending from this account has been disabled",
        "550 5.7.1 User suspended: you are not allowed to send mail",
        "550 5.7.1 Your mailbox does not allow sending",
        "550 5.7.1 Your account is not allowed to send mail to external addresses until it is verified",
        "550 5.2.1 Your mailbox is blocked from sending",
        "550 5.2.1 Outgoing mail of this account is suspended",
        "550 Your right to send mail is suspended",
        "550 5.7.1 Your domain is suspended; you may not send to anybody",
        "550 Your account has been blocked due to spam sent to users",
        "550 sending has been suspended for user webcrm",
        "550 Outgoing mail from \"webcrm@test.dk\" has been suspended.",
        "550 5.7.1 Your account is blocked from sending mail",
        "554 5.7.1 Outbound email disabled for this user",
    ];
    assert_eq!(wrong(&[Mail, Rcpt, Data, End], &blocked, &["dRb"], &context(false)), []);
    let of_somebody = ["550 5.7.1 account suspended", "550 The account has been temporarily locked"];
    assert_eq!(wrong(&[Mail], &of_somebody, &["dRb"], &context(false)), []);
    assert_eq!(wrong(&[Rcpt], &of_somebody, &["fr-"], &context(false)), [], "the recipient's account");
    let of_ours = ["550 Your account has been temporarily locked", "550 5.7.1 your account was disabled"];
    assert_eq!(wrong(&[Mail, Rcpt, Data, End], &of_ours, &["dRb"], &context(false)), [], "the server speaks to us");
    let advice = classify(End, &reply(blocked[0]), &context(false)).0.advice.unwrap();
    assert!(advice.contains("Restricted entities"), "{advice}");
}

#[test]
fn a_full_mailbox_a_large_message_and_an_unknown_user_stay_the_recipients() {
    let of_recipient = [
        "552 5.2.2 mailbox full",
        "552 5.2.2 <x@test.net> Mailbox has exceeded its limit",
        "552-5.2.2 The email account that you tried to reach is over quota. Please direct\r\n552 5.2.2 the recipient to clear space",
        "552 5.2.2 The recipient's inbox is out of storage space and inactive",
        "550 5.2.2 user has exceeded the daily quota of his mailbox",
        "554 5.2.2 mailbox full; STOREDRV.Deliver; quota exceeded",
        "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
        "550 5.2.121 The recipient's message receive limit per hour was exceeded",
        "552 Requested mail action aborted: exceeded storage allocation",
        "552 user over quota",
        "552 Mailbox size limit exceeded",
        "550 Mailbox quota exceeded",
        "552 account is over quota",
        "552 User quota exceeded, message not sent",
        "552 Quota exceeded, the message was not sent",
        "552 the message exceeds the user's quota",
        "550 account storage limit reached",
        "552 the user's mail quota is exceeded",
        "550 The recipient's account has exceeded its message limit",
        "552 recipient storage full, try again in a day; disk quota exceeded",
        "552 5.2.3 Message size exceeds this mailbox's limit",
        "552 5.3.4 Message size exceeds fixed limit",
        "550 5.2.0 Message size exceeds recipient limit",
        "552 message size exceeded the maximum",
        "550 5.1.1 no such user",
        "550 5.1.1 <x@test.net>: Recipient address rejected: User unknown in virtual mailbox table",
        "550 5.7.1 The recipient has exceeded the number of messages it takes per hour",
        "550 mailbox unavailable",
        "550 You have reached a number that is no longer in service",
        "550 Invalid recipient; please check your mail server's configuration",
        "550 <x@test.net>: Recipient address rejected: User unknown in relay recipient table",
        "550 Recipient rejected; ticket number 12",
        "550 recipient not allowed",
        "550 User unknown; ask your system administrator, do not relay",
        "550 No such user on this server",
        "553 5.1.2 unknown domain",
    ];
    assert_eq!(wrong(&[Rcpt], &of_recipient, &["fr-"], &context(false)), []);
    let of_message = [
        "552 5.3.4 Message size exceeds fixed maximum message size",
        "552 5.2.3 Your message exceeded Google's message size limits",
        "554 5.6.0 too many MIME parts",
        "550 maximum allowed line length is 998 octets, got 1500",
        "554 5.4.6 Too many hops 26 (25 max)",
        "554 5.4.14 Hop count exceeded - possible mail loop",
        "550 5.7.1 spam score 12.3 exceeds the limit",
        "550 5.7.1 message exceeded the spam threshold",
        "550 too many header lines",
        "550 5.6.0 too many attachments",
        "550 5.7.1 too many links in this message",
        "550 5.7.24 SPF: too many DNS lookups for the sender's domain",
        "554 5.7.1 rejected: virus found",
        "552 Requested mail action aborted: exceeded storage allocation",
        "550 5.7.1 Message rejected by the recipient's policy; reference number 123456",
        "554 5.7.1 only text is accepted by this recipient",
        "554 5.7.1 Blocked: our.list has 40.74.40.57 for its content",
    ];
    assert_eq!(wrong(&[End], &of_message, &["fm-"], &context(false)), []);
}

/// Replies with 5xx that refuse our address or name, or our right to connect.
const BARRED: &[&str] = &[
    "550 40.74.40.57 is a bad neighbour",
    "554 [40.74.40.57] sorry",
    "550 5.0.0 blocked (40.74.40.57)",
    "550 5.7.1 mail from 40.74.40.57. Ask postmaster",
    "571 5.7.1 http://bl.test/?ip=40.74.40.57",
    "550 5.7.1 host=40.74.40.57:51234 unwelcome",
    "550 5.7.1 <out[::ffff:40.74.40.57]>: go away",
    "550 5.7.1 [IPv6:::ffff:284a:2839] go away",
    "550 5.7.1 57.40.74.40.zen.bl.test says no",
    "550 5.7.1 ip-40-74-40-57.isp.test looks dynamic",
    "550 5.7.1 the network 40.74.40.0/24 is listed",
    "550 5.7.23 SPF validation failed: 40.74.40.57 is not permitted",
    "550 you are not allowed to connect",
    "550 5.7.1 not authorized to connect from there",
    "554 Connection refused, your host is blacklisted",
    "550 5.7.1 Your IP address is not in our allow list",
    "550 Your server is not permitted to send here",
    "554 5.7.1 Client not authorized",
    "550 5.7.25 reverse DNS of your host is missing",
    "550 Invalid HELO name",
    "550 5.7.1 HELO name must resolve",
    "554 no PTR record",
    "554 5.7.1 You are not allowed to send mail from this host",
    "550 5.7.1 Host not permitted",
    "521 5.2.1 Service refuses mail from 40-74-40-57.example.net",
    "550 IP blacklisted",
    "550 Connection not permitted",
    "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation",
    "550 rejected: cannot find your reverse hostname",
    "550 rejected by network ::ffff:40.74.40.0/120",
    "554 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using zen.spamhaus.org",
    // With zeros in front, and with a code for the recipient's address.
    "550 5.7.1 mail from 040.074.040.057 refused",
    "550 5.7.1 host 040-074-040-057.isp.test is dynamic",
    "550 5.1.1 host 40.74.40.57 is blocked",
    "550 5.1.2 40.74.40.57 is on our blocklist",
    // The server serves machines of its own only.
    "550 You must be on the local network to send",
    "550 You have to be in our network; other networks are not served",
    "550 5.7.1 this mail server is only for internal use",
    "550 5.7.1 this gateway is for internal use only",
    "550 5.7.1 ACL dropped your connection's IP",
    "550 Firewall dropped your connection",
    "550 5.7.1 mail from webcrm hosts not allowed here",
    "550 mail from your hosts is refused",
    "550 Your connection was dropped by our ACL",
    "550 server is for private use",
    "550 you must connect from the internal network",
    "550 5.1.1 [40.74.40.57] refused",
];

/// Replies with 5xx that refuse to relay.
const NO_RELAY: &[&str] = &[
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "553 sorry, that domain isn't allowed to be relayed thru this MTA (#5.7.1)",
    "550 we do not relay",
    "550 We don't relay for strangers",
    "550 5.7.1 Relaying denied",
    "513 Relaying denied.",
    "554 5.7.1 <x@test.net>: Relay access denied",
    "550 relay not permitted",
    "550 relaying to <x@test.net> prohibited by administrator",
    "553 Relaying disallowed",
    "550 5.7.1 Relaying is forbidden",
    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
    "550 This server is not a relay",
    "550 cannot relay",
    "551 User not local; we refuse to relay",
    "550 not a local domain",
    "550 Delivery is not allowed to this address.",
    "550 40.74.40.57 may not relay",
    "550 mail to that domain is not accepted here, use your own server",
    "553 we only accept mail for local domains",
    "550 not accepting mail for test.net",
    "550 No open relay here",
    // Of domains, without a word for relaying.
    "553 we don't take mail for that domain",
    "554 5.7.1 mail for test.net not accepted here; not a local recipient domain",
    "550 We only handle mail for hosted domains",
    "550 we handle mail only for our own domains",
    "550 We do not take mail for those domains",
    "551 not our customer",
    "550 Forwarding to test.net is disabled",
    "550 5.7.1 Forwarding to outside is not allowed",
    "550 5.7.1 external delivery prohibited",
    "550 5.7.1 delivery to external domains is forbidden",
    "550 5.7.1 No outbound for you",
    "550 No outgoing mail from here",
    "550 5.7.1 this host only handles mail for its own customers' domains",
    "550 5.7.1 No mail for that domain here",
    "550 forwarding to other hosts is prohibited",
    "550 outbound delivery denied",
    "550 5.7.1 external relaying not permitted",
];

#[test]
fn a_refusal_of_our_address_or_of_relaying_puts_the_route_in_doubt_and_bounces_nobody() {
    let before_content = [Mail, Rcpt, Data];
    assert_eq!(wrong(&before_content, BARRED, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&before_content, NO_RELAY, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&[Rcpt], BARRED, &["dR?"], &context(true)), [], "to a colleague, too");
    for text in BARRED.iter().chain(NO_RELAY) {
        let advice = classify(Rcpt, &reply(text), &context(false)).0.advice;
        assert!(advice.is_some_and(|advice| advice.contains("40.74.40.57")), "{text}");
    }
    // At the final dot the address may stand for something in the content.
    let named: Vec<&str> = BARRED.iter().copied().filter(|text| text.contains("40.74.40.57")).collect();
    assert_eq!(wrong(&[End], &named, &["fm-"], &context(false)), []);
    let advice = classify(Mail, &reply("550 you are not allowed to connect"), &context(false)).0.advice.unwrap();
    assert!(advice.contains("allow list"), "{advice}");
    // The code is one for the recipient's address.
    let of_recipient = ["550 5.1.1 no such user (40.74.40.57)", "552 5.2.2 mailbox full (client 40.74.40.57)"];
    assert_eq!(wrong(&[Rcpt], &of_recipient, &["fr-"], &context(false)), []);
    let of_others = [
        "550 5.7.1 140.74.40.57 is listed",
        "550 40.74.40.570",
        "550 40.74.40.5",
        "550 version 40.74.40.57.1",
        "550 0.0.0.0/0 and ::/0",
    ];
    assert_eq!(wrong(&[Rcpt], &of_others, &["fr-"], &context(false)), [], "another address");
}

#[test]
fn an_ipv6_address_is_known_in_all_its_forms() {
    let egress = "2001:db8::25".parse().unwrap();
    let context = Context { egress, ..context(false) };
    let named = [
        "550 5.7.1 [2001:db8::25] go away",
        "550 5.7.1 [IPv6:2001:DB8:0:0:0:0:0:25] go away",
        "550 5.7.1 2001:0db8:0000:0000:0000:0000:0000:0025 go away",
        "550 5.7.1 client=[2001:db8::25]:51234 go away",
        "550 5.7.1 2001:db8::/64 is listed",
    ];
    assert_eq!(wrong(&[Mail, Rcpt, Data], &named, &["dR?"], &context), []);
    let others = ["550 5.7.1 [2001:db8::26] go away", "550 5.7.1 at 12:00:25 go away", "550 5.7.1 ::/0 go away"];
    assert_eq!(wrong(&[Rcpt], &others, &["fr-"], &context), []);
}

#[test]
fn a_refusal_for_the_number_of_recipients_is_known_by_its_code_or_its_words() {
    for text in [
        // Postfix and Zimbra, Exim, sendmail, qmail, Exchange, Google, Mailjet, hMailServer, MDaemon, Kerio, SmarterMail …
        "452 4.5.3 Error: too many recipients",
        "452 too many recipients",
        "552 too many recipients",
        "554 Too many recipients",
        "452 4.5.3 Too many recipients",
        "553 sorry, too many recipients (#5.7.1)",
        "452 4.5.3 Recipients belong to multiple regions ATTR38",
        "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients",
        "452-4.5.3 Your message has too many recipients. For more information regarding\r\n452 4.5.3 sending limits",
        "550 Too many recipients",
        "550 5.5.3 no more",
        "552 Recipient limit exceeded",
        "550 The message exceeds the maximum number of recipients",
        "550 Maximum number of recipients reached",
        "552 5.3.1 max recipients per message is 100",
        "550 only 50 recipients are allowed in one message",
        "554 Transaction failed: Recipient count exceeds 50.",
        "550 5.7.1 No more recipients, please",
        "451 4.7.1 recipient limit reached",
        "501 Too many RCPTs",
        "552 too many destinations in one mail: limit is 20",
        "550 5.7.1 Number of recipients exceeds the limit of 30",
        "550 too many RCPT TO commands",
        "550 Recipient list too long",
        "554 up to 20 recipients, please",
        "552 Recipients limit reached",
        "452 4.3.0 Too many envelope recipients",
        "550 Exceeded max recipients allowed",
        // Other nouns, and two numbers.
        "550 Too many addresses",
        "554 5.5.0 Too many destination addresses",
        "550 Too many e-mail addresses",
        "550 5.7.1 This message has too many receipients",
        "554 Max 3 receipients",
        "550 5.7.1 You may only send to 3 people at once",
        "550 Message is addressed to too many people",
        "550 You cannot mail so many people at once",
        "554 Max 3 people per message",
        "550 No more than 10 people per message",
        "550 Mail may be addressed to at most 5 persons",
        "550 5.7.1 You cannot send to so many recipients",
        "550 5.7.1 Rejected: 8 recipients, allowed 3",
        "550 5.7.1 Envelope recipients: 8 > 3",
        "550 recipients 12, limit 10",
        "554 12 recipients exceeds 10",
        "550 Cannot send to so many addresses",
        "552 5.7.1 recipients: 12, max 10",
        "550 5.5.3 Message has 8 recipients; limit 3",
        "554 Only 5 people per message",
        "550 More than 5 persons in one mail",
        // With a code for one recipient.
        "550 5.1.1 too many recipients",
        "550 5.1.3 Too many recipients in one transaction",
        "552 5.2.2 Too many recipients",
        "552 5.2.3 Recipients exceeded",
        "552 5.2.2 maximum number of recipients exceeded",
        "550 5.2.1 Number of recipients exceeds limit",
    ] {
        assert!(is_about_number_of_recipients(&reply(text)), "{text}");
    }
    for text in [
        "250 2.1.5 recipient 3 of at most 10",
        "421 4.5.3 too many recipients",
        "550 5.1.1 unknown recipient",
        "552 5.2.2 recipient over limit",
        "550 5.2.0 Message size exceeds recipient limit",
        "450 4.2.1 recipient mailbox rate limit exceeded",
        "451 The recipient has exceeded message rate limit",
        "450 4.7.1 Error: too many recipients from 40.74.40.57",
        "550 5.7.1 too many recipients per day",
        "550 recipient quota exceeded",
        "550 Recipient rejected",
        "554 5.7.1 rejected by the recipient's policy; reference number 123456",
        "550 only local users are known, and no recipient abroad",
        "452 4.3.1 Insufficient system storage",
        "550 8 recipients rejected, 3 accepted",
        "550 5.1.1 3 recipients unknown",
        "550 people cannot receive more than 10 MB",
        "550 8 recipients: 3 unknown",
        "452 4.2.2 recipients mailbox full",
        "550 recipients: 550 5.1.1 unknown",
        "550 this list is limited to people of the company",
        "550 only 3 people may write here",
        "550 5.1.1 recipient over limit",
        "552 5.2.2 Too many messages in the recipient's mailbox",
        "550 5.1.1 too many invalid addresses",
        "550 the recipients' server is down",
        "550 5.1.1 permanent failure for one or more recipients",
        "550 5.2.2 recipients mailbox exceeds quota",
    ] {
        assert!(!is_about_number_of_recipients(&reply(text)), "{text}");
    }
}
