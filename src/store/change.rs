//! Changing a key in all tiers at once, under its lock: at most one blob is its value, and nothing older comes up when
//! that goes.
use super::stack::{KeyLock, Stack, TWIN};
use crate::error::{Code, Error, Fault, Result};
use crate::key::Key;
use crate::tier::any::Draft;
use crate::tier::dir::Ground;
use crate::tier::{Found, Publish, Tier};
use std::time::Duration;

/// How publishing went.
pub enum Published {
    /// It is the blob of its key now.
    Done,
    /// The tier cannot have it.
    Refused(Fault),
    /// It replaces a blob in this process's memory, and stays there.
    InMemoryAlone,
    /// Another tier may have the key, in directories that we do not look into: this would be a second value.
    Hidden(usize, Fault),
}

/// What lies under a key in each tier, by their numbers.
struct Seen {
    all: Vec<Option<Found>>,
    /// A tier whose directories others can reach, so that we do not look into them.
    hidden: Option<(usize, Fault)>,
}

impl Stack {
    /// What lies under a key in each tier but one. One that cannot be locked, such as a read-only one, is looked into all
    /// the same: a blob there is an answer; and where that fails too, it is skipped.
    fn look_all(&self, lock: &KeyLock, key: &Key, but: Option<usize>) -> Result<Seen> {
        let (mut all, mut hidden) = (Vec::new(), None);
        all.try_reserve_exact(self.layers.len()).map_err(|_| Error::new(Code::NoMemory, "looking for a key"))?;
        for (index, layer) in self.layers.iter().enumerate() {
            let mut is_held = false;
            let found = match lock.hold(index) {
                _ if Some(index) == but => Ok(None),
                Ok(hold) => {
                    is_held = true;
                    layer.tier.look_held(hold, key)
                }
                Err(fault) if fault.what == TWIN => Ok(None),
                Err(_) => layer.tier.look(key),
            };
            all.push(match found {
                Err(fault) if fault.is_exposed() => {
                    hidden = hidden.or(Some((index, fault)));
                    None
                }
                Err(fault) if !is_held && !fault.is_final() => None,
                found => found.map_err(|fault| self.error(index, fault))?,
            });
        }
        Ok(Seen { all, hidden })
    }

    /// Whether some tier has a key; one that cannot be looked into is skipped.
    fn any_has(&self, key: &Key) -> bool {
        self.layers.iter().any(|layer| layer.tier.look(key).is_ok_and(|found| found.is_some()))
    }

    /// Makes a draft in the tier `at` the blob of its key, and the only one in all tiers.
    pub fn publish(&self, lock: &KeyLock, at: usize, draft: &mut Draft, key: &Key, how: Publish) -> Result<Published> {
        let hold = match lock.hold(at) {
            Ok(hold) => hold,
            Err(fault) => return Ok(Published::Refused(fault)),
        };
        let tier = &self.layers[at].tier;
        // Its own tier answers for itself, unless what it has there is to be replaced.
        let Seen { all, hidden } = match self.look_all(lock, key, (!how.over).then_some(at)) {
            // One tier cannot be looked into, which another one that has the key need not know.
            Err(error) if !how.over && error.tier().is_some() && self.any_has(key) => {
                return Err(Error::new(Code::Exists, "storing a key"));
            }
            seen => seen?,
        };
        if !how.over && all.iter().any(Option::is_some) {
            return Err(Error::new(Code::Exists, "storing a key"));
        }
        let in_memory = self.memory.filter(|&memory| how.over && all[memory].is_some());
        if in_memory.is_some_and(|memory| memory != at) {
            return Ok(Published::InMemoryAlone);
        }
        if let Some((index, fault)) = hidden
            && in_memory.is_none()
        {
            return Ok(Published::Hidden(index, fault));
        }
        let visible = self.order().find(|&index| all[index].is_some());
        if let Some(visible) = visible.filter(|&visible| visible != at)
            && let Err(fault) = lock.hold(visible)
        {
            // It can not be cleared: no reader may see the new one even for a moment.
            return Err(self.error(visible, fault));
        }
        if how.over {
            // What a killed replace left below the blob that is seen must not come up when that goes.
            self.clear_below(lock, key, &all, visible, at)?;
        }
        if let Err(fault) = self.stamp_move(at, draft, visible, &all) {
            return Ok(Published::Refused(fault));
        }
        match tier.publish(hold, draft, how) {
            Ok(()) => {}
            Err(fault) if fault.errno == libc::EEXIST && fault.code.is_none() => {
                return Err(Error::new(Code::Exists, "storing a key"));
            }
            Err(fault) => return Ok(Published::Refused(fault)),
        }
        if let Some(visible) = visible.filter(|&visible| visible != at)
            && let Err(error) = self.clear(lock, key, &all, visible)
        {
            // The old blob stays, so the new one must go.
            tier.withdraw(hold, draft).map_err(|fault| self.error(at, fault))?;
            return Err(error);
        }
        if visible.is_some_and(|visible| self.is_above(visible, at)) {
            let _ = draft.stamp(); // with the older time until here
        }
        if let Some(replaced) = &all[at] {
            tier.release(hold, key, replaced);
        }
        Ok(Published::Done)
    }

