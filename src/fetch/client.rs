//! The default client: HTTPS alone, bounded, following nothing.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, Uri};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder};

use crate::config::ConfigError;
use crate::rejection::BoxError;

use super::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};

/// The time for a connection to stand. Less than the whole, so that an unreachable host is told from a slow one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The default [`Fetch`]: `https` alone, verified against the system's roots, no redirects, no proxy, at most
/// [`MAX_FETCHED`] bytes within [`FETCH_TIMEOUT`].
///
/// It needs a tokio runtime when it is used. Clones share their connections.
///
/// ```
/// use tower_webhook::HttpsClient;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let client = HttpsClient::new()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpsClient(Client);

impl HttpsClient {
    /// The client for production.
    ///
    /// # Errors
    ///
    /// Where TLS cannot be set up, such as on a system without any root certificate.
    pub fn new() -> Result<Self, ConfigError> {
        Self::build(builder().https_only(true))
    }

    /// As [`new`](Self::new), trusting these roots (PEM, one or more) as well: for a gateway with a certificate authority
    /// of its own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and where there is no root in the text.
    pub fn with_roots(pem: &[u8]) -> Result<Self, ConfigError> {
        let roots = Certificate::from_pem_bundle(pem).unwrap_or_default();
        if roots.is_empty() {
            return Err(ConfigError::key("there is no PEM certificate among the client's roots"));
        }
        Self::build(roots.into_iter().fold(builder().https_only(true), ClientBuilder::add_root_certificate))
    }

    /// As [`new`](Self::new), but plain `http` is taken too, which **anyone on the way can answer**: for emulators and tests
    /// on the own machine, never for production.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_insecure_plain_http() -> Result<Self, ConfigError> {
        Self::build(builder())
    }

    fn build(builder: ClientBuilder) -> Result<Self, ConfigError> {
        builder
            .build()
            .map(Self)
            .map_err(|error| ConfigError::unavailable(format!("the HTTPS client cannot be set up: {error}")))
    }
}

/// No proxy: the environment of a process must not decide whom its certificates are asked of.
fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(FETCH_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
}

impl Fetch for HttpsClient {
    fn get(&self, uri: Uri) -> FetchFuture {
        let request = self.0.get(uri.to_string());
        // The address leaves the errors: its query may hold a token.
        Box::pin(async move { receive(request).await.map_err(|error| error.map_or(TOO_LONG.into(), BoxError::from)) })
    }
}

const TOO_LONG: &str = "the answer is too long";

/// The error is `None` where the answer is too long.
async fn receive(request: reqwest::RequestBuilder) -> Result<Response<Bytes>, Option<reqwest::Error>> {
    let mut answer = request.send().await.map_err(|error| Some(error.without_url()))?;
    if answer.content_length().is_some_and(|len| len > MAX_FETCHED as u64) {
        return Err(None);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| Some(error.without_url()))? {
        if body.len() + chunk.len() > MAX_FETCHED {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient").finish_non_exhaustive()
    }
}
