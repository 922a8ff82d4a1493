//! CloudBlue Connect: triggers for a queue that has changed and requests to validate an object,
//! proven by a bearer JWT.
//!
//! Source: <https://connect.cloudblue.com/community/modules/extensions/webhooks>.

mod payload;
#[cfg(feature = "testing")]
mod sign;
mod token_rules;
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
#[cfg(feature = "inspect")]
use crate::clues::Clues;
use crate::config::ConfigError;
use crate::jwt::{self, Backend};
use crate::mac::{Mac, MacKind};
use crate::provider::{Begin, Behavior, Facts, MaybeReady, Outcome, Provider, Recognition};
use crate::rejection::Rejection;
use crate::secrets::{HeadRef, KeyFormat, Keys, Secrets};
use crate::senders::knowledge;
use crate::text::Text;
use crate::time::Clock;

pub(crate) use payload::ConnectPayload;
use token_rules::TokenRules;

pub use token_rules::{DEFAULT_LEEWAY, TokenHeader};
pub use trigger::{ObjectClass, Timestamp, Trigger};
pub use verification::ConnectVerification;

const METHODS: [Method; 2] = [Method::GET, Method::POST];

/// CloudBlue Connect, which sends a JSON web token (HS256) in `Authorization: Bearer` or
/// `Authentication: Bearer`, with GET or POST.
///
/// The token proves its claims. A POST repeats them in its body, and a body that contradicts a
/// claim is refused. Members that only the body has are not signed: see [`Trigger`]. A GET with a
/// body is refused. The secret is the webhook's "JWT secret".
///
/// A token may have up to 16 KiB. Over HTTP/2, hyper's server accepts no more than that for all
/// headers together by default; raise its `max_header_list_size` if you need to.
///
/// Clones share everything.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Connect, WebhookLayer};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let connect = Connect::new("the JWT secret")?.with_webhook_id("WH-123-456-789").with_required_claims(["product_id"]);
/// let layer = WebhookLayer::new(connect);
/// # Ok(())
/// # }
/// ```
///
/// A secret lookup gets the token's *unverified* `webhook_id` as its
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
/// Some of Connect's webhooks ask whether a request is valid and read the handler's response. The
/// layer returns its status, headers and body unchanged.
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
/// /// Returns the draft request with each wrong parameter explained.
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
#[derive(Clone)]
pub struct Connect {
    name: Text,
    keys: Arc<Keys<Mac>>,
    rules: Arc<TokenRules>,
    body_fields: Option<Arc<BodyFields>>,
}

impl Connect {
    /// Creates the provider with this JWT secret, several while they rotate, or a lookup.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no secret, an empty one, or more than
    /// [`MAX_SECRETS`](crate::MAX_SECRETS). It also returns one if the crate `jsonwebtoken` has
    /// no usable cryptography, because the program compiles in both of its back ends and
    /// has chosen neither. Such a program must call
    /// `jsonwebtoken::crypto::CryptoProvider::install_default` first, since the
    /// first use settles the choice.
    pub fn new(secrets: impl Into<Secrets>) -> Result<Self, ConfigError> {
        Backend::prove()?;
        let keys = secrets.into().into_keys(|secret| Ok(Mac::new(MacKind::SHA256, &secret.key(KeyFormat::Text)?)))?;
        let body_fields = BodyFields::new().with_identity_by(ConnectPayload::identity).shared();
        Ok(Self { name: "cloudblue_connect".into(), keys: Arc::new(keys), rules: Arc::default(), body_fields })
    }

    /// Sets which header holds the token. By default it is whichever of the two is there. A request
    /// with both is refused.
    #[must_use]
    pub fn with_header(self, header: TokenHeader) -> Self {
        self.with(|rules| rules.header = header)
    }

    /// Sets the allowed clock skew for `exp`, `nbf` and `iat`, which RFC 7519 calls leeway. The
    /// default is [`DEFAULT_LEEWAY`].
    #[must_use]
    pub fn with_leeway(self, leeway: Duration) -> Self {
        self.with(|rules| rules.times.leeway = leeway)
    }

