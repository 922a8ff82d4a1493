//! Senders by name: what they put on the wire, in a few lines each.
//!
//! Each is a [`Scheme`](crate::Scheme), made by a function of its name or, from a configuration, by
//! [`by_name`].
//!
//! # Examples
//!
//! ```
//! use tower_webhook::{WebhookLayer, senders};
//!
//! # fn main() -> Result<(), tower_webhook::ConfigError> {
//! let layer = WebhookLayer::new(senders::github("the secret of the webhook")?);
//!
//! let config = serde_json::from_str(r#"{"secrets": ["the secret of the webhook"]}"#).unwrap();
//! let layer = WebhookLayer::new(senders::by_name("github", config)?);
//! # Ok(())
//! # }
//! ```
//!
//! Rules change: each function names the sender's document, and says where a rule was not found in
//! one.

mod address;
mod adyen;
mod any_of;
#[cfg(all(feature = "jwt", feature = "certificates"))]
mod apple_app_store;
mod asana;
mod braintree;
mod builtin;
mod by_name;
#[doc(hidden)]
pub mod cdr_manager;
mod cloudevents;
mod config;
#[cfg(feature = "jwt")]
#[doc(hidden)]
pub mod connect;
mod contentful;
#[cfg(feature = "asymmetric")]
mod ebay;
mod gitlab;
#[cfg(feature = "jwt")]
mod google;
mod hubspot;
pub(crate) mod knowledge;
#[cfg(feature = "inspect")]
mod look_alike;
mod mailgun;
mod marks;
mod mercado_pago;
mod meta;
mod notion;
mod okta;
#[cfg(feature = "paypal")]
mod paypal;
mod paystack;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod pce;
#[cfg(feature = "asymmetric")]
mod public_keys;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod sns;
mod standard_webhooks;
#[cfg(feature = "inbox")]
pub(crate) mod stored;
mod table;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod telna;
mod tiktok_shop;
mod twilio;

#[doc(hidden)]
pub use any_of::{AnyOf, AnyOfVerification};
#[doc(hidden)]
pub use cdr_manager::CdrManager;
#[cfg(feature = "jwt")]
#[doc(hidden)]
pub use connect::Connect;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub use sns::Sns;

pub use crate::certificate::{CertificateConfig, CertificateName};
pub use address::PublicAddress;
pub use adyen::adyen_payments;
#[cfg(all(feature = "jwt", feature = "certificates"))]
pub use apple_app_store::{apple_app_store, apple_app_store_with_roots};
pub use asana::asana;
pub use braintree::braintree;
pub use builtin::*;
pub use by_name::{all, by_name};
pub use cloudevents::cloudevents;
pub use config::{BasicAuth, Confirmation, SchemeConfig, SenderConfig};
pub use contentful::{contentful, contentful_at};
#[cfg(feature = "asymmetric")]
pub use ebay::ebay;
pub use gitlab::gitlab;
#[cfg(feature = "jwt")]
pub use google::google_oidc;
pub use hubspot::hubspot_v3;
#[cfg(feature = "inspect")]
pub(crate) use look_alike::recognized;
#[cfg(all(feature = "inspect", feature = "testing"))]
pub(crate) use look_alike::sample;
pub use mailgun::mailgun;
pub use mercado_pago::mercado_pago;
pub use meta::meta;
pub use notion::notion;
pub use okta::{okta, okta_in};
#[cfg(feature = "paypal")]
pub use paypal::{PayPalCertificates, paypal};
pub use paystack::{paystack, paystack_in};
#[cfg(feature = "asymmetric")]
pub use public_keys::PublicKeys;
#[cfg(feature = "asymmetric")]
pub use standard_webhooks::standard_webhooks_signed;
pub use standard_webhooks::{standard_webhooks, svix};
pub use table::{Evidence, Sender};
pub use tiktok_shop::tiktok_shop;
pub use twilio::twilio;
