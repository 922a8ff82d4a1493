//! Where the entries of a shard are, by the hashes of their keys.

/// A hash table of places. It knows nothing of what is there, so that it stays small enough for the
/// processor's caches: 8 bytes a slot, of which at most four in five are taken.
///
/// Collisions go to the next free slot, and what is removed leaves no mark, so a table in which
/// much comes and goes stays as good as new.
#[derive(Default)]
pub(super) struct Index {
    /// None, or a power of two.
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    place: u32,
}

/// The place of a slot that is free. No entry is there.
const FREE: u32 = u32::MAX;

const FEWEST_SLOTS: usize = 16;

impl Index {
    /// Returns the place with this hash that is the right one.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, is_right).map(|position| self.slots[position].place)
    }

    /// Adds a place that isn't there yet.
    #[inline]
    pub(super) fn insert(&mut self, hash: u32, place: u32) {
        if 5 * self.len >= 4 * self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(Slot { hash, place });
    }

    /// Removes a place. What follows it moves up, unless it is nearer to its home than that.
    pub(super) fn remove(&mut self, hash: u32, place: u32) {
        let Some(mut hole) = self.position(hash, |found| found == place) else { return };
        let mut position = hole;
        loop {
            position = self.next(position);
            let slot = self.slots[position];
            if slot.place == FREE {
                break;
            }
            if self.distance(self.home(slot.hash), position) >= self.distance(hole, position) {
                self.slots[hole] = slot;
                hole = position;
            }
        }
        self.slots[hole].place = FREE;
        self.len -= 1;
    }

    #[inline]
    fn position(&self, hash: u32, is_right: impl Fn(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut position = self.home(hash);
        loop {
            let slot = self.slots[position];
            if slot.place == FREE {
                return None;
            }
            if slot.hash == hash && is_right(slot.place) {
                return Some(position);
            }
            position = self.next(position);
        }
    }

    fn put(&mut self, slot: Slot) {
        let mut position = self.home(slot.hash);
        while self.slots[position].place != FREE {
            position = self.next(position);
        }
        self.slots[position] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![Slot { hash: 0, place: FREE }; (2 * self.slots.len()).max(FEWEST_SLOTS)];
        let before = std::mem::replace(&mut self.slots, slots);
        before.into_iter().filter(|slot| slot.place != FREE).for_each(|slot| self.put(slot));
    }

    /// The slot of a hash that is alone: its highest bits.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        (hash >> (32 - self.slots.len().trailing_zeros())) as usize
    }

    #[inline]
    fn next(&self, position: usize) -> usize {
        (position + 1) & (self.slots.len() - 1)
    }

    /// How many steps it is from one slot to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_a_map_would_find_however_much_comes_and_goes() {
        let (mut index, mut map, mut chance) = (Index::default(), HashMap::new(), 1_u64);
        for place in 0..20_000_u32 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few hashes at both ends of the table, so that they collide, and run over its end.
            let hash = u32::try_from(chance >> 58).unwrap().wrapping_sub(32).wrapping_mul(0x0040_0000);
            index.insert(hash, place);
            map.insert(place, hash);
            if map.len() > 100 {
                let gone = *map.keys().min_by_key(|place| place.wrapping_mul(0x9e37_79b9)).unwrap();
                let hash = map.remove(&gone).unwrap();
                index.remove(hash, gone);
                assert_eq!(index.find(hash, |place| place == gone), None);
            }
            if place % 97 == 0 {
                for (place, hash) in &map {
                    assert_eq!(index.find(*hash, |found| found == *place), Some(*place));
                }
            }
        }
        assert_eq!((index.len, index.slots.len()), (100, 128));
    }
}
