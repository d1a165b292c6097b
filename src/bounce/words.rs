//! The words of a notification, in Danish and English: what happened, what the server said, and what a person can do.

use super::report::{Action, RecipientReport};
use super::status::smtp_code;
use super::{Language, Settings};
use crate::smtp::EnhancedCode;
use crate::spool::Record;

/// The number of recipients that are described in words. The status part lists all.
const DESCRIBED: usize = 20;

/// The display name of the sender.
pub(super) fn sender(language: Language) -> &'static str {
    match language {
        Language::Danish | Language::Both => "Mailsystemet",
        Language::English => "Mail delivery system",
    }
}

pub(super) fn subject(language: Language, action: Action, original: &str) -> String {
    let danish = match action {
        Action::Failed => "Ikke leveret",
        Action::Delayed { .. } => "Forsinket",
        Action::Relayed => "Sendt videre",
    };
    let english = match action {
        Action::Failed => "Not delivered",
        Action::Delayed { .. } => "Delayed",
        Action::Relayed => "Handed on",
    };
    let what = match language {
        Language::Danish => danish.to_owned(),
        Language::English => english.to_owned(),
        Language::Both => format!("{danish} / {english}"),
    };
    if original.is_empty() { what } else { format!("{what}: {}", shortened(original, 120)) }
}

/// A function that writes the text in one language, from the record, the original's subject, the action and the
/// reports.
type Describe = fn(&Record, &str, Action, &[(&RecipientReport, EnhancedCode)]) -> String;

/// Writes the text for a person. Its lines end with LF.
pub(super) fn text(
    record: &Record,
    original_subject: &str,
    action: Action,
    reports: &[(&RecipientReport, EnhancedCode)],
    settings: &Settings,
) -> String {
    let parts: &[Describe] = match settings.language {
        Language::Danish => &[danish],
        Language::English => &[english],
        Language::Both => &[danish, english],
    };
    let parts: Vec<String> = parts.iter().map(|write| write(record, original_subject, action, reports)).collect();
    parts.join("\n----------------------------------------\n\n")
}

fn danish(record: &Record, subject: &str, action: Action, reports: &[(&RecipientReport, EnhancedCode)]) -> String {
    let mut text = match action {
        Action::Failed => "Din mail kunne ikke leveres, og den bliver ikke forsøgt sendt igen.\n".to_owned(),
        Action::Delayed { until } => format!(
            "Din mail er ikke leveret endnu. Du behøver ikke gøre noget: den bliver forsøgt sendt igen indtil {}.\n",
            until.rfc5322()
        ),
        Action::Relayed => {
            "Din mail er givet videre til den næste mailserver, som ikke melder tilbage, om den når frem.\n".to_owned()
        }
    };
    for (report, status) in reports.iter().take(DESCRIBED) {
        text.push_str(&format!("\n  {}\n", recipient(record, report)));
        if action != Action::Relayed {
            text.push_str(&format!("    Svaret var: {}\n", shortened(&report.reply, 400)));
            text.push_str(&format!("    Det kan du gøre: {}\n", remedy(report, *status).0));
            if let Some(advice) = &report.advice {
                text.push_str(&format!("    Til den mailansvarlige: {}\n", shortened(advice, 600)));
            }
        }
    }
    if reports.len() > DESCRIBED {
        text.push_str(&format!("\n  og {} modtagere mere; se den vedhæftede status.\n", reports.len() - DESCRIBED));
    }
    let (id, sent) = (record.id, record.id.arrived().rfc5322());
    text.push_str(&format!(
        "\nMailens emne: {}\nModtaget til afsendelse: {sent}\nKø-id: {id}\n",
        shortened(subject, 200)
    ));
    text
}

fn english(record: &Record, subject: &str, action: Action, reports: &[(&RecipientReport, EnhancedCode)]) -> String {
    let mut text = match action {
        Action::Failed => "Your mail could not be delivered and will not be tried again.\n".to_owned(),
        Action::Delayed { until } => format!(
            "Your mail has not been delivered yet. You need not do anything: it is tried again until {}.\n",
            until.rfc5322()
        ),
        Action::Relayed => {
            "Your mail was handed on to the next mail server, which does not report whether it arrives.\n".to_owned()
        }
    };
    for (report, status) in reports.iter().take(DESCRIBED) {
        text.push_str(&format!("\n  {}\n", recipient(record, report)));
        if action != Action::Relayed {
            text.push_str(&format!("    The answer was: {}\n", shortened(&report.reply, 400)));
            text.push_str(&format!("    What you can do: {}\n", remedy(report, *status).1));
            if let Some(advice) = &report.advice {
                text.push_str(&format!("    For whoever runs the mail server: {}\n", shortened(advice, 600)));
            }
        }
    }
    if reports.len() > DESCRIBED {
        text.push_str(&format!("\n  and {} more recipients; see the attached status.\n", reports.len() - DESCRIBED));
    }
    let (id, sent) = (record.id, record.id.arrived().rfc5322());
    text.push_str(&format!("\nSubject: {}\nAccepted for sending: {sent}\nQueue id: {id}\n", shortened(subject, 200)));
    text
}

fn recipient(record: &Record, report: &RecipientReport) -> String {
    record.envelope.recipients.get(report.index).map(|r| r.address.to_string()).unwrap_or_default()
}

