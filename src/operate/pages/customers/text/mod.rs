//! The texts of the customer's page, one constant for each language. The texts of findings come from [`Lang`], as in mails and commands.

mod da;
mod en;

use super::wrong::Wrong;
use crate::delivery::Step as ProbeStep;
use crate::onboarding::{DnsProvider, Lang};
use crate::returns::dmarc::summary::Summary;

/// A kind of server, and the steps to configure it, in order.
pub(super) type Instructions = (&'static str, Vec<String>);

/// A usual reason why a server cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    Refused,
    Silent,
    NoWay,
}

impl NoConnection {
    /// Reads the address and the reason from what the relay says of a failed connection. Returns `None` for everything else: what a
    /// server says stays as it said it.
    pub fn read(found: &str) -> Option<(&str, Self)> {
        let (peer, reason) = found.strip_prefix("cannot connect to ")?.split_once(": ")?;
        let is = |words: &str| reason.contains(words);
        match () {
            () if is("Connection refused") => Some((peer, NoConnection::Refused)),
            () if is("no answer within") || is("timed out") => Some((peer, NoConnection::Silent)),
            () if is("unreachable") || is("No route to host") => Some((peer, NoConnection::NoWay)),
            () => None,
        }
    }
}

/// The texts. A step has a title and a purpose.
pub(super) struct Words {
    /// The title of the tab, with the domain.
    pub title: fn(&str) -> String,
    pub heading: fn(&str) -> String,
    pub intro: &'static str,
    /// What DNS is, and who can help: a heading and paragraphs.
    pub what_is_dns: [&'static str; 4],
    pub domains: &'static str,
    /// The field that finds one of many domains: its label, a hint, and the button.
    pub find_domain: [&'static str; 3],
    /// How many of all domains are listed.
    pub some_domains: fn(usize, usize) -> String,
    /// What is said of a domain in the list of them: all is in order, or something is missing.
    pub domain_stands: [&'static str; 2],
    /// When the link expires.
    pub expires: fn(&str) -> String,

    // The overall state: a headline and a sentence.
    pub all_good: [&'static str; 2],
    /// The same, with the number of missing required and recommended items.
    pub missing: fn(usize, usize) -> [String; 2],
    pub unknown: [&'static str; 2],
    pub first_look: [&'static str; 2],
    pub failed_look: [&'static str; 2],
    pub next_step: &'static str,

    // Badges.
    pub done: &'static str,
    pub required: &'static str,
    pub recommended: &'static str,
    pub not_known: &'static str,
    pub waits_for_us: &'static str,
    pub optional: &'static str,
    pub for_information: &'static str,
    pub looked_up: &'static str,
    pub looking: &'static str,

    // Checks.
    pub check_now: &'static str,
    pub looking_up: &'static str,
    pub checked_at: fn(&str) -> String,
    pub next_check: fn(&str) -> String,
    pub dns_is_slow: &'static str,
    pub not_kept: &'static str,

    // Steps, in the order of the page.
    pub domain: [&'static str; 2],
    pub spf: [&'static str; 2],
    pub dkim: [&'static str; 2],
    pub dmarc: [&'static str; 2],
    pub server: [&'static str; 2],
    pub internal: [&'static str; 2],
    pub ours: &'static str,
    /// The domain belongs to another account at Mailjet.
    pub mailjet_owned: fn(&str) -> [String; 2],

    // Records.
    pub record_there: fn(&str, &str) -> String,
    pub record_new: fn(&str, &str) -> String,
    pub record_change: fn(&str, &str) -> String,
    pub record_fix: fn(&str, &str) -> String,
    pub show_record: &'static str,
    pub kind: &'static str,
    pub name: &'static str,
    pub zone: &'static str,
    pub whole_name: &'static str,
    pub value: &'static str,
    pub now: &'static str,
    pub nothing: &'static str,
    pub should: &'static str,
    pub marked: &'static str,
    pub root_name: &'static str,
    pub change_not_add: &'static str,
    pub too_long: &'static str,
    pub split: &'static str,
    pub or_file: fn(&str) -> String,
    pub one_line: &'static str,

    // What DMARC reports say.
    pub reports: &'static str,
    pub reports_none: &'static str,
    pub reports_sum: fn(&Summary) -> String,
    pub senders: &'static str,
    pub senders_columns: [&'static str; 5],
    /// Senders that reports do not name, and many small ones together.
    pub senders_unnamed: [&'static str; 2],
    /// Ours, the customer's own, one that somebody has to know, and many together.
    pub sender_kinds: [&'static str; 4],
    pub senders_more: fn(&str) -> String,
    pub dmarc_next: &'static str,
    /// What receivers do with forged mail under the next policy. With `t=y`, those that know it do what the policy before says (RFC 9989).
    pub dmarc_try_quarantine: &'static str,
    pub dmarc_quarantine: &'static str,
    pub dmarc_try_reject: &'static str,
    pub dmarc_reject: &'static str,
    pub dmarc_change: &'static str,
    pub dmarc_own_time: &'static str,

    // Domain Connect.
    pub connect: fn(&str) -> String,
    pub connect_how: &'static str,
    pub connect_go: &'static str,

    // The panel of the zone's DNS provider.
    pub provider: fn(&str, &str) -> String,
    pub no_provider: fn(&str) -> String,
    /// The name servers of a zone whose provider is not known.
    pub name_servers: fn(&str) -> String,
    /// The registrar of .dk domains runs no DNS for them.
    pub registrar: &'static str,
    pub panel: fn(DnsProvider) -> &'static [&'static str],

    // The message to somebody else.
    pub forward: [&'static str; 2],
    pub forward_subject: fn(&str) -> String,
    pub forward_opening: fn(&str, &str) -> String,
    pub forward_replaces: &'static str,
    pub forward_closing: &'static str,
    pub forward_mail: &'static str,
    pub forward_paste: &'static str,
    pub forward_copy: &'static str,
    pub forward_go: &'static str,
    pub forward_zone: &'static str,

    // The customer's own server.
    pub server_now: fn(&str) -> String,
    /// The customer has an API key of its own at Mailjet.
    pub own_key: &'static str,
    /// At most so many messages a minute, recipients a day, or both.
    pub caps: fn(Option<u32>, Option<u32>) -> String,
    pub server_by_address: fn(&str) -> String,
    pub server_change: &'static str,
    pub server_use: &'static str,
    pub server_instead: &'static str,
    pub server_confirm: &'static str,
    pub server_try: &'static str,
    pub server_safe: &'static str,
    pub server_works: fn(&str) -> String,
    pub server_fails: fn(&str) -> String,
    pub server_said: &'static str,
    /// Why there is no connection, with the address that was tried, where that is a usual reason.
    pub no_connection: fn(&str, NoConnection) -> String,
    pub microsoft_login: &'static str,
    pub oauth_title: &'static str,
    pub oauth_why: &'static str,
    /// What is done before the lines are pasted, what is done with them, and what comes after.
    pub oauth_before: [&'static str; 2],
    pub oauth_lines: &'static str,
    pub oauth_after: &'static str,
    pub tenant: &'static str,
    pub tenant_hint: &'static str,
    pub client: &'static str,
    pub client_hint: &'static str,
    pub secret: &'static str,
    pub secret_hint: &'static str,
    pub host: &'static str,
    pub host_hint: &'static str,
    pub port: &'static str,
    pub port_hint: &'static str,
    pub tls: &'static str,
    pub tls_modes: [(&'static str, &'static str); 4],
    pub login: &'static str,
    pub login_yes: &'static str,
    pub login_no: &'static str,
    pub username: &'static str,
    pub password: &'static str,
    pub password_hint: &'static str,
    pub wrong: fn(Wrong) -> &'static str,
    pub step_ok: &'static str,
    pub step_warning: &'static str,
    pub step_failed: &'static str,
    pub probe_step: fn(ProbeStep) -> &'static str,
    pub allow_title: fn(&str) -> String,
    /// For each kind of server, how it is configured to accept mail from our address.
    pub allow: fn(&str) -> [Instructions; 4],

    // History.
    pub history: &'static str,
    pub no_history: &'static str,
    pub change_verified: fn(&str) -> String,
    pub change_returned: fn(&str) -> String,
    pub change_vanished: fn(&str) -> String,
    pub change_lost: fn(&str) -> String,
}

/// Returns the texts in a language.
pub(super) fn words(lang: Lang) -> &'static Words {
    match lang {
        Lang::Da => &da::WORDS,
        Lang::En => &en::WORDS,
    }
}

#[cfg(test)]
mod tests {
    /// Everything that customers read in Danish, as it stands in the source.
    const DANISH: &[&str] = &[
        include_str!("da.rs"),
        include_str!("../../text/da.rs"),
        include_str!("../../../letters/text.rs"),
        include_str!("../../../../bounce/words.rs"),
        include_str!("../../../../returns/dmarc/text/da.rs"),
        include_str!("../../../../onboarding/text/da.rs"),
        include_str!("../../../../onboarding/text/da/dmarc.rs"),
        include_str!("../../../../onboarding/text/da/failures.rs"),
        include_str!("../../../../onboarding/text/da/publish.rs"),
        include_str!("../../../../onboarding/text/da/records.rs"),
        include_str!("../../../../onboarding/text/da/rotation.rs"),
    ];

    #[test]
    fn danish_says_signatur_and_afkortet_on_every_page_and_in_every_letter() {
        for text in DANISH {
            for line in text.lines() {
                for word in ["underskr", "skåret", "efterprøv", "egne folk"] {
                    assert!(!line.to_lowercase().contains(word), "{word} in {line}");
                }
            }
        }
    }

    #[test]
    fn no_answer_is_said_only_where_nothing_answered() {
        // Something that is not known may have been answered with a refusal or a failure.
        for (text, word) in [(super::da::WORDS.unknown, "svarede ikke"), (super::en::WORDS.unknown, "did not answer")] {
            assert!(!text.iter().any(|text| text.contains(word)), "{text:?}");
        }
    }
}
