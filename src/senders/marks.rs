//! What tells the senders of a route apart, looked for in a head all at once.

use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;

use crate::headers;
use crate::provider::RecognizedBy;
use crate::urlencoded::{is_form, names_form};

/// What several senders are [recognized by](crate::provider::Provider::recognized_by), so that one
/// pass over a head tells which of them to ask: nearly always one.
#[derive(Debug)]
pub(super) struct Marks {
    headers: Vec<(HeaderName, Senders)>,
    /// The lengths of the names to look at: most names of a request have another.
    lengths: u64,
    forms: Senders,
    /// Those to ask about every request.
    always: Senders,
}

/// Some of the senders, by their positions. Those from the 64th on are told from the others, but
/// not from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Senders(u64);

/// The position that stands for all from it on.
const LAST: usize = 63;

impl Senders {
    fn one(index: usize) -> Self {
        Self(1 << index.min(LAST))
    }

    fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }

    pub(super) fn has(self, index: usize) -> bool {
        self.0 & Self::one(index).0 != 0
    }

    /// Returns the position of the sender if it is known to be one alone.
    pub(super) fn only(self) -> Option<usize> {
        let index = self.0.trailing_zeros() as usize;
        (self.0.is_power_of_two() && index < LAST).then_some(index)
    }
}

impl Marks {
    /// Takes what each of the senders is recognized by, in their order.
    #[inline]
    pub(super) fn new(senders: impl Iterator<Item = Option<Vec<RecognizedBy>>>) -> Self {
        let none = Senders::default();
        let mut all = Self { headers: Vec::new(), lengths: 0, forms: none, always: none };
        for (index, marks) in senders.enumerate() {
            let sender = Senders::one(index);
            let Some(marks) = marks else {
                all.always.add(sender);
                continue;
            };
            for mark in marks {
                match mark {
                    // Which tells nobody.
                    RecognizedBy::Header(header) if header == CONTENT_TYPE => all.always.add(sender),
                    RecognizedBy::Header(header) => all.add_header(header, sender),
                    RecognizedBy::Form => {
                        all.lengths |= length(&CONTENT_TYPE);
                        all.forms.add(sender);
                    }
                }
            }
        }
        all
    }

    #[inline]
    fn add_header(&mut self, header: HeaderName, sender: Senders) {
        self.lengths |= length(&header);
        match self.headers.iter_mut().find(|(own, _)| *own == header) {
            Some((_, senders)) => senders.add(sender),
            None => self.headers.push((header, sender)),
        }
    }

    /// Returns the senders whose marks a head has.
    #[inline]
    pub(super) fn in_head(&self, head: &Parts) -> Senders {
        let mut senders = self.always;
        if headers::are_few(head) {
            let mut content_type = None;
            for (name, value) in head.headers.iter().filter(|(name, _)| self.lengths & length(name) != 0) {
                if *name == CONTENT_TYPE {
                    // The first one counts.
                    content_type.get_or_insert(value);
                } else if let Some((_, own)) = self.headers.iter().find(|(own, _)| own == name) {
                    senders.add(*own);
                }
            }
            if content_type.is_some_and(names_form) {
                senders.add(self.forms);
            }
        } else {
            for (_, own) in self.headers.iter().filter(|(name, _)| headers::has(head, name)) {
                senders.add(*own);
            }
            if is_form(head) {
                senders.add(self.forms);
            }
        }
        senders
    }
}

/// The length of a name, modulo 64, as one of as many bits.
#[inline]
fn length(name: &HeaderName) -> u64 {
    1 << (name.as_str().len() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_told_by_any_of_their_marks_among_few_headers_and_among_many() {
        let marked = |names: &[&'static str]| {
            Some(names.iter().map(|name| RecognizedBy::Header(HeaderName::from_static(name))).collect::<Vec<_>>())
        };
        let mut senders =
            vec![marked(&["x-one", "x-both"]), marked(&["x-both"]), Some(vec![RecognizedBy::Form]), Some(vec![])];
        let told = |senders: &[Option<Vec<RecognizedBy>>], names: &[&str], others: usize| {
            let request = names.iter().fold(http::Request::post("/"), |request, name| request.header(*name, "a"));
            let request = (0..others).fold(request, |request, n| request.header(format!("x-{n:03}"), "a"));
            let (head, ()) =
                request.header("content-type", "application/x-www-form-urlencoded").body(()).unwrap().into_parts();
            let found = Marks::new(senders.iter().cloned()).in_head(&head);
            ((0..senders.len()).filter(|index| found.has(*index)).collect::<Vec<_>>(), found.only())
        };
        for others in [0, 40] {
            assert_eq!(told(&senders, &[], others), (vec![2], Some(2)));
            assert_eq!(told(&senders, &["x-one"], others), (vec![0, 2], None));
            assert_eq!(told(&senders, &["x-both"], others), (vec![0, 1, 2], None));
        }
        // The length of a name, modulo 64, is no more than a hint.
        assert_eq!(told(&senders, &["x-two", &"x".repeat(64 + 5)], 0), (vec![2], Some(2)));
        senders.push(None);
        senders.push(marked(&["content-type"]));
        assert_eq!(told(&senders, &[], 0), (vec![2, 4, 5], None));
    }

    #[test]
    fn senders_from_the_64th_on_are_never_known_to_be_one_alone() {
        for index in [0, 62, 63, 64, 200] {
            let senders = Senders::one(index);
            assert!(senders.has(index));
            assert_eq!(senders.only(), (index < 63).then_some(index));
            assert!(!senders.has(5));
        }
        assert!(Senders::one(63).has(64) && Senders::default().only().is_none());
    }
}
