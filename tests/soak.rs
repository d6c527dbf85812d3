//! P1 to P10 at once: a short run of what `make soak` does for an hour.
mod common;

c_tests! {
    a_storm_on_few_keys_with_delays_shows_no_old_value_no_second_winner_and_no_missing_key: "soak" "races";
    everything_at_once_with_kills_and_a_vandal: "soak" "short";
}
