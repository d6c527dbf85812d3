//! Ends: of a handle, which removes what it owns, and of dead owners, whose rooms a reaper empties.
use super::stack::Stack;
use super::{Inner, TierKind, TierStat, Trouble, no_memory};
use crate::error::{Error, Fault, Result};
use crate::key::Key;
use crate::sys::sync::atomic::{AtomicBool, Ordering::SeqCst};
use crate::sys::{self, Deadline};
use crate::tier::Found;
use crate::tier::any::AnyTier;
use crate::tier::dir::{DirTier, Mode, RoomRef};
use std::time::Duration;

/// Removes all that a room holds, and the room. Answers how many blobs and drafts went.
fn empty(
    stack: &Stack,
    at: usize,
    room: RoomRef,
    alive: bool,
    deadline: Deadline,
) -> (u64, std::result::Result<(), Fault>) {
    let mut count = 0;
    let answer = room.empty(|key, path, meta| {
        // A dead owner's draft is nobody's; our own may be about to be published by another thread.
        if alive || meta.links > 1 {
            let is_ours = |found: &Found| room.has(path, found.ident);
            let removed = stack.remove_owned(at, room.ground, key, deadline.left(), is_ours, |_| ());
            removed.map_err(|error| error.to_fault())?;
        }
        count += 1;
        Ok(())
    });
    (count, answer)
}

impl Inner {
    /// Opens what can be opened; fails where no tier can be used.
    pub(super) fn try_tiers(&self) -> Result<()> {
        if self.read_only {
            for (index, tier) in self.stack.dirs() {
                match tier.ground(false).err() {
                    Some(fault) if fault.is_final() => return Err(self.stack.error(index, fault)),
                    fault => self.stack.layers[index].health.tried(fault.as_ref()),
                }
            }
            return Ok(());
        }
        let mut faults = Vec::new();
        let mut usable = false;
        for (index, layer) in self.stack.layers.iter().enumerate() {
            let fault = match &layer.tier {
                AnyTier::Dir(tier) => tier.ground(true).err(),
                AnyTier::Memory(_) => None,
            };
            match fault {
                Some(fault) if fault.is_final() => return Err(self.stack.error(index, fault)),
                _ => layer.health.tried(fault.as_ref()),
            }
            match fault {
                None => usable = true,
                Some(fault) => sys::try_push(&mut faults, (index, fault)).map_err(no_memory)?,
            }
        }
        if usable { Ok(()) } else { Err(self.refusal(&faults)) }
    }

    pub(super) fn shutdown(&self) -> Result<()> {
        if self.stack.kin.in_child() {
            return Err(Error::new(crate::error::Code::Forked, "shutting a store down"));
        }
        if self.read_only {
            self.shut.store(true, SeqCst);
            return Ok(());
        }
        if self.shut.swap(true, SeqCst) {
            return self.wait_for_shutdown();
        }
        /// Also after a bug: nobody waits for a shutdown that will not go on.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        let _over = Over(&self.shut_down);
        let deadline = Deadline::after(super::PATIENCE);
        let mut first = None;
        for (index, layer) in self.stack.layers.iter().enumerate() {
            match &layer.tier {
                AnyTier::Memory(tier) => tier.close(),
                AnyTier::Dir(tier) => {
                    for room in tier.close() {
                        let emptied = room.as_ref().and_then(|room| empty(&self.stack, index, room, true, deadline).1);
                        if let Err(fault) = emptied {
                            first.get_or_insert(self.stack.error(index, fault));
                        }
                    }
                }
            }
        }
        // Only now: the keys of a room are locked on all tiers.
        self.stack.dirs().for_each(|(_, tier)| tier.remove_own_store());
        first.map_or(Ok(()), Err)
    }

