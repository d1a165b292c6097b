//! The style sheet, the script and the icon, which are part of the program. Their names contain a digest of their content, so a browser may
//! cache them for a year and still gets new ones after an update.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::hex::hex;

/// A file that pages load.
pub(super) struct Asset {
    /// The path at which it is served.
    pub path: String,
    content: &'static str,
    kind: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, content: &'static str, kind: &'static str) -> Self {
        let digest = hex(&digest(&SHA256, content.as_bytes()).as_ref()[..8]);
        Asset { path: format!("/assets/{name}.{digest}.{ending}"), content, kind }
    }
}

/// The style sheet of all pages.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "css", include_str!("assets/pages.css"), "text/css; charset=utf-8"));
/// The script of all pages. The pages work without it.
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "js", include_str!("assets/pages.js"), "text/javascript; charset=utf-8"));
/// The icon in the browser's tab.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", include_str!("assets/icon.svg"), "image/svg+xml"));

/// Returns the answer with the asset of this name, or `None` if there is none.
pub(super) fn answer(name: &str) -> Option<Response> {
    let found = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|it| it.path.strip_prefix("/assets/") == Some(name));
    found.map(|Asset { content, kind, .. }| {
        let headers = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
        (headers, *content).into_response()
    })
}
