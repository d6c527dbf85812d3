//! P6, P7 and P10: blobs live as long as their owner, what is held stays, and nothing is left behind.
mod common;

c_tests! {
    what_a_killed_owner_left_is_whole_until_it_is_reaped: "lifetimes" "killed";
    the_next_open_of_any_store_reaps: "lifetimes" "killed-and-opened";
    an_owner_killed_anywhere_leaves_nothing: "lifetimes" "killed-anywhere";
    an_owner_that_ends_without_closing_leaves_nothing: "lifetimes" "left";
    a_readers_end_leaves_the_data: "lifetimes" "readers";
    a_handle_removes_its_own_blobs_and_no_others: "lifetimes" "handles";
    a_view_outlives_remove_replace_shutdown_and_close_in_any_order: "lifetimes" "views";
    a_read_under_way_sees_a_whole_blob: "lifetimes" "reads";
    a_shutdown_amid_stores_leaves_nothing: "lifetimes" "shutdown-amid";
    descriptors_do_not_grow_with_blobs: "lifetimes" "holdings";
    two_hundred_that_start_among_the_dead_neither_fail_nor_reap_the_living: "lifetimes" "start-storm";
    reaping_by_many_takes_nothing_of_the_living: "lifetimes" "reaped-by-many";
    reapers_wait_for_a_look_at_an_owner: "lifetimes" "reapers-wait";
    many_drafts_of_one_key_leave_nothing: "lifetimes" "many-drafts";
    an_empty_store_leaves_no_directory: "store_names" "past";
    a_killed_session_leaves_no_directory: "store_names" "killed";
    a_store_stays_with_its_persistent_blobs: "store_names" "persistent";
    what_others_put_among_ours_stays: "store_names" "foreign";
    a_store_stays_for_its_other_handles: "store_names" "others";
    a_reader_keeps_no_directory_and_finds_all: "store_names" "readers";
    a_forked_child_removes_no_directory: "store_names" "forked";
    a_store_removed_while_it_is_made_is_made_again: "store_names" "made-again";
    a_store_comes_while_another_goes: "store_names" "between";
    a_remover_killed_anywhere_hides_nothing: "store_names" "killed-anywhere";
    many_open_and_close_one_empty_store: "store_names" "storm";
    a_writer_ends_once_in_each_way: "streaming" "ends";
}
