//! Keys, lists of tiers and sequences of calls that nobody thought of, against a model of each: random ones, the
//! fuzzer's corpus, and what a few changed bytes make of it. And the calls of eight threads and their forked children, whose
//! answers must fit one history. `make fuzz` goes on from there.
mod fuzzed;
mod history;

use proptest::prelude::*;
use std::path::Path;
use std::sync::Mutex;

/// Descriptors are counted.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn random(max: usize, cases: u32, run: fn(&[u8])) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(bytes in prop::collection::vec(any::<u8>(), 0..max))| run(&bytes));
}

/// Each input of the corpus as it is, then `times` with some of its bytes changed, always in the same way.
fn corpus(target: &str, times: usize, run: fn(&[u8])) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(dir).expect("the corpus").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "the corpus of {target} is gone");
    let mut dice = 0x9E37_79B9_7F4A_7C15u64;
    let mut roll = |end: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % end as u64) as usize
    };
    for path in &paths {
        let bytes = std::fs::read(path).expect("an input");
        let name = path.display();
        let attempt = |bytes: &[u8]| {
            let caught = std::panic::catch_unwind(|| run(bytes));
            assert!(caught.is_ok(), "{target}: {name}, as {bytes:02x?}");
        };
        attempt(&bytes);
        for _ in 0..times {
            let mut changed = bytes.clone();
            for _ in 0..=roll(4) {
                let at = roll(changed.len() + 1);
                match roll(3) {
                    0 => changed.insert(at, roll(256) as u8),
                    1 if at < changed.len() => drop(changed.remove(at)),
                    _ if at < changed.len() => changed[at] = roll(256) as u8,
                    _ => changed.push(roll(256) as u8),
                }
            }
            attempt(&changed);
        }
    }
    println!("{target}: {} inputs, {} runs", paths.len(), paths.len() * (times + 1));
}

#[test]
fn any_sequence_of_calls_agrees_with_a_map() {
    random(500, 60, fuzzed::calls);
}

/// `VFS_MODEL_SECONDS`, 20 unless told, and `VFS_MODEL_SEED`: see `tests/history/mod.rs`.
#[test]
fn eight_threads_and_their_children_see_one_history() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    history::run();
}

#[test]
fn any_bytes_are_a_key_that_comes_back_or_are_refused() {
    random(300, 300, fuzzed::key);
}

#[test]
fn any_list_of_tiers_is_taken_as_written_or_refused_naming_its_part() {
    random(60, 300, fuzzed::tiers);
}

#[test]
fn the_corpus_of_calls_and_its_neighbours_agree_with_a_map() {
    corpus("calls", 3, fuzzed::calls);
}

#[test]
fn the_corpus_of_keys_and_its_neighbours_come_back_or_are_refused() {
    corpus("key", 5, fuzzed::key);
}

#[test]
fn the_corpus_of_tier_lists_and_its_neighbours_are_taken_or_refused() {
    corpus("tiers", 5, fuzzed::tiers);
}
