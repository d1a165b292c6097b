//! The customers' pages in Danish.

use super::{NoConnection, Words};
use crate::delivery::Step as ProbeStep;
use crate::onboarding::{DnsProvider, Lang};
use crate::operate::own_server::NotTried;
use crate::operate::pages::customers::wrong::Wrong;
use crate::returns::dmarc::text::{number, share};

pub(super) const WORDS: Words = Words {
    title: |domain| format!("{domain}: mail fra webCRM"),
    heading: |domain| format!("Få mail fra webCRM sikkert frem: {domain}"),
    intro: "Modtagernes mailservere vil se, at webCRM må sende i jeres navn. Det viser I med nogle få linjer (records) i jeres DNS, der \
            hvor domænet bliver styret. Kun I kan oprette dem: det er dét, der gør dem til et bevis.",
    what_is_dns: [
        "Hvad er DNS, og hvem kan rette i det?",
        "DNS er internettets opslagsbog. Her står for hvert domæne, hvor dets hjemmeside er, og hvem der må sende mail i dets navn. \
         I retter i den hos det firma, der styrer domænet: som regel der, hvor I har købt det.",
        "Den, der får regningen for domænet, har ofte login. Ellers har jeres it-leverandør eller dem, der lavede hjemmesiden, det. Send beskeden \
         nederst på siden til en af dem: alt, hvad de skal bruge, står i den.",
        "Det, der står her, ændrer hverken jeres hjemmeside eller den mail, I modtager. Lad alle andre records stå, som de er.",
    ],
    domains: "Jeres domæner",
    find_domain: ["Find et domæne", "En del af navnet", "Find"],
    some_domains: |shown, all| format!("Her er {shown} af jeres {all} domæner."),
    domain_stands: ["i orden", "mangler noget"],
    expires: |date| format!("Linket virker til {date}."),

    all_good: [
        "Alt er i orden",
        "Mail fra webCRM er godkendt til at blive sendt i jeres navn. Lad recordene blive stående. Vi holder øje med dem og skriver, hvis en af dem forsvinder.",
    ],
    missing: |required, recommended| {
        let things = |count: usize| if count == 1 { "1 ting".to_owned() } else { format!("{count} ting") };
        match (required, recommended) {
            (0, count) => [
                format!("Det vigtigste er i orden; {} bør I tilføje", things(count)),
                "I kan sende. Med resten kommer flere af jeres mails frem.".to_owned(),
            ],
            (count, more) => [
                match more {
                    0 => format!("{} mangler", things(count)),
                    more => format!("{} mangler, og {more} anbefales", things(count)),
                },
                "Tag dem én ad gangen, eller send listen til den, der styrer jeres DNS.".to_owned(),
            ],
        }
    },
    unknown: [
        "Ikke alt kunne slås op",
        "DNS gav ikke et brugbart svar på det hele. Det betyder ikke, at noget er forkert hos jer. Vi prøver igen automatisk.",
    ],
    first_look: ["Vi slår jeres records op", "Det tager som regel et par sekunder."],
    failed_look: [
        "Vi kunne ikke slå jeres records op",
        "Fejlen ligger hos webCRM. Prøv igen om lidt; sker det igen, så skriv til support@webcrm.com.",
    ],
    next_step: "Næste skridt",

    done: "I orden",
    required: "Mangler",
    recommended: "Anbefales",
    not_known: "Kunne ikke tjekkes",
    waits_for_us: "Venter på webCRM",
    optional: "Valgfrit",
    for_information: "Godt at vide",
    looked_up: "Slået op",
    looking: "Slår op",

    check_now: "Tjek nu",
    looking_up: "Vi slår jeres records op lige nu",
    checked_at: |at| format!("Senest tjekket {at}."),
    next_check: |at| format!("Vi tjekker igen automatisk omkring {at}."),
    dns_is_slow: "En ny record kan være op til nogle timer om at blive synlig overalt. I behøver hverken at holde siden åben eller at skrive til os.",
    not_kept: "Resultatet kunne ikke gemmes hos webCRM. Vi er blevet gjort opmærksom på det og tjekker igen.",

    domain: ["Domænet", "Mails skal sendes fra jeres eget domæne, og det skal kunne modtage svar."],
    spf: [
        "1. SPF: hvem der må sende for jer",
        "SPF er en liste over de servere, der må sende mail fra domænet. webCRM skal stå på den. Der må kun være én SPF-record på domænet.",
    ],
    dkim: [
        "2. DKIM: jeres signatur",
        "Hver mail bliver signeret for jer. I viser først, at domænet er jeres, og lægger så nøglerne i DNS, som modtagerne kontrollerer signaturen med.",
    ],
    dmarc: [
        "3. DMARC: hvad der skal ske med falsk mail",
        "DMARC fortæller modtagerne, hvad de skal gøre med mail, der udgiver sig for at være fra jer. Gmail, Yahoo og Outlook kræver den af alle, der sender til mange.",
    ],
    server: [
        "4. Jeres egen mailserver",
        "Mail fra webCRM bliver afleveret til jeres egen server, som sender den videre. Åbninger og klik kan så ikke følges i webCRM.",
    ],
    internal: [
        "5. Mail til jeres egne medarbejdere",
        "Nogle mailservere afviser mail, der kommer udefra med jeres eget domæne som afsender. Får jeres medarbejdere ikke mails fra webCRM, så gør dette:",
    ],
    mailjet_owned: |domain| {
        [
            format!("{domain} er allerede oprettet i en anden konto hos Mailjet, så webCRM kan ikke oprette det."),
            "Har I jeres egen konto hos Mailjet, så slet domænet i den, eller bed Mailjets support om at frigive det. Har I ikke, så skriv til support@webcrm.com.".to_owned(),
        ]
    },
    ours: "Her venter vi på noget hos webCRM selv. I behøver ikke gøre noget.",

    record_there: |kind, label| format!("{kind}-record på {label}"),
    record_new: |kind, label| format!("Opret en {kind}-record på {label}"),
    record_change: |kind, label| format!("Ret {kind}-recorden på {label}"),
    record_fix: |kind, label| format!("Se på {kind}-recorden på {label}"),
    show_record: "Vis recorden",
    kind: "Type",
    name: "Navn (host)",
    zone: "I zonen",
    whole_name: "Hele navnet",
    value: "Værdi",
    now: "Står der nu",
    nothing: "Ingenting",
    should: "Skal stå",
    marked: "Det markerede er nyt.",
    root_name: "@ betyder domænet selv. Nogle paneler vil have feltet tomt i stedet.",
    change_not_add: "Ret den record, der står der. Opret ikke en ny ved siden af: to ødelægger det for begge.",
    too_long: "Siger panelet, at værdien er for lang?",
    split: "De fleste paneler deler selv en lang værdi. Gør jeres det ikke, så indsæt den delt i stykker med anførselstegn, på én linje:",
    or_file: |url| format!("Eller læg i stedet en tom tekstfil på {url}."),
    one_line: "Værdien er én linje, uden linjeskift og uden mellemrum foran eller bagefter.",

    reports: "Det viser DMARC-rapporterne",
    reports_none: "Der er ikke kommet DMARC-rapporter endnu. Store mailudbydere som Google og Microsoft sender en om dagen, den første et par dage efter at \
                   recorden er oprettet. Her kan I så se, hvem der sender i jeres navn, og hvornår I trygt kan stramme politikken.",
    reports_sum: |summary| {
        let n = |value| number(value, Lang::Da);
        let part = |part, whole| share(part, whole, Lang::Da);
        let (all, ours) = (&summary.all, &summary.ours);
        let whole = format!(
            "Modtagerne har på {} dage set {} mails i jeres navn. {} af dem blev godkendt.",
            summary.days,
            n(all.messages),
            part(all.passing(), all.messages)
        );
        match ours.messages {
            0 => format!("{whole} Ingen af dem var fra webCRM."),
            sent => {
                format!("{whole} {} var fra webCRM, og af dem blev {} godkendt.", n(sent), part(ours.passing(), sent))
            }
        }
    },
    senders: "Hvem der har sendt i jeres navn",
    senders_columns: ["Afsender", "Hvem er det", "#Mails", "#Godkendt", "#Ikke godkendt"],
    senders_unnamed: ["Ukendt", "Mange små afsendere"],
    sender_kinds: ["webCRM", "jeres egen", "kender I den?", "blandet"],
    senders_more: |count| format!("og {count} afsendere mere"),
    dmarc_next: "Næste sikre skridt",
    dmarc_try_quarantine: "Den er en prøve (t=y): modtagere, der kender t=y, gør endnu ikke noget ved falsk mail i jeres navn. Andre lægger den i spam.",
    dmarc_quarantine: "Med den lægger modtagerne falsk mail i jeres navn i spam.",
    dmarc_try_reject: "Den er en prøve (t=y): modtagere, der kender t=y, lægger falsk mail i jeres navn i spam. Andre afviser den.",
    dmarc_reject: "Med den afviser modtagerne falsk mail i jeres navn.",
    dmarc_change: "Ret den DMARC-record, der står der, så den får denne værdi:",
    dmarc_own_time: "Det haster ikke. Jeres mail kommer frem som nu, også hvis I lader recorden være.",

    connect: |provider| format!("{provider} kan oprette recordene for jer"),
    connect_how: "I bliver sendt til jeres udbyder, logger ind der og godkender. Kun det, der mangler, bliver oprettet. Kom så tilbage, og tjek. Hvad \
                  udbyderen ikke kan klare selv, står stadig her på siden.",
    connect_go: "Opret det, der mangler",

    provider: |zone, name| format!("Sådan gør I hos {name} (zonen {zone})"),
    no_provider: |zone| format!("Sådan gør I i jeres DNS-panel (zonen {zone})"),
    name_servers: |names| {
        format!("Zonens navneservere er {names}. Recordene skal oprettes hos den udbyder, der driver dem.")
    },
    registrar: "Hos Punktum dk kan I se, hvor et .dk-domæne er registreret, men ikke oprette records.",
    panel: |provider| match provider {
        DnsProvider::OneCom => &[
            "Log ind hos one.com, vælg domænet, og åbn \"DNS-indstillinger\" og derefter \"DNS-records\".",
            "Vælg typen (TXT eller CNAME). Skriv navnet herfra i feltet for hostnavn; står der @, så lad feltet være tomt.",
            "one.com tilføjer selv domænet bagefter. Værdien indsættes uden anførselstegn.",
        ],
        DnsProvider::Simply => &[
            "Log ind hos Simply.com, vælg domænet, og åbn \"DNS\".",
            "Vælg \"Tilføj record\" og typen. Skriv navnet herfra; står der @, så lad feltet være tomt eller skriv @.",
            "Simply.com tilføjer selv domænet bagefter. Værdien indsættes uden anførselstegn.",
        ],
        // They belong together, and DNS is managed in the same way.
        DnsProvider::DanDomain | DnsProvider::Curanet | DnsProvider::ScanNet | DnsProvider::Wannafind => &[
            "Log ind hos udbyderen, vælg domænet, og åbn DNS-administrationen.",
            "Opret en record af typen, og skriv navnet herfra; står der @, så lad feltet være tomt.",
            "Kontrollér bagefter, at domænet ikke står to gange i navnet.",
        ],
        DnsProvider::GoDaddy => &[
            "Log ind hos GoDaddy, vælg domænet, og åbn \"DNS\".",
            "Vælg \"Add New Record\" og typen. Skriv navnet herfra i \"Name\"; @ skrives som @.",
            "GoDaddy tilføjer selv domænet bagefter. Værdien indsættes uden anførselstegn.",
        ],
        DnsProvider::Cloudflare => &[
            "Log ind hos Cloudflare, vælg domænet, og åbn \"DNS\" og \"Records\".",
            "Vælg \"Add record\" og typen. Skriv navnet herfra i \"Name\"; @ skrives som @.",
            "For en CNAME: slå skyen fra, så der står \"DNS only\". Med den slået til virker recorden ikke.",
        ],
        DnsProvider::AzureDns => &[
            "Åbn DNS-zonen i Azure-portalen, og vælg \"Record sets\" og \"Add\".",
            "Skriv navnet herfra i \"Name\"; @ skrives som @. Vælg typen, og indsæt værdien uden anførselstegn: Azure deler den selv.",
            "Findes navnet i forvejen som TXT, så tilføj værdien i det record set, der er. SPF-værdien skal dog rettes, ikke tilføjes.",
        ],
        DnsProvider::Route53 => &[
            "Åbn zonen under \"Hosted zones\" i Route 53, og vælg \"Create record\".",
            "Skriv navnet herfra i \"Record name\"; står der @, så lad feltet være tomt.",
            "En TXT-værdi skal stå i anførselstegn, og en lang værdi skal deles i stykker på højst 255 tegn: brug den delte form herunder.",
        ],
        DnsProvider::Microsoft365 => &[
            "Log ind på admin.microsoft.com som administrator, og vælg \"Settings\" og \"Domains\".",
            "Vælg domænet, og opret en record blandt dets DNS-records (\"DNS records\"). Vælg typen, og skriv navnet herfra; @ skrives som @.",
            "De records, som Microsoft selv styrer, kan ikke rettes der. Gælder det SPF, så skriv til Microsofts support, eller flyt domænets DNS.",
        ],
        DnsProvider::Ionos => &[
            "Log ind hos IONOS, og vælg \"Menu\" og \"Domains & SSL\". Vælg tandhjulet ved domænet og \"DNS\".",
            "Vælg \"Add record\" og typen. Skriv navnet herfra i \"Host name\"; står der @, så lad feltet være tomt.",
            "IONOS tilføjer selv domænet bagefter. Værdien indsættes uden anførselstegn.",
        ],
        DnsProvider::Ovh => &[
            "Log ind hos OVHcloud, vælg domænet, og åbn \"DNS zone\".",
            "Vælg \"Add an entry\" og typen. Skriv navnet herfra i \"Sub-domain\"; står der @, så lad feltet være tomt.",
            "For en CNAME: sæt et punktum efter værdien. Ellers tilføjer OVHcloud jeres domæne til den.",
        ],
        DnsProvider::Namecheap => &[
            "Log ind hos Namecheap, åbn \"Domain List\", vælg \"Manage\" ved domænet, og åbn \"Advanced DNS\".",
            "Vælg \"Add new record\" og typen. Skriv navnet herfra i \"Host\"; @ skrives som @.",
            "Namecheap tilføjer selv domænet bagefter. Gem med fluebenet ud for recorden.",
        ],
        DnsProvider::Hostinger => &[
            "Log ind i hPanel hos Hostinger, vælg \"Domains\" og domænet, og åbn dets DNS-records.",
            "Vælg typen, og skriv navnet herfra i \"Name\"; @ skrives som @.",
            "Hostinger tilføjer selv domænet bagefter. Værdien indsættes uden anførselstegn.",
        ],
        DnsProvider::Other => &[
            "Log ind der, hvor domænets DNS bliver styret, og find listen over DNS-records.",
            "Opret en record af typen, og skriv navnet herfra. Næsten alle paneler tilføjer selv domænet bagefter: skriv det ikke to gange.",
            "Indsæt værdien uden anførselstegn. TTL kan være, hvad panelet foreslår.",
        ],
    },

    forward: [
        "Er det en anden, der styrer jeres DNS?",
        "Send dem denne besked. Den har kun det, der mangler, og intet af den er hemmeligt. Linket til denne side skal I ikke sende, medmindre de også skal kunne ændre noget her.",
    ],
    forward_subject: |domain| format!("DNS-records til {domain}"),
    forward_opening: |domain, customer| {
        format!(
            "Hej\n\nVil I oprette disse DNS-records for {domain}? De gør, at mail, som {customer} sender fra webCRM, bliver godkendt hos modtagerne.\n"
        )
    },
    forward_replaces: "Erstatter den record, der står der nu. Der må kun være én.",
    forward_closing: "Hver værdi er én linje; en lang TXT-værdi må deles i strenge på højst 255 tegn.\nwebCRM tjekker selv recordene flere gange om dagen, så I behøver ikke svare.\n\nVenlig hilsen\n",
    forward_mail: "Åbn som mail",
    forward_paste: "(Indsæt teksten fra siden her.)",
    forward_copy: "beskeden",
    forward_go: "Send det til den, der styrer jeres DNS",
    forward_zone: "De samme records som linjer til en zonefil (BIND)",

    server_now: |server| format!("Mail fra webCRM bliver afleveret til {server}."),
    own_key: "I har jeres egen nøgle hos Mailjet. Bliver andre kunders mail standset der, rammer det ikke jeres.",
    caps: |per_minute, per_day| {
        let n = |cap: u32| number(cap.into(), Lang::Da);
        let minute = per_minute.map(|cap| format!("{} mails i minuttet", n(cap)));
        let day = per_day.map(|cap| format!("til {} modtagere om dagen", n(cap)));
        let both: Vec<String> = minute.into_iter().chain(day).collect();
        format!("Der bliver højst sendt {}. Resten venter og bliver sendt bagefter.", both.join(" og "))
    },
    server_by_address: |ip| {
        format!("Der er intet login: serveren skal kende webCRM på adressen {ip} og kun lade den sende.")
    },
    server_change: "Ret serveren eller prøv den igen",
    server_use: "Vil I hellere sende gennem jeres egen mailserver?",
    server_instead: "Så afleverer webCRM al mail til jeres server, som sender den videre. I er selv ansvarlige for, at den når frem, og åbninger og \
                     klik kan ikke længere følges i webCRM.",
    server_confirm: "Ja, send fremover al vores mail fra webCRM gennem denne server",
    server_try: "Prøv serveren",
    server_safe: "Vi prøver med det samme og sender ingen mail. Kun hvis det lykkes, bliver serveren taget i brug. Adgangskoden bliver gemt hos \
                  webCRM og aldrig vist igen.",
    server_works: |server| format!("{server} virker og bliver brugt fra nu af"),
    server_fails: |server| format!("{server} kan ikke bruges endnu. Intet er ændret"),
    server_said: "Fundet:",
    no_connection: |peer, why| match why {
        NoConnection::Refused => format!("{peer} afviser forbindelsen"),
        NoConnection::Silent => format!("{peer} svarer ikke"),
        NoConnection::NoWay => format!("{peer} kan ikke nås"),
    },
    microsoft_login: "Microsoft 365 tager som udgangspunkt ikke længere imod adgangskoder til SMTP. En administrator kan slå \"Authenticated SMTP\" til for \
                      postkassen i Microsoft 365 administration (Brugere, Aktive brugere, Mail, Administrer mailapps); ellers skal webCRM logge ind med OAuth.",
    oauth_title: "Microsoft 365 uden adgangskode (OAuth)",
    oauth_why: "Microsoft slår login med adgangskode fra. En administrator af jeres Microsoft 365 gør dette én gang:",
    oauth_before: [
        "Registrér en applikation i Microsoft Entra (entra.microsoft.com, App registrations), kun for jeres egen organisation. Giv den \
         applikationstilladelsen SMTP.SendAsApp under Office 365 Exchange Online, og giv administratorens samtykke (Grant admin consent).",
        "Opret en client secret under Certificates & secrets, og gem dens Value: den vises kun én gang.",
    ],
    oauth_lines: "Kør disse linjer i PowerShell; de er lavet til jeres postkasse. I den første linje skal applikationens Application (client) id stå. Linjerne \
                  slår selv enterprise-applikationens Object id op: det, der står ved App registrations, er et andet, og med det virker det ikke.",
    oauth_after: "Skriv de tre værdier her. I skal ikke sende dem til webCRM. Der kan gå op til en time, før Exchange Online kender applikationen.",
    tenant: "Directory (tenant) id",
    tenant_hint: "Eller et af jeres domæner hos Microsoft",
    client: "Application (client) id",
    client_hint: "Som 00000000-0000-0000-0000-000000000000",
    secret: "Client secret: dens Value",
    secret_hint: "Den vises kun én gang hos Microsoft. Brug ikke Secret ID.",
    host: "Serverens navn",
    host_hint: "For eksempel mail.jeresdomæne.dk eller smtp.office365.com",
    port: "Port",
    port_hint: "Som regel 587; 465 ved kryptering fra start",
    tls: "Kryptering",
    tls_modes: [
        ("required", "Krævet (STARTTLS): det sædvanlige på port 587"),
        ("implicit", "Fra start (TLS): port 465"),
        ("opportunistic", "Hvis serveren kan (kun uden login)"),
        ("off", "Ingen (kun uden login)"),
    ],
    login: "Login",
    login_yes: "Med brugernavn og adgangskode",
    login_no: "Uden: serveren kender webCRM's adresse",
    username: "Brugernavn",
    password: "Adgangskode",
    password_hint: "Skal skrives igen, når noget andet bliver ændret. Den bliver aldrig vist.",
    wrong: |wrong| match wrong {
        Wrong::Port => "Porten er et tal, som regel 587.",
        Wrong::Unconfirmed => "Sæt kryds ved, at mailen skal sendes gennem serveren.",
        Wrong::Not(NotTried::Host) => "Det er ikke et servernavn. Skriv det uden http:// og uden mellemrum.",
        Wrong::Not(NotTried::NoAddress) => "Navnet kan ikke slås op i DNS. Er det stavet rigtigt?",
        Wrong::Not(NotTried::PrivateAddress) => {
            "Serveren har en adresse på et internt netværk, som webCRM ikke kan nå. Brug dens navn på internettet."
        }
        Wrong::Not(NotTried::Port) => {
            "Porten er ikke en af dem, mailservere bruger: 25, 465, 587, 588, 2525 eller 2587. Skriv til webCRM, hvis jeres bruger en anden."
        }
        Wrong::Not(NotTried::PlainLogin) => {
            "En adgangskode må ikke sendes uden kryptering. Vælg krævet eller fra start."
        }
        Wrong::Not(NotTried::Username) => "Brugernavnet mangler.",
        Wrong::Not(NotTried::Password) => {
            "Skriv adgangskoden. Den, vi har, gælder kun for den server og bruger, den blev skrevet til."
        }
        Wrong::TooSlow => "Serveren svarede ikke inden for 25 sekunder. Er porten åben i firewallen?",
        Wrong::Ours => {
            "Serveren virker, men webCRM skal selv rette noget, før den kan bruges. Skriv til support@webcrm.com."
        }
        Wrong::Application => {
            "Et af felterne kan ikke være rigtigt. Brug Directory (tenant) id, Application (client) id og hemmelighedens Value, ikke Secret ID."
        }
        Wrong::TooSoon => "I har lige prøvet. Vent ti sekunder, og prøv igen.",
    },
    step_ok: "Gik godt",
    step_warning: "Bemærk",
    step_failed: "Gik galt",
    probe_step: |step| match step {
        ProbeStep::Resolve => "Serverens navn slås op",
        ProbeStep::Policy => "webCRM's egne certifikater læses",
        ProbeStep::Connect => "Forbindelsen åbnes",
        ProbeStep::Greeting => "Serveren melder sig",
        ProbeStep::Hello => "webCRM præsenterer sig",
        ProbeStep::Tls => "Kryptering aftales",
        ProbeStep::Certificate => "Serverens certifikat kontrolleres",
        ProbeStep::Token => "Adgang hentes hos Microsoft",
        ProbeStep::Login => "webCRM logger ind",
        ProbeStep::Mail => "Afsenderen oplyses",
        ProbeStep::Rcpt => "Modtageren oplyses",
        ProbeStep::Data | ProbeStep::End => "Indholdet sendes",
        ProbeStep::Rset => "Prøven afsluttes uden at sende noget",
        ProbeStep::ReturnPath => "Returadressen prøves",
        ProbeStep::OpenRelay => "Afvises fremmede?",
    },
    allow_title: |ip| format!("Sådan tillader I webCRM's adresse {ip} på jeres mailserver"),
    allow: |ip| {
        [
        ("Microsoft 365", vec![
            "Åbn Exchange administration (admin.exchange.microsoft.com), og vælg Mailflow og Connectors.".to_owned(),
            "Opret en connector fra \"Your organization's email server\" til \"Office 365\".".to_owned(),
            format!("Vælg at genkende serveren på dens IP-adresse, og skriv {ip}."),
            "Gem, og prøv serveren her på siden: navnet er det, jeres MX-record viser (…mail.protection.outlook.com), port 25, uden login.".to_owned(),
        ]),
        ("Exchange på jeres egen server", vec![
            "Åbn Exchange Admin Center, og vælg Mail flow og Receive connectors.".to_owned(),
            format!("Opret en connector af typen Frontend Transport, og skriv kun {ip} under \"Remote network settings\"."),
            "Giv den lov til at sende videre: under Security vælges Anonymous users, og i Exchange Management Shell køres:".to_owned(),
            "Get-ReceiveConnector \"webCRM\" | Add-ADPermission -User \"NT AUTHORITY\\ANONYMOUS LOGON\" -ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient".to_owned(),
        ]),
        ("Google Workspace", vec![
            "Åbn admin.google.com, og vælg Apps, Google Workspace, Gmail og Routing.".to_owned(),
            format!("Under \"SMTP relay service\" tilføjes en indstilling: kun afsendere i jeres domæner, kun fra IP-adressen {ip}, og krav om TLS."),
            "Serveren er smtp-relay.gmail.com, port 587, uden login.".to_owned(),
            format!("For intern mail: tilføj {ip} under Spam, Phishing and Malware, Email allowlist."),
        ]),
        ("Postfix", vec![
            format!("Tilføj {ip}/32 til mynetworks i /etc/postfix/main.cf."),
            "Kør postfix reload.".to_owned(),
        ]),
    ]
    },

    history: "Hvad der er sket",
    no_history: "Der er ikke sket noget endnu.",
    change_verified: |what| format!("{what} er i orden"),
    change_returned: |what| format!("{what} er i orden igen"),
    change_vanished: |what| format!("{what} var i orden og er det ikke mere"),
    change_lost: |what| format!("{what} har manglet så længe, at det ikke tæller mere"),
};
