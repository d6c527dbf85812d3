//! P1 and P2: a call that turns out to have nothing to change says so, whatever a tier says that it did not need.
mod common;

c_tests! {
    what_has_nothing_to_change_needs_no_good_tier: "nothing_to_change" "each-flaw";
    a_missing_key_is_missing_though_all_is_read_only: "nothing_to_change" "all-read-only";
    rights_lost_under_a_handle_hide_no_answer: "nothing_to_change" "lost-rights";
    a_taken_key_exists_whichever_call_fails: "nothing_to_change" "one-failure";
    a_tier_that_cannot_be_listed_is_used: "nothing_to_change" "drop-box";
}
