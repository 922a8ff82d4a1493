//! Twilio: an address and the fields of a form, or an address with a hash of the body.

use http::Method;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Scheme, Values, header, query};
use crate::secrets::Secrets;
use crate::text::Text;
use crate::urlencoded::{feed_sorted, is_form};

use super::address::PublicAddress;
use super::knowledge;

/// [Twilio](https://www.twilio.com/docs/usage/webhooks/webhooks-security), with the account's auth token. SHA-1.
///
/// Of a form, the address and the fields are signed, without separators between names and values.
/// Of any other body, the address is signed, and its query must hold the body's SHA-256 in
/// `bodySHA256`; without it the body is refused. A GET has no body. Twilio signs the address with or without the port and the user of `https://user:password@host`, so
/// either is accepted, whether `public_url` has them or not. Where a name, a value or the address
/// ends is not signed, only the text that they make together: take tenants from the account's id in
/// the fields rather than from the query. A status callback repeats the id of its message, so a
/// delivery is told from others by all of its fields.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the URL is not valid.
pub fn twilio(secrets: impl Into<Secrets>, public_url: impl Into<PublicAddress>) -> Result<Scheme, ConfigError> {
    let signed = || Scheme::hmac_sha1_for_legacy_senders_only().signature(header("x-twilio-signature").base64());
    let form = signed().only_if(", of forms", is_form).signed("{url}{params}").with_identity(signed_fields);
    let other = signed()
        .only_if(", of other bodies", |head| !is_form(head))
        .signed("{url}")
        .with_body_hash(query("bodySHA256").hex());
    let get = signed().with_methods([Method::GET]).signed("{url}{no body}").with_piece(
        "no body",
        Signed::default().with_body(true),
        no_body,
    );
    let url = public_url.into().resolve()?;
    let scheme = form.or(other).or(get).secret(secrets).with_behavior(knowledge::twilio);
    let at = |url: PublicUrl| scheme.clone().at(url).build("twilio");
    let others = url.other_spellings();
    others.into_iter().try_fold(at(url)?, |scheme, url| Ok(scheme.or(at(url)?)))
}

#[inline]
fn no_body(values: &Values<'_>) -> Result<Vec<u8>, Rejection> {
    if values.body.is_empty() {
        return Ok(Vec::new());
    }
    Err(Rejection::new(Reason::BodyMismatch).with_detail("there is a body, and nothing signs it"))
}

/// What is signed of a form. Its bytes are not: `%41` could stand for `A`, and would make another
/// delivery of it.
#[inline]
pub(super) fn signed_fields(body: &[u8]) -> Option<Text> {
    let mut fields = Vec::new();
    feed_sorted(body, |bytes| fields.extend_from_slice(bytes)).ok()?;
    Some(String::from_utf8(fields).ok()?.into())
}
