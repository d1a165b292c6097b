//! A list of checks that says whether the relay accepts mail now, or whether the process works. Each failing check gives a reason.

use std::sync::Arc;

type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// The checks behind `/readyz` or `/healthz`. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Arc<Check>)>,
}

impl Readiness {
    /// Adds a check. It runs at every request, so it must only look at known state and never wait.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.checks.push((name, Arc::new(check)));
        self
    }

    /// Returns the failing checks with their reasons; none if all pass.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.checks.iter().filter_map(|(name, check)| Some((*name, check().err()?))).collect()
    }
}
