//! The page itself: the overall state, what is next, and then each step. It only uses the data it is given.

use maud::{Markup, html};

use super::clock::moment;
use super::looks::{Known, Progress, Snapshot};
use super::steps::{Step, StepState, is_ours};
use super::text::{Words, words};
use super::{dmarc, forward, record};
use crate::onboarding::text::Text;
use crate::onboarding::{DnsProvider, Finding, Lang, Severity};
use crate::operate::domains::{DomainLook, DomainView};
use crate::operate::pages::elements::{Field, Mood, badge, strange};
use crate::operate::pages::layout::Page;
use crate::smtp::Domain;
use crate::time::Timestamp;
use crate::visible::visible;

/// The number of seconds after which a page without scripts loads again while a check runs.
const REFRESH_SECS: u32 = 3;
/// The maximum number of past changes that are shown.
const HISTORY: usize = 12;
/// The maximum number of a zone's name servers that are named.
const NAME_SERVERS: usize = 4;
/// The name of the field that finds a domain.
const FIND: &str = "find";
/// The most characters that are sought. A domain has no more.
const LONGEST_WANTED: usize = 253;

/// The content of the page.
pub(super) struct View<'a> {
    pub lang: Lang,
    pub customer: &'a str,
    /// The first of the customer's domains whose names contain what the reader seeks, and always the one that is shown.
    pub domains: &'a [Tab],
    /// The number of all its domains.
    pub domain_count: usize,
    /// The part of a name that the reader seeks; empty for none.
    pub wanted: &'a str,
    /// The domain that is shown.
    pub domain: &'a str,
    /// The path of this page.
    pub path: &'a str,
    /// The hidden field of the form that starts a check.
    pub code: Markup,
    /// The part about the customer's own server.
    pub server: Markup,
    /// True if the customer's mail is sent through it.
    pub has_own_server: bool,
    /// The current data of the domain.
    pub known: &'a Known,
    /// What is stored about the domain.
    pub stored: Option<&'a DomainView>,
    /// When the link expires, in words.
    pub expires: String,
}

/// One of the customer's domains in the list of them.
pub(super) struct Tab {
    pub domain: String,
    /// The path of its page.
    pub path: String,
    /// True if everything of it was verified, false if not; `None` if nobody has looked yet.
    pub is_in_order: Option<bool>,
}

impl Tab {
    /// Reads from what was verified how a domain stands.
    pub fn new(domain: &Domain, path: String, stored: Option<&DomainView>) -> Self {
        let known = stored.filter(|view| !view.requirements.is_empty());
        let stands = |view: &DomainView| view.requirements.iter().all(|it| it.verified && it.vanished.is_none());
        Tab { domain: domain.to_string(), path, is_in_order: known.map(stands) }
    }
}

/// Returns the part of a domain's name that the reader seeks.
pub(super) fn wanted(query: Option<&str>) -> String {
    let mut fields = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let found = fields.find(|(name, _)| name == FIND).map(|(_, value)| value.trim().to_lowercase());
    found.unwrap_or_default().chars().take(LONGEST_WANTED).collect()
}

