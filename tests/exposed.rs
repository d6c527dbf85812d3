//! P3 and P8: where others can reach our directories by a mode that somebody gave them, nothing in them is told of as
//! missing, and no second value is stored.
mod common;

c_tests! {
    a_recursive_chmod_hides_blobs_and_loses_none: "exposed" "fs-group";
    each_directory_that_others_can_reach_is_named: "exposed" "each-directory";
    who_only_stores_sees_a_changed_mode_in_a_second: "exposed" "storing-alone";
    an_owner_removes_its_blobs_from_exposed_dirs: "exposed" "own-blobs";
    what_another_tier_has_is_found_beside_a_hidden_one: "exposed" "found-elsewhere";
    a_stream_is_not_published_beside_a_hidden_tier: "exposed" "streams";
    files_with_loose_modes_in_closed_dirs_are_used: "exposed" "files-alone";
    directories_without_our_own_rights_are_named: "exposed" "too-closed";
    who_only_reads_changes_no_mode: "exposed" "read-only";
}
