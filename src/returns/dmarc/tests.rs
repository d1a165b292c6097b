//! What tests of reports begin with.

use super::aggregate::Row;
use super::report::Disposition;
use super::sources::{KnownService, Source};
use super::store::{DaySum, Reporter};
use super::summary::Summary;
use crate::smtp::Domain;

pub(crate) const TODAY: i64 = 20_786;

/// A summary of so many days, most of them with mail of ours, of Microsoft 365's and of a forger's.
pub(crate) fn summary(days: u32) -> Summary {
    let mut sums = Vec::new();
    for back in 1..i64::from(days) {
        let mut sum = |source: Source, ours: bool, dkim: bool, spf: bool, messages: u64| {
            let row = Row { source, ours, dkim, spf, disposition: Disposition::None, forwarded: false };
            sums.push(DaySum { day: TODAY - back, row, messages, example: "192.0.2.1".to_owned() });
        };
        let weekday = if back % 7 < 2 { 1 } else { 12 };
        sum(Source::Known(KnownService::Mailjet), true, true, true, 100 * weekday);
        sum(Source::Known(KnownService::Mailjet), true, true, false, 9 * weekday);
        sum(Source::Known(KnownService::Microsoft365), false, true, true, 40 * weekday);
        sum(Source::Known(KnownService::Microsoft365), false, false, false, u64::from(back % 9 == 0));
        if back % 11 == 3 {
            sum(Source::Network("198.51.100.0/24".parse().unwrap()), false, false, false, 310);
        }
    }
    let reporter = |name: &str, messages| Reporter { name: name.to_owned(), reports: u64::from(days), messages };
    let reporters = [reporter("google.com", 9_000), reporter("Enterprise Outlook", 700)];
    Summary::new(&Domain::parse("test.dk").unwrap(), days, TODAY, &sums, &reporters)
}
