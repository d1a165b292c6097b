//! Replies of real servers, gathered from public issue threads, providers' help pages and the lists of other programs, one table for
//! each meaning. [`wordings`](super::wordings) has the examples for which the rules were written; these were tried on
//! the rules afterwards. At the end of each table are invented wordings that some server might send.

use super::classify::Phase::*;
use super::classify::tests::context;
use super::wordings::{miscounted, wrong};
use super::wordings_of_one::{OF_MESSAGE, OF_RECIPIENT, OF_SENDER};

/// Replies with 5xx that say that an account's allowance is used up, or that mail comes too fast.
const ALLOWANCES: &[&str] = &[
    // Alibaba's DirectMail.
    "550 send spam mail rejected: exceeded hour limit",
    "554 send spam mail rejected: exceeded day limit",
    // GoDaddy.
    "550 User webcrm@test.dk has exceeded its 24-hour sending limit. Messages to 25 recipients out of 25 allowed have been sent. Relay quota will reset in 0.5 hours.",
    "552 5.7.0 Message would take you over your relay quota of 500. Current quota used: 487",
    // policyd, postfwd and other policy services of Postfix.
    "554 5.7.1 <DATA>: Data command rejected: only 10 messages per day",
    "554 5.7.1 <DATA>: Data command rejected: limit of 400 rcpts per 24 hours for client webcrm@test.dk reached",
    "554 5.7.1 <x@test.net>: Recipient address rejected: only 5 recipients per 5 minutes allowed",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Number messages per hour exceeded",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Number recipients per hour exceeded",
    "554 5.7.1 <x@test.net>: Recipient address rejected: You have exceeded your Outmail quota.",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Policy Rejection- Quota Exceeded.",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Your quota of mails is exhausted until tomorrow",
    "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: message count quota exceeded",
    // Titan and Neo.
    "550 5.4.6 <x@test.net>: Recipient address rejected: Sender Hourly Quota Exceeded",
    "550 5.4.6 <x@test.net>: Recipient address rejected: Sender Daily Quota Exceeded",
    "550 5.4.6 <x@test.net>: Recipient address rejected: Sender Domain Daily Limit Exceeded",
    "550 5.4.6 <x@test.net>: Recipient address rejected: Sender Domain Hourly Bounce Limit Exceeded",
    // OVH, StartMail, Plesk, mailcow, DirectAdmin, Hostinger.
    "550 5.7.1 sorry, too many emails (#5.7.1)",
    "550 5.7.1 Your mail limit has been reached.",
    "554 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing messages was exceeded. Try again later.",
    "550 5.7.1 Ratelimit \"webcrm\" exceeded",
    "550 You (webcrm) have reached your message limit.",
    "554 5.7.1 <end-of-message>: hostinger_out_ratelimit",
    // QQ.
    "550 Connection frequency limited",
    "550 Ip frequency limited",
    "550 Domain frequency limited",
    // SendGrid, SparkPost, Mailtrap, Brevo, Purelymail.
    "550 5.7.1 You've exceeded your messaging limits",
    "550 5.7.1 Exceed Sending Limit (daily)",
    "550 5.7.0 Requested action not taken: too many emails per second",
    "550 5.7.0 The email limit is reached. Please upgrade your plan",
    "552 5.7.1 Not enough credits on your account",
    "550 5.7.1 Please wait to send more emails, or contact support for a rate limit increase.",
    // Exim.
    "550 Sender rate 120.5 / 1h exceeds limit 100",
    "550 Sender rate exceeds 100 messages per 1h",
    "550 Rate limit: you may not send more than 200 messages per hour",
    // Others.
    "550 5.7.1 You've reached your sending limit. Don't worry, you can send again soon.",
    "550 5.7.1 You are only allowed to send 250 emails every 20 minutes",
    "554 5.7.1 Your daily email allowance has run out",
    "550 5.7.1 Sender blocked for one hour: more than 100 messages sent",
    "550 Cannot send: account has hit the cap of 500 messages",
    "550 Mail volume for user webcrm over the permitted level",
    "554 5.7.1 User webcrm has too many messages queued",
    "550 quota for outgoing mail is used up",
    "550 5.7.1 outbound message quota reached for domain",
    "550 5.7.1 No more messages can be sent from this account today",
    "550 5.7.1 throughput exceeded",
    "550 5.7.1 burst limit exceeded, slow down",
    "554 5.7.1 more than 300 mails an hour are not allowed",
    "550 Too many spams from your IP",
    // In other languages.
    "550 5.7.1 Du har sendt for mange mails, prøv igen senere",
    "550 Grænsen for udgående mails er overskredet",
    "554 5.7.1 Zu viele E-Mails in der letzten Stunde versendet",
    "550 Versandlimit überschritten",
    "554 5.7.1 Limite d'envoi dépassée",
    "550 trop de messages envoyes, veuillez reessayer plus tard",
    "550 5.7.1 Te veel berichten verzonden",
    "550 5.7.1 För många meddelanden skickade",
    "550 Has superado el limite de envio de correos",
    "550 limite di invio giornaliero superato",
    // Made up.
    "550 5.7.1 Account limit: 300 mails/day",
    "554 5.7.1 Quota for sending exceeded",
    "550 5.7.0 Sending rate too high for your plan",
    "550 Account temporarily over its hourly send allowance",
    "550 5.7.1 Limit reached. Upgrade to send more emails",
    "550 Your package allows 100 emails per hour",
    "554 5.7.1 You have already sent 200 messages today",
    "550 Outbound quota breached",
    "550 user's mail sending is limited to 50/hr",
    "550 email sending quota depleted",
    "550 5.7.1 Blocked: bulk mailing limit hit",
    "550 exceeded messages/hour",
    "552 5.2.0 sending quota used up for today",
    "550 Wait before sending more mail",
    "550 5.4.5 your sending limits have been exceeded",
    "550 Du har overskredet det maksimale antal mails pr. time",
    "554 too many outbound mails in queue for user",
    "550 recipients/day limit",
    "550 message rejected due to rate limiting",
    "550 Sender exceeded 500 rcpts in last 24hrs",
    "550 5.7.1 monthly email quota is gone",
    "550 You reached your hourly cap",
    "554 rejected: exceeded number of allowed recipients per hour",
];

