//! `tiers` and `watch`: what each tier holds, what is free, and what it refuses.
//!
//! The counts of `vfs_tier_stat` are those of the handle that asks, and ours has just been opened. What a tier holds is
//! therefore added up from the listing, and what it refuses is found by trying.
use crate::blobs;
use crate::cli::{Access, Context};
use crate::failure::{Answer, Failure};
use crate::show::{self, Out};
use crate::streams;
use crate::transfer;
use crate::user::{self, Other};
use serde::Serialize;
use std::cell::OnceCell;
use std::ffi::{CStr, OsStr};
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use vfs::{Code, Flags, Key, Level, Log, Store, TierKind, TierStat};

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ready,
    /// The directory is there, and this user has no store in it.
    Unused,
    Refused,
}

/// A tier, as `--json` tells it. Fields are only ever added.
#[derive(Serialize)]
struct Tier {
    tier: u32,
    kind: &'static str,
    dir: String,
    state: State,
    errno: i32,
    reason: Option<String>,
    blobs: u64,
    bytes: u64,
    orphans: u64,
    free_bytes: u64,
    total_bytes: u64,
    free_inodes: u64,
    total_inodes: u64,
    takes: Option<bool>,
    other_users: Vec<Other>,
}

impl Tier {
    fn new(index: u32, stat: &TierStat) -> Tier {
        let dir = stat.dir.map_or(&b"memory"[..], CStr::to_bytes);
        let state = match stat.usable {
            true => State::Ready,
            // What only looks does not make the directory of ours that it misses.
            false if stat.last_errno == ENOENT && Path::new(OsStr::from_bytes(dir)).is_dir() => State::Unused,
            false => State::Refused,
        };
        let errno = if state == State::Refused { stat.last_errno } else { 0 };
        let trouble = stat.trouble.filter(|_| state == State::Refused).map(|trouble| trouble.to_string());
        Tier {
            tier: index,
            kind: match stat.kind {
                TierKind::Shm => "shm",
                TierKind::Dir => "dir",
                TierKind::Memory => "memory",
            },
            dir: show::text(dir),
            state,
            errno,
            reason: trouble.or_else(|| (errno != 0).then(|| show::errno(errno))),
            blobs: 0,
            bytes: 0,
            orphans: 0,
            free_bytes: stat.free_bytes,
            total_bytes: stat.total_bytes,
            free_inodes: stat.free_inodes,
            total_inodes: stat.total_inodes,
            takes: None,
            other_users: Vec::new(),
        }
    }

    fn state(&self) -> String {
        match (self.state, &self.reason) {
            (State::Ready, _) => "ready".into(),
            (State::Unused, _) => "unused".into(),
            (State::Refused, None) => "refused".into(),
            (State::Refused, Some(reason)) => format!("refused: {reason}"),
        }
    }

    fn room(&self) -> String {
        match self.total_bytes {
            0 => "not told".into(),
            total => format!("{} of {}", show::size(self.free_bytes), show::size(total)),
        }
    }
}

const ENOENT: i32 = 2;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Opens a store to look for blobs. To the library a tier that it cannot use has none: a mistyped list of tiers would
/// look like an empty store.
pub fn open_to_look(context: &Context) -> Answer<Store> {
    let store = context.open(Access::Look)?;
    let (mut refused, mut looked_into) = (Vec::new(), 0);
    while let Some(stat) = store.tier_stat(refused.len() as u32 + looked_into)? {
        let tier = Tier::new(refused.len() as u32 + looked_into, &stat);
        match tier.state {
            State::Refused if ![ENFILE, EMFILE].contains(&tier.errno) => refused.push(tier),
            _ => looked_into += 1, // or this process cannot, as it is told later on
        }
    }
    // One that is not there is everyday life, where there are others.
    refused.retain(|tier| looked_into == 0 || tier.errno != ENOENT);
    for tier in refused {
        let what = format!("tier {} ({}) is not looked into", tier.tier, tier.dir);
        let error = std::io::Error::from_raw_os_error(tier.errno);
        let failure = Failure::io_because(what, &error, tier.reason.as_deref().unwrap_or("refused"));
        if looked_into == 0 {
            return Err(failure);
        }
        failure.say();
    }
    Ok(store)
}

fn others_at(dir: &CStr) -> Vec<Other> {
    user::others(Path::new(OsStr::from_bytes(dir.to_bytes())))
}

