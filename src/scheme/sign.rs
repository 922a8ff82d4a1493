//! Signing as the sender would: for tests only.

use std::time::SystemTime;

use http::request::Parts;

use crate::secret::Keys;
use crate::sign::SignError;

use super::Scheme;
use super::template::{Piece, Values};

impl Scheme {
    /// Puts the timestamp, the id where it is signed and absent, and the signature into a head.
    pub(crate) fn sign_parts(&self, head: &mut Parts, body: &[u8], now: SystemTime) -> Result<(), SignError> {
        let plan = &self.0;
        let Keys::Fixed(ring) = &plan.keys else { return Err(SignError("its secrets are looked up")) };
        let mut timestamp_text = None;
        if let Some(timestamp) = &plan.timestamp {
            let text = timestamp.format.format(now).ok_or(SignError("the time lies before 1970"))?;
            timestamp.place.put(&mut head.headers, &text).map_err(invalid)?;
            timestamp_text = Some(text);
        }
        if let Some(id) = plan.id.as_ref().filter(|id| plan.template.has(&Piece::Id) && !id.is_present(head)) {
            id.put(&mut head.headers, "msg_1").map_err(invalid)?;
        }
        let id = plan.id.as_ref().and_then(|id| id.text(head, crate::Reason::MalformedHeader).ok()?);
        let mut mac = ring.first().clone();
        let values = Values { head, timestamp: timestamp_text.as_deref(), id: id.as_deref() };
        plan.template.feed_before(&values, |bytes| mac.update(bytes));
        mac.update(body);
        plan.template.feed_after(&values, |bytes| mac.update(bytes));
        let signature = plan.signature.write(&mac.finish());
        plan.signature.place.put(&mut head.headers, &signature).map_err(invalid)
    }
}

fn invalid(_: http::header::InvalidHeaderValue) -> SignError {
    SignError("a value does not fit a header")
}
