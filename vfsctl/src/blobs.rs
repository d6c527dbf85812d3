//! `ls`, `stat`, `rm`, `reap`: what lies in a store, and taking it away.
use crate::cli::{Access, Context, dirs};
use crate::failure::{Answer, Failure};
use crate::show::{self, Blob, Out};
use crate::tiers::{self, Elsewhere};
use serde::Serialize;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Write;
use vfs::{Code, Key, Stat, Store};

/// All blobs, by key, and why there may be more: a tier that cannot be listed does not hide the others.
pub fn list(store: &Store) -> Answer<(Vec<(Key, Stat)>, Answer)> {
    let mut listing = store.list()?;
    let mut blobs = Vec::new();
    let end = loop {
        match listing.next() {
            Ok(Some((key, stat))) => blobs.push((Key::new(key.to_bytes())?, stat)),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    blobs.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    blobs.dedup_by(|(a, _), (b, _)| a == b); // one that was replaced meanwhile may come twice
    Ok((blobs, end))
}

pub fn ls(context: &Context, keys_alone: bool) -> Answer {
    let store = tiers::open_to_look(context)?;
    let dirs = dirs(&store)?;
    let (blobs, end) = list(&store)?;
    let mut out = Out::new();
    let blobs = blobs.iter().map(|(key, stat)| Blob::new(key.as_bytes(), stat, &dirs));
    if context.json {
        for blob in blobs {
            out.json(&blob)?;
        }
    } else if keys_alone {
        for blob in blobs {
            writeln!(out, "{}", blob.key)?;
        }
    } else {
        let row = |blob: Blob| {
            vec![
                show::size(blob.size),
                blob.age_ms.map_or("-".into(), show::age),
                blob.state.name().into(),
                blob.dir,
                blob.key,
            ]
        };
        let rows: Vec<_> = blobs.map(row).collect();
        if !rows.is_empty() {
            let head = ["SIZE", "AGE", "STATE", "TIER", "KEY"];
            show::table(&mut out, &head, &[true, true, false, false, false], &rows)?;
        }
    }
    out.end()?;
    Elsewhere::of(&store).note(context);
    end
}

pub fn stat(context: &Context, keys: &[OsString]) -> Answer {
    let keys = keys.iter().map(|key| show::key(key)).collect::<Answer<Vec<_>>>()?;
    let store = tiers::open_to_look(context)?;
    let elsewhere = Elsewhere::of(&store);
    let dirs = dirs(&store)?;
    let mut out = Out::new();
    let mut answer = Ok(());
    let mut told = 0;
    for key in keys {
        let stat = match store.stat(&key) {
            Ok(stat) => stat,
            Err(error) => {
                note(&mut answer, elsewhere.failure(&key, &error));
                continue;
            }
        };
        let blob = Blob::new(key.as_bytes(), &stat, &dirs);
        if context.json {
            out.json(&blob)?;
        } else {
            if told > 0 {
                writeln!(out)?;
            }
            writeln!(out, "   key: {}", blob.key)?;
            writeln!(out, "  size: {} ({} bytes)", show::size(blob.size), blob.size)?;
            writeln!(out, " state: {}", blob.state.meaning())?;
            writeln!(out, "  tier: {} ({})", blob.tier, blob.dir)?;
            match (&blob.stored_at, blob.age_ms) {
                (Some(at), Some(age)) => writeln!(out, "stored: {at}, {}", ago(age))?,
                _ => writeln!(out, "stored: at a time that the filesystem did not keep")?,
            }
            writeln!(out, "    id: {}", blob.id)?;
        }
        told += 1;
    }
    out.end()?;
    answer
}

fn ago(age_ms: u64) -> String {
    match show::age(age_ms) {
        now if now == "now" => now,
        age => format!("{age} ago"),
    }
}

/// Says a failure and goes on; the first one's status is the command's.
fn note(answer: &mut Answer, failure: Failure) {
    told(answer, failure.say());
}

/// The same of one that was said.
fn told(answer: &mut Answer, status: u8) {
    if answer.is_ok() {
        *answer = Err(Failure::Told(status));
    }
}

#[derive(Serialize)]
struct Removed {
    key: String,
    removed: bool,
}

pub fn rm(context: &Context, keys: &[OsString], force: bool) -> Answer {
    let keys = keys.iter().map(|key| show::key(key)).collect::<Answer<Vec<_>>>()?;
    // Where no tier lets itself be changed, a key that is not there needs no change.
    let (store, refused) = match context.open(Access::Change) {
        Ok(store) => (store, None),
        Err(failure) => (tiers::open_to_look(context)?, Some(failure)),
    };
    let elsewhere = Elsewhere::of(&store);
    let mut out = Out::new();
    let mut answer = Ok(());
    for key in keys {
        let done = match refused {
            None => store.remove(&key),
            Some(_) => store.stat(&key).map(|_| ()),
        };
        if context.json {
            let removed = done.is_ok() && refused.is_none();
            out.json(&Removed { key: show::text(key.as_bytes()), removed })?;
        }
        match (done, &refused) {
            (Ok(()), Some(refused)) => told(&mut answer, refused.say()),
            (Err(error), _) if !(force && error.code() == Code::NotFound) => {
                note(&mut answer, elsewhere.failure(&key, &error));
            }
            _ => {}
        }
    }
    out.end()?;
    answer
}

/// What `reap --json` tells. Fields are only ever added.
#[derive(Serialize)]
struct Reaped {
    blobs: u64,
    bytes: u64,
    keys: Vec<String>,
    dry_run: bool,
}

/// Opening a store to change it reaps already, and does not tell what. So what is told is a difference: the orphans of
/// this store that were there before and are not any more.
pub fn reap(context: &Context, dry_run: bool) -> Answer {
    let before = tiers::open_to_look(context)?;
    let (blobs, end) = list(&before)?;
    let mut orphans: Vec<_> = blobs.into_iter().filter(|(_, stat)| stat.orphan).collect();
    let mut reaped = Ok(());
    if !dry_run {
        reaped = context.open(Access::Change)?.reap().map(|_| ()).map_err(Failure::from);
        let left: HashSet<Key> = list(&before)?.0.into_iter().filter(|(_, s)| s.orphan).map(|(key, _)| key).collect();
        orphans.retain(|(key, _)| !left.contains(key));
    }
    let bytes = orphans.iter().map(|(_, stat)| stat.size).sum();
    let keys: Vec<_> = orphans.iter().map(|(key, _)| show::text(key.as_bytes())).collect();
    let mut out = Out::new();
    if context.json {
        out.json(&Reaped { blobs: keys.len() as u64, bytes, keys, dry_run })?;
    } else {
        let done = if dry_run { "would be removed" } else { "removed" };
        match keys.len() {
            0 if dry_run => writeln!(out, "no blob has a dead owner")?,
            // Drafts have no key yet, and which there were is not told.
            0 => writeln!(out, "no blob had a dead owner; what dead owners had not finished is gone")?,
            1 => writeln!(out, "1 blob of a dead owner, {}, {done}:", show::size(bytes))?,
            many => writeln!(out, "{many} blobs of dead owners, {}, {done}:", show::size(bytes))?,
        }
        for key in keys {
            writeln!(out, "{key}")?;
        }
    }
    out.end()?;
    Elsewhere::of(&before).note(context);
    reaped.and(end)
}
