//! P1, P2 and P10: what a filesystem or a sandbox does not allow is found out before bytes are written there.
mod common;

c_tests! {
    a_sandbox_without_links_between_directories: "odd_filesystems" "no-links-between-directories";
    a_filter_that_refuses_renames_is_found_out: "odd_filesystems" "no-renames-between-directories";
    killed_while_links_are_tried_leaves_nothing: "odd_filesystems" "killed-while-links-are-tried";
}

c_tests! {
    a_tier_that_folds_ascii_letters_refuses: "odd_names" "case-of-ascii";
    a_tier_that_folds_in_one_directory_refuses: "odd_names" "case-in-one-directory";
    a_tier_that_folds_other_letters_refuses: "odd_names" "case-beyond-ascii";
    a_tier_that_normalizes_unicode_refuses: "odd_names" "normalization";
    a_tier_that_drops_dots_refuses: "odd_names" "dots-at-the-end";
    a_tier_that_drops_spaces_refuses: "odd_names" "spaces-at-the-end";
    a_tier_that_shortens_names_refuses: "odd_names" "shortened";
    a_tier_that_replaces_bytes_of_names_refuses: "odd_names" "replaced-bytes";
    a_tier_that_lists_other_names_refuses: "odd_names" "listed-otherwise";
    a_tier_that_renames_removed_files_refuses: "odd_names" "hidden";
    a_forbidden_name_costs_one_key_in_one_tier: "odd_names" "forbidden";
    names_of_removed_files_are_no_blobs: "odd_names" "of-removed-files";
    a_real_filesystem_without_case_refuses: "odd_names" "ntfs";
    a_real_filesystem_without_modes_is_skipped: "odd_names" "ntfs-without-modes";
}

c_tests! {
    coarse_times_destroy_nothing_and_hide_nothing: "odd_times" "granularities";
    clamped_times_destroy_nothing: "odd_times" "clamped";
    times_that_are_clamped_from_now_on: "odd_times" "clamped-later";
    times_that_leave_what_was_tried: "odd_times" "clamped-in-a-century";
    a_tier_that_keeps_no_times_refuses: "odd_times" "kept-not-at-all";
    a_real_filesystem_of_whole_seconds: "odd_times" "ext4";
}
