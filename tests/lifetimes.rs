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
    a_writer_ends_once_in_each_way: "streaming" "ends";
}
