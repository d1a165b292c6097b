//! Replies in words that nobody has published: the same things said once more, shorter, at greater length, and in other languages. They were
//! written down after the rules had learned those of [`wordings_public`](super::wordings_public), to see what the rules miss.

use super::classify::Phase::*;
use super::classify::tests::context;
use super::wordings::{miscounted, wrong};

/// The account has sent too much, or is blocked.
const ALLOWANCES: &[&str] = &[
    "550 Your organization is over its mail quota",
    "554 5.7.1 Domain quota for email exceeded this month",
    "550 Customer test.dk exceeded e-mail quota",
    "550 5.7.1 Sending limit for info@test.dk is 100 per hour",
    "554 5.7.1 You are sending too much. Wait an hour.",
    "550 The number of outgoing emails from your mailbox exceeds our limit of 300 per 24 hours",
    "550 5.7.1 Your hosting plan allows 250 emails per hour. Upgrade to send more.",
    "550 Your mailbox has been limited to 20 recipients per hour because of suspicious activity",
    "550-Your account exceeded its relays quota\r\n550 of 250/day",
    "554 Requested action aborted: mail limit for sender reached, try tomorrow",
    "550 5.7.1 SMTP-Versandlimit erreicht (500/Tag)",
    "550 Sie haben die maximale Anzahl von E-Mails pro Stunde erreicht",
    "550 5.7.1 Ihr Account hat das Limit von 100 Mails/Stunde überschritten",
    "550 Du har overskredet grænsen for udgående mails",
    "550 Grænsen på 500 mails pr. time er overskredet for dette domæne",
    "550 Antal mails pr. døgn overskredet",
    "550 Nombre maximal de messages sortants atteint pour ce compte",
    "550 Limite de 200 mails par heure dépassée",
    "550 5.7.1 Hai superato il numero massimo di email giornaliere",
    "550 Ha excedido el número máximo de mensajes por hora",
    "550 5.7.1 Throttled due to sending rate",
    "550 5.7.0 The sending rate of your account is too high",
    "552 Your daily relay quota is used up",
    "550 5.7.1 Limit of 50 outgoing mails reached",
    "554 Max emails per hour reached for auth user info@test.dk",
    "550 authenticated user info@test.dk has sent 1001 messages today (limit 1000)",
    "550 5.7.1 Your IP has exceeded the hourly connection limit",
    "550 Exceeded allowable number of posts without solving a captcha",
    "550 This account is blocked for sending spam. Change your password.",
    "550 5.7.1 Outgoing SMTP for this account is blocked",
    "550 The account info@test.dk was disabled because it is compromised and sends spam",
    "550 Sender account is temporarily blocked for spamming",
    "554 Konto gesperrt wegen Spamversand",
    "550 Your account has been restricted from sending",
    "550 5.7.1 user is locked for sending mail; contact helpdesk",
    "550 Mailbox info@test.dk is suspended: sent spam",
    "550 We saw a large amount of spam from your account",
    "550 5.7.1 The mailbox owner info@test.dk has sent more mail than the plan permits",
    "554 Hourly ceiling reached for outbound traffic",
    "550 Mail flow for your domain paused: too many sends",
    "550 You've hit your send cap",
    "550 quota for sending is 0",
    "554 5.7.1 SASL user over sending policy limit",
    "550 Kontoens daglige mailkvote er brugt",
    "550 Ihr tägliches Kontingent ist aufgebraucht",
    "550 El dominio ha superado el límite de correos enviados",
    "550 sends exceeded for smtp user",
    "550 account throttled, retry next hour",
    "550 Free plan: 100 emails/day exceeded",
    "550 5.7.1 sender is suspended from sending mail until tomorrow",
    "550 Account frozen: outgoing spam",
    "554 Your SMTP credentials were revoked for spamming; account disabled",
];

/// Our address or our right to connect.
const BARRED: &[&str] = &[
    "550 Reject: your IP has no PTR",
    "554 5.7.1 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
    "550 5.7.1 Mail from 40.74.40.57 rejected, see http://bl.example",
    "550 Your reverse DNS entry is generic",
    "550 missing reverse DNS for your host",
    "554 5.7.1 The server sending your mail is blocked",
    "550 You are not allowed to connect from this address",
    "550 5.7.1 Access denied (host based)",
    "554 Policy: IP is not trusted",
    "550 Your network range is banned here",
    "550 5.7.0 Client does not meet policy: HELO is not FQDN",
    "550 Send through your own provider's mail server",
    "550 Use your ISP's relay",
    "550 direct-to-MX from dynamic space refused",
    "554 5.7.1 connection from blacklisted host",
    "550 Din IP-adresse er afvist",
    "550 Ihre IP-Adresse hat keinen PTR-Eintrag",
    "554 Ihr Server hat eine schlechte Reputation",
    "550 Serveur émetteur non autorisé",
    "550 your server is listed at dnsbl.example",
    "550 we refuse mail from Azure",
    "550 no PTR for 40.74.40.57",
    "554 5.7.1 blocked: bad network neighbourhood of your IP",
    "550 IP rejected by reputation filter",
    "550 we only talk to known hosts",
    "550 Your host is not authorised to use this service",
    "550 connection not accepted: unknown sender IP",
    "554 5.7.1 Deres IP-adresse er sortlistet",
    "550 Rejected: host name lookup failure",
    "550 EHLO name must resolve to your IP",
];

