//! Signing as the sender would, and schemes in words: for tests and tables alone.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};

use crate::encoding::Encoding;
use crate::rejection::Reason;
use crate::sign::SignError;
use crate::text::Text;
use crate::time::Tolerance;
use crate::urlencoded::encode;

use super::Scheme;
use super::form::Form;
use super::place::{Place, Spot};
use super::proof::{AnyForm, Proof, of_form};
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
pub(crate) struct Unsigned<'a> {
    pub(crate) head: &'a mut Parts,
    pub(crate) body: &'a mut Bytes,
    #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
    pub(crate) now: SystemTime,
    timestamp: Option<String>,
    id: Option<Text>,
}

impl Unsigned<'_> {
    pub(crate) fn values(&self) -> Values<'_> {
        Values { head: self.head, body: self.body, timestamp: self.timestamp.as_deref(), id: self.id.as_deref() }
    }
}

impl Scheme {
    /// Adds what the sender would add.
    pub(crate) fn sign_request(
        &self,
        request: Request<Bytes>,
        now: SystemTime,
        signer: &Signer<'_>,
    ) -> Result<Request<Bytes>, SignError> {
        let (head, body) = request.into_parts();
        for form in &self.0.forms {
            let (mut head, mut body) = (head.clone(), body.clone());
            if let Some(signed) = of_form!(form, form => form.sign(&mut head, &mut body, now, signer)) {
                return signed.map(|()| Request::from_parts(head, body));
            }
        }
        Err(SignError::new(match signer {
            Signer::Secret => "it does not take such a request, or holds no secret to sign it with",
            Signer::PrivateKey(_) => "it does not verify such a request by a public key",
            Signer::Token(_) => "it does not verify such a request by a token",
        }))
    }

    /// The scheme in words.
    pub(crate) fn facts(&self) -> SchemeFacts {
        let inner = &self.0;
        let mut forms: Vec<String> = Vec::new();
        for form in &inner.forms {
            let form = of_form!(form, form => form.describe());
            // Forms that differ by a key or an address alone are one to a reader.
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        of_form!(&inner.forms[0], form => {
            let fields = &form.fields;
            let is_signed = |signed: bool| if signed { "" } else { ", unsigned" };
            let event = fields.event.as_ref().map(|event| format!("{event}{}", is_signed(form.signed.event)));
            let chosen = fields.in_body.as_ref().is_some_and(|rules| rules.has_identity());
            let deduplicated_by = match &fields.id {
                _ if form.signed.url && fields.in_body.as_ref().is_some_and(|rules| rules.has_id()) => "all that is signed".to_owned(),
                _ if chosen => "an id in the body".to_owned(),
                Some(id) if form.signed.id || !(form.signed.body || form.signed.url) => id.to_string(),
                Some(id) => format!("{id} and what is signed"),
                None if form.signed.id => "a signed claim".to_owned(),
                None if inner.behavior.unique_bodies().is_some() => "what is signed".to_owned(),
                None => "nothing".to_owned(),
            };
            let mut form = Form::clone(form);
            SchemeFacts {
                scheme: forms.join("; or "),
                tolerance: form.tolerance_mut().copied(),
                body_limit: inner.body_limit,
                event,
                deduplicated_by,
            }
        })
    }
}

/// A scheme in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemeFacts {
    /// The algorithm, where the signature is, and what it covers.
    pub scheme: String,
    /// How far the timestamp may be from now, if there is one.
    pub tolerance: Option<Tolerance>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Where the event's name is.
    pub event: Option<String>,
    /// What tells a repetition from a new delivery.
    pub deduplicated_by: String,
}

impl<P: Proof> Form<P> {
    fn describe(&self) -> String {
        let about = self.applies.map_or(if self.empty_body { ", without a body" } else { "" }, |(about, _)| about);
        self.proof.describe() + about
    }

    /// Signs, or returns `None` if the form is not for such a request or signer.
    fn sign(
        &self,
        head: &mut Parts,
        body: &mut Bytes,
        now: SystemTime,
        signer: &Signer<'_>,
    ) -> Option<Result<(), SignError>> {
        if !self.is_for(head) || (self.empty_body && !body.is_empty()) {
            return None;
        }
        match self.fill(head, body, now) {
            Ok((timestamp, id)) => self.proof.sign(&mut Unsigned { head, body, now, timestamp, id }, signer),
            Err(error) => Some(Err(error)),
        }
    }

    /// Adds what is signed besides the body.
    fn fill(
        &self,
        head: &mut Parts,
        body: &mut Bytes,
        now: SystemTime,
    ) -> Result<(Option<String>, Option<Text>), SignError> {
        let fields = &self.fields;
        for (name, value) in &fields.required {
            head.headers.insert(name, value.clone());
        }
        for place in self.proof.places() {
            place.clear(head);
        }
        let mut written = None;
        if let Some(timestamp) = &fields.timestamp {
            let text = timestamp.format.format(now).ok_or_else(|| SignError::new("the time lies before 1970"))?;
            timestamp.place.clear(head);
            timestamp.place.put(head, body, &text)?;
            written = Some(text);
        }
        let Some(place) = &fields.id else { return Ok((written, None)) };
        let read = |head: &Parts, body: &[u8]| place.text(head, body, Reason::MalformedHeader).ok().flatten();
        if fields.id_in_text && read(head, body).is_none() {
            place.put(head, body, "msg_1")?;
        }
        Ok((written, read(head, body)))
    }
}
impl Place {
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
                let path = head.uri.path();
                let mut query: Vec<_> = head.uri.query().unwrap_or_default().split('&').map(str::to_owned).collect();
                query.retain(|field| !field.is_empty() && field.split('=').next() != Some(parameter.as_ref()));
                query.push(format!("{parameter}={}", encode(&value)));
                set_path(head, &format!("{path}?{}", query.join("&")))
            }
            Spot::PathEnd => {
                let stem = head.uri.path().rsplit_once('/').map_or("", |(stem, _)| stem);
                set_path(head, &format!("{stem}/{value}"))
            }
            Spot::Json(pointer) => {
                let mut json = serde_json::from_slice(body).map_err(|_| unfit())?;
                set_member(&mut json, pointer.trim_start_matches('/'), value)?;
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
                let text = std::str::from_utf8(body).map_err(|_| unfit())?;
                let mut fields: Vec<_> = text.split('&').map(str::to_owned).collect();
                fields.retain(|own| !own.is_empty() && own.split('=').next() != Some(field.as_ref()));
                fields.push(format!("{field}={}", encode(&value)));
                *body = fields.join("&").into();
                Ok(())
            }
        }
    }
}

pub(super) fn unfit() -> SignError {
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

fn set_member(json: &mut serde_json::Value, pointer: &str, value: String) -> Result<(), SignError> {
    let (name, rest) = pointer.split_once('/').map_or((pointer, None), |(name, rest)| (name, Some(rest)));
    let member = match json {
        serde_json::Value::Object(members) => {
            members.entry(name).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()))
        }
        serde_json::Value::Array(items) => {
            name.parse().ok().and_then(|index: usize| items.get_mut(index)).ok_or_else(unfit)?
        }
        _ => return Err(unfit()),
    };
    match rest {
        Some(rest) => set_member(member, rest, value),
        None => {
            *member = value.into();
            Ok(())
        }
    }
}
