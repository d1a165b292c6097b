//! Letters to customers' contacts: when a domain is complete, and when a record of it has vanished. They are mails in the contact's
//! language. The relay sends them as it sends any other mail: signed with the key of `[onboarding] letters_from`, whose domain belongs to
//! one of the customers (webCRM itself).
//!
//! The monitor reports each change once, so a contact gets at most one letter about it. A domain whose records come and go causes at most
//! four letters a day to each contact, and at most one of each kind in six hours. If a letter cannot be written, that is only logged, because the event of the
//! change is emitted in any case.

mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::links::NewLink;
use super::{Actor, Role, Service};
use crate::bounce::{header_text, quoted_printable};
use crate::customers::{Contact, ContactLanguage, SigningDomain};
use crate::dkim::{Job, Workers};
use crate::message::{BodyKind, Envelope, Lane, MailKind, Recipient, Urgency};
use crate::onboarding::{ChangeKind, Changed, Lang};
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::spool::{Commit, Draft};
use crate::time::Timestamp;

/// The maximum number of letters to a contact about one domain in a day.
const MOST_A_DAY: usize = 4;
/// The minimum time between two letters of one kind to a contact about one domain.
const PAUSE: Duration = Duration::from_secs(6 * 3600);
const DAY: Duration = Duration::from_secs(86_400);
/// From this number of domains on, those without a letter in the last day are forgotten.
const COUNTED: usize = 20_000;

/// What a letter is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LetterKind {
    /// The domain is complete.
    Complete,
    /// These requirements have vanished, by the names that customers know.
    Vanished(Vec<String>),
}

/// Writes and sends letters.
pub struct Letters {
    /// Makes links to the page.
    pub service: Service,
    pub workers: Workers,
    pub spool: Arc<dyn Commit>,
    /// The delay before a letter is tried a second time.
    pub first_retry: Duration,
}

impl Letters {
    /// Writes letters about the changes that it receives, until stopped.
    pub async fn run(self, mut told: mpsc::Receiver<Changed>, stopping: CancellationToken) {
        let mut sent = Sent::default();
        while let Some(Some(changed)) = stopping.run_until_cancelled(told.recv()).await {
            let Some(from) = self.service.live().ok().and_then(|live| live.letters_from()) else { continue };
            let Some(kind) = kind(&changed) else { continue };
            if changed.customer.contacts.is_empty() || !sent.may(&changed.domain, &kind, Timestamp::now()) {
                continue;
            }
            for contact in &changed.customer.contacts {
                if let Err(error) = self.write(&from, contact, &changed, &kind).await {
                    let (customer, domain) = (&changed.customer.id, &changed.domain);
                    tracing::warn!(%customer, "a contact does not hear of what has changed of {domain}: {error}");
                }
            }
        }
    }

    async fn write(
        &self,
        from: &Mailbox,
        contact: &Contact,
        changed: &Changed,
        kind: &LetterKind,
    ) -> Result<(), String> {
        let sender = from.domain().ok_or("the address of letters has no domain")?;
        let directory = self.service.routing.directory();
        let owner = directory.by_domain(sender).ok_or_else(|| format!("no customer has the domain {sender}"))?;
        let Some(SigningDomain::Ready(signer)) = owner.domains.get(sender) else {
            return Err(format!("the key of {sender} cannot be used"));
        };
        let lang = match contact.language {
            Some(ContactLanguage::Danish) => Lang::Da,
            Some(ContactLanguage::English) => Lang::En,
            None => self.service.live().map_or(Lang::Da, |live| live.language()),
        };
        let link = self.link(lang, changed).await;
        let (subject, text) = text::letter(lang, &changed.customer.name, &changed.domain, kind, link.as_deref());
        let now = Timestamp::now();
        let message_id = format!("{:016x}.{}@{sender}", rand::random::<u64>(), now.as_millis());
        let header = header(from, contact, &subject, &message_id, now);
        let mut body = Vec::new();
        quoted_printable(text.as_bytes(), &mut body);
        let mut hasher = signer.body_hasher();
        hasher.update(&body);
        let job = Job { signer: Arc::clone(signer), header: header.into_bytes(), body: hasher.finish(), now };
        let signed = self.workers.sign(job).await.map_err(|error| error.to_string())?;
        let draft = self.draft(from, contact, owner.id.clone(), sender.clone(), (message_id, signed, body));
        let durable = self.spool.commit(draft).await.map_err(|error| error.to_string())?;
        tracing::info!(customer = %changed.customer.id, id = %durable.id(), "a contact is written to about {}", changed.domain);
        Ok(())
    }

    /// Returns a link for the contact. If no pages are served for customers, the letter has no link.
    async fn link(&self, lang: Lang, changed: &Changed) -> Option<String> {
        let new = NewLink { days: None, language: Some(lang.to_string()) };
        let actor = Actor::new("postbud", Role::Admin);
        let added = self.service.add_link(&actor, changed.customer.id.as_str(), &new).await;
        added.inspect_err(|error| tracing::info!("a letter has no link: {error}")).ok().map(|added| added.url)
    }

