//! The web hook of CloudEvents.

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Scheme, bearer, header};
use crate::secrets::Secrets;

use super::{SenderConfig, knowledge};

/// The [CloudEvents web hook](https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md), with a bearer token.
///
/// Add [`Handshake::allow_origins`] by [`Scheme::with_handshake`] for senders that ask for
/// permission first. Event and id are those of the binary form, in unsigned headers. The id is
/// `ce-source`, a space and `ce-id`: by the specification, only the two together name an event.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn cloudevents(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::token(bearer())
        .event(header("ce-type"))
        .id(header("ce-id").scoped_by(header("ce-source")))
        .secret(secrets)
        .with_behavior(knowledge::cloudevents)
        .build("cloudevents")
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = cloudevents(config.take_secrets()?)?;
    let origins = std::mem::take(&mut config.allow_origins);
    Ok(if origins.is_empty() { scheme } else { scheme.with_handshake(Handshake::allow_origins(origins, None)) })
}

impl Handshake {
    /// Answers the `OPTIONS` request of the CloudEvents abuse protection, for this origin only,
    /// with an allowed rate of requests per minute.
    pub fn allow_origin(origin: impl Into<Box<str>>, requests_per_minute: Option<u32>) -> Self {
        Self::allow_origins([origin], requests_per_minute)
    }

    /// Allows any of these origins, as [`allow_origin`](Self::allow_origin) does one.
    pub fn allow_origins<T: Into<Box<str>>>(
        origins: impl IntoIterator<Item = T>,
        requests_per_minute: Option<u32>,
    ) -> Self {
        let origins: Vec<Box<str>> = origins.into_iter().map(Into::into).collect();
        let rate = requests_per_minute.map_or(HeaderValue::from_static("*"), HeaderValue::from);
        Self::header(Method::OPTIONS, "webhook-request-origin", move |_, _, origin| {
            if !origins.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes()) {
                return Err(Rejection::new(Reason::NotForUs).with_detail("the origin is another one"));
            }
            Ok(Answer::empty(StatusCode::OK)
                .with_header(HeaderName::from_static("webhook-allowed-origin"), origin.clone())
                .with_header(HeaderName::from_static("webhook-allowed-rate"), rate.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::scheme::ask;

    use super::*;

    #[test]
    fn only_the_expected_origin_is_allowed() {
        let handshake = Handshake::allow_origin("eventgrid.azure.net", Some(120));
        let options = |origin: &str| http::Request::options("/").header("webhook-request-origin", origin);
        assert_eq!(ask(&handshake, options("eventgrid.azure.net")), Some(Ok((StatusCode::OK, String::new()))));
        assert_eq!(ask(&handshake, options("evil")), Some(Err(Reason::NotForUs)));
    }
}
