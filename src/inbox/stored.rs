//! A verified request as a record, and the request that is made of a record again.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http_body_util::Full;

use crate::behavior::Traits;
use crate::body_fields::FoundId;
use crate::dedup::Key;
use crate::delivery::{Delivery, Identity, Signed, Verified};
use crate::redact::{CREDENTIALS, without_secrets};
use crate::senders::stored;
use crate::text::Text;
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, tracestate};

use super::record::{Record, RecordError, UniqueKey, shortened};
use super::settings::InboxSettings;
use super::store::DeliveryId;

/// Which attempt at a stored delivery this is. The worker puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxAttempt {
    /// The store's number of the delivery, the same for all its attempts.
    pub id: DeliveryId,
    /// The number of the attempt since it was stored or replayed, from 1.
    pub number: u32,
    /// When the delivery arrived.
    pub received_at: SystemTime,
}

impl InboxSettings {
    /// Returns the record of a delivery.
    pub(super) fn record(&self, delivery: &Delivery, head: &Parts) -> Record {
        let text = |text: &str| Text::from(text.to_owned());
        let key = unique_key(delivery).within(&*self.scope);
        let mut record = Record::new(
            delivery.provider_text().clone(),
            self.scope.clone(),
            UniqueKey::new(*key.as_bytes()),
            delivery.body().clone(),
            self.clock.now(),
        );
        record.id = delivery.id().map(text);
        record.event = delivery.event().map(text);
        let (identity, is_number) = match delivery.identity() {
            Identity::Id(id) => (Some(id), false),
            Identity::Number(id) => (Some(id), true),
            Identity::Content | Identity::None => (None, false),
        };
        record.key_names_body = Key::names_body(delivery);
        record.identity = identity;
        record.proven = proven(delivery.signed(), delivery.traits(), is_number);
        record.key_index = delivery.key_index().try_into().unwrap_or(u16::MAX);
        record.timestamp = delivery.timestamp();
        record.parsed = stored::store(delivery);
        record.method = head.method.clone();
        record.url = without_secrets(&head.uri).into();
        if let Some(context) = TraceContext::of(&head.headers) {
            record.traceparent = Some(context.traceparent);
            record.tracestate = tracestate(&head.headers);
        }
        for (name, value) in &head.headers {
            if self.keeps(delivery, name, value) {
                record.headers.append(name, value.clone());
            }
        }
        match self.order.as_ref().and_then(|order| order(delivery)) {
            Some(key) => record.with_order_key(key),
            None => record,
        }
    }

    /// Returns the lane of a delivery: one of as many as its tenant may have deliveries handled at
    /// once.
    pub(super) fn lane(&self, delivery: &Delivery) -> Option<Text> {
        let (limit, tenant) = self.tenants.as_ref()?;
        // Without random numbers, one at a time.
        let number = getrandom::u32().unwrap_or_default() % limit;
        Some(format!("{}\u{1}{number}", shortened(tenant(delivery).unwrap_or_default())).into())
    }

    fn keeps(&self, delivery: &Delivery, name: &HeaderName, value: &HeaderValue) -> bool {
        let is = |text: Option<&str>| text.is_some_and(|text| text.as_bytes() == value.as_bytes());
        !CREDENTIALS.contains(name)
            && !value.is_sensitive()
            && (self.headers.contains(name) || is(delivery.id()) || is(delivery.event()))
    }
}

/// What a repetition is recognised by: the same rule as the deduplication's.
fn unique_key(delivery: &Delivery) -> Key {
    // What nothing tells from another is never taken for its repetition.
    Key::of(delivery).unwrap_or_else(|| Key::new("unnamed", crate::dedup::ClaimToken::new().to_string()))
}

/// Returns the key under which a delivery is stored whose own key belongs to one with another body.
pub(super) fn key_with_body(key: UniqueKey, body_digest: i64) -> UniqueKey {
    let key = Key::new("conflict", key.as_bytes()).within(body_digest.to_le_bytes());
    UniqueKey::new(*key.as_bytes())
}

impl Record {
    /// Returns the request as it was handed on when it arrived, for one attempt.
    pub(super) fn into_request(self, id: DeliveryId, number: u32) -> Result<Request<Full<Bytes>>, RecordError> {
        let (signed, traits, is_number) = read_proven(self.proven);
        let mut verified = Verified::new(signed)
            .with_id(self.id)
            .with_event(self.event)
            .with_timestamp(self.timestamp)
            .with_key_index(self.key_index.into());
        if let Some(parsed) = &self.parsed {
            let restored = stored::restore(parsed, verified.id.as_deref(), &self.body);
            verified.parsed = Some(restored.ok_or(RecordError::Damaged("its payload cannot be parsed again"))?);
        }
        let identity = self.identity.map(|text| FoundId { text, is_string: !is_number });
        let mut delivery = Delivery::restore(&self.provider, traits, verified, identity, self.body.clone());
        #[cfg(feature = "axum")]
        let is_large = self.body.len() > AXUM_BODY_LIMIT;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.url.parse().map_err(|_| RecordError::Damaged("its URL cannot be read"))?;
        *request.headers_mut() = self.headers;
        for (name, value) in [(TRACEPARENT, self.traceparent), (TRACESTATE, self.tracestate)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                request.headers_mut().insert(name, value);
            }
        }
        delivery.keep_headers(request.headers());
        request.extensions_mut().insert(delivery);
        request.extensions_mut().insert(InboxAttempt { id, number, received_at: self.received_at });
        #[cfg(feature = "axum")]
        if is_large {
            // The body was within the webhook layer's limit.
            axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
        }
        Ok(request)
    }
}

/// The limit of axum's extractors by default.
#[cfg(feature = "axum")]
const AXUM_BODY_LIMIT: usize = 2 * 1024 * 1024;

fn proven(signed: Signed, traits: Traits, is_number: bool) -> u16 {
    let covered = [signed.body, signed.timestamp, signed.id, signed.event, signed.url];
    let sender = [traits.never_repeats, traits.has_unique_bodies, traits.is_interactive, is_number];
    covered.into_iter().chain(sender).rev().fold(0, |bits, bit| bits << 1 | u16::from(bit))
}

pub(super) fn read_proven(proven: u16) -> (Signed, Traits, bool) {
    let bit = |place: u16| proven & 1 << place != 0;
    let signed =
        Signed::default().with_body(bit(0)).with_timestamp(bit(1)).with_id(bit(2)).with_event(bit(3)).with_url(bit(4));
    (signed, Traits { never_repeats: bit(5), has_unique_bodies: bit(6), is_interactive: bit(7) }, bit(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_proven_is_restored() {
        for bits in 0..512 {
            let (signed, traits, is_number) = read_proven(bits);
            assert_eq!(proven(signed, traits, is_number), bits);
        }
    }
}
