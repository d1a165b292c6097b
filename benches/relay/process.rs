//! The kernel's data about a process and its children: CPU, memory, octets written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Sub;

use serde::Serialize;

/// Consumption of a process tree since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// CPU in user mode, microseconds.
    pub user_us: u64,
    /// CPU in the kernel, microseconds.
    pub system_us: u64,
    /// Octets handed to the disk.
    pub written: u64,
    /// Voluntary context switches: how often a thread went to sleep.
    pub sleeps: u64,
    /// The largest sum of resident memory seen, octets (`VmHWM` of every process).
    pub peak_memory: u64,
    /// The part of the resident memory now that is files: the program itself, mostly.
    pub of_files: u64,
}

impl Sub for Usage {
    type Output = Usage;

    /// What was used in between; the peak stays the later one.
    fn sub(self, before: Usage) -> Usage {
        Usage {
            user_us: self.user_us.saturating_sub(before.user_us),
            system_us: self.system_us.saturating_sub(before.system_us),
            written: self.written.saturating_sub(before.written),
            sleeps: self.sleeps.saturating_sub(before.sleeps),
            peak_memory: self.peak_memory,
            of_files: self.of_files,
        }
    }
}

/// Of `roots` and everything below them. A process that has ended and was waited for counts through its parent.
pub fn usage(roots: &[u32]) -> Usage {
    let mut sum = Usage::default();
    for pid in tree(roots) {
        // A process may end between the listing and the reading; its parent then counts it.
        if let Some(one) = one(pid) {
            sum.user_us += one.user_us;
            sum.system_us += one.system_us;
            sum.written += one.written;
            sum.sleeps += one.sleeps;
            sum.peak_memory += one.peak_memory;
            sum.of_files += one.of_files;
        }
    }
    sum
}

/// Resident memory of a process tree at this moment, octets.
pub fn resident(roots: &[u32]) -> u64 {
    tree(roots)
        .into_iter()
        .filter_map(|pid| field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:"))
        .sum::<u64>()
        * 1024
}

fn tree(roots: &[u32]) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat(pid).and_then(|fields| fields.first().copied()) {
            children.entry(u32::try_from(parent).unwrap_or(0)).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<u32> = roots.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

/// proc(5): /proc/PID/stat from the fourth field (ppid) on; the name before it may hold anything.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 1..];
    Some(rest.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect())
}

fn one(pid: u32) -> Option<Usage> {
    /// USER_HZ is 100 on every architecture Linux runs on today.
    const TICK_US: u64 = 10_000;
    let stat = stat(pid)?;
    let at = |field: usize| stat.get(field - 4).copied().unwrap_or(0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Some(Usage {
        user_us: (at(14) + at(16)) * TICK_US,
        system_us: (at(15) + at(17)) * TICK_US,
        written: field(&io, "write_bytes:").unwrap_or(0),
        sleeps: sleeps(pid),
        peak_memory: field(&status, "VmHWM:").unwrap_or(0) * 1024,
        of_files: field(&status, "RssFile:").unwrap_or(0) * 1024,
    })
}

fn sleeps(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| field(&fs::read_to_string(thread.path().join("status")).ok()?, "voluntary_ctxt_switches:"))
        .sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
