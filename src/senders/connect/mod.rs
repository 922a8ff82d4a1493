//! CloudBlue Connect: notices that a queue has changed and questions whether an object is valid, proven by a bearer JWT.
//!
//! Source: <https://connect.cloudblue.com/community/modules/extensions/webhooks>.

mod rules;
#[cfg(feature = "testing")]
mod sign;
mod trigger;
mod verification;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::jwt::{self, Backend};
use crate::mac::{Mac, MacKind};
use crate::rejection::Rejection;
use crate::scheme::wrong_method;
use crate::secrets::{Find, KeyFormat, Keys, Secrets};
use crate::text::Text;
use crate::time::Clock;

use crate::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};

use rules::Rules;
use verification::Said;

pub use trigger::{ObjectClass, Timestamp, Trigger};
pub use verification::ConnectVerification;

/// How far Connect's clock and ours may disagree unless it is set. Tokens hold for about ten minutes, so half a minute is
/// little beside that and more than synchronised clocks need.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

const METHODS: [Method; 2] = [Method::GET, Method::POST];

/// CloudBlue Connect, which sends a JSON web token of HS256 in `Authorization: Bearer`, with GET or POST.
///
/// The claims of the token are what is proven; on POST the body repeats them, and a body that contradicts a claim is
/// refused. What only the body says is not signed: see [`Trigger`]. A GET has no body, and one that has is refused. The
/// secret is the "JWT secret" of the webhook.
///
/// ```
/// use tower_webhook::{Connect, WebhookLayer};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let connect = Connect::new("the JWT secret")?.webhook_id("WH-123-456-789").require_claims(["product_id"]);
/// let layer = WebhookLayer::new(connect);
/// # Ok(())
/// # }
/// ```
///
/// A secret look-up gets the *unverified* `webhook_id` of the token as its
/// [hint](crate::Head::unverified_hint):
///
/// ```
/// # use tower_webhook::{Connect, Head, Secret, Secrets};
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let connect = Connect::new(Secrets::lookup(|head: Head| async move {
///     let secret = match head.unverified_hint() {
///         Some("WH-123-456-789") => Some(Secret::new("its JWT secret")),
///         _ => None,
///     };
///     Ok::<_, std::io::Error>(secret)
/// }))?;
/// # Ok(())
/// # }
/// ```
///
/// Some of Connect's webhooks ask whether a request is valid and take the handler's response for the answer: the layer
/// passes its status, headers and body on unchanged.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod example {
/// use axum::routing::post;
/// use axum::{Json, Router};
/// use serde_json::{Value, json};
/// use tower_webhook::{ConfigError, Connect, Webhook, WebhookLayer};
///
/// pub fn app() -> Result<Router, ConfigError> {
///     let layer = WebhookLayer::new(Connect::new("the JWT secret")?);
///     Ok(Router::new().route("/validate", post(validate).layer(layer)))
/// }
///
/// /// Answers with the draft request itself, each wrong parameter explained.
/// async fn validate(Webhook(Json(mut draft)): Webhook<Json<Value>>) -> Json<Value> {
///     for param in draft["asset"]["params"].as_array_mut().into_iter().flatten() {
///         if param["value"] == "" {
///             param["value_error"] = json!("This is required.");
///         }
///     }
///     Json(draft)
/// }
/// # }
/// ```
///
/// A token may be as long as 16 KiB. Over HTTP/2, hyper's server takes no more than that for all headers together, unless
/// its `max_header_list_size` is raised.
///
/// A clone shares everything.
#[derive(Clone)]
pub struct Connect {
    name: Text,
    keys: Arc<Keys<Mac>>,
    rules: Arc<Rules>,
    in_body: Option<Arc<BodyFields>>,
}

/// The header that holds the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenHeader {
    /// `Authorization`, as the document's text says.
    #[default]
    Authorization,
    /// `Authentication`, as the document's sample request spells it.
    Authentication,
}

impl Connect {
    /// The sender with this JWT secret, or several while they rotate, or a look-up.
    ///
    /// # Errors
    ///
    /// Where there is no secret, an empty one, or more than [`MAX_SECRETS`](crate::MAX_SECRETS); and where the crate
    /// `jsonwebtoken` is without cryptography because the program has compiled in both of its back ends and chosen
    /// neither. Such a program calls `jsonwebtoken::crypto::CryptoProvider::install_default` before it comes here: the
    /// first use, which this is, settles the choice.
    pub fn new(secrets: impl Into<Secrets>) -> Result<Self, ConfigError> {
        Backend::prove()?;
        let keys = secrets.into().into_keys(|secret| Mac::new(MacKind::Sha256, &secret.key(KeyFormat::Text)?))?;
        let in_body = BodyFields::new().with_identity_by(Said::identity).shared();
        Ok(Self { name: "cloudblue_connect".into(), keys: Arc::new(keys), rules: Arc::default(), in_body })
    }

    /// Sets which header holds the token. It is read from there alone, and a request that has both headers is refused.
    #[must_use]
    pub fn header(self, header: TokenHeader) -> Self {
        self.with(|rules| rules.header = header)
    }

    /// Sets how far Connect's clock and ours may disagree, for `exp`, `nbf` and `iat`. [`DEFAULT_LEEWAY`] unless it is set.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        self.with(|rules| rules.times.leeway = leeway)
    }

    /// Takes tokens for this webhook only, where webhooks share a secret. Called again, it adds another webhook. A token
    /// that does not say for which webhook it is is refused too.
    #[must_use]
    pub fn webhook_id(self, id: impl Into<String>) -> Self {
        self.pin("webhook_id", id.into())
    }

    /// Takes tokens for this product only; otherwise as [`webhook_id`](Self::webhook_id).
    #[must_use]
    pub fn product_id(self, id: impl Into<String>) -> Self {
        self.pin("product_id", id.into())
    }

    /// Takes tokens for this account only; otherwise as [`webhook_id`](Self::webhook_id).
    #[must_use]
    pub fn account_id(self, id: impl Into<String>) -> Self {
        self.pin("account_id", id.into())
    }

    /// Refuses tokens that do not have all of these claims. Without it, every claim but `exp` may be left to the body,
    /// where it is not signed. Called again, it adds to the list.
    #[must_use]
    pub fn require_claims<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.with(|rules| rules.required.extend(names.into_iter().map(Into::into)))
    }

    /// Lets the body say something else than the token about these members; the claim is what counts then. The document's
    /// own sample disagrees about `api_url`. Called again, it adds to the list.
    #[must_use]
    pub fn exempt<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.with(|rules| rules.exempt.extend(names.into_iter().map(Into::into)))
    }

    fn pin(self, claim: &'static str, value: String) -> Self {
        self.with(|rules| rules.pins.push((claim, value)))
    }

    fn with(mut self, set: impl FnOnce(&mut Rules)) -> Self {
        set(Arc::make_mut(&mut self.rules));
        self
    }

    fn judge(&self, head: &Parts, now: SystemTime) -> Result<MaybeReady<Begin<ConnectVerification>>, Rejection> {
        if !METHODS.contains(&head.method) {
            return Err(wrong_method(&METHODS));
        }
        if head.method == Method::GET && head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
            return Err(verification::get_with_a_body());
        }
        let token = self.rules.token(head)?;
        let hint = match self.keys.are_looked_up() {
            false => None,
            // Whatever can be refused without a secret is, before anybody looks one up.
            true => self.rules.claims(&token, now)?.0.parse::<String>("webhook_id").map(Text::from),
        };
        match self.keys.find(head, hint) {
            Find::Now(keys) => {
                ConnectVerification::begin(&self.rules, &token, keys, now).map(|it| Begin::Verify(it).into())
            }
            Find::Later { head, keys } => {
                let rules = self.rules.clone();
                Ok(MaybeReady::pending(async move {
                    let keys = keys.await?;
                    ConnectVerification::begin(&rules, &rules.token(&head)?, keys, now).map(Begin::Verify)
                }))
            }
        }
    }
}

impl Provider for Connect {
    type Verification = ConnectVerification;

    fn name(&self) -> &Text {
        &self.name
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        (METHODS.contains(&head.method) && jwt::bearer(head, self.rules.header.name()).is_ok()).into()
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<ConnectVerification>>, Rejection> {
        self.judge(head, clock.now())
    }

    fn finish(
        &self,
        verification: &mut ConnectVerification,
        head: &Parts,
        body: &Bytes,
        _: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        verification.decide(&self.rules, &self.in_body, head, body).map(Into::into)
    }

    fn refuse(&self, _: &Parts, rejection: Rejection) -> Rejection {
        jwt::challenge(rejection)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("rules", &self.rules).finish_non_exhaustive()
    }
}