/// Replies that block an account as a whole.
const BLOCKED: &[&str] = &[
    "550 Domain test.dk has an outgoing mail suspension. Message discarded.",
    "554 Message rejected: Sending paused for this account.",
    "550 5.7.1 webcrm@test.dk has been blocked from sending",
    "550 5.7.1 Sending is disabled for this account",
    "550 Outgoing mail from your account is temporarily locked",
    "550 5.7.1 Your account is not allowed to send mail until it is verified",
    "554 5.7.1 Outgoing mail has been disabled for this domain because of spam",
];

/// Replies that refuse our address, our name or our right to connect.
const BARRED: &[&str] = &[
    // Block lists, names and addresses.
    "550 5.7.0 Your server IP address is in the SpamHaus SBL-XBL database, bye",
    "550 Rejected due to DNSBL server response (dnsbl.test)",
    "554 mx.test resimta found on one or more DNSBLs",
    "554 Denied [SHXBL] - Denied by Spamhaus XBL",
    "550 Email blocked by SPAMHAUS",
    "550 Listed in zen.spamhaus.org.",
    "550 5.7.1 Blacklisted by zen.spamhaus.org. To avoid this problem please visit http://x.test",
    "554 5.7.1 IP blocked see: https://x.test",
    "554 5.7.1 SORBS DNSBL Entry - see http://x.test",
    "550 csi.test Poor Reputation Sender.",
    "550 #5.7.1 Your access to submit messages to this e-mail system has been rejected.",
    "550 5.7.1 Unfortunately, messages from you weren't sent since part of your network is on our block list (S3150)",
    "550 40.74.40.57 blacklisted see http://x.test",
    "554 IP=40.74.40.57 - A problem occurred. (Ask your postmaster for help.)",
    "591 x@test.net your host [40.74.40.57] is blacklisted by dnsbl.test",
    "550 All mail servers must have a PTR record with a valid Reverse DNS entry",
    "550 Access denied. IP name lookup failed",
    "550 Fix reverse DNS for 40.74.40.57",
    "550 cannot resolve your address",
    "550 Bad sender IP address",
    "550 Sender IP reverse lookup rejected",
    "550 Dynamic/zombied/spam IPs blocked",
    "550 IP/domain reputation problems",
    "550 INVALID IP FOR SENDING MAIL OF DOMAIN",
    "550 Rejecting open proxy",
    "550 we do not accept mail from hosts with dynamic ip or generic dns ptr-records",
    "550 Server access forbidden by your IP",
    "550 no access from mail server",
    "550 unresolvable relay host name",
    "550 This system will not accept messages from servers/devices with no reverse DNS",
    "550 sorry, your remotehost looks suspiciously like spammer",
    "554 5.7.1 You are not allowed to connect",
    "550 5.7.51 TenantInboundAttribution; There is a partner connector configured that matched the message's recipient domain. The connector had either the RestrictDomainsToIPAddresses or RestrictDomainsToCertificate set",
    "554 5.7.1 Client host rejected: LPN007_510 Service refuse / service refused",
    "553 5.7.1 not accepted: your host is not in the list of trusted hosts",
    "550 access denied for this host",
    "550 5.7.1 Rejected: host not on whitelist",
    "550 5.7.1 Access denied: you are not on the list of permitted senders' IPs",
    "554 5.7.1 Connecting host is listed by the lookup site",
    "550 5.7.1 HELO/EHLO argument is not a valid name",
    "550 5.7.1 Your mail server's name does not match its address",
    "550 connection from unknown network",
    "521 5.7.1 this server accepts no mail from outside",
    "550 5.7.1 firewall: sender's host refused",
    "550 Your country is not allowed to connect to this server",
    "554 5.7.1 rejected based on geographical location",
    // Made up.
    "550 5.7.1 Your IP has been blocklisted; contact us",
    "554 We do not accept mail from your network",
    "550 ACL: unknown client",
    "550 Rejected: generic reverse DNS",
    "550 mail server not authorised",
    "550 Sender IP must resolve",
    "550 server not whitelisted",
    "550 connection from dynamic range refused",
    "553 You are on our blocklist",
    "550 unauthorized host",
    "554 your mail host is not welcome",
    "550 no mail from this IP range",
    "550 5.7.1 Service refused to your host",
    "550 client address is not in mynetworks",
    "554 5.7.1 Access from your location is blocked",
];

