//! Listing the keys of a store, one tier after the other, without a lock.
use super::{Inner, Orphans, Stat};
use crate::error::{Code, Error, Fault, Result};
use crate::key::Key;
use crate::sys::{Kin, Names, Shared};
use crate::tier::any::AnyTier;
use crate::tier::{Found, Tier};
use std::ffi::CStr;

/// A listing under way. A key that is stored, removed or replaced meanwhile may come, or not, or twice; every other
/// key comes once. A tier that cannot be listed does not hide the others: its failure comes in place of the end.
pub struct List {
    inner: Shared<Inner>,
    /// The process that began it: a child would move its parent's place in it.
    kin: Kin,
    /// How many layers, in the order of looking up, were begun.
    begun: usize,
    names: Source,
    /// The dead owners of the tier that is being listed.
    dead: Vec<Box<[u8]>>,
    /// Taken from the tier's names, but not told yet.
    pending: Option<(usize, Key)>,
    key: Option<Key>,
    fault: Option<(usize, Fault)>,
}

enum Source {
    None,
    Dir(usize, Names),
    Memory(usize, std::vec::IntoIter<(Key, Found)>),
}

impl List {
    pub(super) fn new(inner: Shared<Inner>) -> Result<List> {
        let kin = Kin::here().map_err(|e| Fault::last(Code::NoMemory, e, "listing the store"))?;
        let mut list =
            List { inner, kin, begun: 0, names: Source::None, dead: Vec::new(), pending: None, key: None, fault: None };
        while list.begin_next()? && matches!(list.names, Source::None) {}
        match list.fault {
            Some((index, fault)) if matches!(list.names, Source::None) => Err(list.inner.stack.error(index, fault)),
            _ => Ok(list),
        }
    }

    /// Goes on to the next tier; false at the end. One that fails for want of descriptors or memory is begun again by
    /// the next call.
    fn begin_next(&mut self) -> Result<bool> {
        let stack = &self.inner.stack;
        self.names = Source::None;
        let Some(index) = stack.order().nth(self.begun) else { return Ok(false) };
        match &stack.layers[index].tier {
            AnyTier::Memory(_) if stack.kin.in_child() => {} // a thread that is not in this process may hold it
            AnyTier::Memory(tier) => {
                let keys = tier.keys().map_err(|_| Error::new(Code::NoMemory, "listing the store"))?;
                self.names = Source::Memory(index, keys.into_iter());
            }
            AnyTier::Dir(tier) => {
                let begun = tier.names().and_then(|names| match names {
                    Some(names) => Ok(Some((names, tier.dead_owners()?))),
                    None => Ok(None),
                });
                match begun {
                    Ok(Some((names, dead))) => (self.names, self.dead) = (Source::Dir(index, names), dead),
                    Ok(None) => {}
                    Err(fault) if fault.is_final() => return Err(stack.error(index, fault)),
                    Err(fault) => self.fault = self.fault.or(Some((index, fault))),
                }
            }
        }
        self.begun += 1;
        Ok(true)
    }

    /// The next name that is a key, with its tier; `None` at the end.
    fn next_key(&mut self) -> Result<Option<(usize, Key)>> {
        loop {
            match &mut self.names {
                Source::Memory(index, keys) => {
                    if let Some((key, _)) = keys.next() {
                        return Ok(Some((*index, key)));
                    }
                }
                Source::Dir(index, names) => match names.next() {
                    // A name that is no key is not ours to show.
                    Ok(Some(name)) => match Key::new(name.to_bytes()) {
                        Ok(key) => return Ok(Some((*index, key))),
                        Err(_) => continue,
                    },
                    Ok(None) => {}
                    Err(e) => self.fault = self.fault.or(Some((*index, Fault::os(e, "listing the store")))),
                },
                Source::None => {}
            }
            if !self.begin_next()? {
                return Ok(None);
            }
        }
    }

    /// The next key; `None` at the end.
    #[allow(clippy::should_implement_trait)] // it lends the key, and can fail
    pub fn next(&mut self) -> Result<Option<(&CStr, Stat)>> {
        self.inner.check_open()?;
        if self.kin.in_child() {
            return Err(Error::new(Code::Forked, "going on with a listing that the parent began"));
        }
        loop {
            if self.pending.is_none() {
                self.pending = self.next_key()?;
            }
            let Some((index, key)) = self.pending else { break };
            // A failure leaves it pending, for the next call.
            let told = self.tell(index, &key)?;
            self.pending = None;
            if let Some(stat) = told {
                return Ok(Some((self.key.insert(key).as_c_str(), stat)));
            }
        }
        match self.fault.take() {
            Some((index, fault)) => Err(self.inner.stack.error(index, fault)),
            None => Ok(None),
        }
    }

    /// What is known of a key that a tier named; `None` where it is gone, or hidden by a tier that has shown it.
    fn tell(&mut self, index: usize, key: &Key) -> Result<Option<Stat>> {
        let stack = &self.inner.stack;
        let child = stack.kin.in_child();
        let before = stack.order().take_while(|&other| other != index);
        let before = before.filter(|&other| !(child && Some(other) == stack.memory));
        for other in before.chain([index]) {
            match stack.layers[other].tier.look(key) {
                Err(fault) if fault.is_final() => return Err(stack.error(other, fault)),
                Err(fault) => self.fault = self.fault.or(Some((other, fault))),
                Ok(None) => {}
                Ok(Some(found)) if other == index => {
                    let found = match found.is_coarse() {
                        // What tells it from an earlier blob is asked of the open file.
                        true => match stack.layers[other].tier.find(key) {
                            Ok(Some(blob)) => blob.found(),
                            Ok(None) => return Ok(None),
                            Err(fault) if fault.is_final() => return Err(stack.error(other, fault)),
                            Err(fault) => {
                                self.fault = self.fault.or(Some((other, fault)));
                                return Ok(None);
                            }
                        },
                        false => found,
                    };
                    return self.inner.stat(index, key, &found, Orphans::Of(&self.dead)).map(Some);
                }
                Ok(Some(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// After a panic nothing is changed through this handle any more.
    #[cfg(feature = "capi")]
    pub(crate) fn poison(&self) {
        self.inner.poisoned.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
