//! The comparison of two long values, by words.

/// Whether two values have the same bytes. It is not for secrets, because its time depends on them.
///
/// It compares words: the `memcmp` of wasm compares bytes, and a cookie has thousands.
#[must_use]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let is_word_same = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b);
    a.len() == b.len() && a_words.iter().zip(b_words).all(is_word_same) && a_rest == b_rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_same;

    proptest! {
        #[test]
        fn comparison_by_words_equals_comparison_of_bytes(a: Vec<u8>, at: prop::sample::Index, flip: u8, cut in 0_usize..3) {
            let mut b = a.clone();
            if let Some(byte) = (!b.is_empty()).then(|| at.index(b.len())) {
                b[byte] ^= flip;
            }
            b.truncate(b.len().saturating_sub(cut));
            prop_assert_eq!(is_same(&a, &b), a == b);
        }
    }
}