/// Replies that refuse to relay.
const NO_RELAY: &[&str] = &[
    "550 not local host test.net, not a gateway",
    "554 5.7.1 we are not an open relay, so get lost",
    "550 This system is not configured to relay mail from your system",
    "551 This is not a relay host",
    "550 Insecure Mail Relay",
    "550 you are not allowed to relay through this machine",
    "550 5.7.1 Unable to relay for x@test.net",
    "554 Relay rejected for policy reasons.",
    "550 5.7.0 Mail relay denied [40.74.40.57]. Visit http://x.test",
    "550 Sender not allowed to relay",
    "550 Relaying via this server is for customers only",
    "550 relaying mail to test.net is not allowed",
    "553 5.7.1 <x@test.net>... we do not relay",
    "554 5.7.1 This host is not configured as a smarthost for you",
    "550 5.7.1 forwarding to remote hosts disabled",
    "553 sorry, you don't authenticate or the domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "550 5.7.1 external recipients are not permitted from this address",
    "550 we only deliver to our own domains",
    "553 domain test.net is not handled by this server",
    // Made up.
    "550 Domain not hosted here",
    "550 no relay",
    "550 we don't handle mail for test.net",
    "551 not our user; relaying denied",
    "550 that domain is not served here",
    "550 destination domain not allowed",
    "550 You can only send to local users",
    "550 5.7.1 External relay prohibited",
    "550 forwarding denied",
    "553 this server only accepts mail for its own domains",
];

