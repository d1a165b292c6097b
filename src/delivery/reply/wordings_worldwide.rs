//! Replies of known products and providers, and the same in six languages, written down by a judge before the rules saw them: at each
//! command, with permanent and transient codes, and with the account that is meant.

use super::classify::tests::context;
use super::classify::{Context, Phase::*, TakenRecipients};
use super::wordings::{miscounted, wrong};
use crate::route::{Login, LoginSecret};
use crate::smtp::Mailbox;

/// The account has sent too much, or too fast, with a permanent code.
const ALLOWANCES: &[&str] = &[
    "550 limit=100/h user=webcrm@test.dk",
    "550 5.7.1 limit=100/hour used=100 user=webcrm",
    "552 5.2.2 Sender mailbox daily sending limit exceeded",
    "550 5.7.1 Outgoing message limit for mailbox crm@test.dk has been reached (Plesk)",
    "554 5.7.1 Domain test.dk has exceeded the outgoing mail limit of 300 messages per hour",
    "550 5.7.1 The outbound mail quota of subscription test.dk is used up for this hour",
    "550 5.7.0 Throttle: more than 60 mails/min from authenticated user crm",
    "554 5.7.1 [P4] Message blocked: sending limit of 250 recipients per day reached",
    "550 5.4.5 You have reached a limit for sending mail. For more information, visit support.google.com",
    "550 5.7.1 Mimecast: outbound submission rate exceeded for account C12A34",
    "550 Rate Limited. Sender crm@test.dk exceeded 100 outbound recipients in 30 minutes (Mimecast)",
    "554 5.7.0 Outbound throttle exceeded: 500 messages per 60 minutes (PPE)",
    "550 Sender crm@test.dk has sent 1000 of 1000 messages allowed in 24 hours",
    "550 5.7.1 Max sends for today (2000) reached for login crm",
    "552 5.7.1 MDaemon: account has exceeded its daily message quota",
    "550 Account has exceeded the number of messages allowed per hour (MDaemon)",
    "550 Kerio Connect: maximum number of messages per hour from your IP has been reached",
    "554 5.7.1 zimbra: cbpolicyd: Quota exceeded, sender:crm@test.dk, 200 messages / 3600 seconds",
    "554 5.7.1 <crm@test.dk>: Sender address rejected: Policy rejection; Message count quota exceeded",
    "550 Mailjet: your daily sending capacity is reached, please contact support",
    "554 5.7.1 Mailjet - you have consumed all emails of your plan for this month",
    "550 5.7.1 Du har nået det maksimale antal mails, du må sende i dag",
    "550 5.7.1 Du har sendt 500 mails i dag, som er det højeste tilladte",
    "554 5.7.1 Kontoen crm@test.dk har overskredet antallet af mails pr. døgn (one.com)",
    "550 Simply.com: max 150 mails/time overskredet for crm@test.dk",
    "554 5.7.1 Grænsen på 1000 udgående mails pr. dag er overskredet",
    "550 Din daglige grænse for udsendelse er brugt op",
    "550 5.7.1 Ihr Tageslimit für den Versand von E-Mails ist ausgeschöpft",
    "554 Sie haben die maximale Anzahl an E-Mails pro Stunde überschritten",
    "550 5.7.0 Versandlimit erreicht: 500 E-Mails in 24 Stunden",
    "550 Zu viele Nachrichten in kurzer Zeit gesendet",
    "550 Maximale Anzahl ausgehender Mails für diesen Tag erreicht",
    "550 5.7.1 Du har skickat för många meddelanden, vänta en timme",
    "550 Dagsgränsen för utgående e-post är nådd",
    "554 5.7.1 Kontot har överskridit maximalt antal utskick per timme",
    "550 5.7.1 Grensen for antall utgående e-poster per time er nådd",
    "550 Du har nådd daglig sendegrense",
    "554 5.7.1 Limiet van uitgaande berichten per uur bereikt",
    "550 U heeft het maximum aantal e-mails per dag verzonden",
    "550 5.7.1 Verzendlimiet bereikt voor account crm@test.dk",
    "550 5.7.1 Quota d'envoi horaire dépassé pour crm@test.dk",
    "554 Nombre maximum d'e-mails envoyés par heure atteint",
    "550 5.7.1 Vous avez dépassé la limite de 200 messages par heure",
    "550 5.7.1 Ha superado el límite de correos enviados por hora",
    "554 Límite diario de envío alcanzado para esta cuenta",
    "550 Cuota de envío excedida, intente más tarde",
    "550 5.7.1 crm@test.dk: 501 mails in the past 24h, 500 allowed",
    "550 hourly_limit_exceeded",
    "554 5.7.1 SENDER_RATE_LIMIT_EXCEEDED",
    "550 5.7.1 ERR_OUTBOUND_QUOTA (crm@test.dk)",
    "550 SMTP quota exceeded. Current: 300. Max: 300. Period: 1h",
    "550 5.7.1 mails=301 max=300 window=3600s sender=crm@test.dk",
    "550 5.7.1 quota: 500/500 messages (day)",
    "554 Hourly cap hit. Try again at 14:00 UTC",
    "550 Your account is limited to 500 outgoing emails per day.",
    "550 5.7.1 This mailbox may send 200 mails an hour",
    "550 You are sending more mail than your plan permits",
    "550 5.7.1 Monthly allowance of 10000 messages consumed",
    "550 Upgrade your plan to send more emails this month",
    "550 5.7.1 Bulk sending quota of your hosting account exceeded",
    "554 5.7.1 You can only send 100 emails per hour from this server",
    "550 Sorry, but crm@test.dk has already sent 250 messages in the last 60 minutes, which is the maximum",
    "550 5.7.1 (RL-1) Slow down: you have been rate limited",
    "550 5.7.1 Outbound sending rate limit for tenant exceeded, retry in one hour",
    "550 5.7.1 Too much outgoing mail from crm@test.dk",
    "554 5.7.1 Sending limit reached - crm@test.dk - 300/300 - resets at midnight",
    "550 send quota 100% used",
    "554 Mailbox outgoing limit exceeded (hourly)",
    "550 5.2.0 Outbound messages for this user have exceeded the rate",
    "554 5.7.1 Kontoen crm@test.dk er blokeret for afsendelse",
    "550 5.7.1 rate=60/min exceeded",
    "550 SMTP-rate 200/day exceeded for domain test.dk",
    "554 outgoing: 101/100 per 1h",
    "550 5.7.1 max_mails_per_hour=100 reached",
    "550 5.7.1 Max 500 mails/dag overskredet",
    "550 5.7.1 max. 300 E-Mails/Stunde überschritten",
    "550 quota 500/d reached for sender",
    "550 [RATE] 1000/24h exceeded (webcrm)",
    "550-Domain test.dk has exceeded the max emails per hour (500/500 (100%)) allowed.\r\n550 Message will be reattempted later",
];

