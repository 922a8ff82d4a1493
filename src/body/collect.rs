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

/// A body of unknown length is no longer copied together as it arrives once it has this length: its
/// frames are kept, and joined at the end. A buffer would have to double again and again.
const KEEP_FROM: usize = 64 * 1024;
/// Frames shorter than this are copied together anyway. What keeps a frame alive may be the whole
/// buffer that the server has read it into.
const MIN_KEPT: usize = 4096;
/// The size of the buffers for such frames.
const TAIL: usize = 64 * 1024;

/// Collects the frames of one body. A single frame is passed on as it is. Several are copied
/// together, once if the announced length is true or if they are long.
#[derive(Default)]
pub(super) struct Collector {
    collected: Collected,
    lease: Lease,
}

// In two steps, so that what tells the kinds apart is within them: a request that waits holds
// nothing beside.
enum Collected {
    /// The only frame so far. Empty if there is none.
    One(Bytes),
    Several(Several),
}

enum Several {
    Joined(Vec<u8>),
    /// Boxed, because it is rare and every body is received in room for it.
    Kept(Box<Frames>),
}

impl Default for Collected {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

/// Frames of a body whose length is not known, and a buffer for short ones behind them.
struct Frames {
    frames: Vec<Bytes>,
    tail: Vec<u8>,
    len: usize,
    /// What the buffers have beyond what is in them.
    unused: usize,
}

impl Frames {
    fn new(start: Bytes, unused: usize) -> Self {
        Self { len: start.len(), frames: vec![start], tail: Vec::new(), unused }
    }

    fn push(&mut self, frame: Bytes) {
        self.len += frame.len();
        if frame.len() <= self.tail.capacity() - self.tail.len() {
            self.unused -= frame.len();
            self.tail.extend_from_slice(&frame);
            return;
        }
        if !self.tail.is_empty() {
            self.frames.push(mem::take(&mut self.tail).into());
        }
        if frame.len() < MIN_KEPT {
            self.tail.reserve_exact(TAIL);
            self.tail.extend_from_slice(&frame);
            self.unused += self.tail.capacity() - frame.len();
        } else {
            self.frames.push(frame);
        }
    }

    /// Hands on what comes after the first `from` bytes.
    fn each_since(&self, from: usize, mut take: impl FnMut(&[u8])) {
        let mut left = self.len - from;
        let tail_from = self.tail.len().saturating_sub(left);
        left -= self.tail.len() - tail_from;
        let mut first = self.frames.len();
        let mut skipped = 0;
        while left > 0 {
            first -= 1;
            skipped = self.frames[first].len().saturating_sub(left);
            left -= self.frames[first].len() - skipped;
        }
        for frame in &self.frames[first..] {
            take(&frame[mem::take(&mut skipped)..]);
        }
        if tail_from < self.tail.len() {
            take(&self.tail[tail_from..]);
        }
    }

    /// Joins the frames, each of which is given back once it was copied.
    fn join(&mut self) -> Vec<u8> {
        let mut joined = Vec::new();
        joined.reserve_exact(self.len);
        mem::take(&mut self.frames).into_iter().for_each(|frame| joined.extend_from_slice(&frame));
        joined.extend_from_slice(&mem::take(&mut self.tail));
        joined
    }
}

impl Collector {
    pub(super) fn new(lease: Lease) -> Self {
        Self { collected: Collected::default(), lease }
    }

    /// Returns how much has arrived.
    pub(super) fn len(&self) -> usize {
        match &self.collected {
            Collected::One(frame) => frame.len(),
            Collected::Several(Several::Joined(joined)) => joined.len(),
            Collected::Several(Several::Kept(kept)) => kept.len,
        }
    }

    /// Hands on what has arrived after the first `from` bytes.
    pub(super) fn each_since(&self, from: usize, mut take: impl FnMut(&[u8])) {
        match &self.collected {
            Collected::One(frame) => take(&frame[from..]),
            Collected::Several(Several::Joined(joined)) => take(&joined[from..]),
            Collected::Several(Several::Kept(kept)) => kept.each_since(from, take),
        }
    }

