//! Fingerprints of long values: a worker recognises a value by 128 bits, and does not keep its bytes.
//!
//! ```text
//! fingerprint = SipHash-1-3-128(random key, value ‖ kind)
//! ```
//!
//! The key and the fingerprints never leave the worker. So a client cannot compute a value with the fingerprint of another
//! one. It can only send values, and each has a chance of 2^-128 for each value that the worker knows. SipHash-1-3 is
//! enough for that: SipHash-2-4, with more rounds, is for keys whose hashes an attacker sees. HMAC-SHA-256 would take
//! twenty times as long, which is a fifth of a request.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher13};

/// The fingerprint of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

/// The key of fingerprints.
#[derive(Clone, Copy)]
pub struct FingerprintKey(u64, u64);

impl FingerprintKey {
    /// A new key, by the host's random numbers.
    pub fn random() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }

    /// The fingerprint of a value among those of its kind.
    pub fn of(self, kind: u8, value: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(value);
        hasher.write(&[kind]);
        let hash = hasher.finish128();
        Fingerprint(hash.h1, hash.h2)
    }
}

impl Hash for Fingerprint {
    /// For a table: a part of it is as random as a hash of all of it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The hasher of tables whose keys are fingerprints.
#[derive(Clone, Copy, Default)]
pub struct AlreadyHashed(u64);

impl BuildHasher for AlreadyHashed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: FingerprintKey = FingerprintKey(1, 2);

    proptest! {
        #[test]
        fn any_changed_byte_changes_the_fingerprint(value in prop::collection::vec(any::<u8>(), 1..3000), at: prop::sample::Index, flip in 1_u8.., cut in 1_usize..9) {
            let mut other = value.clone();
            other[at.index(value.len())] ^= flip;
            prop_assert_ne!(KEY.of(0, &value), KEY.of(0, &other));
            let shorter = &value[..value.len().saturating_sub(cut)];
            prop_assert_ne!(KEY.of(0, &value), KEY.of(0, shorter));
            prop_assert_eq!(KEY.of(0, &value), KEY.of(0, &value.clone()));
        }
    }

    #[test]
    fn value_of_another_kind_has_another_fingerprint() {
        assert_ne!(KEY.of(0, b"value"), KEY.of(1, b"value"));
        // The kind is not a part of the value.
        assert_ne!(KEY.of(0, b"value\x01"), KEY.of(1, b"value"));
    }

    #[test]
    fn each_key_gives_other_fingerprints() {
        let (one, other) = (FingerprintKey::random(), FingerprintKey::random());
        assert_ne!(one.of(0, b"value"), other.of(0, b"value"));
        assert_ne!(KEY.of(0, b"value"), FingerprintKey(1, 3).of(0, b"value"));
    }
}
