//! The texts about records to publish: reasons, explanations and the mail.

use std::fmt::Write as _;

use super::{item, need, word};
use crate::onboarding::finding::Item;
use crate::onboarding::records::{InTheWay, RecordTable, Row, SentThrough};
use crate::onboarding::rotation::Role;
use crate::onboarding::text::names::in_own_letters;
use crate::onboarding::text::{Lang, Word, distinct};
use crate::visible::visible;

pub(in crate::onboarding::text) fn reason(item: Item, own_server: bool) -> &'static str {
    match item {
        Item::FromDomain => "Bulk mail needs a domain of your own.",
        Item::Ownership => "Proves that the domain is yours.",
        Item::Spf if own_server => {
            "Names the servers that send for the domain, your own among them. There may be only one SPF record."
        }
        Item::Spf => "Lets webCRM and Mailjet send for the domain. There may be only one SPF record.",
        Item::Dkim => "Lets receivers verify the signature that webCRM puts on your mail.",
        Item::MailjetAccount => "Lets Mailjet take mail of the domain.",
        Item::MailjetDkim => "Lets receivers verify the signature that Mailjet adds.",
        Item::Dmarc => {
            "Tells receivers what to do with mail that pretends to be yours. It begins by only watching, and brings reports. There may be only one DMARC record."
        }
        Item::ReturnPath => "Makes SPF count for DMARC as well, since bounces then go to a name below your domain.",
        Item::Mx => "Answers must reach you.",
        Item::OwnServer => "Takes the mail.",
        Item::InternalMail => "Lets webCRM write to your own people.",
    }
}

/// Returns the reason for a DMARC record that only watches, and sends reports to nobody.
pub(in crate::onboarding::text) fn watching() -> &'static str {
    "Tells receivers what to do with mail that pretends to be yours. It begins by changing nothing. There may be only one DMARC record."
}

/// Returns the reason for a DMARC record whose policy does more than watch.
pub(in crate::onboarding::text) fn enforcing() -> &'static str {
    "Tells receivers what to do with mail that pretends to be yours. There may be only one DMARC record."
}

/// Returns the reason for the aliases of a customer that publishes its key by hand.
pub(in crate::onboarding::text) fn delegating() -> &'static str {
    "With the two aliases (CNAME) we change the DKIM key ourselves from then on. The TXT record with the key that you have now must stay: we tell you when it can be deleted."
}

pub(in crate::onboarding::text) fn replaces(count: usize) -> String {
    match count {
        1 => "It replaces the one you have.".into(),
        count => format!("It replaces all {count} you have."),
    }
}

pub(in crate::onboarding::text) fn role(role: Role) -> &'static str {
    match role {
        Role::Incoming => "The key that will sign next. The one that signs now stays published.",
        Role::Outgoing => "The key that signed before. It must stay: mail signed with it is still on its way.",
        Role::Revoked => "Revokes the key that signed before: the empty record replaces its record.",
    }
}

pub(in crate::onboarding::text) fn to_come(host: &str) -> String {
    format!("A key record at {host} is needed as well. webCRM gets its value from Mailjet and sends it then.")
}

/// Explains how to replace the alias if a From domain is one.
pub(super) fn without_alias(target: &str) -> String {
    format!(
        "Send from another domain, or have the alias replaced by addresses (A and AAAA, or ALIAS/ANAME where your DNS panel has it) before the record is published. If {target} is yours, the record can be published there instead."
    )
}

pub(in crate::onboarding::text) fn in_the_way(host: &str, what: &InTheWay) -> String {
    match what {
        InTheWay::DomainAlias { target } => format!(
            "{host} is an alias (CNAME) for {target}, and no other record can stand beside an alias. {}",
            without_alias(target)
        ),
        InTheWay::Alias { target } => format!(
            "{host} is an alias (CNAME) for {target} today. Delete the alias before the record is published: no other record can stand beside it."
        ),
        InTheWay::Address { address } => format!(
            "{host} answers with the address {address} today. Switch the proxy off for the name (in Cloudflare: \"DNS only\"); if an A or AAAA record stands there instead, delete it before the alias is published."
        ),
    }
}