/// The other users who have stores on any tier, looked for once and only where that is needed: one user's stores are not
/// another's, not even for root, who may not expect it.
pub struct Elsewhere<'a> {
    store: &'a Store,
    others: OnceCell<Vec<Other>>,
}

impl<'a> Elsewhere<'a> {
    pub fn of(store: &'a Store) -> Elsewhere<'a> {
        Elsewhere { store, others: OnceCell::new() }
    }

    fn sentence(&self) -> Option<String> {
        let others = self.others.get_or_init(|| {
            let (mut others, mut index) = (Vec::new(), 0);
            while let Ok(Some(stat)) = self.store.tier_stat(index) {
                others.extend(stat.dir.map_or(Vec::new(), others_at));
                index += 1;
            }
            others.sort();
            others.dedup();
            others
        });
        let who = (!others.is_empty()).then(|| user::list(others));
        who.map(|who| format!("other users have stores here: {who}; see --user"))
    }

    /// Says so on the standard error; with --json only `tiers` does.
    pub fn note(&self, context: &Context) {
        if let Some(sentence) = (!context.json).then(|| self.sentence()).flatten() {
            streams::say(&format!("note: {sentence}"));
        }
    }

    /// What the library answered about a key. It may be another user's.
    pub fn failure(&self, key: &Key, error: &vfs::Error) -> Failure {
        let failure = Failure::about(show::text(key.as_bytes()), error);
        match (error.code() == Code::NotFound).then(|| self.sentence()).flatten() {
            Some(sentence) => failure.and(sentence),
            None => failure,
        }
    }
}

/// The same of each tier, a line for one.
fn lines_of_others(tiers: &[Tier]) -> Vec<String> {
    let line = |tier: &Tier| {
        let who = user::list(&tier.other_users);
        format!("tier {} ({}) has stores of other users: {who}; see --user", tier.tier, tier.dir)
    };
    tiers.iter().filter(|tier| !tier.other_users.is_empty()).map(line).collect()
}

/// All tiers with what this store has there, and why that may be less than there is.
fn look(store: &Store) -> Answer<(Vec<Tier>, Answer)> {
    let mut tiers = Vec::new();
    while let Some(stat) = store.tier_stat(tiers.len() as u32)? {
        let mut tier = Tier::new(tiers.len() as u32, &stat);
        tier.other_users = stat.dir.map_or(Vec::new(), others_at);
        tiers.push(tier);
    }
    let (blobs, end) = match blobs::list(store) {
        Ok(listed) => listed,
        Err(failure) => (Vec::new(), Err(failure)), // no tier can be listed, which is what there is to tell
    };
    for (_, stat) in blobs {
        if let Some(tier) = tiers.get_mut(stat.tier as usize) {
            tier.blobs += 1;
            tier.bytes += stat.size;
            tier.orphans += u64::from(stat.orphan);
        }
    }
    Ok((tiers, end))
}

fn table(out: &mut impl Write, tiers: &[Tier]) -> std::io::Result<()> {
    let head = ["TIER", "KIND", "BLOBS", "BYTES", "ORPHANS", "FREE", "INODES FREE", "DIRECTORY", "STATE"];
    let right = [true, false, true, true, true, true, true, false, false];
    let row = |tier: &Tier| {
        let inodes = if tier.total_inodes == 0 { "-".into() } else { tier.free_inodes.to_string() };
        vec![
            tier.tier.to_string(),
            tier.kind.into(),
            tier.blobs.to_string(),
            show::size(tier.bytes),
            tier.orphans.to_string(),
            tier.room(),
            inodes,
            tier.dir.clone(),
            tier.state(),
        ]
    };
    show::table(out, &head, &right, &tiers.iter().map(row).collect::<Vec<_>>())
}

/// Keeps what the library says.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Log for Listener {
    fn log(&self, level: Level, message: &CStr) {
        if level == Level::Warning {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(show::text(message.to_bytes()));
        }
    }
}

/// Writes a blob of this size that nobody sees, and gives it up.
fn attempt(store: &Store, size: u64) -> Answer<()> {
    let key = Key::new(format!("vfsctl-try-{}", std::process::id()))?;
    let flags = Flags { replace: true, persist: true };
    let mut writer = store.create(&key, 0, flags)?; // no hint: each tier is to say for itself what it refuses
    let len = usize::try_from(size).map_err(|_| Failure::usage("--try: more bytes than there are addresses"))?;
    writer.reserve(len)?;
    writer.reserve(0)?; // now they count
    Ok(())
}

