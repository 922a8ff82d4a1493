//! Mercado Pago, which signs what a notification is about and not what it says.

use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Scheme, header, json, query_parameter};
use crate::secrets::Secrets;

use super::knowledge;

/// [Mercado Pago](https://www.mercadopago.com.br/developers/en/docs/your-integrations/notifications/webhooks), with the secret
/// of the application.
///
/// The query's `data.id`, the request's id and a time are signed. **The body is not**: anyone who
/// has seen one request can send any body with its signature. Fetch what `data.id` names. The time
/// is not compared with the clock, since it is shown in seconds and in milliseconds; and whether
/// the request's id stays the same over retries is not known, so nothing tells a repetition.
///
/// Header, encoding and what is signed are those of the sender's own SDK; that an id of letters is
/// signed in lower case is known from others.
///
/// Not verified: the rule comes from others who cite the sender. Try it before you rely on it.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn mercado_pago(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header("x-signature").list(',').prefix("v1=").hex())
        .signed_without_the_body("{manifest}")
        .with_piece("manifest", Signed::default(), |values| manifest(values.head))
        .event(json("/action"))
        .secret(secrets)
        .with_behavior(knowledge::mercado_pago)
        .build("mercado_pago")
}

#[inline]
fn malformed(detail: &'static str) -> Rejection {
    Rejection::new(Reason::MalformedSignature).with_detail(detail)
}

/// `id:..;request-id:..;ts:..;`, without the parts that are not there. An id of letters and digits
/// is signed in lower case. None of them may hold the `;` that stands between them: one request
/// would be signed as another.
#[inline]
fn manifest(head: &Parts) -> Result<Vec<u8>, Rejection> {
    let mut manifest = String::new();
    let mut add = |name: &str, value: &str| {
        if value.contains(';') {
            return Err(malformed("there is a `;` within what is signed"));
        }
        manifest += &format!("{name}:{value};");
        Ok(())
    };
    if let Some(id) = query_parameter(head, "data.id").transpose()? {
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = if is_plain { id.to_ascii_lowercase() } else { id };
        add("id", &id)?;
    }
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(id) = text("x-request-id") {
        add("request-id", id)?;
    }
    let entries = text("x-signature").into_iter().flat_map(|list| list.split(','));
    let mut times = entries.filter_map(|entry| entry.trim().strip_prefix("ts="));
    match (times.next(), times.next()) {
        (Some(time), None) => add("ts", time)?,
        (None, _) => {
            return Err(Rejection::new(Reason::MissingHeader).with_detail("there is no time in `x-signature`"));
        }
        _ => return Err(malformed("there are several times in `x-signature`")),
    }
    Ok(manifest.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_left_out() {
        let manifest = |uri: &str, id: Option<&str>| {
            let request = http::Request::post(uri).header("x-signature", "ts=17, v1=00");
            let request = id.into_iter().fold(request, |request, id| request.header("x-request-id", id));
            manifest(&request.body(()).unwrap().into_parts().0).map(|text| String::from_utf8(text).unwrap()).ok()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(manifest("/?data.id=ORD01&type=order", Some("r-1")), some("id:ord01;request-id:r-1;ts:17;"));
        assert_eq!(manifest("/?data.id=A-1", Some("r-1")), some("id:A-1;request-id:r-1;ts:17;"));
        assert_eq!(manifest("/", None), some("ts:17;"));
        assert_eq!(manifest("/?data.id=A-1%3Brequest-id:r-1", None), None);
        assert_eq!(manifest("/", Some("r-1;ts:17")), None);
    }
}
