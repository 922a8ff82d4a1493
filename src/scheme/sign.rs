//! Writing what a sender writes into a request: for tests alone.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use crate::encoding::Encoding;
use crate::sign::{SignError, add_part, set_header, set_member, set_path, unfit, with_field};
use crate::text::Text;

use super::place::{Place, Spot};
use super::template::Values;

/// Who signs.
pub(crate) enum Signer<'a> {
    /// The scheme, with the first of its own secrets.
    Secret,
    /// A private key, for schemes that know only the public one.
    #[cfg_attr(not(feature = "asymmetric"), allow(dead_code))]
    PrivateKey(&'a SignWith<'a>),
    /// The token itself, for schemes that know only its digest.
    Token(&'a str),
}

/// Signs a message.
pub(crate) type SignWith<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, SignError> + 'a;

/// Whether signing worked; `None` if it needs another signer.
pub(super) type SignResult = Option<Result<(), SignError>>;

/// A request that has everything but its proof.
pub(super) struct Unsigned<'a> {
    pub(super) head: &'a mut Parts,
    pub(super) body: &'a mut Bytes,
    #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
    pub(super) now: SystemTime,
    pub(super) timestamp: Option<String>,
    pub(super) id: Option<Text>,
}

impl Unsigned<'_> {
    pub(super) fn values(&self) -> Values<'_> {
        Values {
            head: self.head,
            body: self.body,
            timestamp: self.timestamp.as_deref().map(str::as_bytes),
            id: self.id.as_deref().map(str::as_bytes),
        }
    }
}

impl Place {
    /// Removes what is in a header of this place.
    pub(super) fn clear(&self, head: &mut Parts) {
        let is_own = |name: &&HeaderName| match &self.spot {
            Spot::Header(own) => *name == own,
            Spot::Numbered(stem) => name.as_str().starts_with(stem.as_str()),
            _ => false,
        };
        for name in head.headers.keys().filter(is_own).cloned().collect::<Vec<_>>() {
            head.headers.remove(name);
        }
    }

    /// Writes a value into this place.
    pub(super) fn put(&self, head: &mut Parts, body: &mut Bytes, value: &str) -> Result<(), SignError> {
        let value = format!("{}{value}", self.prefix);
        match &self.spot {
            Spot::Header(name) => {
                let whole = match (self.list, head.headers.get(name).and_then(|list| list.to_str().ok())) {
                    (Some(separator), Some(list)) => format!("{list}{}{value}", char::from(separator)),
                    _ => value,
                };
                set_header(head, name.clone(), whole)
            }
            Spot::Numbered(stem) => {
                let name = HeaderName::try_from(format!("{stem}1")).map_err(|_| unfit())?;
                set_header(head, name, value)
            }
            Spot::Bearer => set_header(head, AUTHORIZATION, format!("Bearer {value}")),
            Spot::Basic => {
                set_header(head, AUTHORIZATION, format!("Basic {}", Encoding::Base64.encode(value.as_bytes())))
            }
            Spot::Query(parameter) => {
                let query = with_field(head.uri.query().unwrap_or_default(), parameter, &value);
                set_path(head, &format!("{}?{query}", head.uri.path()))
            }
            Spot::PathEnd => {
                let stem = head.uri.path().rsplit_once('/').map_or("", |(stem, _)| stem);
                set_path(head, &format!("{stem}/{value}"))
            }
            Spot::Json(pointer) => set_member(body, pointer, value),
            Spot::Part(field) => add_part(body, field, &value),
            Spot::Form(field) => {
                *body = with_field(std::str::from_utf8(body).map_err(|_| unfit())?, field, &value).into();
                Ok(())
            }
        }
    }
}
