//! All texts in Danish.

mod dmarc;
mod failures;
mod publish;
mod records;
mod rotation;

use super::Word;
use super::{is_appended_to, is_bare_address, is_version, reports_meant};
use crate::onboarding::Overall;
use crate::onboarding::dmarc::policy_meant;
use crate::onboarding::finding::{Finding, Item, Need, Provider, Severity};
use crate::onboarding::misplaced::label;
use crate::plain;
pub(super) use dmarc::dmarc_step;
use failures::{not_there, probe_failed, unanswered};
pub(super) use publish::{
    delegating, enforcing, in_the_way, label_hint, mail, other_steps, reason, replaces, role, to_come, watching,
};
use records::{character, dkim_flaw, included, no_key, spf_fault, tag_mistake};
pub(super) use records::{note, obstacle};
use rotation::rotating;
pub(super) use rotation::rotation;

pub(super) fn finding(finding: &Finding) -> (String, String) {
    use Finding as F;
    let (what, next): (String, String) = match finding {
        F::Unanswered { reason } => {
            (unanswered(reason), "Det betyder ikke, at noget er forkert hos jer. Tjek igen senere.".into())
        }
        F::OutOfTime { secs } => (
            format!("Tjekket blev afbrudt efter {secs} sekunder: svarene kom for langsomt."),
            "Det betyder ikke, at noget er forkert. Tjek igen senere.".into(),
        ),
        F::WrongHost { found_at, right_host, zone } => (
            format!("Recorden er oprettet på {found_at}."),
            match zone {
                Some(zone) => format!(
                    "Flyt den til {right_host}. Skriv {} som navn, hvis DNS-panelet selv tilføjer zonens navn ({zone}).",
                    label(right_host, zone)
                ),
                None => format!(
                    "Flyt den til {right_host}. Mange DNS-paneler tilføjer selv zonens navn: skriv så kun det, der står foran det."
                ),
            },
        ),
        F::PublicProvider { domain } => (
            format!("{domain} tilhører en offentlig mailudbyder: ingen andre kan sende i dens navn."),
            "Send fra jeres eget domæne.".into(),
        ),
        F::OwnDomain { domain } => (format!("{domain} er jeres eget domæne."), String::new()),
        F::FromDomainWildcard { domain } => (
            format!("{domain} har ingen egne records: et jokertegn (*) svarer for det som for alle navne, der ikke findes."),
            format!(
                "Den første record, I opretter på {domain}, gør en ende på det for dette navn: opret også dér, hvad jokertegnet svarer i dag (MX, A)."
            ),
        ),
        F::FromDomainAlias { domain, target } => (
            format!("{domain} er et alias (CNAME) for {target}: navnets TXT- og MX-records bliver læst dér."),
            String::new(),
        ),
        F::OwnershipByTxt { host } => (format!("Ejerskabet er bevist med TXT-recorden på {host}."), String::new()),
        F::OwnershipUntidy { host, found } => (
            format!("TXT-recorden på {host} har mere end værdien: {found}. Det er måske for meget for Mailjet, der også læser den."),
            "Fjern anførselstegn og mellemrum omkring værdien.".into(),
        ),
        F::OwnershipByFile { url } => (format!("Ejerskabet er bevist med filen {url}."), String::new()),
        F::OwnershipMissing { host, value, url } => (
            "Der er endnu intet bevis for, at domænet er jeres.".into(),
            format!(
                "Opret en TXT-record på {host} med værdien {value}, eller læg en tom fil på {url}. En af de to er nok."
            ),
        ),
        F::OwnershipWrongValue { host, found } if found.trim().is_empty() => {
            (format!("TXT-recorden på {host} er tom."), "Skriv værdien i den.".into())
        }
        F::OwnershipWrongValue { host, found } => {
            (format!("TXT-recorden på {host} har en anden værdi: {found}."), "Ret værdien.".into())
        }
        F::FileNotEmpty { url } => (format!("{url} findes, men er ikke tom."), "Erstat den med en tom fil.".into()),
        F::FileAnywhere { url } => (
            format!("Webserveren svarer med en side, uanset hvilken fil der spørges efter, så {url} beviser intet."),
            "Brug TXT-recorden.".into(),
        ),
        F::FileAddressRefused { url } => (
            format!("{url} ligger på en adresse, der ikke er offentlig."),
            "Brug TXT-recorden eller en webserver på internettet.".into(),
        ),
        F::FileRedirectRefused { url } => (
            format!("{url} viderestiller ud af domænet eller for mange gange."),
            "Læg filen dér, hvor viderestillingen begynder, eller brug TXT-recorden.".into(),
        ),
        F::FileNotThere { url, reason } => (format!("Filen {url} kunne ikke hentes: {}.", not_there(reason)), String::new()),
        F::SpfPasses { ip, lookups } => {
            (format!("{ip} må sende for domænet ({lookups} af 10 DNS-opslag)."), String::new())
        }
        F::SpfMissing { domain } => (format!("{domain} har ingen SPF-record."), "Opret den viste record.".into()),
        F::SpfNearMiss { text } => (
            format!("Denne TXT-record ligner SPF, men er det ikke: {text}"),
            match plain::first_strange(text) {
                Some(strange) => format!("Der står {} i den. Erstat den.", character(strange)),
                None => "Den skal begynde med præcis v=spf1 og et mellemrum, uden anførselstegn i værdien. Erstat den.".into(),
            },
        ),
        F::SpfSeveral { domain, count } => (
            format!("{domain} har {count} SPF-records. Så ser modtagerne bort fra dem alle."),
            "Erstat dem med én, den viste record.".into(),
        ),
        F::SpfSyntax { domain, term, fault } => (
            format!(
                "I SPF-recorden for {domain}: {term} {}. Så afviser modtagerne hele recorden.",
                spf_fault(term, fault)
            ),
            "Ret eller fjern det.".into(),
        ),
        F::SpfTooLong { domain, octets } => (
            format!("SPF-recorden for {domain} fylder {octets} tegn. Det er mere, end man kan regne med, at modtagerne læser."),
            "Fjern det, der ikke bruges, eller flyt dele af den til egne records (include:).".into(),
        ),
        F::SpfNoEffect { domain, terms } => (
            format!("I SPF-recorden for {domain} virker {} ikke: modtagerne springer det over.", terms.join(" ")),
            match terms.iter().all(|term| is_version(term)) {
                true => "Fjern det: v=spf1 skal stå i begyndelsen og kun én gang.",
                false => "Skriv kolon i stedet for lighedstegn (include:, ip4:), eller fjern det.",
            }
            .into(),
        ),
        F::SpfMeant { written, meant } => (
            match meant.is_empty() {
                true => format!("\"{written}\" er udeladt i den viste record: det siger ikke noget dér."),
                false => format!("\"{written}\" er læst som \"{meant}\" i den viste record."),
            },
            String::new(),
        ),
        F::SpfUnread { terms } => (
            format!("I SPF-recorden kan dette ikke læses: {}. Det kan være en afsender.", terms.join(" ")),
            "Ret det, eller fjern det, hvis det ikke bruges. Indtil da må recorden ikke slutte med -all.".into(),
        ),
        F::SpfAfterAll { domain, terms } => (
            format!("I SPF-recorden for {domain} tæller det, der står efter \"all\", aldrig: {}.", terms.join(" ")),
            "Flyt det foran \"all\", eller fjern det.".into(),
        ),
        F::SpfEverybody { domain, term } => (
            format!("SPF-recorden for {domain} har {term}: så kan stort set enhver sende som jer."),
            "Lad den slutte med ~all eller -all, og nævn kun de servere, der sender for jer.".into(),
        ),
        F::SpfPtr { domain } => (
            format!("SPF-recorden for {domain} bruger ptr, som er langsomt og upålideligt og ikke bør bruges."),
            "Erstat ptr med adresser (ip4:, a:).".into(),
        ),
        F::SpfLoop { domain } => (
            format!("SPF-recorden for {domain} fører tilbage til sig selv."),
            "Fjern den include eller redirect, der gør det.".into(),
        ),
        F::SpfTooManyLookups { count } => (
            format!("SPF kræver {count} DNS-opslag, og modtagerne stopper ved 10: så fejler recorden."),
            "Fjern includes, der ikke bruges mere, eller skriv adresser i stedet.".into(),
        ),
        F::SpfNearLookupLimit { count } => (
            format!("SPF kan kræve {count} DNS-opslag, og modtagerne stopper ved 10."),
            "Fjern includes, der ikke bruges mere.".into(),
        ),
        F::SpfTooManyVoidLookups { count } => (
            format!("SPF slår {count} navne op, som ikke har nogen adresse, og modtagerne stopper efter 2."),
            "Fjern de led, hvis navne ikke har nogen adresse.".into(),
        ),
        F::SpfManyVoidLookups { count } => (
            format!(
                "SPF kan slå {count} navne op, som ikke har nogen adresse, og modtagerne stopper efter 2: mail fra webCRM er godkendt inden da, men det er jeres øvrige mail måske ikke."
            ),
            "Fjern de led, hvis navne ikke har nogen adresse.".into(),
        ),
        F::SpfTooManyExchanges { domain } => (
            format!("{domain} har mere end 10 mailservere, og det er for mange til mx i SPF."),
            "Skriv deres adresser i stedet for mx.".into(),
        ),
        F::SpfIncludeWithoutRecord { domain } => (
            format!("SPF henviser til {domain}, som ikke har en SPF-record: så afviser modtagerne hele recorden."),
            "Fjern den include eller redirect, eller ret stavemåden.".into(),
        ),
        F::SpfIncludeSeveral { domain, count } => (
            format!("SPF henviser til {domain}, som har {count} SPF-records: så afviser modtagerne hele recorden."),
            "Fjern den include eller redirect, eller bed dem, der driver domænet, om kun at have én.".into(),
        ),
        F::SpfBeyondUs { domain, fault } => (
            format!(
                "SPF henviser også til {domain}, {}: mail fra webCRM er godkendt inden da, men det er jeres øvrige mail måske ikke.",
                included(fault)
            ),
            "Fjern den include eller redirect, eller få den rettet.".into(),
        ),
        F::SpfOursBroken { include, ip } => (
            format!("SPF inkluderer {include}, som den skal, men {include} tillader ikke selv {ip}."),
            "Det er webCRM, der skal rette det; I behøver ikke gøre noget.".into(),
        ),
        F::SpfIncludeMissing { include } => (
            format!("SPF inkluderer ikke {include}: mail fra webCRM er ikke tilladt."),
            format!("Tilføj include:{include} foran \"all\"."),
        ),
        F::SpfIncludeShadowed { include, by } => (
            format!("include:{include} bliver aldrig nået, fordi {by} står foran."),
            format!("Flyt include:{include} foran {by}."),
        ),
        F::SpfAddressOnly { ip, include } => (
            format!("SPF tillader {ip}, men ikke Mailjets adresser, som står i {include}."),
            format!("Tilføj include:{include} foran \"all\"."),
        ),
        F::SpfDoesNotPass { ip, verdict } => (
            format!("SPF siger {verdict} for {ip}."),
            // A record that cannot be evaluated gets no proposal, because only the customer knows its intended content.
            match *verdict {
                "permerror" => "Recorden tæller igen, når det, der er nævnt her, er rettet.",
                _ => "Opret den viste record.",
            }
            .into(),
        ),
        F::SpfBesideAlias { domain, target } => (
            format!(
                "{domain} er et alias (CNAME) for {target}, og ved siden af et alias kan der ikke oprettes en SPF-record."
            ),
            publish::without_alias(target),
        ),
        F::SpfProposalFails { obstacle } => self::obstacle(obstacle, false),
        F::SpfWithoutUs { ip } => (
            format!(
                "SPF tillader ikke {ip}. Mailen går gennem jeres egen server, så det kan kun gå ud over mail til jeres egne medarbejdere."
            ),
            "Tillad adressen på den server, der tager imod den mail, hvis den bliver afvist.".into(),
        ),
        F::SpfUsable { lookups } => {
            (format!("Recorden kan bruges (op til {lookups} af 10 DNS-opslag)."), String::new())
        }
        F::DkimGood { host } => (format!("Nøglen på {host} er den rigtige."), String::new()),
        F::DkimMissing { host } => (format!("Der er ingen nøgle på {host}."), "Opret den viste record.".into()),
        F::DkimSeveral { host, count } => (
            format!("Der er {count} records på {host}; modtagerne tager en tilfældig af dem."),
            "Behold kun den viste record.".into(),
        ),
        F::DkimMismatch { host } => (
            format!("På {host} ligger en anden nøgle end den, der signerer."),
            "Erstat den med den viste record.".into(),
        ),
        F::DkimFlaw { host, flaw } => {
            let (what, next) = dkim_flaw(&flaw.0);
            (format!("{host}: {what}"), next.to_owned())
        }
        F::DkimRotating { host, role, shown } => {
            let (what, next) = rotating(host, *role, *shown);
            (what, next.to_owned())
        }
        F::DkimRotatingUnanswered { host, reason } => (
            format!("Nøglen på {host}, som ikke signerer lige nu, kunne ikke tjekkes. {}", unanswered(reason)),
            "Det betyder ikke, at noget er forkert hos jer. Tjek igen senere.".into(),
        ),
        F::DkimRotationUnreadable { .. } => (
            "Det vides ikke, hvor langt et nøgleskift er kommet.".into(),
            "Det er webCRM, der skal rette det; I behøver ikke gøre noget.".into(),
        ),
        F::DkimSecond { said, first_known } => {
            let (what, next) = self::finding(said);
            let first = match first_known {
                true => "Den første (RSA) er i orden, og den er nok.",
                false => "Den første (RSA), som er nok, kunne ikke tjekkes.",
            };
            (format!("Den anden signatur (Ed25519): {what} {first}"), next)
        }
        F::DkimKeyUnusable { .. } => {
            ("Vores egen nøgle kan ikke bruges.".into(), "Det er webCRM, der skal rette det; I behøver ikke gøre noget.".into())
        }
        F::DelegationZone { host, said } => {
            let (what, _) = self::finding(said);
            (format!("Aliaset er rigtigt, men recorden i webCRM's zone på {host} er ikke. {what}"), "Det er webCRM, der skal rette det, ikke kunden: `postbud dkim zone --update`.".into())
        }
        F::DelegationWrong { host, found, target } => (
            format!("{host} er et alias for {found}, hvor vores nøgle ikke er."),
            points_to(found, target, "Lad det pege på"),
        ),
        F::DelegationMissing { host, target } => {
            (format!("Der er intet alias på {host}."), format!("Opret en CNAME til {target}."))
        }
        F::DelegationByHand { host, target } => (
            format!("Nøglen på {host} er oprettet manuelt, så hver ny nøgle skal også oprettes manuelt."),
            format!("Erstat den med en CNAME til {target}, så skifter nøglerne af sig selv."),
        ),
        F::DelegationIdle { host, target } => (
            format!("Der er intet alias til {target} på {host}, som den næste nøgle har brug for."),
            "Opret den viste CNAME.".into(),
        ),
        F::DelegationOffered { host, target, .. } => (
            format!("Nøglerne er oprettet manuelt. Med et alias til {target} på {host} og det andet alias skifter de af sig selv."),
            "Opret den viste CNAME ved siden af den record, der er der nu. Den bliver stående indtil videre.".into(),
        ),
        F::DelegationReady { zone } => (
            format!("Nøglerne er oprettet manuelt, og begge aliasser til {zone} er der."),
            "Det er webCRM, der går videre, ikke kunden: `postbud dkim rotate` laver en nøgle, der skifter af sig selv. Den nuværende nøgles record bliver stående, til kommandoen siger til.".into(),
        ),
        F::MailjetKeyMissing { host, domain, why } => (
            format!("{} Så kan modtagerne ikke kontrollere Mailjets signatur, og webCRM's egen er ikke gyldig efter turen gennem Mailjet.", no_key(host, why)),
            format!(
                "webCRM henter værdien i Mailjets konsol og skriver den i kundens fil (dkim i [mailjet.\"{domain}\"]): så viser `postbud domain records` den record, der skal oprettes."
            ),
        ),
        F::MailjetKeyShort { host, bits } => (
            match finding.severity() {
                Severity::Fault => format!("Mailjets nøgle på {host} har {bits} bit: modtagerne accepterer ingen med færre end 1024."),
                _ => format!("Mailjets nøgle på {host} har {bits} bit: modtagerne accepterer den, men 2048 er bedre."),
            },
            "Det er webCRM, der skal bede Mailjet om en ny; I behøver ikke gøre noget.".into(),
        ),
        F::MailjetKeyUnset { host, domain } => (
            format!("Der er en brugbar nøgle på {host}. Det vides ikke, om den er Mailjets: værdien står ikke i konfigurationen."),
            format!(
                "webCRM henter værdien i Mailjets konsol og skriver den i kundens fil (dkim i [mailjet.\"{domain}\"]): så bliver de to sammenlignet."
            ),
        ),
        F::MailjetKeyOfOther { host } => (
            format!("Nøglen på {host} hører til den Mailjet-konto, som domænets mails går igennem nu. Den næste konto har en anden nøgle."),
            "Opret den viste record, så flytter mails til den bedre konto.".into(),
        ),
        F::MailjetAccepts { tier, domain } => {
            (format!("Mailjets konto for niveauet {tier} tager imod mails fra {domain}."), String::new())
        }
        F::MailjetUnproven { tier, domain } => (
            format!("{domain} er oprettet i Mailjets konto for niveauet {tier}, som endnu ikke har set beviset for ejerskab."),
            "Opret beviset for ejerskab; Mailjet bliver så selv bedt om at kontrollere det.".into(),
        ),
        F::MailjetObjects { tier, requirement, reason } => (
            match reason.is_empty() {
                true => format!("Mailjets konto for niveauet {tier} har ikke fundet {requirement}-recorden i orden."),
                false => format!("Mailjets konto for niveauet {tier} finder ikke {requirement}-recorden i orden: {reason}."),
            },
            "Opret recorden som vist; Mailjet bliver så selv bedt om at kontrollere den.".into(),
        ),
        F::MailjetOwned { tier, domain, reason } => (
            format!("{domain} hører til en anden konto hos Mailjet, så niveauet {tier} kan ikke oprette det. {reason}"),
            format!("webCRM finder ud af, hvem der har {domain} hos Mailjet: kunden fjerner det fra sin egen konto der eller beder Mailjets support om at frigive det. Derefter prøver `postbud domain check` igen."),
        ),
        F::MailjetRefuses { tier, domain, reason } => (
            format!("Mailjets konto for niveauet {tier} opretter ikke {domain}. {reason}"),
            format!("webCRM ser på kontoen i Mailjets konsol eller opretter domænet manuelt og skriver det, den viser, i [mailjet.\"{domain}\"] i kundens fil."),
        ),
        F::MailjetCredentials { tier, reason } => (
            format!("Mailjet accepterer ikke API-nøglen for niveauet {tier}. {reason}"),
            format!("webCRM retter nøglen og dens hemmelighed i [mailjet.{tier}] i serverfilen."),
        ),
        F::MailjetSilent { tier, hours, .. } => (
            match hours {
                0 => format!("Mailjets API gav intet svar for niveauet {tier}."),
                hours => format!("Mailjets API har ikke svaret for niveauet {tier} i {hours} timer."),
            },
            "Der vides ikke at være noget galt med domænet. Det prøves igen af sig selv.".into(),
        ),
        F::MailjetUnkept { tier, reason } => (
            format!("Det, Mailjet siger om niveauet {tier}, kan ikke gemmes: {reason}."),
            "Det er webCRM, der skal rette det, ikke kunden.".into(),
        ),
        F::DmarcGood { host, policy } => (format!("Politikken på {host} er {policy}."), String::new()),
        F::DmarcMissing { host } => (format!("Der er ingen DMARC-record på {host}."), "Opret den viste record.".into()),
        F::DmarcSeveral { host, count } => {
            (format!("Der er {count} DMARC-records på {host}; så ser modtagerne bort fra dem alle."), "Behold kun den viste.".into())
        }
        F::DmarcInvalid { host, tag } => (
            format!("I DMARC-recorden på {host} nævner \"{tag}\" ingen politik: mange modtagere ser så bort fra hele recorden."),
            match policy_meant(tag) {
                Some(policy) => format!("Skriv kun {} dér.", policy.as_str()),
                None => "Skriv none, quarantine eller reject dér.".into(),
            },
        ),
        F::DmarcNoPolicy { host, tags } => (
            match tags.is_empty() {
                true => format!("I DMARC-recorden på {host} mangler p=: mange modtagere ser så bort fra hele recorden."),
                false => format!(
                    "I DMARC-recorden på {host} mangler p=, for {}= gælder kun andre navne: mange modtagere ser så bort fra hele recorden.",
                    tags.join("= og ")
                ),
            },
            "Tilføj p=none lige efter v=DMARC1;, eller opret den viste record.".into(),
        ),
        F::DmarcPolicyName { host, name } => (
            format!("I DMARC-recorden på {host} er {name}= ikke et tag, som modtagerne kender: der skal stå p=."),
            "Erstat den med den viste record.".into(),
        ),
        F::DmarcValue { host, tag } => (
            format!("I DMARC-recorden på {host} har \"{tag}\" en ugyldig værdi: mange modtagere ser så bort fra hele recorden."),
            "Ret den, eller fjern den.".into(),
        ),
        F::DmarcMistake { host, mistake } => {
            let (what, next) = tag_mistake(&mistake.0);
            (format!("DMARC-recorden på {host}: {what}"), next)
        }
        F::DmarcPercent { percent: 0, policy } => (
            format!("pct=0 er udgået af standarden (RFC 9989): modtagere, der følger den, bruger {policy} på al mail."),
            "Skriv t=y i stedet for pct=0: så bruger modtagerne politikken ét trin mildere.".into(),
        ),
        F::DmarcPercent { percent, policy } => (
            format!(
                "pct={percent} er udgået af standarden (RFC 9989): modtagere, der følger den, bruger {policy} på al mail og ikke kun på {percent} %."
            ),
            format!("Fjern pct={percent}, når {policy} må ramme al mail. Vælg indtil da en mildere politik."),
        ),
        F::DmarcNearMiss { host, text, mistake } => (
            format!("Denne TXT-record på {host} ligner DMARC, men er det ikke: {text}"),
            match mistake {
                Some(mistake) => {
                    let (what, next) = tag_mistake(&mistake.0);
                    format!("{what} {next}")
                }
                None => "Den skal begynde med præcis v=DMARC1 og et semikolon. Erstat den.".into(),
            },
        ),
        F::DmarcTag { host, tag } if is_bare_address(tag) => (
            format!("I DMARC-recorden på {host} ser modtagerne bort fra \"{tag}\": der mangler mailto: foran adressen."),
            "Skriv mailto: foran adressen.".into(),
        ),
        F::DmarcTag { host, tag } => (
            format!("I DMARC-recorden på {host} ser modtagerne bort fra \"{tag}\"."),
            match reports_meant(tag) {
                Some(meant) => format!("Skriv {meant} dér."),
                None => "Ret eller fjern det.".into(),
            },
        ),
        F::DmarcInherited { host } => (format!("Politikken kommer fra {host}."), String::new()),
        F::DmarcObsolete { tag } => (format!("{tag}= er udgået af standarden (RFC 9989)."), format!("Fjern {tag}=.")),
        F::DmarcNoReports { host, .. } => (
            format!("DMARC-recorden på {host} sender ikke rapporter til nogen."),
            "Tilføj rua=mailto: med en adresse, som nogen læser.".into(),
        ),
        F::DmarcReportsRefused { destination, host } => (
            format!("Rapporter til {destination} bliver ikke sendt: domænet har ikke sagt, at det vil have dem."),
            format!("{destination} skal oprette en TXT-record på {host} med værdien v=DMARC1;"),
        ),
        F::DmarcReportsNotAllowed { destination, host } => (
            format!("Rapporter til {destination} bliver ikke sendt endnu: i webCRM's zone mangler TXT-recorden på {host}."),
            "Det er webCRM's opgave: `postbud dmarc zone` viser recorden.".into(),
        ),
        F::DmarcReports { step } => dmarc_step(step),
        F::DmarcMonitoring => (
            "Politikken overvåger kun (none). Sådan begynder man.".into(),
            "Gå videre til p=quarantine, når rapporterne i nogle uger kun har vist jeres egen mail.".into(),
        ),
        F::DmarcTesting => (
            "t=y: modtagerne bruger politikken ét trin mildere.".into(),
            "Fjern t=y, når I er færdige med at afprøve den.".into(),
        ),
        F::DmarcWithoutDkim { policy, key } => (
            format!(
                "Politikken er {policy}, og {} er ikke i orden: så rammer politikken mail fra webCRM.",
                item(*key)
            ),
            "Ret først nøglen.".into(),
        ),
        F::DmarcKeyFirst { policy, key } => (
            format!(
                "Den record, I har, tæller ikke i dag. Den, der skal oprettes, gør: med p={policy}, og {} er ikke i orden.",
                item(*key)
            ),
            "Ret først nøglen: indtil da ville politikken ramme mail fra webCRM.".into(),
        ),
        F::DmarcOnSpfAlone { policy, key } => (
            format!(
                "Politikken er {policy}, og {} er ikke i orden: DMARC hviler alene på SPF, så mail fra webCRM, der bliver videresendt, rammes af politikken.",
                item(*key)
            ),
            "Ret nøglen.".into(),
        ),
        F::DmarcDkimAligned { domain } => {
            (format!("Mailen er signeret med {domain} selv, så DMARC er opfyldt gennem DKIM."), String::new())
        }
        F::DmarcSpfUnaligned { alias } => (
            format!("Uden {alias} tæller SPF ikke med i DMARC, som så hviler alene på DKIM."),
            format!("Opret også aliasset {alias}."),
        ),
        F::DmarcSpfStrict { alias } => (
            format!("aspf=s kræver præcis samme domæne, men returmail går til {alias}: så tæller SPF ikke med i DMARC."),
            "Fjern aspf=s.".into(),
        ),
        F::ReturnPathGood { host } => (format!("{host} peger på Mailjet."), String::new()),
        F::ReturnPathMissing { host, target } => {
            (format!("{host} findes ikke."), format!("Opret en CNAME på {host} til {target}."))
        }
        F::ReturnPathWrong { host, found, target } => {
            (format!("{host} peger på {found}."), points_to(found, target, "Ret aliasset, så det peger på"))
        }
        F::ReturnPathAddress { host, target, address } => (
            format!("{host} svarer med adressen {address} i stedet for et alias for {target}."),
            format!(
                "Slå proxyen fra for {host} (i Cloudflare: \"DNS only\"). Står der i stedet en A- eller AAAA-record, så erstat den med en CNAME til {target}."
            ),
        ),
        F::MxGood { host } => (format!("Svar og returmail kommer frem til {host}."), String::new()),
        F::MxMissing { domain } => (
            format!("{domain} kan ikke modtage mail: der er hverken MX-record eller adresse."),
            "Opret en MX-record. Mange modtagere afviser mail, der ikke kan besvares.".into(),
        ),
        F::MxBesideAlias { domain, target } => (
            format!(
                "{domain} kan ikke modtage mail: {target}, som det er et alias (CNAME) for, har hverken MX-record eller adresse."
            ),
            format!("Mange modtagere afviser mail, der ikke kan besvares. {}", publish::without_alias(target)),
        ),
        F::MxUnreachable { host } => (
            format!("Svar og returmail kommer ikke frem: {host}, som MX-recorden peger på, har ingen adresse på internettet."),
            "Ret MX-recorden, eller opret navnets adresse (A eller AAAA). En MX-record kan ikke selv pege på en IP-adresse."
                .into(),
        ),
        F::MxNull { domain } => (
            format!("{domain} siger, at det ikke modtager mail (MX 0 .)."),
            "Mange modtagere afviser mail, der ikke kan besvares. Opret en MX-record, eller send fra et andet domæne."
                .into(),
        ),
        F::ProbeGood { server, .. } => (format!("{server} tager imod mail fra webCRM."), String::new()),
        F::ProbeFailed { server, step, .. } => probe_failed(server, *step),
        F::ProbeSkipped { server } => (
            format!("{server} blev ikke prøvet."),
            "Prøv den med `postbud domain check --probe` eller trin for trin med `postbud probe`.".into(),
        ),
        F::RelayByAddress { server, ip } => (
            format!("webCRM logger ikke ind på {server}: serveren skal kende webCRM på adressen {ip}."),
            format!(
                "Tillad {ip} at sende gennem serveren til alle modtagere (Postfix: mynetworks; Exchange: en receive connector med relay; Microsoft 365: en indgående connector)."
            ),
        ),
        F::InternalMailByMailjet { domain, include, provider } => (
            format!(
                "Mail fra webCRM til jeres egne medarbejdere kommer udefra, fra Mailjets adresser, med {domain} som afsender. Adresserne står i SPF-recorden for {include}."
            ),
            match provider {
                Provider::Microsoft365 => format!(
                    "Bliver den afvist (550 5.7.68, 5.7.1): tillad i Microsoft 365, at Mailjet sender som {domain} (Tenant Allow/Block List, Spoofed senders), og føj Mailjets adresser til den indgående connector, hvis den begrænser domænet til bestemte adresser."
                ),
                Provider::Google => {
                    "Bliver den afvist: føj Mailjets adresser til listen over tilladte adresser i Google Workspace.".into()
                }
                Provider::Other => {
                    "Bliver den afvist: tillad Mailjets adresser på den mailserver, der tager imod jeres mail.".into()
                }
            },
        ),
        F::InternalMail { ip, provider } => (
            format!("Mail fra webCRM til jeres egne medarbejdere kommer udefra, fra {ip}, i jeres eget domænes navn."),
            match provider {
                Provider::Microsoft365 => format!(
                    "Bliver den afvist (550 5.7.68, 5.7.1): tillad {ip} i Microsoft 365 med en indgående connector eller på listen over tilladte IP-adresser."
                ),
                Provider::Google => {
                    format!("Bliver den afvist: føj {ip} til listen over tilladte adresser i Google Workspace.")
                }
                Provider::Other => format!(
                    "Bliver den afvist: tillad {ip} på jeres mailserver (Postfix: mynetworks; Exchange: en receive connector)."
                ),
            },
        ),
    };
    (what, next)
}

