//! The inspector: a source, and who may see it.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use http::StatusCode;

use crate::config::ConfigError;
#[cfg(feature = "inbox")]
use crate::inbox::Inbox;
use crate::inspect::recorder::Recorder;

use super::access::Access;
use super::routes::{TestEvents, routes};
use super::source::Source;

/// A page in the browser that shows deliveries as they come: what became of each, its headers and
/// its payload, what was signed, and why it was refused or failed. From there you can replay a
/// delivery, copy it as a `curl` command, and save it as a file for a test.
///
/// Its source is a [`Recorder`], which has live traffic in memory, or an `Inbox` (feature `inbox`),
/// which has what is stored.
///
/// The page shows payloads, so who may see it has to be said: choose
/// [`router_on_loopback`](Self::router_on_loopback), [`router_with_token`](Self::router_with_token)
/// or, behind your own authentication,
/// [`router_without_authentication`](Self::router_without_authentication).
///
/// The routes are `/`, which leads to the page, `/inspect`, and paths below `/inspect/`. Nest them
/// anywhere. Everything comes from the crate; the page loads nothing from other hosts, and its
/// Content-Security-Policy allows no script and no style but its own.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_webhook::inspect::{Inspector, Recorder};
/// use tower_webhook::{WebhookLayer, senders};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let recorder = Recorder::new();
/// let github = WebhookLayer::new(senders::github("the secret of the webhook")?);
/// let app: Router = Router::new().route("/hook", post(async || "handled").layer(recorder.around(github)));
///
/// let page = tokio::net::TcpListener::bind("127.0.0.1:4040").await?;
/// let inspector = Inspector::from(&recorder).router_on_loopback(page.local_addr()?)?;
/// tokio::spawn(async move { axum::serve(page, inspector).await });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Inspector {
    source: Source,
    test_events: Option<TestEvents>,
}

impl Inspector {
    /// Adds a button to the page that sends a test event. The function gets the event's name, if
    /// the user gave one, and makes the request, such as with `testing::SampleSender`. It returns
    /// the status of the answer, or why there was none.
    #[must_use]
    pub fn with_test_events<F, Fut>(mut self, send: F) -> Self
    where
        F: Fn(Option<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StatusCode, String>> + Send + 'static,
    {
        self.test_events = Some(Arc::new(move |event| Box::pin(send(event))));
        self
    }

    /// Returns the page for a listener on a loopback address. Requests for another host are
    /// refused, so that no site can reach the page through a browser on this machine by a name that
    /// leads here.
    ///
    /// # Errors
    ///
    /// If the address is not a loopback address.
    pub fn router_on_loopback(&self, listener: SocketAddr) -> Result<Router, ConfigError> {
        if !listener.ip().is_loopback() {
            return Err(ConfigError::invalid(
                "the inspector listens on loopback, unless it has a token or is behind an authentication",
            ));
        }
        Ok(self.routes(Access::Loopback { port: Some(listener.port()) }))
    }

    /// Returns the page for anyone with the token. Browsers ask for a user and a password: the
    /// password is the token, and the user can be anything. Other clients send
    /// `Authorization: Bearer <token>`. Use it over HTTPS only.
    ///
    /// # Errors
    ///
    /// If the token has less than [`MIN_INSPECTOR_TOKEN`](crate::inspect::MIN_INSPECTOR_TOKEN)
    /// bytes.
    pub fn router_with_token<S>(&self, token: &str) -> Result<Router<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        Ok(self.routes(Access::token(token)?))
    }

    /// Returns the page for anyone who can reach it: put it behind your own authentication.
    pub fn router_without_authentication<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.routes(Access::Anyone)
    }

    fn routes<S: Clone + Send + Sync + 'static>(&self, access: Access) -> Router<S> {
        routes(self.source.clone(), self.test_events.clone(), access)
    }
}

impl From<&Recorder> for Inspector {
    fn from(recorder: &Recorder) -> Self {
        Self { source: Source::Recorder(recorder.clone()), test_events: None }
    }
}

#[cfg(feature = "inbox")]
impl<S> From<&Inbox<S>> for Inspector {
    fn from(inbox: &Inbox<S>) -> Self {
        [inbox].into_iter().collect()
    }
}

/// Shows several inboxes together. They have to be of one store, which numbers their deliveries.
#[cfg(feature = "inbox")]
impl<'a, S: 'a> FromIterator<&'a Inbox<S>> for Inspector {
    fn from_iter<I: IntoIterator<Item = &'a Inbox<S>>>(inboxes: I) -> Self {
        Self { source: Source::Inboxes(inboxes.into_iter().map(Inbox::operator).collect()), test_events: None }
    }
}

/// Returns the page that stands beside the inbox's JSON.
#[cfg(feature = "inbox")]
pub(in crate::inspect) fn beside<S, T>(inbox: &Inbox<S>) -> Router<T>
where
    T: Clone + Send + Sync + 'static,
{
    Inspector::from(inbox).routes(Access::Loopback { port: None })
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}
