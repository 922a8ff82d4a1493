//! The trace that a sender says its request belongs to (W3C Trace Context).
//!
//! Nobody signs it, so it is a link to a trace of the sender and never the parent of one of ours:
//! a parent would let anyone write into our traces, and decide what of them is sampled.

use http::{HeaderMap, HeaderName};

use crate::text::Text;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that has to be passed on.
const MAX_TRACESTATE: usize = 512;

/// A `traceparent` that is well-formed.
#[derive(Clone)]
pub(crate) struct TraceContext {
    pub(crate) traceparent: Text,
}

impl TraceContext {
    /// Reads the trace context of a request. Returns `None` if there is none, or not exactly one
    /// that is well-formed.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let traceparent = Text::from_header(values.next()?)?;
        (values.next().is_none() && is_well_formed(&traceparent)).then_some(Self { traceparent })
    }

    /// Returns the id of the sender's trace.
    pub(crate) fn trace_id(&self) -> &str {
        &self.traceparent[3..35]
    }

    /// Returns the id of the sender's span.
    pub(crate) fn span_id(&self) -> &str {
        &self.traceparent[36..52]
    }
}

/// Returns the `tracestate` that belongs to a trace context, unless it is too long.
pub(crate) fn tracestate(headers: &HeaderMap) -> Option<Text> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let state = Text::from_header(values.next()?)?;
    (values.next().is_none() && state.len() <= MAX_TRACESTATE).then_some(state)
}

/// Version, trace, span and flags, in lower-case hexadecimal. Later versions may append something.
fn is_well_formed(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let [version, trace, span, flags, rest @ ..] = &*parts else { return false };
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    is_hex(version, 2)
        && *version != "ff"
        && (*version != "00" || rest.is_empty())
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(span, 16)
        && !is_zero(span)
        && is_hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_context_counts() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, value.parse().unwrap());
            }
            TraceContext::of(&headers)
        };
        let context = of(&[good]).unwrap();
        assert_eq!((context.trace_id(), context.span_id()), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
        assert!(of(&[&good.replacen("00", "cc", 1)]).is_some(), "of a later version");
        assert!(of(&[&format!("{}-more", good.replacen("00", "cc", 1))]).is_some());
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-more"),
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        ] {
            assert!(of(&[bad]).is_none(), "{bad}");
        }
        assert!(of(&[good, good]).is_none(), "two of them");
    }
}
