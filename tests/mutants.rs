//! What the other tests let pass when the library was broken on purpose: each of these fails for one such break.
mod common;

c_tests! {
    the_key_is_locked_in_every_tier: "mutant_locks" "every-tier";
    a_lock_file_made_anew_is_the_one_that_counts: "mutant_locks" "removed-lock-file";
    who_waits_for_a_tier_holds_no_other: "mutant_locks" "waiting";
    an_older_value_below_goes_with_the_one_above: "mutant_order" "removable";
    an_older_value_below_that_cannot_go_keeps_the_one_above: "mutant_order" "pinned";
    a_hidden_value_that_goes_takes_nothing_below_it: "mutant_order" "hidden";
    what_ends_where_no_path_leads_takes_nothing_below: "mutant_order" "unreached";
    a_fork_between_opening_a_room_and_its_entry_keeps_no_owner_alive: "mutant_steps" "fork-in-open";
    a_store_that_meets_a_shutdown_leaves_nothing: "mutant_steps" "shutdown-amid-store";
    a_removal_that_meets_a_shutdown_removes_nothing: "mutant_steps" "shutdown-amid-removal";
    a_filesystem_without_links_or_locks_is_found_out_before_bytes_are_written: "mutant_steps" "poor-filesystem";
    a_dead_owners_room_is_taken_though_somebody_looks_at_it: "mutant_steps" "looked-at";
    a_room_lost_to_a_reaper_is_made_anew: "mutant_steps" "lost-room";
    a_link_that_outlived_its_blob_takes_nothing_of_the_keys_new_owner: "mutant_owner" "stale-link";
    what_is_removed_or_replaced_is_freed_at_once_whoever_owned_it: "mutant_owner" "freed";
    a_handle_that_was_shut_down_makes_nothing_anew: "mutant_steps" "nothing-anew";
    a_control_group_without_memory_sends_big_blobs_on: "mutant_steps" "control-group";
    a_link_or_a_fifo_in_place_of_a_blob_is_no_value: "mutant_links" "in-place-of-a-blob";
    a_link_in_place_of_what_is_ours_is_not_followed: "mutant_links" "in-place-of-ours";
    looking_makes_nothing: "mutant_links" "looking";
    a_reader_makes_no_lock_file_and_needs_none: "mutant_links" "reading-without-locks";
    a_hint_beyond_the_limit_on_file_sizes_picks_memory: "mutant_owner" "small-files";
    a_close_waits_for_the_log_and_then_it_is_not_called: "mutant_steps" "log-and-close";
    a_filesystem_that_reserves_nothing_still_takes_what_was_reserved: "mutant_steps" "no-reservation";
    a_tier_that_became_an_earlier_one_does_not_block_it: "mutant_locks" "twins";
    a_replace_that_cannot_clear_the_old_value_takes_the_new_one_back: "mutant_order" "pinned-above";
    a_draft_whose_name_is_anothers_is_published_with_its_own_bytes: "mutant_owner" "stale-draft";
    without_descriptors_the_next_tier_is_not_tried: "mutant_owner" "few-descriptors";
    reserved_memory_is_not_inherited: "mutant_owner" "reserved-and-forked";
    no_two_blobs_of_a_key_have_one_id: "mutant_owner" "ids";
    a_lack_of_room_is_told_wherever_it_was: "mutant_owner" "lacking-room";
    a_stream_that_lacks_a_part_is_not_sealed_for_a_call_without_bytes: "mutant_owner" "lacking-part";
    a_child_lets_go_of_the_locks_of_many_handles: "mutant_owner" "many-handles";
    what_is_removed_while_it_is_read_is_not_told_to_be_persistent: "mutant_steps" "removed-amid-read";
    what_a_full_filesystem_refused_is_not_counted_by_max: "mutant_owner" "refused-uncounted";
    a_key_in_memory_is_replaced_there_or_not_at_all: "mutant_owner" "memory-alone";
    short_and_interrupted_calls_are_gone_on_with: "mutant_steps" "small-parts";
}
