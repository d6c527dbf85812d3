//! The tiers of one store, one above the other: finding a key in them, and changing it in all of them under its lock.
use super::health::{Health, Logger};
use super::keys::{KeyTable, Taken};
use crate::error::{Code, Error, Fault, Place, Result, Shown};
use crate::key::Key;
use crate::options::{Level, TierSpec};
use crate::sys::{self, Ident, KeyLockMode, Kin, NoMemory, Shared};
use crate::tier::any::{AnyTier, Draft, Hold};
use crate::tier::dir::{DirTier, Ground, Mode};
use crate::tier::memory::MemoryTier;
use crate::tier::{Found, Publish, Tier};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long a call waits for a key that another holds.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why a tier is not used whose directory became the same as an earlier one's after the store was opened.
const TWIN: &str = "using a tier: its directory is an earlier tier's";

/// One tier and how it does.
pub struct Layer {
    pub place: Shared<Place>,
    pub tier: AnyTier,
    pub health: Health,
}

pub struct Stack {
    pub name: Key,
    pub kin: Kin,
    pub layers: Vec<Layer>,
    /// Where a memory tier stands, which is looked into first.
    pub memory: Option<usize>,
    keys: KeyTable,
    /// When a reader last compared the grounds with their paths.
    compared_at: AtomicU64,
}

/// What a call has of a tier: its hold on the key, or why it cannot use it.
type Grip = std::result::Result<Hold, Fault>;

/// A key held in every tier that this call can use.
pub struct KeyLock<'a> {
    pub grips: Vec<Grip>,
    _taken: Option<Taken<'a>>,
}

impl KeyLock<'_> {
    pub fn hold(&self, index: usize) -> std::result::Result<&Hold, Fault> {
        self.grips
            .get(index)
            .map_or(Err(Fault::os(libc::EINVAL, "using a tier")), |grip| grip.as_ref().map_err(|fault| *fault))
    }
}

fn no_memory(_: NoMemory) -> Error {
    Error::new(Code::NoMemory, "opening a store")
}

