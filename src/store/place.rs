//! Placing a blob: the first tier that can take it now, and the next where one refuses, also at the last moment.
use super::change::Published;
use super::stack::PATIENCE;
use super::{Flags, Inner};
use crate::error::{Code, Error, Fault, Result};
use crate::key::Key;
use crate::options::Level;
use crate::sys::Deadline;
use crate::tier::any::{AnyTier, Draft};
use crate::tier::{Publish, Tier};

/// From this size on a key that exists is looked for before the bytes are written.
const LOOK_FIRST: u64 = 4 << 20;
/// How often directories may go away between writing a draft and publishing it.
const GROUND_TRIES: usize = 8;

/// Fills a new draft, from an older one of the same blob where there is one.
pub type Fill<'a> = dyn FnMut(&AnyTier, &mut Draft, Option<Old>) -> std::result::Result<(), Fault> + 'a;

/// A draft that moves on from the tier of this number.
#[derive(Clone, Copy)]
pub struct Old<'a> {
    pub index: usize,
    pub draft: &'a Draft,
}

pub struct Placement<'a> {
    inner: &'a Inner,
    key: &'a Key,
    how: Publish,
    wanted: u64,
    /// The key is in this process's memory, and its new value goes nowhere else.
    in_memory_alone: bool,
    refusals: Vec<(usize, Fault)>,
}

impl<'a> Placement<'a> {
    pub fn new(inner: &'a Inner, key: &'a Key, flags: Flags, wanted: u64) -> Result<Placement<'a>> {
        let stack = &inner.stack;
        let has = |index: usize| stack.layers[index].tier.look(key).is_ok_and(|found| found.is_some());
        let in_memory_alone = flags.replace && stack.memory.is_some_and(has);
        let how = Publish { over: flags.replace, persist: flags.persist };
        let placement = Placement { inner, key, how, wanted, in_memory_alone, refusals: Vec::new() };
        if wanted >= LOOK_FIRST {
            placement.look_first()?;
        }
        Ok(placement)
    }

    /// Fails where the key is taken: it may be so again when it is published, but until then much may be written.
    pub fn look_first(&self) -> Result<()> {
        let stack = &self.inner.stack;
        let mut hidden = None;
        for index in stack.order().filter(|_| !self.how.over) {
            match stack.layers[index].tier.look(self.key) {
                Ok(Some(_)) => return Err(Error::new(Code::Exists, "storing a key")),
                Err(fault) if fault.is_exposed() => hidden = hidden.or(Some((index, fault))),
                _ => {}
            }
        }
        hidden.map_or(Ok(()), |(index, fault)| Err(self.hidden(index, fault)))
    }

    /// A tier may have the key where nobody may look: storing it elsewhere would make a second value. It exists, where
    /// another tier has it.
    fn hidden(&self, index: usize, fault: Fault) -> Error {
        let inner = self.inner;
        let layer = &inner.stack.layers[index];
        layer.health.refused(&layer.place, &inner.logger, &fault, self.wanted, |fault| inner.stack.changed(fault));
        layer.health.tried(Some(&fault));
        if inner.stack.kin.in_child() {
            return Error::new(Code::Forked, "storing a key"); // the host forked while it heard of that
        }
        if !self.how.over && inner.look(self.key).is_ok() {
            return Error::new(Code::Exists, "storing a key");
        }
        inner.stack.error(index, fault).wanting(self.wanted)
    }

    /// Notes that a tier refused; fails where the next one would too.
    pub fn refused(&mut self, index: usize, fault: Fault) -> Result<()> {
        let inner = self.inner;
        inner.check_change()?; // a shutdown removes the store's directories: that is no refusal of the tier
        if fault.is_final() {
            let error = inner.stack.error(index, fault).wanting(self.wanted);
            return Err(inner.note_failed(error));
        }
        if fault.is_exposed() {
            return Err(self.hidden(index, fault));
        }
        let layer = &inner.stack.layers[index];
        layer.health.refused(&layer.place, &inner.logger, &fault, self.wanted, |fault| inner.stack.changed(fault));
        if inner.stack.kin.in_child() {
            return Err(Error::new(Code::Forked, "storing a key")); // the host forked while it heard of that
        }
        crate::sys::try_push(&mut self.refusals, (index, fault))
            .map_err(|_| Error::new(Code::NoMemory, "storing a key"))
    }

    /// A filled draft in the first tier that can take it: from `from` on to the last, then the first `again` once more.
    pub fn draft(&mut self, from: usize, again: usize, old: Option<Old>, fill: &mut Fill) -> Result<(usize, Draft)> {
        let stack = &self.inner.stack;
        for index in (from..stack.layers.len()).chain(0..again) {
            if self.in_memory_alone && Some(index) != stack.memory {
                continue;
            }
            let tier = &stack.layers[index].tier;
            let filled = tier.draft(self.key).and_then(|mut draft| {
                fill(tier, &mut draft, old)?;
                Ok(draft)
            });
            match filled {
                Ok(draft) => return Ok((index, draft)),
                Err(fault) => self.refused(index, fault)?,
            }
        }
        Err(self.exhausted())
    }

    /// All tiers refused.
    fn exhausted(&self) -> Error {
        let inner = self.inner;
        if !self.how.over && inner.look(self.key).is_ok() {
            return Error::new(Code::Exists, "storing a key");
        }
        let error = inner.refusal(&self.refusals).wanting(self.wanted);
        inner.logger.say_rarely(Level::Error, format_args!("no tier took a blob: {error}"));
        error
    }

    /// Makes the draft the blob of its key; moves it to the next tier where its own refuses at the last moment.
    pub fn publish(&mut self, mut index: usize, mut draft: Draft, fill: &mut Fill) -> Result<()> {
        let inner = self.inner;
        let mut lost = 0;
        let mut patience = PATIENCE; // of all tries together
        loop {
            let published = {
                let waiting = Deadline::after(patience);
                let lock = inner.stack.lock(self.key, patience)?;
                patience = waiting.left();
                inner.check_change()?; // under the lock, so that a shutdown that waits for it sees all
                let published = inner.stack.publish(&lock, index, &mut draft, self.key, self.how);
                published.map_err(|error| inner.note_failed(error))?
            };
            let old = Old { index, draft: &draft };
            let from = match published {
                Published::Done => {
                    let layer = &inner.stack.layers[index];
                    layer.health.took(&layer.place, &inner.logger);
                    return Ok(());
                }
                Published::Refused(fault) if fault.is_lost_ground() && lost < GROUND_TRIES => {
                    lost += 1;
                    inner.check_change()?; // a shutdown takes the ground away too
                    inner.stack.refresh(index).map_err(|error| inner.note_failed(error))?;
                    index
                }
                Published::Refused(fault) => {
                    self.refused(index, fault)?;
                    index + 1
                }
                Published::Hidden(index, fault) => return Err(self.hidden(index, fault)),
                Published::InMemoryAlone => {
                    self.in_memory_alone = true;
                    0
                }
            };
            (index, draft) = self.draft(from, 0, Some(old), fill)?;
        }
    }
}
