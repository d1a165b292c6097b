//! Says what the walks over a domain's record found wrong in it.

use super::walk::{MOST_LOOKUPS, MOST_VOID_LOOKUPS, Problem, Walk};
use crate::onboarding::finding::{Check, Finding};
use crate::smtp::Domain;

/// From this number of lookups on, including ours, one more include may break the record.
const MANY_LOOKUPS: u32 = 9;

/// The two walks over a record, and the state of our include.
pub(super) struct Seen<'a> {
    /// The walk of a receiver.
    pub received: &'a Walk,
    /// The walk to the end of the record.
    pub survey: &'a Walk,
    /// True if the term that lets us send comes before all terms that `received` did not reach.
    pub passes_before: bool,
    /// The problems that the customer did not cause.
    pub others: &'a [Problem],
    /// The lookups of our include, if it must still be added.
    pub to_come: u32,
}

/// Reports the problems of the walk.
pub(super) fn remarks(check: &mut Check, domain: &Domain, seen: &Seen<'_>) {
    let own = domain.as_str();
    let &Seen { received, survey, passes_before, others, to_come } = seen;
    let is_loop = |problem: &&Problem| matches!(problem, Problem::Loop { .. });
    let surveyed_loop = survey.problems.iter().any(|problem| is_loop(&problem));
    let only_received = |problem: &&Problem| !survey.problems.contains(problem);
    // A receiver would never end. The survey has named where the loop closes.
    let more = received.problems.iter().filter(only_received).filter(|problem| !(surveyed_loop && is_loop(problem)));
    for problem in survey.problems.iter().chain(more).filter(|problem| !others.contains(problem)) {
        let met =
            received.problems.contains(problem) || (is_loop(&problem) && received.problems.iter().any(|p| is_loop(&p)));
        if passes_before && !met && beyond(check, problem) {
            continue;
        }
        match problem {
            Problem::NoRecord { domain, near_misses } if domain == own => {
                check.say(Finding::SpfMissing { domain: domain.clone() });
                near_misses.iter().for_each(|text| check.say(Finding::SpfNearMiss { text: text.clone() }));
            }
            Problem::NoRecord { domain, .. } => {
                check.say(Finding::SpfIncludeWithoutRecord { domain: domain.clone() });
            }
            Problem::Several { domain, records } => {
                let (domain, count) = (domain.clone(), records.len());
                check.say(match domain == own {
                    true => Finding::SpfSeveral { domain, count },
                    false => Finding::SpfIncludeSeveral { domain, count },
                });
            }
            Problem::Syntax { domain, faults } => {
                faults.iter().for_each(|fault| check.say(Finding::spf_syntax(domain, fault)));
            }
            Problem::TooLong { domain, octets } => {
                check.say(Finding::SpfTooLong { domain: domain.clone(), octets: *octets });
            }
            Problem::NoEffect { domain, terms } if domain == own => {
                check.say(Finding::SpfNoEffect { domain: domain.clone(), terms: terms.clone() });
            }
            // The records of other domains are their owners' concern, unless they let everybody pass.
            Problem::AfterAll { domain, terms } if domain == own => {
                check.say(Finding::SpfAfterAll { domain: domain.clone(), terms: terms.clone() });
            }
            Problem::Ptr { domain } if domain == own => check.say(Finding::SpfPtr { domain: domain.clone() }),
            Problem::AfterAll { .. } | Problem::Ptr { .. } | Problem::NoEffect { .. } => {}
            Problem::EverybodyPasses { domain, term } => {
                check.say(Finding::SpfEverybody { domain: domain.clone(), term: term.clone() });
            }
            Problem::Loop { domain } => check.say(Finding::SpfLoop { domain: domain.clone() }),
            // The count means nothing in a loop.
            Problem::TooManyLookups if met && !surveyed_loop => {
                check.say(Finding::SpfTooManyLookups { count: survey.lookups });
            }
            Problem::TooManyVoidLookups if met => {
                check.say(Finding::SpfTooManyVoidLookups { count: survey.void_lookups });
            }
            Problem::TooManyLookups | Problem::TooManyVoidLookups => {}
            Problem::TooManyExchanges { domain } => check.say(Finding::SpfTooManyExchanges { domain: domain.clone() }),
            // The caller has checked this.
            Problem::Unanswered(_) => {}
        }
    }
    let too_many = |problem| received.problems.contains(&problem);
    let count = survey.lookups + to_come;
    // If our include would exceed the limit, the proposal says so.
    let told_there = to_come > 0 && count > MOST_LOOKUPS;
    if count >= MANY_LOOKUPS && !told_there && !too_many(Problem::TooManyLookups) {
        check.say(Finding::SpfNearLookupLimit { count });
    }
    // A macro makes a different name for each address, so a missing name for ours is no mistake.
    let has_macro = survey.steps.iter().any(|step| step.term.contains("%{"));
    if survey.void_lookups > MOST_VOID_LOOKUPS && !too_many(Problem::TooManyVoidLookups) && !has_macro {
        check.say(Finding::SpfManyVoidLookups { count: survey.void_lookups });
    }
    debug_assert!(received.lookups <= MOST_LOOKUPS + 1);
}

/// Reports a broken record after the term that lets us send. Returns true if there is one.
fn beyond(check: &mut Check, problem: &Problem) -> bool {
    let Some((domain, fault)) = problem.of_included() else { return false };
    check.say(Finding::SpfBeyondUs { domain: domain.to_owned(), fault });
    true
}