/// The same with a transient code: the route pauses, so that not each message asks anew.
const ALLOWANCES_FOR_NOW: &[&str] = &[
    "451 4.7.1 Domain test.dk has exceeded the max emails per hour (150/150 (100%)) allowed",
    "450 4.7.1 You have exceeded your hourly limit of 100 messages",
    "451 4.7.1 Your daily sending limit is reached",
    "450 4.7.1 <crm@test.dk>: Sender address rejected: hourly quota exceeded",
    "451 hourly message limit for crm@test.dk reached, try tomorrow",
    "450 4.7.1 Too many mails sent in the last hour",
    "452 4.7.1 Outgoing message limit reached, retry in an hour",
    "450 4.7.1 Grænsen på 100 mails i timen er nået",
    "451 4.7.1 Stundenlimit für ausgehende E-Mails erreicht",
    "450 4.7.0 The limit on the number of allowed outgoing messages was exceeded. Try again later.",
    "451 4.7.1 limit=100/h user=webcrm",
    "450 4.2.1 Daily SMTP relay limit exceeded for customer",
    "451 4.7.1 Vous avez atteint la limite d'envoi horaire",
    "421 4.7.0 You have reached your hourly sending limit",
    "452 4.3.1 You have sent too many messages today",
    "450 4.7.1 Policyd: message count quota exceeded, 200 per hour",
    "450 4.7.1 Max 100 mails pr. time",
    "451 4.7.1 Du har sendt for mange mails i dag",
    "450 4.7.1 Sie haben heute zu viele E-Mails gesendet",
    "451 4.7.1 U heeft uw daglimiet bereikt",
    "451 4.7.1 Ha alcanzado el límite diario de envío",
    "451 4.7.0 Sender quota exceeded: 200 messages per 1 hour",
    "450 4.2.0 Outgoing quota reached",
    "452 Requested action not taken: hourly limit of outgoing mail reached",
    "454 4.7.0 Account quota of outgoing mail used up",
];

