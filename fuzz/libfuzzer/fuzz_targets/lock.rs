#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| blockyard_fuzz::lock(bytes));
