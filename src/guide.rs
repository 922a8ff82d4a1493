//! Guides: from a first webhook to many replicas behind a proxy.
//!
//! Their programs are compiled and run with the tests of this crate.
//!
//! - **Begin:** [receive your first webhook](quick_start) in axum, tonic or hyper; [receive from a
//!   sender that isn't built in](new_sender); [replace hand-written verification](migrating);
//!   [choose between this crate and others](comparison).
//! - **From the sender's dashboard to a passing request:** [Stripe](stripe), [GitHub](github),
//!   [Shopify](shopify), [Slack](slack), [Twilio](twilio), [PayPal](paypal), [GitLab](gitlab),
//!   [SendGrid](sendgrid), [Discord](discord), [Clerk](clerk), [CDR Manager](cdr_manager),
//!   [Connect](connect), [SNS](sns), [Telna](telna), [PCE](pce); [all senders](senders).
//! - **Operate:** [verify webhooks behind a proxy](proxy); [rotate a secret without
//!   downtime](rotation); [what each rejection means](troubleshooting); [threat
//!   model](threat_model); [performance].
//! - **Lose nothing, do nothing twice:** [don't lose events during a deploy](inbox); [run handlers
//!   that are slower than their sender waits](slow_handlers); [handle each event
//!   once](deduplication).
//! - **Grow:** [serve many tenants](tenants); [test your handlers](testing).

#[doc = include_str!("../docs/quick-start.md")]
pub mod quick_start {}

#[doc = include_str!("../docs/senders/stripe.md")]
pub mod stripe {}

#[doc = include_str!("../docs/senders/github.md")]
pub mod github {}

#[doc = include_str!("../docs/senders/shopify.md")]
pub mod shopify {}

#[doc = include_str!("../docs/senders/slack.md")]
pub mod slack {}

#[doc = include_str!("../docs/senders/twilio.md")]
pub mod twilio {}

#[doc = include_str!("../docs/senders/paypal.md")]
pub mod paypal {}

#[doc = include_str!("../docs/senders/gitlab.md")]
pub mod gitlab {}

#[doc = include_str!("../docs/senders/sendgrid.md")]
pub mod sendgrid {}

#[doc = include_str!("../docs/senders/discord.md")]
pub mod discord {}

#[doc = include_str!("../docs/senders/clerk.md")]
pub mod clerk {}

#[doc = include_str!("../docs/cdr-manager.md")]
pub mod cdr_manager {}

#[doc = include_str!("../docs/connect.md")]
pub mod connect {}

#[doc = include_str!("../docs/sns.md")]
pub mod sns {}

#[doc = include_str!("../docs/telna.md")]
pub mod telna {}

#[doc = include_str!("../docs/pce.md")]
pub mod pce {}

#[doc = include_str!("../docs/senders.md")]
pub mod senders {}

#[doc = include_str!("../docs/new-sender.md")]
pub mod new_sender {}

#[doc = include_str!("../docs/rotation.md")]
pub mod rotation {}

#[doc = include_str!("../docs/tenants.md")]
pub mod tenants {}

#[doc = include_str!("../docs/proxy.md")]
pub mod proxy {}

#[doc = include_str!("../docs/deduplication.md")]
pub mod deduplication {}

#[doc = include_str!("../docs/inbox.md")]
pub mod inbox {}

#[doc = include_str!("../docs/slow-handlers.md")]
pub mod slow_handlers {}

#[doc = include_str!("../docs/payloads.md")]
pub mod payloads {}

#[doc = include_str!("../docs/lambda.md")]
pub mod lambda {}
#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/threat-model.md")]
pub mod threat_model {}

#[doc = include_str!("../docs/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}
#[doc = include_str!("../docs/scaling.md")]
pub mod scaling {}
