//! libFuzzer around the target that the variable `TARGET` names.

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    let target = targets::ALL.iter().find(|(other, _)| *other == name);
    let (_, run) = target.unwrap_or_else(|| panic!("TARGET names none of the targets: {name:?}"));
    *run
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
