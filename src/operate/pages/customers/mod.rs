//! The customer's page, which a link opens.

use axum::Router;

use super::{Settings, guard};
use crate::operate::Service;

/// The customers' pages. Cheap to clone.
#[derive(Clone)]
pub struct Customers {
    service: Service,
}

impl Customers {
    /// The pages about this service.
    pub fn new(service: Service) -> Self {
        Customers { service }
    }

    /// What answers requests.
    pub fn router(self, settings: &Settings) -> Router {
        let pages = Router::new();
        guard::guarded(pages.with_state(self), &settings.url)
    }
}
