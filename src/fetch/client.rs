//! The default client: HTTPS only, bounded, without redirects.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, Uri};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder};

use crate::config::ConfigError;
use crate::rejection::BoxError;

use super::get::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};

/// The time to establish a connection. It is shorter than the whole, so that an unreachable host
/// can be told from a slow one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The default [`Fetch`]: `https` only, verified against the system's roots, no redirects, no
/// proxy, at most [`MAX_FETCHED`] bytes within [`FETCH_TIMEOUT`].
///
/// It needs a tokio runtime when it is used. Clones share their connections.
///
/// # Examples
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
    /// Creates the client for production.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS cannot be set up, for example on a system without root certificates.
    pub fn new() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Returns a builder for a client with other settings.
    #[must_use]
    pub fn builder() -> HttpsClientBuilder {
        HttpsClientBuilder { roots: None, plain_http: false, keeps_connections: true }
    }
}

/// A builder for [`HttpsClient`].
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::HttpsClient;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpsClient::builder().roots(std::fs::read("gateway-ca.pem")?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpsClientBuilder {
    roots: Option<Vec<u8>>,
    plain_http: bool,
    keeps_connections: bool,
}

impl HttpsClientBuilder {
    /// Trusts these roots (PEM, one or more) as well, for an egress gateway with its own
    /// certificate authority.
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Accepts plain `http` as well, which **anyone on the network path can answer**: for emulators
    /// and tests on your own machine, never for production.
    pub fn insecure_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Opens a connection for each request, so that none belongs to a runtime that is gone.
    pub(super) fn without_idle_connections(mut self) -> Self {
        self.keeps_connections = false;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS cannot be set up, or if the roots contain no certificate.
    pub fn build(self) -> Result<HttpsClient, ConfigError> {
        // No proxy: the process's environment must not decide who is asked for certificates.
        let mut client = Client::builder()
            .https_only(!self.plain_http)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
        if !self.keeps_connections {
            client = client.pool_max_idle_per_host(0);
        }
        if let Some(pem) = self.roots {
            let roots = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if roots.is_empty() {
                return Err(ConfigError::key("the client's roots contain no PEM certificate"));
            }
            client = roots.into_iter().fold(client, ClientBuilder::add_root_certificate);
        }
        let client = client.build();
        client
            .map(HttpsClient)
            .map_err(|error| ConfigError::unavailable("the HTTPS client cannot be set up").with_source(error))
    }
}

impl Fetch for HttpsClient {
    fn get(&self, uri: Uri) -> FetchFuture {
        let request = self.0.get(uri.to_string());
        // Errors don't name the URL: its query may hold a token.
        Box::pin(async move { receive(request).await.map_err(|error| error.map_or(TOO_LARGE.into(), BoxError::from)) })
    }
}

const TOO_LARGE: &str = "the response is too large";

/// The error is `None` if the response is too large.
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
