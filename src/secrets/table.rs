//! A bounded hash table of tenants.

use std::hint::black_box;

use super::name::Name;

/// A table of what is kept of tenants, which forgets those that were not used for long.
///
/// A tenant's row is in the table itself, so that a hit waits for memory once. What is removed
/// leaves no mark, and is dropped where it was. If the table is full, a hand goes round over the
/// slots, as in the algorithm "clock": what was used since it last came by is spared.
pub(super) struct Table<R> {
    /// None, or a power of two, of which at most four in five are taken.
    slots: Vec<Option<R>>,
    len: usize,
    most: usize,
    hand: usize,
}

/// What is kept of a tenant.
pub(super) trait Row: Clone {
    fn name(&self) -> Name;

    /// Whether it was used since the hand last came by.
    fn was_used(&mut self) -> &mut bool;
}

const FEWEST_SLOTS: usize = 16;

impl<R: Row> Table<R> {
    /// Creates a table of so many tenants at most, at least one.
    #[inline]
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), len: 0, most: most.max(1), hand: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&mut self, name: Name) -> Option<&mut R> {
        let position = self.position(name)?;
        let row = self.slots[position].as_mut()?;
        // Mostly it is set, and what isn't written needn't be written back to memory.
        if !*row.was_used() {
            *row.was_used() = true;
        }
        Some(row)
    }

    pub(super) fn insert(&mut self, mut row: R) {
        let name = row.name();
        if let Some(position) = self.position(name) {
            let slot = &mut self.slots[position];
            *row.was_used() = slot.as_mut().is_some_and(|before| *before.was_used());
            *slot = Some(row);
            return;
        }
        if self.len >= self.most {
            self.evict();
        }
        if 5 * self.len >= 4 * self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(row);
    }

    pub(super) fn remove(&mut self, name: Name) {
        if let Some(position) = self.position(name) {
            self.remove_at(position);
        }
    }

    #[inline]
    fn position(&self, name: Name) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut position = self.home(name);
        // Every third row or so is not in its home but behind it. Read in advance, both are fetched from
        // memory at the same time. Otherwise the second one would be waited for after the first.
        black_box(self.slots[self.next(position)].as_ref().map(R::name));
        loop {
            if self.slots[position].as_ref()?.name() == name {
                return Some(position);
            }
            position = self.next(position);
        }
    }

    /// Removes what the hand finds that was not used since it last came by.
    fn evict(&mut self) {
        loop {
            let hand = self.hand;
            if self.slots[hand].as_mut().is_some_and(|row| !std::mem::take(row.was_used())) {
                return self.remove_at(hand);
            }
            self.hand = self.next(hand);
        }
    }

    /// Empties a slot. What follows moves up, unless it is nearer to its home than that.
    fn remove_at(&mut self, mut hole: usize) {
        self.slots[hole] = None;
        self.len -= 1;
        let mut position = hole;
        loop {
            position = self.next(position);
            let Some(row) = &self.slots[position] else { return };
            if self.distance(self.home(row.name()), position) >= self.distance(hole, position) {
                self.slots.swap(hole, position);
                hole = position;
            }
        }
    }

    fn put(&mut self, row: R) {
        let mut position = self.home(row.name());
        while self.slots[position].is_some() {
            position = self.next(position);
        }
        self.slots[position] = Some(row);
    }

    #[cold]
    fn grow(&mut self) {
        let len = (2 * self.slots.len()).max(FEWEST_SLOTS);
        let before = std::mem::replace(&mut self.slots, std::iter::repeat_with(|| None).take(len).collect());
        self.hand = 0;
        // Cloned, since a row that is dropped is wiped, and one that is moved stays behind in memory that
        // is given back.
        before.iter().flatten().for_each(|row| self.put(row.clone()));
    }

    /// The slot of a name that is alone: the highest bits of its hash.
    #[inline]
    fn home(&self, name: Name) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "there are fewer slots than addresses")]
        let home = (name.place >> (64 - self.slots.len().trailing_zeros())) as usize;
        home
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
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone)]
    struct Numbered<T> {
        key: u64,
        value: T,
        was_used: bool,
    }

    impl<T> Numbered<T> {
        fn new(key: u64, value: T) -> Self {
            Self { key, value, was_used: false }
        }
    }

    impl<T: Clone> Row for Numbered<T> {
        fn name(&self) -> Name {
            name(self.key)
        }

        fn was_used(&mut self) -> &mut bool {
            &mut self.was_used
        }
    }

    /// Few hashes, at both ends of a table, so that they collide and run over its end.
    fn name(key: u64) -> Name {
        Name::at((key % 64).wrapping_sub(32).wrapping_mul(0x0040_0000) << 32, key)
    }

    #[test]
    fn it_finds_what_a_map_would_find_however_much_comes_and_goes() {
        let (mut table, mut map, mut chance) = (Table::new(1000), HashMap::new(), 1_u64);
        for value in 0..20_000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (chance >> 54) % 300;
            if chance & 0x0100_0000 == 0 {
                table.insert(Numbered::new(key, value));
                map.insert(key, value);
            } else {
                table.remove(name(key));
                map.remove(&key);
            }
            let found = table.get(name(key)).map(|row| row.value);
            assert_eq!((found, table.len()), (map.get(&key).copied(), map.len()));
        }
        for (key, value) in map {
            assert_eq!(table.get(name(key)).unwrap().value, value);
        }
    }

    #[test]
    fn a_full_table_forgets_what_was_not_used() {
        let mut table = Table::new(100);
        for key in 0..100_000 {
            table.insert(Numbered::new(key, 7));
            assert!(table.len() <= 100);
            // One is used all the time.
            assert_eq!(table.get(name(0)).unwrap().value, 7);
        }
        assert_eq!(table.len(), 100);
        assert!(table.get(name(99_999)).is_some());
        assert!(table.get(name(1)).is_none());
    }

    /// A row that is dropped is wiped, and one that is moved away isn't.
    #[test]
    fn what_is_removed_replaced_evicted_or_outgrown_is_dropped_where_it_was() {
        #[derive(Clone)]
        struct Counted(Rc<Cell<usize>>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Rc::new(Cell::new(0));
        let mut table = Table::new(FEWEST_SLOTS);
        let insert = |table: &mut Table<_>, key| {
            table.insert(Numbered::new(key, Counted(drops.clone())));
            drops.replace(0)
        };
        // Each of the first 13 that are there when the 14th comes.
        assert_eq!((0..16).map(|key| insert(&mut table, key)).sum::<usize>(), 13);
        assert_eq!(insert(&mut table, 3), 1, "it was there before");
        assert_eq!(insert(&mut table, 16), 1, "another one has gone");
        table.remove(name(16));
        assert_eq!(drops.replace(0), 1);
        drop(table);
        assert_eq!(drops.get(), 15);
    }
}
