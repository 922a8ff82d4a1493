//! Mailgun: a time and a token in the body are signed, the event is not.

use std::time::Duration;

use crate::config::ConfigError;
use crate::multipart::is_multipart;
use crate::scheme::{Scheme, SignatureSpec, Source, form, json, part};
use crate::secrets::Secrets;
use crate::time::Tolerance;
use crate::urlencoded::is_form;

use super::knowledge;

/// Mailgun repeats an event for eight hours, and names no limit; this is ours.
const TOLERANCE: Tolerance = Tolerance::past_and_future(Duration::from_secs(12 * 3600), Duration::from_secs(300));

/// [Mailgun](https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks), with the webhook signing
/// key.
///
/// **The event itself is not signed**, only a time and a token beside it: anyone who has seen one
/// delivery can send any event with its signature until the time is over. Put a `DedupLayer`
/// (feature `dedup`) behind it, which accepts each token once, and fetch what matters. The JSON
/// form is accepted and the older ones, forms: multipart where the mail has attachments, up to 25
/// MiB. Events of a subaccount are signed with the key of the primary account as well, in the JSON
/// form; either key will do. The tolerance of twelve hours, for Mailgun's retries, is ours.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn mailgun(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let signed = |signature: SignatureSpec, timestamp: Source, token| {
        Scheme::hmac_sha256()
            .signature(signature)
            .timestamp(timestamp.unix_seconds().with_tolerance(TOLERANCE))
            .id(token)
            .signed_without_the_body("{timestamp}{id}")
    };
    let signature = json("/signature/signature").hex().or(json("/signature/parent-signature"));
    signed(signature, json("/signature/timestamp"), json("/signature/token"))
        .event(json("/event-data/event"))
        .only_if(", of other bodies", |head| !is_form(head) && !is_multipart(head))
        .or(signed(form("signature").hex(), form("timestamp"), form("token"))
            .event(form("event"))
            .only_if(", of forms", is_form))
        .or(signed(part("signature").hex(), part("timestamp"), part("token"))
            .event(part("event"))
            .only_if(", of multipart forms", is_multipart))
        .secret(secrets)
        .with_behavior(knowledge::mailgun)
        .build("mailgun")
}
