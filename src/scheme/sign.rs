//! Signing as the sender would: for tests only.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};
use sha2::{Digest as _, Sha256};

use crate::encoding::Encoding;
use crate::rejection::Reason;
use crate::secrets::Keys;
use crate::sign::SignError;

use super::Scheme;
#[cfg(feature = "jwt")]
use super::bearer::JwtKeys;
#[cfg(feature = "jwt")]
use super::jwt;
use super::place::{Place, Spot};
use super::plan::{Applies, Plan, Proof, Where};
use super::template::{Piece, Values};
use super::urlencoded::encode;

/// A private key that signs what a public key verifies.
pub(crate) type SignWith<'a> = dyn Fn(&[u8]) -> Option<Vec<u8>> + 'a;

impl Scheme {
    /// Adds what the sender would add. Private keys come from `key`; secrets are the scheme's own.
    pub(crate) fn sign_request(
        &self,
        request: Request<Bytes>,
        now: SystemTime,
        key: Option<&SignWith<'_>>,
    ) -> Result<Request<Bytes>, SignError> {
        let (mut head, mut body) = request.into_parts();
        let fits = |plan: &&Plan| {
            let empty = plan.applies != Some(Applies::NoBody) || body.is_empty();
            plan.is_for(&head) && empty && plan.is_public() == key.is_some()
        };
        let plan = self.plans().find(fits).ok_or_else(|| {
            SignError::new(match key {
                Some(_) => "it does not verify such a request by a public key",
                None => "it does not take such a request, or verifies it by a public key alone",
            })
        })?;
        plan.sign(&mut head, &mut body, now, key)?;
        Ok(Request::from_parts(head, body))
    }
}

impl Plan {
    fn is_public(&self) -> bool {
        match &self.proof {
            Proof::Mac { .. } | Proof::Token { .. } => false,
            #[cfg(feature = "jwt")]
            Proof::Jwt(proof) => matches!(proof.keys, JwtKeys::Public(_)),
            #[cfg(feature = "asymmetric")]
            _ => true,
        }
    }

    fn sign(
        &self,
        head: &mut Parts,
        body: &mut Bytes,
        now: SystemTime,
        key: Option<&SignWith<'_>>,
    ) -> Result<(), SignError> {
        for (name, value) in &self.required {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        let places = match &self.signature {
            Where::Signature(signature) => &signature.places[..],
            Where::Token(place) => std::slice::from_ref(place),
            Where::Crafted(_) => &[],
            #[cfg(feature = "jwt")]
            Where::Jwt => &[],
        };
        for place in places.iter().chain(self.timestamp.iter().map(|timestamp| &timestamp.place)) {
            place.clear(head);
        }
        let mut timestamp_text = None;
        if let Some(timestamp) = &self.timestamp {
            let text = timestamp.format.format(now).ok_or_else(|| SignError::new("the time lies before 1970"))?;
            timestamp.place.put(head, body, &text)?;
            timestamp_text = Some(text);
        }
        if let Some(id) = self.id.as_ref().filter(|_| self.template.has(&Piece::Id))
            && !matches!(id.text(head, body, Reason::MalformedHeader), Ok(Some(_)))
        {
            id.put(head, body, "msg_1")?;
        }
        if let Some(hash) = &self.body_hash {
            let text = hash.encoding.encode(&Sha256::digest(&*body));
            hash.places[0].put(head, body, &text)?;
        }
        let (place, encoding) = match &self.signature {
            Where::Token(place) => return place.put(head, body, &self.token()?),
            Where::Crafted(crafted) => {
                let signed = (crafted.write)(body, self.mac()?, &crafted.parameter);
                *body = signed.ok_or_else(|| SignError::new("the body is not in the sender's form"))?.into();
                return Ok(());
            }
            Where::Signature(signature) => (&signature.places[0], signature.encoding),
            #[cfg(feature = "jwt")]
            Where::Jwt => return self.sign_token(head, body, now, key),
        };
        let id = self.id.as_ref().and_then(|id| id.text(head, body, Reason::MalformedHeader).ok()?);
        let values =
            Values { head, body, timestamp: timestamp_text.as_deref(), id: id.as_deref(), url: self.url.as_ref() };
        let mut message = Vec::new();
        self.template
            .feed(&values, &mut |bytes| message.extend_from_slice(bytes))
            .map_err(|_| SignError::new("the request lacks something that is signed"))?;
        let signature = match key {
            Some(sign) => sign(&message).ok_or_else(|| SignError::new("the key is not one for this scheme"))?,
            None => self.mac()?.of(&message).as_bytes().to_vec(),
        };
        place.put(head, body, &encoding.encode(&signature))
    }

    /// A token with all the claims that are looked at, which ends in two hours: `iat` is what ages first.
    #[cfg(feature = "jwt")]
    fn sign_token(
        &self,
        head: &mut Parts,
        body: &[u8],
        now: SystemTime,
        key: Option<&SignWith<'_>>,
    ) -> Result<(), SignError> {
        let Proof::Jwt(proof) = &self.proof else { return Err(unfit()) };
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| unfit())?.as_secs();
        let mut claims = serde_json::json!({ "iat": since_epoch, "exp": since_epoch + 7200 });
        let values = proof.expected.iter().map(|(name, values)| (*name, values.first().cloned().into()));
        let flags = proof.must_be_true.iter().map(|name| (*name, true.into()));
        let id = proof.id_claim.map(|name| (name, "msg_1".into()));
        let hash = proof.body_hash.map(|name| (name, hex::encode(Sha256::digest(body)).into()));
        for (name, value) in values.chain(flags).chain(id).chain(hash) {
            claims[name] = value;
        }
        let header = serde_json::json!({ "alg": format!("{:?}", proof.algorithm), "typ": "JWT", "kid": TEST_KID });
        let token = match (&proof.keys, key) {
            (JwtKeys::Shared(Keys::Fixed(ring)), _) => {
                jwt::encode_hs256(&header.to_string(), &claims.to_string(), ring.first())
            }
            (JwtKeys::Shared(_), _) => return Err(SignError::new("its secrets are looked up")),
            (JwtKeys::Public(_), None) => return Err(SignError::new("it holds no private key")),
            (JwtKeys::Public(_), Some(sign)) => {
                let part = |json: serde_json::Value| Encoding::Base64Url.encode(json.to_string().as_bytes());
                let message = format!("{}.{}", part(header), part(claims));
                let signature = sign(message.as_bytes()).ok_or_else(unfit)?;
                let signature = match proof.algorithm {
                    jwt::Algorithm::ES256 => fixed(&signature).ok_or_else(unfit)?,
                    _ => signature,
                };
                format!("{message}.{}", Encoding::Base64Url.encode(&signature))
            }
        };
        let value = if proof.header == AUTHORIZATION { format!("Bearer {token}") } else { token };
        insert(head, proof.header.clone(), value)
    }

