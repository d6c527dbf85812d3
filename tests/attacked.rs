//! P1 to P7 and P9: what an attack on a finished library found once, and must not find again.
mod common;

c_tests! {
    a_persistent_store_beside_a_shutdown_stays: "attacked" "persist-beside-shutdown";
    a_second_shutdown_waits_for_the_first: "attacked" "two-shutdowns";
    pollers_of_a_missing_key_do_not_keep_its_writer_out: "attacked" "pollers";
    a_key_that_moves_into_memory_is_never_missing: "attacked" "into-memory";
    a_blob_replaced_while_it_is_removed_takes_its_owners_link_with_it: "attacked" "replaced-beside-remove";
    a_blob_reaped_while_it_is_removed_is_removed: "attacked" "reaped-beside-remove";
    a_reap_leaves_what_others_stored_below: "attacked" "stored-below";
    a_killed_downward_replace_never_comes_up: "attacked" "killed-moving-down";
    a_failed_reserve_does_not_lengthen_the_blob: "attacked" "failed-reserve";
    a_listing_that_ran_out_of_descriptors_loses_no_key: "attacked" "listing-without-descriptors";
    a_small_stack_is_enough: "attacked" "small-stack";
    a_size_hint_does_not_insist_on_a_blocked_tier: "attacked" "blocked-tier";
    a_tier_in_a_setgid_directory_works: "attacked" "set-gid";
    a_dead_owner_on_new_ground_below_a_living_one_is_reaped: "attacked" "dead-on-new-ground";
    a_reader_leaves_a_tier_that_was_mounted_over: "attacked" "mounted-over";
    a_tier_whose_path_is_too_long_does_not_open: "attacked" "long-path";
    an_owner_is_alive_where_its_tiers_path_led_before: "attacked" "switched";
    a_path_that_is_switched_without_end_costs_no_more_descriptors: "attacked" "switched-often";
    an_owner_below_a_mount_that_goes_again_is_alive: "attacked" "uncovered";
    a_slow_fork_elsewhere_costs_no_tier: "attacked" "slow-fork";
    a_fork_beside_a_look_keeps_no_owner_alive: "attacked" "fork-beside-look";
    a_reap_tells_of_a_dead_owner_that_it_could_not_take: "attacked" "stopped-look";
    a_room_that_was_looked_at_before_it_was_locked_is_not_left: "attacked" "look-at-new-room";
    a_directory_listed_twice_is_told_once: "attacked" "listed-twice";
    the_log_ends_with_the_truth: "attacked" "last-word";
    a_persistent_state_replaced_often_stays_within_max: "attacked" "persistent-state";
    waits_end_and_the_log_speaks_though_the_clock_leaps_back: "attacked" "clock-leaps";
    a_replace_that_cannot_clear_the_old_value_is_never_seen: "attacked" "flash";
    many_keys_that_are_held_are_waited_for_once: "attacked" "busy-owned";
    blobs_with_odd_times_are_replaced_up_and_down: "attacked" "odd-times";
    a_blob_stored_later_below_outlives_the_one_above: "attacked" "stored-later-below";
    the_list_of_mounts_is_read_from_end_to_end: "attacked" "many-mounts";
    what_was_refused_and_cannot_be_taken_back_is_not_published: "attacked" "not-taken-back";
    a_child_forked_amid_a_blob_keeps_no_bytes_of_it: "attacked" "forked-amid-a-blob";
    a_writer_that_was_stopped_while_it_waited_keeps_no_reader_out: "attacked" "stopped-waiter";
    what_many_writers_of_a_key_needed_is_given_up: "attacked" "many-writers";
    a_child_forked_by_the_log_callback_changes_nothing: "attacked" "forked-in-log";
    a_host_that_may_lock_no_more_memory_is_told_so: "attacked" "locked-memory";
    a_tier_that_a_size_hint_passes_over_is_told_of: "attacked" "hints-are-told";
    memory_that_a_tier_has_no_room_for_is_refused_before_it_is_filled: "attacked" "reserved-within-max";
    times_in_whole_seconds_bring_no_old_value_back: "odd_filesystems" "seconds";
    where_links_do_not_tell_whose_a_blob_is_nothing_is_stored: "odd_filesystems" "links";
}
