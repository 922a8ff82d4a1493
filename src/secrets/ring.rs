//! A few keys, usually one.

use crate::config::ConfigError;

use super::MAX_SECRETS;

/// One to [`MAX_SECRETS`] keys. A single key, the common case, is cloned without an allocation.
#[derive(Clone)]
pub(crate) struct Ring<K> {
    first: K,
    rest: Box<[K]>,
}

impl<K> Ring<K> {
    /// `None` where there is no key at all.
    pub(crate) fn new(keys: impl IntoIterator<Item = Result<K, ConfigError>>) -> Result<Option<Self>, ConfigError> {
        let mut keys = keys.into_iter();
        let Some(first) = keys.next() else { return Ok(None) };
        let rest = keys.collect::<Result<Box<[K]>, _>>()?;
        if rest.len() >= MAX_SECRETS {
            return Err(ConfigError::key("there are more than 8 secrets"));
        }
        Ok(Some(Self { first: first?, rest }))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn first(&self) -> &K {
        &self.first
    }

    /// The key, where it is the only one.
    pub(crate) fn only(&self) -> Option<&K> {
        self.rest.is_empty().then_some(&self.first)
    }

    /// The key, where it is the only one.
    pub(crate) fn only_mut(&mut self) -> Option<&mut K> {
        self.rest.is_empty().then_some(&mut self.first)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut K> {
        std::iter::once(&mut self.first).chain(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_none_and_nine_are_too_many() {
        assert!(Ring::<u8>::new([]).unwrap().is_none());
        for len in 1..=8_u8 {
            let mut ring = Ring::new((0..len).map(Ok)).unwrap().unwrap();
            assert!(ring.iter_mut().map(|key| *key).eq(0..len));
            assert!(ring.iter().copied().eq(0..len));
        }
        assert!(Ring::new((0..9).map(Ok)).is_err());
    }
}
