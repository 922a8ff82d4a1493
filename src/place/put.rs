//! Writing what a sender writes, for tests alone.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;

use crate::encoding::Encoding;
use crate::sign::{SignError, add_part, set_header, set_member, set_path, unfit, with_field};

use super::{Place, Spot};

impl Place {
    /// Removes what is in a header of this place; of a list, the entries with the prefix.
    pub(crate) fn clear(&self, head: &mut Parts) {
        let is_own = |name: &&HeaderName| match &self.spot {
            Spot::Header(own) | Spot::InHeader(own, _) => *name == own,
            Spot::Numbered(stem) => name.as_str().starts_with(stem.as_str()),
            _ => false,
        };
        for name in head.headers.keys().filter(is_own).cloned().collect::<Vec<_>>() {
            let removed = head.headers.remove(&name);
            let (Some([separator, other]), Some(list)) =
                (self.list.map(|list| list.separators), removed.as_ref().and_then(|it| it.to_str().ok()))
            else {
                continue;
            };
            let entries = list.split([char::from(separator), char::from(other)]).map(str::trim);
            let others: Vec<_> = entries.filter(|entry| !entry.starts_with(&*self.prefix)).collect();
            if let (false, Ok(others)) =
                (others.is_empty(), HeaderValue::try_from(others.join(&char::from(separator).to_string())))
            {
                head.headers.insert(name, others);
            }
        }
    }

    /// Writes a value into this place.
    pub(crate) fn put(&self, head: &mut Parts, body: &mut Bytes, value: &str) -> Result<(), SignError> {
        let value = format!("{}{value}", self.prefix);
        match &self.spot {
            Spot::Header(name) => {
                let whole = match (self.list, head.headers.get(name).and_then(|list| list.to_str().ok())) {
                    (Some(own), Some(list)) => format!("{list}{}{value}", char::from(own.separators[0])),
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
            Spot::InHeader(name, pointer) => {
                let own = head.headers.get(name).and_then(|own| Encoding::Base64.decode(own.as_bytes()));
                let mut json = own.map_or(Bytes::from_static(b"{}"), Bytes::from);
                set_member(&mut json, pointer, value)?;
                set_header(head, name.clone(), Encoding::Base64.encode(&json))
            }
            Spot::Body => {
                *body = value.into();
                Ok(())
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
