//! The segment log: damage, crashes, full disks, files.

mod damage;
mod doubt;
mod mutations;
mod opening;
mod reclaim;
mod rig;
mod skipped;
mod unreadable;
