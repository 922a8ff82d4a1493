//! Signing as Connect does, for tests.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, Request};

use crate::json::Object;
use crate::jwt::{LONGEST_TOKEN, encode_hs256};
use crate::sign::SignError;
use crate::time::TimeFormat;

use super::Connect;
use super::token_rules::REGISTERED;

/// How long Connect's own tokens are valid.
const LIFETIME: Duration = Duration::from_secs(600);

impl Connect {
    pub(crate) fn sign_request(
        &self,
        mut request: Request<Bytes>,
        now: SystemTime,
    ) -> Result<Request<Bytes>, SignError> {
        let key = self.keys.signing_key()?;
        let members = if request.body().is_empty() {
            Object::default()
        } else {
            Object::read(request.body()).ok_or(SignError::new("the body is not a JSON object"))?
        };
        let end = TimeFormat::UnixSeconds.format(now + LIFETIME).ok_or(SignError::new("the time is before 1970"))?;
        let mut claims = format!(r#"{{"exp":{end}"#);
        for (name, value) in members.iter().filter(|(name, _)| !REGISTERED.contains(name)) {
            claims += &format!(",{}:{}", quoted(name)?, std::str::from_utf8(value).unwrap_or("null"));
        }
        let mut pinned: Vec<&str> = Vec::new();
        for (name, value) in &self.rules.pins {
            if !members.contains(name) && !pinned.contains(name) {
                claims += &format!(",{}:{}", quoted(name)?, quoted(value)?);
                pinned.push(name);
            }
        }
        claims.push('}');
        let token = encode_hs256(r#"{"typ":"JWT","alg":"HS256"}"#, &claims, key);
        if token.len() > LONGEST_TOKEN {
            return Err(SignError::new("its claims do not fit into 16 KiB"));
        }
        let value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| SignError::new("a value does not fit into a header"))?;
        request.headers_mut().insert(self.rules.header.of(&HeaderMap::new()), value);
        if request.method() == Method::GET {
            *request.body_mut() = Bytes::new();
        }
        Ok(request)
    }
}

fn quoted(text: &str) -> Result<String, SignError> {
    serde_json::to_string(text).map_err(|_| SignError::new("a name cannot be written as JSON"))
}
