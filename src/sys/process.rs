//! What the process is and may: errno, clock, limits, environment, cancellation.
use super::Os;
use super::alloc::{NoMemory, try_concat};
use super::call::once;
use super::cgroup::lines;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::Duration;

unsafe extern "C" {
    fn pthread_setcancelstate(state: i32, old: *mut i32) -> i32;
}

/// Puts `pthread_cancel` off: it would unwind through Rust frames. Answers what to restore.
pub fn cancel_off() -> i32 {
    const PTHREAD_CANCEL_DISABLE: i32 = 1;
    let mut old = 0;
    // SAFETY: `old` outlives the call.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut old) };
    old
}

pub fn cancel_restore(old: i32) {
    let mut ignored = 0;
    // SAFETY: `ignored` outlives the call.
    unsafe { pthread_setcancelstate(old, &mut ignored) };
}

pub fn effective_uid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() }
}

/// The user as whom this thread makes files and is let in: the effective one, unless the thread called `setfsuid`. Read
/// from a file, since some filters of system calls kill who asks by `setfsuid`; so it is for failures alone.
pub fn acting_uid() -> u32 {
    let mut acting = None;
    lines(c"/proc/thread-self/status", |line| {
        if let Some(uids) = line.strip_prefix(b"Uid:") {
            acting = std::str::from_utf8(uids).ok().and_then(|uids| uids.split_whitespace().nth(3)?.parse().ok());
        }
    });
    acting.unwrap_or_else(effective_uid)
}

/// Whether the process has a second user, to change to and back.
pub fn has_second_user() -> bool {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: three places that outlive the call.
    let failed = unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) } != 0;
    failed || real != effective || saved != effective
}

/// Whether a user ID stands for one user. In a user namespace that maps nobody yet, all users are 65534.
pub fn is_one_user(uid: u32) -> bool {
    const OVERFLOW_UID: u32 = 65534;
    if uid != OVERFLOW_UID {
        return true;
    }
    let mut mapped = false;
    let readable = lines(c"/proc/self/uid_map", |line| {
        let mut fields = std::str::from_utf8(line).unwrap_or("").split_whitespace().map(str::parse::<u32>);
        if let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next()) {
            mapped |= uid >= first && uid - first < count;
        }
    });
    mapped || !readable
}

pub fn page_size() -> usize {
    // SAFETY: always succeeds for this name.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `now` is valid, and stays 0 should the clock be unknown.
    let now = unsafe {
        libc::clock_gettime(clock, now.as_mut_ptr());
        now.assume_init()
    };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + now.tv_nsec as u64
}

/// Time that never goes back, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    if cfg!(loom) {
        return 1 << 40; // what is done must not depend on how long it takes
    }
    let now = clock_ns(libc::CLOCK_MONOTONIC);
    #[cfg(test)]
    let now = now + super::call::faults::skipped_ns();
    now
}

/// A bound on waiting. It holds whatever becomes of the clock: a leap back counts as time too.
#[derive(Clone, Copy)]
pub struct Deadline {
    began: u64,
    patience: Duration,
}

impl Deadline {
    pub fn after(patience: Duration) -> Deadline {
        Deadline { began: monotonic_ns(), patience }
    }

    /// Time since it began.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().abs_diff(self.began))
    }

    /// Time left until then.
    pub fn left(&self) -> Duration {
        self.patience.saturating_sub(self.waited())
    }

    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// Sleeps, or less where a signal comes.
pub fn sleep(time: Duration) {
    #[cfg(loom)]
    if cfg!(loom) {
        loom::thread::yield_now(); // there is no time: whoever is waited for comes next
        return;
    }
    #[cfg(test)]
    if super::call::faults::skip(time) {
        return;
    }
    let time = libc::timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
    // SAFETY: `time` outlives the call.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

/// The largest file this process may write: beyond it the kernel sends SIGXFSZ before it answers.
pub fn file_size_limit() -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit64>::uninit();
    // SAFETY: `limit` is filled where the call succeeds.
    match once("getrlimit", || unsafe { libc::getrlimit64(libc::RLIMIT_FSIZE, limit.as_mut_ptr()) }) {
        // SAFETY: filled.
        Ok(_) => unsafe { limit.assume_init().rlim_cur },
        Err(_) => u64::MAX, // nothing known: the write itself will tell
    }
}

/// 64 bits that nobody can guess.
pub fn random() -> Os<u64> {
    let mut bytes = [0; 8];
    // SAFETY: the pointer and length are those of the array.
    let got = super::call::retry("getrandom", || unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 8, 0) })?;
    if got == 8 { Ok(u64::from_ne_bytes(bytes)) } else { Err(libc::EIO) }
}

/// A copy of a variable of the environment; `None` where it is not set, or the program runs with more rights than its
/// caller.
pub fn environment(name: &CStr) -> Result<Option<Box<[u8]>>, NoMemory> {
    // SAFETY: `getenv` answers NULL or a C string, which is copied at once.
    unsafe {
        if libc::getauxval(libc::AT_SECURE) != 0 {
            return Ok(None);
        }
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            return Ok(None);
        }
        try_concat(&[CStr::from_ptr(value).to_bytes()]).map(Some)
    }
}
