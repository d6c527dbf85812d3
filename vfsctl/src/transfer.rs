//! `put` and `get`: files and pipes.
//!
//! Whatever ends a transfer, nothing half done is left in the store, and no part of a file, unless it had to be written
//! in place (see `output`). On a signal that ends us, a thread of our own takes both away.
use crate::cli::{Access, Context, dirs, is_output, is_standard};
use crate::failure::{Answer, Failure};
use crate::output::{Contents, Failed, Files, PARTIAL, Source};
use crate::path::Place;
use crate::show::{self, Blob, Out};
use crate::signals::on_interrupt;
use crate::streams::{self, Output};
use crate::tiers::{self, Elsewhere};
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::fs::OFlags;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write as Text;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vfs::{Flags, Key, Stat, Store};

/// How much is moved at a time.
const PART: usize = 1 << 20;
/// What is done earlier than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// `errno` of a write from memory that is not there: a blob that was cut short.
const EFAULT: i32 = 14;

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
        false => Place::find(file)?.open(OFlags::RDONLY)?,
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
    let mut stat = Stat::default();
    let view = store.map(&key, Some(&mut stat)).map_err(|error| Elsewhere::of(&store).failure(&key, &error))?;
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
    match is_output(file) {
        true => {
            // On one terminal, the bar would be written into what is shown.
            let progress = Progress::new(Some(len as u64), !io::stdout().is_terminal());
            copy(bytes, &mut Output::new(), progress).and_then(|()| streams::end_output()).map_err(writing)?;
        }
        false => {
            let mut fill = |out: &mut dyn Write| copy(bytes, out, Progress::new(Some(len as u64), true));
            let contents = &mut Contents { len: len as u64, fill: &mut fill };
            let written = Files::new(Some(Source::of(&stat)))?.write(file, &named(file, ""), contents);
            written.map_err(|Failed { error, in_place }| match in_place {
                true => writing(error).and(PARTIAL),
                false => writing(error),
            })?;
        }
    }
    if context.json {
        // Whether it is an orphan is not told of a view.
        match store.stat(&key) {
            Ok(now) if now.id == stat.id => stat = now,
            _ => {}
        }
        let blob = Blob::new(key.as_bytes(), &stat, &dirs(&store)?);
        let got = Got { blob, offset: begin as u64, length: len as u64 };
        match is_output(file) {
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
