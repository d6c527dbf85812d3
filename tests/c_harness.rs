//! P4 and P12: the C ABI as a C program sees it, and the same programs under valgrind and AddressSanitizer.
mod common;

use common::c;

c_tests! {
    every_function_works_on_memory_files: "basics" "tmpfs";
    every_function_works_on_disk: "basics" "disk";
    every_function_works_on_the_memory_tier: "basics" "memory";
    every_function_works_on_three_tiers: "basics" "tmpfs+disk+memory";
    a_blob_beyond_4_gib_works_in_every_function: "big" "big";
}

/// What is run again with every access to memory checked.
const CHECKED: &[(&str, &str)] = &[
    ("basics", "disk"),
    ("basics", "tmpfs+disk+memory"),
    ("streaming", "outgrow"),
    ("streaming", "ends"),
    ("streaming", "full-midway"),
    ("lifetimes", "killed"),
    ("lifetimes", "views"),
    ("lifetimes", "handles"),
    ("lifetimes", "left"),
    ("arguments", "refused"),
    ("arguments", "edges"),
    ("arguments", "unaligned"),
    ("arguments", "storm"),
];

#[test]
fn valgrind_finds_nothing() {
    if !c::have("valgrind") {
        common::skip("no valgrind here");
        return;
    }
    let caught = c::start(&c::compile("sanitizer_is_on", "plain", &[]), c::VALGRIND, &["leak"]);
    assert_eq!(caught.status.code(), Some(99), "valgrind does not see a leak: {}", caught.stderr);
    // (byte by byte is slow there, and one run of the basics is enough)
    for (program, mode) in CHECKED.iter().filter(|(_, mode)| !matches!(*mode, "outgrow" | "disk")) {
        c::run_under(c::VALGRIND, program, &[mode]);
    }
}

#[test]
fn the_address_sanitizer_finds_nothing() {
    if !c::asan_works() {
        return;
    }
    for (program, mode) in CHECKED {
        c::run_variant("asan", c::ASAN, program, &[mode]);
    }
}
