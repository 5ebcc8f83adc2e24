#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fieldpost_fuzz::decode::check(input));
