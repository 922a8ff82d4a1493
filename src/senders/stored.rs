//! What a verification parsed, over the time that a delivery is stored.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::Delivery;
#[cfg(feature = "jwt")]
use crate::jwt::ProvenClaims;

type Parsed = Arc<dyn Any + Send + Sync>;

/// Who parsed it, which is the first of the stored bytes.
#[cfg(feature = "sns")]
const SNS: u8 = 1;
#[cfg(feature = "jwt")]
const CONNECT: u8 = 2;
#[cfg(feature = "jwt")]
const CLAIMS: u8 = 3;

/// Returns what has to be kept for [`restore`], beside the body and the id.
#[allow(unused_variables, reason = "most senders parse nothing")]
pub(crate) fn store(delivery: &Delivery) -> Option<Bytes> {
    #[cfg(feature = "sns")]
    if let Some(message) = delivery.parsed::<super::sns::Message>() {
        return Some([&[SNS], message.beside_the_body().as_bytes()].concat().into());
    }
    #[cfg(feature = "jwt")]
    if let Some(payload) = delivery.parsed::<super::connect::ConnectPayload>() {
        return Some([&[CONNECT], payload.beside_the_body()].concat().into());
    }
    #[cfg(feature = "jwt")]
    if let Some(claims) = delivery.parsed::<ProvenClaims>() {
        return Some([&[CLAIMS], &*claims.0].concat().into());
    }
    None
}

/// Parses a verified body again, without its signature. `None` if that fails, or if this program
/// doesn't know the sender.
#[allow(unused_variables, reason = "most senders parse nothing")]
pub(crate) fn restore(stored: &Bytes, id: Option<&str>, body: &Bytes) -> Option<Parsed> {
    match *stored.first()? {
        #[cfg(feature = "sns")]
        SNS => Some(Arc::new(super::sns::Message::restore(&stored[1..], id, body)?)),
        #[cfg(feature = "jwt")]
        CONNECT => Some(Arc::new(super::connect::ConnectPayload::restore(&stored.slice(1..), body)?)),
        #[cfg(feature = "jwt")]
        CLAIMS => Some(Arc::new(ProvenClaims(stored.slice(1..)))),
        _ => None,
    }
}