/// The account may send nothing.
const BLOCKED: &[&str] = &[
    "550 5.7.1 The account webcrm is locked because of suspicious outgoing mail",
    "554 5.7.1 Your SMTP account is suspended",
    "550 5.1.8 Access denied, bad outbound sender AS(42003)",
    "550 Outgoing mail for this domain has been disabled by the administrator",
    "550 Domain test.dk is not allowed to send mail: outgoing mail hold (cPanel)",
    "550 User crm has an outgoing mail hold. Message discarded.",
    "550 5.7.1 Outgoing mail for crm@test.dk is frozen",
    "550 5.7.1 Din konto er spærret for udgående mail",
    "550 Ihr Postfach wurde für den Versand gesperrt",
    "550 5.7.1 Ditt konto är spärrat för utgående e-post",
    "550 5.7.1 Votre compte est bloqué en envoi",
    "550 Uw account is geblokkeerd voor het verzenden van e-mail",
    "550 Su cuenta está bloqueada para el envío de correo",
    "550 5.7.1 Mailjet: your account has been suspended. Contact support",
    "554 5.7.1 API key inactive or suspended",
    "550 5.7.1 Sender crm@test.dk has been restricted from sending: unpaid invoice",
    "550 5.7.1 Mail sending is disabled for user crm@test.dk",
    "550 Your account is temporarily prevented from sending mail",
    "550 5.7.1 Your mailbox has been put in quarantine and cannot send",
    "550 5.7.1 Outgoing email hold on domain test.dk",
    "554 5.7.1 Account crm has been put on hold: sending spam",
    "550 Konto gesperrt: Spamversand",
    "550 Utgående e-post er sperret for denne kontoen",
    "550 Cuenta suspendida: envío de spam",
    "550 Compte suspendu pour envoi de spam",
    "535 5.7.1 Your account is disabled",
    "550 5.7.1 Account crm@test.dk has been blocked for sending spam",
    "454 4.7.1 Your account is blocked from sending mail until tomorrow",
    "450 4.7.1 Outgoing mail of this account is suspended",
    "550 Your service is suspended, no mail will be sent",
];

/// An allowance or a block that is told at RCPT, with words or a code that a recipient may have, too.
const AT_RCPT: &[&str] = &[
    "552 5.2.2 Sender mailbox daily sending limit",
    "552 5.2.2 Your mailbox has reached its outgoing message limit",
    "550 5.2.2 Submission limit of the sender exceeded for today",
    "450 4.7.1 Error: too much mail from 40.74.40.57",
    "550 5.7.1 Too many recipients today, limit 500 recipients per day",
    "554 5.2.2 Sending quota exceeded",
    "552 5.2.2 Daily limit of outgoing messages reached",
    "552 5.2.2 Senders quota of sent messages exceeded",
    "421 4.7.0 Too many messages for one hour from 40.74.40.57",
];

