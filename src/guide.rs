//! Guides: from a first endpoint to many replicas behind a proxy.
//!
//! Their programs are compiled and run with the tests of this crate.

#[doc = include_str!("../docs/quick-start.md")]
pub mod quick_start {}

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

#[doc = include_str!("../docs/scaling.md")]
pub mod scaling {}