    fn draft(
        &self,
        from: &Mailbox,
        contact: &Contact,
        customer: crate::message::CustomerId,
        domain: Domain,
        (message_id, signed, body): (String, crate::dkim::Signed, Vec<u8>),
    ) -> Draft {
        let header_len = u32::try_from(signed.header.len()).expect("a letter's header is a few hundred octets");
        let content = [signed.header.as_slice(), b"\r\n", &body].concat();
        Draft {
            id: self.spool.next_id(),
            lane: Lane { customer, domain, urgency: Urgency::Single, kind: MailKind::Mail },
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(from.clone()),
                recipients: vec![Recipient::new(contact.address.clone())],
                body: BodyKind::SevenBit,
                smtputf8: contact.address.needs_smtputf8(),
                ret: None,
                envid: None,
                references: Default::default(),
            },
            message_id,
            prefix: signed.signatures,
            content: vec![content.into()],
            header_len,
            retry_at: Timestamp::now() + self.first_retry,
            held: None,
            lines: Vec::new(),
        }
    }
}

fn header(from: &Mailbox, contact: &Contact, subject: &str, message_id: &str, now: Timestamp) -> String {
    let to = match &contact.name {
        Some(name) => format!("{} <{}>", header_text(&quoted(name)), contact.address),
        None => format!("<{}>", contact.address),
    };
    format!(
        "Date: {}\r\nFrom: webCRM <{from}>\r\nTo: {to}\r\nSubject: {}\r\nMessage-ID: <{message_id}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n",
        now.rfc5322(),
        header_text(subject),
    )
}

/// Returns a display name as a quoted string if it is plain (RFC 5322 §3.2.4). Encoded words have no quotation marks.
fn quoted(name: &str) -> String {
    let plain = name.is_ascii() && name.len() < 50 && !name.contains("=?");
    if plain { format!("\"{}\"", name.replace(['\\', '"'], "")) } else { name.to_owned() }
}

/// Returns the kind of the letter about this change, or `None` if there is none.
fn kind(changed: &Changed) -> Option<LetterKind> {
    let vanished: Vec<String> = changed
        .changes
        .iter()
        .filter(|change| change.change == ChangeKind::Vanished)
        .map(|change| change.requirement.clone())
        .collect();
    match (vanished.is_empty(), changed.is_complete_now) {
        (false, _) => Some(LetterKind::Vanished(vanished)),
        (true, true) => Some(LetterKind::Complete),
        (true, false) => None,
    }
}

/// The letters of the last day, by domain.
#[derive(Default)]
struct Sent(HashMap<Domain, Vec<(bool, Timestamp)>>);

impl Sent {
    /// Returns true if a letter may be written now, and records it.
    fn may(&mut self, domain: &Domain, kind: &LetterKind, now: Timestamp) -> bool {
        // A time in the future comes from a clock that was wrong.
        let recent = |at: Timestamp| at <= now && now.since(at) < DAY;
        if self.0.len() >= COUNTED {
            self.0.retain(|_, sent| sent.iter().any(|(_, at)| recent(*at)));
        }
        let is_complete = *kind == LetterKind::Complete;
        let sent = self.0.entry(domain.clone()).or_default();
        sent.retain(|(_, at)| recent(*at));
        let too_soon = sent.iter().any(|(of, at)| *of == is_complete && now.since(*at) < PAUSE);
        if too_soon || sent.len() >= MOST_A_DAY {
            return false;
        }
        sent.push((is_complete, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_comes_and_goes_makes_few_letters() {
        let (mut sent, domain) = (Sent::default(), Domain::parse("test.dk").unwrap());
        let (gone, there) = (LetterKind::Vanished(vec!["spf".into()]), LetterKind::Complete);
        let start = Timestamp::from_millis(1_000_000_000_000);
        assert!(sent.may(&domain, &gone, start) && sent.may(&domain, &there, start));
        assert!(!sent.may(&domain, &gone, start + PAUSE / 2) && !sent.may(&domain, &there, start + PAUSE / 2));
        assert!(sent.may(&domain, &gone, start + PAUSE) && sent.may(&domain, &there, start + PAUSE));
        assert!(!sent.may(&domain, &gone, start + PAUSE * 2), "four a day");
        assert!(sent.may(&domain, &gone, start + PAUSE * 5));
        assert!(sent.may(&Domain::parse("test.se").unwrap(), &gone, start));
    }

    #[test]
    fn a_letters_header_is_one_whatever_its_contact_is_called() {
        let from = Mailbox::parse("support@webcrm.com").unwrap();
        for name in ["Ole", "Æble & \"Søn\"", "x\r\nBcc: evil@example.com", &"ø".repeat(200)] {
            let address = Mailbox::parse("ole@test.dk").unwrap();
            let contact = Contact { address, name: Some(name.to_owned()), language: None };
            let text = header(&from, &contact, "Ny\r\nX-Evil: 1", "x@webcrm.com", Timestamp::EPOCH);
            let names: Vec<&str> =
                text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
            assert_eq!(names.len(), 9, "{text}");
            assert!(!names.contains(&"Bcc") && !names.contains(&"X-Evil") && text.is_ascii(), "{text}");
        }
    }
}
