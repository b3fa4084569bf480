//! The test vectors: data made by oauth2-proxy's own code (v7.15.3), see `README.md`.

use serde_json::Value;

pub(crate) fn load() -> Value {
    serde_json::from_str(include_str!("oauth2-proxy.json")).unwrap()
}

/// The bytes of a string of hexadecimal digits.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap())
        .collect()
}

/// What the vectors' random source gave: bytes that count up.
pub(crate) fn counted<const N: usize>(from: u8) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(from..).for_each(|(byte, number)| *byte = number);
    bytes
}