    /// Accepts tokens for this webhook only, for webhooks that share a secret. Call it again to
    /// allow another webhook. A token that names no webhook is refused too.
    #[must_use]
    pub fn with_webhook_id(self, id: impl Into<String>) -> Self {
        self.pin("webhook_id", id.into())
    }

    /// Accepts tokens for this product only. See [`with_webhook_id`](Self::with_webhook_id).
    #[must_use]
    pub fn with_product_id(self, id: impl Into<String>) -> Self {
        self.pin("product_id", id.into())
    }

    /// Accepts tokens for this account only. See [`with_webhook_id`](Self::with_webhook_id).
    #[must_use]
    pub fn with_account_id(self, id: impl Into<String>) -> Self {
        self.pin("account_id", id.into())
    }

    /// Refuses tokens without all of these claims. By default, every claim but `exp` may be left to
    /// the body, where it is not signed. Call it again to add to the list.
    #[must_use]
    pub fn with_required_claims<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.with(|rules| rules.required.extend(names.into_iter().map(Into::into)))
    }

    /// Allows the body to contradict the token in these members. The claim takes precedence. The
    /// document's own sample contradicts itself in `api_url`. Call it again to add to the list.
    #[must_use]
    pub fn with_exempt_members<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.with(|rules| rules.exempt.extend(names.into_iter().map(Into::into)))
    }

    fn pin(self, claim: &'static str, value: String) -> Self {
        self.with(|rules| rules.pins.push((claim, value)))
    }

    fn with(mut self, set: impl FnOnce(&mut TokenRules)) -> Self {
        set(Arc::make_mut(&mut self.rules));
        self
    }

    fn judge(&self, by: HeadRef<'_>, now: SystemTime) -> Result<MaybeReady<Begin<ConnectVerification>>, Rejection> {
        let head = by.parts();
        if !METHODS.contains(&head.method) {
            return Err(Rejection::wrong_method(&METHODS));
        }
        if head.method == Method::GET && head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
            return Err(verification::get_with_a_body());
        }
        let token = self.rules.token(head)?;
        let hint = if self.keys.are_looked_up() {
            // Everything that can be refused without a secret is refused before one is looked up.
            self.rules.claims(&token, now)?.0.parse::<String>("webhook_id").map(Text::from)
        } else {
            None
        };
        match self.keys.find(by, hint) {
            MaybeReady::Ready(found) => {
                let keys = self.keys.tried(&found)?;
                ConnectVerification::begin(&self.rules, &token, &keys, now).map(|it| Begin::Verify(it).into())
            }
            MaybeReady::Pending(found) => {
                let (own, rules, head) = (self.keys.clone(), self.rules.clone(), by.to_shared());
                Ok(MaybeReady::pending(async move {
                    let found = found.await?;
                    let keys = own.tried(&found)?;
                    ConnectVerification::begin(&rules, &rules.token(&head)?, &keys, now).map(Begin::Verify)
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

    fn behavior(&self) -> &Behavior {
        &knowledge::cloudblue_connect
    }

    fn facts(&self) -> Vec<Facts> {
        let facts = Facts::new(self.name.clone(), *self.behavior(), self.body_limit());
        vec![facts.with_identity("an id in the body")]
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        (METHODS.contains(&head.method) && jwt::bearer(head, self.rules.header.of(&head.headers)).is_ok()).into()
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<ConnectVerification>>, Rejection> {
        self.judge(head.into(), clock.now())
    }

    fn shares_head(&self) -> bool {
        self.keys.see_whole_head()
    }

    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<ConnectVerification>>, Rejection> {
        self.judge(head.into(), clock.now())
    }

    fn finish(
        &self,
        verification: &mut ConnectVerification,
        head: &Parts,
        body: &Bytes,
        _: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        verification.decide(&self.rules, &self.body_fields, head, body).map(Into::into)
    }

    fn refuse(&self, _: &Parts, rejection: Rejection) -> Rejection {
        jwt::challenge(rejection)
    }

    #[cfg(feature = "inspect")]
    fn clues(&self) -> Clues {
        Clues { is_repeatable: true, ..Clues::default() }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("rules", &self.rules).finish_non_exhaustive()
    }
}
