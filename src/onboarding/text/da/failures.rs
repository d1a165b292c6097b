//! Hvorfor noget ikke kunne slås op eller hentes.

use crate::onboarding::fetch::NotThere;
use crate::resolver;

/// Why DNS gave no answer. What the resolver says itself is English, and for operators.
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
