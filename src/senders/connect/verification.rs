//! The verification of one request from Connect.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
use crate::secrets::{KeyPrint, TriedKeys};
use crate::text::Text;

use super::payload::ConnectPayload;
use super::token_rules::TokenRules;

/// The verification of one request by [`Connect`](super::Connect). The token is verified already;
/// the body must still be compared with it.
pub struct ConnectVerification {
    claims: Object,
    times: Times,
    fresh_for: Option<Duration>,
    key_index: usize,
    key_print: Option<KeyPrint>,
}

impl ConnectVerification {
    /// Verifies the token, before any of the body is read.
    pub(super) fn begin(
        rules: &TokenRules,
        token: &Token<'_>,
        keys: &TriedKeys<'_, Mac>,
        now: SystemTime,
    ) -> Result<Self, Rejection> {
        let verdict = token.verify_hs256(keys.ring);
        if !keys.known {
            return Err(Reason::UnknownTenant.into());
        }
        let key_index = verdict?;
        let (claims, times) = rules.claims(token, now)?;
        rules.check_pins(&claims)?;
        let (fresh_for, key_print) = (rules.times.fresh_for(&times, now), keys.ring.print(key_index));
        Ok(Self { claims, times, fresh_for, key_index, key_print })
    }

    /// Compares the body with the claims, which are moved out.
    pub(super) fn decide(
        &mut self,
        rules: &TokenRules,
        body_fields: &Option<Arc<BodyFields>>,
        head: &Parts,
        body: &Bytes,
    ) -> Result<Outcome, Rejection> {
        let body = match head.method {
            Method::GET if body.is_empty() => Object::default(),
            Method::GET => return Err(get_with_a_body()),
            _ => Object::read(body).ok_or_else(|| {
                Rejection::new(Reason::MalformedBody)
                    .with_detail("the body is not a JSON object, or a member occurs twice")
            })?,
        };
        if !rules.agree(&self.claims, &body) {
            return Err(Rejection::new(Reason::BodyMismatch).with_detail("the body contradicts a claim of the token"));
        }
        let event = self.claims.parse::<String>("object_class").map(Text::from);
        let signed = Signed::default().with_timestamp(self.times.issued.is_some()).with_event(event.is_some());
        let verified = Verified::new(signed)
            .with_event(event)
            .with_timestamp(self.times.issued)
            .with_fresh_for(self.fresh_for)
            .with_key_index(self.key_index)
            .with_key_print(self.key_print)
            .with_parsed(ConnectPayload { claims: mem::take(&mut self.claims), body })
            .with_body_fields(body_fields.clone());
        Ok(Outcome::Deliver(verified))
    }
}

/// Connect sends none, and it would not be compared with the claims.
pub(super) fn get_with_a_body() -> Rejection {
    Rejection::new(Reason::MalformedBody).with_detail("a GET of Connect must have no body")
}

impl fmt::Debug for ConnectVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectVerification").field("key_index", &self.key_index).finish_non_exhaustive()
    }
}