/// The server does not relay for us.
const RELAYING: &[&str] = &[
    "550 5.7.1 Relaying denied. Proper authentication required.",
    "550 relay not permitted",
    "550-Verification failed for relay\r\n550 relay not permitted",
    "553 5.7.1 Attempt to relay through this server was denied",
    "550 5.7.1 This server only handles mail for its own users",
    "550 Delivery to remote addresses is restricted",
    "554 5.7.1 Vi videresender ikke mail til andre domæner",
    "550 Relaying nicht gestattet",
    "550 Weiterleitung an externe Domains nicht erlaubt",
    "550 5.7.1 Relä ej tillåtet",
    "554 5.7.1 Relais refusé",
    "550 5.7.1 Doorsturen naar externe domeinen is niet toegestaan",
    "550 No se permite el reenvío a dominios externos",
    "553 sorry, relaying denied from your location [40.74.40.57] (#5.7.1)",
    "550 5.7.1 test.net is not in my relay domains",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Relay not authorised",
    "550 5.7.1 We accept no mail for test.net here",
    "454 4.7.1 <x@test.net>: Relay access denied",
    "550-Host out.webcrm.com is not authorised to relay\r\n550 through this system",
    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
    "550 5.7.1 Authentifizierung erforderlich",
    "550 Please authenticate first",
    "550 5.7.1 This host only takes mail for its own domains",
    "550 We only handle mail for local users",
    "554 Ej tillåtet att vidarebefordra",
    "550 5.7.1 No está permitido reenviar a otros dominios",
];

/// The server takes no mail from our address.
const BARRED: &[&str] = &[
    "550 5.7.1 out.webcrm.com [40.74.40.57] rejected by local policy",
    "554 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using Spamhaus",
    "550 5.7.1 Recipient not authorized, your IP has been found on a block list",
    "550 SC-001 Mail rejected by Windows Live Hotmail for policy reasons. IP 40.74.40.57",
    "550 5.7.1 Unfortunately, messages from [40.74.40.57] weren't sent. Please contact your Internet service provider",
    "554-gmx.net (mxgmx) Nemesis ESMTP Service not available\r\n554-No SMTP service\r\n554 IP address is block listed.",
    "550 5.7.1 Your sending IP is not listed in the customer's gateway settings",
    "554 Denied [CS] [40.74.40.57] (Mode: normal)",
    "550 5.7.1 connections from 40.74.40.0/24 not accepted",
    "550 5.7.1 Din IP-adresse er blokeret",
    "550 5.7.1 IP-adressen har ikke adgang til denne server",
    "554 5.7.1 Ihre IP-Adresse steht auf einer Sperrliste",
    "550 5.7.1 Din IP-adress är spärrad",
    "550 5.7.1 Votre adresse IP n'est pas autorisée",
    "550 5.7.1 Uw IP-adres is niet toegestaan",
    "550 5.7.1 Su dirección IP está bloqueada",
    "550 5.7.1 HELO mismatch: out.webcrm.com",
    "550 Bad HELO - host impersonating domain name",
    "550 5.7.25 The IP address sending this message does not have a PTR record",
    "554 5.7.1 <unknown[40.74.40.57]>: Client host rejected: cannot find your reverse hostname",
    "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "550 5.7.1 your host is not whitelisted for SMTP submission",
    "550 5.7.1 Access restricted to known IPs",
    "550 5.7.606 Access denied, banned sending IP [40.74.40.57]",
    "550 5.7.511 Access denied, banned sender[40.74.40.57]",
    "554 5.7.1 You are connecting from a network that we do not accept mail from",
];

/// The server wants a login.
const LOGIN_WANTED: &[&str] = &[
    "530 5.7.0 Authentication Required. For more information, go to support.google.com",
    "550 5.7.1 Client was not authenticated",
    "530 SMTP authentication is required.",
    "550 You must authenticate before sending",
    "550 5.7.1 Du skal logge ind for at sende",
    "530 5.7.1 Anmeldung erforderlich",
    "550 Sender requires authentication",
    "550 5.7.1 Veuillez vous authentifier",
];

