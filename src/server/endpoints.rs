//! The HTTP addresses of a relay. All are bound before the first client is accepted, and answer later.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::{HttpAddresses, Settings, StartError};
use crate::web;

/// The bound addresses. `None` stands for one that is not configured.
pub(super) struct Endpoints {
    pub status: Option<BoundEndpoint>,
    pub api: Option<BoundEndpoint>,
    pub customers: Option<BoundEndpoint>,
    pub operators: Option<BoundEndpoint>,
    pub mailjet: Option<BoundEndpoint>,
}

impl Endpoints {
    pub async fn bind(settings: &Settings) -> Result<Self, StartError> {
        let own_name = settings.hostname.as_str();
        let bind = async |what, endpoint| BoundEndpoint::bind(what, endpoint, own_name).await;
        let customers = settings.customers_pages.as_ref().map(|pages| &pages.endpoint);
        let operators = settings.operators_pages.as_ref().map(|operators| &operators.pages.endpoint);
        let mailjet = settings.mailjet_events.as_ref().map(|mailjet| &mailjet.web);
        Ok(Endpoints {
            status: bind("the status pages", settings.web.as_ref()).await?,
            api: bind("the API", settings.api.as_ref()).await?,
            customers: bind("the customers' pages", customers).await?,
            operators: bind("the operators' pages", operators).await?,
            mailjet: bind("the endpoint of Mailjet's events", mailjet).await?,
        })
    }

    /// Returns the addresses, with the ports that the system chose.
    pub fn addresses(&self) -> HttpAddresses {
        let [status, api, customers, operators] = [&self.status, &self.api, &self.customers, &self.operators]
            .map(|endpoint| endpoint.as_ref().map(|endpoint| endpoint.address));
        HttpAddresses { status, api, customers, operators }
    }
}

/// A bound HTTP address that does not answer yet.
pub(super) struct BoundEndpoint {
    what: &'static str,
    address: SocketAddr,
    endpoint: web::Endpoint,
}

impl BoundEndpoint {
    async fn bind(
        what: &'static str,
        settings: Option<&web::Settings>,
        own_name: &str,
    ) -> Result<Option<Self>, StartError> {
        let Some(settings) = settings else { return Ok(None) };
        let address = settings.address;
        let taken = |source| StartError::Listen { address, source };
        let endpoint = web::Endpoint::bind(settings.clone(), own_name.to_owned()).await.map_err(taken)?;
        Ok(Some(BoundEndpoint { what, address: endpoint.address().map_err(taken)?, endpoint }))
    }

    /// Answers requests until `stopping`.
    pub async fn serve(self, router: axum::Router, stopping: CancellationToken) {
        if let Err(error) = web::serve(self.endpoint, router, stopping).await {
            tracing::error!("{} ended: {error}", self.what);
        }
    }
}
