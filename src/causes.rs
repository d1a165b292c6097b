//! The causes of errors. Libraries leave the telling part to the innermost one.

use std::error::Error;
use std::iter::successors;

/// Returns the causes of an error, from the outermost to the innermost.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

/// Writes an error and its causes on one line, each behind a colon.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot ask")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_named_in_order() {
        assert_eq!(with_causes(&Outer(std::io::Error::other("refused"))), "cannot ask: refused");
        assert_eq!(with_causes(&std::io::Error::other("refused")), "refused");
    }
}
