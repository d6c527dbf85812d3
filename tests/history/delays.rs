//! Stands in for the C library where names are made, removed and looked for, to delay these calls now and then.
use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Which calls of a thread are delayed, one of so many: those that make names, remove them, and look for them; 0: none.
#[derive(Clone, Copy, Default)]
pub struct Pace {
    pub makes: u64,
    pub removes: u64,
    pub looks: u64,
    /// In microseconds.
    pub longest: u64,
}

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { makes: 0, removes: 0, looks: 0, longest: 0 }) };
}
static DICE: AtomicU64 = AtomicU64::new(0);

/// Sets the pace of this thread, and of children that it forks.
pub fn set(pace: Pace) {
    PACE.set(pace);
}

/// In a child of a fork too: it takes no lock.
fn dawdle(of: u64) {
    if of > 0 {
        let dice = DICE.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
        let dice = (dice ^ dice >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        if dice.is_multiple_of(of) {
            std::thread::sleep(Duration::from_micros(dice / of % PACE.get().longest));
        }
    }
}

/// Makes the call, with delays on both sides; errno stays that of the call.
fn delayed(number: libc::c_long, args: [usize; 5], of: u64) -> c_int {
    dawdle(of);
    let [a, b, c, d, e] = args;
    // SAFETY: what the caller passed to the function of this number.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    // SAFETY: this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    dawdle(of);
    // SAFETY: as above.
    unsafe { *errno = kept };
    answer as c_int
}

#[unsafe(no_mangle)]
extern "C" fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int) -> c_int {
    delayed(
        libc::SYS_linkat,
        [from as usize, old as usize, to as usize, new as usize, flags as usize],
        PACE.get().makes,
    )
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    delayed(libc::SYS_unlinkat, [dir as usize, path as usize, flags as usize, 0, 0], PACE.get().removes)
}

#[unsafe(no_mangle)]
extern "C" fn renameat(from: c_int, old: *const c_char, to: c_int, new: *const c_char) -> c_int {
    // (some machines have only the later call)
    delayed(libc::SYS_renameat2, [from as usize, old as usize, to as usize, new as usize, 0], PACE.get().makes)
}

// (in C it has no fixed number of arguments, which the caller does not see: all are passed alike)
#[unsafe(no_mangle)]
extern "C" fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    delayed(libc::SYS_openat, [dir as usize, path as usize, flags as usize, mode as usize, 0], PACE.get().looks)
}

#[unsafe(no_mangle)]
extern "C" fn fstatat(dir: c_int, path: *const c_char, stat: *mut libc::stat, flags: c_int) -> c_int {
    delayed(libc::SYS_newfstatat, [dir as usize, path as usize, stat as usize, flags as usize, 0], PACE.get().looks)
}
