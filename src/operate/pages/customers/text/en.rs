//! The customers' pages in English.

use super::{NoConnection, Words};
use crate::delivery::Step as ProbeStep;
use crate::onboarding::{DnsProvider, Lang};
use crate::operate::own_server::NotTried;
use crate::operate::pages::customers::wrong::Wrong;
use crate::returns::dmarc::text::{number, share};

pub(super) const WORDS: Words = Words {
    title: |domain| format!("{domain}: mail from webCRM"),
    heading: |domain| format!("Have mail from webCRM arrive: {domain}"),
    intro: "Recipients' mail servers want to see that webCRM may send in your name. You show it with a few lines (records) in your DNS, \
            where the domain is managed. Only you can publish them: that is what makes them a proof.",
    what_is_dns: [
        "What is DNS, and who can change it?",
        "DNS is the internet's directory. It says for each domain where its website is, and who may send mail in its name. You change it at the \
         company that manages the domain: usually where you bought it.",
        "The login is often with whoever gets the bill for the domain, with your IT supplier, or with those who made the website. If you do not know, \
         send the message at the foot of this page to one of them: it has everything that they need.",
        "What is asked for here changes neither your website nor the mail that you receive. Leave all other records as they are.",
    ],
    domains: "Your domains",
    find_domain: ["Find a domain", "A part of its name", "Find"],
    some_domains: |shown, all| format!("These are {shown} of your {all} domains."),
    domain_stands: ["in order", "something is missing"],
    expires: |date| format!("The link works until {date}."),

    all_good: [
        "Everything is in order",
        "Mail from webCRM is approved to be sent in your name. Leave the records in place. We watch them, and write if one of them disappears.",
    ],
    missing: |required, recommended| {
        let things = |count: usize| if count == 1 { "1 thing".to_owned() } else { format!("{count} things") };
        match (required, recommended) {
            (0, count) => [
                format!("The most important is in order; {} should be added", things(count)),
                "You can send. With the rest, more of your mail arrives.".to_owned(),
            ],
            (count, more) => [
                match more {
                    0 => format!("{} missing", things(count)),
                    more => format!("{} missing, and {more} recommended", things(count)),
                },
                "Take them one at a time, or send the list to whoever runs your DNS.".to_owned(),
            ],
        }
    },
    unknown: [
        "Not everything could be looked up",
        "DNS gave no usable answer for some of it. That does not mean that anything is wrong on your side. We try again automatically.",
    ],
    first_look: ["We are looking up your records", "It usually takes a few seconds."],
    failed_look: [
        "We could not look up your records",
        "The error is webCRM's. Try again in a while; if it happens again, write to support@webcrm.com.",
    ],
    next_step: "Next step",

    done: "In order",
    required: "Missing",
    recommended: "Recommended",
    not_known: "Could not be checked",
    waits_for_us: "Waits for webCRM",
    optional: "Optional",
    for_information: "Good to know",
    looked_up: "Looked up",
    looking: "Looking up",

    check_now: "Check now",
    looking_up: "We are looking up your records now",
    checked_at: |at| format!("Last checked {at}."),
    next_check: |at| format!("We check again automatically at about {at}."),
    dns_is_slow: "A new record may take up to a few hours until it is seen everywhere. You need not keep this page open or write to us.",
    not_kept: "The result could not be kept at webCRM. We have been told, and will check again.",

    domain: ["The domain", "Mail has to be sent from a domain of your own, and it has to be able to receive replies."],
    spf: [
        "1. SPF: who may send for you",
        "SPF is a list of the servers that may send mail from the domain. webCRM has to be on it. A domain may have one SPF record only.",
    ],
    dkim: [
        "2. DKIM: your signature",
        "Each mail is signed for you. You first show that the domain is yours, and then publish the keys that recipients check the signature with.",
    ],
    dmarc: [
        "3. DMARC: what becomes of forged mail",
        "DMARC tells recipients what to do with mail that claims to be from you. Gmail, Yahoo and Outlook require it of everybody who sends to many.",
    ],
    server: [
        "4. Your own mail server",
        "Mail from webCRM is handed to your own server, which sends it on. Opens and clicks cannot be followed in webCRM then.",
    ],
    internal: [
        "5. Mail to your own people",
        "Some mail servers refuse mail that comes from outside with your own domain as its sender. If your own people do not get mail from webCRM, do this:",
    ],
    mailjet_owned: |domain| {
        [
            format!("{domain} is in another account at Mailjet already, so webCRM cannot register it."),
            "If you have an account of your own at Mailjet, delete the domain there, or ask Mailjet's support to release it. If you have none, write to support@webcrm.com.".to_owned(),
        ]
    },
    ours: "We are waiting for something at webCRM here. You need not do anything.",

    record_there: |kind, label| format!("{kind} record at {label}"),
    record_new: |kind, label| format!("Create a {kind} record at {label}"),
    record_change: |kind, label| format!("Change the {kind} record at {label}"),
    record_fix: |kind, label| format!("Look at the {kind} record at {label}"),
    show_record: "Show the record",
    kind: "Type",
    name: "Name (host)",
    zone: "In the zone",
    whole_name: "The whole name",
    value: "Value",
    now: "There now",
    nothing: "Nothing",
    should: "Should be",
    marked: "What is marked is new.",
    root_name: "@ means the domain itself. Some panels want the field empty instead.",
    change_not_add: "Change the record that is there. Do not create another beside it: two spoil both.",
    too_long: "Does the panel say that the value is too long?",
    split: "Most panels split a long value themselves. If yours does not, enter it in pieces with quotation marks, on one line:",
    or_file: |url| format!("Or put an empty text file at {url} instead."),
    one_line: "The value is one line, without line breaks, and without spaces before or after it.",

    reports: "What DMARC reports show",
    reports_none: "No DMARC reports have come yet. Large mail providers like Google and Microsoft send one a day, the first a few days after the record was \
                   created. You see here then who sends in your name, and when it is safe to make the policy stricter.",
    reports_sum: |summary| {
        let n = |value| number(value, Lang::En);
        let part = |part, whole| share(part, whole, Lang::En);
        let (all, ours) = (&summary.all, &summary.ours);
        let whole = format!(
            "In {} days receivers saw {} messages in your name. {} of them were approved.",
            summary.days,
            n(all.messages),
            part(all.passing(), all.messages)
        );
        match ours.messages {
            0 => format!("{whole} None of them was from webCRM."),
            sent => format!(
                "{whole} {} were from webCRM, and of these {} were approved.",
                n(sent),
                part(ours.passing(), sent)
            ),
        }
    },
    senders: "Who has sent in your name",
    senders_columns: ["Sender", "Who it is", "#Messages", "#Approved", "#Not approved"],
    senders_unnamed: ["Unknown", "Many small senders"],
    sender_kinds: ["webCRM", "your own", "do you know it?", "mixed"],
    senders_more: |count| format!("and {count} more senders"),
    dmarc_next: "The next safe step",
    dmarc_try_quarantine: "It is a trial (t=y): receivers that know t=y do nothing yet about forged mail in your name. Others put it into the spam folder.",
    dmarc_quarantine: "With it, receivers put forged mail in your name into the spam folder.",
    dmarc_try_reject: "It is a trial (t=y): receivers that know t=y put forged mail in your name into the spam folder. Others refuse it.",
    dmarc_reject: "With it, receivers refuse forged mail in your name.",
    dmarc_change: "Change the DMARC record that is there to this value:",
    dmarc_own_time: "There is no hurry. Your mail arrives as it does now, also if you leave the record as it is.",

    connect: |provider| format!("{provider} can create the records for you"),
    connect_how: "You are sent to your provider, log in there, and confirm. Only what is missing is created. Come back then, and check. What the provider \
                  cannot do by itself still stands on this page.",
    connect_go: "Create what is missing",

    provider: |zone, name| format!("How to do it at {name} (the zone {zone})"),
    no_provider: |zone| format!("How to do it in your DNS panel (the zone {zone})"),
    name_servers: |names| {
        format!("The zone's name servers are {names}. The records belong to the provider that runs them.")
    },
    registrar: "At Punktum dk you see where a .dk domain is registered, but cannot create records.",
    panel: |provider| match provider {
        DnsProvider::OneCom => &[
            "Log in at one.com, choose the domain, and open \"DNS settings\" and then \"DNS records\".",
            "Choose the type (TXT or CNAME). Enter the name from here as the host name; if it is @, leave the field empty.",
            "one.com appends the domain itself. Enter the value without quotation marks.",
        ],
        DnsProvider::Simply => &[
            "Log in at Simply.com, choose the domain, and open \"DNS\".",
            "Choose \"Add record\" and the type. Enter the name from here; if it is @, leave the field empty or enter @.",
            "Simply.com appends the domain itself. Enter the value without quotation marks.",
        ],
        // They belong together, and DNS is managed in the same way.
        DnsProvider::DanDomain | DnsProvider::Curanet | DnsProvider::ScanNet | DnsProvider::Wannafind => &[
            "Log in at the provider, choose the domain, and open the DNS administration.",
            "Create a record of the type, and enter the name from here; if it is @, leave the field empty.",
            "Check afterwards that the domain does not stand twice in the name.",
        ],
        DnsProvider::GoDaddy => &[
            "Log in at GoDaddy, choose the domain, and open \"DNS\".",
            "Choose \"Add New Record\" and the type. Enter the name from here as \"Name\"; enter @ as @.",
            "GoDaddy appends the domain itself. Enter the value without quotation marks.",
        ],
        DnsProvider::Cloudflare => &[
            "Log in at Cloudflare, choose the domain, and open \"DNS\" and \"Records\".",
            "Choose \"Add record\" and the type. Enter the name from here as \"Name\"; enter @ as @.",
            "For a CNAME: turn the cloud off, so that it says \"DNS only\". With it on, the record does not work.",
        ],
        DnsProvider::AzureDns => &[
            "Open the DNS zone in the Azure portal, and choose \"Record sets\" and \"Add\".",
            "Enter the name from here as \"Name\"; enter @ as @. Choose the type, and enter the value without quotation marks: Azure splits it itself.",
            "If the name exists as TXT already, add the value to that record set. The SPF value has to be changed, though, and not added.",
        ],
        DnsProvider::Route53 => &[
            "Open the zone under \"Hosted zones\" in Route 53, and choose \"Create record\".",
            "Enter the name from here as \"Record name\"; if it is @, leave the field empty.",
            "A TXT value has to stand in quotation marks, and a long one has to be split into pieces of at most 255 characters: use the split form below.",
        ],
        DnsProvider::Microsoft365 => &[
            "Log in at admin.microsoft.com as an administrator, and choose \"Settings\" and \"Domains\".",
            "Choose the domain, and add a record among its \"DNS records\". Choose the type, and enter the name from here; enter @ as @.",
            "Records that Microsoft manages itself cannot be changed there. If SPF is one of them, write to Microsoft's support, or move the domain's DNS.",
        ],
        DnsProvider::Ionos => &[
            "Log in at IONOS, and choose \"Menu\" and \"Domains & SSL\". Choose the gear beside the domain, and \"DNS\".",
            "Choose \"Add record\" and the type. Enter the name from here as \"Host name\"; if it is @, leave the field empty.",
            "IONOS appends the domain itself. Enter the value without quotation marks.",
        ],
        DnsProvider::Ovh => &[
            "Log in at OVHcloud, choose the domain, and open \"DNS zone\".",
            "Choose \"Add an entry\" and the type. Enter the name from here as \"Sub-domain\"; if it is @, leave the field empty.",
            "For a CNAME: put a full stop after the value. Otherwise OVHcloud appends your domain to it.",
        ],
        DnsProvider::Namecheap => &[
            "Log in at Namecheap, open \"Domain List\", choose \"Manage\" beside the domain, and open \"Advanced DNS\".",
            "Choose \"Add new record\" and the type. Enter the name from here as \"Host\"; enter @ as @.",
            "Namecheap appends the domain itself. Save with the check mark beside the record.",
        ],
        DnsProvider::Hostinger => &[
            "Log in to hPanel at Hostinger, choose \"Domains\" and the domain, and open its DNS records.",
            "Choose the type, and enter the name from here as \"Name\"; enter @ as @.",
            "Hostinger appends the domain itself. Enter the value without quotation marks.",
        ],
        DnsProvider::Other => &[
            "Log in where the domain's DNS is managed, and find the list of DNS records.",
            "Create a record of the type, and enter the name from here. Almost every panel appends the domain itself: do not enter it twice.",
            "Enter the value without quotation marks. TTL can be what the panel suggests.",
        ],
    },

    forward: [
        "Does somebody else run your DNS?",
        "Send them this message. It has only what is missing, and nothing in it is secret. Do not send the link to this page, unless they are to change things here too.",
    ],
    forward_subject: |domain| format!("DNS records for {domain}"),
    forward_opening: |domain, customer| {
        format!(
            "Hello\n\nWould you please publish these DNS records for {domain}? With them, recipients approve mail that {customer} sends from webCRM.\n"
        )
    },
    forward_replaces: "Replaces the record that is there now. There may be one only.",
    forward_closing: "Each value is one line; a long TXT value may be split into strings of at most 255 characters.\nwebCRM checks the records several times a day, so you need not answer.\n\nKind regards\n",
    forward_mail: "Open as mail",
    forward_paste: "(Paste the text from the page here.)",
    forward_copy: "the message",
    forward_go: "Send it to whoever runs your DNS",
    forward_zone: "The same records as lines of a zone file (BIND)",

    server_now: |server| format!("Mail from webCRM is handed to {server}."),
    own_key: "You have a key of your own at Mailjet. If other customers' mail is stopped there, yours is not.",
    caps: |per_minute, per_day| {
        let n = |cap: u32| number(cap.into(), Lang::En);
        let minute = per_minute.map(|cap| format!("{} messages a minute", n(cap)));
        let day = per_day.map(|cap| format!("{} recipients a day", n(cap)));
        let both: Vec<String> = minute.into_iter().chain(day).collect();
        format!("At most {} are sent. The rest waits, and is sent afterwards.", both.join(" and "))
    },
    server_by_address: |ip| {
        format!("There is no login: the server has to know webCRM by the address {ip}, and let only that one send.")
    },
    server_change: "Change the server, or try it again",
    server_use: "Would you rather send through your own mail server?",
    server_instead: "webCRM then hands all mail to your server, which sends it on. You answer yourselves for its arrival, and opens and clicks can no \
                     longer be followed in webCRM.",
    server_confirm: "Yes, send all our mail from webCRM through this server from now on",
    server_try: "Try the server",
    server_safe: "We try at once, and send no mail. Only if it works is the server put to use. The password is kept at webCRM and never shown again.",
    server_works: |server| format!("{server} works and is used from now on"),
    server_fails: |server| format!("{server} cannot be used yet. Nothing was changed"),
    server_said: "Found:",
    no_connection: |peer, why| match why {
        NoConnection::Refused => format!("{peer} refuses the connection"),
        NoConnection::Silent => format!("{peer} does not answer"),
        NoConnection::NoWay => format!("there is no way to {peer}"),
    },
    microsoft_login: "Microsoft 365 usually takes no passwords for SMTP any more. An administrator can switch \"Authenticated SMTP\" on for the mailbox in \
                      the Microsoft 365 admin center (Users, Active users, Mail, Manage email apps); otherwise webCRM has to log in with OAuth.",
    oauth_title: "Microsoft 365 without a password (OAuth)",
    oauth_why: "Microsoft is switching logins with a password off. An administrator of your Microsoft 365 does this once:",
    oauth_before: [
        "Register an application in Microsoft Entra (entra.microsoft.com, App registrations), for your own organization only. Add the application \
         permission SMTP.SendAsApp of Office 365 Exchange Online, and grant the administrator's consent (Grant admin consent).",
        "Make a client secret under Certificates & secrets, and keep its Value: it is shown only once.",
    ],
    oauth_lines: "Run these lines in PowerShell; they are made for your mailbox. The Application (client) id has to stand in the first line. The lines look the \
                  enterprise application's Object id up themselves: the one that App registrations shows is another, and the login fails with it.",
    oauth_after: "Enter the three values here. Do not send them to webCRM. It takes up to an hour until Exchange Online knows the application.",
    tenant: "Directory (tenant) id",
    tenant_hint: "Or one of your domains at Microsoft",
    client: "Application (client) id",
    client_hint: "Like 00000000-0000-0000-0000-000000000000",
    secret: "Client secret: its Value",
    secret_hint: "Microsoft shows it once. Do not use the Secret ID.",
    host: "The server's name",
    host_hint: "For example mail.yourdomain.com or smtp.office365.com",
    port: "Port",
    port_hint: "Usually 587; 465 with encryption from the start",
    tls: "Encryption",
    tls_modes: [
        ("required", "Required (STARTTLS): the usual one at port 587"),
        ("implicit", "From the start (TLS): port 465"),
        ("opportunistic", "If the server can (without a login only)"),
        ("off", "None (without a login only)"),
    ],
    login: "Login",
    login_yes: "With user name and password",
    login_no: "Without: the server knows webCRM's address",
    username: "User name",
    password: "Password",
    password_hint: "It has to be entered again when anything else is changed. It is never shown.",
    wrong: |wrong| match wrong {
        Wrong::Port => "The port is a number, usually 587.",
        Wrong::Unconfirmed => "Tick that the mail is to be sent through the server.",
        Wrong::Not(NotTried::Host) => "This is no name of a server. Enter it without http:// and without spaces.",
        Wrong::Not(NotTried::NoAddress) => "The name cannot be looked up in DNS. Is it spelled right?",
        Wrong::Not(NotTried::PrivateAddress) => {
            "The server has an address on an internal network, which webCRM cannot reach. Use its name on the internet."
        }
        Wrong::Not(NotTried::Port) => {
            "The port is not one that mail servers use: 25, 465, 587, 588, 2525 or 2587. Write to webCRM if yours uses another."
        }
        Wrong::Not(NotTried::PlainLogin) => {
            "A password may not be sent without encryption. Choose required or from the start."
        }
        Wrong::Not(NotTried::Username) => "The user name is missing.",
        Wrong::Not(NotTried::Password) => {
            "Enter the password. The one that we have counts only for the server and user that it was entered for."
        }
        Wrong::TooSlow => "The server did not answer within 25 seconds. Is the port open in the firewall?",
        Wrong::Ours => {
            "The server works, but webCRM has to change something before it can be used. Write to support@webcrm.com."
        }
        Wrong::Application => {
            "One of the fields cannot be right. Use the Directory (tenant) id, the Application (client) id and the secret's Value, not its Secret ID."
        }
        Wrong::TooSoon => "It was tried just now. Wait ten seconds, and try again.",
    },
    step_ok: "Went well",
    step_warning: "Look at",
    step_failed: "Failed",
    probe_step: |step| match step {
        ProbeStep::Resolve => "The server's name is looked up",
        ProbeStep::Policy => "webCRM's own certificates are read",
        ProbeStep::Connect => "The connection is opened",
        ProbeStep::Greeting => "The server greets",
        ProbeStep::Hello => "webCRM introduces itself",
        ProbeStep::Tls => "Encryption is agreed on",
        ProbeStep::Certificate => "The server's certificate is checked",
        ProbeStep::Token => "Access is fetched from Microsoft",
        ProbeStep::Login => "webCRM logs in",
        ProbeStep::Mail => "The sender is named",
        ProbeStep::Rcpt => "The recipient is named",
        ProbeStep::Data | ProbeStep::End => "The content is sent",
        ProbeStep::Rset => "The trial ends without sending anything",
        ProbeStep::ReturnPath => "The return path is offered",
        ProbeStep::OpenRelay => "Are strangers refused?",
    },
    allow_title: |ip| format!("How to allow webCRM's address {ip} on your mail server"),
    allow: |ip| {
        [
        ("Microsoft 365", vec![
            "Open the Exchange admin center (admin.exchange.microsoft.com), and choose Mail flow and Connectors.".to_owned(),
            "Add a connector from \"Your organization's email server\" to \"Office 365\".".to_owned(),
            format!("Choose to recognise the server by its IP address, and enter {ip}."),
            "Save, and try the server on this page: its name is the one that your MX record shows (…mail.protection.outlook.com), port 25, without a login.".to_owned(),
        ]),
        ("Exchange on your own server", vec![
            "Open the Exchange Admin Center, and choose Mail flow and Receive connectors.".to_owned(),
            format!("Add a connector of the type Frontend Transport, and enter only {ip} under \"Remote network settings\"."),
            "Allow it to relay: choose Anonymous users under Security, and run in the Exchange Management Shell:".to_owned(),
            "Get-ReceiveConnector \"webCRM\" | Add-ADPermission -User \"NT AUTHORITY\\ANONYMOUS LOGON\" -ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient".to_owned(),
        ]),
        ("Google Workspace", vec![
            "Open admin.google.com, and choose Apps, Google Workspace, Gmail and Routing.".to_owned(),
            format!("Under \"SMTP relay service\" add a setting: only senders in your domains, only from the IP address {ip}, and TLS required."),
            "The server is smtp-relay.gmail.com, port 587, without a login.".to_owned(),
            format!("For internal mail: add {ip} under Spam, Phishing and Malware, Email allowlist."),
        ]),
        ("Postfix", vec![
            format!("Add {ip}/32 to mynetworks in /etc/postfix/main.cf."),
            "Run postfix reload.".to_owned(),
        ]),
    ]
    },

    history: "What has happened",
    no_history: "Nothing has happened yet.",
    change_verified: |what| format!("{what} is in order"),
    change_returned: |what| format!("{what} is in order again"),
    change_vanished: |what| format!("{what} was in order and is not any more"),
    change_lost: |what| format!("{what} has been missing for so long that it no longer counts"),
};
