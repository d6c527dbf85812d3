#![no_main]
#[path = "../../tests/fuzzed/mod.rs"]
#[allow(dead_code, unused_imports)] // each target is one of them
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::calls(data));
