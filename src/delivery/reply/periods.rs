//! The periods in which servers count mail.

use super::words::Words;

/// Returns true if the text names an hour or a longer period: in words, or by a unit as in `100/h` and `150 mails/time`.
pub(super) fn names_long_period(words: &Words) -> bool {
    words.any(LONG)
        || words.has_digits_before(&["h", "hr", "hrs", "d"])
        // Danish for an hour, which is a common word elsewhere.
        || COUNTED.iter().any(|mails| words.near(mails, &[" time ", " h ", " hr "], 0))
}

/// Returns true if the text names a period, also one shorter than an hour.
pub(super) fn names_period(words: &Words) -> bool {
    names_long_period(words) || words.any(SHORT)
}

/// What stands before the unit of a rate.
const COUNTED: &[&str] = &[" mail ", " mails ", " e mails ", " emails ", " messages ", " msgs ", " beskeder "];

/// Words for an hour and longer periods.
const LONG: &[&str] = &[
    " hour",
    " hr ",
    " hrs ",
    " 1h ",
    " 24h ",
    " 24hr ",
    " 24hrs ",
    " 24 h ",
    " daily ",
    " day ",
    " days ",
    " today ",
    " todays ",
    " midnight ",
    " tomorrow ",
    " week ",
    " weekly ",
    " month",
    " billing period ",
    " billing cycle ",
    // Danish, Swedish, Norwegian, German, French, Dutch.
    " pr time ",
    " per time ",
    " timen ",
    " timme",
    " dag ",
    " dagen ",
    " daglig",
    " døgn",
    " dygn",
    " dagsgräns",
    " daglimiet ",
    " uurlimiet ",
    " dagslimit",
    " dagsgrense",
    " i dag ",
    " dagens ",
    " timelimit ",
    " måned",
    " månad",
    " monat",
    " stunde",
    " pro tag ",
    " täglich",
    " heute ",
    " tageslimit ",
    " stundenlimit ",
    " heure",
    " jour ",
    " journali",
    " quotidien",
    " uur ",
    " dagelijkse ",
    // Spanish, Portuguese, Italian.
    " por hora ",
    " por día ",
    " por dia ",
    " diari",
    " diári",
    " all ora ",
    " orario ",
    " giornalier",
    " al giorno ",
    " giorno ",
    // Polish, Czech, Russian.
    " godzin",
    " dzienn",
    " denní ",
    " hodin",
    " сутки ",
    " в час ",
];
/// Words for periods shorter than an hour.
const SHORT: &[&str] = &[" minute", " minut", " min ", " second ", " seconds ", " sekund"];
