//! Values that are lists: a prefix chooses the entries that are meant. What makes a place a list
//! brings what reads it, so that a program of other places has none of it.

use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::rejection::{Reason, Rejection};

use super::{List, Place, TakeEach, behind};

/// The most signatures in one list. Senders that rotate send two; each candidate costs a comparison
/// with every key.
const MAX_IN_LIST: usize = 16;

impl List {
    #[inline]
    pub(crate) fn new(separators: [u8; 2]) -> Self {
        Self { separators, only, each }
    }

    /// Returns where the entries with the prefix of the place are, without it.
    #[inline]
    fn meant<'a>(self, place: &'a Place, list: &'a [u8]) -> Entries<'a> {
        Entries { list, separators: self.separators, prefix: place.prefix.as_bytes(), next: 0 }
    }
}

#[inline]
fn only(place: &Place, list: List, whole: &[u8], malformed: Reason) -> Result<Option<Range<usize>>, Rejection> {
    let mut first: Option<Range<usize>> = None;
    for part in list.meant(place, whole) {
        match &first {
            None => first = Some(part),
            // In a list of lists, each of the inner ones has the value.
            Some(first) if list.separators[0] != list.separators[1] && whole[first.clone()] == whole[part.clone()] => {}
            Some(_) => return Err(Rejection::new(malformed).with_detail(format!("{place} has more than one value"))),
        }
    }
    Ok(first)
}

#[inline]
fn each(place: &Place, list: List, whole: &[u8], take: &mut TakeEach<'_>) -> Result<usize, Rejection> {
    let mut count = 0;
    for part in list.meant(place, whole) {
        count += 1;
        if count > MAX_IN_LIST {
            return Err(
                Rejection::new(Reason::TooManySignatures).with_detail(format!("{place} lists more than {MAX_IN_LIST}"))
            );
        }
        take(&whole[part])?;
    }
    Ok(count)
}

struct Entries<'a> {
    list: &'a [u8],
    separators: [u8; 2],
    prefix: &'a [u8],
    /// Where the next entry starts: behind the end once there is none.
    next: usize,
}

impl Iterator for Entries<'_> {
    type Item = Range<usize>;

    // Of the two that call it, either has one call.
    #[inline(always)]
    fn next(&mut self) -> Option<Range<usize>> {
        while let Some(rest) = self.list.get(self.next..) {
            let [separator, other] = self.separators;
            let end = if other == separator { memchr(separator, rest) } else { memchr2(separator, other, rest) };
            let entry = &rest[..end.unwrap_or(rest.len())];
            let value = entry.trim_ascii_start();
            let start = self.next + (entry.len() - value.len());
            self.next += entry.len() + 1;
            if behind(value, self.prefix).is_some() {
                return Some(start + self.prefix.len()..start + value.trim_ascii_end().len());
            }
        }
        None
    }
}
