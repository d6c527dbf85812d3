//! P1 and P9: the host keeps its signals, threads, streams, errno and descriptors, whatever it does to us.
mod common;

use common::c;

c_tests! {
    signals_are_left_as_they_were: "guest" "signals";
    interruptions_are_not_seen: "guest" "interrupted";
    a_cancelled_thread_ends_between_calls: "guest" "cancelled";
    a_storm_of_cancellations_leaves_no_lock_and_no_descriptor: "guest" "cancel-storm";
    closed_standard_streams_are_not_taken: "guest" "closed-streams";
    a_broken_stderr_is_not_written_to: "guest" "broken-stderr";
    a_small_stack_is_enough: "guest" "small-stack";
    a_stopped_process_makes_others_busy_and_no_more: "guest" "stopped";
    no_addresses_is_no_memory: "guest" "address-space";
    memory_that_cannot_be_had_is_said_and_changes_nothing: "no_memory" "all";
    a_forked_child_reads_and_changes_nothing: "forking" "inherited";
    a_forked_child_keeps_no_dead_owner_alive: "forking" "orphaned";
    /// One that only read, or gave back what it inherited, kept its dead parent's owner alive.
    a_childs_first_call_of_any_kind_frees_the_owner: "forking" "first-calls";
    fork_amid_threads_is_safe: "forking" "amid-threads";
    nothing_is_inherited_through_exec: "forking" "exec";
    a_fork_at_any_call_leaves_a_child_that_reads_closes_and_opens_its_own: "beside" "forked";
    /// Closing an inherited handle there unlocked its living parent's owner, whose blobs the next open removed.
    an_early_fork_handler_changes_no_lock: "beside" "in-handler";
    a_child_without_handlers_changes_no_lock: "beside" "without-handler";
    fork_handlers_may_use_the_library: "fork_handlers" "all";
    a_fork_that_never_ends_makes_calls_busy: "fork_handlers" "stuck";
    a_fork_at_any_call_keeps_neither_lock_nor_owner_of_a_killed_parent: "beside" "orphaned";
    a_process_stopped_at_any_call_lets_other_keys_go_on: "beside" "stopped";
    a_log_callback_may_call_every_function: "hosts" "log";
    a_store_closed_inside_anothers_callback_waits_for_its_own: "hosts" "closed-in-callback";
    /// The wait counted sleeps, which signals cut short.
    closing_amid_signals_waits_for_the_callback: "hosts" "closed-amid-signals";
    a_log_callback_that_ends_its_thread_ends_as_told: "hosts" "exit-in-callback";
    filtered_system_calls_cost_a_code_or_a_tier: "hosts" "seccomp";
    neither_proc_nor_dev_is_needed: "hosts" "chroot";
    descriptors_closed_behind_our_back_cost_a_code: "hosts" "closefrom";
    blocked_ignored_and_handled_signals_in_a_storm_are_not_seen: "hosts" "signals";
    rights_that_are_given_up_after_open_cost_a_code: "hosts" "rights";
    a_cramped_host_without_environment_is_enough: "hosts" "limits";
    a_process_stopped_with_a_keys_lock_makes_that_key_busy: "beside" "held";
}

/// Two copies of the library in one process share a store as two processes do.
#[test]
fn two_copies_in_one_process_are_two_users_of_a_store() {
    let library = common::cdylib_dir().join("libvfs.so");
    c::run("copies", &["two", library.to_str().unwrap()]);
    c::run_variant("static", &["-rdynamic", "-DSTATIC_COPY"], "copies", &["two", library.to_str().unwrap()]);
}

#[test]
fn loading_and_unloading_again_and_again_leaks_nothing() {
    let library = common::cdylib_dir().join("libvfs.so");
    c::run("copies", &["unloaded", library.to_str().unwrap()]);
}

/// The library is unloaded while a thread that used it goes on, twice; the host's own functions have our names.
#[test]
fn unloading_does_not_crash_the_host() {
    let library = common::cdylib_dir().join("libvfs.so");
    for mode in ["close", "leave"] {
        c::run_variant("rdynamic", &["-rdynamic"], "unload", &[mode, library.to_str().unwrap()]);
    }
}
