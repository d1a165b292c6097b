//! Whether the relay takes mail at this moment, or is alive at all: a list of checks, each with its reason where the answer is no.

use std::sync::Arc;

type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// The checks behind `/readyz` or `/healthz`. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Arc<Check>)>,
}

impl Readiness {
    /// With one more check. It is asked at every request, so it looks at what is known and does not go and find out.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.checks.push((name, Arc::new(check)));
        self
    }

    /// The checks that fail, with their reasons; empty when ready.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.checks.iter().filter_map(|(name, check)| Some((*name, check().err()?))).collect()
    }
}
