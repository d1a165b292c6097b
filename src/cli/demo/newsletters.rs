//! Three newsletters of the kind that webCRM sends: Danish, HTML with a plain text alternative, one with an attachment.

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, MultiPart};

/// The number of newsletters.
pub(super) const COUNT: usize = 3;

/// A newsletter, ready to submit.
pub(super) struct Newsletter {
    pub subject: &'static str,
    pub message: Message,
}

/// Makes all newsletters, from a customer's domain.
pub(super) fn all(domain: &str) -> anyhow::Result<[Newsletter; COUNT]> {
    let autumn = Text {
        subject: "Efterårets nyheder fra Nordlys",
        lead: "Bladene falder, og lageret er fyldt med varme tæpper, uldsokker og stearinlys.",
        items: &["Uldtæpper fra Fanø: 20 % rabat hele ugen", "Nye lysestager i messing", "Gratis fragt over 499 kr."],
    };
    let evening = Text {
        subject: "Invitation: åben aften torsdag den 3. december",
        lead: "Kom og få et glas gløgg, hør om årets julekollektion, og mød håndværkerne bag.",
        items: &["Dørene åbner kl. 19", "Æbleskiver til alle", "Tilmelding er ikke nødvendig"],
    };
    let report = Text {
        subject: "Årets resultater – tak for samarbejdet",
        lead: "Vi har samlet året i tal. Programmet for næste år er vedhæftet.",
        items: &["12 nye forhandlere", "1.840 sæt solgt i Århus", "Størst fremgang: brændeovne"],
    };
    let program = Attachment::new("program-2027.csv".to_owned()).body(
        "måned;arrangement\r\nmarts;Forårsmesse\r\nseptember;Høstfest\r\n".to_owned(),
        ContentType::parse("text/csv")?,
    );
    Ok([
        newsletter(domain, &autumn, None)?,
        newsletter(domain, &evening, None)?,
        newsletter(domain, &report, Some(program))?,
    ])
}

struct Text {
    subject: &'static str,
    lead: &'static str,
    items: &'static [&'static str],
}

fn newsletter(
    domain: &str,
    text: &Text,
    attachment: Option<lettre::message::SinglePart>,
) -> anyhow::Result<Newsletter> {
    let alternative = MultiPart::alternative_plain_html(plain(text), html(text));
    let body = match attachment {
        Some(attachment) => MultiPart::mixed().multipart(alternative).singlepart(attachment),
        None => alternative,
    };
    let mut message = Message::builder()
        .from(format!("Nordlys <nyhedsbrev@{domain}>").parse()?)
        .to("Søren Kjær <soeren@modtager.example>".parse()?)
        .subject(text.subject)
        .multipart(body)?;
    for (name, value) in [
        ("List-Unsubscribe", format!("<https://{domain}/afmeld?id=4711>")),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
        ("Precedence", "bulk".to_owned()),
    ] {
        message.headers_mut().insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
    }
    Ok(Newsletter { subject: text.subject, message })
}

fn plain(text: &Text) -> String {
    let items: String = text.items.iter().map(|item| format!("- {item}\n")).collect();
    format!("{}\n\n{items}\nVenlig hilsen\nNordlys ApS, Strandvejen 7, 8000 Århus\n", text.lead)
}

fn html(text: &Text) -> String {
    let items: String = text.items.iter().map(|item| format!("      <li>{item}</li>\n")).collect();
    format!(
        "<!doctype html>\n<html lang=\"da\">\n  <body style=\"font-family: sans-serif\">\n    <h1>{}</h1>\n    <p>{}</p>\n    \
         <ul>\n{items}    </ul>\n    <p>Venlig hilsen<br>Nordlys ApS, Strandvejen 7, 8000 Århus</p>\n  </body>\n</html>\n",
        text.subject, text.lead
    )
}
