//! A part of what a store in memory remembers.

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;

use super::super::answer::DoneAnswer;
use super::super::key::{ClaimToken, Key};
use super::super::store::Claim;
use super::answers::Answers;
use super::index::{Index, Vacancy};

/// The length of an answer's body that makes a delivery count once more, so that answers cannot
/// take much more memory than the capacity says.
const ANSWER_UNIT: usize = 512;

/// The deliveries whose keys fall into one part. Apart from the next one's, so that two processors
/// don't take one cache line from each other.
#[repr(align(128))]
pub(super) struct Shard {
    capacity: u64,
    hasher: KeyHasher,
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
    answers: Answers,
}

/// A cache line.
#[repr(align(64))]
struct Entry {
    key: Key,
    until: Moment,
    held: Held,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    fn is_claimed_by(&self, token: ClaimToken) -> bool {
        matches!(self.held, Held::Claim(owner) if owner == token)
    }
}

/// Nanoseconds since 1970, which last until 2554.
pub(super) type Moment = u64;

/// What is under a key.
enum Held {
    Claim(ClaimToken),
    Done {
        answer: u32,
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
    pub(super) fn new(capacity: u64, hasher: KeyHasher) -> Self {
        Self {
            capacity,
            hasher,
            weight: 0,
            index: Index::default(),
            entries: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            answers: Answers::default(),
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the place of a claim that is granted, and otherwise what the key belongs to.
    pub(super) fn claim(&mut self, key: Key, token: ClaimToken, now: Moment, until: Moment) -> Result<u32, Claim> {
        self.look_ahead();
        let place = match self.find(&key) {
            Ok(place) => place,
            Err(vacancy) => return Ok(self.insert(Entry { key, until, held: Held::Claim(token) }, vacancy)),
        };
        let entry = &self.entries[place as usize];
        match &entry.held {
            Held::Claim(owner) if *owner != token && entry.until > now => return Err(Claim::InFlight),
            Held::Done { answer, .. } if entry.until > now => {
                return Err(Claim::Done(self.answers.get(*answer).clone()));
            }
            _ => {}
        }
        self.set(place, Held::Claim(token), until);
        Ok(place)
    }

    pub(super) fn commit(
        &mut self,
        key: Key,
        token: ClaimToken,
        answer: &DoneAnswer,
        now: Moment,
        until: Moment,
    ) -> bool {
        let place = match self.find(&key) {
            Err(vacancy) => self.insert(Entry { key, until, held: Held::Claim(token) }, vacancy),
            Ok(place) => {
                let entry = &self.entries[place as usize];
                if !entry.is_claimed_by(token) && entry.until > now {
                    return false;
                }
                place
            }
        };
        self.finish(place, answer, now, until);
        true
    }

    /// As [`commit`](Self::commit), if the claim is still at this place. Otherwise nothing happens,
    /// and it is to be searched for.
    pub(super) fn commit_at(
        &mut self,
        place: u32,
        key: &Key,
        token: ClaimToken,
        answer: &DoneAnswer,
        now: Moment,
        until: Moment,
    ) -> bool {
        let is_there =
            self.entries.get(place as usize).is_some_and(|entry| entry.key == *key && entry.is_claimed_by(token));
        if is_there {
            self.finish(place, answer, now, until);
        }
        is_there
    }

    fn finish(&mut self, place: u32, answer: &DoneAnswer, now: Moment, until: Moment) {
        let answer = self.answers.add(answer);
        self.set(place, Held::Done { answer, older: NONE, newer: NONE }, until);
        self.evict(now);
    }

    pub(super) fn release(&mut self, key: Key, token: ClaimToken) {
        if let Ok(place) = self.find(&key)
            && self.entries[place as usize].is_claimed_by(token)
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

    /// Has the processor fetch what a commit needs to forget the oldest delivery of a shard that is
    /// full: where the index has it, and the one that is the oldest then. So long after they were
    /// used, they come from memory, as does the new key's line of the index, and are waited for
    /// together with it. A commit would wait for them alone, as it can't give back the lock
    /// before they are there.
    #[inline]
    fn look_ahead(&self) {
        if self.weight >= self.capacity
            && let Some(Entry { key, held: Held::Done { newer, .. }, .. }) = self.entries.get(self.oldest as usize)
        {
            black_box(self.index.start_of(self.hasher.index_hash(key)));
            black_box(self.entries.get(*newer as usize).map(|next| next.until));
        }
    }

    #[inline]
    fn find(&self, key: &Key) -> Result<u32, Vacancy> {
        self.index.find(self.hasher.index_hash(key), |place| self.entries[place as usize].key == *key)
    }

    /// Puts an entry under a key that was looked for and is free.
    #[inline]
    fn insert(&mut self, entry: Entry, vacancy: Vacancy) -> u32 {
        let hash = self.hasher.index_hash(&entry.key);
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
        self.index.insert(hash, place, vacancy);
        place
    }

    fn remove(&mut self, place: u32) {
        self.set(place, Held::Free { next: self.free }, 0);
        self.index.remove(self.hasher.index_hash(&self.entries[place as usize].key), place);
        self.free = place;
    }

    /// Puts something else into an entry, and what is done at the end of the list.
    fn set(&mut self, place: u32, held: Held, until: Moment) {
        let entry = &mut self.entries[place as usize];
        entry.until = until;
        let is_done = if let Held::Done { answer, .. } = &held { Some(*answer) } else { None };
        let before = std::mem::replace(&mut entry.held, held);
        if let Held::Done { answer, older, newer } = before {
            self.weight -= weight(self.answers.get(answer));
            self.answers.remove(answer);
            *self.newer_than(older) = newer;
            *self.older_than(newer) = older;
        }
        if let Some(answer) = is_done {
            self.weight += weight(self.answers.get(answer));
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

/// What a delivery with this answer counts for.
fn weight(answer: &DoneAnswer) -> u64 {
    1 + (answer.body().len() / ANSWER_UNIT) as u64
}

/// Hashes keys. A key is a digest already, so a part of it is as good as any; but a sender may
/// choose what it is a digest of, so the part is multiplied by a number that nobody knows.
#[derive(Clone, Copy)]
pub(super) struct KeyHasher {
    factor: u64,
}

impl KeyHasher {
    pub(super) fn new() -> Self {
        // Odd, so that every bit of the key counts.
        Self { factor: RandomState::new().hash_one(()) | 1 }
    }

    pub(super) fn hash(self, key: &Key) -> u64 {
        let start = key.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
        start.wrapping_mul(self.factor)
    }

    /// The part of a hash by which a shard is indexed. The shard was chosen by the other one.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    fn index_hash(self, key: &Key) -> u32 {
        (self.hash(key) >> 32) as u32
    }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::StatusCode;

    use super::*;

    /// The rules without any thought of speed: what is under each key, and the done ones in order.
    #[derive(Default)]
    struct Model {
        held: HashMap<u64, (Option<ClaimToken>, StatusCode, Moment)>,
        done: Vec<u64>,
    }

    impl Model {
        fn claim(&mut self, id: u64, token: ClaimToken, now: Moment, until: Moment) -> Claim {
            match self.held.get(&id) {
                Some((Some(owner), _, end)) if *owner != token && *end > now => return Claim::InFlight,
                Some((None, status, end)) if *end > now => return Claim::Done(answer(*status)),
                _ => self.forget(id),
            }
            self.held.insert(id, (Some(token), StatusCode::OK, until));
            Claim::Won
        }

        fn commit(&mut self, id: u64, token: ClaimToken, status: StatusCode, now: Moment, until: Moment) -> bool {
            if self.held.get(&id).is_some_and(|(owner, _, end)| *owner != Some(token) && *end > now) {
                return false;
            }
            self.forget(id);
            self.held.insert(id, (None, status, until));
            self.done.push(id);
            while self.done.len() > 1 && (self.done.len() > 10 || self.held[&self.done[0]].2 <= now) {
                self.forget(self.done[0]);
            }
            true
        }

        fn release(&mut self, id: u64, token: ClaimToken) {
            if self.held.get(&id).is_some_and(|(owner, ..)| *owner == Some(token)) {
                self.forget(id);
            }
        }

        fn forget(&mut self, id: u64) {
            self.held.remove(&id);
            self.done.retain(|done| *done != id);
        }
    }

    /// Answers with a body and such without one.
    fn answer(status: StatusCode) -> DoneAnswer {
        DoneAnswer::new(status).with_body(if status == StatusCode::OK { "" } else { status.as_str() }.to_owned())
    }

    #[test]
    fn whatever_comes_a_shard_does_what_the_rules_say() {
        let (mut shard, mut model, mut chance) = (Shard::new(10, KeyHasher::new()), Model::default(), 1_u64);
        let mut below = |end: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % end
        };
        let (tokens, mut now) = ([(); 3].map(|()| ClaimToken::new()), 0);
        // Where a claim was granted, whatever came of it since.
        let mut granted = HashMap::new();
        for _ in 0..100_000 {
            let (id, token) = (below(24), tokens[usize::try_from(below(3)).unwrap()]);
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&id.to_be_bytes());
            let (key, until) = (Key(bytes), now + 1 + below(30));
            match below(8) {
                0..3 => {
                    let claim = shard.claim(key, token, now, until).map(|place| {
                        granted.insert((id, token), place);
                        Claim::Won
                    });
                    assert_eq!(claim.unwrap_or_else(|taken| taken), model.claim(id, token, now, until));
                }
                3..6 => {
                    let status =
                        [StatusCode::OK, StatusCode::CREATED, StatusCode::ACCEPTED][usize::try_from(below(3)).unwrap()];
                    let answer = answer(status);
                    let at = granted.get(&(id, token)).copied().unwrap_or(NONE);
                    let committed = shard.commit_at(at, &key, token, &answer, now, until)
                        || shard.commit(key, token, &answer, now, until);
                    assert_eq!(committed, model.commit(id, token, status, now, until));
                }
                6 => {
                    shard.release(key, token);
                    model.release(id, token);
                }
                _ => now += below(5),
            }
            assert_eq!(shard.count(), (model.done.len(), model.held.len() - model.done.len()));
            assert_eq!(shard.weight(), model.done.len() as u64);
        }
        assert!(shard.entries() <= 24);
    }
}