/// The byte of the lock file that stands for a key of a store: FNV-1a, part of the layout on a tier.
fn lock_number(name: &Key, key: &Key) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for part in [name.as_bytes(), b"/", key.as_bytes()] {
        for &byte in part {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    hash >> 2 // a file offset, with room for the length behind it
}

impl Stack {
    pub fn new(
        specs: &[TierSpec],
        name: Key,
        uid: u32,
        mode: Mode,
        kin: Kin,
        logger: Option<&Logger>,
    ) -> Result<Stack> {
        let mut stack = Stack {
            name,
            kin,
            layers: Vec::new(),
            memory: None,
            keys: KeyTable::new(),
            compared_at: AtomicU64::new(0),
        };
        let mut seen: Vec<Ident> = Vec::new();
        for spec in specs {
            let dir: &[u8] = spec.dir.as_deref().unwrap_or(b"memory\0");
            let ident = match &spec.dir {
                Some(_) => sys::stat(None, c_str(dir)).ok().map(|meta| meta.ident),
                None => stack.memory.map(|_| Ident { dev: 0, ino: 0 }), // a second memory is the first
            };
            let twice = ident.is_some_and(|ident| spec.dir.is_none() || seen.contains(&ident));
            if twice {
                let dir = Shown(dir.strip_suffix(b"\0").unwrap_or(dir));
                if let Some(logger) = logger {
                    logger.say(Level::Info, format_args!("tier {dir} is the same as one before it, and dropped"));
                }
                continue;
            }
            if let Some(ident) = ident {
                sys::try_push(&mut seen, ident).map_err(no_memory)?;
            }
            let index = stack.layers.len();
            let place = Place { index: index as u32, dir: sys::try_concat(&[dir]).map_err(no_memory)? };
            let tier = match &spec.dir {
                Some(dir) => AnyTier::Dir(DirTier::new(spec, dir, uid, name, mode, kin).map_err(no_memory)?),
                None => {
                    stack.memory = Some(index);
                    AnyTier::Memory(MemoryTier::new(spec.max, kin).map_err(no_memory)?)
                }
            };
            let place = Shared::try_new(place).map_err(no_memory)?;
            sys::try_push(&mut stack.layers, Layer { place, tier, health: Health::default() }).map_err(no_memory)?;
        }
        Ok(stack)
    }

    /// The layers in the order in which a key is looked up: memory first.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = usize> + Clone {
        let rest = (0..self.layers.len()).filter(move |&index| Some(index) != self.memory);
        self.memory.into_iter().chain(rest)
    }

    pub fn dirs(&self) -> impl Iterator<Item = (usize, &DirTier)> {
        self.layers.iter().enumerate().filter_map(|(index, layer)| match &layer.tier {
            AnyTier::Dir(tier) => Some((index, tier)),
            AnyTier::Memory(_) => None,
        })
    }

    pub fn place(&self, index: usize) -> Option<&Shared<Place>> {
        self.layers.get(index).map(|layer| &layer.place)
    }

    pub fn error(&self, index: usize, fault: Fault) -> Error {
        Error::on(fault, self.place(index))
    }

    /// Looks for a key with `look` in one tier after the other, without a lock; after a miss that a blob's move
    /// between tiers may explain, once more under the key's lock.
    pub fn find<T>(
        &self,
        key: &Key,
        mut look: impl FnMut(&AnyTier) -> std::result::Result<Option<T>, Fault>,
    ) -> Result<(usize, T)> {
        self.compare_seldom();
        let (found, mut fault) = self.pass(&mut look)?;
        if let Some(found) = found {
            return Ok(found);
        }
        // A miss. The ground may have gone away under us, or come back.
        let mut renewed = false;
        for (index, tier) in self.dirs() {
            match tier.refresh() {
                Ok(new) => renewed |= new,
                Err(other) if other.is_final() => return Err(self.error(index, other)),
                Err(other) => fault = fault.or(Some((index, other))),
            }
        }
        if self.layers.len() > 1 {
            // A writer that moves a key holds it in both tiers: one of them is not the last.
            let _lock = self.lock_all(key, KeyLockMode::Shared, PATIENCE, self.layers.len() - 1)?;
            let (found, again) = self.pass(&mut look)?;
            if let Some(found) = found {
                return Ok(found);
            }
            fault = again;
        } else if renewed {
            let (found, again) = self.pass(&mut look)?;
            if let Some(found) = found {
                return Ok(found);
            }
            fault = again;
        }
        match fault {
            Some((index, fault)) => Err(self.error(index, fault)),
            None if self.kin.in_child() && self.memory_may_have() => {
                Err(Error::new(Code::Forked, "looking for a key that may be in the parent's memory"))
            }
            None => Err(Error::new(Code::NotFound, "looking for a key")),
        }
    }

    /// Compares all grounds with their paths, at most once a second: a reader whose tier was mounted over would find old
    /// blobs there for ever.
    fn compare_seldom(&self) {
        let (now, last) = (sys::monotonic_ns(), self.compared_at.load(Relaxed));
        if now.saturating_sub(last) >= 1_000_000_000
            && self.compared_at.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
            && last != 0
        {
            self.dirs().for_each(|(_, tier)| {
                let _ = tier.refresh(); // a fault shows where the key is looked for
            });
        }
    }

    /// Compares a tier's ground with its path, and replaces it where it is stale.
    pub fn refresh(&self, index: usize) -> Result<()> {
        match &self.layers[index].tier {
            AnyTier::Dir(tier) => tier.refresh().map(drop).map_err(|fault| self.error(index, fault)),
            AnyTier::Memory(_) => Ok(()),
        }
    }

    fn memory_may_have(&self) -> bool {
        self.layers.iter().any(|layer| matches!(&layer.tier, AnyTier::Memory(tier) if !tier.is_empty()))
    }

    /// One look through all tiers. A tier that fails does not hide the others; its fault counts where none has the key.
    #[allow(clippy::type_complexity)] // what was found, or what kept us from looking
    fn pass<T>(
        &self,
        look: &mut impl FnMut(&AnyTier) -> std::result::Result<Option<T>, Fault>,
    ) -> Result<(Option<(usize, T)>, Option<(usize, Fault)>)> {
        let mut first = None;
        for index in self.order() {
            if Some(index) == self.memory && self.kin.in_child() {
                continue; // a thread that is not in this process may be changing it
            }
            match look(&self.layers[index].tier) {
                Ok(Some(found)) => return Ok((Some((index, found)), None)),
                Ok(None) => {}
                Err(fault) if fault.is_final() => return Err(self.error(index, fault)),
                Err(fault) => first = first.or(Some((index, fault))),
            }
        }
        Ok((None, first))
    }

    /// Holds a key against all changes, in every tier that can be used.
    pub fn lock(&self, key: &Key, patience: Duration) -> Result<KeyLock<'_>> {
        self.lock_all(key, KeyLockMode::Exclusive, patience, self.layers.len())
    }

    /// The same in the first `count` tiers. Waits for at most `patience`, holding nothing meanwhile, so that two
    /// processes whose lists have another order do not block each other.
    fn lock_all(&self, key: &Key, mode: KeyLockMode, patience: Duration, count: usize) -> Result<KeyLock<'_>> {
        let number = lock_number(&self.name, key);
        let deadline = sys::monotonic_ns() + patience.as_nanos() as u64;
        let busy = || Error::new(Code::Busy, "waiting for a key that another changes");
        let taken = match self.kin.in_child() {
            true => None, // a thread that is not in this process may hold the table
            false => Some(self.keys.take(number, patience).ok_or_else(busy)?),
        };
        let mut grips: Vec<Grip> = Vec::new();
        grips.try_reserve_exact(count).map_err(|_| Error::new(Code::NoMemory, "locking a key"))?;
        let mut pause = Duration::from_micros(20);
        // Where a writer waits, its place in the queue: readers that come after it let it go first.
        let mut turn = None;
        loop {
            match self.try_grips(number, mode, count, &mut grips)? {
                None => return Ok(KeyLock { grips, _taken: taken }),
                Some(contended) => {
                    grips.clear();
                    if mode == KeyLockMode::Exclusive
                        && turn.as_ref().is_none_or(|&(index, _)| index != contended)
                        && let AnyTier::Dir(tier) = &self.layers[contended].tier
                    {
                        turn = tier.queue(number).map(|hold| (contended, hold));
                    }
                }
            }
            if sys::monotonic_ns() >= deadline {
                return Err(busy());
            }
            sys::sleep(pause);
            // The first in the queue looks often, the others seldom.
            if turn.is_none() {
                pause = (pause * 2).min(Duration::from_millis(1));
            }
        }
    }

    /// One try at all tiers; answers the one in which another holds the key.
    fn try_grips(&self, number: u64, mode: KeyLockMode, count: usize, grips: &mut Vec<Grip>) -> Result<Option<usize>> {
        for (index, layer) in self.layers.iter().enumerate().take(count) {
            let grip = match layer.tier.hold(number, mode) {
                // It may be our own hold in an earlier tier that is in the way.
                Ok(None) if self.twin(index, mode) => Err(Fault::os(libc::EEXIST, TWIN)),
                Ok(None) => return Ok(Some(index)),
                Ok(Some(hold)) => Ok(hold),
                Err(fault) if fault.is_final() => return Err(self.error(index, fault)),
                Err(fault) => Err(fault),
            };
            if mode == KeyLockMode::Exclusive {
                layer.health.tried(grip.as_ref().err());
            }
            grips.push(grip); // reserved by the caller
        }
        Ok(None)
    }

    /// Whether a tier's directory has become the same as an earlier one's: the key's byte would be locked twice.
    fn twin(&self, index: usize, mode: KeyLockMode) -> bool {
        let ground = |tier: &AnyTier| match tier {
            AnyTier::Dir(tier) => tier.ground(mode == KeyLockMode::Exclusive).ok(),
            AnyTier::Memory(_) => None,
        };
        let Some(ours) = ground(&self.layers[index].tier) else {
            return false;
        };
        let same = |other: Shared<Ground>| other.base_ident == ours.base_ident;
        self.layers[..index].iter().any(|layer| ground(&layer.tier).is_some_and(same))
    }

    /// What lies under a key in each tier but one. One that cannot be locked, such as a read-only one, is looked into all
    /// the same: a blob there is an answer; and where that fails too, it is skipped.
    fn look_all(&self, lock: &KeyLock, key: &Key, but: Option<usize>) -> Result<Vec<Option<Found>>> {
        let mut all = Vec::new();
        all.try_reserve_exact(self.layers.len()).map_err(|_| Error::new(Code::NoMemory, "looking for a key"))?;
        for (index, layer) in self.layers.iter().enumerate() {
            let found = match lock.hold(index) {
                _ if Some(index) == but => Ok(None),
                Ok(hold) => layer.tier.look_held(hold, key),
                Err(fault) if fault.what == TWIN => Ok(None),
                Err(_) => match layer.tier.look(key) {
                    Err(fault) if !fault.is_final() => Ok(None),
                    answer => answer,
                },
            };
            all.push(found.map_err(|fault| self.error(index, fault))?);
        }
        Ok(all)
    }

    /// Makes a draft in the tier `at` the blob of its key, and the only one in all tiers.
    pub fn publish(&self, lock: &KeyLock, at: usize, draft: &mut Draft, key: &Key, how: Publish) -> Result<Published> {
        let hold = match lock.hold(at) {
            Ok(hold) => hold,
            Err(fault) => return Ok(Published::Refused(fault)),
        };
        let tier = &self.layers[at].tier;
        // Its own tier answers for itself, unless what it has there is to be replaced.
        let all = self.look_all(lock, key, (!how.over).then_some(at))?;
        if !how.over {
            if all.iter().any(Option::is_some) {
                return Err(Error::new(Code::Exists, "storing a key"));
            }
        } else if let Some(memory) = self.memory
            && memory != at
            && all[memory].is_some()
        {
            return Ok(Published::InMemoryAlone);
        }
        let visible = self.order().find(|&index| all[index].is_some());
        if how.over {
            // What a killed replace left below the blob that is seen must not come up when that goes.
            self.clear_below(lock, key, &all, visible, at)?;
            if let Err(fault) = self.stamp_move(at, draft, visible, &all) {
                return Ok(Published::Refused(fault));
            }
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
            let _ = draft.stamp(sys::clock_ns(libc::CLOCK_REALTIME)); // with the older time until here
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
        let Some(visible) = visible.filter(|&visible| visible != at) else { return Ok(()) };
        let old = all[visible].map_or(0, |found| found.stored_at_ns);
        match self.is_above(visible, at) {
            true => draft.stamp(old.saturating_sub(1)),
            false => draft.stamp(sys::clock_ns(libc::CLOCK_REALTIME).max(old + 1)),
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

    /// Removes a key, lowest tier first, so that nothing older comes up when the one that is seen goes.
    pub fn remove(&self, lock: &KeyLock, key: &Key) -> Result<()> {
        let all = self.look_all(lock, key, None)?;
        let Some(visible) = self.order().find(|&index| all[index].is_some()) else {
            return Err(self.why_missing(lock));
        };
        self.clear_below(lock, key, &all, Some(visible), visible)?;
        self.clear(lock, key, &all, visible)
    }

    /// No tier that could be looked into has a key: is there one that could not?
    fn why_missing(&self, lock: &KeyLock) -> Error {
        let out = lock.grips.iter().enumerate().find_map(|(index, grip)| match grip {
            Err(fault) if !fault.is_nothing_here() && fault.what != TWIN => Some((index, *fault)),
            _ => None,
        });
        match out {
            Some((index, fault)) => self.error(index, fault),
            None => Error::new(Code::NotFound, "looking for a key"),
        }
    }

    /// Removes the blob of a key from the tier `at` if `is_ours` says so of it; where it is the one that is seen, what it
    /// hid below goes first. The owner's link stays.
    ///
    /// Only under the lock can be said whose it is: a file seen before may be published since, or be another by now.
    pub fn remove_owned(
        &self,
        at: usize,
        ground: &Ground,
        key: &Key,
        patience: Duration,
        is_ours: impl Fn(&Found) -> std::result::Result<bool, Fault>,
    ) -> Result<bool> {
        let on_tier = |fault| self.error(at, fault);
        let lock = self.lock(key, patience)?;
        let Some(ours) = ground.look(key).map_err(on_tier)? else { return Ok(false) };
        if !is_ours(&ours).map_err(on_tier)? {
            return Ok(false);
        }
        let all = self.look_all(&lock, key, Some(at))?;
        // Memory is one handle's alone, and hides nothing here.
        if self.dirs().map(|(index, _)| index).take_while(|&index| index < at).all(|index| all[index].is_none()) {
            for index in (at + 1..self.layers.len()).rev().filter(|&index| Some(index) != self.memory) {
                // What a killed replace left is older; a newer one was stored by somebody who does not share this tier.
                if all[index].is_some_and(|below| below.stored_at_ns < ours.stored_at_ns) {
                    self.clear(&lock, key, &all, index)?;
                }
            }
        }
        ground.unlink(key).map_err(on_tier)?;
        Ok(true)
    }
}

/// How publishing went.
pub enum Published {
    /// It is the blob of its key now.
    Done,
    /// The tier cannot have it.
    Refused(Fault),
    /// It replaces a blob in this process's memory, and stays there.
    InMemoryAlone,
}

fn c_str(bytes: &[u8]) -> &std::ffi::CStr {
    std::ffi::CStr::from_bytes_with_nul(bytes).unwrap_or(c"")
}