impl View<'_> {
    pub fn page(&self) -> Page {
        let words = words(self.lang);
        let progress = self.known.running.as_ref().map(|running| running.borrow().clone());
        let shown = self.lang.name(self.domain);
        let snapshot = self.known.snapshot.as_deref();
        let body = html! {
            h1 { ((words.heading)(&shown)) }
            p { (words.intro) }
            @if snapshot.is_none_or(|it| it.look.table.rows.iter().any(|row| !row.present)) { (what_is_dns(words)) }
            @if self.domain_count > 1 { (self.tabs(words)) }
            (self.whole(words, snapshot, progress.as_ref()))
            @if let Some(snapshot) = snapshot { (self.steps(words, snapshot)) }
            (self.history(words))
            p.quiet.small { ((words.expires)(&self.expires)) }
        };
        let mut page = Page::new(self.lang, (words.title)(&shown), visible(self.customer), body);
        page.path = Some(self.path.to_owned());
        page.refresh_secs = progress.is_some().then_some(REFRESH_SECS);
        page
    }

    fn tabs(&self, words: &Words) -> Markup {
        let seek = Field {
            name: FIND,
            label: words.find_domain[0],
            hint: words.find_domain[1],
            kind: "search",
            value: self.wanted,
            error: None,
            autocomplete: "off",
            required: false,
        };
        let left_out = self.domain_count - self.domains.len().min(self.domain_count);
        html! {
            @if left_out > 0 || !self.wanted.is_empty() {
                form.filter method="get" action=(self.path) role="search" {
                    (seek.render())
                    div.actions { button.plain { (words.find_domain[2]) } }
                }
                p.quiet.small { ((words.some_domains)(self.domains.len(), self.domain_count)) }
            }
            nav.pages aria-label=(words.domains) {
                @for Tab { domain, path, is_in_order } in self.domains {
                    span {
                        a href=(path) aria-current=[(domain == self.domain).then_some("page")] { (self.lang.name(domain)) }
                        @match is_in_order {
                            Some(true) => { " " (badge(Mood::Good, words.domain_stands[0])) }
                            Some(false) => { " " (badge(Mood::Wait, words.domain_stands[1])) }
                            None => {}
                        }
                    }
                }
            }
        }
    }

    /// Shows the overall state and what is next.
    fn whole(&self, words: &Words, snapshot: Option<&Snapshot>, progress: Option<&Progress>) -> Markup {
        let all = snapshot.map(step_states).unwrap_or_default();
        let count = |wanted: StepState| all.iter().filter(|(_, state)| *state == wanted).count();
        let (required, recommended) = (count(StepState::Required), count(StepState::Recommended));
        let own = |[title, text]: [&str; 2]| [title.to_owned(), text.to_owned()];
        let (mood, [title, text]) = match snapshot {
            None if self.known.failed && progress.is_none() => (Mood::Wait, own(words.failed_look)),
            None => (Mood::Calm, own(words.first_look)),
            Some(_) if required > 0 => (Mood::Bad, (words.missing)(required, recommended)),
            Some(_) if recommended > 0 => (Mood::Wait, (words.missing)(0, recommended)),
            Some(_) if count(StepState::Unknown) > 0 => (Mood::Calm, own(words.unknown)),
            Some(_) if count(StepState::Ours) > 0 => {
                (Mood::Calm, [words.waits_for_us.to_owned(), words.ours.to_owned()])
            }
            Some(_) => (Mood::Good, own(words.all_good)),
        };
        let to_do = |state: StepState| matches!(state, StepState::Required | StepState::Recommended);
        let first = all.iter().filter(|(_, state)| to_do(*state)).max_by_key(|(_, state)| *state);
        // The first of the worst, in the order of the page.
        let first = first.and_then(|(_, worst)| all.iter().find(|(_, state)| state == worst));
        html! {
            section.card.(mood.class()) #whole aria-labelledby="whole-title" {
                h2 #whole-title { (title) }
                p { (text) }
                @if let Some((step, _)) = first {
                    p { strong { (words.next_step) ": " } a href={ "#" (step.id()) } { (step.words(words)[0]) } }
                }
                @if !all.is_empty() {
                    ul.steps {
                        @for (step, state) in &all {
                            li { (badge(state.mood(), state.word(words))) a href={ "#" (step.id()) } { (step.words(words)[0]) } }
                        }
                    }
                }
                @match progress {
                    Some(progress) => (looking(self.lang, progress, &format!("{}/events", self.path))),
                    None => form.actions method="post" action={ (self.path) "/check" } {
                        (self.code)
                        button type="submit" { (words.check_now) }
                        @if snapshot.is_some_and(|it| forward::is_due(&it.look.table)) {
                            a.button.plain href="#forward" { (words.forward_go) }
                        }
                    },
                }
                (self.times(words, snapshot, first.is_some()))
            }
        }
    }

    /// When it was checked and when it is next. `is_waited_for`: something is missing, which may be on its way already.
    fn times(&self, words: &Words, snapshot: Option<&Snapshot>, is_waited_for: bool) -> Markup {
        let time = |text: Option<&String>| text.and_then(|text| text.parse::<Timestamp>().ok());
        let checked = snapshot
            .map(|it| it.look.report.checked_at)
            .max(self.stored.and_then(|view| time(view.last_checked.as_ref())));
        let next = self.stored.and_then(|view| time(view.next_check.as_ref()));
        html! {
            p.quiet.small {
                @if let Some(at) = checked { ((words.checked_at)(&moment(at, self.lang))) " " }
                @if let Some(at) = next { ((words.next_check)(&moment(at, self.lang))) " " }
                @if is_waited_for { (words.dns_is_slow) }
            }
            @if snapshot.is_some_and(|it| it.look.unkept.is_some()) { div class="note wait" { (words.not_kept) } }
        }
    }

    fn steps(&self, words: &Words, snapshot: &Snapshot) -> Markup {
        let look = &snapshot.look;
        let rows: Vec<_> = look.table.rows.iter().enumerate().collect();
        html! {
            @if let Some(apply) = &look.apply {
                section.card.good #connect aria-labelledby="connect-title" {
                    h2 #connect-title { ((words.connect)(&strange(&apply.provider))) }
                    p { (words.connect_how) }
                    p.actions { a.button href=(apply.url) rel="noreferrer" { (words.connect_go) } }
                }
            }
            @if rows.iter().any(|(_, row)| !row.present) { (panel(words, look)) }
            @for (step, state) in step_states(snapshot) {
                @if step == Step::Internal && !self.has_own_server {
                    section.step #server aria-labelledby="server-title" {
                        div.head { h2 #server-title { (words.server[0]) } (badge(Mood::Calm, words.optional)) }
                        (self.server)
                    }
                }
                section.step #(step.id()) aria-labelledby={ (step.id()) "-title" } {
                    div.head {
                        h2 #{ (step.id()) "-title" } { (step.words(words)[0]) }
                        (badge(state.mood(), state.word(words)))
                    }
                    p { (step.words(words)[1]) }
                    (self.findings(words, step, snapshot))
                    @if step == Step::Server { (self.server) }
                    @for (at, row) in rows.iter().filter(|(_, row)| Step::of(row.item) == step) {
                        (record::card(self.lang, &look.table, row, &look.report, look.provider, *at))
                    }
                    @if let Some(report) = look.dmarc.as_ref().filter(|_| step == Step::Dmarc) {
                        (dmarc::part(self.lang, report, &look.table))
                    }
                }
            }
            (forward::part(self.lang, self.customer, &look.table))
        }
    }

    /// Shows the findings of a step that the record's card does not show already.
    fn findings(&self, words: &Words, step: Step, snapshot: &Snapshot) -> Markup {
        let (mut said, mut ours) = (Vec::new(), false);
        for check in step.checks(&snapshot.look.report) {
            for finding in &check.findings {
                let worth = match step {
                    Step::Internal => true,
                    // The result of the trial shows it.
                    Step::Server => false,
                    _ => finding.severity() >= Severity::Warning && !is_said_by_card(finding),
                };
                if let Finding::MailjetOwned { domain, .. } = finding {
                    let [what, next] = (words.mailjet_owned)(&self.lang.name(domain));
                    // Each tier's account says so.
                    if !said.iter().any(|(_, text): &(Mood, Text)| text.what == what) {
                        said.push((Mood::Wait, Text { what, next }));
                    }
                } else if is_ours(finding) {
                    ours |= finding.severity() > Severity::Hint;
                } else if worth {
                    let mood = match finding.severity() {
                        Severity::Good => Mood::Good,
                        Severity::Hint | Severity::Unknown => Mood::Calm,
                        Severity::Warning | Severity::Fault => Mood::Wait,
                    };
                    said.push((mood, self.lang.finding(finding)));
                }
            }
        }
        html! {
            @for (mood, text) in said {
                div class={ "note " (mood.class()) } {
                    p { (strange(&text.what)) }
                    @if !text.next.is_empty() { p { strong { (strange(&text.next)) } } }
                }
            }
            @if ours { div class="note calm" { (words.ours) } }
        }
    }

    fn history(&self, words: &Words) -> Markup {
        let changes = self.stored.map(|view| view.history.as_slice()).unwrap_or_default();
        let said = |requirement: &str, change: &str| {
            let what = match requirement {
                "spf" => "SPF",
                "dkim" => "DKIM",
                "dmarc" => "DMARC",
                _ => self.lang.item(crate::onboarding::Item::Ownership),
            };
            match change {
                "verified" => (words.change_verified)(what),
                "returned" => (words.change_returned)(what),
                "vanished" => (words.change_vanished)(what),
                _ => (words.change_lost)(what),
            }
        };
        html! {
            section #history {
                details {
                    summary { (words.history) }
                    @if changes.is_empty() { p { (words.no_history) } }
                    ul {
                        @for change in changes.iter().rev().take(HISTORY) {
                            li {
                                @if let Ok(at) = change.at.parse::<Timestamp>() { (moment(at, self.lang)) ": " }
                                (said(&change.requirement, &change.change))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Explains to somebody who has never heard of DNS what it is, and who can help.
fn what_is_dns(words: &Words) -> Markup {
    html! {
        details #dns {
            summary { (words.what_is_dns[0]) }
            @for text in &words.what_is_dns[1..] { p { (text) } }
        }
    }
}

/// Returns true if the record's card shows the finding: that the record is missing, and what to publish.
fn is_said_by_card(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::OwnershipMissing { .. }
            | Finding::SpfMissing { .. }
            | Finding::SpfDoesNotPass { .. }
            | Finding::DkimMissing { .. }
            | Finding::DelegationMissing { .. }
            | Finding::DelegationIdle { .. }
            | Finding::DmarcMissing { .. }
            | Finding::ReturnPathMissing { .. }
    )
}

/// Returns the steps that the page shows, with their states.
fn step_states(snapshot: &Snapshot) -> Vec<(Step, StepState)> {
    let look = &snapshot.look;
    Step::ALL.into_iter().filter_map(|step| Some((step, step.state(&look.report, &look.table)?))).collect()
}

/// Shows the progress of a check. The event stream replaces this part.
pub(super) fn looking(lang: Lang, progress: &Progress, events: &str) -> Markup {
    let words = words(lang);
    html! {
        div data-live=(events) {
            p { strong { (words.looking_up) } }
            (results(lang, progress))
        }
    }
}

/// Shows the results so far, one line for each check.
pub(super) fn results(lang: Lang, progress: &Progress) -> Markup {
    let words = words(lang);
    let shown = |severity: Option<Severity>| match severity {
        None => (Mood::Calm, words.looked_up),
        Some(Severity::Good | Severity::Hint) => (Mood::Good, words.done),
        Some(Severity::Warning) => (Mood::Wait, words.recommended),
        Some(Severity::Unknown) => (Mood::Calm, words.not_known),
        Some(Severity::Fault) => (Mood::Wait, words.required),
    };
    html! {
        ul.steps #results aria-live="polite" {
            @for (item, severity) in &progress.seen {
                @let (mood, word) = shown(*severity);
                li { (badge(mood, word)) span { (lang.item(*item)) } }
            }
            @if !progress.is_over { li { span.quiet { (words.looking) "…" } } }
        }
    }
}

/// Explains how the panel of the zone's DNS provider expects records.
fn panel(words: &Words, look: &DomainLook) -> Markup {
    let Some(zone) = &look.table.zone else { return html! {} };
    let (zone, provider) = (strange(zone), look.provider);
    let title = match provider.name() {
        Some(name) => (words.provider)(&zone, name),
        None => (words.no_provider)(&zone),
    };
    let named: Vec<&str> = look.name_servers.iter().map(|name| name.trim_end_matches('.')).take(NAME_SERVERS).collect();
    let is_danish = zone.ends_with(".dk");
    html! {
        section.card #panel aria-labelledby="panel-title" {
            h2 #panel-title { (title) }
            @if provider == DnsProvider::Other && !named.is_empty() {
                p { (strange(&(words.name_servers)(&named.join(", ")))) @if is_danish { " " (words.registrar) } }
            }
            ol { @for line in (words.panel)(provider) { li { (line) } } }
            p { (words.one_line) }
        }
    }
}

#[cfg(test)]
pub(in crate::operate::pages) mod tests;
