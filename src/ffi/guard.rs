//! What runs around the body of every exported function.
use super::types::{vfs_list_t, vfs_t, vfs_writer_t};
use crate::error::{Code, Error};
use crate::key::Key;
use crate::sys::{self, NoMemory, Text};
use std::any::Any;
use std::ffi::CStr;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why an exported function fails: the store's reason, or one that the boundary saw by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("{1}")]
    Boundary(Code, &'static str),
}

impl Failure {
    pub fn invalid(why: &'static str) -> Failure {
        Failure::Boundary(Code::Invalid, why)
    }

    pub fn code(&self) -> Code {
        match self {
            Failure::Store(error) => error.code(),
            Failure::Boundary(code, _) => *code,
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Failure::Store(error) => error.errno(),
            Failure::Boundary(Code::NoMemory, _) => libc::ENOMEM,
            Failure::Boundary(..) => 0,
        }
    }
}

impl From<NoMemory> for Failure {
    fn from(_: NoMemory) -> Failure {
        Failure::Boundary(Code::NoMemory, Code::NoMemory.text())
    }
}

/// The call under way, for its sentence should it fail.
pub(super) struct Call {
    name: &'static str,
    pub key: Option<Key>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)?;
        match &self.key {
            Some(key) => write!(f, " {key:?}"),
            None => Ok(()),
        }
    }
}

/// What a panic leaves in a state that nobody knows.
pub(super) trait Handle {
    fn poison(&self);
}

impl Handle for vfs_t {
    fn poison(&self) {
        self.store.poison();
    }
}

impl Handle for vfs_writer_t {
    fn poison(&self) {
        self.writer.poison();
    }
}

impl Handle for vfs_list_t {
    fn poison(&self) {
        self.list.poison();
    }
}

/// The state of the calling thread that a call leaves as it found it.
struct Entered {
    errno: i32,
    cancel: i32,
}

impl Entered {
    fn new() -> Entered {
        let errno = sys::errno();
        let cancel = sys::cancel_off();
        sys::begin_call();
        sys::thread::enter();
        Entered { errno, cancel }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        sys::thread::leave();
        sys::cancel_restore(self.cancel);
        sys::set_errno(self.errno);
    }
}

/// Runs the body of the exported function `name`. What it answers is returned; why it failed
/// becomes the thread's last error, and its code is returned.
///
/// # Safety
/// `handle` is NULL or live, and not borrowed mutably by anything but the body.
pub(super) unsafe fn answer<H: Handle>(
    name: &'static str,
    handle: *const H,
    body: impl FnOnce(&mut Call) -> Result<i32, Failure>,
) -> i32 {
    let _entered = Entered::new();
    let mut call = Call { name, key: None };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        super::tests::panic_if_armed();
        body(&mut call).unwrap_or_else(|failure| failed(&call, &failure))
    }));
    outcome.unwrap_or_else(|payload| {
        // SAFETY: live, says the caller, and the body is over.
        if let Some(handle) = unsafe { handle.as_ref() } {
            handle.poison();
        }
        panicked(&call, payload)
    })
}

/// The same for a body that has nothing to answer but that it went well.
///
/// # Safety
/// As for [`answer`].
pub(super) unsafe fn status<H: Handle>(
    name: &'static str,
    handle: *const H,
    body: impl FnOnce(&mut Call) -> Result<(), Failure>,
) -> i32 {
    // SAFETY: as the caller promised.
    unsafe { answer(name, handle, |call| body(call).map(|()| 0)) }
}

/// The same for a function that returns nothing, and so leaves the thread's last error alone.
pub(super) fn quietly(body: impl FnOnce()) {
    let _entered = Entered::new();
    let guarded = || {
        #[cfg(test)]
        super::tests::panic_if_armed();
        body()
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(guarded)) {
        discard(payload);
    }
}

#[cold]
fn failed(call: &Call, failure: &Failure) -> i32 {
    sys::thread::set_last(failure.errno(), format_args!("{call}: {failure}"));
    failure.code() as i32
}

/// How the sentence of the panic hook begins; no other last error begins so.
const HOOKED: &str = "panic at ";

#[cold]
fn panicked(call: &Call, payload: Box<dyn Any + Send>) -> i32 {
    // The hook knew where; it may have been replaced since, and then the payload tells what.
    let mut what = Text::<1024>::new();
    // SAFETY: NUL-terminated, and this thread's alone until its next failure.
    let last = unsafe { CStr::from_ptr(sys::thread::last_text()) }.to_str().unwrap_or("");
    let text = if last.starts_with(HOOKED) { last } else { message(&*payload) };
    let _ = what.write_str(text); // what does not fit is cut
    let what = what.as_c_str().to_str().unwrap_or("");
    sys::thread::set_last(0, format_args!("{call}: {}: {what}", Code::Panic.text()));
    discard(payload);
    Code::Panic as i32
}

/// What a panic said.
fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic"
    }
}

/// Drops a panic's payload, unless that could panic in turn.
fn discard(payload: Box<dyn Any + Send>) {
    if !(payload.is::<&str>() || payload.is::<String>()) {
        std::mem::forget(payload);
    }
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send>;

/// The hook that was there before ours.
static PREVIOUS: OnceLock<Hook> = OnceLock::new();

/// Installs the panic hook once: writing a message to a closed stderr would raise SIGPIPE in the
/// host. Whoever comes second does not wait, since the first may be a thread that `fork` left behind.
pub(super) fn silence_panics() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.swap(true, Ordering::Relaxed) {
        let _ = PREVIOUS.set(std::panic::take_hook());
        std::panic::set_hook(Box::new(hook)); // no size, so no memory
    }
}

fn hook(info: &PanicHookInfo<'_>) {
    if sys::thread::depth() == 0 {
        if let Some(previous) = PREVIOUS.get() {
            previous(info);
        }
        return;
    }
    let what = message(info.payload());
    match info.location() {
        Some(at) => sys::thread::set_last(0, format_args!("{HOOKED}{at}: {what}")),
        None => sys::thread::set_last(0, format_args!("{HOOKED}an unknown place: {what}")),
    }
}
