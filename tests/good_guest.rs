//! P1 and P9: the host keeps its signals, threads, streams, errno and descriptors, whatever it does to us.
mod common;

use common::c;

c_tests! {
    signals_are_left_as_they_were: "guest" "signals";
    interruptions_are_not_seen: "guest" "interrupted";
    a_cancelled_thread_ends_between_calls: "guest" "cancelled";
    closed_standard_streams_are_not_taken: "guest" "closed-streams";
    a_broken_stderr_is_not_written_to: "guest" "broken-stderr";
    a_small_stack_is_enough: "guest" "small-stack";
    a_stopped_process_makes_others_busy_and_no_more: "guest" "stopped";
    no_addresses_is_no_memory: "guest" "address-space";
    memory_that_cannot_be_had_is_said_and_changes_nothing: "no_memory" "all";
    a_forked_child_reads_and_changes_nothing: "forking" "inherited";
    a_forked_child_keeps_no_dead_owner_alive: "forking" "orphaned";
    fork_amid_threads_is_safe: "forking" "amid-threads";
    nothing_is_inherited_through_exec: "forking" "exec";
    a_fork_at_any_call_leaves_a_child_that_reads_closes_and_opens_its_own: "beside" "forked";
    a_fork_at_any_call_keeps_neither_lock_nor_owner_of_a_killed_parent: "beside" "orphaned";
    a_process_stopped_at_any_call_lets_other_keys_go_on: "beside" "stopped";
    a_process_stopped_with_a_keys_lock_makes_that_key_busy: "beside" "held";
}

/// The library is unloaded while a thread that used it goes on, twice; the host's own functions have our names.
#[test]
fn unloading_does_not_crash_the_host() {
    let library = common::cdylib_dir().join("libvfs.so");
    for mode in ["close", "leave"] {
        c::run_variant("rdynamic", &["-rdynamic"], "unload", &[mode, library.to_str().unwrap()]);
    }
}
