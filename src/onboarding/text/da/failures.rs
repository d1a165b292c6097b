//! The texts about failed lookups, requests and probes, in Danish.

use crate::delivery::Step;
use crate::onboarding::fetch::NotThere;
use crate::resolver;

/// Explains why DNS gave no answer. The resolver's own text is English and for operators.
pub(super) fn unanswered(error: &resolver::Error) -> String {
    use resolver::Error as E;
    match error {
        E::Timeout { name, record_type } => {
            format!("Navneserveren svarede ikke, da {record_type}-records for {name} blev slået op.")
        }
        E::Refused { name, record_type, code } => {
            format!("Navneserveren svarede med fejlen {code}, da {record_type}-records for {name} blev slået op.")
        }
        E::Referral { name, record_type } => {
            format!(
                "Navneserveren henviste kun til andre navneservere, da {record_type}-records for {name} blev slået op."
            )
        }
        E::Aliases { name, record_type } => format!(
            "{record_type}-records for {name} kunne ikke slås op: navnets aliasser (CNAME) går i ring, eller der er for mange."
        ),
        E::Failed { name, record_type, .. } => format!("{record_type}-records for {name} kunne ikke slås op."),
        E::Name(name) => format!("\"{name}\" kan ikke være et navn i DNS."),
    }
}

/// Explains why a customer's own server cannot be used, and what to do. The probe's own text is English and for operators.
pub(super) fn probe_failed(server: &str, step: Step) -> (String, String) {
    let (what, next) = match step {
        Step::Resolve => ("serverens navn kunne ikke slås op", "Ret navnet, eller opret dets adresse i DNS."),
        Step::Policy => {
            ("webCRM kunne ikke læse sine egne filer til forbindelsen", "Det er webCRM, der skal rette det.")
        }
        Step::Connect => ("der kunne ikke oprettes forbindelse", "Ret port og firewall, så webCRM kan nå serveren."),
        Step::Greeting | Step::Hello => (
            "serveren tager ikke imod forbindelsen",
            "Tillad webCRM's adresse på serveren, eller få dens administrator til at se efter i loggen.",
        ),
        Step::Tls => ("der kunne ikke aftales kryptering (TLS)", "Slå TLS til på serveren, eller ret dens opsætning."),
        Step::Certificate => (
            "serverens certifikat kan ikke godkendes",
            "Giv serveren et gyldigt certifikat til dens navn, eller lad webCRM kende netop dette certifikat.",
        ),
        Step::Token | Step::Login => {
            ("login blev ikke accepteret", "Ret brugernavn og adgangskode, og se efter, om kontoen må sende med SMTP.")
        }
        Step::Mail => ("afsenderen blev ikke accepteret", "Giv webCRM's login lov til at sende i domænets navn."),
        Step::Rcpt => (
            "modtageren blev ikke accepteret",
            "Giv webCRM lov til at sende til alle modtagere gennem serveren (relay).",
        ),
        Step::Data | Step::End | Step::Rset => {
            ("serveren tog ikke imod til sidst", "Få serverens administrator til at se efter i loggen.")
        }
        Step::ReturnPath => (
            "webCRM's returadresse blev ikke accepteret som afsender",
            "Giv webCRM's login lov til at sende med returadressens domæne, eller bed webCRM om at sende uden returadresse.",
        ),
        Step::OpenRelay => (
            "serveren sender for fremmede, der ikke er logget ind (open relay)",
            "Luk for det: serveren bliver ellers misbrugt og blokeret.",
        ),
    };
    (format!("{server} kan ikke bruges: {what}."), next.to_owned())
}

pub(super) fn not_there(reason: &NotThere) -> String {
    match reason {
        NotThere::Status(404) => "webserveren har ingen sådan fil (HTTP 404)".into(),
        NotThere::Status(code) => format!("webserveren svarede HTTP {code}"),
        NotThere::Refused { .. } => "webserveren tager ikke imod forbindelser".into(),
        NotThere::NoConnection { .. } => "der kunne ikke oprettes forbindelse til webserveren".into(),
        NotThere::Certificate { .. } => "webserverens certifikat er ikke gyldigt".into(),
        NotThere::Tls { .. } => "der kunne ikke oprettes en krypteret forbindelse (TLS) til webserveren".into(),
        NotThere::NoHttp { .. } => "webserveren gav ikke noget gyldigt HTTP-svar".into(),
        NotThere::Late { secs } => format!("webserveren svarede ikke inden for {secs} sekunder"),
    }
}