/// Explains where an alias must lead. A panel that takes the target for a name in the zone wants a dot at its end.
fn points_to(found: &str, target: &str, verb: &str) -> String {
    match is_appended_to(target, found) {
        true => format!("{verb} {target}, med et punktum til sidst: uden det tilføjer DNS-panelet selv zonens navn."),
        false => format!("{verb} {target}."),
    }
}

pub(super) fn item(item: Item) -> &'static str {
    match item {
        Item::FromDomain => "Afsenderdomæne",
        Item::Ownership => "Ejerskab",
        Item::Spf => "SPF",
        Item::Dkim => "DKIM",
        Item::MailjetAccount => "Mailjets konto",
        Item::MailjetDkim => "DKIM (Mailjet)",
        Item::Dmarc => "DMARC",
        Item::ReturnPath => "Returadresse",
        Item::Mx => "MX",
        Item::OwnServer => "Egen server",
        Item::InternalMail => "Intern mail",
    }
}

pub(super) fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "påkrævet",
        Need::Recommended => "anbefalet",
        Need::Optional => "valgfrit",
    }
}

pub(super) fn overall(overall: Overall) -> &'static str {
    match overall {
        Overall::Good => "Alt er i orden.",
        Overall::Recommendations => "Alt det påkrævede er i orden; noget af det anbefalede mangler.",
        Overall::Unknown => "Ikke alt kunne tjekkes, fordi noget ikke kunne slås op i DNS. Tjek igen senere.",
        Overall::Missing => "Noget af det påkrævede mangler eller er forkert.",
    }
}

pub(super) fn word(word: Word) -> &'static str {
    match word {
        Word::Need => "BEHOV",
        Word::For => "TIL",
        Word::Type => "TYPE",
        Word::Host => "HOST",
        Word::Label => "NAVN",
        Word::Value => "VÆRDI",
        Word::Records => "records, der skal oprettes",
        Word::Why => "Hvorfor",
        Word::OrInstead => "eller i stedet en tom fil på",
        Word::Found => "fundet",
        Word::Expected => "forventet",
        Word::Next => "næste skridt",
        Word::AlreadyThere => "findes allerede",
        Word::NotKnown => "DNS svarede ikke",
        Word::Unanswered => "DNS svarede ikke, så vi ved ikke, om denne record allerede findes.",
        Word::OneLineHint => {
            "Hver værdi er én linje uden anførselstegn. Hvis et panel kun tager 255 tegn pr. streng, så del værdien uden at tilføje et mellemrum."
        }
        Word::Unknown => {
            "Ikke alt kunne slås op i DNS. De records, der bygger på dem, I har nu (som SPF og DMARC), er derfor udeladt: et gæt kunne standse jeres øvrige mail. Prøv igen senere."
        }
    }
}
