//! The texts about failed lookups and requests.

use crate::onboarding::fetch::NotThere;
use crate::resolver;

/// Explains why DNS gave no answer. The resolver's own text is for operators.
pub(super) fn unanswered(error: &resolver::Error) -> String {
    use resolver::Error as E;
    match error {
        E::Timeout { name, record_type } => {
            format!("The name server did not answer when asked for {record_type} records of {name}.")
        }
        E::Refused { name, record_type, code } => {
            format!("The name server answered with the error {code} when asked for {record_type} records of {name}.")
        }
        E::Referral { name, record_type } => {
            format!(
                "The name server only referred to other name servers when asked for {record_type} records of {name}."
            )
        }
        E::Aliases { name, record_type } => format!(
            "The {record_type} records of {name} could not be looked up: its aliases (CNAME) lead in a circle, or there are too many."
        ),
        E::Failed { name, record_type, .. } => format!("The {record_type} records of {name} could not be looked up."),
        E::Name(name) => format!("\"{name}\" cannot be a name in DNS."),
    }
}

pub(super) fn not_there(reason: &NotThere) -> String {
    match reason {
        NotThere::Status(404) => "the web server has no such file (HTTP 404)".into(),
        NotThere::Status(code) => format!("the web server answered HTTP {code}"),
        NotThere::Refused { .. } => "the web server takes no connections".into(),
        NotThere::NoConnection { .. } => "no connection to the web server could be made".into(),
        NotThere::Certificate { .. } => "the web server's certificate is not valid".into(),
        NotThere::Tls { .. } => "no encrypted connection (TLS) to the web server could be made".into(),
        NotThere::NoHttp { .. } => "the web server gave no valid HTTP answer".into(),
        NotThere::Late { secs } => format!("the web server did not answer within {secs} seconds"),
    }
}
