#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| chunkpoint_fs::fuzzing::state(data));
