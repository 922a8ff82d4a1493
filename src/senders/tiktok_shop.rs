//! TikTok Shop, which signs a key of the app before the body.

use crate::config::ConfigError;
use crate::scheme::{Scheme, header, json};
use crate::secrets::Secrets;

use super::knowledge;

/// [TikTok Shop](https://partner.tiktokshop.com/docv2/page/configuration-guide), with the app key and the app secret.
///
/// In a configuration, `public_key` is the app key.
///
/// Header, encoding and what is signed are known from others.
///
/// Not verified: the rule comes from others who cite the sender. Try it before you rely on it.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the app key is not letters, digits and
/// underscores.
pub fn tiktok_shop(app_key: &str, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    if app_key.is_empty() || !app_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(ConfigError::invalid("an app key is letters, digits and underscores"));
    }
    Scheme::hmac_sha256()
        .signature(header("authorization").hex())
        .signed(format!("{app_key}{{body}}"))
        .id(json("/tts_notification_id"))
        .secret(secrets)
        .with_behavior(knowledge::tiktok_shop)
        .build("tiktok_shop")
}
