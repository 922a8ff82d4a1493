//! The names of tenants, which a cache knows by their hashes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// What stands for the name of a tenant: 128 bits of its hash by a key that no other process has.
///
/// The name itself is not kept. Who doesn't know the key can't make two names of one hash but by
/// chance, and no answer tells what the hash of a name is. Among a billion names, one that was
/// made up is another one's with a chance of 1 in 10^29.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Chooses where it is looked for.
    pub(super) place: u64,
    proof: u64,
}

/// Hashes names.
pub(super) struct Namer(RandomState);

impl Namer {
    #[inline]
    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    /// Hashes the parts that `write` gives one by one, each with its length.
    #[inline]
    pub(super) fn name(&self, write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Name {
        let (mut hasher, mut gathered, mut len) = (self.0.build_hasher(), [0; GATHERED], 0);
        let mut gather = |bytes: &[u8]| {
            if bytes.len() > GATHERED - len {
                hasher.write(&gathered[..len]);
                len = 0;
            }
            match gathered.get_mut(len..len + bytes.len()) {
                Some(place) => {
                    place.copy_from_slice(bytes);
                    len += bytes.len();
                }
                None => hasher.write(bytes),
            }
        };
        write(&mut |part| {
            // No head has 4 GiB.
            gather(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            gather(part);
        });
        hasher.write(&gathered[..len]);
        let place = hasher.finish();
        // Of another text, so that the two know nothing of each other.
        hasher.write_u8(1);
        Name { place, proof: hasher.finish() }
    }
}

/// Most names are hashed at once, as that takes less than part by part.
const GATHERED: usize = 128;

#[cfg(test)]
impl Name {
    /// A name that is looked for there.
    pub(super) fn at(place: u64, proof: u64) -> Self {
        Self { place, proof }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_every_part_and_by_where_it_ends() {
        let namer = Namer::new();
        let name = |parts: &[&[u8]]| namer.name(|push| parts.iter().for_each(|part| push(part)));
        let long = [b'x'; 1000];
        let lengths = [0, 1, 60, 116, 117, 118, 119, 120, 121, 124, 127, 128, 129, 200, 1000];
        let mut all: Vec<Name> = lengths.iter().map(|&len| name(&[b"a", &long[..len], b"b"])).collect();
        assert_eq!(all[5], name(&[b"a", &long[..118], b"b"]));
        all.extend([name(&[]), name(&[b""]), name(&[b"ab"]), name(&[b"a", b"b"]), name(&[b"", b"ab"]), name(&[b"b"])]);
        for (position, one) in all.iter().enumerate() {
            for other in &all[..position] {
                assert!(one.place != other.place && one.proof != other.proof);
            }
        }
        // Those of another cache have other hashes.
        assert_ne!(Namer::new().name(|push| push(b"ab")), name(&[b"ab"]));
    }
}
