//! The next DMARC policy, in English.

use crate::onboarding::Lang;
use crate::onboarding::dmarc::step::{PolicyStage, Reason, Safety, Step};

fn n(value: u64) -> String {
    Lang::En.number(value)
}

pub(in crate::onboarding::text) fn dmarc_step(step: &Step) -> (String, String) {
    let next = step.next.map_or("", PolicyStage::as_str);
    let publish = || format!("Publish the record at {}: {}", step.host, step.record.as_deref().unwrap_or_default());
    match &step.safety {
        Safety::Reached => ("DMARC is at its strictest policy (p=reject).".into(), String::new()),
        Safety::Safe if step.stage == PolicyStage::Missing => {
            ("A DMARC record that changes nothing and brings reports is the first step.".into(), publish())
        }
        Safety::Safe => (format!("By the reports, the next DMARC policy is safe now: {next}."), publish()),
        Safety::SafeUnless { senders } => {
            let named: Vec<String> = senders
                .iter()
                .take(5)
                .map(|it| format!("{} ({} messages on {} days)", it.name, n(it.messages), it.days))
                .collect();
            let more = if senders.len() > 5 { format!(" and {} more", senders.len() - 5) } else { String::new() };
            (
                format!(
                    "The next DMARC policy ({next}) is safe if none of these senders is yours, because it would hit their mail: {}{more}.",
                    named.join(", ")
                ),
                format!("Set up those that are yours (DKIM, or their servers in SPF). {}", publish()),
            )
        }
        Safety::NotYet { reasons } => {
            let why: Vec<String> = reasons.iter().map(reason).collect();
            (format!("The next DMARC policy ({next}) is not safe yet: {}.", why.join("; ")), remedy(reasons))
        }
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NoReports => "no reports have come".into(),
        Reason::OldReports { days } => format!("the newest report is {days} days old"),
        Reason::FewDays { days, needed } => format!("there are reports of {days} days, and {needed} are needed"),
        Reason::FewMessages { messages, needed } => {
            format!("there are reports on {} messages of your own senders, and {} are needed", n(*messages), n(*needed))
        }
        Reason::FewReporters { reporters, needed } => {
            format!("reports come from {reporters} receivers, and {needed} are needed")
        }
        Reason::OursFail { failing, messages } => {
            format!("{} of {} messages from webCRM were not approved", n(*failing), n(*messages))
        }
        Reason::OthersFail { failing, messages, per_mille } => format!(
            "{} of {} messages of your other senders were not approved, and it should be at most {per_mille} of 1000",
            n(*failing),
            n(*messages)
        ),
    }
}

fn remedy(reasons: &[Reason]) -> String {
    let has = |wanted: fn(&Reason) -> bool| reasons.iter().any(wanted);
    if has(|it| matches!(it, Reason::OursFail { .. })) {
        "Bring DKIM and the return path in order first: the other checks say what is missing.".into()
    } else if has(|it| matches!(it, Reason::OthersFail { .. })) {
        "Set up DKIM at the senders whose mail is not approved, or add their servers to SPF.".into()
    } else if has(|it| matches!(it, Reason::NoReports | Reason::OldReports { .. })) {
        "See that rua= in the DMARC record names an address that reports are read at.".into()
    } else {
        "Wait for more reports.".into()
    }
}
