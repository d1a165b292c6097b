//! The next DMARC policy, in Danish.

use crate::onboarding::Lang;
use crate::onboarding::dmarc::step::{PolicyStage, Reason, Safety, Step};

fn n(value: u64) -> String {
    Lang::Da.number(value)
}

pub(in crate::onboarding::text) fn dmarc_step(step: &Step) -> (String, String) {
    let next = step.next.map_or("", PolicyStage::as_str);
    let publish = || format!("Opret recorden på {}: {}", step.host, step.record.as_deref().unwrap_or_default());
    match &step.safety {
        Safety::Reached => ("DMARC har den strengeste politik (p=reject).".into(), String::new()),
        Safety::Safe if step.stage == PolicyStage::Missing => {
            ("Det første skridt er en DMARC-record, der intet ændrer og giver rapporter.".into(), publish())
        }
        Safety::Safe => (format!("Ifølge rapporterne er den næste DMARC-politik sikker nu: {next}."), publish()),
        Safety::SafeUnless { senders } => {
            let named: Vec<String> = senders
                .iter()
                .take(5)
                .map(|it| format!("{} ({} mails på {} dage)", it.name, n(it.messages), it.days))
                .collect();
            let more = if senders.len() > 5 { format!(" og {} mere", senders.len() - 5) } else { String::new() };
            (
                format!(
                    "Den næste DMARC-politik ({next}) er sikker, hvis ingen af disse afsendere er jeres, for den ville ramme deres mails: {}{more}.",
                    named.join(", ")
                ),
                format!("Sæt dem op, der er jeres (DKIM, eller deres servere i SPF). {}", publish()),
            )
        }
        Safety::NotYet { reasons } => {
            let why: Vec<String> = reasons.iter().map(reason).collect();
            (format!("Den næste DMARC-politik ({next}) er ikke sikker endnu: {}.", why.join("; ")), remedy(reasons))
        }
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NoReports => "der er ikke kommet nogen rapporter".into(),
        Reason::OldReports { days } => format!("den nyeste rapport er {days} dage gammel"),
        Reason::FewDays { days, needed } => format!("der er rapporter fra {days} dage, og der skal være {needed}"),
        Reason::FewMessages { messages, needed } => {
            format!(
                "der er rapporter om {} mails fra jeres egne afsendere, og der skal være {}",
                n(*messages),
                n(*needed)
            )
        }
        Reason::FewReporters { reporters, needed } => {
            format!("rapporterne kommer fra {reporters} modtagere, og der skal være {needed}")
        }
        Reason::OursFail { failing, messages } => {
            format!("{} af {} mails fra webCRM blev ikke godkendt", n(*failing), n(*messages))
        }
        Reason::OthersFail { failing, messages, per_mille } => format!(
            "{} af {} mails fra jeres andre afsendere blev ikke godkendt, og det bør højst være {per_mille} af 1000",
            n(*failing),
            n(*messages)
        ),
    }
}

fn remedy(reasons: &[Reason]) -> String {
    let has = |wanted: fn(&Reason) -> bool| reasons.iter().any(wanted);
    if has(|it| matches!(it, Reason::OursFail { .. })) {
        "Bring først DKIM og returadressen i orden: de andre tjek siger, hvad der mangler.".into()
    } else if has(|it| matches!(it, Reason::OthersFail { .. })) {
        "Sæt DKIM op hos de afsendere, hvis mails ikke bliver godkendt, eller tilføj deres servere i SPF.".into()
    } else if has(|it| matches!(it, Reason::NoReports | Reason::OldReports { .. })) {
        "Kontrollér, at rua= i DMARC-recorden nævner en adresse, hvor nogen læser rapporterne.".into()
    } else {
        "Vent på flere rapporter.".into()
    }
}
