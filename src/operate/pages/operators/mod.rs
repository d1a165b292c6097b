//! Operators' pages, behind a login.

use axum::Router;

use super::{Settings, guard};
use crate::operate::Service;

/// The operators' pages. Cheap to clone.
#[derive(Clone)]
pub struct Operators {
    service: Service,
}

impl Operators {
    /// The pages about this service.
    pub fn new(service: Service) -> Self {
        Operators { service }
    }

    /// What answers requests.
    pub fn router(self, settings: &Settings) -> Router {
        let pages = Router::new();
        guard::guarded(pages.with_state(self), &settings.url)
    }
}
