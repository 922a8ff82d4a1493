//! Writing what a sender writes into a request: for tests alone.

use std::time::SystemTime;

use bytes::Bytes;
use http::Uri;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use serde_json::{Map, Value};

use crate::encoding::Encoding;
use crate::sign::SignError;
use crate::text::Text;
use crate::urlencoded::encode;

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
        Values { head: self.head, body: self.body, timestamp: self.timestamp.as_deref(), id: self.id.as_deref() }
    }
}

impl Place {
    /// Removes what is in a header of this place.
    pub(super) fn clear(&self, head: &mut Parts) {
        match &self.spot {
            Spot::Header(name) => {
                head.headers.remove(name);
            }
            Spot::Numbered(stem) => {
                let own = |name: &&HeaderName| name.as_str().starts_with(stem.as_str());
                let own: Vec<_> = head.headers.keys().filter(own).cloned().collect();
                for name in own {
                    head.headers.remove(name);
                }
            }
            _ => {}
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
                insert(head, name.clone(), whole)
            }
            Spot::Numbered(stem) => {
                let name = HeaderName::try_from(format!("{stem}1")).map_err(|_| unfit())?;
                insert(head, name, value)
            }
            Spot::Bearer => insert(head, AUTHORIZATION, format!("Bearer {value}")),
            Spot::Basic => insert(head, AUTHORIZATION, format!("Basic {}", Encoding::Base64.encode(value.as_bytes()))),
            Spot::Query(parameter) => {
                let query = with_field(head.uri.query().unwrap_or_default(), parameter, &value);
                set_path(head, &format!("{}?{query}", head.uri.path()))
            }
            Spot::PathEnd => {
                let stem = head.uri.path().rsplit_once('/').map_or("", |(stem, _)| stem);
                set_path(head, &format!("{stem}/{value}"))
            }
            Spot::Json(pointer) => {
                let mut json = serde_json::from_slice(body).map_err(|_| unfit())?;
                let mut member = &mut json;
                for name in pointer.split('/').skip(1) {
                    member = match member {
                        Value::Object(members) => members.entry(name).or_insert_with(|| Value::Object(Map::new())),
                        Value::Array(items) => {
                            items.get_mut(name.parse::<usize>().map_err(|_| unfit())?).ok_or_else(unfit)?
                        }
                        _ => return Err(unfit()),
                    };
                }
                *member = value.into();
                *body = json.to_string().into();
                Ok(())
            }
            Spot::Part(field) => {
                let delimiter = body.split(|byte| *byte == b'\r').next().filter(|line| line.starts_with(b"--"));
                let delimiter = delimiter.ok_or_else(unfit)?;
                let head = format!("\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
                *body = [delimiter, head.as_bytes(), &body[..]].concat().into();
                Ok(())
            }
            Spot::Form(field) => {
                *body = with_field(std::str::from_utf8(body).map_err(|_| unfit())?, field, &value).into();
                Ok(())
            }
        }
    }
}

/// Returns a form with this as the only field of its name.
fn with_field(form: &str, name: &str, value: &str) -> String {
    let others = form.split('&').filter(|field| !field.is_empty() && field.split('=').next() != Some(name));
    let own = format!("{name}={}", encode(value));
    others.chain([&*own]).collect::<Vec<_>>().join("&")
}

fn unfit() -> SignError {
    SignError::new("a value does not fit its place")
}

pub(super) fn insert(head: &mut Parts, name: HeaderName, value: String) -> Result<(), SignError> {
    head.headers.insert(name, HeaderValue::try_from(value).map_err(|_| unfit())?);
    Ok(())
}

fn set_path(head: &mut Parts, path: &str) -> Result<(), SignError> {
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| unfit())?);
    head.uri = Uri::from_parts(parts).map_err(|_| unfit())?;
    Ok(())
}