/// Replies that ask for a login which the server did not get.
const WANTS_LOGIN: &[&str] = &[
    "503 This mail server requires authentication when attempting to send to a non-local e-mail address. Please check your mail client settings.",
    "550 You must have authentication turned on in your email client",
    "550 Unauthenticated senders not allowed",
    "550 5.7.1 Client was not authenticated",
    "505 5.7.1 Client was not authenticated",
    "550 You are not authorized to send mail, authentication is required",
    "550 Authentification requise [402]",
    "550 5.7.1 SMTP AUTH is required for message submission",
    "554 5.7.1 Please log in first",
    "550 5.7.1 login required",
    "553 authentification is required (#5.7.1)",
    "554 5.7.0 You need to authenticate first",
    "550 Please authenticate to use this mail server",
    "553 sorry, you must check your mail (POP before SMTP) before you can send",
    "550 Authentifizierung erforderlich",
    // cPanel. It names our address, too.
    "550-Please turn on SMTP Authentication in your mail client, or login to the IMAP/POP3 server before sending your message.\r\n550 out.webcrm.com [40.74.40.57]:51234 is not permitted to relay through this server without authentication.",
    // Made up.
    "550 you must login to send",
    "550 user not logged in",
    "550 Access denied: not authenticated",
    "550 smtp authentication not performed",
    "553 no valid session, authenticate",
    "550 5.7.1 Anonymous sending disabled",
    "550 You need to log in before sending",
    "554 Authenticate first",
    "550 5.7.0 Auth required",
];

/// Replies about the number of recipients.
const TOO_MANY_RECIPIENTS: &[&str] = &[
    "552 5.5.3 Maximum limit of 5 recipients reached",
    "552 Maximum limit of 5 recipients reached",
    "550 Too many recipients, please reduce to less than 50 or consider using a mailing list",
    "550 Too many recipients specified",
    "452 4.5.3 Requested action not taken: max recipients reached",
    "521 too many recipients for single message",
    "550 You can't send to more than 100 recipients at once",
    "550 Recipients per message exceeded limit",
    "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.",
    "550 Message has more than 20 recipients",
    "550 zu viele Empfänger",
    "550 For mange modtagere",
    "550 trop de destinataires",
    "550 te veel ontvangers",
    "552 Recipient overflow",
    "550 mail to one recipient at a time, please",
    "550 5.7.1 please send to fewer recipients",
    "554 5.5.0 recipient table full",
    "452 4.5.3 Try later: one recipient per transaction",
    "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
    "553 one recipient only",
    "550 recipient quantity is over the limit",
];

#[test]
fn an_allowance_and_a_blocked_account_wait_with_an_alert() {
    let phases = [Mail, Rcpt, Data, End];
    assert_eq!(wrong(&phases, ALLOWANCES, &["dRb"], &context(false)), []);
    assert_eq!(wrong(&phases, BLOCKED, &["dRb"], &context(false)), []);
}

#[test]
fn a_refusal_of_our_address_of_relaying_and_without_a_login_bounces_nobody() {
    let before_content = [Mail, Rcpt, Data];
    assert_eq!(wrong(&before_content, BARRED, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&before_content, NO_RELAY, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&[Mail, Data], WANTS_LOGIN, &["dR!"], &context(false)), []);
    assert_eq!(wrong(&[Rcpt], WANTS_LOGIN, &["dR?"], &context(false)), []);
}

#[test]
fn the_number_of_recipients_is_told_from_everything_else() {
    let others = [ALLOWANCES, BLOCKED, BARRED, NO_RELAY, WANTS_LOGIN, OF_RECIPIENT, OF_SENDER, OF_MESSAGE].concat();
    assert_eq!(miscounted(TOO_MANY_RECIPIENTS, &others), [""; 0]);
}
