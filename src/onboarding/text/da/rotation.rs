//! The texts about key rotations, in Danish.

use super::failures::unanswered;
use crate::onboarding::rotation::{REVOKED, Role, RotationStep, Shown};
use crate::onboarding::text::txt_lines;

pub(super) fn rotating(host: &str, role: Role, shown: Shown) -> (String, &'static str) {
    let replace = "Erstat den med den viste record.";
    match (role, shown) {
        (Role::Incoming, Shown::Right) => {
            (format!("Den nye nøgle på {host} er oprettet; den signerer ikke endnu."), "")
        }
        (Role::Incoming, Shown::Missing) => (
            format!("Der skal oprettes en ny nøgle på {host}; lad den, der signerer nu, blive stående."),
            "Opret den viste record.",
        ),
        (Role::Incoming, Shown::Other) => (format!("På {host} ligger der noget andet end den nye nøgle."), replace),
        (Role::Outgoing, Shown::Right) => {
            (format!("Den nøgle, der signerede før, ligger stadig på {host}, som den skal."), "")
        }
        (Role::Outgoing, Shown::Missing) => (
            format!(
                "Den nøgle, der signerede før, er væk fra {host}, men mail, der er signeret med den, er stadig undervejs."
            ),
            "Opret den viste record igen, indtil I bliver bedt om at trække den tilbage.",
        ),
        (Role::Outgoing, Shown::Other) => {
            (format!("På {host} ligger der noget andet end den nøgle, der signerede før."), replace)
        }
        (Role::Revoked, Shown::Right) => (format!("Den nøgle, der signerede før, er trukket tilbage på {host}."), ""),
        (Role::Revoked, Shown::Missing | Shown::Other) => (
            format!("Den nøgle, der signerede før, er ikke trukket tilbage på {host}."),
            "Erstat den med den viste, tomme record.",
        ),
    }
}

pub(in crate::onboarding::text) fn rotation(step: &RotationStep) -> String {
    match step {
        RotationStep::Publish { hosts, value } => {
            format!(
                "Opret den nye nøgle. Lad den gamle blive stående.{}\nKør så kommandoen igen.",
                txt_lines(hosts, value)
            )
        }
        RotationStep::Waiting { hosts } => {
            format!("Den nye nøgle er ikke i DNS endnu: {}. Kør kommandoen igen, når den er.", hosts.join(", "))
        }
        RotationStep::InZone { selector } => format!(
            "Den nye nøgle {selector} er i webCRM's zone; kunden skal intet gøre. Kør kommandoen igen, når den kan ses i DNS."
        ),
        RotationStep::PublishZone { lines } => format!(
            "Sæt disse linjer ind i webCRM's zone i stedet for dem med samme navne:\n\n{}\n\nKør derefter kommandoen igen.",
            lines.join("\n")
        ),
        RotationStep::Settling { until } => format!(
            "Den nye nøgle kan ses i DNS. Indtil {until} kan nogle modtagere stadig have den record, der var der før: kør kommandoen igen derefter."
        ),
        RotationStep::Unanswered { reason } => {
            format!("{} Intet er ændret; kør kommandoen igen senere.", unanswered(reason))
        }
        RotationStep::Switched { selector, file, taken: true } => format!(
            "Den nye nøgle er i DNS: {file} vælger selector {selector}, og postbud signerer med den fra nu af. Tag det næste skridt for at se det: den tid, hvor begge nøgler skal være oprettet, regnes derfra."
        ),
        RotationStep::Switched { selector, file, taken: false } => format!(
            "Den nye nøgle er i DNS: {file} vælger nu selector {selector}. Genindlæs postbud (`systemctl reload postbud`), så den signerer med den nye nøgle, og kør kommandoen igen: den tid, hvor begge nøgler skal være oprettet, regnes fra det øjeblik, hvor kommandoen ser, at den kørende postbud signerer med den nye."
        ),
        RotationStep::StillSigning { selector } => format!(
            "Den postbud, der kører, signerer stadig med {selector}: genindlæs den (`systemctl reload postbud`), og kør kommandoen igen. Indtil da skal den gamle nøgle blive stående, og den tid, hvor begge skal være oprettet, begynder ikke."
        ),
        RotationStep::NotSeen { selector } => format!(
            "Intet viser, at mail bliver signeret med {selector}: der kører ingen postbud her, eller den kan ikke bruge nøglen (`postbud check`). Den gamle nøgle skal blive stående, og den tid, hvor begge skal være oprettet, begynder ikke. Start eller genindlæs postbud, og kør kommandoen igen."
        ),
        RotationStep::Overlap { until } => format!(
            "Både den gamle og den nye nøgle skal være oprettet indtil {until}: mail, der er signeret med den gamle, er stadig undervejs. Kør kommandoen igen derefter."
        ),
        RotationStep::Revoke { hosts } => format!(
            "Træk den gamle nøgle tilbage: erstat nøglens record med en tom.{}\nKør så kommandoen igen.",
            txt_lines(hosts, REVOKED)
        ),
        RotationStep::StillQueued { customer } => format!(
            "Mail, der er signeret med den gamle nøgle, venter stadig i køen og er måske tilbageholdt (`postbud queue list --customer {customer}`). Den gamle nøgle skal blive stående, til mailen er afsendt: kør kommandoen igen derefter."
        ),
        RotationStep::QueueNotSeen => "Der kører ingen postbud her, så det vides ikke, om mail, der er signeret med den gamle nøgle, stadig venter i køen. Den gamle nøgle skal blive stående. Start postbud, og kør kommandoen igen.".to_owned(),
        RotationStep::Done { selector, old_file: Some(old_file) } => {
            format!(
                "Færdig: {selector} signerer, og den gamle nøgle er trukket tilbage. Dens private nøgle kan slettes: {old_file}"
            )
        }
        RotationStep::Done { selector, old_file: None } => format!(
            "Færdig: {selector} signerer, og den gamle nøgle er trukket tilbage. Dens private nøgle signerer stadig andre steder og skal beholdes."
        ),
    }
}
