//! What is known of a sender and of others, for an explanation.

use std::borrow::Cow;

use crate::any_provider::AnyProvider;
use crate::secrets::Secret;
use crate::senders::SenderConfig;

#[derive(Clone)]
pub(super) struct Known {
    pub(super) provider: AnyProvider,
    /// What the provider was made from, so that it can be made with other settings.
    pub(super) config: Option<SenderConfig>,
    /// Secrets that are not accepted.
    pub(super) other_secrets: Vec<(Cow<'static, str>, Secret)>,
    /// Senders that are expected elsewhere.
    pub(super) other_senders: Vec<(Cow<'static, str>, AnyProvider)>,
}

impl Known {
    pub(super) fn new(provider: AnyProvider) -> Self {
        Self { provider, config: None, other_secrets: Vec::new(), other_senders: Vec::new() }
    }
}