    /// Adds a frame, up to this limit in all. `announced` is the length that the body claims to
    /// have after it, a mere hint.
    #[inline]
    pub(super) fn push(
        &mut self,
        frame: Bytes,
        limit: usize,
        announced: impl Fn() -> Option<u64>,
    ) -> Result<(), Reason> {
        let len = self.len().saturating_add(frame.len());
        if len > limit {
            return Err(Reason::BodyTooLarge);
        }
        match &mut self.collected {
            Collected::One(first) if first.is_empty() => {
                self.lease.hold(len)?;
                *first = frame;
            }
            _ if frame.is_empty() => {}
            Collected::One(first) if len >= KEEP_FROM && announced().is_none() => {
                let mut kept = Box::new(Frames::new(mem::take(first), 0));
                kept.push(frame);
                self.lease.hold(kept.len + kept.unused)?;
                self.collected = Collected::Several(Several::Kept(kept));
            }
            Collected::One(first) => {
                let capacity = capacity(len, announced(), limit);
                // The first frame is still there while it is copied.
                self.lease.hold(capacity.saturating_add(first.len()))?;
                let mut joined = Vec::new();
                joined.reserve_exact(capacity);
                joined.extend_from_slice(first);
                joined.extend_from_slice(&frame);
                self.collected = Collected::Several(Several::Joined(joined));
            }
            Collected::Several(Several::Joined(joined))
                if len > joined.capacity().max(KEEP_FROM) && announced().is_none() =>
            {
                let unused = joined.capacity() - joined.len();
                let mut kept = Box::new(Frames::new(mem::take(joined).into(), unused));
                kept.push(frame);
                self.lease.hold(kept.len + kept.unused)?;
                self.collected = Collected::Several(Several::Kept(kept));
            }
            Collected::Several(Several::Kept(kept)) => {
                kept.push(frame);
                self.lease.hold(kept.len + kept.unused)?;
            }
            Collected::Several(Several::Joined(joined)) => {
                if len > joined.capacity() {
                    let capacity = capacity(len, announced(), limit);
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

    /// Joins what is there as a whole, and keeps its memory.
    #[inline]
    pub(super) fn complete(&mut self) -> Result<(), Reason> {
        if let Collected::Several(Several::Kept(kept)) = &mut self.collected {
            // The frames are still there while they are copied.
            self.lease.hold(kept.len + kept.unused + kept.len)?;
            self.collected = Collected::Several(Several::Joined(kept.join()));
        }
        self.lease.complete()
    }

    /// Puts the body where it stays, and returns the memory that is accounted for it.
    #[inline]
    pub(super) fn finish(&mut self, body: &mut Bytes) -> Lease {
        match &mut self.collected {
            // Nearly every body. Exchanged, as a copy of what was just written is waited for.
            Collected::One(frame) => mem::swap(body, frame),
            Collected::Several(Several::Joined(joined)) => *body = mem::take(joined).into(),
            Collected::Several(Several::Kept(kept)) => *body = kept.join().into(),
        }
        mem::take(&mut self.lease)
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
        collector.push(frame.into(), usize::MAX, || announced)
    }

    fn joined_capacity(collector: &Collector) -> usize {
        match &collector.collected {
            Collected::One(_) => 0,
            Collected::Several(Several::Joined(joined)) => joined.capacity(),
            Collected::Several(Several::Kept(_)) => panic!("its length was announced"),
        }
    }

    fn body_of(mut collector: Collector) -> Bytes {
        let mut body = Bytes::new();
        collector.finish(&mut body);
        body
    }

    fn collect(limit: usize, frames: &[&'static [u8]]) -> Result<Bytes, Reason> {
        let mut collector = Collector::default();
        for &frame in frames {
            collector.push(frame.into(), limit, || None)?;
        }
        Ok(body_of(collector))
    }

    #[test]
    fn one_frame_is_not_copied() {
        let frame = Bytes::from(vec![7; 100]);
        let mut collector = Collector::default();
        add(&mut collector, "", None).unwrap();
        add(&mut collector, frame.clone(), None).unwrap();
        add(&mut collector, "", None).unwrap();
        assert_eq!(body_of(collector).as_ptr(), frame.as_ptr());
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
        let mut collector = Collector::default();
        add(&mut collector, "a", Some(u64::MAX)).unwrap();
        assert_eq!(joined_capacity(&collector), 0);
        add(&mut collector, "b", Some(u64::MAX)).unwrap();
        assert!(joined_capacity(&collector) <= MIN_CAPACITY, "{}", joined_capacity(&collector));
        add(&mut collector, vec![0; 10_000], Some(u64::MAX)).unwrap();
        assert!(joined_capacity(&collector) <= 10_002 * MAX_HEADROOM, "{}", joined_capacity(&collector));
    }

    #[test]
    fn frames_of_an_unknown_length_are_fed_and_joined_in_their_order() {
        let mut bytes = (0_u8..=250).cycle();
        for sizes in [
            &[70_000, 5_000, 1, 2, 4_095, 4_096, 70_000, 3][..],
            &[1, 1, 70_000, 1, 1],
            &[4_000; 40],
            &[16_384; 20],
            &[100_000, 1, 80_000, 1, 80_000],
        ] {
            let frames: Vec<Bytes> = sizes.iter().map(|size| bytes.by_ref().take(*size).collect()).collect();
            let mut collector = Collector::default();
            let (mut fed, mut seen) = (0, Vec::new());
            for (place, frame) in frames.iter().enumerate() {
                collector.push(frame.clone(), usize::MAX, || None).unwrap();
                if place > 0 {
                    collector.each_since(fed, |part| seen.extend_from_slice(part));
                    fed = collector.len();
                }
            }
            collector.complete().unwrap();
            assert!(seen == frames.concat() && body_of(collector) == seen, "{sizes:?}");
        }
    }

    #[test]
    fn short_frames_of_an_unknown_length_keep_no_more_memory_than_twice_what_arrived() {
        let mut collector = Collector::default();
        let mut len = 0;
        for size in [70_000].into_iter().chain([1, 4_096].repeat(200)).chain([1_000; 300]) {
            add(&mut collector, vec![1; size], None).unwrap();
            len += size;
            if let Collected::Several(Several::Kept(kept)) = &collector.collected {
                assert_eq!(kept.len, len);
                assert!(kept.unused <= len, "{} unused of {len}", kept.unused);
                let buffers = kept.frames.len() + usize::from(!kept.tail.is_empty());
                assert!(buffers <= 2 + len / MIN_KEPT, "{buffers} buffers");
            }
        }
    }

    #[test]
    fn a_true_announcement_costs_one_allocation() {
        let mut collector = Collector::default();
        let mut left = 1_u64 << 20;
        let mut capacities = std::collections::BTreeSet::new();
        for _ in 0..64 {
            left -= 16_384;
            add(&mut collector, vec![1; 16_384], Some(left)).unwrap();
            capacities.insert(joined_capacity(&collector));
        }
        assert_eq!(capacities.len(), 2, "none and one: {capacities:?}");
        assert_eq!(body_of(collector).len(), 1 << 20);
    }
}
