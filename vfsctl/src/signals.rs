//! What is done before a signal ends the process.
use crate::failure::{Answer, Failure};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU};
use signal_hook::iterator::Signals;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The signals that end a process by default, that others send or a limit does, and that can be waited for.
const ENDING: [i32; 10] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU, SIGVTALRM, SIGPROF];

/// A signal is ending this process.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// While a signal ends the process, nobody else ends it, nor says what failed by that.
pub fn stay_while_interrupted() {
    while INTERRUPTED.load(SeqCst) {
        std::thread::park();
    }
}

/// Those of the signals that this process was not told to ignore, as `nohup` tells it.
fn heeded(signals: &[i32]) -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signals.iter().copied().filter(|signal| ignored & 1 << (signal - 1) == 0).collect()
}

/// Before a signal ends the process, `clean_up` is called, from another thread.
pub fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> Answer {
    let watching = |error| Failure::io("watching for signals", error);
    let mut signals = Signals::new(heeded(&ENDING)).map_err(watching)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            INTERRUPTED.store(true, SeqCst);
            clean_up();
            let _ = signal_hook::low_level::emulate_default_handler(signal); // it does not come back
            std::process::abort();
        }
    };
    std::thread::Builder::new().spawn(wait).map_err(watching)?;
    Ok(())
}
