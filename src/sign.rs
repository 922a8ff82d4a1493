//! Signing as a sender would, for tests.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::text::Text;
use crate::urlencoded::encode;

/// A provider that knows how its sender signs.
pub trait Sign {
    /// Adds to a request what its sender would add at this time, replacing what is there.
    ///
    /// # Errors
    ///
    /// Returns an error if the provider cannot sign, because it holds no fixed secret or no private
    /// key.
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError>;
}

/// An error of [`Sign`]: why a request could not be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(Cow<'static, str>);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request cannot be signed: {}", self.0)
    }
}

impl std::error::Error for SignError {}

impl SignError {
    /// Creates an error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}

/// Who signs.
pub(crate) enum Signer<'a> {
    /// The scheme, with the first of its own secrets.
    Secret,
    /// A private key, for schemes that know only the public one.
    #[cfg_attr(not(feature = "asymmetric"), allow(dead_code))]
    PrivateKey(&'a dyn PrivateKey),
    /// The token itself, for schemes that know only its digest.
    Token(&'a str),
}

/// A key that signs as a sender would.
#[cfg_attr(not(all(feature = "asymmetric", feature = "jwt")), allow(dead_code))]
pub(crate) trait PrivateKey {
    /// Signs a message.
    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Returns the key's certificate and those that lead from it to its root, in base64, if it has
    /// any.
    fn chain(&self) -> Option<Vec<String>> {
        None
    }
}

/// Signs a message.
pub(crate) type SignWith<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, SignError> + 'a;

/// Whether signing worked; `None` if it needs another signer.
pub(crate) type SignResult = Option<Result<(), SignError>>;

/// A request that has everything but its proof.
pub(crate) struct Unsigned<'a> {
    pub(crate) head: &'a mut Parts,
    pub(crate) body: &'a mut Bytes,
    #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
    pub(crate) now: SystemTime,
    pub(crate) timestamp: Option<String>,
    pub(crate) id: Option<Text>,
}

pub(crate) fn unfit() -> SignError {
    SignError::new("a value does not fit its place")
}

pub(crate) fn set_header(head: &mut Parts, name: HeaderName, value: String) -> Result<(), SignError> {
    head.headers.insert(name, HeaderValue::try_from(value).map_err(|_| unfit())?);
    Ok(())
}

/// Sets path and query.
pub(crate) fn set_path(head: &mut Parts, path: &str) -> Result<(), SignError> {
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| unfit())?);
    head.uri = Uri::from_parts(parts).map_err(|_| unfit())?;
    Ok(())
}

/// Returns a form with this as the only field of its name.
pub(crate) fn with_field(form: &str, name: &str, value: &str) -> String {
    let others = form.split('&').filter(|field| !field.is_empty() && field.split('=').next() != Some(name));
    let own = format!("{name}={}", encode(value));
    others.chain([&*own]).collect::<Vec<_>>().join("&")
}

/// Adds a field to the front of a multipart form.
pub(crate) fn add_part(body: &mut Bytes, name: &str, value: &str) -> Result<(), SignError> {
    let delimiter = body.split(|byte| *byte == b'\r').next().filter(|line| line.starts_with(b"--"));
    let delimiter = delimiter.ok_or_else(unfit)?;
    let part = format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    *body = [delimiter, part.as_bytes(), &body[..]].concat().into();
    Ok(())
}

/// Sets a member of a JSON body, and makes the objects on the way to it.
pub(crate) fn set_member(body: &mut Bytes, pointer: &str, value: String) -> Result<(), SignError> {
    let mut json = serde_json::from_slice(body).map_err(|_| unfit())?;
    let mut member = &mut json;
    for name in pointer.split('/').skip(1) {
        member = match member {
            Value::Object(members) => members.entry(name).or_insert_with(|| Value::Object(Map::new())),
            Value::Array(items) => items.get_mut(name.parse::<usize>().map_err(|_| unfit())?).ok_or_else(unfit)?,
            _ => return Err(unfit()),
        };
    }
    *member = value.into();
    *body = json.to_string().into();
    Ok(())
}
