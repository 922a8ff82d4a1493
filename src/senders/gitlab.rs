//! GitLab: a secret token, or a signature as Standard Webhooks make it.

use crate::config::ConfigError;
use crate::scheme::{Scheme, header};
use crate::secrets::Secrets;

use super::{knowledge, standard_webhooks};

/// [GitLab](https://docs.gitlab.com/user/project/integrations/webhooks), with its signing tokens, its secret tokens, or both.
///
/// A secret that begins with `whsec_` is a signing token: GitLab signs by it as Standard Webhooks
/// do. Any other is a secret token, which is repeated in a header, so that body, event name and ids
/// are not signed. If there are both, a request with a signature is judged by that alone. So it is
/// with the secrets of a look-up, of which each request takes the one or the other kind. The event'
/// s name is in an unsigned header.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or a signing token is not in its form.
pub fn gitlab(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let (signing, tokens) = secrets.into().partition(|text| text.starts_with("whsec_"));
    let signed = |secrets: Secrets| {
        let scheme = standard_webhooks::family("webhook").event(header("x-gitlab-event")).secret(secrets);
        scheme.with_behavior(knowledge::gitlab).build("gitlab")
    };
    let token = Scheme::token(header("x-gitlab-token"))
        .event(header("x-gitlab-event"))
        .id(header("idempotency-key"))
        .with_behavior(knowledge::gitlab);
    match (signing, tokens) {
        (Some(signing), Some(tokens)) => {
            let unsigned =
                token.only_if(", without a signature", |head| !head.headers.contains_key("webhook-signature"));
            Ok(signed(signing)?.or(unsigned.secret(tokens).build("gitlab")?))
        }
        (Some(signing), None) => signed(signing),
        (None, Some(tokens)) => token.secret(tokens).build("gitlab"),
        (None, None) => Err(ConfigError::missing("there is no secret")),
    }
}