/// The recipient is refused.
const OF_RECIPIENT: &[&str] = &[
    "550 Recipient max storage reached",
    "550 5.2.1 The email account that you tried to reach is disabled",
    "550 Account blocked",
    "550 5.7.1 Account x@test.net has been suspended",
    "550 Kontoen er lukket",
    "550 Postfach gesperrt",
    "550 Mailbox disabled, not accepting messages",
    "554 delivery error: dd This account has been disabled or discontinued [#102]",
    "550 5.7.1 User x@test.net is blocked",
    "550 5.1.1 <x@test.net>: Recipient address rejected: User unknown in local recipient table",
    "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550 5.1.1 double-checking the recipient's email address",
    "550 5.4.1 Recipient address rejected: Access denied. [DB5EUR01FT011.eop]",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient x@test.net not found",
    "554 delivery error: dd Not a valid recipient - atlas123.yahoo.com",
    "552 1 Requested mail action aborted, mailbox not found",
    "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550",
    "550 5.1.1 User Unknown (PPE)",
    "550 No Such User Here",
    "550 No such person at this address",
    "550 Modtageren findes ikke",
    "550 5.1.1 Ukendt postkasse",
    "550 5.1.1 Empfänger unbekannt",
    "550 5.1.1 Mottagaren finns inte",
    "550 5.1.1 Mottakeren eksisterer ikke",
    "550 Onbekende ontvanger",
    "550 5.1.1 Adresse inconnue",
    "550 Destinataire inconnu",
    "550 El usuario no existe",
    "552 5.2.2 Postkassen er fuld",
    "552 Postfach voll",
    "552 Brevlådan är full",
    "552 Postvak vol",
    "552 Boîte pleine",
    "552 Buzón lleno",
    "552 5.2.2 quota exceeded",
    "552 5.2.2 This message is larger than the current system limit or the recipient's mailbox is full.",
    "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy",
    "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group",
    "550 5.7.124 RESOLVER.RST.SenderNotInAllowedList",
    "550 5.1.0 Address rejected",
    "550 Requested action not taken: mailbox unavailable",
    "550 5.7.1 This list only accepts posts from members",
    "550 <x@test.net> is on holiday and accepts no mail",
    "550 This address is only for internal use",
    "550 Recipient refuses mail from your domain",
    "554 5.7.1 <x@test.net>: Recipient address rejected: Blocked by recipient",
    "550 Administrative prohibition",
    "550 5.7.1 Mail to x@test.net is not allowed",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)",
    "550 Mailbox x@test.net over quota (102%)",
    "550 5.2.2 Mailbox has exceeded the daily quota",
    "550 5.2.2 user's mailbox limit of 50000 messages reached",
    "552 The recipient's mailbox has 10000 of 10000 messages",
    "550 5.7.1 x@test.net gets too many mails per hour",
    "550 5.2.3 message too large for x@test.net",
    "550 user x receives no more mail today",
    "552 5.2.2 Mailbox full, message was not sent",
    "552 5.2.2 Quota exceeded. Sending failed",
    "552 5.2.2 The recipient's mailbox is over its limit, mail cannot be sent to it now",
    "552 5.2.2 sent mail folder over quota",
    "552 5.2.2 Recipient has reached the limit of received messages",
    "552 5.2.2 Postkassens grænse er nået",
    "522 5.2.2 Requested mail action aborted: exceeded storage allocation",
    "550 Recipient blocks mail from your server",
    "550 User blocked mail from this host",
    "550 5.7.1 The group accepts only mail from known hosts",
    "550 mailbox refuses mail from outside",
    "550 No mail for this user from your domain",
    "550 x@test.net may receive only 10 messages per hour",
    "550 5.7.1 This user can't receive mail at the moment; mailbox in quarantine",
    "550 5.2.1 mailbox in quarantine",
    "550 We accept no mail for this user",
    "550 Empfänger unbekannt, bitte prüfen und erneut senden",
    "550 5.1.1 Ukendt bruger, prøv igen",
];

