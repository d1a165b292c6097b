//! Counts by the hour what each customer has sent and what the results were, for the customer's caps and to notice unusual mail.
//!
//! ```text
//! before an attempt: take ──► mail may leave, or waits until the next hour or day
//! after it: add_results ──► sudden leap? many bounces? many complaints? ──► Trip
//! ```
//!
//! The counts are saved in a file, like the routes' throttle states. A kill -9 loses the counts of the last seconds.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::customers::{LONGEST_CAP, PauseCause, VolumeLimits};
use crate::files;
use crate::message::CustomerId;
use crate::time::Timestamp;

/// How often the counts are saved.
pub const SAVE_EVERY: Duration = Duration::from_secs(5);
const HOUR: u64 = 3_600_000;
/// The number of hours kept, for the rates and the daily cap.
const HOURS: u64 = 24;
/// The number of days whose busiest hour is kept.
const DAYS: u64 = 7;
/// How many earlier days are kept for the daily cap, and how many later ones. A clock may go ahead and back several times before somebody
/// finds the cause.
const OTHER_DAYS: usize = 4;

/// The counts of all customers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Volumes(Arc<Mutex<BTreeMap<CustomerId, Volume>>>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The last [`HOURS`] hours with mail, each by its number since 1970. If the clock was set back, also a few later ones, which count
    /// once it comes back to them.
    hours: BTreeMap<u64, Hour>,
    /// The hour that the clock showed last.
    #[serde(default)]
    hour: u64,
    /// The messages of the present day and of a few others, by their number since 1970. A clock that was ahead or behind for a while finds
    /// the count of the present day as it was.
    #[serde(default)]
    days: BTreeMap<u64, u32>,
    /// The most messages in one hour, for each of the last [`DAYS`] days without today.
    busiest: BTreeMap<u64, u32>,
    /// The end of the time for which an operator has lifted the caps.
    #[serde(default)]
    lifted_until: u64,
    /// The last hour whose sudden leap was reported.
    #[serde(default)]
    leapt: u64,
}

/// The counts of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    sent: u32,
    /// Recipients whose mail the next server took.
    relayed: u32,
    /// Recipients that bounced for good.
    hard: u32,
    complaints: u32,
}

/// The results of an attempt, or results that became known later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Recipients whose mail the next server took.
    pub relayed: u32,
    /// Recipients that bounced for good.
    pub hard: u32,
    /// Recipients who complained, as Mailjet or a feedback report said.
    pub complaints: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    pub cause: PauseCause,
    /// The numbers, in words.
    pub detail: String,
}

/// Says that a cap is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    /// When the cap has room again.
    pub until: Timestamp,
    pub detail: String,
}

