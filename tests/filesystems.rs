//! P1, P2 and P10: what a filesystem or a sandbox does not allow is found out before bytes are written there.
mod common;

c_tests! {
    a_sandbox_without_links_between_directories: "odd_filesystems" "no-links-between-directories";
    a_filter_that_refuses_renames_is_found_out: "odd_filesystems" "no-renames-between-directories";
    killed_while_links_are_tried_leaves_nothing: "odd_filesystems" "killed-while-links-are-tried";
}
