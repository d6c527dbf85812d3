//! P9: processes that change after they opened a store: their user, root directory, descriptor table or sandbox.
mod common;

c_tests! {
    after_a_change_of_user_calls_are_refused_in_words: "changed_user" "user";
    no_file_of_another_user_is_left_in_a_store: "changed_user" "foreign";
    a_thread_that_is_another_user_is_refused_alone: "changed_user" "thread";
    without_capabilities_a_store_goes_on: "changed_user" "rights";
    in_a_user_namespace_a_store_goes_on: "changed_user" "user-namespace";
    workers_that_give_their_user_up_open_their_own: "changed_user" "workers";
    another_root_directory_is_followed_and_cleared: "changed_root" "root-directory";
    the_working_directory_and_proc_are_not_needed: "changed_root" "working-directory";
    a_sandbox_costs_a_code_and_leaves_orphans: "changed_root" "sandbox";
    closed_descriptors_are_an_error_that_says_so: "changed_descriptors" "closed";
    numbers_that_the_process_uses_again_are_left_alone: "changed_descriptors" "used-again";
    a_file_over_one_of_the_librarys_is_left_alone: "changed_descriptors" "one-taken";
    a_handle_without_descriptors_harms_no_newer_one: "changed_descriptors" "newer";
    a_thread_with_its_own_descriptors_fails_alone: "changed_descriptors" "own-table";
    fewer_descriptors_than_are_open_are_a_limit: "changed_descriptors" "fewer";
}