impl Volume {
    /// Counts one message that is about to leave, or returns the cap that is used up.
    fn take(&mut self, limits: &VolumeLimits, now: Timestamp) -> Result<(), Capped> {
        let hour = now.as_millis() / HOUR;
        self.roll(hour);
        let day = hour / 24;
        if !self.is_lifted(now) {
            let this_hour = self.hours.get(&hour).map_or(0, |hour| hour.sent);
            let today = self.days.get(&day).copied().unwrap_or_default();
            let used =
                [(limits.per_day, today, (day + 1) * 24, "a day"), (limits.per_hour, this_hour, hour + 1, "an hour")];
            for (cap, sent, next, unit) in used {
                if let Some(cap) = cap.filter(|cap| sent >= *cap) {
                    let until = Timestamp::from_millis(next * HOUR);
                    return Err(Capped {
                        until,
                        detail: format!("its {cap} messages {unit} are used up until {}", until.in_words()),
                    });
                }
            }
        }
        for count in [&mut self.hours.entry(hour).or_default().sent, self.days.entry(day).or_default()] {
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    /// Returns true while an operator has lifted the caps. A clock that was ahead then does not lift them for longer than a day.
    fn is_lifted(&self, now: Timestamp) -> bool {
        let until = Timestamp::from_millis(self.lifted_until);
        now < until && until <= now + LONGEST_CAP
    }

    /// Undoes the count of a message that was taken at `taken` and did not leave.
    fn give_back(&mut self, taken: Timestamp) {
        let hour = taken.as_millis() / HOUR;
        if let Some(hour) = self.hours.get_mut(&hour) {
            hour.sent = hour.sent.saturating_sub(1);
        }
        if let Some(sent) = self.days.get_mut(&(hour / 24)) {
            *sent = sent.saturating_sub(1);
        }
    }

    /// Returns the first unusual increase in this hour's messages. Reports it once an hour.
    fn leap(&mut self, limits: &VolumeLimits, now: Timestamp) -> Option<Trip> {
        let hour = now.as_millis() / HOUR;
        let sent = self.hours.get(&hour)?.sent;
        let before = self.hours.range(..hour).map(|(_, hour)| hour.sent).max().unwrap_or_default();
        let busiest = self.busiest.values().copied().max().unwrap_or_default().max(before);
        let most = busiest.saturating_mul(limits.leap_factor).max(limits.leap_volume);
        if sent <= most || self.leapt == hour {
            return None;
        }
        self.leapt = hour;
        let detail = format!(
            "more than {most} messages left within this hour, and {busiest} in the busiest hour of the last seven days: has a password \
             leaked?"
        );
        Some(Trip { cause: PauseCause::Leap, detail })
    }

    fn add_results(&mut self, results: Results, now: Timestamp) {
        let hour = now.as_millis() / HOUR;
        self.roll(hour);
        let count = self.hours.entry(hour).or_default();
        count.relayed = count.relayed.saturating_add(results.relayed);
        count.hard = count.hard.saturating_add(results.hard);
        count.complaints = count.complaints.saturating_add(results.complaints);
    }

    /// Returns what is unusual about the results of the last 24 hours.
    fn rates(&self, limits: &VolumeLimits) -> Option<Trip> {
        let hours = || self.hours.range(..=self.hour).map(|(_, hour)| hour);
        let sum = |of: fn(&Hour) -> u32| hours().map(|hour| u64::from(of(hour))).sum::<u64>();
        let (relayed, hard, complaints) = (sum(|it| it.relayed), sum(|it| it.hard), sum(|it| it.complaints));
        let over = |part: u64, whole: u64, percent: f64| {
            whole >= u64::from(limits.rate_volume) && part as f64 * 100.0 > whole as f64 * percent
        };
        if over(complaints, relayed, limits.complaint_percent) {
            let detail = format!(
                "{complaints} of {relayed} recipients of the last 24 hours complained, more than {} %",
                limits.complaint_percent
            );
            return Some(Trip { cause: PauseCause::Complaints, detail });
        }
        if over(hard, relayed + hard, limits.bounce_percent) {
            let detail = format!(
                "{hard} of {} recipients of the last 24 hours bounced for good, more than {} %",
                relayed + hard,
                limits.bounce_percent
            );
            return Some(Trip { cause: PauseCause::Bounces, detail });
        }
        None
    }

    /// Records that an operator has looked: the counts so far are no reason to pause again.
    fn forgive(&mut self, until: Option<Timestamp>, now: Timestamp) {
        for hour in self.hours.values_mut() {
            (hour.relayed, hour.hard, hour.complaints) = (0, 0, 0);
        }
        self.leapt = now.as_millis() / HOUR;
        self.lifted_until = until.map_or(0, Timestamp::as_millis);
    }

    /// Goes to another hour. Drops hours and days that are too old, and those in the future once the clock goes on to an hour that it has
    /// not shown before: then it was ahead when they were counted.
    fn roll(&mut self, hour: u64) {
        if hour == self.hour {
            return;
        }
        let (is_forward, today) = (hour > self.hour, hour / 24);
        self.hour = hour;
        let oldest = hour.saturating_sub(HOURS - 1);
        let later = self.hours.split_off(&(hour + 1));
        let is_back_again = |counted: bool| counted || !is_forward;
        let keeps_later = is_back_again(self.hours.contains_key(&hour));
        let kept = self.hours.split_off(&oldest);
        for (at, count) in std::mem::replace(&mut self.hours, kept) {
            let busiest = self.busiest.entry(at / 24).or_default();
            *busiest = count.sent.max(*busiest);
        }
        self.hours.extend(later.into_iter().filter(|_| keeps_later).take(HOURS as usize));
        self.busiest.retain(|day, _| (today.saturating_sub(DAYS)..=today).contains(day));
        let keeps_later = is_back_again(self.days.contains_key(&today));
        let later = self.days.split_off(&(today + 1));
        while self.days.range(..today).count() > OTHER_DAYS {
            self.days.pop_first();
        }
        self.days.extend(later.into_iter().filter(|_| keeps_later).take(OTHER_DAYS));
    }
}

impl Volumes {
    /// Counts one message that is about to leave, or returns the cap that is used up.
    pub fn take(&self, customer: &CustomerId, limits: &VolumeLimits, now: Timestamp) -> Result<(), Capped> {
        let mut all = self.all();
        match all.get_mut(customer) {
            Some(volume) => volume.take(limits, now),
            None => all.entry(customer.clone()).or_default().take(limits, now),
        }
    }

    /// Undoes the count of a message that was taken at `taken` and did not leave.
    pub fn give_back(&self, customer: &CustomerId, taken: Timestamp) {
        if let Some(volume) = self.all().get_mut(customer) {
            volume.give_back(taken);
        }
    }

    /// Counts results, and returns what is unusual about them.
    pub fn add_results(
        &self,
        customer: &CustomerId,
        results: Results,
        limits: &VolumeLimits,
        now: Timestamp,
    ) -> Option<Trip> {
        let mut all = self.all();
        let volume = match all.get_mut(customer) {
            Some(volume) => volume,
            None => all.entry(customer.clone()).or_default(),
        };
        volume.add_results(results, now);
        let odd = (results.hard > 0 || results.complaints > 0).then(|| volume.rates(limits)).flatten();
        odd.or_else(|| volume.leap(limits, now))
    }

    /// Returns true if the reason for the alert about a customer's volume is over.
    pub fn is_calm(&self, customer: &CustomerId, limits: &VolumeLimits, now: Timestamp) -> bool {
        let mut all = self.all();
        let Some(volume) = all.get_mut(customer) else { return true };
        let hour = now.as_millis() / HOUR;
        volume.roll(hour);
        volume.leapt != hour && volume.rates(limits).is_none()
    }

    /// Records that an operator has looked and lets the customer's mail continue. The caps are lifted until `until`.
    pub fn forgive(&self, customer: &CustomerId, until: Option<Timestamp>, now: Timestamp) {
        self.all().entry(customer.clone()).or_default().forgive(until, now);
    }

    /// Returns the counts of the customers that `wanted` accepts.
    pub fn of_customers(&self, wanted: &dyn Fn(&CustomerId) -> bool) -> BTreeMap<CustomerId, Volume> {
        let all = self.all();
        all.iter().filter(|(id, _)| wanted(id)).map(|(id, volume)| (id.clone(), volume.clone())).collect()
    }

    /// Replaces the counts of a customer.
    pub fn put(&self, customer: &CustomerId, volume: Volume) {
        self.all().insert(customer.clone(), volume);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<CustomerId, Volume>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file with the counts.
#[derive(Debug)]
pub struct VolumeFile {
    path: PathBuf,
    saved: BTreeMap<CustomerId, Volume>,
}

impl VolumeFile {
    /// Reads the file into `volumes`. A missing file counts as empty. An unreadable file is an error, because without it a customer could
    /// send more than its cap.
    pub fn open(path: PathBuf, volumes: &Volumes) -> io::Result<Self> {
        // With many customers it is larger than other files of the state.
        let text = match files::open_to_read(&path).and_then(io::read_to_string) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
            read => read?,
        };
        let read: BTreeMap<String, Volume> = serde_json::from_str(&text).map_err(|e| {
            let remedy = format!("{}: {e}; delete the file to count customers' mail from zero", path.display());
            io::Error::new(io::ErrorKind::InvalidData, remedy)
        })?;
        let saved: BTreeMap<_, _> = read.into_iter().map(|(id, volume)| (CustomerId::new(&id), volume)).collect();
        *volumes.all() = saved.clone();
        Ok(VolumeFile { path, saved })
    }

    /// Saves the counts if they have changed. Blocks.
    pub fn save(&mut self, volumes: &Volumes) -> io::Result<()> {
        let now = volumes.all().clone();
        if now == self.saved {
            return Ok(());
        }
        let lines: BTreeMap<&str, &Volume> = now.iter().map(|(id, volume)| (id.as_str(), volume)).collect();
        files::replace(&self.path, &serde_json::to_vec(&lines)?)?;
        self.saved = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64, minute: u64) -> Timestamp {
        // A day begins at hour 0.
        Timestamp::from_millis((24 * 20_000 + hour) * HOUR + minute * 60_000)
    }

    fn customer() -> CustomerId {
        CustomerId::new("acme")
    }

    fn send(volumes: &Volumes, limits: &VolumeLimits, count: u32, now: Timestamp) -> Option<Trip> {
        (0..count).fold(None, |odd, _| {
            volumes.take(&customer(), limits, now).unwrap();
            odd.or(volumes.add_results(&customer(), Results { relayed: 1, ..Results::default() }, limits, now))
        })
    }

    #[test]
    fn caps_hold_for_the_hour_and_the_day_and_a_message_that_did_not_leave_is_given_back() {
        let limits = VolumeLimits { per_hour: Some(3), per_day: Some(5), ..VolumeLimits::default() };
        let volumes = Volumes::default();
        let take = |now| volumes.take(&customer(), &limits, now).map_err(|capped| capped.until);
        for _ in 0..3 {
            assert_eq!(take(at(1, 10)), Ok(()));
        }
        assert_eq!(take(at(1, 59)), Err(at(2, 0)));
        volumes.give_back(&customer(), at(1, 59));
        assert_eq!(take(at(1, 59)), Ok(()));
        assert_eq!((take(at(2, 0)), take(at(2, 1))), (Ok(()), Ok(())));
        assert_eq!(take(at(2, 2)), Err(at(24, 0)), "the day's");
        // An attempt of the hour before ends now, and leaves no more room in this hour.
        volumes.give_back(&customer(), at(1, 59));
        let of_this_hour = VolumeLimits { per_hour: Some(2), per_day: None, ..limits };
        assert!(volumes.take(&customer(), &of_this_hour, at(2, 3)).is_err());
        assert_eq!(take(at(2, 3)), Ok(()), "the day has room again");
        assert_eq!(volumes.take(&CustomerId::new("other"), &limits, at(2, 2)), Ok(()));
        assert_eq!(take(at(24, 0)), Ok(()));
        // An operator lifts the cap.
        assert_eq!([take(at(24, 1)), take(at(24, 1)), take(at(24, 1))], [Ok(()), Ok(()), Err(at(25, 0))]);
        volumes.forgive(&customer(), Some(at(25, 0)), at(24, 2));
        assert_eq!(take(at(24, 3)), Ok(()));
    }

    #[test]
    fn a_leap_in_volume_raises_one_alert_an_hour() {
        let limits = VolumeLimits { leap_factor: 10, leap_volume: 50, ..VolumeLimits::default() };
        let volumes = Volumes::default();
        assert_eq!(send(&volumes, &limits, 50, at(0, 0)), None, "a beginner's first hour");
        // Twenty an hour for days: two hundred are within the factor of fifty, five hundred and one are not.
        for hour in 1..72 {
            assert_eq!(send(&volumes, &limits, 20, at(hour, 0)), None, "{hour}");
        }
        assert_eq!(send(&volumes, &limits, 500, at(72, 0)), None);
        let odd = send(&volumes, &limits, 1, at(72, 30)).unwrap();
        assert!(odd.cause == PauseCause::Leap && odd.detail.contains("50 in the busiest hour"), "{odd:?}");
        assert_eq!(send(&volumes, &limits, 100, at(72, 31)), None, "told already");
        assert!(!volumes.is_calm(&customer(), &limits, at(72, 59)));
        assert!(volumes.is_calm(&customer(), &limits, at(73, 0)));
        assert_eq!(send(&volumes, &limits, 6000, at(73, 0)), None, "usual by now");
        // Days older than seven are dropped.
        assert_eq!(send(&volumes, &limits, 20, at(73 + 9 * 24, 0)), None);
        assert!(send(&volumes, &limits, 500, at(74 + 9 * 24, 0)).is_some());
    }

    #[test]
    fn bounces_and_complaints_are_told_once_there_are_enough_recipients() {
        let limits =
            VolumeLimits { rate_volume: 100, bounce_percent: 10.0, complaint_percent: 1.0, ..VolumeLimits::default() };
        for (relayed, hard, complaints, expected) in [
            (89, 10, 0, None),
            (90, 10, 0, None),
            (89, 11, 0, Some(PauseCause::Bounces)),
            (0, 100, 0, Some(PauseCause::Bounces)),
            (0, 99, 0, None),
            (99, 0, 50, None),
            (200, 0, 2, None),
            (200, 0, 3, Some(PauseCause::Complaints)),
            (200, 100, 3, Some(PauseCause::Complaints)),
        ] {
            let volumes = Volumes::default();
            volumes.add_results(&customer(), Results { relayed, ..Results::default() }, &limits, at(1, 0));
            let rest = Results { relayed: 0, hard, complaints };
            let odd = volumes.add_results(&customer(), rest, &limits, at(20, 0));
            assert_eq!(odd.map(|odd| odd.cause), expected, "{relayed} {hard} {complaints}");
            // A day later the results no longer count. The same holds after an operator looked.
            assert!(volumes.is_calm(&customer(), &limits, at(45, 0)));
        }
        let volumes = Volumes::default();
        let bounced = Results { hard: 200, ..Results::default() };
        assert!(volumes.add_results(&customer(), bounced, &limits, at(1, 0)).is_some());
        volumes.forgive(&customer(), None, at(1, 1));
        assert!(
            volumes.add_results(&customer(), Results { hard: 1, ..Results::default() }, &limits, at(1, 2)).is_none()
        );
    }

    #[test]
    fn hours_of_a_clock_that_ran_ahead_do_not_count() {
        let limits = VolumeLimits { per_hour: Some(1), per_day: Some(1), ..VolumeLimits::default() };
        let volumes = Volumes::default();
        volumes.take(&customer(), &limits, at(500, 0)).unwrap();
        assert_eq!(volumes.take(&customer(), &limits, at(1, 0)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_ahead_or_behind_finds_the_counts_of_the_present_day() {
        let limits = VolumeLimits { per_hour: Some(5), per_day: Some(6), ..VolumeLimits::default() };
        let volumes = Volumes::default();
        let take = |now| volumes.take(&customer(), &limits, now).map_err(|capped| capped.until);
        let now = |minute| at(100, minute);
        (0..5).for_each(|n| assert_eq!(take(now(n)), Ok(())));
        assert_eq!(take(now(6)), Err(at(101, 0)));
        // Two days back, and forward again, also over a restart.
        assert_eq!(take(at(52, 7)), Ok(()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customer-volumes.json");
        VolumeFile::open(path.clone(), &Volumes::default()).unwrap().save(&volumes).unwrap();
        VolumeFile::open(path, &volumes).unwrap();
        assert_eq!(take(now(8)), Err(at(101, 0)), "the hour's");
        assert_eq!(take(at(101, 0)), Ok(()));
        assert_eq!(take(at(101, 1)), Err(at(120, 0)), "the day's");
        // Some days and a year ahead, and back.
        for ahead in [50, 24 * 365] {
            assert_eq!(take(at(101 + ahead, 2)), Ok(()));
            assert_eq!(take(at(101, 3)), Err(at(120, 0)));
        }
        // What was counted then is forgotten before that time comes.
        assert_eq!(take(at(120, 0)), Ok(()));
        let counts = volumes.all()[&customer()].clone();
        assert_eq!((counts.days.len(), counts.days.keys().max()), (3, Some(&(20_000 + 5))));
        assert!(counts.hours.keys().all(|hour| *hour <= 24 * 20_000 + 120), "{counts:?}");
    }

    #[test]
    fn caps_that_were_lifted_under_a_wrong_clock_hold_again() {
        let limits = VolumeLimits { per_hour: Some(1), ..VolumeLimits::default() };
        let volumes = Volumes::default();
        let take = |now| volumes.take(&customer(), &limits, now).is_ok();
        volumes.forgive(&customer(), Some(at(9000, 0)), at(8999, 0));
        assert_eq!([take(at(1, 0)), take(at(1, 1)), take(at(8999, 0)), take(at(8999, 1))], [true, false, true, true]);
    }

    #[test]
    fn counts_outlive_a_restart_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customer-volumes.json");
        let (volumes, limits) = (Volumes::default(), VolumeLimits::default());
        let mut file = VolumeFile::open(path.clone(), &volumes).unwrap();
        send(&volumes, &limits, 3, at(1, 0));
        file.save(&volumes).unwrap();
        let read = Volumes::default();
        VolumeFile::open(path.clone(), &read).unwrap();
        assert_eq!(*read.all(), *volumes.all());
        std::fs::write(&path, "[").unwrap();
        assert!(VolumeFile::open(path, &read).unwrap_err().to_string().contains("delete the file"));
    }
}
