//! Proof that no route stands open.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use crate::rejection::{Reason, Rejection};

/// Asserts that a webhook layer refuses each of these requests.
///
/// A layer protects what it is put around and nothing else, and a route that it misses answers 200
/// to anybody: in axum `.layer(..)` before `.route(..)`, `.put(..)` after `.layer(..)`, `merge(..)`
/// after `layer(..)`, or a layer in observe mode that was forgotten. Call this in a test with the
/// app that you serve, and one unsigned request for each method of each route that receives
/// webhooks.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::post};
/// use http::Request;
/// use tower_webhook::{WebhookLayer, senders, testing};
///
/// # tokio_test(async {
/// let github = WebhookLayer::new(senders::github("secret")?);
/// let app: Router = Router::new().route("/webhooks/github", post(async || "stored").layer(github));
/// testing::assert_protected(app, [Request::post("/webhooks/github").body("{}")?]).await;
/// # Ok(())
/// # });
/// # fn tokio_test(test: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) {
/// #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test).unwrap()
/// # }
/// # }
/// ```
///
/// # Panics
///
/// Panics if the app answers a request itself, with the request's method and path and what is
/// likely wrong.
pub async fn assert_protected<S, R>(app: S, requests: impl IntoIterator<Item = Request<impl Into<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
{
    let mut sent = 0;
    for request in requests {
        let request = request.map(|body| Full::new(body.into()));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut service = app.clone();
        let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
        let response = match ready {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        let response = response.unwrap_or_else(|error| panic!("{method} {path}: the app failed: {error:?}"));
        if let Err(fault) = refused(&method, &response) {
            panic!("{method} {path} is not protected: {fault}");
        }
        sent += 1;
    }
    assert!(sent > 0, "there is no request to send, so nothing is shown");
}

/// Returns whether a webhook layer refused, or what is wrong.
fn refused<R>(method: &Method, response: &Response<R>) -> Result<(), String> {
    let status = response.status();
    match Rejection::of_response(response.extensions()) {
        Some(rejection) if rejection.reason() == Reason::NoDelivery => {
            Err("no webhook layer stands before the handler; put it on the route, after the route's methods".to_owned())
        }
        Some(rejection) if rejection.reason() == Reason::MalformedPayload => {
            Err("the layer took the request for genuine".to_owned())
        }
        Some(_) => Ok(()),
        None if status == StatusCode::NOT_FOUND => Err("nothing answers at this path (404)".to_owned()),
        None if status == StatusCode::METHOD_NOT_ALLOWED => {
            Err(format!("the router takes no {method} here, so this request says nothing of the layer (405)"))
        }
        None => Err(format!(
            "the handler, or what stands before the webhook layer, answered {status}; is the layer around this route and \
             method, and not in observe mode?"
        )),
    }
}
