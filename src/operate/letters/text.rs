//! The texts of letters.

use super::LetterKind;
use crate::onboarding::Lang;
use crate::smtp::Domain;
use crate::visible::visible;

/// Returns the subject and the text of a letter.
pub(super) fn letter(
    lang: Lang,
    customer: &str,
    domain: &Domain,
    kind: &LetterKind,
    link: Option<&str>,
) -> (String, String) {
    let (customer, domain) = (visible(customer), lang.name(domain.as_str()));
    match lang {
        Lang::Da => danish(&customer, &domain, kind, link),
        Lang::En => english(&customer, &domain, kind, link),
    }
}

fn danish(customer: &str, domain: &str, kind: &LetterKind, link: Option<&str>) -> (String, String) {
    let (subject, text) = match kind {
        LetterKind::Complete => (
            format!("{domain}: alt er i orden til mail fra webCRM"),
            format!(
                "Alle records for {domain} er på plads, og mail fra webCRM er nu godkendt til at blive sendt i jeres navn. I skal ikke gøre mere.\n\n\
                 Lad recordene blive stående. Vi holder øje med dem og skriver, hvis en af dem forsvinder."
            ),
        ),
        LetterKind::Vanished(which) => (
            format!("{domain}: en DNS-record til mail fra webCRM er forsvundet"),
            format!(
                "For {domain} er dette ikke længere i orden: {}.\n\n\
                 Det sker som regel, når DNS er flyttet eller rettet til andet. Jeres mails bliver stadig sendt, men bliver det ikke rettet inden for et par \
                 dage, kommer færre af dem frem.",
                named(which, "bevis for ejerskab")
            ),
        ),
    };
    let link = match (link, kind) {
        (None, _) => String::new(),
        (Some(link), LetterKind::Vanished(_)) => {
            format!("\n\nHer står, hvad der skal rettes, og her kan I tjekke det bagefter:\n{link}")
        }
        (Some(link), LetterKind::Complete) => format!("\n\nHer kan I altid se, hvordan det står til:\n{link}"),
    };
    (subject, format!("Kære {customer}\n\n{text}{link}\n\nVenlig hilsen\nwebCRM\n"))
}

fn english(customer: &str, domain: &str, kind: &LetterKind, link: Option<&str>) -> (String, String) {
    let (subject, text) = match kind {
        LetterKind::Complete => (
            format!("{domain}: everything is in order for mail from webCRM"),
            format!(
                "All records of {domain} are in place, and mail from webCRM is now approved to be sent in your name. There is nothing more to do.\n\n\
                 Leave the records in place. We watch them, and write if one of them disappears."
            ),
        ),
        LetterKind::Vanished(which) => (
            format!("{domain}: a DNS record for mail from webCRM has disappeared"),
            format!(
                "Of {domain}, this is no longer in order: {}.\n\n\
                 It usually happens when DNS was moved, or changed for something else. Your mail is still sent, but unless it is mended within a few days, \
                 less of it arrives.",
                named(which, "proof of ownership")
            ),
        ),
    };
    let link = match (link, kind) {
        (None, _) => String::new(),
        (Some(link), LetterKind::Vanished(_)) => {
            format!("\n\nThis page says what to mend, and checks it afterwards:\n{link}")
        }
        (Some(link), LetterKind::Complete) => format!("\n\nThis page always shows how things stand:\n{link}"),
    };
    (subject, format!("Dear {customer}\n\n{text}{link}\n\nKind regards\nwebCRM\n"))
}

fn named(which: &[String], ownership: &str) -> String {
    let one = |name: &String| if name == "ownership" { ownership.to_owned() } else { name.to_ascii_uppercase() };
    which.iter().map(one).collect::<Vec<_>>().join(", ")
}
