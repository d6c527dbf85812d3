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
}
