//! `include/vfs.hpp`: every function of it, as an exception and as a result that throws nothing.
mod common;

use common::c;
use std::process::Command;

c_tests! {
    every_call_works_on_directories: "wrapper" "disk";
    every_call_works_on_the_memory_tier: "wrapper" "memory";
    what_is_no_key_is_refused_and_never_cut: "wrapper" "keys";
    handles_move_and_give_themselves_back_once: "wrapper" "moves";
    a_failure_has_the_code_errno_and_words_of_its_own_call: "wrapper" "failures";
    a_log_hears_and_cannot_throw_through_c: "wrapper" "log";
    memory_that_cannot_be_had_is_a_result: "wrapper" "no-memory";
    threads_share_a_store: "wrapper" "threads";
}

#[test]
fn without_exceptions_the_calls_that_throw_nothing_are_enough() {
    c::run_variant("bare", &["-fno-exceptions", "-fno-rtti"], "no_exceptions", &["all"]);
}

#[test]
fn the_address_sanitizer_finds_nothing() {
    if !c::asan_works() {
        return;
    }
    for mode in ["disk", "memory", "keys", "moves", "failures", "log", "no-memory", "threads"] {
        c::run_variant("asan", c::ASAN, "wrapper", &[mode]);
    }
}

/// With each compiler that is here.
#[test]
fn it_compiles_under_later_standards_and_other_compilers() {
    let root = env!("CARGO_MANIFEST_DIR");
    for (compiler, standards) in [("g++", &["c++20", "c++23"][..]), ("clang++", &["c++17", "c++20", "c++2b"])] {
        if !c::have(compiler) {
            continue; // the one of the system compiles everything else here
        }
        for standard in standards {
            let output = Command::new(compiler)
                .args(["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"])
                .args([
                    format!("-std={standard}"),
                    format!("-I{root}/include"),
                    format!("{root}/tests/cpp/wrapper.cpp"),
                ])
                .output()
                .expect("the compiler");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{compiler} -std={standard}:\n{said}");
        }
    }
}
