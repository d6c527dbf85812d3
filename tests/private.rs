//! P8: other users can neither plant, redirect, spoof nor read, and names cannot leave the store.
mod common;

use common::c;

c_tests! {
    files_are_0600_in_directories_0700_under_any_umask: "privacy" "modes";
    what_is_not_allowed_is_refused_in_words_and_changes_nothing: "arguments" "refused";
    no_byte_behind_an_argument_is_touched: "arguments" "edges";
    buffers_and_structs_may_lie_at_any_address: "arguments" "unaligned";
    random_arguments_get_an_answer_of_the_headers_and_harm_nothing: "arguments" "storm";
    the_defaults_are_shared_memory_then_disk: "arguments" "defaults";
}

/// To be several users takes root: what runs this, or what it may become without being asked.
fn run_as_root(program: &str, mode: &str) {
    // SAFETY: always succeeds.
    let is_root = unsafe { libc::geteuid() } == 0;
    let sudo = || std::process::Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|o| o.status.success());
    if !is_root && sudo() {
        c::run_under(&["sudo", "-n"], program, &[mode]);
    } else {
        c::run(program, &[mode]);
    }
}

#[test]
fn a_name_that_another_user_took_costs_that_tier_only() {
    run_as_root("privacy", "planted");
}

#[test]
fn root_of_a_user_namespace_is_another_user() {
    run_as_root("privacy", "namespace-root");
}

#[test]
fn two_users_have_two_stores() {
    run_as_root("privacy", "two-users");
}

#[test]
fn a_set_uid_program_ignores_the_callers_tiers() {
    run_as_root("privacy", "set-uid");
}

#[test]
fn what_lies_at_a_name_of_ours_is_not_followed_waited_for_or_destroyed() {
    run_as_root("plants", "all");
}