pub(in crate::onboarding::text) fn label_hint(table: &RecordTable) -> String {
    match &table.zone {
        Some(zone) => format!(
            "Name is what to enter in a DNS panel that appends the zone's name ({zone}) by itself; @ or nothing is the zone itself. If the panel wants the whole name, use host."
        ),
        None => format!(
            "The zone of {} could not be looked up, so the whole name stands here. Many DNS panels append the zone's name by themselves: then enter only what stands before it (@ or nothing for the zone itself).",
            table.domain
        ),
    }
}

pub(in crate::onboarding::text) fn other_steps(table: &RecordTable) -> Vec<String> {
    let egress = &table.egress;
    match &table.sent_through {
        SentThrough::Mailjet { include } => vec![format!(
            "If mail from webCRM to your own people is refused, allow Mailjet's addresses on the mail server that takes your mail. The SPF record of {include} holds them."
        )],
        SentThrough::OwnServer { server, logs_in } => {
            let relay = format!(
                "webCRM does not log in at {server}: the server has to let the address {egress} send mail through it."
            );
            let internal = format!(
                "If mail from webCRM to your own people is refused, allow {egress} on the mail server that takes your mail."
            );
            [relay, internal].into_iter().skip(usize::from(*logs_in)).collect()
        }
    }
}

pub(in crate::onboarding::text) fn mail(customer: &str, tables: &[RecordTable]) -> (String, String) {
    let domains: Vec<_> = tables.iter().map(|table| in_own_letters(&table.domain)).collect();
    let subject = format!("DNS records for mail from webCRM: {}", domains.join(", "));
    let mut body = format!(
        "Dear {customer},\n\nso that mail you send from webCRM arrives, please publish these DNS records, or ask whoever runs \
         your DNS to do it. Only you can do it: that is what makes it proof.\n"
    );
    for table in tables {
        let _ = write!(body, "\n== {} ==\n", in_own_letters(&table.domain));
        for (at, row) in table.rows.iter().filter(|row| !row.present).enumerate() {
            let _ = write!(body, "\n{}. ", at + 1);
            record(&mut body, table, row);
        }
        for row in table.rows.iter().filter(|row| row.present && !row.obstacles.is_empty()) {
            let _ = write!(
                body,
                "\n{}: something is to be mended in the record you have at {}.\n",
                item(row.item),
                row.host
            );
            for text in row.remarks(Lang::En) {
                let _ = writeln!(body, "   {text}");
            }
        }
        if let Some(host) = &table.mailjet_key_to_come {
            let _ = write!(body, "\n{}: {}\n", item(Item::MailjetDkim), to_come(host));
        }
        if table.unknown {
            let _ = write!(body, "\n{}\n", word(Word::Unknown));
        }
        if table.is_done() {
            let _ = write!(body, "\nEverything is published already. Thank you.\n");
        }
    }
    body.push('\n');
    for hint in distinct(tables.iter().map(label_hint)) {
        let _ = writeln!(body, "{}", in_own_letters(&hint));
    }
    let _ = writeln!(body, "{}", word(Word::OneLineHint));
    for step in distinct(tables.iter().flat_map(other_steps)) {
        let _ = write!(body, "\n{}\n", in_own_letters(&step));
    }
    body.push_str(
        "\nWe check the records on our own, several times a day; you need not write back when they are published.\n\nKind regards\nwebCRM\n",
    );
    (subject, body)
}

fn record(body: &mut String, table: &RecordTable, row: &Row) {
    let _ = writeln!(body, "{} ({})\n   {}", item(row.item), need(row.need), Lang::En.why(table, row));
    let _ = writeln!(body, "   Type:  {}", row.kind);
    if let Some(zone) = &row.zone {
        let _ = writeln!(body, "   Name:  {}", row.label);
        if table.zone.as_ref() != Some(zone) {
            let _ = writeln!(body, "   Zone:  {zone}");
        }
    }
    let _ = writeln!(body, "   Host:  {}\n   Value: {}", row.host, visible(&row.value));
    if let Some(url) = &row.alternative {
        let _ = writeln!(body, "   Or, instead of the record: an empty text file at {}", in_own_letters(url));
    }
    for text in row.remarks(Lang::En) {
        let _ = writeln!(body, "   Note: {text}");
    }
}
