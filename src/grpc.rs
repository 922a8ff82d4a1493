//! Rejections in gRPC: a gRPC status on an HTTP response that looks successful.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Method, Response, StatusCode, Version};

use crate::body::ResponseBody;
use crate::rejection::Rejection;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The protocol in which a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    /// Returns the protocol of a request. gRPC is a `POST` over HTTP/2 or later with its own
    /// content type. All three are required, so that a single added header can't turn the
    /// rejection of an ordinary webhook into a 200.
    ///
    /// gRPC-Web isn't included: its clients understand HTTP statuses.
    #[inline]
    pub(crate) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let is_grpc = || {
            let rest = headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")?;
            matches!(rest.first(), None | Some(b'+' | b';')).then_some(())
        };
        if *method == Method::POST && version >= Version::HTTP_2 && is_grpc().is_some() {
            Self::Grpc
        } else {
            Self::Http
        }
    }

    /// Converts a response of this crate into the protocol. Answers that a sender's protocol
    /// demands stay as they are.
    pub(crate) fn translate(self, mut response: Response<Bytes>) -> Response<Bytes> {
        let rejection = match self {
            Self::Grpc => response.extensions_mut().remove::<Rejection>(),
            Self::Http => None,
        };
        rejection.map_or(response, Rejection::into_grpc_response)
    }

    /// Converts a response from behind the layer: an HTTP rejection by a layer or extractor there
    /// becomes a gRPC one.
    pub(crate) fn pass_on<R>(self, response: Response<R>) -> Response<ResponseBody<R>> {
        let refusal = match self {
            Self::Http => None,
            Self::Grpc => refusal_without_status(&response),
        };
        match refusal {
            Some(rejection) => rejection.into_grpc_response().map(ResponseBody::fixed),
            None => response.map(ResponseBody::inner),
        }
    }
}

/// Returns the rejection that a response carries, unless it has a gRPC status already.
fn refusal_without_status<R>(response: &Response<R>) -> Option<Rejection> {
    let refusal = response.extensions().get().filter(|_| !response.headers().contains_key(GRPC_STATUS));
    refusal.cloned()
}

/// Returns whether a handler succeeded. A gRPC handler that failed answers 200 as well, with its
/// status in a header. A status in trailers, after a part of a stream, comes too late to be seen
/// here.
#[cfg_attr(not(feature = "dedup"), allow(dead_code))]
pub(crate) fn succeeded<R>(response: &Response<R>) -> bool {
    // The headers are few, and are gone through faster than one of them is looked up.
    let grpc_status = GRPC_STATUS;
    let code = response.headers().iter().find(|(name, _)| **name == grpc_status);
    response.status().is_success() && code.is_none_or(|(_, code)| code == "0")
}

impl Rejection {
    /// Returns the gRPC status code that corresponds to [`status`](Self::status): see
    /// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::{Reason, Rejection};
    ///
    /// assert_eq!(Rejection::new(Reason::SignatureMismatch).grpc_code(), 16); // UNAUTHENTICATED
    /// assert_eq!(Rejection::new(Reason::KeyUnavailable).grpc_code(), 14); // UNAVAILABLE: try again
    /// ```
    #[must_use]
    pub fn grpc_code(&self) -> u8 {
        grpc_status(self.status()).0
    }

    /// Converts the rejection into a gRPC response without a body ("trailers only"): the code, and
    /// a text that depends on nothing else. The response's extensions hold the rejection. The
    /// layers answer gRPC requests like this by themselves.
    #[must_use]
    pub fn into_grpc_response(self) -> Response<Bytes> {
        let (code, message) = grpc_status(self.status());
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
        response.extensions_mut().insert(self);
        response
    }

    /// Returns the rejection in a response's extensions: itself, or as the source of a
    /// `tonic::Status`.
    pub(crate) fn of_response(extensions: &Extensions) -> Option<&Self> {
        let own = extensions.get::<Self>();
        #[cfg(feature = "tonic")]
        let own = own.or_else(|| {
            let status = extensions.get::<tonic::Status>()?;
            std::error::Error::source(status)?.downcast_ref()
        });
        own
    }
}

/// Returns the code and its text. As with HTTP, each code has one text. It is printable and has no
/// `%`, so it needs no percent-encoding.
const fn grpc_status(status: StatusCode) -> (u8, &'static str) {
    match status.as_u16() {
        400 | 422 => (3, "the request is not in the form that this webhook expects"),
        401 => (16, "the request could not be authenticated"),
        403 => (7, "the request is not meant for this webhook"),
        405 => (12, "this webhook does not accept that method"),
        408 => (4, "the body did not arrive in time"),
        413 => (8, "the body is longer than this webhook accepts"),
        429 | 500..=599 => (14, "the request could not be processed at this time; try again later"),
        _ => (9, "the request was refused"),
    }
}

