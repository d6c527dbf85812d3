//! P1 and P5: whatever a tier lacks or forbids, the next one serves; nothing is killed, everything is told, and a tier
//! that recovers is used again.
mod common;

use std::os::unix::process::ExitStatusExt;

c_tests! {
    a_tier_without_bytes_sends_each_blob_to_the_next: "full_tier" "bytes";
    no_space_is_said_only_when_every_tier_refused_and_nothing_has_changed: "full_tier" "everywhere";
    a_tier_without_inodes_sends_each_blob_to_the_next: "full_tier" "inodes";
    a_read_only_tier_is_read_and_passed_over: "full_tier" "read-only";
    a_missing_directory_is_passed_over_until_it_is_there: "full_tier" "missing";
    a_file_in_place_of_a_directory_is_passed_over: "full_tier" "a-file";
    a_dangling_link_is_passed_over: "full_tier" "link";
    a_forbidden_directory_is_passed_over_until_it_is_allowed: "full_tier" "forbidden";
    a_directory_listed_twice_counts_once: "full_tier" "twice";
    max_bounds_what_a_handle_holds: "full_tier" "max";
    reserve_leaves_room_to_others: "full_tier" "reserve";
    a_limit_on_file_sizes_is_a_refusal_and_no_signal: "full_tier" "file-size";
    no_file_may_have_a_byte: "full_tier" "no-file-size";
    a_tier_that_fills_while_eight_processes_store_serves_each_or_the_next_does: "full_tier" "crowd";
    the_log_hears_of_changes_and_not_of_every_store: "full_tier" "log";
    no_descriptors_is_a_limit_at_once_and_changes_nothing: "full_tier" "descriptors";
    few_descriptors_are_a_limit_or_enough_for_every_call_and_for_threads: "full_tier" "few-descriptors";
    a_stream_that_outgrows_its_tier_moves_on: "streaming" "outgrow";
    a_stream_moves_to_and_from_memory: "streaming" "memory";
    reserved_memory_cannot_fault: "streaming" "no-fault";
    a_size_hint_picks_the_tier: "streaming" "hints";
    a_stream_with_no_room_left_goes_on_when_room_returns: "streaming" "full-midway";
    a_stream_goes_up_again_when_room_returned_above: "streaming" "upward";
    streams_in_threads_over_full_tiers_stay_whole: "streaming" "threads";
}

/// The mounts of these tests are really full: the usual way dies there.
#[test]
fn ftruncate_mmap_memcpy_dies_on_a_full_tier() {
    let outcome = common::c::start(&common::c::compile("naive", "plain", &[]), &[], &["naive"]);
    if outcome.stdout.starts_with("SKIPPED") {
        common::skip(&outcome.stdout);
        return;
    }
    assert_eq!(outcome.status.signal(), Some(libc::SIGBUS), "{}", outcome.stderr);
}

/// In a real control group, where one can be made; recorded trees of both versions are read everywhere
/// (`sys::cgroup::tests`).
#[test]
fn a_big_blob_that_would_wake_the_oom_killer_goes_to_the_next_tier() {
    let outcome = common::c::start(&common::c::compile("control_group", "plain", &[]), &[], &["all"]);
    if outcome.stdout == "NOT ALLOWED\n" {
        eprintln!("no control group can be made here: recorded ones alone");
        return;
    }
    if outcome.stdout.starts_with("SKIPPED") {
        common::skip(&outcome.stdout);
        return;
    }
    assert!(outcome.status.success() && outcome.stdout.is_empty(), "{}{}", outcome.stdout, outcome.stderr);
}
