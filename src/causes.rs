//! Errors with their causes, on one line.

use std::error::Error;

/// Writes an error and its causes, each behind a colon. Libraries leave the telling part to the innermost cause.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
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
