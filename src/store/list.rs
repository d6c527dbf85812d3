//! Listing the keys of a store, one tier after the other, without a lock.
use super::{Inner, Stat};
use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::sys::{Names, Shared};
use crate::tier::any::AnyTier;
use crate::tier::{Found, Tier};
use std::ffi::CStr;

/// A listing under way. A key that is stored, removed or replaced meanwhile may come, or not, or twice; every other
/// key comes once.
pub struct List {
    inner: Shared<Inner>,
    /// How many layers, in the order of looking up, were begun.
    begun: usize,
    names: Source,
    key: Option<Key>,
}

enum Source {
    None,
    Dir(usize, Names),
    Memory(usize, std::vec::IntoIter<(Key, Found)>),
}

impl List {
    pub(super) fn new(inner: Shared<Inner>) -> Result<List> {
        let mut list = List { inner, begun: 0, names: Source::None, key: None };
        list.begin_next()?;
        Ok(list)
    }

    /// Goes on to the next tier; false at the end.
    fn begin_next(&mut self) -> Result<bool> {
        let stack = &self.inner.stack;
        let Some(index) = stack.order().nth(self.begun) else {
            self.names = Source::None;
            return Ok(false);
        };
        self.begun += 1;
        self.names = match &stack.layers[index].tier {
            AnyTier::Memory(tier) => {
                let keys = tier.keys().map_err(|_| Error::new(Code::NoMemory, "listing the store"))?;
                Source::Memory(index, keys.into_iter())
            }
            AnyTier::Dir(tier) => match tier.names().map_err(|fault| stack.error(index, fault))? {
                Some(names) => Source::Dir(index, names),
                None => Source::None,
            },
        };
        Ok(true)
    }

    /// The next key; `None` at the end.
    #[allow(clippy::should_implement_trait)] // it lends the key, and can fail
    pub fn next(&mut self) -> Result<Option<(&CStr, Stat)>> {
        self.inner.check_open()?;
        if self.inner.stack.kin.in_child() {
            return Err(Error::new(Code::Forked, "listing a store")); // the parent's place in it would move
        }
        let found = loop {
            let (index, key) = match &mut self.names {
                Source::Memory(index, keys) => (*index, keys.next().map(|(key, _)| key)),
                Source::Dir(index, names) => {
                    let stack = &self.inner.stack;
                    let name = names
                        .next()
                        .map_err(|e| stack.error(*index, crate::error::Fault::os(e, "listing the store")))?;
                    match name {
                        // A name that is no key is not ours to show.
                        Some(name) => match Key::new(name.to_bytes()) {
                            Ok(key) => (*index, Some(key)),
                            Err(_) => continue,
                        },
                        None => (*index, None),
                    }
                }
                Source::None => (usize::MAX, None),
            };
            let Some(key) = key else {
                match self.begin_next()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            let layers = &self.inner.stack.layers;
            let look = |index: usize| layers[index].tier.look(&key).ok().flatten();
            // A tier before this one hides it, and has shown it.
            if self.inner.stack.order().take_while(|&other| other != index).any(|other| look(other).is_some()) {
                continue;
            }
            if let Some(found) = look(index) {
                break (index, key, found);
            }
        };
        let (index, key, found) = found;
        let stat = self.inner.stat(index, &key, &found, true)?;
        Ok(Some((self.key.insert(key).as_c_str(), stat)))
    }

    /// After a panic nothing is changed through this handle any more.
    #[cfg(feature = "capi")]
    pub(crate) fn poison(&self) {
        self.inner.poisoned.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
