//! The verification of one request from Connect.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::delivery::{Signed, Verified};
use crate::json::Object;
use crate::jwt::{Times, Token};
use crate::mac::Mac;
use crate::provider::Outcome;
use crate::rejection::{Reason, Rejection};
use crate::secrets::KeysFor;
use crate::text::Text;

use super::rules::Rules;

/// A request being verified by [`Connect`](super::Connect). Its token is verified already; what is left is whether the body
/// agrees.
pub struct ConnectVerification {
    claims: Object,
    times: Times,
    key_index: usize,
}

/// What is kept of a verified request for [`Trigger`](super::Trigger).
pub(super) struct Said {
    /// What the token says.
    pub(super) claims: Object,
    /// What the body says, of which only the part that the claims repeat is proven.
    pub(super) body: Object,
}

impl ConnectVerification {
    /// Verifies a token, before any of the body is read.
    pub(super) fn begin(
        rules: &Rules,
        token: &Token<'_>,
        keys: KeysFor<Mac>,
        now: SystemTime,
    ) -> Result<Self, Rejection> {
        let verdict = token.verify_hs256(&keys.ring);
        if !keys.known {
            return Err(Reason::UnknownTenant.into());
        }
        let key_index = verdict?;
        let (claims, times) = rules.claims(token, now)?;
        rules.check_pins(&claims)?;
        Ok(Self { claims, times, key_index })
    }

    /// Whether the body agrees with the claims, which are taken.
    pub(super) fn decide(
        &mut self,
        rules: &Rules,
        in_body: &Option<Arc<BodyFields>>,
        head: &Parts,
        body: &Bytes,
    ) -> Result<Outcome, Rejection> {
        let body = match head.method {
            Method::GET if body.is_empty() => Object::default(),
            Method::GET => return Err(get_with_a_body()),
            _ => Object::read(body).ok_or_else(|| {
                Rejection::new(Reason::MalformedBody)
                    .with_detail("it is no JSON object, or two of its members have one name")
            })?,
        };
        if !rules.agree(&self.claims, &body) {
            return Err(Rejection::new(Reason::BodyMismatch).with_detail("the body contradicts a claim of the token"));
        }
        let event = self.claims.parse::<String>("object_class").map(Text::from);
        let signed = Signed { timestamp: self.times.issued.is_some(), event: event.is_some(), ..Signed::default() };
        let verified = Verified::new(signed)
            .with_event(event)
            .with_timestamp(self.times.issued)
            .with_key_index(self.key_index)
            .with_parsed(Said { claims: mem::take(&mut self.claims), body })
            .with_body_fields(in_body.clone());
        Ok(Outcome::Deliver(verified))
    }
}

/// Connect sends none, and nobody would compare it with the claims.
pub(super) fn get_with_a_body() -> Rejection {
    Rejection::new(Reason::MalformedBody).with_detail("a GET of Connect has no body")
}

impl Said {
    /// What stays the same if this very trigger comes again. Connect names no event, so it is which webhook was triggered
    /// and when; else all the claims, where there is no body. A body that the token says little of has to tell itself.
    pub(super) fn identity(&self, body: &[u8]) -> Option<Text> {
        let claim = |name| self.claims.parse::<String>(name);
        match (claim("webhook_id"), claim("triggered_at")) {
            (Some(webhook), Some(time)) => Some(format!("{webhook} {time}").into()),
            _ if body.is_empty() => Some(String::from_utf8_lossy(self.claims.text()).into_owned().into()),
            _ => None,
        }
    }
}

impl fmt::Debug for ConnectVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectVerification").field("key_index", &self.key_index).finish_non_exhaustive()
    }
}
