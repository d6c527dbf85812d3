//! The seam: each system call is made here, so that a test can count them and make one fail.
use super::Os;
use std::ffi::CStr;

pub fn errno() -> i32 {
    // SAFETY: the C library's own, per thread.
    unsafe { *libc::__errno_location() }
}

pub fn set_errno(errno: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno }
}

/// What a call works on, so that a test can make the calls on one tier fail.
#[derive(Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code))]
pub enum On<'a> {
    /// A descriptor, or a path below it.
    Fd(i32),
    /// A path alone.
    Path(&'a CStr),
    Nothing,
}

/// Makes a call that answers -1 and an errno where it fails.
pub fn once<T: PartialEq + From<i8>>(name: &'static str, call: impl FnOnce() -> T) -> Os<T> {
    once_on(name, On::Nothing, call)
}

/// The same, again for as long as a signal interrupts it.
pub fn retry<T: PartialEq + From<i8>>(name: &'static str, call: impl FnMut() -> T) -> Os<T> {
    retry_on(name, On::Nothing, call)
}

/// As [`once`], and says what it works on.
pub fn once_on<T: PartialEq + From<i8>>(name: &'static str, on: On, call: impl FnOnce() -> T) -> Os<T> {
    #[cfg(test)]
    if let Some(errno) = faults::meet(name, on) {
        assert_ne!(errno, faults::PANIC, "armed at {name}");
        return Err(errno);
    }
    #[cfg(loom)]
    super::sync::meet_others();
    let _ = (name, on); // tests alone ask for them
    let answer = call();
    if answer == T::from(-1) { Err(errno()) } else { Ok(answer) }
}

/// As [`retry`], and says what it works on.
pub fn retry_on<T: PartialEq + From<i8>>(name: &'static str, on: On, mut call: impl FnMut() -> T) -> Os<T> {
    loop {
        match once_on(name, on, &mut call) {
            Err(libc::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Makes calls of this thread fail, for tests.
#[cfg(test)]
pub mod faults {
    use super::On;
    use std::cell::{Cell, RefCell};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::{RwLock, RwLockReadGuard};
    use std::time::Duration;

    type Hook = &'static dyn Fn();

    /// In place of an errno: a bug in the middle of things.
    pub const PANIC: i32 = i32::MIN;

    #[derive(Default)]
    struct Plan {
        /// Which call fails, counted from 1 among those named (or all); 0: none.
        nth: usize,
        name: Option<&'static str>,
        /// Calls on what lies below this directory alone are counted.
        below: Option<PathBuf>,
        errno: i32,
        from_then_on: bool,
        seen: usize,
        calls: Vec<&'static str>,
    }

    thread_local! {
        static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
        /// What happens before a call, and how many calls there are to it.
        static HOOK: Cell<Option<(usize, Hook)>> = const { Cell::new(None) };
        /// What this thread did not sleep through, in nanoseconds.
        static SKIPPED: Cell<u64> = const { Cell::new(0) };
    }

    /// Lets the `nth` call (of that name) fail, once or from then on. No kernel answers for ever with EINTR, which comes
    /// twice before each call goes through then, or with EEXIST, which comes forty times.
    pub fn run<T>(
        nth: usize,
        name: Option<&'static str>,
        errno: i32,
        from_then_on: bool,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        run_plan(Plan { nth, name, errno, from_then_on, ..Plan::default() }, work)
    }

    /// The same for the calls on one tier, whose directory this is: no other call fails or is counted.
    pub fn run_below<T>(
        dir: &Path,
        nth: usize,
        errno: i32,
        from_then_on: bool,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        run_plan(Plan { nth, below: Some(dir.to_owned()), errno, from_then_on, ..Plan::default() }, work)
    }

    fn run_plan<T>(plan: Plan, work: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
        PLAN.set(Some(plan));
        let result = work();
        let plan = PLAN.take();
        (result, plan.map(|p| p.calls).unwrap_or_default())
    }

    fn is_below(on: On, dir: &Path) -> bool {
        match on {
            On::Fd(fd) => {
                std::fs::read_link(format!("/proc/thread-self/fd/{fd}")).is_ok_and(|path| path.starts_with(dir))
            }
            On::Path(path) => Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).starts_with(dir),
            On::Nothing => false,
        }
    }

    /// Calls `hook` before the `nth` call; false where `work` makes fewer.
    pub fn interrupt(nth: usize, hook: Hook, work: impl FnOnce()) -> bool {
        HOOK.set(Some((nth, hook)));
        work();
        HOOK.take().is_none()
    }

    pub(super) fn meet(name: &'static str, on: On) -> Option<i32> {
        if let Some((left, hook)) = HOOK.take() {
            match left {
                1 => hook(),
                _ => HOOK.set(Some((left - 1, hook))),
            }
        }
        PLAN.with_borrow_mut(|plan| {
            let plan = plan.as_mut()?;
            if plan.below.as_ref().is_some_and(|dir| !is_below(on, dir)) {
                return None;
            }
            plan.calls.push(name);
            if plan.name.is_some_and(|only| only != name) {
                return None;
            }
            plan.seen += 1;
            let hit = match plan.seen.checked_sub(plan.nth) {
                _ if plan.nth == 0 => false,
                Some(later) if plan.from_then_on => match plan.errno {
                    libc::EINTR => later % 3 != 2,
                    libc::EEXIST => later < 40,
                    _ => true,
                },
                later => later == Some(0),
            };
            hit.then_some(plan.errno)
        })
    }

    /// Under a plan nobody sleeps: the clock goes on instead, a hundredfold, so that what waits for as long as it may
    /// is soon at its end.
    pub fn skip(time: Duration) -> bool {
        let planned = PLAN.with_borrow(Option::is_some);
        if planned {
            SKIPPED.set(SKIPPED.get() + 100 * time.as_nanos() as u64);
        }
        planned
    }

    pub fn skipped_ns() -> u64 {
        SKIPPED.get()
    }

    /// Held by tests whose thread has descriptors of its own, and exclusively by one that forks: the child's handler
    /// closes the descriptors of all locks by their numbers, which mean something else in another thread's table.
    pub static FORKING: RwLock<()> = RwLock::new(());

    /// Gives this thread a descriptor table of its own, with the standard streams alone: what it counts in it is its
    /// own doing, whatever other tests do at the time. The thread must end before what is answered goes.
    pub fn own_descriptors() -> RwLockReadGuard<'static, ()> {
        let guard = FORKING.read().unwrap_or_else(|e| e.into_inner());
        // SAFETY: descriptors of other threads stay open in their own table.
        let unshared = unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 2 /* CLOSE_RANGE_UNSHARE */)
        };
        assert_eq!(unshared, 0, "a descriptor table of this thread's own: {}", super::errno());
        guard
    }

    /// Mounts a tmpfs on `dir`, seen by this thread alone; false where that is not allowed.
    pub fn own_tmpfs(dir: &Path) -> bool {
        let dir = CString::new(dir.to_str().unwrap()).unwrap();
        // SAFETY: valid C strings; the namespace is this thread's own, and goes with it.
        unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(c"tmpfs".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), 0, c"size=64m".as_ptr().cast()) == 0
        }
    }
}
