//! The URI that the sender requested, whatever routers made of it since.

use http::Uri;
use http::request::Parts;

/// Returns the URI that arrived. `axum::Router::nest` strips its prefix from the request's own URI
/// and keeps the whole one in the extensions. A sender that signs the path signs the whole one.
pub(crate) fn requested_uri(head: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = head.extensions.get() {
        return uri;
    }
    &head.uri
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn without_a_router_it_is_the_requests_own() {
        let (head, ()) = Request::get("/hook?a=1").body(()).unwrap().into_parts();
        assert_eq!(requested_uri(&head), "/hook?a=1");
    }

    #[cfg(feature = "axum")]
    #[test]
    fn behind_a_nested_router_it_is_the_whole_one() {
        let (mut head, ()) = Request::get("/hook?a=1").body(()).unwrap().into_parts();
        head.extensions.insert(axum::extract::OriginalUri(Uri::from_static("/tenants/7/hook?a=1")));
        assert_eq!(requested_uri(&head), "/tenants/7/hook?a=1");
    }
}
