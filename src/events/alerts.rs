//! Alerts: things that an operator must look at. An alert about lasting trouble has a subject, and stays open until the trouble is over. An
//! alert without a subject (a notice) reports something that happened, and is kept for a week, or until newer ones need its place.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Event, Subject};
use crate::time::Timestamp;

/// The most notices that are kept.
const NOTICES: usize = 50;
const NOTICES_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The most ended alerts that are kept.
const ENDED: usize = 20;
/// The most open alerts. A longer list is of no use to a person, and the limit bounds memory.
const OPEN: usize = 2_000;

/// An open alert about lasting trouble.
#[derive(Clone, Debug)]
pub struct OpenAlert {
    /// When it was first raised.
    pub since: Timestamp,
    /// The alert as it was last raised.
    pub alert: Event<'static>,
}

/// An alert whose trouble is over.
#[derive(Clone, Debug)]
pub struct EndedAlert {
    /// When it was first raised.
    pub since: Timestamp,
    /// The event with `cured`, which says when and why the alert ended.
    pub end: Event<'static>,
    /// The alert as it was last raised.
    pub alert: Event<'static>,
}

/// The alerts of this process. Each list begins with the newest.
#[derive(Clone, Debug, Default)]
pub struct AlertLists {
    pub open: Vec<OpenAlert>,
    /// Alerts that ended recently.
    pub ended: Vec<EndedAlert>,
    /// Notices of the last week.
    pub notices: Vec<Event<'static>>,
}

/// How an alert relates to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The trouble is new.
    Opened,
    /// New words about known trouble, or a notice.
    Told,
    /// Known trouble in the same words.
    Repeated,
}

/// The list of this process's alerts.
#[derive(Debug, Default)]
pub(super) struct Board {
    open: BTreeMap<Subject, OpenAlert>,
    ended: VecDeque<EndedAlert>,
    notices: VecDeque<Event<'static>>,
}

impl Board {
    /// Records an alert. One with a subject stays open until [`end`](Self::end).
    pub(super) fn note(&mut self, alert: &Event<'_>) -> Noted {
        let Some(subject) = &alert.subject else {
            push(&mut self.notices, alert.clone().into_owned(), NOTICES);
            return Noted::Told;
        };
        if let Some(known) = self.open.get_mut(subject) {
            let is_same = known.alert.detail == alert.detail;
            known.alert = alert.clone().into_owned();
            return if is_same { Noted::Repeated } else { Noted::Told };
        }
        if self.open.len() >= OPEN {
            return Noted::Told;
        }
        self.open.insert(subject.clone(), OpenAlert { since: alert.at, alert: alert.clone().into_owned() });
        Noted::Opened
    }

