//! P3 and P4: one key has one value, whoever stores it and wherever it lands, and a reader never misses a key that is
//! being replaced.
mod common;

c_tests! {
    of_many_who_store_one_key_one_succeeds: "one_value" "storing";
    a_key_replaced_across_tiers_by_one_is_never_missing_and_never_goes_back: "one_value" "replaced-by-one";
    a_key_replaced_across_tiers_by_two_is_never_missing: "one_value" "replaced-by-two";
    a_key_replaced_across_tiers_by_three_is_never_missing: "one_value" "replaced-by-three";
    a_key_replaced_within_a_tier_is_never_missing: "one_value" "replaced-in-place";
    a_key_replaced_on_full_tiers_is_never_missing: "one_value" "replaced-on-full";
    a_key_that_moves_between_any_two_looks_of_a_reader_is_never_missing: "one_value" "replaced-under-slow-reader";
    a_value_on_its_way_down_is_seen_by_all_or_by_none: "mutant_order" "seen-early";
    what_was_stored_less_what_was_removed_is_there: "one_value" "balance";
    stores_that_list_their_tiers_in_another_order_do_not_block_each_other: "one_value" "crossed-lists";
    stores_that_share_some_tiers_share_what_lies_there: "one_value" "shared-tiers";
}
