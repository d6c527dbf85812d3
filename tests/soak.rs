//! P1 to P10 at once: a short run of what `make soak` does for an hour.
mod common;

c_tests! {
    everything_at_once_with_kills_and_a_vandal: "soak" "short";
}
