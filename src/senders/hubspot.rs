//! HubSpot, version 3: an address of which some escapes are undone before it is signed.

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::scheme::{Scheme, header, json};
use crate::secrets::Secrets;
use crate::text::Text;

use super::{PublicAddress, knowledge};

/// The escapes that HubSpot undoes.
const UNDONE: [(&str, u8); 12] = [
    ("3A", b':'),
    ("2F", b'/'),
    ("3F", b'?'),
    ("40", b'@'),
    ("21", b'!'),
    ("24", b'$'),
    ("27", b'\''),
    ("28", b'('),
    ("29", b')'),
    ("2A", b'*'),
    ("2C", b','),
    ("3B", b';'),
];

/// [HubSpot, version 3](https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests).
///
/// Times are milliseconds. Events are told apart by all that is in them, but for `attemptNumber`.
///
/// Escapes of `: / ? @ ! $ ' ( ) * , ;` are undone in the whole address, as the document says, so
/// that `/a%2Fb` and `/a/b` have one signature: [`Signed::url`](crate::Signed::url) is not set, and
/// what the address says is proven only up to these escapes.
///
/// The address that the sender was given is signed. `public_url` is that address up to where the
/// path begins that this service sees.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the URL is not valid.
pub fn hubspot_v3(secrets: impl Into<Secrets>, public_url: impl Into<PublicAddress>) -> Result<Scheme, ConfigError> {
    let url = public_url.into().resolve()?;
    let shown = url.clone();
    Scheme::hmac_sha256()
        .signature(header("x-hubspot-signature-v3").base64())
        .signed("{method}{url}{body}{timestamp}")
        .with_piece("url", Signed::default(), move |values| {
            let mut requested = Vec::new();
            url.feed(values.head, |bytes| requested.extend_from_slice(bytes))?;
            Ok(undo(&requested))
        })
        .with_shown_address(move |head| shown.shown(head))
        .timestamp(header("x-hubspot-request-timestamp").unix_millis())
        .event(json("/0/subscriptionType"))
        .with_identity(identity)
        .secret(secrets)
        .with_behavior(knowledge::hubspot_v3)
        .build("hubspot_v3")
}

/// The events without the number of the attempt, which is all that a repetition changes. HubSpot
/// does not promise that an `eventId` is there once.
#[inline]
pub(super) fn identity(body: &[u8]) -> Option<Text> {
    let mut events: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(body).ok()?;
    for event in &mut events {
        event.remove("attemptNumber");
    }
    Some(serde_json::to_string(&events).ok()?.into())
}

#[inline]
fn undo(url: &[u8]) -> Vec<u8> {
    let mut undone = Vec::with_capacity(url.len());
    let mut rest = url;
    while let [first, tail @ ..] = rest {
        let escape = if *first == b'%' { tail.get(..2) } else { None };
        let known = |escape: &[u8]| UNDONE.iter().find(|(digits, _)| digits.as_bytes().eq_ignore_ascii_case(escape));
        match escape.and_then(known) {
            Some((_, byte)) => {
                undone.push(*byte);
                rest = &tail[2..];
            }
            None => {
                undone.push(*first);
                rest = tail;
            }
        }
    }
    undone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_escapes_that_hubspot_undoes_are_undone() {
        assert_eq!(undo(b"https://h/%3a%3A%2f?a=%20%25%2"), b"https://h/::/?a=%20%25%2");
        assert_eq!(undo(b"%"), b"%");
    }
}
