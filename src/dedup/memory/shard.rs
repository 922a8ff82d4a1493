//! A part of what a store in memory remembers.

use std::sync::Arc;

use http::StatusCode;

use super::super::answer::DoneAnswer;
use super::super::key::{ClaimToken, Key};
use super::super::store::Claim;
use super::index::Index;

/// The length of an answer's body that makes a delivery count once more, so that answers cannot
/// take much more memory than the capacity says.
const ANSWER_UNIT: usize = 512;

/// The deliveries whose keys fall into one part. Apart from the next one's, so that two processors
/// don't take one cache line from each other.
#[repr(align(128))]
pub(super) struct Shard {
    capacity: u64,
    /// What the done deliveries count for.
    weight: u64,
    index: Index,
    /// What was freed is taken again first, so that in the long run the done deliveries lie in
    /// their order.
    entries: Vec<Entry>,
    /// The entry that was freed last.
    free: u32,
    /// The ends of the list of done deliveries.
    oldest: u32,
    newest: u32,
    /// The last answer that was kept. Most handlers give the same one each time, and it is shared.
    last_answer: Option<Arc<DoneAnswer>>,
}

/// A cache line.
#[repr(align(64))]
struct Entry {
    key: Key,
    until: Moment,
    held: Held,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// Nanoseconds since 1970, which last until 2554.
pub(super) type Moment = u64;

/// What is under a key.
enum Held {
    Claim(ClaimToken),
    Done {
        status: StatusCode,
        /// Unless it is a mere status.
        answer: Option<Arc<DoneAnswer>>,
        /// The neighbours in the list.
        older: u32,
        newer: u32,
    },
    /// Nothing, and the entry that was freed before this one.
    Free {
        next: u32,
    },
}

/// The place of no entry.
const NONE: u32 = u32::MAX;

impl Shard {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            weight: 0,
            index: Index::default(),
            entries: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            last_answer: None,
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn claim(&mut self, key: Key, token: ClaimToken, now: Moment, until: Moment) -> Claim {
        let Some(place) = self.find(&key) else {
            self.insert(Entry { key, until, held: Held::Claim(token) });
            return Claim::Won;
        };
        let entry = &self.entries[place as usize];
        match &entry.held {
            Held::Claim(owner) if *owner != token && entry.until > now => return Claim::InFlight,
            Held::Done { status, answer, .. } if entry.until > now => {
                return Claim::Done(answer.as_ref().map_or_else(|| DoneAnswer::new(*status), |it| (**it).clone()));
            }
            _ => {}
        }
        self.set(place, Held::Claim(token), until);
        Claim::Won
    }

    pub(super) fn commit(
        &mut self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        now: Moment,
        until: Moment,
    ) -> bool {
        let place = match self.find(&key) {
            None => self.insert(Entry { key, until, held: Held::Claim(token) }),
            Some(place) => {
                let entry = &self.entries[place as usize];
                let is_others = !matches!(entry.held, Held::Claim(owner) if owner == token);
                if is_others && entry.until > now {
                    return false;
                }
                place
            }
        };
        let (status, answer) = (answer.status(), self.shared(answer));
        self.set(place, Held::Done { status, answer, older: NONE, newer: NONE }, until);
        self.evict(now);
        true
    }

    pub(super) fn release(&mut self, key: Key, token: ClaimToken) {
        if let Some(place) = self.find(&key)
            && matches!(self.entries[place as usize].held, Held::Claim(owner) if owner == token)
        {
            self.remove(place);
        }
    }

    /// Forgets what is over the capacity and what has expired, the oldest first. What was committed
    /// last stays.
    fn evict(&mut self, now: Moment) {
        while self.oldest != self.newest {
            if self.weight <= self.capacity && self.entries[self.oldest as usize].until > now {
                return;
            }
            self.remove(self.oldest);
        }
    }

    /// What is kept of an answer: nothing of a mere status.
    fn shared(&mut self, answer: DoneAnswer) -> Option<Arc<DoneAnswer>> {
        if answer.is_mere_status() {
            return None;
        }
        match &self.last_answer {
            Some(last) if **last == answer => {}
            _ => self.last_answer = Some(Arc::new(answer)),
        }
        self.last_answer.clone()
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.index.find(index_hash(key), |place| self.entries[place as usize].key == *key)
    }

    /// Puts an entry under a key that is free.
    fn insert(&mut self, entry: Entry) -> u32 {
        let hash = index_hash(&entry.key);
        let mut place = self.free;
        match self.entries.get_mut(place as usize) {
            Some(freed) => {
                if let Held::Free { next } = std::mem::replace(freed, entry).held {
                    self.free = next;
                }
            }
            None => {
                #[allow(clippy::cast_possible_truncation, reason = "so many entries would be 256 GiB")]
                let end = self.entries.len() as u32;
                place = end;
                self.entries.push(entry);
            }
        }
        self.index.insert(hash, place);
        place
    }

    fn remove(&mut self, place: u32) {
        self.set(place, Held::Free { next: self.free }, 0);
        self.index.remove(index_hash(&self.entries[place as usize].key), place);
        self.free = place;
    }

    /// Puts something else into an entry, and what is done at the end of the list.
    fn set(&mut self, place: u32, held: Held, until: Moment) {
        let entry = &mut self.entries[place as usize];
        entry.until = until;
        let before = std::mem::replace(&mut entry.held, held);
        self.weight -= before.weight();
        if let Held::Done { older, newer, .. } = before {
            *self.newer_than(older) = newer;
            *self.older_than(newer) = older;
        }
        let held = &self.entries[place as usize].held;
        self.weight += held.weight();
        if let Held::Done { .. } = held {
            let last = self.newest;
            *self.newer_than(last) = place;
            *self.older_than(place) = last;
            self.newest = place;
        }
    }

    /// Where it is noted which delivery is newer than this one. Than none is the oldest.
    fn newer_than(&mut self, place: u32) -> &mut u32 {
        match self.entries.get_mut(place as usize) {
            Some(Entry { held: Held::Done { newer, .. }, .. }) => newer,
            _ => &mut self.oldest,
        }
    }

    /// Where it is noted which delivery is older than this one. Than none is the newest.
    fn older_than(&mut self, place: u32) -> &mut u32 {
        match self.entries.get_mut(place as usize) {
            Some(Entry { held: Held::Done { older, .. }, .. }) => older,
            _ => &mut self.newest,
        }
    }
}

impl Held {
    fn weight(&self) -> u64 {
        match self {
            Self::Claim(_) | Self::Free { .. } => 0,
            Self::Done { answer, .. } => {
                1 + answer.as_ref().map_or(0, |answer| (answer.body().len() / ANSWER_UNIT) as u64)
            }
        }
    }
}

/// A hash of a key. The key is a digest already, so a part of it is as good as any.
pub(super) fn hash(key: &Key) -> u64 {
    let start = key.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    start.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The part of a hash by which a shard is indexed. The shard was chosen by the other one.
#[allow(clippy::cast_possible_truncation, reason = "the upper half")]
fn index_hash(key: &Key) -> u32 {
    (hash(key) >> 32) as u32
}

#[cfg(test)]
impl Shard {
    /// Returns how many deliveries are done, and how many claims there are.
    pub(super) fn count(&self) -> (usize, usize) {
        let count = |is: fn(&Held) -> bool| self.entries.iter().filter(|entry| is(&entry.held)).count();
        (count(|held| matches!(held, Held::Done { .. })), count(|held| matches!(held, Held::Claim(_))))
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Returns how many entries there is memory for.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }
}
