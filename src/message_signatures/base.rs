//! The signature base: what is signed, line by line (RFC 9421, section 2.5).

use std::fmt::Write as _;

use http::HeaderName;
use http::header::HOST;
use http::request::Parts;

use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;
use crate::urlencoded;

use super::fields::{parameters, whole_string};
use super::malformed;

/// What is signed: a request, as its sender was told to address it.
pub(super) struct Message<'a> {
    pub(super) head: &'a Parts,
    pub(super) public_url: Option<&'a PublicUrl>,
    /// Of a response, which only the vectors of the RFC are.
    #[cfg(test)]
    pub(super) status: Option<u16>,
}

/// Writes the lines of the components, and the one of the parameters, which is `input` as it was
/// received.
pub(super) fn write(message: &Message<'_>, components: &[(String, &str)], input: &str) -> Result<Vec<u8>, Rejection> {
    let mut base = Vec::new();
    for (at, (name, own)) in components.iter().enumerate() {
        if components[..at].iter().any(|other| (&other.0, other.1) == (name, own)) {
            return Err(malformed(format!("the signature covers `{name}` twice")));
        }
        base.extend_from_slice(format!("\"{name}\"{own}: ").as_bytes());
        base.extend_from_slice(&message.value(name, own)?);
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(input.as_bytes());
    Ok(base)
}

impl Message<'_> {
    fn value(&self, name: &str, own: &str) -> Result<Vec<u8>, Rejection> {
        let unknown = || malformed(format!("the signature covers `{name}`{own}, which is not supported"));
        if name == "@query-param" {
            let parameters = parameters(own).ok_or_else(unknown)?;
            let [("name", parameter)] = parameters[..] else { return Err(unknown()) };
            return self.query_parameter(&whole_string(parameter).ok_or_else(unknown)?);
        }
        if !own.is_empty() {
            return Err(unknown());
        }
        let uri = requested_uri(self.head);
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(match name {
            "@method" => self.head.method.as_str().into(),
            "@path" => path.into(),
            "@query" => format!("?{}", uri.query().unwrap_or_default()).into_bytes(),
            "@request-target" => uri.path_and_query().map_or(path, |it| it.as_str()).into(),
            "@target-uri" => self.address()?,
            "@scheme" => self.origin()?.0.into_bytes(),
            "@authority" => self.authority()?.into_bytes(),
            #[cfg(test)]
            "@status" if self.status.is_some() => self.status.unwrap_or_default().to_string().into_bytes(),
            _ if name.starts_with('@') => return Err(unknown()),
            _ => self.header(name).ok_or_else(unknown)??,
        })
    }

    /// Returns all that a header holds, its lines joined; `None` if there is no such header's name.
    fn header(&self, name: &str) -> Option<Result<Vec<u8>, Rejection>> {
        let header = HeaderName::from_lowercase(name.as_bytes()).ok()?;
        let lines: Vec<_> = self.head.headers.get_all(header).iter().map(|line| line.as_bytes().trim_ascii()).collect();
        let missing = || Rejection::new(Reason::MissingHeader).with_detail(format!("`{name}`, which is signed"));
        Some(if lines.is_empty() { Err(missing()) } else { Ok(lines.join(&b", "[..])) })
    }

    /// Returns the whole address, as the sender was given it.
    fn address(&self) -> Result<Vec<u8>, Rejection> {
        let unknown = || {
            Rejection::new(Reason::MissingHeader)
                .with_detail("the sender signs the address that it was given: set the public URL")
        };
        let mut address = Vec::new();
        self.public_url.ok_or_else(unknown)?.feed(self.head, |bytes| address.extend_from_slice(bytes))?;
        Ok(address)
    }

    /// Returns scheme and authority of the public address, in lower case.
    fn origin(&self) -> Result<(String, String), Rejection> {
        let address = String::from_utf8(self.address()?).unwrap_or_default();
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Ok((scheme.to_ascii_lowercase(), without_usual_port(&host.to_ascii_lowercase(), scheme).to_owned()))
    }

    /// Returns the host, and the port if it is not the usual one: of the public address if it is
    /// set, or as it was requested.
    fn authority(&self) -> Result<String, Rejection> {
        if self.public_url.is_some() {
            return self.origin().map(|(_, authority)| authority);
        }
        let own = self.head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = own.or_else(|| self.head.headers.get(HOST).map(|host| host.as_bytes()));
        let missing = || Rejection::new(Reason::MissingHeader).with_detail("`host`, which is signed");
        let host = String::from_utf8_lossy(host.ok_or_else(missing)?).to_ascii_lowercase();
        Ok(without_usual_port(&host, "https").to_owned())
    }

    /// Returns a parameter of the query, decoded and encoded again.
    fn query_parameter(&self, name: &str) -> Result<Vec<u8>, Rejection> {
        let found = urlencoded::query_field(self.head, name, Reason::MalformedSignature)?;
        let missing = || {
            Rejection::new(Reason::MalformedSignature)
                .with_detail(format!("there is no query parameter `{name}`, which is signed"))
        };
        let mut encoded = String::new();
        for byte in found.ok_or_else(missing)?.iter() {
            if byte.is_ascii_alphanumeric() || b"*-._".contains(byte) {
                encoded.push(char::from(*byte));
            } else {
                // Writing to a text never fails.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        Ok(encoded.into_bytes())
    }
}

fn without_usual_port<'a>(host: &'a str, scheme: &str) -> &'a str {
    let port = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    host.strip_suffix(port).unwrap_or(host)
}
