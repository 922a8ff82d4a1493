//! A bounded hash table of tenants.

use std::sync::Arc;

use super::keyring::Kept;

/// A table of what is kept of tenants, which forgets those that were not used for long.
///
/// A slot has the hash beside the pointer, so that a hit waits for memory twice: for the slot, and
/// for what it points to. What is removed leaves no mark. If the table is full, a hand goes round
/// over the slots, as in the algorithm "clock": what was used since it last came by is spared.
pub(super) struct Table<T: ?Sized> {
    /// None, or a power of two, of which at most four in five are taken.
    slots: Vec<Slot<T>>,
    len: usize,
    most: usize,
    hand: usize,
}

struct Slot<T: ?Sized> {
    hash: u32,
    was_used: bool,
    kept: Option<Arc<Kept<T>>>,
}

const FEWEST_SLOTS: usize = 16;

impl<T: ?Sized> Table<T> {
    /// Creates a table of so many tenants at most, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), len: 0, most: most.max(1), hand: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&mut self, hash: u64, key: &[u8]) -> Option<&Arc<Kept<T>>> {
        let position = self.position(upper(hash), key)?;
        let slot = &mut self.slots[position];
        slot.was_used = true;
        slot.kept.as_ref()
    }

    pub(super) fn insert(&mut self, hash: u64, kept: Arc<Kept<T>>) {
        let hash = upper(hash);
        if let Some(position) = self.position(hash, &kept.key) {
            self.slots[position].kept = Some(kept);
            return;
        }
        if self.len >= self.most {
            self.evict();
        }
        if 5 * self.len >= 4 * self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(Slot { hash, was_used: false, kept: Some(kept) });
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Some(position) = self.position(upper(hash), key) {
            self.remove_at(position);
        }
    }

    #[inline]
    fn position(&self, hash: u32, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut position = self.home(hash);
        loop {
            let slot = &self.slots[position];
            let kept = slot.kept.as_ref()?;
            if slot.hash == hash && kept.key[..] == *key {
                return Some(position);
            }
            position = self.next(position);
        }
    }

    /// Removes what the hand finds that was not used since it last came by.
    fn evict(&mut self) {
        loop {
            let hand = self.hand;
            let slot = &mut self.slots[hand];
            if slot.kept.is_some() && !std::mem::take(&mut slot.was_used) {
                return self.remove_at(hand);
            }
            self.hand = self.next(hand);
        }
    }

    /// Empties a slot. What follows moves up, unless it is nearer to its home than that.
    fn remove_at(&mut self, mut hole: usize) {
        self.slots[hole].kept = None;
        self.len -= 1;
        let mut position = hole;
        loop {
            position = self.next(position);
            let slot = &self.slots[position];
            if slot.kept.is_none() {
                return;
            }
            if self.distance(self.home(slot.hash), position) >= self.distance(hole, position) {
                self.slots.swap(hole, position);
                hole = position;
            }
        }
    }

    fn put(&mut self, slot: Slot<T>) {
        let mut position = self.home(slot.hash);
        while self.slots[position].kept.is_some() {
            position = self.next(position);
        }
        self.slots[position] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let len = (2 * self.slots.len()).max(FEWEST_SLOTS);
        let free = || Slot { hash: 0, was_used: false, kept: None };
        let before = std::mem::replace(&mut self.slots, std::iter::repeat_with(free).take(len).collect());
        self.hand = 0;
        before.into_iter().filter(|slot| slot.kept.is_some()).for_each(|slot| self.put(slot));
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

#[allow(clippy::cast_possible_truncation, reason = "it is half of it")]
fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::SystemTime;

    use super::*;

    fn kept(key: u32, value: u32) -> Arc<Kept<u32>> {
        let key = key.to_le_bytes()[..].into();
        Arc::new(Kept { key, found: SystemTime::UNIX_EPOCH, failed: None, value })
    }

    /// Few hashes, at both ends of a table, so that they collide and run over its end.
    fn hash(key: u32) -> u64 {
        u64::from((key % 64).wrapping_sub(32).wrapping_mul(0x0040_0000)) << 32
    }

    #[test]
    fn it_finds_what_a_map_would_find_however_much_comes_and_goes() {
        let (mut table, mut map, mut chance) = (Table::new(1000), HashMap::new(), 1_u64);
        for value in 0..20_000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = u32::try_from(chance >> 54).unwrap() % 300;
            if chance & 0x0100_0000 == 0 {
                table.insert(hash(key), kept(key, value));
                map.insert(key, value);
            } else {
                table.remove(hash(key), &key.to_le_bytes());
                map.remove(&key);
            }
            let found = table.get(hash(key), &key.to_le_bytes()).map(|kept| kept.value);
            assert_eq!((found, table.len()), (map.get(&key).copied(), map.len()));
        }
        for (key, value) in map {
            assert_eq!(table.get(hash(key), &key.to_le_bytes()).unwrap().value, value);
        }
    }

    #[test]
    fn a_full_table_forgets_what_was_not_used() {
        let mut table = Table::new(100);
        for key in 0..100_000 {
            table.insert(hash(key), kept(key, key));
            assert!(table.len() <= 100);
            // One is used all the time.
            assert_eq!(table.get(hash(0), &0_u32.to_le_bytes()).unwrap().value, 0);
        }
        assert_eq!(table.len(), 100);
        assert!(table.get(hash(99_999), &99_999_u32.to_le_bytes()).is_some());
        assert!(table.get(hash(1), &1_u32.to_le_bytes()).is_none());
    }
}
