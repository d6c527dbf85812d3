//! `put` and `get`: files and pipes.
//!
//! Whatever ends a transfer, nothing half done is left: neither a draft in the store, nor a part of a file. On a signal
//! that ends us, a thread of our own takes both away.
use crate::cli::{Access, Context, dirs, is_standard};
use crate::failure::{Answer, Failure};
use crate::show::{self, Blob, Out};
use crate::streams::{self, Output};
use crate::tiers;
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fmt::Write as Text;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempPath;
use vfs::{Flags, Key, Stat, Store};

/// How much is moved at a time.
const PART: usize = 1 << 20;
/// What is done earlier than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// `errno` of a write from memory that is not there: a blob that was cut short.
const EFAULT: i32 = 14;

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
fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> Answer {
    let watching = |error| Failure::io("watching for signals", error);
    let mut signals = Signals::new(heeded(&[SIGINT, SIGTERM, SIGHUP])).map_err(watching)?;
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

/// How far a transfer is, told on a terminal if it takes long.
struct Progress {
    begun: Instant,
    total: Option<u64>,
    done: u64,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    fn new(total: Option<u64>, wanted: bool) -> Progress {
        Progress { begun: Instant::now(), total, done: 0, bar: None, wanted: wanted && io::stderr().is_terminal() }
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.wanted && self.bar.is_none() && self.begun.elapsed() >= PATIENCE {
            let template = match self.total {
                Some(_) => "[{bar:30}] {binary_bytes} of {binary_total_bytes}, {rate}, {left} left",
                None => "{binary_bytes}, {rate}",
            };
            let bar = ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(template) {
                let style =
                    style.progress_chars("=> ").with_key("rate", |state: &ProgressState, out: &mut dyn Text| {
                        let _ = write!(out, "{}/s", BinaryBytes(rate(state) as u64));
                    });
                bar.set_style(style.with_key("left", |state: &ProgressState, out: &mut dyn Text| {
                    let left = state.len().unwrap_or(0).saturating_sub(state.pos()) as f64 / rate(state).max(1.0);
                    let _ = write!(out, "{:#}", HumanDuration(Duration::from_secs_f64(left.min(1e9))));
                }));
            }
            self.bar = Some(bar.with_elapsed(self.begun.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }
}

/// Bytes a second since the beginning. The bar's own rate would be that since it is shown, with all that was done before.
fn rate(state: &ProgressState) -> f64 {
    state.pos() as f64 / state.elapsed().as_secs_f64().max(0.001)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A file as it is told.
fn named(file: &Path, standard: &str) -> String {
    match is_standard(file) {
        true => standard.into(),
        false => show::text(file.as_os_str().as_encoded_bytes()),
    }
}

/// What to store, and how much that is, where it is known.
fn open_input(file: &Path) -> io::Result<(File, Option<u64>)> {
    let mut input = match is_standard(file) {
        true => streams::input()?,
        false => File::open(file)?,
    };
    let meta = input.metadata()?;
    let size = match meta.is_file() {
        true => Some(meta.len().saturating_sub(input.stream_position()?)),
        false => None,
    };
    Ok((input, size))
}

pub fn put(context: &Context, key: &OsString, file: &Path, replace: bool) -> Answer {
    let key = show::key(key)?;
    let reading = |error| Failure::io(named(file, streams::INPUT), error);
    let (input, size) = open_input(file).map_err(reading)?;
    let store = context.open(Access::Change)?;
    with_shutdown(store, |store| put_from(input, size, reading, context, store, &key, replace))
}

/// Leaves nothing of this store's behind, also where a signal ends the process meanwhile.
pub fn with_shutdown(store: Store, work: impl FnOnce(&Store) -> Answer) -> Answer {
    let store = Arc::new(store);
    let interrupted = Arc::clone(&store);
    let shut_down = |store: &Store| {
        let _ = store.shutdown(); // what cannot be removed now is for a reaper
    };
    on_interrupt(move || shut_down(&interrupted))?;
    let answer = work(&store);
    shut_down(&store); // the thread that waits for signals keeps it
    answer
}

fn put_from(
    mut input: File,
    size: Option<u64>,
    reading: impl Fn(io::Error) -> Failure,
    context: &Context,
    store: &Store,
    key: &Key,
    replace: bool,
) -> Answer {
    let about = |error: vfs::Error| Failure::about(show::text(key.as_bytes()), &error);
    let mut writer = store.create(key, size.unwrap_or(0), Flags { replace, persist: true }).map_err(about)?;
    let mut progress = Progress::new(size, true);
    let mut part = vec![0; PART];
    loop {
        match input.read(&mut part) {
            Ok(0) => break,
            Ok(len) => {
                writer.write(&part[..len]).map_err(about)?;
                progress.add(len);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(reading(error)),
        }
    }
    drop(progress);
    writer.seal().map_err(about)?;
    if context.json {
        let stat = store.stat(key).map_err(about)?;
        let mut out = Out::new();
        out.json(&Blob::new(key.as_bytes(), &stat, &dirs(store)?))?;
        out.end()?;
    }
    Ok(())
}

/// What `get --json` tells. Fields are only ever added.
#[derive(Serialize)]
struct Got {
    #[serde(flatten)]
    blob: Blob,
    offset: u64,
    length: u64,
}

pub fn get(context: &Context, key: &OsString, file: &Path, offset: u64, length: Option<u64>) -> Answer {
    let key = show::key(key)?;
    let store = tiers::open_to_look(context)?;
    let about = |error: vfs::Error| Failure::about(show::text(key.as_bytes()), &error);
    let mut stat = Stat::default();
    let view = store.map(&key, Some(&mut stat)).map_err(about)?;
    let begin = usize::try_from(offset).map_or(view.len(), |offset| offset.min(view.len()));
    let most = view.len() - begin;
    let len = length.and_then(|length| usize::try_from(length).ok()).map_or(most, |length| length.min(most));
    let bytes = &view[begin..begin + len];
    let writing = |error: io::Error| match (error.raw_os_error(), error.kind()) {
        (Some(EFAULT), _) => {
            let cut_short = io::Error::other("the blob was cut short while it was read, or its medium failed");
            Failure::io(show::text(key.as_bytes()), cut_short)
        }
        (_, ErrorKind::BrokenPipe) => Failure::BrokenPipe,
        _ => Failure::io(named(file, streams::OUTPUT), error),
    };
    match is_standard(file) {
        true => {
            // On one terminal, the bar would be written into what is shown.
            let progress = Progress::new(Some(len as u64), !io::stdout().is_terminal());
            copy(bytes, &mut Output::new(), progress).map_err(writing)?;
        }
        false => write_file(bytes, file, writing)?,
    }
    if context.json {
        // Whether it is an orphan is not told of a view.
        match store.stat(&key) {
            Ok(now) if now.id == stat.id => stat = now,
            _ => {}
        }
        let blob = Blob::new(key.as_bytes(), &stat, &dirs(&store)?);
        let got = Got { blob, offset: begin as u64, length: len as u64 };
        match is_standard(file) {
            true => {
                let told = serde_json::to_string(&got).map_err(io::Error::from)? + "\n";
                let telling = |error| Failure::io(format!("writing to the {}", streams::ERROR), error);
                Output::error().write_all(told.as_bytes()).map_err(telling)?;
            }
            false => {
                let mut out = Out::new();
                out.json(&got)?;
                out.end()?;
            }
        }
    }
    Ok(())
}

/// Writes the bytes of a view straight from where they lie. If a program truncates the blob's file behind the library's
/// back, looking at them would be a SIGBUS; for the kernel, which does the looking here, it is EFAULT.
fn copy(bytes: &[u8], out: &mut dyn Write, mut progress: Progress) -> io::Result<()> {
    for part in bytes.chunks(PART) {
        out.write_all(part)?;
        progress.add(part.len());
    }
    Ok(())
}

/// Makes a file whole or not at all, in the place of one that is there. What is no file, such as a pipe or a device, is
/// written to as it is.
fn write_file(bytes: &[u8], file: &Path, writing: impl Fn(io::Error) -> Failure) -> Answer {
    let progress = Progress::new(Some(bytes.len() as u64), true);
    let before = fs::metadata(file).ok();
    if before.as_ref().is_some_and(|meta| !meta.is_file()) {
        let out = File::options().write(true).open(file);
        return out.and_then(|mut out| copy(bytes, &mut out, progress)).map_err(writing);
    }
    let file = match before {
        Some(_) => fs::canonicalize(file),
        None => followed(file),
    };
    let file = file.map_err(&writing)?;
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vfsctl-").permissions(fs::Permissions::from_mode(0o666)); // less the umask
    // The file is made, and takes its name, while its path is held: so a signal finds it there, or not made yet.
    let part: Arc<Mutex<Option<TempPath>>> = Arc::default();
    let interrupted = Arc::clone(&part);
    on_interrupt(move || {
        let mut path = hold(&interrupted);
        drop(path.take());
        std::mem::forget(path); // nobody goes on
    })?;
    let make = |part: &mut Option<TempPath>| -> io::Result<File> {
        let (file, path) = builder.tempfile_in(dir)?.into_parts();
        *part = Some(path);
        Ok(file)
    };
    let mut out = make(&mut hold(&part)).map_err(&writing)?;
    let written = copy(bytes, &mut out, progress).and_then(|()| match &before {
        Some(meta) => out.set_permissions(meta.permissions()),
        None => Ok(()),
    });
    let mut path = hold(&part);
    match path.take() {
        Some(path) => written.and_then(|()| path.persist(&file).map_err(|error| error.error)).map_err(writing),
        None => Err(writing(ErrorKind::Interrupted.into())), // not reached: it is taken once
    }
}

/// What a link leads to, not the link, though nothing is there yet.
fn followed(file: &Path) -> io::Result<PathBuf> {
    let mut file = file.to_path_buf();
    for _ in 0..40 {
        match fs::read_link(&file) {
            Ok(to) => file = file.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(file),
        }
    }
    fs::metadata(&file).map(|_| file) // the system's word on as many
}

fn hold(path: &Mutex<Option<TempPath>>) -> MutexGuard<'_, Option<TempPath>> {
    path.lock().unwrap_or_else(PoisonError::into_inner)
}
