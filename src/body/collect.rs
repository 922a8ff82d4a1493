//! Joins the frames of a body, with as few copies as their number allows.

use std::mem;
use std::task::Waker;

use bytes::Bytes;

use crate::rejection::Reason;

use super::budget::Lease;

/// Memory is reserved for at most this many times what has arrived, so that many small frames cost
/// few allocations and an announced length costs nothing.
const MAX_HEADROOM: usize = 32;
/// The smallest buffer, if the body limit allows it.
const MIN_CAPACITY: usize = 4096;

/// Collects the frames of one body. A single frame is passed on as it is. Several are copied
/// together, once if the announced length is true.
pub(super) struct Collector {
    limit: usize,
    collected: Collected,
    lease: Lease,
}

enum Collected {
    /// The only frame so far. Empty if there is none.
    One(Bytes),
    Joined(Vec<u8>),
}

impl Collector {
    pub(super) fn new(limit: usize, lease: Lease) -> Self {
        Self { limit, collected: Collected::One(Bytes::new()), lease }
    }

    /// Returns what has arrived.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.collected {
            Collected::One(frame) => frame,
            Collected::Joined(joined) => joined,
        }
    }

    /// Adds a frame. `announced` is the length that the body claims to have after it, a mere hint.
    #[inline]
    pub(super) fn push(&mut self, frame: Bytes, announced: impl Fn() -> Option<u64>) -> Result<(), Reason> {
        let len = self.bytes().len().saturating_add(frame.len());
        if len > self.limit {
            return Err(Reason::BodyTooLarge);
        }
        match &mut self.collected {
            Collected::One(first) if first.is_empty() => {
                self.lease.hold(len)?;
                *first = frame;
            }
            _ if frame.is_empty() => {}
            Collected::One(first) => {
                let capacity = capacity(len, announced(), self.limit);
                // The first frame is still there while it is copied.
                self.lease.hold(capacity.saturating_add(first.len()))?;
                let mut joined = Vec::new();
                joined.reserve_exact(capacity);
                joined.extend_from_slice(first);
                joined.extend_from_slice(&frame);
                self.collected = Collected::Joined(joined);
            }
            Collected::Joined(joined) => {
                if len > joined.capacity() {
                    let capacity = capacity(len, announced(), self.limit);
                    self.lease.hold(capacity)?;
                    joined.reserve_exact(capacity - joined.len());
                }
                joined.extend_from_slice(&frame);
            }
        }
        Ok(())
    }

    /// Has the task woken should the memory be revoked while it waits.
    pub(super) fn wait(&self, waker: &Waker) -> Result<(), Reason> {
        self.lease.wait(waker)
    }

    /// Keeps the memory of a body that is there as a whole.
    pub(super) fn complete(&self) -> Result<(), Reason> {
        self.lease.complete()
    }

    /// Returns the body, and the memory that is accounted for it.
    pub(super) fn finish(&mut self) -> (Bytes, Lease) {
        let body = match mem::replace(&mut self.collected, Collected::One(Bytes::new())) {
            Collected::One(frame) => frame,
            Collected::Joined(joined) => joined.into(),
        };
        (body, mem::take(&mut self.lease))
    }
}

/// Returns the size of the buffer for `len` bytes of which `announced` more may follow.
fn capacity(len: usize, announced: Option<u64>, limit: usize) -> usize {
    let allowed = len.saturating_mul(MAX_HEADROOM).max(MIN_CAPACITY).min(limit);
    let wanted = match announced {
        Some(more) => len.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)),
        None => len.saturating_mul(2),
    };
    wanted.clamp(len, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(collector: &mut Collector, frame: impl Into<Bytes>, announced: Option<u64>) -> Result<(), Reason> {
        collector.push(frame.into(), || announced)
    }

    fn joined_capacity(collector: &Collector) -> usize {
        match &collector.collected {
            Collected::One(_) => 0,
            Collected::Joined(joined) => joined.capacity(),
        }
    }

    fn collect(limit: usize, frames: &[&'static [u8]]) -> Result<Bytes, Reason> {
        let mut collector = Collector::new(limit, Lease::default());
        for &frame in frames {
            add(&mut collector, frame, None)?;
        }
        Ok(collector.finish().0)
    }

    #[test]
    fn one_frame_is_not_copied() {
        let frame = Bytes::from(vec![7; 100]);
        let mut collector = Collector::new(100, Lease::default());
        add(&mut collector, "", None).unwrap();
        add(&mut collector, frame.clone(), None).unwrap();
        add(&mut collector, "", None).unwrap();
        assert_eq!(collector.finish().0.as_ptr(), frame.as_ptr());
    }

    #[test]
    fn several_frames_are_joined_and_the_limit_is_exact() {
        assert_eq!(collect(6, &[b"ab", b"", b"cd", b"ef"]).unwrap(), "abcdef");
        assert_eq!(collect(5, &[b"ab", b"cd", b"ef"]), Err(Reason::BodyTooLarge));
        assert_eq!(collect(5, &[b"abcdef"]), Err(Reason::BodyTooLarge));
        assert_eq!(collect(0, &[b""]).unwrap(), "");
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_announced() {
        let mut collector = Collector::new(usize::MAX, Lease::default());
        add(&mut collector, "a", Some(u64::MAX)).unwrap();
        assert_eq!(joined_capacity(&collector), 0);
        add(&mut collector, "b", Some(u64::MAX)).unwrap();
        assert!(joined_capacity(&collector) <= MIN_CAPACITY, "{}", joined_capacity(&collector));
        add(&mut collector, vec![0; 10_000], Some(u64::MAX)).unwrap();
        assert!(joined_capacity(&collector) <= 10_002 * MAX_HEADROOM, "{}", joined_capacity(&collector));
    }

    #[test]
    fn a_true_announcement_costs_one_allocation() {
        let mut collector = Collector::new(1 << 20, Lease::default());
        let mut left = 1_u64 << 20;
        let mut capacities = std::collections::BTreeSet::new();
        for _ in 0..64 {
            left -= 16_384;
            add(&mut collector, vec![1; 16_384], Some(left)).unwrap();
            capacities.insert(joined_capacity(&collector));
        }
        assert_eq!(capacities.len(), 2, "none and one: {capacities:?}");
        assert_eq!(collector.finish().0.len(), 1 << 20);
    }
}