    /// Whether one layer hides the other.
    fn is_above(&self, upper: usize, lower: usize) -> bool {
        upper != lower && self.order().find(|&index| index == upper || index == lower) == Some(upper)
    }

    /// Sets the time at which the draft becomes a blob, under the key's lock: whose owner's end takes what with it goes by
    /// it, and on disks, where inode numbers come back, it tells any two blobs of a key apart.
    ///
    /// A replace that moves a key between tiers may be killed before the old blob is cleared. Whoever removes the one that
    /// is seen then must know the other for what the replace left, from a blob that somebody stored who does not share
    /// the upper tier: the one that is hidden is the older one.
    fn stamp_move(
        &self,
        at: usize,
        draft: &Draft,
        visible: Option<usize>,
        all: &[Option<Found>],
    ) -> std::result::Result<(), Fault> {
        let Some(visible) = visible.filter(|&visible| visible != at) else {
            return draft.stamp();
        };
        let old = all[visible].map_or(0, |found| found.stored_at_ns);
        match self.is_above(visible, at) {
            true => draft.stamp_before(old),
            false => draft.stamp_after(old),
        }
    }

    /// Removes the blob that `look_all` found in one tier, if it found one.
    fn clear(&self, lock: &KeyLock, key: &Key, all: &[Option<Found>], index: usize) -> Result<()> {
        let Some(found) = &all[index] else { return Ok(()) };
        let removed = lock.hold(index).and_then(|hold| self.layers[index].tier.remove(hold, key, found));
        removed.map_err(|fault| self.error(index, fault))
    }

    /// Removes what lies in the tiers below the blob that is seen, lowest first, except in one. A key that memory has
    /// is that handle's alone: other tiers are not touched then.
    fn clear_below(
        &self,
        lock: &KeyLock,
        key: &Key,
        all: &[Option<Found>],
        visible: Option<usize>,
        except: usize,
    ) -> Result<()> {
        if visible.is_none() || visible == self.memory {
            return Ok(());
        }
        let below = self.order().rev().take_while(|&index| Some(index) != visible);
        below.filter(|&index| index != except).try_for_each(|index| self.clear(lock, key, all, index))
    }

    /// Removes a key, lowest tier first, so that nothing older comes up when the one that is seen goes. False where no
    /// tier that can be looked into has it.
    pub fn remove(&self, lock: &KeyLock, key: &Key) -> Result<bool> {
        let all = self.look_all(lock, key, None)?.all;
        let Some(visible) = self.order().find(|&index| all[index].is_some()) else {
            return Ok(false);
        };
        self.clear_below(lock, key, &all, Some(visible), visible)?;
        self.clear(lock, key, &all, visible)?;
        Ok(true)
    }

    /// Removes the blob of a key from the tier `at` if `is_ours` says so of it; where it is the one that is seen, what it
    /// hid below goes first. The owner's link is left to `gone`, which hears of the blob while its key is still held.
    ///
    /// Only under the lock can be said whose it is: a file seen before may be published since, or be another by now.
    pub fn remove_owned(
        &self,
        at: usize,
        ground: &Ground,
        key: &Key,
        patience: Duration,
        is_ours: impl Fn(&Found) -> std::result::Result<bool, Fault>,
        gone: impl FnOnce(&Found),
    ) -> Result<()> {
        let on_tier = |fault| self.error(at, fault);
        let (lock, on_stale) = self.lock_with(at, ground, key, patience)?;
        let Some(ours) = ground.look(key).map_err(on_tier)? else { return Ok(()) };
        if !is_ours(&ours).map_err(on_tier)? {
            return Ok(());
        }
        let all = self.look_all(&lock, key, Some(at))?.all;
        let is_current = match lock.hold(at) {
            Ok(hold) => hold.is_on(ground),
            Err(_) => on_stale.is_none() || ground.has_named_lock(),
        };
        // Memory is one handle's alone, and hides nothing here; nor does what no path leads to.
        if is_current
            && self.dirs().map(|(index, _)| index).take_while(|&index| index < at).all(|index| all[index].is_none())
        {
            for index in (at + 1..self.layers.len()).rev().filter(|&index| Some(index) != self.memory) {
                // What a killed replace left is certainly older. Anything else was stored by somebody who does not share
                // this tier, or may have been.
                if all[index].is_some_and(|below| below.is_older_than(&ours)) {
                    self.clear(&lock, key, &all, index)?;
                }
            }
        }
        ground.unlink(key).map_err(on_tier)?;
        gone(&ours);
        Ok(())
    }
}
