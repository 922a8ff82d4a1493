//! Paystack: a MAC of the body, or, in a newer form, MACs of the time and the body.

use http::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::encoding::Encoding;
use crate::headers::{LONGEST_HEADER, single};
use crate::mac::{Mac, MacKind};
use crate::provider::Recognition;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Item, Rule, Scheme, SchemeBuilder, Values, header, json};
#[cfg(feature = "testing")]
use crate::scheme::{SignWith, Unsigned};
use crate::secrets::Secrets;
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::{SenderConfig, knowledge};

/// The most signatures in one header. Paystack sends one for each active key.
const MAX_SIGNATURES: usize = 16;

/// [Paystack](https://paystack.com/docs/payments/webhooks/), which signs the body in `X-Paystack-Signature`. SHA-512.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn paystack(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha512()
        .signature(header("x-paystack-signature").hex())
        .event(json("/event"))
        .secret(secrets)
        .with_behavior(*knowledge::of("paystack"))
        .build("paystack")
}

/// Like [`paystack`], in the newer form `t=..,v1=<key>:<hex>`, which signs the time too and has a signature for each active key.
/// The tolerance is 300 seconds.
///
/// Not verified: Paystack's [sample](https://github.com/PaystackOSS/doc-code-snippets) shows the form. The name of its header is
/// not known to us, so you have to give it.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the header's name is not valid.
pub fn paystack_in(name: &str, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let name: HeaderName = name.parse().map_err(|_| ConfigError::invalid("a header name is not valid"))?;
    let timestamp = header(&name).list(',').prefix("t=").unix_seconds();
    SchemeBuilder::rule(Timed { header: name }, |secret| Mac::new(MacKind::Sha512, secret))
        .timestamp(timestamp)
        .event(json("/event"))
        .secret(secrets)
        .with_behavior(*knowledge::of("paystack"))
        .build("paystack")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    match config.header.take() {
        Some(header) => paystack_in(&header, config.take_secrets()?),
        None => paystack(config.take_secrets()?),
    }
}

/// The newer form.
struct Timed {
    header: HeaderName,
}

impl Timed {
    fn signatures(&self, head: &Parts) -> Result<Vec<Vec<u8>>, Rejection> {
        let refuse = |reason, detail: &str| Rejection::new(reason).with_detail(format!("{detail} `{}`", self.header));
        let value =
            single(head, &self.header, LONGEST_HEADER)?.ok_or_else(|| refuse(Reason::MissingSignature, "none in"))?;
        let mut found = Vec::new();
        for entry in value.as_bytes().split(|byte| *byte == b',') {
            let Some(entry) = entry.trim_ascii().strip_prefix(b"v1=") else { continue };
            let colon = entry.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
            let mut signature = vec![0; MacKind::Sha512.digest_len()];
            if !Encoding::Hex.decode_exact(&entry[colon..], &mut signature) {
                return Err(refuse(Reason::MalformedSignature, "a `v1` is not a key and 64 bytes in hex, in"));
            }
            found.push(signature);
        }
        match found.len() {
            0 => Err(refuse(Reason::MissingSignature, "no `v1` in")),
            1..=MAX_SIGNATURES => Ok(found),
            _ => Err(refuse(Reason::TooManySignatures, "in")),
        }
    }
}

impl Rule for Timed {
    fn covers(&self) -> Signed {
        Signed::default().with_body(true).with_timestamp(true).with_event(true)
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        head.headers.contains_key(&self.header).into()
    }

    fn check_head(&self, head: &Parts) -> Result<(), Rejection> {
        self.signatures(head).map(|_| ())
    }

    fn items<'a>(&self, values: &Values<'a>) -> Result<Vec<Item<'a>>, Rejection> {
        let time = values.timestamp.unwrap_or_default().as_bytes().to_vec();
        let text = vec![time.into(), b".".into(), values.body.into()];
        Ok(vec![Item { texts: vec![text], signatures: self.signatures(values.head)? }])
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        format!("HMAC-SHA512 in `{}` `v1=` behind a key's name (hex) over `{{timestamp}}.{{body}}`", self.header)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, sign: &SignWith<'_>) -> Result<(), SignError> {
        let time = request.values().timestamp.unwrap_or_default().to_owned();
        let signature = hex::encode(sign(&[time.as_bytes(), b".", &request.body[..]].concat())?);
        let value = format!("t={time},v1=1:{signature}");
        let value = value.parse().map_err(|_| SignError::new("the time does not fit a header"))?;
        request.head.headers.insert(&self.header, value);
        Ok(())
    }
}
