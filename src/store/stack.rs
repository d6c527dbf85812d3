//! The tiers of one store, one above the other: finding a key in them, and changing it in all of them under its lock.
use super::health::{Health, Logger};
use super::keys::{KeyTable, Taken};
use crate::error::{Changed, Code, Error, Fault, Place, Result, Shown};
use crate::key::Key;
use crate::options::{Level, TierSpec};
use crate::sys::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sys::{self, Ident, KeyLockMode, Kin, NoMemory, Shared};
use crate::tier::Tier;
use crate::tier::any::{AnyTier, Hold};
use crate::tier::dir::{DirTier, Ground, Mode, StaleHold};
use crate::tier::memory::MemoryTier;
use std::time::Duration;

/// How long a call waits for a key that another holds.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reader lets a writer go first that waits for a key: one that was stopped while it waited must not keep the
/// key from readers.
const COURTESY: Duration = Duration::from_millis(100);

/// How often a reader looks again for a key that moves under its eyes, before it asks for the key's lock.
const LOOKS: usize = 8;

/// Why a tier is not used whose directory became the same as an earlier one's after the store was opened.
pub const TWIN: &str = "using a tier: its directory is an earlier tier's";

/// One tier and how it does.
pub struct Layer {
    pub place: Shared<Place>,
    pub tier: AnyTier,
    pub health: Health,
}

pub struct Stack {
    pub name: Key,
    pub kin: Kin,
    /// Who opened the store.
    uid: u32,
    pub layers: Vec<Layer>,
    /// Where a memory tier stands, which is looked into first.
    pub memory: Option<usize>,
    keys: KeyTable,
    /// When the grounds were last compared with their paths.
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
            uid,
            layers: Vec::new(),
            memory: None,
            keys: KeyTable::new(),
            compared_at: AtomicU64::new(sys::monotonic_ns()),
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
            let place = Place { index: index as u32, uid, dir: sys::try_concat(&[dir]).map_err(no_memory)? };
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

    /// A failure met where the tier `index` was asked, told with the tier that failed.
    pub fn error(&self, index: usize, fault: Fault) -> Error {
        Error::on(fault, fault.tier(index).and_then(|index| self.place(index))).noting(self.changed(&fault))
    }

    /// Whether a failure comes of what the process changed after it opened the store.
    pub fn changed(&self, fault: &Fault) -> Option<Changed> {
        match fault.errno {
            libc::EACCES | libc::EPERM => {
                let now = sys::acting_uid();
                (now != self.uid).then_some(Changed::User { opener: self.uid, now })
            }
            libc::EBADF if !self.kin.in_child() => Some(Changed::Descriptors),
            _ => None,
        }
    }

    /// Looks for a key with `look` in one tier after the other, without a lock; after a miss that a blob's move
    /// between tiers may explain, once more under the key's lock. A blob counts where no tier above it has one by then:
    /// it may be on its way down, and who comes later still sees the one above.
    pub fn find<T>(
        &self,
        key: &Key,
        mut look: impl FnMut(&AnyTier) -> std::result::Result<Option<T>, Fault>,
    ) -> Result<(usize, T)> {
        self.compare_seldom();
        let mut fault = None;
        for _ in 0..LOOKS {
            let (found, refused) = self.pass(None, &mut look)?;
            let Some(found) = found else {
                fault = refused;
                break;
            };
            let (above, _) = self.pass(Some(found.0), &mut |tier| tier.look(key))?;
            if above.is_none() {
                return Ok(found);
            }
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
            let _lock = self.lock_all(key, KeyLockMode::InTurn, PATIENCE, self.layers.len() - 1)?;
            let (found, again) = self.pass(None, &mut look)?;
            if let Some(found) = found {
                return Ok(found);
            }
            fault = again;
        } else if renewed {
            let (found, again) = self.pass(None, &mut look)?;
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
    /// blobs there for ever, and who only stores would not learn that others can reach our directories by now.
    fn compare_seldom(&self) {
        let (now, last) = (sys::monotonic_ns(), self.compared_at.load(Relaxed));
        if now.abs_diff(last) >= 1_000_000_000 && self.compared_at.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
        {
            self.dirs().for_each(|(_, tier)| {
                tier.leave_lost();
                let _ = tier.compare(); // a fault shows where the key is looked for
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

    /// One look through all tiers, or those above one. A tier that fails does not hide the others; its fault counts where
    /// none has the key.
    #[allow(clippy::type_complexity)] // what was found, or what kept us from looking
    fn pass<T>(
        &self,
        above: Option<usize>,
        look: &mut impl FnMut(&AnyTier) -> std::result::Result<Option<T>, Fault>,
    ) -> Result<(Option<(usize, T)>, Option<(usize, Fault)>)> {
        let mut first = None;
        for index in self.order().take_while(|&index| Some(index) != above) {
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
        self.compare_seldom();
        self.lock_all(key, KeyLockMode::Exclusive, patience, self.layers.len())
    }

    /// The same, and on a ground of the tier `at` that its path may no longer lead to: a room that is kept there.
    pub fn lock_with<'a>(
        &'a self,
        at: usize,
        ground: &'a Ground,
        key: &Key,
        patience: Duration,
    ) -> Result<(KeyLock<'a>, Option<StaleHold<'a>>)> {
        let deadline = sys::Deadline::after(patience);
        loop {
            let lock = self.lock(key, deadline.left())?;
            if lock.grips.iter().any(|grip| grip.as_ref().is_ok_and(|hold| hold.is_on(ground))) {
                return Ok((lock, None));
            }
            match ground.try_hold(lock_number(&self.name, key)) {
                Ok(Some(stale)) => return Ok((lock, Some(stale))),
                Ok(None) => {}
                // Nobody can lock what lies there.
                Err(_) if lock.hold(at).is_err() && ground.has_named_lock() => return Ok((lock, None)),
                Err(fault) => return Err(self.error(at, fault)),
            }
            drop(lock); // nothing is held while we wait
            if deadline.is_over() {
                return Err(Error::new(Code::Busy, "timed out waiting for the key's lock"));
            }
            sys::sleep(Duration::from_millis(1));
        }
    }

    /// The same in the first `count` tiers. Waits for at most `patience`, holding nothing meanwhile, so that two
    /// processes whose lists have another order do not block each other.
    fn lock_all(&self, key: &Key, mut mode: KeyLockMode, patience: Duration, count: usize) -> Result<KeyLock<'_>> {
        let number = lock_number(&self.name, key);
        let deadline = sys::Deadline::after(patience);
        let busy = || Error::new(Code::Busy, "timed out waiting for the key's lock");
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
            if deadline.is_over() {
                return Err(busy());
            }
            if mode == KeyLockMode::InTurn && deadline.waited() >= COURTESY {
                mode = KeyLockMode::Shared;
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
}

fn c_str(bytes: &[u8]) -> &std::ffi::CStr {
    std::ffi::CStr::from_bytes_with_nul(bytes).unwrap_or(c"")
}