pub fn tiers(context: &Context, try_size: Option<u64>) -> Answer {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    match try_size {
        None => tell(context, &context.open(Access::Look)?, None, &heard),
        Some(size) => {
            let store = context.open_heard(Access::Change, Some(Box::new(Listener(Arc::clone(&heard)))))?;
            transfer::with_shutdown(store, |store| {
                let tried = attempt(store, size);
                tell(context, store, Some((size, tried)), &heard)
            })
        }
    }
}

fn tell(context: &Context, store: &Store, tried: Option<(u64, Answer)>, heard: &Mutex<Vec<String>>) -> Answer {
    let (mut tiers, listed) = look(store)?;
    let mut answer = listed;
    let mut words = Vec::new();
    if let Some((size, tried)) = tried {
        let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        let mut taken = tried.is_err();
        for tier in &mut tiers {
            let Some(stat) = store.tier_stat(tier.tier)? else { break };
            tier.takes = Some(!taken && stat.refused == 0);
            if tier.takes == Some(true) {
                taken = true;
                words.push(format!("a blob of {} goes to tier {} ({})", show::size(size), tier.tier, tier.dir));
            }
            if stat.refused > 0 {
                let own = format!("tier {} ", tier.tier);
                let said = heard.iter().find(|said| said.starts_with(&own));
                words.extend(said.cloned());
                (tier.state, tier.errno) = (State::Refused, stat.last_errno);
                let trouble = stat.trouble.map(|trouble| trouble.to_string()); // with the command that mends it
                tier.reason = trouble.or_else(|| said.cloned()).or_else(|| Some(show::errno(stat.last_errno)));
            }
        }
        answer = tried.and(answer);
    }
    let mut out = Out::new();
    if context.json {
        for tier in &tiers {
            out.json(tier)?;
        }
    } else {
        table(&mut out, &tiers)?;
        for word in lines_of_others(&tiers).into_iter().chain(words) {
            writeln!(out, "{word}")?;
        }
    }
    out.end()?;
    answer
}

#[derive(Serialize)]
struct Moment<'a> {
    at: String,
    tiers: &'a [Tier],
}

/// A frame of a terminal: from its upper left corner on, each line to its end, and nothing below.
fn frame(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

pub fn watch(context: &Context, interval: Duration, count: Option<u64>) -> Answer {
    let on_terminal = std::io::stdout().is_terminal() && !context.json;
    let name = context.store.as_deref().map_or("default".into(), |name| show::text(name.as_bytes()));
    let mut looks = 0;
    while count.is_none_or(|count| looks < count) {
        if looks > 0 {
            std::thread::sleep(interval);
        }
        looks += 1;
        // Opened anew each time: how a tier fares is found out at opening.
        let (tiers, listed) = look(&context.open(Access::Look)?)?;
        let now = SystemTime::now();
        let at = humantime::format_rfc3339_seconds(now);
        let mut out = Out::new();
        if context.json {
            out.json(&Moment { at: humantime::format_rfc3339_nanos(now).to_string(), tiers: &tiers })?;
        } else if on_terminal {
            let mut text = Vec::new();
            let every = humantime::format_duration(interval);
            writeln!(text, "store {name} at {at}, every {every}\n")?;
            table(&mut text, &tiers)?;
            for line in lines_of_others(&tiers) {
                writeln!(text, "{line}")?;
            }
            let first = if looks == 1 { "\x1b[2J" } else { "" };
            write!(out, "{first}{}", frame(&String::from_utf8_lossy(&text)))?;
        } else {
            for tier in &tiers {
                let blobs = if tier.blobs == 1 { "blob" } else { "blobs" };
                writeln!(
                    out,
                    "{at} tier {} ({}): {} {blobs}, {}, {} orphans; free {}; {}",
                    tier.tier,
                    tier.dir,
                    tier.blobs,
                    show::size(tier.bytes),
                    tier.orphans,
                    tier.room(),
                    tier.state()
                )?;
            }
        }
        out.end()?;
        if let Err(failure) = listed {
            failure.say();
        }
    }
    Ok(())
}