/// For `?` in tonic handlers: the code and its text, with the rejection as the status's source,
/// where the webhook layer around the handler finds it for `on_reject`, logs and metrics.
#[cfg(feature = "tonic")]
impl From<Rejection> for tonic::Status {
    fn from(rejection: Rejection) -> Self {
        let (code, message) = grpc_status(rejection.status());
        let mut status = Self::new(tonic::Code::from_i32(code.into()), message);
        status.set_source(std::sync::Arc::new(rejection));
        status
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::rejection::Reason;

    fn protocol(version: Version, content_type: &str) -> Protocol {
        let request = Request::post("/").version(version).header(CONTENT_TYPE, content_type).body(()).unwrap();
        Protocol::of(request.method(), version, request.headers())
    }

    #[test]
    fn grpc_is_known_by_its_method_its_version_and_its_type() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert_eq!(protocol(Version::HTTP_2, content_type), Protocol::Grpc);
            assert_eq!(protocol(Version::HTTP_11, content_type), Protocol::Http);
        }
        for content_type in ["application/json", "application/grpc-web", "application/grpc-web+proto", ""] {
            assert_eq!(protocol(Version::HTTP_2, content_type), Protocol::Http);
        }
        assert_eq!(Protocol::of(&Method::GET, Version::HTTP_2, &HeaderMap::new()), Protocol::Http);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        assert_eq!(Protocol::of(&Method::GET, Version::HTTP_2, &headers), Protocol::Http);
    }

    #[test]
    fn every_reason_has_a_code_that_is_transient_exactly_where_the_reason_is() {
        for &reason in Reason::ALL {
            let rejection = Rejection::new(reason);
            let code = rejection.grpc_code();
            assert_ne!(code, 0, "{reason:?} must not look like a success");
            assert_ne!(code, 9, "{reason:?} has no code of its own");
            assert_eq!(code == 14, reason.is_transient(), "{reason:?}");
            let response = rejection.into_grpc_response();
            assert_eq!(response.headers()["grpc-status"], code.to_string());
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%'));
            assert!(response.body().is_empty());
            assert_eq!(Rejection::of_response(response.extensions()).unwrap().reason(), reason);
        }
    }

    #[test]
    fn only_refusals_are_translated() {
        let refusal = || Rejection::new(Reason::Stale).into_http_response();
        assert_eq!(Protocol::Http.translate(refusal()).status(), 401);
        assert!(Protocol::Http.translate(refusal()).extensions().get::<Rejection>().is_some());
        assert_eq!(Protocol::Grpc.translate(refusal()).headers()["grpc-status"], "16");
        let answer = Protocol::Grpc.translate(Response::new(Bytes::from_static(b"challenge")));
        assert_eq!((answer.body().as_ref(), answer.headers().len()), (b"challenge".as_slice(), 0));
    }

    #[test]
    fn what_a_layer_behind_refused_is_translated_and_what_a_handler_answered_is_not() {
        let refused = || Rejection::new(Reason::InFlight).into_http_response();
        let passed = Protocol::Grpc.pass_on(refused());
        assert_eq!(
            (passed.status().as_u16(), &passed.headers()["grpc-status"]),
            (200, &HeaderValue::from_static("14"))
        );
        assert_eq!(Protocol::Http.pass_on(refused()).status(), 503);
        let mut own = Rejection::new(Reason::InFlight).into_grpc_response();
        own.headers_mut().insert("x-own", HeaderValue::from_static("1"));
        assert!(Protocol::Grpc.pass_on(own).headers().contains_key("x-own"));
    }

    #[test]
    fn a_grpc_status_other_than_ok_is_no_success() {
        let mut response = Response::new(());
        assert!(succeeded(&response));
        response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static("0"));
        assert!(succeeded(&response));
        response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static("13"));
        assert!(!succeeded(&response));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().clear();
        assert!(!succeeded(&response));
    }

    #[cfg(feature = "tonic")]
    #[test]
    fn a_tonic_status_has_the_same_code_and_keeps_the_rejection() {
        for &reason in Reason::ALL {
            let rejection = Rejection::new(reason);
            let code = rejection.grpc_code();
            let status = tonic::Status::from(rejection);
            assert_eq!(status.code() as i32, i32::from(code));
            let response: Response<Bytes> = status.into_http();
            assert_eq!(Rejection::of_response(response.extensions()).unwrap().reason(), reason);
        }
    }
}