    fn mac(&self) -> Result<&super::Mac, SignError> {
        match &self.proof {
            Proof::Mac { keys: Keys::Fixed(ring), .. } => Ok(ring.first()),
            Proof::Mac { .. } => Err(SignError::new("its secrets are looked up")),
            _ => Err(SignError::new("it holds no secret")),
        }
    }

    fn token(&self) -> Result<String, SignError> {
        let Proof::Token { secret: Some(secret), format, .. } = &self.proof else {
            return Err(SignError::new("its secrets are looked up"));
        };
        let bytes = secret.key(*format).map_err(|_| unfit())?;
        String::from_utf8(bytes.to_vec()).map_err(|_| unfit())
    }
}

impl Place {
    fn clear(&self, head: &mut Parts) {
        match &self.spot {
            Spot::Header(name) => {
                head.headers.remove(name);
            }
            Spot::Numbered(stem) => {
                let own: Vec<_> = head.headers.keys().filter(|name| name.as_str().starts_with(stem)).cloned().collect();
                for name in own {
                    head.headers.remove(name);
                }
            }
            _ => {}
        }
    }

    fn put(&self, head: &mut Parts, body: &mut Bytes, value: &str) -> Result<(), SignError> {
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
            Spot::Basic => insert(head, AUTHORIZATION, format!("Basic {}", Encoding::Base64.encode(value.as_bytes()))),
            Spot::Query(parameter) => {
                let path = head.uri.path();
                let mut query: Vec<_> = head.uri.query().unwrap_or_default().split('&').map(str::to_owned).collect();
                query.retain(|field| !field.is_empty() && field.split('=').next() != Some(parameter));
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
            Spot::Form(field) => {
                let text = std::str::from_utf8(body).map_err(|_| unfit())?;
                let mut fields: Vec<_> = text.split('&').map(str::to_owned).collect();
                fields.retain(|own| !own.is_empty() && own.split('=').next() != Some(field));
                fields.push(format!("{field}={}", encode(&value)));
                *body = fields.join("&").into();
                Ok(())
            }
        }
    }
}

/// The id of the key that tests sign with.
#[cfg(feature = "jwt")]
pub(crate) const TEST_KID: &str = "test-key";

/// An ECDSA signature in DER as the two numbers of 32 bytes that a token has.
#[cfg(feature = "jwt")]
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.get(2..)?;
    let mut out = Vec::new();
    for _ in 0..2 {
        let len = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + len)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.extend(std::iter::repeat_n(0, 32_usize.checked_sub(number.len())?));
        out.extend_from_slice(number);
        rest = &rest[2 + len..];
    }
    Some(out)
}

fn unfit() -> SignError {
    SignError::new("a value does not fit its place")
}

fn insert(head: &mut Parts, name: HeaderName, value: String) -> Result<(), SignError> {
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
