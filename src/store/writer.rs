//! A blob whose bytes come in parts. Its draft moves on when it outgrows its tier, unseen by the caller.
use super::place::{Old, Placement};
use super::stack::Layer;
use super::{Flags, Inner};
use crate::error::{Code, Error, Fault, Result};
use crate::key::Key;
use crate::sys::{self, Region, Shared};
use crate::tier::Tier;
use crate::tier::any::{AnyTier, Draft};

/// A draft moves in parts of this size.
const MOVE_PART: usize = 256 << 10;

/// A blob being written. Dropping it without [`Writer::seal`] leaves nothing behind.
pub struct Writer {
    inner: Shared<Inner>,
    key: Key,
    flags: Flags,
    index: usize,
    /// `None` once it is sealed or lost.
    draft: Option<Draft>,
    /// Why the last part was refused, until a later one is taken: what lacks a part must not be published unnoticed.
    refused: Option<Refused>,
    /// Memory handed out by `reserve`, whose bytes count at the next call.
    region: Option<Region>,
}

#[derive(Clone, Copy)]
struct Refused {
    code: Code,
    errno: i32,
    /// The number of the tier that refused it.
    tier: Option<usize>,
    /// The call had bytes of its own: to try again what was pending before it does not mend that.
    lost: bool,
}

/// Copies an older draft, then what is pending, into a new one.
fn refill(tier: &AnyTier, new: &mut Draft, old: Option<Old>, pending: &[&[u8]]) -> std::result::Result<(), Fault> {
    if let Some(old) = old {
        let mut part = Vec::new();
        let want = usize::try_from(old.draft.len()).unwrap_or(MOVE_PART).min(MOVE_PART);
        part.try_reserve_exact(want).map_err(|_| Fault::memory("moving a draft"))?;
        while new.len() < old.draft.len() {
            part.clear();
            sys::fill(&mut part, want, |space| old.draft.read(new.len(), space)).map_err(|f| f.of_source(old.index))?;
            if part.is_empty() {
                let short = Fault::os(libc::EIO, "moving a draft: it is shorter than what was written");
                return Err(short.of_source(old.index));
            }
            tier.append(new, &part)?;
        }
    }
    pending.iter().try_for_each(|bytes| tier.append(new, bytes))
}

impl Writer {
    pub(super) fn new(inner: Shared<Inner>, key: &Key, size_hint: u64, flags: Flags) -> Result<Writer> {
        let mut placement = Placement::new(&inner, key, flags, size_hint)?;
        placement.look_first()?;
        let lacks_room = |layer: &Layer| match &layer.tier {
            AnyTier::Dir(tier) => tier.check_room(size_hint).err(),
            AnyTier::Memory(tier) => tier.check_room(size_hint).err(),
        };
        let (mut from, mut passed) = (0, Vec::new());
        if size_hint > 0 {
            for (index, layer) in inner.stack.layers.iter().enumerate() {
                let Some(fault) = lacks_room(layer) else {
                    from = index;
                    break;
                };
                if fault.is_final() {
                    return Err(inner.stack.error(index, fault).wanting(size_hint));
                }
                sys::try_push(&mut passed, fault).map_err(|_| Error::new(Code::NoMemory, "beginning a blob"))?;
            }
        }
        // What fits nowhere is unknown, and passes over none.
        for (layer, fault) in inner.stack.layers[..from].iter().zip(&passed) {
            layer.health.refused(&layer.place, &inner.logger, fault, size_hint, |fault| inner.stack.changed(fault));
        }
        let (index, draft) = placement.draft(from, from, None, &mut |_, draft, _| draft.watch())?;
        drop(placement);
        Ok(Writer { inner, key: *key, flags, index, draft: Some(draft), refused: None, region: None })
    }

    fn check(&self) -> Result<()> {
        self.inner.check_change()
    }

    /// Makes what was reserved part of the blob, then `data`; moves to the next tier where this one refuses.
    fn put(&mut self, data: &[u8]) -> Result<()> {
        // Whether the key exists is decided when it is published.
        let moving = Flags { replace: true, ..self.flags };
        let draft = self.draft.as_mut().ok_or(Error::new(Code::Invalid, "using a writer that has ended"))?;
        draft.check().map_err(|fault| self.inner.stack.error(self.index, fault))?;
        let tier = &self.inner.stack.layers[self.index].tier;
        let mut pending: [&[u8]; 2] = [&[], data];
        let mut fault = None;
        if let Some(region) = self.region.take() {
            match tier.settle(draft, &region) {
                Ok(()) => {}
                Err(refused) => {
                    fault = Some(refused);
                    self.region = Some(region);
                }
            }
        }
        if fault.is_none() && !data.is_empty() {
            fault = tier.append(draft, data).err();
        }
        let Some(fault) = fault else {
            self.region = None;
            return Ok(());
        };
        if let Some(region) = &self.region {
            pending[0] = region.bytes();
        }
        let wanted = draft.len() + pending.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let mut placement = Placement::new(&self.inner, &self.key, moving, wanted)?;
        placement.refused(self.index, fault)?;
        let fill = &mut |tier: &AnyTier, new: &mut Draft, old: Option<Old>| {
            new.watch()?;
            refill(tier, new, old, &pending)
        };
        let (index, moved) =
            placement.draft(self.index + 1, self.index, Some(Old { index: self.index, draft }), fill)?;
        drop(placement);
        (self.index, self.draft, self.region) = (index, Some(moved), None);
        Ok(())
    }

