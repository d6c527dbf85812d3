//! P2 and P3: killed at any system call, or failing at any, an operation leaves the old value or the new one, what
//! others own whole, and nothing that comes back.
mod common;

use common::c;

c_tests! {
    store: "kill_matrix" "store";
    store_below_a_full_tier: "kill_matrix" "store-below";
    persist: "kill_matrix" "persist";
    persist_below_a_full_tier: "kill_matrix" "persist-below";
    stream_that_moves_on: "kill_matrix" "stream";
    stream_that_moves_on_over_anothers: "kill_matrix" "stream-over";
    stream_that_moves_on_over_ones_own: "kill_matrix" "stream-over-own";
    stream_that_moves_on_over_a_persistent_one: "kill_matrix" "stream-over-persistent";
    reserved_memory: "kill_matrix" "reserve";
    reserved_memory_that_moves_on: "kill_matrix" "reserve-moves";
    reserved_memory_that_moves_on_over_anothers: "kill_matrix" "reserve-over";
    abort: "kill_matrix" "abort";
    replace_ones_own: "kill_matrix" "replace-own";
    replace_anothers: "kill_matrix" "replace-foreign";
    replace_a_persistent_one: "kill_matrix" "replace-persistent";
    replace_a_dead_owners: "kill_matrix" "replace-of-dead";
    persist_over_ones_own: "kill_matrix" "persist-over-own";
    persist_over_anothers: "kill_matrix" "persist-over-foreign";
    persist_over_a_persistent_one: "kill_matrix" "persist-over-persistent";
    replace_downward_ones_own: "kill_matrix" "down-own";
    replace_downward_anothers: "kill_matrix" "down-foreign";
    replace_downward_a_persistent_one: "kill_matrix" "down-persistent";
    replace_downward_a_persistent_one_by_an_owned_one: "kill_matrix" "down-persistent-owned";
    replace_downward_ones_own_by_a_persistent_one: "kill_matrix" "down-own-kept";
    replace_downward_anothers_by_a_persistent_one: "kill_matrix" "down-foreign-kept";
    replace_downward_a_dead_owners: "kill_matrix" "down-of-dead";
    replace_upward_ones_own: "kill_matrix" "up-own";
    replace_upward_anothers: "kill_matrix" "up-foreign";
    replace_upward_a_persistent_one: "kill_matrix" "up-persistent";
    replace_upward_a_persistent_one_by_an_owned_one: "kill_matrix" "up-persistent-owned";
    replace_upward_ones_own_by_a_persistent_one: "kill_matrix" "up-own-kept";
    replace_upward_anothers_by_a_persistent_one: "kill_matrix" "up-foreign-kept";
    replace_upward_a_dead_owners: "kill_matrix" "up-of-dead";
    remove_ones_own: "kill_matrix" "remove-own";
    remove_anothers: "kill_matrix" "remove-foreign";
    remove_a_persistent_one: "kill_matrix" "remove-persistent";
    remove_from_the_second_tier: "kill_matrix" "remove-below";
    remove_ones_own_from_the_second_tier: "kill_matrix" "remove-below-own";
    remove_a_persistent_one_from_the_second_tier: "kill_matrix" "remove-below-persistent";
    remove_owned: "kill_matrix" "remove-owned";
    remove_a_dead_owners: "kill_matrix" "remove-of-dead";
    shutdown: "kill_matrix" "shutdown";
    shutdown_with_blobs_on_the_second_tier: "kill_matrix" "shutdown-below";
    close: "kill_matrix" "close";
    close_with_blobs_on_the_second_tier: "kill_matrix" "close-below";
    replace_anothers_past_a_memory_tier: "kill_matrix" "memory-spills";
    replace_anothers_into_a_memory_tier: "kill_matrix" "memory-takes";
    remove_anothers_below_a_memory_tier: "kill_matrix" "memory-removes";
    close_below_a_memory_tier: "kill_matrix" "memory-closes";
    reap: "kill_matrix" "reap";
    reap_the_second_tier: "kill_matrix" "reap-below";
    reap_beside_another_reaper_killed_too: "kill_matrix" "reap-raced";
    reap_the_second_tier_beside_another_reaper_killed_too: "kill_matrix" "reap-below-raced";
    open: "kill_matrix" "open";
    open_that_reaps: "kill_matrix" "open-reaps";
}

/// A call that fails says so and has changed nothing, or has done its work all the same.
fn failing(operations: &[&str], errors: &[&str]) {
    for operation in operations {
        c::run("kill_matrix", &[&[*operation], errors].concat());
    }
}

#[test]
fn a_failing_call_of_the_system_fails_a_store_or_changes_nothing() {
    failing(
        &["store", "store-below", "persist", "persist-below", "stream", "stream-over", "open", "open-reaps"],
        &["EIO"],
    );
}

#[test]
fn a_failing_call_of_the_system_fails_a_replace_or_changes_nothing() {
    failing(&["replace-own", "replace-foreign", "replace-persistent", "replace-of-dead", "persist-over-own"], &["EIO"]);
    failing(
        &["persist-over-foreign", "persist-over-persistent", "down-own", "down-foreign", "down-persistent"],
        &["EIO"],
    );
    failing(&["down-persistent-owned", "up-own", "up-foreign", "up-persistent", "up-persistent-owned"], &["EIO"]);
}

#[test]
fn a_failing_call_of_the_system_fails_a_removal_or_changes_nothing() {
    failing(&["remove-own", "remove-foreign", "remove-persistent", "remove-below", "remove-of-dead"], &["EIO"]);
    failing(&["shutdown", "shutdown-below", "reap", "reap-below"], &["EIO"]);
}

#[test]
fn interrupted_full_and_exhausted_calls_change_nothing() {
    let some = ["stream", "replace-foreign", "down-persistent-owned", "up-foreign", "remove-foreign", "shutdown"];
    failing(&some, &["EINTR", "ENOSPC", "ENOMEM", "EMFILE"]);
}

/// The other errnos, one a call, in turn.
#[test]
fn whatever_a_call_of_the_system_answers_it_changes_nothing() {
    failing(&["store-below", "stream-over", "persist-over-foreign", "down-own", "close-below", "reap"], &["OTHERS"]);
    failing(&["memory-spills", "memory-takes", "memory-removes", "memory-closes", "close"], &["EIO"]);
}
