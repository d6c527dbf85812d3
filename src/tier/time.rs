//! The times of blobs, and what they tell. A filesystem may keep a time in whole seconds only, or not at all where it is beyond
//! its range: then nothing may be concluded from it.

const SECOND: u64 = 1_000_000_000;

/// Whole seconds in this range, from 1982 to 1998, are no time of a blob: they say that the time is not known. Every filesystem
/// that stores blobs keeps them.
const UNKNOWN: std::ops::Range<u64> = 400_000_000 * SECOND..900_000_000 * SECOND;

/// How far from the time that was set the kept one may be: FAT, the coarsest, keeps every second second.
const COARSEST: u64 = 2 * SECOND;

/// Whether the time of a blob is known.
pub fn is_known(at_ns: u64) -> bool {
    at_ns != 0 && !(UNKNOWN.contains(&at_ns) && at_ns.is_multiple_of(SECOND))
}

/// A time that says that the real one is not known; another for each random number, so that identities differ. An even second,
/// since some filesystems keep no others.
pub fn unknown(random: u64) -> u64 {
    let pairs = (UNKNOWN.end - UNKNOWN.start) / (2 * SECOND);
    UNKNOWN.start + random % pairs * 2 * SECOND
}

/// A time so many years later, not a round one: a filesystem that keeps it keeps all until then.
pub fn years_after(now_ns: u64, years: u64) -> u64 {
    let far = now_ns.saturating_add(years * 365 * 24 * 3600 * SECOND);
    far - far % 1000 + 457
}

/// Whether `kept` is the time that was set, as exactly as a filesystem keeps times.
pub fn is_kept(set_ns: u64, kept_ns: u64) -> bool {
    set_ns.abs_diff(kept_ns) <= COARSEST
}

/// Whether it may be that the filesystem keeps times too coarsely for each to differ from the one before.
pub fn is_coarse(at_ns: u64) -> bool {
    at_ns.is_multiple_of(1_000_000)
}

/// How much the real time may differ from the kept one, as its trailing zeros tell.
fn doubt(at_ns: u64) -> u64 {
    [(SECOND, COARSEST), (10_000_000, 10_000_000), (1_000_000, 1_000_000), (1_000, 1_000), (100, 100)]
        .into_iter()
        .find_map(|(unit, doubt)| at_ns.is_multiple_of(unit).then_some(doubt))
        .unwrap_or(0)
}

/// Whether a blob is certainly older than another, by their times. False where either is not known.
pub fn is_older(one_ns: u64, other_ns: u64) -> bool {
    let apart = (doubt(one_ns) + doubt(other_ns)).max(1);
    is_known(one_ns) && is_known(other_ns) && one_ns.saturating_add(apart) <= other_ns
}

/// A time at which, kept exactly, `old_ns` is certainly older; the earliest one, or `now_ns`.
pub fn later(old_ns: u64, now_ns: u64) -> u64 {
    let at = old_ns.saturating_add(doubt(old_ns) + 1).max(now_ns);
    if doubt(at) == 0 { at } else { at.saturating_add(1) }
}

/// The same, kept as coarsely as may be.
pub fn coarsely_later(old_ns: u64) -> u64 {
    old_ns.saturating_add(doubt(old_ns) + 2 * COARSEST)
}

/// A time that, kept exactly, is certainly older than `old_ns`; the latest one.
pub fn earlier(old_ns: u64) -> u64 {
    let at = old_ns.saturating_sub(doubt(old_ns) + 1);
    if doubt(at) == 0 { at } else { at.saturating_sub(1) }
}

/// The same, kept as coarsely as may be.
pub fn coarsely_earlier(old_ns: u64) -> u64 {
    old_ns.saturating_sub(doubt(old_ns) + 2 * COARSEST)
}

/// A time before all blobs.
pub fn earliest() -> u64 {
    24 * 3600 * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000 * SECOND;

    /// As filesystems keep times: to the nanosecond, to 100 of them, to a microsecond, …, to every second second.
    fn kept(at_ns: u64) -> impl Iterator<Item = u64> {
        let units = [1, 100, 1_000, 1_000_000, 10_000_000, SECOND, COARSEST];
        units.into_iter().map(move |unit| at_ns - at_ns % unit)
    }

    #[test]
    fn what_is_older_by_its_kept_time_is_older() {
        for real in [NOW, NOW + 1, NOW + 999_999_999, NOW + 123_456_789] {
            for apart in [0, 1, 99, 1_000, 999_999, SECOND, 2 * SECOND - 1, 2 * SECOND, 5 * SECOND] {
                // One that was stored later, or at the same time.
                for (one, other) in kept(real + apart).flat_map(|one| kept(real).map(move |other| (one, other))) {
                    assert!(!is_older(one, other), "{one} is no older than {other}");
                }
            }
        }
        assert!(is_older(NOW + 1, NOW + 2) && !is_older(NOW + 1, NOW + 1));
        assert!(is_older(NOW, NOW + 4 * SECOND) && !is_older(NOW, NOW + 3 * SECOND));
    }

    #[test]
    fn nothing_is_older_or_younger_than_an_unknown_time() {
        for random in [0, 1, 499_999_999, u64::MAX] {
            let unknown = unknown(random);
            assert!(!is_known(unknown) && is_coarse(unknown));
            assert!(!is_older(unknown, NOW) && !is_older(NOW, unknown) && !is_older(0, NOW));
        }
        assert!(is_known(NOW) && is_known(earliest()) && is_older(earliest(), NOW));
        assert!(is_known(UNKNOWN.start + 1) && is_known(UNKNOWN.end) && !is_known(0));
    }

    #[test]
    fn a_replace_that_moves_a_key_leaves_the_old_time_certainly_older() {
        for old in [NOW, NOW + 1, NOW + 99, NOW + 100, NOW + 101, NOW + 1_000, NOW + 999_999_999] {
            assert!(is_older(old, later(old, NOW)) && is_older(old, later(old, NOW + 5 * SECOND)));
            assert!(is_older(earlier(old), old));
            for at in kept(coarsely_later(old)) {
                assert!(is_older(old, at), "{old} is older than {at}");
            }
            for at in kept(coarsely_earlier(old)) {
                assert!(is_older(at, old), "{at} is older than {old}");
            }
        }
    }

    #[test]
    fn a_far_time_is_odd_and_fits() {
        for now in [0, NOW, u64::MAX] {
            let far = years_after(now, 100);
            assert!(!far.is_multiple_of(100) && far >= now.min(u64::MAX - 1000));
        }
    }
}