    /// Returns the subjects of the open alerts.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.open.keys().cloned().collect()
    }

    /// Ends the alert about a subject. Returns the event that reports this, or `None` if no alert was open.
    pub(super) fn end(&mut self, subject: &Subject, detail: String, now: Timestamp) -> Option<Event<'static>> {
        let OpenAlert { since, alert } = self.open.remove(subject)?;
        let end = Event::cured(&alert, detail, now);
        push(&mut self.ended, EndedAlert { since, end: end.clone(), alert }, ENDED);
        Some(end)
    }

    pub(super) fn is_open(&self, subject: &Subject) -> bool {
        self.open.contains_key(subject)
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn shown(&self, now: Timestamp) -> AlertLists {
        let (open, notices) = (self.open_as(OpenAlert::clone), self.notices_as(now, Event::clone));
        AlertLists { open, ended: self.ended(), notices }
    }

    /// Returns what `make` makes of each open alert, the newest first.
    pub(super) fn open_as<T>(&self, make: impl FnMut(&OpenAlert) -> T) -> Vec<T> {
        let mut open: Vec<&OpenAlert> = self.open.values().collect();
        open.sort_by_key(|open| std::cmp::Reverse(open.since));
        open.into_iter().map(make).collect()
    }

    /// Returns what `make` makes of each recent notice, the newest first.
    pub(super) fn notices_as<T>(&self, now: Timestamp, make: impl FnMut(&Event<'static>) -> T) -> Vec<T> {
        let recent = |alert: &&Event<'static>| now.since(alert.at) < NOTICES_KEPT;
        self.notices.iter().rev().filter(recent).map(make).collect()
    }

    pub(super) fn ended(&self) -> Vec<EndedAlert> {
        self.ended.iter().rev().cloned().collect()
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1000)
    }

    fn alert(subject: Option<Subject>, detail: &'static str, second: u64) -> Event<'static> {
        Event { at: at(second), subject, ..Event::alert(detail) }
    }

    fn route() -> Subject {
        Subject::Route("own-server.a".into())
    }

    #[test]
    fn lasting_trouble_is_one_alert_from_its_beginning_to_its_end() {
        let mut board = Board::default();
        assert!(board.end(&route(), "never was".into(), at(0)).is_none());
        board.note(&alert(Some(route()), "connection refused", 1));
        board.note(&alert(Some(route()), "no answer", 2));
        board.note(&alert(Some(Subject::Webhook("webcrm".into())), "503", 3));
        let shown = board.shown(at(4));
        let open: Vec<_> = shown.open.iter().map(|it| (it.since, it.alert.detail.as_deref().unwrap())).collect();
        assert_eq!(open, [(at(3), "503"), (at(1), "no answer")]);

        let end = board.end(&route(), "carries mail again".into(), at(9)).unwrap();
        assert_eq!(serde_json::to_value(&end).unwrap()["subject"], "route:own-server.a");
        assert!(board.end(&route(), "twice".into(), at(9)).is_none());
        let shown = board.shown(at(9));
        assert_eq!(shown.open.len(), 1);
        let ended = &shown.ended[0];
        assert_eq!((ended.since, ended.end.at, ended.alert.detail.as_deref()), (at(1), at(9), Some("no answer")));
        assert!(board.has_open());
    }

    /// Returns the next subject. The match makes a new variant a compile error here.
    fn after(subject: &Subject) -> Option<Subject> {
        let which = || "x".to_owned();
        Some(match subject {
            Subject::Configuration => Subject::Certificate(which()),
            Subject::Certificate(_) => Subject::SpoolRoom,
            Subject::SpoolRoom => Subject::SpoolWrites,
            Subject::SpoolWrites => Subject::Shard(which()),
            Subject::Shard(_) => Subject::Delivery,
            Subject::Delivery => Subject::Clock,
            Subject::Clock => Subject::EventLog,
            Subject::EventLog => Subject::Webhook(which()),
            Subject::Webhook(_) => Subject::EventShare(which()),
            Subject::EventShare(_) => Subject::Route(which()),
            Subject::Route(_) => Subject::Backlog(which()),
            Subject::Backlog(_) => Subject::Unrouted(which()),
            Subject::Unrouted(_) => Subject::Held(which()),
            Subject::Held(_) => Subject::Volume(which()),
            Subject::Volume(_) => Subject::SigningKey(which()),
            Subject::SigningKey(_) => Subject::Verification(which()),
            Subject::Verification(_) => Subject::CheckResult(which()),
            Subject::CheckResult(_) => Subject::PasswordsAtMicrosoft365,
            Subject::PasswordsAtMicrosoft365 => Subject::DelegatedKey(which()),
            Subject::DelegatedKey(_) => Subject::Mailjet(which()),
            Subject::Mailjet(_) => Subject::CheckResultFile(which()),
            Subject::CheckResultFile(_) => Subject::ReturnedMail,
            Subject::ReturnedMail => return None,
        })
    }

    #[test]
    fn every_subject_is_of_a_kind_that_is_listed() {
        let subjects = std::iter::successors(Some(Subject::Configuration), after);
        assert_eq!(subjects.map(|subject| subject.kind()).collect::<Vec<_>>(), Subject::KINDS);
    }

    #[test]
    fn an_alert_is_news_unless_the_open_one_says_the_same() {
        let mut board = Board::default();
        assert_eq!(board.note(&alert(Some(route()), "refused", 1)), Noted::Opened);
        assert_eq!(board.note(&alert(Some(route()), "refused", 2)), Noted::Repeated);
        assert_eq!(board.note(&alert(Some(route()), "no answer", 3)), Noted::Told);
        board.end(&route(), "up".into(), at(4));
        assert_eq!(board.note(&alert(Some(route()), "no answer", 5)), Noted::Opened);
        for second in 6..8 {
            assert_eq!(board.note(&alert(None, "a message is damaged", second)), Noted::Told);
        }
    }

    #[test]
    fn what_happened_once_is_shown_for_a_week_and_everything_is_bounded() {
        let mut board = Board::default();
        for second in 0..1000 {
            board.note(&alert(None, "a message is damaged", second));
            board.note(&alert(Some(route()), "down", second));
            board.end(&route(), "up".into(), at(second));
        }
        let shown = board.shown(at(1000));
        assert_eq!((shown.notices.len(), shown.ended.len(), shown.open.len()), (NOTICES, ENDED, 0));
        assert_eq!(shown.notices[0].at, at(999));
        assert!(board.shown(at(0) + NOTICES_KEPT * 2).notices.is_empty());
        for n in 0..2 * OPEN {
            board.note(&alert(Some(Subject::Route(n.to_string())), "down", 0));
        }
        assert_eq!(board.subjects().len(), OPEN);
    }
}