/// The recipient is not refused for good.
const RECIPIENT_WAITS: &[&str] = &[
    "450 4.2.2 mailbox full",
    "452 4.2.2 The email account that you tried to reach is over quota",
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time",
    "450 4.7.1 Greylisted for 60 minutes",
    "451 4.7.1 Greylisting enabled, try again in one hour",
    "450 4.2.0 Recipient address rejected: Greylisted, see http://x.test; wait 1 hour",
    "451 4.2.1 Mailbox receives too many messages per hour",
    "452 4.1.1 x@test.net mailbox full",
    "450 4.2.1 The recipient has exceeded the hourly limit of received mails",
    "452 4.2.2 Over quota: 100% used today",
    "451 4.3.0 Temporary lookup failure",
    "450 4.1.1 unverified address: try again in 1 hour",
    "452 Mailbox full, try again tomorrow",
    "450 Mailbox has reached its daily quota of storage",
    "550 5.7.1 Recipient address rejected: greylisted for 300 seconds",
    "554 5.7.1 Temporarily deferred, come back in 15 minutes",
    "550 Vent venligst, prøv igen om 5 minutter",
    "550 Tempfail: please retry",
    "550 4.7.1 Greylisting in effect",
    "550 Réessayez plus tard",
    "550 Probeer het later opnieuw",
    "550 Forsøk igjen senere",
    "550 Inténtelo más tarde",
    "550 Vänligen försök igen senare",
    "550 Bitte versuchen Sie es in 10 Minuten erneut",
    "554 5.7.1 mail system currently overloaded, try again",
    "450 4.7.1 <x@test.net>: Recipient address rejected: greylisted, 60 minutes per day",
    "451 4.7.1 mailbox x@test.net busy, limit of connections",
    "450 x@test.net: mailbox temporarily locked",
    "451 4.3.5 Server configuration error",
    "450 4.1.2 Domain not found today",
    "452 4.2.2 Mailbox has exceeded the limit, try tomorrow",
    "450 4.2.1 Recipient receives mail too fast",
    "450 Recipient's hourly receiving limit exceeded",
    "550 Bitte in 5 Minuten wieder versuchen",
    "550 Prøv om 10 minutter igen",
    "554 Server overloaded",
    "554 5.3.2 server is currently overloaded",
];

/// The message is refused.
const OF_CONTENT: &[&str] = &[
    "554 5.7.1 Message rejected as spam by Content Filtering",
    "550 5.7.1 Message contains spam or virus (cPanel SpamAssassin)",
    "550-\"The mail server detected your message as spam and\r\n550 has prevented delivery.\"",
    "552-5.7.0 This message was blocked because its content presents a potential\r\n552 5.7.0 security issue",
    "550 5.7.1 [40.74.40.57 12] Our system has detected that this message is likely unsolicited mail",
    "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
    "550 5.7.515 Access denied, sending domain test.dk does not meet the required authentication level",
    "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.",
    "554 Email rejected due to security policies - MCSpamSignature.sa.3.2",
    "554 5.7.1 Blocked by Proofpoint: message contains malicious URL",
    "550 High probability of spam",
    "550 Mailen er afvist som spam",
    "550 Nachricht wegen Spamverdacht abgelehnt",
    "550 Meddelandet klassades som skräppost",
    "550 Message rejeté: contenu indésirable",
    "552 5.3.4 Message size exceeds fixed limit",
    "552 Mailen er for stor (max 20 MB)",
    "552 Nachricht zu groß",
    "554 5.6.0 Message contains bare CR",
    "550 5.6.0 Invalid header From",
    "550 Maximum line length exceeded (see RFC 5322 2.1.1).",
    "554 5.7.1 Message contains a virus: Eicar",
    "550 5.7.1 DMARC policy of test.dk is reject",
    "550 SPF check failed; 40.74.40.57 is not allowed",
    "550 5.7.1 Message rejected: too many links",
    "550 5.7.1 DKIM signature limit exceeded",
    "550 5.7.1 message score 10.2 over limit 7.0",
    "554 5.3.0 Message rejected: forbidden attachment .exe limit policy",
    "550 5.7.350 Remote server returned message detected as spam",
];

