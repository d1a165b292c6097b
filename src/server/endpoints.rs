//! The HTTP addresses of a relay. All are bound before the first client is accepted, and answer later.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::{HttpAddresses, StartError};
use crate::operate::pages;
use crate::returns::mailjet;
use crate::web;

/// The bound addresses. `None` stands for one that is not configured.
pub(super) struct Endpoints {
    pub status: Option<BoundEndpoint>,
    pub api: Option<BoundEndpoint>,
    pub customers: Option<BoundEndpoint>,
    pub operators: Option<BoundEndpoint>,
    pub mailjet: Option<BoundEndpoint>,
}

/// The settings of all addresses.
pub(super) struct EndpointSettings<'a> {
    pub status: Option<web::Settings>,
    pub api: Option<web::Settings>,
    pub customers: Option<&'a pages::Settings>,
    pub operators: Option<&'a pages::Settings>,
    pub mailjet: Option<&'a mailjet::Settings>,
}

impl Endpoints {
    /// Binds all addresses. `own_name` is the relay's host name.
    pub async fn bind(settings: EndpointSettings<'_>, own_name: &str) -> Result<Self, StartError> {
        let bind = async |what, endpoint| BoundEndpoint::bind(what, endpoint, own_name).await;
        let of_pages = |pages: Option<&pages::Settings>| pages.map(|pages| pages.endpoint.clone());
        Ok(Endpoints {
            status: bind("the status pages", settings.status).await?,
            api: bind("the API", settings.api).await?,
            customers: bind("the customers' pages", of_pages(settings.customers)).await?,
            operators: bind("the operators' pages", of_pages(settings.operators)).await?,
            mailjet: bind("the endpoint of Mailjet's events", settings.mailjet.map(|it| it.web.clone())).await?,
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
        settings: Option<web::Settings>,
        own_name: &str,
    ) -> Result<Option<Self>, StartError> {
        let Some(settings) = settings else { return Ok(None) };
        let address = settings.address;
        let taken = |source| StartError::Listen { address, source };
        let endpoint = web::Endpoint::bind(settings, own_name.to_owned()).await.map_err(taken)?;
        Ok(Some(BoundEndpoint { what, address: endpoint.address().map_err(taken)?, endpoint }))
    }

    /// Answers requests until `stopping`.
    pub async fn serve(self, router: axum::Router, stopping: CancellationToken) {
        if let Err(error) = web::serve(self.endpoint, router, stopping).await {
            tracing::error!("{} ended: {error}", self.what);
        }
    }
}
