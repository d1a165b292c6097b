//! Reads policies as people misspell them.

use super::Policy;

/// Every word for a policy: those of the standard, and their translations, which a browser may put in their place.
const WORDS: [(&str, Policy); 26] = [
    ("none", Policy::None),
    ("quarantine", Policy::Quarantine),
    ("reject", Policy::Reject),
    ("ingen", Policy::None),
    ("karantæne", Policy::Quarantine),
    ("afvis", Policy::Reject),
    ("afvise", Policy::Reject),
    // Swedish and Norwegian.
    ("avvisa", Policy::Reject),
    ("avvis", Policy::Reject),
    ("karantän", Policy::Quarantine),
    ("karantene", Policy::Quarantine),
    // German and Dutch.
    ("keine", Policy::None),
    ("ablehnen", Policy::Reject),
    ("zurückweisen", Policy::Reject),
    ("quarantäne", Policy::Quarantine),
    ("geen", Policy::None),
    ("weigeren", Policy::Reject),
    ("afwijzen", Policy::Reject),
    ("quarantaine", Policy::Quarantine),
    // French and Spanish.
    ("aucune", Policy::None),
    ("rejeter", Policy::Reject),
    ("refuser", Policy::Reject),
    ("ninguna", Policy::None),
    ("ninguno", Policy::None),
    ("cuarentena", Policy::Quarantine),
    ("rechazar", Policy::Reject),
];
/// The longest value that is compared with the words.
const LONGEST: usize = 20;

/// Returns the policy that a value plainly means: a word in any case, with strange signs around it or blanks in it, or with a slip or two.
pub(super) fn policy(value: &str) -> Option<Policy> {
    if let Some(policy) = Policy::parse(value) {
        return Some(policy);
    }
    let words = value.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.take(LONGEST).collect();
    if let [first, others @ ..] = &words[..]
        && let Some(policy) = Policy::parse(first)
    {
        // A comment may come after it. Two policies are none.
        return others.iter().all(|other| Policy::parse(other).is_none_or(|other| other == policy)).then_some(policy);
    }
    let letters: String = value.chars().filter(|c| c.is_alphabetic()).take(LONGEST).collect::<String>().to_lowercase();
    let slips = |word: &str| match word.chars().count() {
        ..=5 => 1,
        _ => 2,
    };
    let near = WORDS.iter().map(|(word, policy)| (strsim::osa_distance(&letters, word), *word, *policy));
    // `object` and `inject` are as near to `reject` as a misspelt one. Whoever misses the first letter has typed the others, or all of
    // them in another order (`eject`, `jerect`).
    let is_meant = |distance: usize, word: &str| match letters.chars().next() == word.chars().next() {
        true => distance <= slips(word),
        false => slips(word) > 1 && (distance <= 1 || distance <= slips(word) && sorted(&letters) == sorted(word)),
    };
    near.filter(|(distance, word, _)| is_meant(*distance, word))
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., policy)| policy)
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Returns true if a name that is no tag's was meant to be `p`.
pub(super) fn is_policy_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["policy", "pol", "pp", "politik", "dmarc_policy", "dmarcpolicy"].contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_seen_through_a_slip_and_no_other_word_is_one() {
        for (value, meant) in [
            ("Reject.", Some(Policy::Reject)),
            ("rejct", Some(Policy::Reject)),
            ("rejected", Some(Policy::Reject)),
            ("jerect", Some(Policy::Reject)),
            ("eject", Some(Policy::Reject)),
            ("uarantine", Some(Policy::Quarantine)),
            ("inject", None),
            ("one", None),
            ("re ject", Some(Policy::Reject)),
            ("quarentine", Some(Policy::Quarantine)),
            ("quarantined", Some(Policy::Quarantine)),
            ("non", Some(Policy::None)),
            ("<none>", Some(Policy::None)),
            ("karantæne", Some(Policy::Quarantine)),
            ("reject all", Some(Policy::Reject)),
            ("reject // for good", Some(Policy::Reject)),
            ("none/quarantine", None),
            ("quarantine,reject", None),
            ("Ablehnen", Some(Policy::Reject)),
            ("keine", Some(Policy::None)),
            ("aucune", Some(Policy::None)),
            ("maybe", None),
            ("refund", None),
            ("weird", None),
            ("monitor", None),
            ("never", None),
            ("", None),
            ("object", None),
            ("rejectquarantine", None),
        ] {
            assert_eq!(policy(value), meant, "{value}");
        }
    }
}
