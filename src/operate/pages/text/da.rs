//! The texts that all pages share, in Danish.

use super::Words;

pub(super) const WORDS: Words = Words {
    skip: "Gå til indholdet",
    from_webcrm: "Siden er lavet af webCRM til jer. Del kun linket med dem, der skal hjælpe jer.",
    copy: "Kopiér",
    copied: "Kopieret",
    not_found: [
        "Siden findes ikke",
        "Linket passer ikke til nogen side. Måske mangler det sidste stykke af det, eller det er trukket tilbage.",
        "Åbn linket igen fra mailen fra webCRM, og tag det hele med. Virker det stadig ikke, så bed webCRM (support@webcrm.com) om et nyt.",
    ],
    expired: [
        "Linket er udløbet",
        "Af hensyn til sikkerheden virker et link kun i en begrænset tid, og tiden for dette er gået. Det, I allerede har oprettet, gælder stadig.",
        "Bed webCRM (support@webcrm.com) om et nyt link.",
    ],
    too_many: ["Vent et øjeblik", "Siden er blevet hentet meget ofte på kort tid.", ""],
    wait: |secs| match secs {
        0..=90 => format!("Prøv igen om {secs} sekunder."),
        _ => format!("Prøv igen om {} minutter.", secs.div_ceil(60)),
    },
    stale_form: [
        "Siden var blevet for gammel",
        "Formularen hører ikke til siden, som den er nu. Der er ikke ændret noget.",
        "Gå tilbage, genindlæs siden, og send formularen igen.",
    ],
    unreadable: [
        "Det sendte kunne ikke læses",
        "Formularen er for stor eller har en form, vi ikke kender. Der er ikke ændret noget.",
        "Gå tilbage, og prøv igen.",
    ],
    forbidden: ["Det har du ikke adgang til", "Din adgang omfatter ikke dette.", "Spørg en administrator."],
    unavailable: [
        "Det kan ikke lade sig gøre lige nu",
        "Systemet er ved at starte eller mangler noget, det skal bruge. Der er ikke ændret noget.",
        "Prøv igen om et par minutter.",
    ],
    failed: [
        "Noget gik galt hos webCRM",
        "Fejlen ligger hos os og er noteret. I har ikke gjort noget forkert.",
        "Prøv igen om lidt. Sker det igen, så skriv til support@webcrm.com, og nævn tidspunktet.",
    ],
    too_slow: ["Svaret tog for lang tid", "Vi ventede længere, end en side må.", "Genindlæs siden om lidt."],
    refused: ["Det kan ikke gøres", "", ""],
};
