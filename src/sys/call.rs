//! The seam: each system call is made here, so that a test can count them and make one fail.
use super::Os;
use super::process::errno;

/// Makes a call that answers -1 and an errno where it fails.
pub fn once<T: PartialEq + From<i8>>(name: &'static str, call: impl FnOnce() -> T) -> Os<T> {
    #[cfg(test)]
    if let Some(errno) = faults::meet(name) {
        return Err(errno);
    }
    let _ = name; // tests alone ask for it
    let answer = call();
    if answer == T::from(-1) { Err(errno()) } else { Ok(answer) }
}

/// The same, again for as long as a signal interrupts it.
pub fn retry<T: PartialEq + From<i8>>(name: &'static str, mut call: impl FnMut() -> T) -> Os<T> {
    loop {
        match once(name, &mut call) {
            Err(libc::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Makes calls of this thread fail, for tests.
#[cfg(test)]
pub mod faults {
    use std::cell::RefCell;

    struct Plan {
        /// Which call fails, counted from 1 among those named (or all); 0: none.
        nth: usize,
        name: Option<&'static str>,
        errno: i32,
        from_then_on: bool,
        seen: usize,
        calls: Vec<&'static str>,
    }

    thread_local! {
        static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    }

    /// Lets the `nth` call (of that name) fail, once or from then on.
    pub fn run<T>(
        nth: usize,
        name: Option<&'static str>,
        errno: i32,
        from_then_on: bool,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        PLAN.set(Some(Plan { nth, name, errno, from_then_on, seen: 0, calls: Vec::new() }));
        let result = work();
        let plan = PLAN.take();
        (result, plan.map(|p| p.calls).unwrap_or_default())
    }

    pub(super) fn meet(name: &'static str) -> Option<i32> {
        PLAN.with_borrow_mut(|plan| {
            let plan = plan.as_mut()?;
            plan.calls.push(name);
            if plan.name.is_some_and(|only| only != name) {
                return None;
            }
            plan.seen += 1;
            let hit = if plan.from_then_on { plan.nth != 0 && plan.seen >= plan.nth } else { plan.seen == plan.nth };
            hit.then_some(plan.errno)
        })
    }
}