/// The server does not relay for us.
const NO_RELAY: &[&str] = &[
    "550 5.7.1 You may not relay through this server",
    "550 Cannot relay to test.net",
    "554 relay service not available to you",
    "550 this server is for local recipients only",
    "550 We deliver to local domains only",
    "553 test.net is not hosted here",
    "550 Destination domain test.net is not local",
    "550 Udgående mail til andre domæner er ikke tilladt",
    "550 Nicht berechtigt, an externe Domains zu senden",
    "550 relaying to external hosts is forbidden",
    "554 5.7.1 no relaying",
    "550 We are not a relay for test.net",
    "550 Mail to test.net not accepted by this server: not our domain",
    "550 you must be authorised to relay",
];

/// The transaction has too many recipients.
const TOO_MANY: &[&str] = &[
    "552 Quota of recipients per message is 10",
    "550 message addressed to too many users",
    "452 4.5.3 too many users in one message",
    "550 Only 20 recipients allowed per mail",
    "550 The message has more than 100 recipients",
    "452 recipients: limit 25",
    "550 5.5.3 Recipient count 31 is above 30",
    "452 4.5.3 Split this message",
    "550 Empfänger pro Nachricht: maximal 50",
    "552 Antal modtagere i mailen er over grænsen",
    "550 A maximum of 15 addressees is permitted",
    "451 try this recipient later in its own message",
    "552 5.5.3 recipients maximum exceeded",
    "550 number of RCPT commands exceeds the maximum of 20",
    "452 limit of 5 recipients per transaction",
    "554 Cannot deliver to more than 50 addresses at once",
    "550 reduce the number of recipients",
    "452 Recipient table overflow",
    "552 too many destinations",
    "550 For mange modtagere (max 20)",
];

/// The recipient, or its mailbox.
const OF_RECIPIENT: &[&str] = &[
    "550 user over email quota",
    "550 5.2.2 domain of recipient over storage quota",
    "550 mailbox quota of messages exceeded",
    "550 The user has too many messages in his mailbox",
    "550 The recipient's account is suspended for spamming",
    "550 account closed",
    "550 No account x on this host",
    "550 This user is not allowed to receive mail",
    "550 address is no longer active",
    "550 x@test.net is not a valid user",
    "554 5.7.1 recipient refuses newsletters",
    "550 group is restricted to members",
    "550 sender not on the recipient's safe list",
    "550 5.7.1 Your message to x@test.net was blocked by the user",
    "550 the domain may not exist",
    "550 relay recipient x unknown",
    "550 Empfänger nimmt keine Mails an",
    "550 Modtageren accepterer ikke mail",
    "550 boîte inexistante",
    "550 invalid mailbox (host test.net)",
    "552 user's disk quota",
    "550 mailbox of x is over limit",
    "552 user x has no space left",
    "550 x has been suspended by the administrator",
    "550 this address does not accept messages from outside",
    "550 no user named x at this host",
    "550 x's inbox has reached its quota of messages",
    "550 employee has left",
    "550 blocked by the recipient's spam settings",
    "550 mailing list x: posting denied",
    "550 cannot find user x on server",
    "550 alias loop for x",
];

/// Replies that refuse the message for what it says.
const OF_MESSAGE: &[&str] = &[
    "550 This looks like spam. Slow down your sending.",
    "554 Mail marked as spam; reduce your mail limit",
    "550 your message contains spam; too many of these and you will be blocked",
    "550 5.7.1 message classified as junk by our filter (score 12, limit 10)",
    "552 message size limit exceeded",
    "550 message has too many links",
    "550 attachment limit is 25 MB",
    "554 virus found; your account is not blocked",
    "550 rejected: phishing",
    "550 5.6.0 malformed header",
    "550 5.7.1 Content rejected: sending host in body is on a blacklist",
    "550 Message-ID missing",
    "550 too many capital letters in Subject",
    "554 5.6.1 8BITMIME not supported",
    "550 We do not accept mail with a From header of our own domain",
    "550 spam score 9.1 exceeds limit 5",
    "554 your message was identified as spam",
    "550 Message refused: sending domain's DKIM missing",
    "550 message too long",
    "550 too many URLs in message",
    "550 macro in attachment",
    "554 duplicate message",
    "550 5.7.1 your newsletter has no unsubscribe header",
    "550 HTML mail is not accepted",
];

#[test]
fn what_is_about_us_waits_and_what_is_about_one_recipient_or_message_bounces() {
    let context = context(false);
    let found = [
        wrong(&[Mail, Rcpt, Data, End], ALLOWANCES, &["dRb"], &context),
        wrong(&[Mail, Rcpt, Data], BARRED, &["dR?"], &context),
        wrong(&[Rcpt], NO_RELAY, &["dR?"], &context),
        wrong(&[Rcpt], OF_RECIPIENT, &["fr-"], &context),
        wrong(&[End], OF_MESSAGE, &["fm-"], &context),
    ];
    assert_eq!(found.concat(), []);
}

#[test]
fn too_many_recipients_are_told_from_everything_else() {
    let others = [ALLOWANCES, BARRED, NO_RELAY, OF_RECIPIENT, OF_MESSAGE].concat();
    assert_eq!(miscounted(TOO_MANY, &others), [""; 0]);
}
