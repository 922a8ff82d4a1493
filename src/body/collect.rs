//! Frames put together, with as few copies as their number allows.

use std::mem;
use std::task::Waker;

use bytes::Bytes;

use crate::rejection::Reason;

use super::budget::Lease;

/// Memory is taken for at most this many times what has arrived, so that many small frames cost few allocations and
/// an announced length costs nothing.
const HEADROOM: usize = 32;
/// The least that is taken at once, where the body may be that long.
const LEAST: usize = 4096;

/// Collects the frames of one body. One frame is handed on as it is; several are copied together, once where the
/// length was announced truly.
pub(super) struct Collector {
    limit: usize,
    first: Option<Bytes>,
    all: Vec<u8>,
    lease: Lease,
}

impl Collector {
    pub(super) fn new(limit: usize, lease: Lease) -> Self {
        Self { limit, first: None, all: Vec::new(), lease }
    }

    /// What has arrived.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.first {
            Some(first) => first,
            None => &self.all,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Makes room for a frame of this length. `announced` is the length that the body claims to have behind it, and only
    /// ever a hint.
    pub(super) fn make_room(&mut self, frame: usize, announced: impl Fn() -> Option<u64>) -> Result<(), Reason> {
        let len = self.len().saturating_add(frame);
        if len > self.limit {
            return Err(Reason::BodyTooLarge);
        }
        if frame == 0 || self.len() == 0 {
            return self.lease.hold(len);
        }
        if len > self.all.capacity() {
            let allowed = len.saturating_mul(HEADROOM).max(LEAST).min(self.limit);
            let announced = announced().map(|more| usize::try_from(more).unwrap_or(usize::MAX));
            let wanted = announced.map_or(len.saturating_mul(2), |more| len.saturating_add(more)).clamp(len, allowed);
            // The first frame is still there while it is copied.
            self.lease.hold(wanted.saturating_add(self.first.as_ref().map_or(0, Bytes::len)))?;
            self.all.reserve_exact(wanted - self.all.len());
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

    /// Adds a frame that room was made for.
    #[inline]
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.len() == 0 {
            self.first = Some(frame);
        } else if !frame.is_empty() {
            if let Some(first) = self.first.take() {
                self.all.extend_from_slice(&first);
            }
            self.all.extend_from_slice(&frame);
        }
    }

    /// The body, and the memory that is accounted for it.
    pub(super) fn finish(&mut self) -> (Bytes, Lease) {
        let body = self.first.take().unwrap_or_else(|| mem::take(&mut self.all).into());
        (body, mem::take(&mut self.lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(collector: &mut Collector, frame: impl Into<Bytes>, announced: Option<u64>) -> Result<(), Reason> {
        let frame = frame.into();
        collector.make_room(frame.len(), || announced)?;
        collector.push(frame);
        Ok(())
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
        assert_eq!(collector.all.capacity(), 0);
        add(&mut collector, "b", Some(u64::MAX)).unwrap();
        assert!(collector.all.capacity() <= LEAST, "{}", collector.all.capacity());
        add(&mut collector, vec![0; 10_000], Some(u64::MAX)).unwrap();
        assert!(collector.all.capacity() <= 10_002 * HEADROOM, "{}", collector.all.capacity());
    }

    #[test]
    fn a_true_announcement_costs_one_allocation() {
        let mut collector = Collector::new(1 << 20, Lease::default());
        let mut left = 1_u64 << 20;
        let mut capacities = std::collections::BTreeSet::new();
        for _ in 0..64 {
            left -= 16_384;
            add(&mut collector, vec![1; 16_384], Some(left)).unwrap();
            capacities.insert(collector.all.capacity());
        }
        assert_eq!(capacities.len(), 2, "none and one: {capacities:?}");
        assert_eq!(collector.finish().0.len(), 1 << 20);
    }
}
