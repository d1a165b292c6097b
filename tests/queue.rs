//! The queue between a real spool and real sockets: which mail waits for what, and its fate over time and restarts.

#[path = "support/capture.rs"]
mod capture;
#[path = "support/contract.rs"]
mod contract;
#[path = "support/customers.rs"]
mod customers;
#[path = "support/drafts.rs"]
mod drafts;
#[path = "support/skip.rs"]
mod skip;

#[path = "queue/ageing.rs"]
mod ageing;
#[path = "queue/clock.rs"]
mod clock;
#[path = "queue/crowded.rs"]
mod crowded;
#[path = "queue/doubts.rs"]
mod doubts;
#[path = "queue/expired.rs"]
mod expired;
#[path = "queue/long_replies.rs"]
mod long_replies;
#[path = "queue/notices.rs"]
mod notices;
#[path = "queue/recipients.rs"]
mod recipients;
#[path = "queue/rig.rs"]
mod rig;
#[path = "queue/suspensions.rs"]
mod suspensions;
#[path = "queue/tiers.rs"]
mod tiers;