/// Returns what the sender can do, in Danish and in English, by the subject and detail of the status (RFC 3463 §3).
fn remedy(report: &RecipientReport, status: EnhancedCode) -> (&'static str, &'static str) {
    let of_server = smtp_code(&report.reply).is_some();
    match (status.1, status.2) {
        // No server replied: a refused connection, no route, or a route that is suspended for its login.
        (4, 1 | 7) if !of_server => (
            "Mailserveren, som mailen skulle sendes gennem, kunne ikke bruges. Intet tyder på, at adressen er forkert. Kontakt den mailansvarlige, hvis det bliver ved.",
            "The mail server that the mail leaves through could not be used. Nothing suggests that the address is wrong. Ask whoever runs your mail if it goes on.",
        ),
        _ if report.expired => (
            "Mailen kunne ikke afleveres i al den tid, den blev forsøgt sendt; svaret ovenfor er det sidste. Prøv igen senere, eller kontakt modtageren på anden vis.",
            "The mail could not be handed over in all the time it was tried; the answer above is the last one. Try again later, or reach the recipient another way.",
        ),
        // RFC 3463 §3.2: these codes are about the sender's address.
        (1, 7 | 8) => (
            "Serveren accepterer ikke din egen adresse som afsender. Der er ikke noget galt med modtagerens adresse. Bed den mailansvarlige hos jer se på svaret ovenfor.",
            "The server does not accept your own address as the sender's. Nothing is wrong with the recipient's. Ask whoever runs your mail to look at the answer above.",
        ),
        (1, _) => (
            "Adressen findes ikke hos modtageren. Kontrollér stavemåden, og ret eller slet adressen i webCRM.",
            "The recipient's server does not know this address. Check its spelling, and correct or remove it in webCRM.",
        ),
        (2, 2) => (
            "Modtagerens postkasse er fuld. Prøv igen senere, eller kontakt modtageren på anden vis.",
            "The recipient's mailbox is full. Try again later, or reach the recipient another way.",
        ),
        (2, 1) => (
            "Modtagerens postkasse er lukket. Ret eller slet adressen i webCRM.",
            "The recipient's mailbox is closed. Correct or remove the address in webCRM.",
        ),
        (2, 3) | (3, 4) => (
            "Mailen er for stor for modtageren. Send den uden bilag eller med et link i stedet.",
            "The mail is too large for the recipient. Send it without its attachment, or with a link instead.",
        ),
        (4, _) => (
            "Modtagerens mailserver kunne ikke nås. Kontrollér, at det, der står efter @, er rigtigt.",
            "The recipient's mail server could not be reached. Check that what stands after the @ is right.",
        ),
        (6, _) => (
            "Modtagerens server kan ikke læse mailens indhold. Kontakt webCRM's support med kø-id'et nedenfor.",
            "The recipient's server cannot read the mail's content. Contact webCRM's support with the queue id below.",
        ),
        (7, _) => (
            "Modtagerens server afviste mailen af sikkerhedsgrunde. Bed den mailansvarlige hos jer eller hos modtageren se på svaret ovenfor.",
            "The recipient's server refused the mail for reasons of policy. Ask whoever runs your or the recipient's mail to look at the answer above.",
        ),
        _ => (
            "Svaret ovenfor siger hvorfor. Kontakt webCRM's support med kø-id'et nedenfor, hvis det ikke hjælper dig videre.",
            "The answer above says why. Contact webCRM's support with the queue id below if that does not help.",
        ),
    }
}

/// Returns the text on one line, cut to `most` characters.
fn shortened(text: &str, most: usize) -> String {
    let mut line: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn report(reply: &str, expired: bool) -> RecipientReport {
        RecipientReport { index: 0, reply: reply.into(), advice: None, attempt: None, expired }
    }

    #[test]
    fn every_kind_of_failure_has_a_remedy_of_its_own() {
        let of_server = |subject, detail| remedy(&report("550", false), EnhancedCode(5, subject, detail));
        let kinds = [(1, 1), (1, 8), (2, 1), (2, 2), (2, 3), (4, 4), (6, 0), (7, 1), (0, 0)];
        let mut remedies: Vec<_> = kinds.into_iter().map(|(subject, detail)| of_server(subject, detail)).collect();
        let ours = remedy(&report("cannot connect to mail.test.dk", false), EnhancedCode(4, 4, 1));
        remedies.extend([ours, remedy(&report("451", true), EnhancedCode(5, 4, 7))]);
        assert_eq!(remedies.iter().map(|(danish, _)| danish).collect::<BTreeSet<_>>().len(), 11);
        assert_eq!(remedies.iter().map(|(_, english)| english).collect::<BTreeSet<_>>().len(), 11);
        // These codes mean the same.
        assert_eq!(of_server(1, 7), of_server(1, 8));
        assert_eq!(of_server(3, 4), of_server(2, 3));
        assert_eq!([of_server(2, 4), of_server(3, 3)], [of_server(0, 0); 2], "not about the size");
        assert_eq!(remedy(&report("the route carried no mail in all this time", true), EnhancedCode(5, 4, 7)), ours);
        assert_ne!(of_server(4, 1), ours);
    }

    #[test]
    fn what_is_quoted_stays_on_one_line_and_is_bounded() {
        assert_eq!(shortened("a\r\nb", 10), "a  b");
        assert_eq!(shortened("æøå", 2), "æø…");
    }
}
