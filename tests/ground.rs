//! P10: directories that are deleted, covered or replaced under a running store cost the blobs in them, not the store.
mod common;

c_tests! {
    deleted_directories_are_made_anew: "ground" "deleted";
    parts_of_the_directories_are_made_anew: "ground" "parts";
    a_mount_over_a_tier_is_followed: "ground" "mounted";
    a_deleted_tier_is_used_again_when_it_is_back: "ground" "tier";
    a_stream_survives_the_loss_of_its_ground_or_says_so: "ground" "streams";
    an_owner_on_new_ground_is_alive: "ground" "alive";
    threads_go_on_while_the_ground_goes: "ground" "threads";
    systemd_tmpfiles_leaves_alone_what_is_used: "ground" "aged";
    a_cleaner_that_was_there_first_is_kept_away_from_then_on: "ground" "cleaner-first";
    a_tier_remounted_empty_or_read_only_costs_what_was_in_it: "ground" "remounted";
    a_draft_whose_name_was_deleted_and_taken_is_not_published_as_another: "vanish" "taken-names";
    lost_between_any_two_calls_of_a_store: "vanish" "store";
    lost_between_any_two_calls_of_a_larger_store: "vanish" "store-large";
    lost_between_any_two_calls_of_a_persistent_store: "vanish" "persist";
    lost_between_any_two_calls_of_a_replace: "vanish" "replace";
    lost_between_any_two_calls_of_a_stream: "vanish" "stream";
    lost_between_any_two_calls_of_a_removal: "vanish" "remove";
    lost_between_any_two_calls_of_a_removal_of_what_is_owned: "vanish" "remove-owned";
    lost_between_any_two_calls_of_a_read: "vanish" "read";
    lost_between_any_two_calls_of_a_map: "vanish" "map";
    lost_between_any_two_calls_of_a_stat: "vanish" "stat";
    lost_between_any_two_calls_of_a_miss: "vanish" "miss";
    lost_between_any_two_calls_of_a_listing: "vanish" "list";
    lost_between_any_two_calls_of_a_tiers_stat: "vanish" "tier-stat";
    lost_between_any_two_calls_of_a_reap: "vanish" "reap";
    lost_between_any_two_calls_of_an_open: "vanish" "open";
    lost_between_any_two_calls_of_a_shutdown: "vanish" "shutdown";
}
