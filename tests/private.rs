//! P8: other users can neither plant, redirect, spoof nor read, and names cannot leave the store.
mod common;

c_tests! {
    a_name_that_another_user_took_costs_that_tier_only: "privacy" "planted";
    files_are_0600_in_directories_0700_under_any_umask: "privacy" "modes";
    two_users_have_two_stores: "privacy" "two-users";
    a_set_uid_program_ignores_the_callers_tiers: "privacy" "set-uid";
    what_is_not_allowed_is_refused_in_words_and_changes_nothing: "arguments" "refused";
    the_defaults_are_shared_memory_then_disk: "arguments" "defaults";
}
