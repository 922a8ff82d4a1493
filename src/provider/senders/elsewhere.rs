//! Senders that sign an address or parameters, or put their signature into the body.

use super::Sender;

pub(super) const SENDERS: &[Sender] = &[];
pub(super) const MORE: &[Sender] = &[];
