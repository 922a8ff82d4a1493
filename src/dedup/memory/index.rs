//! Where the entries of a shard are, by the hashes of their keys.

/// A hash table of places. It knows nothing of what is there, so that it stays small enough for the
/// processor's caches, without which each look would wait for memory: 4 bytes a slot, of which at
/// most four in five are taken.
///
/// Collisions go to the next free slot, and what is removed leaves no mark, so a table in which
/// much comes and goes stays as good as new.
#[derive(Default)]
pub(super) struct Index {
    /// None, or a power of two. A slot has a place in its lower bits, as many as a slot's number
    /// has, and above them the start of the hash. Up to 65,536 slots, that is enough to tell where
    /// it belongs; with more of them, slots in a row belong to one start.
    slots: Vec<u32>,
    len: usize,
}

/// The slot where what was looked for would be, until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vacancy(usize);

/// A slot that is free. As the places that were ever taken are fewer than the slots, none has
/// these bits.
const FREE: u32 = u32::MAX;

const FEWEST_SLOTS: usize = 16;

impl Index {
    /// Returns the place with this hash that is the right one, or where it would be. Some others
    /// are asked for as well.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_right: impl Fn(u32) -> bool) -> Result<u32, Vacancy> {
        let position = self.position(hash, is_right)?;
        Ok(self.slots[position] & self.place_bits())
    }

    /// Adds a place that was just looked for and isn't there. Places are given out from 0, without
    /// gaps.
    #[inline]
    pub(super) fn insert(&mut self, hash: u32, place: u32, vacancy: Vacancy) {
        let Vacancy(mut position) = vacancy;
        if 5 * self.len >= 4 * self.slots.len() {
            self.grow();
            position = self.vacant(hash);
        }
        self.len += 1;
        self.slots[position] = hash & !self.place_bits() | place;
    }

    /// Removes a place. What follows it moves up, unless it is nearer to its home than that.
    pub(super) fn remove(&mut self, hash: u32, place: u32) {
        let Ok(mut hole) = self.position(hash, |found| found == place) else { return };
        let mut position = hole;
        loop {
            position = self.next(position);
            let slot = self.slots[position];
            if slot == FREE {
                break;
            }
            if self.distance(self.home(slot), position) >= self.distance(hole, position) {
                self.slots[hole] = slot;
                hole = position;
            }
        }
        self.slots[hole] = FREE;
        self.len -= 1;
    }

    /// Returns what is in the slot where a search for this hash starts.
    #[inline]
    pub(super) fn start_of(&self, hash: u32) -> Option<u32> {
        self.slots.get(self.home(hash)).copied()
    }

    #[inline]
    fn position(&self, hash: u32, is_right: impl Fn(u32) -> bool) -> Result<usize, Vacancy> {
        if self.slots.is_empty() {
            return Err(Vacancy(0));
        }
        let place_bits = self.place_bits();
        let mut position = self.home(hash);
        loop {
            let slot = self.slots[position];
            if slot == FREE {
                return Err(Vacancy(position));
            }
            if (slot ^ hash) & !place_bits == 0 && is_right(slot & place_bits) {
                return Ok(position);
            }
            position = self.next(position);
        }
    }

    fn vacant(&self, hash: u32) -> usize {
        let mut position = self.home(hash);
        while self.slots[position] != FREE {
            position = self.next(position);
        }
        position
    }

    #[cold]
    fn grow(&mut self) {
        let (place_bits, slots) = (self.place_bits(), vec![FREE; (2 * self.slots.len()).max(FEWEST_SLOTS)]);
        for slot in std::mem::replace(&mut self.slots, slots).into_iter().filter(|slot| *slot != FREE) {
            // Where there is a bit more for the place, there is one less for the hash.
            let position = self.vacant(slot);
            self.slots[position] = slot & !self.place_bits() | slot & place_bits;
        }
    }

    /// The bits of a slot that are its place.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "so many slots would be 16 GiB")]
    fn place_bits(&self) -> u32 {
        (self.slots.len() as u32).wrapping_sub(1)
    }

    /// The slot of a hash that is alone: its highest bits.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((hash & !self.place_bits()) >> (32 - self.slots.len().trailing_zeros())) as usize
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
        // A place is taken again once it is free, as a shard does.
        let mut free = None;
        for round in 0..20_000_usize {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few hashes at both ends of the table, so that they collide, and run over its end.
            let hash = u32::try_from(chance >> 58).unwrap().wrapping_sub(32).wrapping_mul(0x0040_0000);
            let place = free.take().unwrap_or(u32::try_from(map.len()).unwrap());
            let vacancy = index.find(hash, |found| found == place).unwrap_err();
            index.insert(hash, place, vacancy);
            map.insert(place, hash);
            if map.len() > 100 {
                let gone = u32::try_from(chance >> 33).unwrap() % 101;
                let hash = map.remove(&gone).unwrap();
                index.remove(hash, gone);
                assert!(index.find(hash, |place| place == gone).is_err());
                free = Some(gone);
            }
            if round % 97 == 0 {
                for (place, hash) in &map {
                    assert_eq!(index.find(*hash, |found| found == *place), Ok(*place));
                }
            }
        }
        assert_eq!((index.len, index.slots.len()), (100, 128));
    }

    #[test]
    fn with_more_places_than_a_slot_has_room_for_hashes_it_finds_all_of_them() {
        let (mut index, hash_of) = (Index::default(), |place: u32| place.wrapping_mul(0x9e37_79b9));
        for place in 0..200_000 {
            let vacancy = index.find(hash_of(place), |found| found == place).unwrap_err();
            index.insert(hash_of(place), place, vacancy);
        }
        assert_eq!(index.slots.len(), 1 << 18);
        (0..200_000).step_by(2).for_each(|place| index.remove(hash_of(place), place));
        for place in 0..200_000 {
            let found = index.find(hash_of(place), |found| found == place);
            assert_eq!(found.ok(), (place % 2 == 1).then_some(place));
        }
    }
}