    /// Another thread is removing what this handle owns, or has done so.
    fn wait_for_shutdown(&self) -> Result<()> {
        let deadline = Deadline::after(super::PATIENCE);
        while !self.shut_down.load(SeqCst) {
            if deadline.is_over() {
                return Err(Error::new(
                    crate::error::Code::Busy,
                    "waiting for another thread that shuts the store down",
                ));
            }
            sys::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn remove_owned(&self, key: &Key, deadline: Deadline) -> Result<()> {
        let mut first = None;
        for (index, layer) in self.stack.layers.iter().enumerate() {
            let removed = match &layer.tier {
                AnyTier::Memory(tier) => tier.remove_owned(key),
                AnyTier::Dir(tier) => self.remove_owned_in(index, tier, key, deadline),
            };
            if let Err(fault) = removed {
                first.get_or_insert(self.note_failed(self.stack.error(index, fault)));
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn remove_owned_in(
        &self,
        index: usize,
        tier: &DirTier,
        key: &Key,
        deadline: Deadline,
    ) -> std::result::Result<(), Fault> {
        // A tier where this handle owns nothing is not asked.
        let Some(room) = tier.rooms().next() else {
            return Ok(());
        };
        let ground = match tier.ground(true) {
            Err(fault) if !fault.is_final() => room.ground.clone(), // its path leads nowhere, but we stand there still
            answer => answer?,
        };
        let Some(found) = ground.look(key)? else {
            return Ok(());
        };
        if !tier.owns(key, &found)? {
            return Ok(());
        }
        // What was found may be replaced by now, and its inode's number be that of another blob.
        let is_ours = |now: &Found| tier.owns(key, now);
        let gone = |now: &Found| {
            let _ = tier.unlink_owner(&ground, key, now); // else the link goes with us
        };
        let remove = || self.stack.remove_owned(index, &ground, key, deadline.left(), is_ours, gone);
        tier.budget.changing(remove).map_err(|error| error.to_fault())
    }

    /// Empties the rooms of dead owners, in all stores of this user on these tiers, and removes the directories of stores that
    /// are empty and that no handle has open.
    /// At most `most_stores` such stores on each tier, so that opening is not slow; the next one goes on.
    pub(super) fn reap(&self, patience: Duration, most_stores: usize) -> Result<u64> {
        let deadline = Deadline::after(patience);
        let (mut count, mut first) = (0, None);
        for (index, tier) in self.stack.dirs() {
            if let Err(error) = self.reap_tier(index, tier, deadline, most_stores, &mut count) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(count), Err)
    }

    fn reap_tier(
        &self,
        index: usize,
        tier: &DirTier,
        deadline: Deadline,
        mut most_stores: usize,
        count: &mut u64,
    ) -> Result<()> {
        let on_tier = |fault| self.stack.error(index, fault);
        let _ = tier.compare().map_err(on_tier)?;
        let Some(mut names) = tier.stores().map_err(on_tier)? else {
            return Ok(());
        };
        let mut first = None;
        loop {
            let next = names.next().map_err(|e| on_tier(Fault::os(e, "reading the stores on a tier")))?;
            let Some(name) = next else { break };
            let Ok(name) = Key::new(name.to_bytes()) else {
                continue;
            }; // the lock file
            let reaped = match tier.has_owners(&name) {
                Ok(true) => self.reap_named(tier, name, deadline, count),
                Ok(false) if name == self.stack.name || most_stores == 0 => Ok(()), // our own goes with us
                Ok(false) => {
                    most_stores -= usize::from(tier.remove_unused_store(&name));
                    Ok(())
                }
                Err(_) if tier.remove_unused_store(&name) => Ok(()),
                Err(fault) => Err(on_tier(fault)),
            };
            if let Err(error) = reaped {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Empties the rooms of one store's dead owners on one tier. With the last one, the store's directories go.
    fn reap_named(&self, tier: &DirTier, name: Key, deadline: Deadline, count: &mut u64) -> Result<()> {
        if name == self.stack.name {
            return reap_store(&self.stack, tier, deadline, count);
        }
        let stack = Stack::new(&self.specs, name, self.uid, Mode::Repair, self.stack.kin, None)?;
        reap_store(&stack, tier, deadline, count)
            .map_err(|error| error.renumbered(self.stack.layers.iter().map(|layer| layer.place.clone())))
    }

    pub(super) fn tier_stat(&self, index: u32) -> Result<Option<TierStat<'_>>> {
        let Some(layer) = self.stack.layers.get(index as usize) else {
            return Ok(None);
        };
        let health = &layer.health;
        let mut stat = TierStat {
            usable: health.usable.load(SeqCst),
            kind: TierKind::Memory,
            last_errno: health.last_errno.load(SeqCst),
            dir: None,
            trouble: None,
            blobs: 0,
            bytes: 0,
            stored: health.stored.load(SeqCst),
            refused: health.refused.load(SeqCst),
            free_bytes: 0,
            total_bytes: 0,
            free_inodes: 0,
            total_inodes: 0,
        };
        match &layer.tier {
            AnyTier::Memory(tier) => {
                if !self.stack.kin.in_child() {
                    (stat.blobs, stat.bytes) = tier.count_owned();
                }
            }
            AnyTier::Dir(tier) => {
                stat.dir = Some(tier.dir());
                stat.kind = if tier.is_shm() { TierKind::Shm } else { TierKind::Dir };
                let fault = tier.compare().err().or_else(|| tier.ground(false).err());
                if let Some(fault) = fault.filter(|fault| fault.is_barred()) {
                    (stat.usable, stat.last_errno) = (false, fault.errno);
                    stat.trouble = Some(Trouble { fault, dir: tier.dir(), uid: self.uid });
                }
                if !self.stack.kin.in_child() {
                    let count = tier.count_owned();
                    (stat.blobs, stat.bytes) = count.map_err(|fault| self.stack.error(index as usize, fault))?;
                }
                if let Ok(space) = tier.space() {
                    stat.kind = if space.in_memory { TierKind::Shm } else { TierKind::Dir };
                    (stat.free_bytes, stat.total_bytes) = (space.free_bytes, space.total_bytes);
                    (stat.free_inodes, stat.total_inodes) = (space.free_inodes, space.total_inodes);
                }
            }
        }
        Ok(Some(stat))
    }
}

/// Empties the rooms of one store's dead owners on the tier that has the path of `same`: a list in which one was dropped by
/// now, as the same as an earlier one, counts its tiers otherwise.
fn reap_store(stack: &Stack, same: &DirTier, deadline: Deadline, count: &mut u64) -> Result<()> {
    let Some((index, tier)) = stack.dirs().find(|(_, tier)| tier.dir() == same.dir()) else {
        return Ok(());
    };
    // What is missing around the rooms is made: a remover may have been killed, or somebody deleted `objects` by hand.
    let reaped = match tier.ground(true) {
        Err(fault) if fault.is_nothing_here() => Ok(()),
        Err(fault) => Err(fault),
        Ok(ground) => tier.each_dead_room(&ground, deadline, |room| {
            let (removed, answer) = empty(stack, index, room, false, deadline);
            *count += removed;
            answer
        }),
    };
    reaped.map_err(|fault| stack.error(index, fault))
}
