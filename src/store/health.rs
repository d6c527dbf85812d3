//! How a tier does, for its statistics and for the log: a change of state is told, at most once in ten seconds for a
//! tier and direction.
use crate::error::{Changed, ErrnoName, Fault, Place, Shown, WrongMode};
use crate::options::{Level, Log};
use crate::sys::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst, fence};
use crate::sys::{self, Deadline, Text};
use std::fmt::Write;
use std::time::Duration;

const QUIET_NS: u64 = 10_000_000_000;

/// How long closing a store waits for threads in its log callback.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Health {
    pub stored: AtomicU64,
    pub refused: AtomicU64,
    pub last_errno: AtomicI32,
    /// It could be used when last tried.
    pub usable: AtomicBool,
    /// What was told last: that it refuses. Kept apart from how it is, since not every change may be told at once.
    told: AtomicBool,
    told_refusing: AtomicU64,
    told_taking: AtomicU64,
}

/// The host's callback, and who is in it.
pub struct Logger {
    log: Option<Box<dyn Log>>,
    closed: AtomicBool,
    inside: AtomicUsize,
    told: AtomicU64,
}

impl Logger {
    pub fn new(log: Option<Box<dyn Log>>) -> Logger {
        Logger { log, closed: AtomicBool::new(false), inside: AtomicUsize::new(0), told: AtomicU64::new(0) }
    }

    pub fn say(&self, level: Level, message: std::fmt::Arguments) {
        let Some(log) = &self.log else { return };
        self.inside.fetch_add(1, SeqCst);
        fence(SeqCst); // whoever closes sees us inside, or we see that it is closed
        if !self.closed.load(SeqCst) {
            let mut text = Text::<512>::new();
            let _ = text.write_fmt(message); // what does not fit is cut
            sys::thread::marked(self.tag(), || log.log(level, text.as_c_str()));
        }
        self.inside.fetch_sub(1, SeqCst);
    }

    /// Tells it from other stores' loggers.
    fn tag(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The same, at most once in ten seconds.
    pub fn say_rarely(&self, level: Level, message: std::fmt::Arguments) {
        if self.log.is_some() && due(&self.told) {
            self.say(level, message);
        }
    }

    /// After this the callback is not called any more, nor is another thread still in it. A store that is closed inside
    /// its own callback does not wait for that call, and nobody waits longer than [`CALLBACK_TIMEOUT`].
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        fence(SeqCst);
        let own = sys::thread::marks(self.tag());
        let deadline = Deadline::after(CALLBACK_TIMEOUT);
        while self.inside.load(SeqCst) > own && !deadline.is_over() {
            sys::sleep(Duration::from_millis(1)); // less where a signal comes
        }
    }
}

/// Whether something last told at `told` may be told again.
pub(super) fn due(told: &AtomicU64) -> bool {
    let now = sys::monotonic_ns().max(1);
    let last = told.load(SeqCst);
    (last == 0 || now.abs_diff(last) >= QUIET_NS) && told.compare_exchange(last, now, SeqCst, SeqCst).is_ok()
}

impl Health {
    /// The tier took a blob.
    pub fn took(&self, place: &Place, logger: &Logger) {
        self.stored.fetch_add(1, SeqCst);
        self.usable.store(true, SeqCst);
        if self.told.load(SeqCst) && due(&self.told_taking) {
            self.told.store(false, SeqCst);
            let (index, dir) = (place.index, Shown(place.bytes()));
            logger.say(Level::Info, format_args!("tier {index} ({dir}) takes blobs again"));
        }
    }

    /// The tier refused a blob of `wanted` bytes.
    pub fn refused(
        &self,
        place: &Place,
        logger: &Logger,
        fault: &Fault,
        wanted: u64,
        changed: impl FnOnce(&Fault) -> Option<Changed>,
    ) {
        self.refused.fetch_add(1, SeqCst);
        self.last_errno.store(fault.errno, SeqCst);
        if !self.told.load(SeqCst) && due(&self.told_refusing) {
            self.told.store(true, SeqCst);
            let (index, dir) = (place.index, Shown(place.bytes()));
            let (what, errno) = (fault.what, ErrnoName(fault.errno));
            let free = fault.free.map_or(Text::<40>::new(), |free| {
                let mut text = Text::new();
                let _ = write!(text, ", free {free} bytes"); // fits
                text
            });
            let mode = fault.mode.map_or(Text::<40>::new(), |mode| {
                let mut text = Text::new();
                let _ = write!(text, ", {}", WrongMode(mode)); // fits
                text
            });
            let (free, mode) = (Shown(free.as_bytes()), Shown(mode.as_bytes()));
            let changed = changed(fault).map_or(Text::<120>::new(), |changed| {
                let mut text = Text::new();
                let _ = write!(text, "{changed}"); // fits
                text
            });
            let changed = Shown(changed.as_bytes());
            logger.say(
                Level::Warning,
                format_args!(
                    "tier {index} ({dir}) refuses blobs: {what}: wanted {wanted} bytes{free}{mode}, {errno}{changed}"
                ),
            );
        }
    }

    /// The tier did not refuse a blob, but failed a change of what it has.
    pub fn failed(&self, errno: i32) {
        self.last_errno.store(errno, SeqCst);
    }

    /// Whether the tier could be used, told by what it was tried for.
    pub fn tried(&self, fault: Option<&Fault>) {
        self.usable.store(fault.is_none(), SeqCst);
        if let Some(fault) = fault {
            self.last_errno.store(fault.errno, SeqCst);
        }
    }
}
