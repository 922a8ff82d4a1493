//! Tower layers that receive webhooks.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(unreachable_pub, clippy::unwrap_used, clippy::expect_used))]

mod answer;
mod body;
mod config;
mod delivery;
mod encoding;
mod future;
mod ip_allow;
mod layer;
mod observe;
pub mod provider;
mod reject;
pub mod scheme;
mod secret;
mod service;
mod text;
mod time;
mod verdict;

#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "testing")]
pub mod testing;

pub use answer::Answer;
pub use body::ResponseBody;
pub use config::ConfigError;
pub use delivery::{ChooseIdentity, Delivery, FromDelivery, Identity, Json, Signed, Verified, Webhook};
pub use encoding::Encoding;
pub use future::ResponseFuture;
pub use ip_allow::{IpAllowList, IpAllowListFuture, IpAllowListService};
pub use layer::{DEFAULT_BODY_TIMEOUT, DEFAULT_LOOKUP_TIMEOUT, WebhookLayer};
pub use provider::{CdrManager, DEFAULT_BODY_LIMIT, Provider, cdr_manager, senders};
pub use reject::{Reason, Rejection};
pub use scheme::Scheme;
pub use secret::{Head, KeyFormat, MAX_SECRETS, Secret, Secrets};
pub use service::WebhookService;
pub use text::Text;
pub use time::{Clock, SystemClock, TimeFormat, Tolerance};
pub use verdict::Verdict;
