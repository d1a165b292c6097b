//! The texts about key rotations, in English.

use super::failures::unanswered;
use crate::onboarding::rotation::{REVOKED, Role, RotationStep, Shown};
use crate::onboarding::text::txt_lines;

pub(super) fn rotating(host: &str, role: Role, shown: Shown) -> (String, &'static str) {
    let replace = "Replace it by the record shown.";
    match (role, shown) {
        (Role::Incoming, Shown::Right) => (format!("The new key at {host} is published; it does not sign yet."), ""),
        (Role::Incoming, Shown::Missing) => (
            format!("A new key is to be published at {host}; the one that signs now stays."),
            "Publish the record shown.",
        ),
        (Role::Incoming, Shown::Other) => (format!("At {host} something else is published than the new key."), replace),
        (Role::Outgoing, Shown::Right) => {
            (format!("The key that signed before is still published at {host}, as it should be."), "")
        }
        (Role::Outgoing, Shown::Missing) => (
            format!("The key that signed before is gone from {host}, and mail signed with it is still on its way."),
            "Publish the record shown again, until you are asked to revoke it.",
        ),
        (Role::Outgoing, Shown::Other) => {
            (format!("At {host} something else is published than the key that signed before."), replace)
        }
        (Role::Revoked, Shown::Right) => (format!("The key that signed before is revoked at {host}."), ""),
        (Role::Revoked, Shown::Missing | Shown::Other) => {
            (format!("The key that signed before is not revoked at {host}."), "Replace it by the empty record shown.")
        }
    }
}

pub(in crate::onboarding::text) fn rotation(step: &RotationStep) -> String {
    match step {
        RotationStep::Publish { hosts, value } => {
            format!("Publish the new key. The old one stays.{}\nThen run this command again.", txt_lines(hosts, value))
        }
        RotationStep::Waiting { hosts } => {
            format!("The new key is not in DNS yet: {}. Run this command again when it is.", hosts.join(", "))
        }
        RotationStep::InZone { selector } => format!(
            "The new key {selector} is in webCRM's zone; the customer has nothing to do. Run this command again when DNS shows it."
        ),
        RotationStep::PublishZone { lines } => format!(
            "Put these lines into webCRM's zone in place of those of the same names:\n\n{}\n\nThen run this command again.",
            lines.join("\n")
        ),
        RotationStep::Settling { until } => format!(
            "DNS shows the new key. Until {until} some receivers may still have the record that was there before: run this command again then."
        ),
        RotationStep::Unanswered { reason } => {
            format!("{} Nothing was changed; run this command again later.", unanswered(reason))
        }
        RotationStep::Switched { selector, file, taken: true } => format!(
            "The new key is in DNS: {file} names selector {selector}, and the relay signs with it from now on. Take the next step to see that: the time for which both keys stay published counts from then."
        ),
        RotationStep::Switched { selector, file, taken: false } => format!(
            "The new key is in DNS: {file} now signs with selector {selector}. Reload postbud (`systemctl reload postbud`) so that it does, and run this command again: the time for which both keys stay published counts from when it sees the running relay sign with the new one."
        ),
        RotationStep::StillSigning { selector } => format!(
            "The relay that runs still signs with {selector}: reload it (`systemctl reload postbud`), and run this command again. Until then the old key must stay, and the time for which both are published does not begin."
        ),
        RotationStep::NotSeen { selector } => format!(
            "Nothing shows that mail is signed with {selector}: no relay runs here, or it cannot use the key (`postbud check`). The old key must stay, and the time for which both are published does not begin. Start postbud, or reload it, and run this command again."
        ),
        RotationStep::Overlap { until } => format!(
            "Old and new key stay published together until {until}: mail signed with the old one is still on its way. Run this command again then."
        ),
        RotationStep::Revoke { hosts } => format!(
            "Revoke the old key: replace its record by an empty one.{}\nThen run this command again.",
            txt_lines(hosts, REVOKED)
        ),
        RotationStep::StillQueued { customer } => format!(
            "Mail signed with the old key still waits in the queue (`postbud queue list --customer {customer}`), perhaps held. The old key must stay until it has left: run this command again then."
        ),
        RotationStep::QueueNotSeen => "No relay runs here, so nobody knows whether mail signed with the old key still waits in the queue. The old key must stay. Start postbud, and run this command again.".to_owned(),
        RotationStep::Done { selector, old_file: Some(old_file) } => {
            format!("Done: {selector} signs, and the old key is revoked. Its private key can be deleted: {old_file}")
        }
        RotationStep::Done { selector, old_file: None } => {
            format!("Done: {selector} signs, and the old key is revoked. Its private key still signs elsewhere and must be kept.")
        }
    }
}
