//! Crashes of the spool: killed processes, injected errors, power cuts, full and failing disks.
//!
//! The parent starts this same test binary again as the *driver* (`driver::driver`), which commits and delivers and writes
//! one line for each thing that happened to its standard output, as a sender's and a receiver's log. After the crash
//! [`check::check`] opens what is left and compares; [`record`] does so for the journal. `tests/crash/run --rounds N` runs more rounds.

#[path = "support/disks.rs"]
mod disks;
#[path = "support/drafts.rs"]
mod drafts;
#[path = "support/skip.rs"]
mod skip;

#[path = "crash/check.rs"]
mod check;
#[path = "crash/driver.rs"]
mod driver;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/power.rs"]
mod power;
#[path = "crash/read_only.rs"]
mod read_only;
#[path = "crash/record.rs"]
mod record;
#[path = "crash/room.rs"]
mod room;

/// How many rounds each test makes: few in a usual run, `POSTBUD_CRASH_ROUNDS` in a long one.
pub fn rounds(few: u32) -> u32 {
    std::env::var("POSTBUD_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(few)
}
