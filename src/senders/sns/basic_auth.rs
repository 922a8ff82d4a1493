//! HTTP Basic credentials, which SNS sends once it has been challenged for them.

use std::fmt;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::headers::{self, LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};
use crate::secrets::MAX_SECRETS;

/// The longest credentials accepted, in bytes: 1024 characters of base64. Those in a URL are far
/// shorter.
const MAX_CREDENTIALS_LEN: usize = 768;
/// The default realm. SNS ignores a challenge without one.
const DEFAULT_REALM: &str = "webhook";

/// The credentials that are accepted; several while they rotate.
#[derive(Clone)]
pub(super) struct BasicAuth {
    /// Hashes of `user:password`. They have one length, so that comparing them reveals no length.
    accepted: Vec<[u8; 32]>,
    realm: String,
    fault: Option<&'static str>,
}

/// What follows from the credentials in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    /// The request has no credentials: SNS's first attempt.
    Challenge,
}

impl Default for BasicAuth {
    fn default() -> Self {
        Self { accepted: Vec::new(), realm: DEFAULT_REALM.into(), fault: None }
    }
}

impl BasicAuth {
    pub(super) fn accept(&mut self, user: &str, password: &str) {
        // AWS documents `https://user@host/` as well, whose password is empty.
        if user.is_empty() {
            self.fault = Some("the Basic credentials have an empty user");
        } else if user.contains(':') {
            self.fault = Some("the user of the Basic credentials contains a colon");
        } else if self.accepted.len() == MAX_SECRETS {
            self.fault = Some("there are more than 8 Basic credentials");
        }
        self.accepted.push(hash(&[user.as_bytes(), b":", password.as_bytes()]));
    }

    pub(super) fn set_realm(&mut self, realm: String) {
        self.realm = realm;
    }

    pub(super) fn is_used(&self) -> bool {
        !self.accepted.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'"' | b'\\');
        match self.fault {
            Some(fault) => Err(ConfigError::key(fault)),
            None if self.realm.is_empty() || !self.realm.bytes().all(plain) => Err(ConfigError::invalid(
                "the realm is empty or contains a quote, a backslash or a character outside ASCII",
            )),
            None => Ok(()),
        }
    }

    /// Judges the head of a request.
    pub(super) fn access(&self, head: &Parts) -> Result<Access, Rejection> {
        if !self.is_used() {
            return Ok(Access::Granted);
        }
        let Some(header) = single(head, &AUTHORIZATION, LONGEST_HEADER)? else { return Ok(Access::Challenge) };
        let wrong = |reason, detail| self.refuse(Rejection::new(reason).with_detail(detail));
        let credentials = headers::basic(header).filter(|credentials| credentials.len() <= MAX_CREDENTIALS_LEN);
        let Some(credentials) = credentials else {
            return Err(wrong(Reason::MalformedSignature, "Authorization is not Basic credentials"));
        };
        let given = hash(&[&credentials]);
        let fits = self.accepted.iter().fold(Choice::from(0), |fits, accepted| fits | accepted.ct_eq(&given));
        if bool::from(fits) {
            Ok(Access::Granted)
        } else {
            Err(wrong(Reason::SignatureMismatch, "the Basic credentials are wrong"))
        }
    }

    /// Returns the 401 to which SNS replies with credentials.
    pub(super) fn challenge(&self) -> Answer {
        let answer = Answer::empty(StatusCode::UNAUTHORIZED);
        match self.header() {
            Some(header) => answer.with_header(WWW_AUTHENTICATE, header),
            None => answer,
        }
    }

    fn refuse(&self, rejection: Rejection) -> Rejection {
        match self.header() {
            Some(header) => rejection.with_header(WWW_AUTHENTICATE, header),
            None => rejection,
        }
    }

    /// Returns the challenge. It is never `None`, since the realm was checked.
    fn header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("Basic realm=\"{}\"", self.realm)).ok()
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize().into()
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("accepted", &self.accepted.len()).field("realm", &self.realm).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(headers: &[&str]) -> Result<Access, Reason> {
        let mut basic = BasicAuth::default();
        basic.accept("Aladdin", "open sesame");
        basic.accept("new", "one:two");
        let request = headers.iter().fold(http::Request::post("/"), |it, value| it.header("authorization", *value));
        let (head, ()) = request.body(()).unwrap().into_parts();
        basic.access(&head).map_err(|rejection| {
            let reason = rejection.reason();
            if reason != Reason::DuplicateHeader {
                assert_eq!(rejection.into_http_response().headers()["www-authenticate"], "Basic realm=\"webhook\"");
            }
            reason
        })
    }

    #[test]
    fn right_credentials_pass_and_none_are_challenged() {
        assert_eq!(access(&[]), Ok(Access::Challenge));
        assert_eq!(access(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), Ok(Access::Granted));
        assert_eq!(access(&["bAsIc bmV3Om9uZTp0d28="]), Ok(Access::Granted));
    }

    #[test]
    fn a_password_may_be_empty() {
        let mut basic = BasicAuth::default();
        basic.accept("user", "");
        assert!(basic.check().is_ok());
        for (value, verdict) in [
            ("Basic dXNlcjo=", Ok(Access::Granted)),
            ("Basic dXNlcg==", Err(Reason::SignatureMismatch)),
            ("Basic dXNlcjp4", Err(Reason::SignatureMismatch)),
        ] {
            let (head, ()) = http::Request::post("/").header("authorization", value).body(()).unwrap().into_parts();
            assert_eq!(basic.access(&head).map_err(|rejection| rejection.reason()), verdict, "{value}");
        }
    }

    #[test]
    fn wrong_credentials_are_refused() {
        let long = format!("Basic {}", "QUFB".repeat(400));
        for (headers, reason) in [
            (&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZg=="][..], Reason::SignatureMismatch),
            (&["Basic "], Reason::SignatureMismatch),
            (&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ"], Reason::MalformedSignature),
            (&["Basic"], Reason::MalformedSignature),
            (&["Digest QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], Reason::MalformedSignature),
            (&[&long], Reason::MalformedSignature),
            (&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], Reason::DuplicateHeader),
        ] {
            assert_eq!(access(headers), Err(reason), "{headers:?}");
        }
    }

    #[test]
    fn a_configuration_that_protects_nothing_is_refused() {
        for (user, password) in [("", "x"), ("", ""), ("a:b", "c")] {
            let mut basic = BasicAuth::default();
            basic.accept(user, password);
            assert!(basic.check().is_err(), "{user}:{password}");
        }
        for realm in ["", "a\"b", "a\r\nb"] {
            let mut basic = BasicAuth::default();
            basic.set_realm(realm.into());
            assert!(basic.check().is_err(), "{realm:?}");
        }
    }

    #[test]
    fn debug_prints_no_credentials() {
        let mut basic = BasicAuth::default();
        basic.accept("hunter", "hunter2");
        assert!(!format!("{basic:?}").contains("hunter"));
    }
}