    /// Remembers how a part of `len` bytes fared.
    fn note<T>(&mut self, len: usize, answer: Result<T>) -> Result<T> {
        match &answer {
            Err(error) => self.refuse(error.code(), error.errno(), error.tier(), len > 0),
            Ok(_) if len > 0 || self.refused.is_some_and(|refused| !refused.lost) => self.refused = None,
            Ok(_) => {} // nothing is no part
        }
        answer
    }

    fn refuse(&mut self, code: Code, errno: i32, tier: Option<usize>, lost: bool) {
        let lost = lost || self.refused.is_some_and(|refused| refused.lost);
        self.refused = Some(Refused { code, errno, tier, lost });
    }

    /// A part was not even looked at.
    #[cfg(feature = "capi")]
    pub(crate) fn lacks(&mut self, code: Code) {
        self.refuse(code, 0, None, true);
    }

    /// Appends. What fails has appended nothing, and may be tried again; until something is appended, `seal` fails too.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.check()?;
        let answer = self.put(data);
        self.note(data.len(), answer)
    }

    /// Appends `len` bytes for the caller to fill in place, until the next call on this writer. They cannot fault.
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8]> {
        self.check()?;
        let answer = self.try_reserve(len);
        self.note(len, answer)?;
        Ok(self.region.as_mut().map_or(&mut [], Region::bytes_mut))
    }

    fn try_reserve(&mut self, len: usize) -> Result<()> {
        self.put(&[])?;
        if len == 0 {
            return Ok(());
        }
        if len > isize::MAX as usize {
            return Err(Error::new(Code::Invalid, "reserving more bytes than there are addresses"));
        }
        // Whether the key exists is decided when it is published.
        let moving = Flags { replace: true, ..self.flags };
        let draft = self.draft.as_mut().ok_or(Error::new(Code::Invalid, "using a writer that has ended"))?;
        let fault = match self.inner.stack.layers[self.index].tier.reserve(draft, len) {
            Ok(region) => {
                self.region = Some(region);
                return Ok(());
            }
            Err(fault) => fault,
        };
        let wanted = draft.len() + len as u64;
        let mut placement = Placement::new(&self.inner, &self.key, moving, wanted)?;
        placement.refused(self.index, fault)?;
        let mut region = None;
        let fill = &mut |tier: &AnyTier, new: &mut Draft, old: Option<Old>| {
            new.watch()?;
            refill(tier, new, old, &[])?;
            region = Some(tier.reserve(new, len)?);
            Ok(())
        };
        let (index, moved) =
            placement.draft(self.index + 1, self.index, Some(Old { index: self.index, draft }), fill)?;
        drop(placement);
        (self.index, self.draft, self.region) = (index, Some(moved), region);
        Ok(())
    }

    /// Publishes the blob. Ends the writer, whatever the answer.
    pub fn seal(mut self) -> Result<()> {
        self.finish()
    }

    /// The same; afterwards the writer is of no more use but to be dropped.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.check()?;
        self.put(&[])?;
        if let Some(Refused { code, errno, tier, .. }) = self.refused {
            let fault = Fault::last(code, errno, "sealing a blob whose last part was refused");
            return Err(Error::on(fault, tier.and_then(|index| self.inner.stack.place(index))));
        }
        let draft = self.draft.take().ok_or(Error::new(Code::Invalid, "using a writer that has ended"))?;
        let mut placement = Placement::new(&self.inner, &self.key, self.flags, draft.len())?;
        let fill = &mut |tier: &AnyTier, new: &mut Draft, old: Option<Old>| refill(tier, new, old, &[]);
        placement.publish(self.index, draft, fill)
    }

    /// After a panic nothing is changed through this handle any more.
    #[cfg(feature = "capi")]
    pub(crate) fn poison(&self) {
        self.inner.poisoned.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.inner.stack.kin.in_child()
            && let Some(region) = self.region.take()
        {
            region.forget();
        }
    }
}