/// There are too many recipients.
const OF_NUMBER: &[&str] = &[
    "452 4.5.3 Error: too many recipients",
    "550 5.5.3 Too many recipients",
    "452 4.5.3 Recipients belong to multiple regions ATTR38",
    "452-4.5.3 Your message has too many recipients. For more information regarding\r\n452 4.5.3 Google's sending limits go to support",
    "550 max number of recipients per transaction is 100",
    "552 Too many recipients specified",
    "451 too many recipients per message, limit 50",
    "550 Recipients limit (25) for one message reached",
    "550 5.7.1 For mange modtagere i denne mail",
    "552 5.5.3 Antallet af modtagere pr. mail er begrænset til 50",
    "550 Zu viele Empfänger in einer Nachricht (max. 100)",
    "452 For mange mottakere i samme e-post",
    "550 Te veel ontvangers in dit bericht",
    "550 Trop de destinataires dans ce message",
    "550 Demasiados destinatarios en el mensaje",
    "452 4.5.3 Only 20 RCPTs accepted per MAIL",
    "550 5.7.1 Message has more than 100 RCPT TO",
    "550 RCPT limit is 30, send the others in another message",
    "501 Too many recipients (hMailServer)",
    "550 too many RCPT commands in this transaction",
    "552 5.3.4 Recipient count exceeds administrative limit of 10",
    "452 You may only address 3 recipients at once",
    "554 5.7.1 The number of recipients in this message exceeds 50",
    "550 Maximum recipients reached, please split your message",
    "450 4.5.3 One recipient per message, please",
    "451 4.5.3 Please send to this recipient in a separate session",
];

#[test]
fn an_allowance_and_a_block_make_mail_wait_whatever_the_code_is() {
    for texts in [ALLOWANCES, ALLOWANCES_FOR_NOW, BLOCKED] {
        assert_eq!(wrong(&[Mail, Rcpt, End], texts, &["dRb"], &context(false)), []);
    }
    assert_eq!(wrong(&[Rcpt], AT_RCPT, &["dRb"], &context(false)), []);
    // The rest of an allowance may be enough for other recipients.
    let beside_others = Context { taken: TakenRecipients::Others, ..context(false) };
    for texts in [ALLOWANCES, ALLOWANCES_FOR_NOW, AT_RCPT] {
        assert_eq!(wrong(&[Rcpt], texts, &["dr-", "ds?"], &beside_others), []);
    }
}

#[test]
fn a_refusal_of_relaying_of_our_address_or_for_want_of_a_login_bounces_nobody() {
    assert_eq!(wrong(&[Rcpt], RELAYING, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&[Mail, Rcpt], BARRED, &["dR?"], &context(false)), []);
    assert_eq!(wrong(&[Mail], LOGIN_WANTED, &["dR!"], &context(false)), []);
}

#[test]
fn a_recipient_and_a_message_are_refused_for_themselves_only() {
    assert_eq!(wrong(&[Rcpt], OF_RECIPIENT, &["fr-"], &context(false)), []);
    assert_eq!(wrong(&[Rcpt], RECIPIENT_WAITS, &["dr-"], &context(false)), []);
    assert_eq!(wrong(&[End], OF_CONTENT, &["fm-"], &context(false)), []);
}

#[test]
fn the_number_of_recipients_is_counted_in_each_language() {
    assert_eq!(miscounted(OF_NUMBER, &[OF_RECIPIENT, RECIPIENT_WAITS, RELAYING, BARRED].concat()), Vec::<&str>::new());
}

#[test]
fn each_other_reply_has_its_reach() {
    for (phase, text, right) in [
        (Greeting, "554 5.7.1 Your IP 40.74.40.57 is blocked", "dRb"),
        (Greeting, "421 Too many concurrent SMTP connections from this IP address; please try again later.", "dRb"),
        (Greeting, "550 Access denied - relay1", "dRb"),
        (Greeting, "554 Vi tager ikke imod mail fra dig", "dRb"),
        (End, "452 4.3.1 Insufficient system storage", "dR?"),
        (End, "452 4.3.1 message queue limit exceeded, disk full", "dR?"),
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
        ("550 User webcrm is blocked", "fr-"),
    ] {
        assert_eq!(wrong(&[Rcpt], &[text], &[right], &context), [], "{text}");
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
