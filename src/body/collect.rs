//! Frames put together, with as few copies as their number allows.

use bytes::{Bytes, BytesMut};

use crate::reject::Reason;

/// Memory is taken for at most this many times what has arrived, so that many small frames cost few allocations and
/// an announced length costs nothing.
const HEADROOM: usize = 32;
/// The least that is taken at once, where the body may be that long.
const LEAST: usize = 4096;

/// Collects the frames of one body. One frame is handed on as it is; several are copied together, once where the
/// length was announced truly.
pub(super) struct Collector {
    limit: usize,
    first: Bytes,
    all: BytesMut,
}

impl Collector {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, first: Bytes::new(), all: BytesMut::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Adds a frame. `announced` is the length that the body claims to have from here on, and only ever a hint.
    pub(super) fn push(&mut self, frame: Bytes, announced: Option<u64>) -> Result<(), Reason> {
        let len = self.len() + frame.len();
        if len > self.limit {
            return Err(Reason::BodyTooLarge);
        }
        if frame.is_empty() {
            return Ok(());
        }
        if self.len() == 0 {
            self.first = frame;
            return Ok(());
        }
        if len > self.all.capacity() {
            let allowed = len.saturating_mul(HEADROOM).max(LEAST).min(self.limit);
            let wanted =
                announced.and_then(|more| usize::try_from(more).ok()).map_or(len * 2, |more| len.saturating_add(more));
            self.all.reserve(wanted.clamp(len, allowed.max(len)) - self.all.len());
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&frame);
        Ok(())
    }

    pub(super) fn finish(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(limit: usize, frames: &[&'static [u8]]) -> Result<Bytes, Reason> {
        let mut collector = Collector::new(limit);
        for frame in frames {
            collector.push(Bytes::from_static(frame), None)?;
        }
        Ok(collector.finish())
    }

    #[test]
    fn one_frame_is_not_copied() {
        let frame = Bytes::from(vec![7; 100]);
        let mut collector = Collector::new(100);
        collector.push(Bytes::new(), None).unwrap();
        collector.push(frame.clone(), None).unwrap();
        collector.push(Bytes::new(), None).unwrap();
        assert_eq!(collector.finish().as_ptr(), frame.as_ptr());
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
        let mut collector = Collector::new(usize::MAX);
        collector.push(Bytes::from_static(b"a"), Some(u64::MAX)).unwrap();
        assert_eq!(collector.all.capacity(), 0);
        collector.push(Bytes::from_static(b"b"), Some(u64::MAX)).unwrap();
        assert!(collector.all.capacity() <= LEAST, "{}", collector.all.capacity());
        collector.push(Bytes::from(vec![0; 10_000]), Some(u64::MAX)).unwrap();
        assert!(collector.all.capacity() <= 10_002 * HEADROOM, "{}", collector.all.capacity());
    }

    #[test]
    fn a_true_announcement_costs_one_allocation() {
        let mut collector = Collector::new(1 << 20);
        let mut left = 1_u64 << 20;
        let mut capacities = std::collections::BTreeSet::new();
        for _ in 0..64 {
            left -= 16_384;
            collector.push(Bytes::from(vec![1; 16_384]), Some(left)).unwrap();
            capacities.insert(collector.all.capacity());
        }
        assert_eq!(capacities.len(), 2, "none and one: {capacities:?}");
        assert_eq!(collector.finish().len(), 1 << 20);
    }
}
