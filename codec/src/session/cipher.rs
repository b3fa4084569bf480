//! The two ciphers, with keys of 16, 24 or 32 bytes (AES-128, -192, -256).
//!
//! ```text
//! AES-CFB: IV[16]    | ciphertext              full blocks as feedback (CFB128), no padding
//! AES-GCM: nonce[12] | ciphertext | tag[16]    no additional data
//! ```

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::Aead;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit, Nonce};
use cfb_mode::cipher::KeyIvInit;
use cfb_mode::{Decryptor, Encryptor};

use super::DecodeError;

/// Encrypts with an IV that is used once. A key of an invalid length gives no bytes.
pub(super) fn encrypt_cfb(key: &[u8], iv: [u8; 16], plain: &[u8]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    let done = match key.len() {
        16 => Encryptor::<Aes128>::new_from_slices(key, &iv).map(|cipher| cipher.encrypt(&mut bytes)),
        24 => Encryptor::<Aes192>::new_from_slices(key, &iv).map(|cipher| cipher.encrypt(&mut bytes)),
        _ => Encryptor::<Aes256>::new_from_slices(key, &iv).map(|cipher| cipher.encrypt(&mut bytes)),
    };
    match done {
        Ok(()) => [iv.as_slice(), &bytes].concat(),
        Err(_) => Vec::new(),
    }
}

/// Decrypts. CFB has no integrity check: any 16 bytes or more decrypt to something.
pub(super) fn decrypt_cfb(key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (iv, ciphertext) = sealed.split_at_checked(16).ok_or(DecodeError::Cipher)?;
    let mut bytes = ciphertext.to_vec();
    match key.len() {
        16 => Decryptor::<Aes128>::new_from_slices(key, iv).map(|cipher| cipher.decrypt(&mut bytes)),
        24 => Decryptor::<Aes192>::new_from_slices(key, iv).map(|cipher| cipher.decrypt(&mut bytes)),
        _ => Decryptor::<Aes256>::new_from_slices(key, iv).map(|cipher| cipher.decrypt(&mut bytes)),
    }
    .map_err(|_| DecodeError::Cipher)?;
    Ok(bytes)
}

/// Encrypts and authenticates with a nonce that is used once. A key of an invalid length gives no bytes.
pub(super) fn encrypt_gcm(key: &[u8], nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
    match gcm(key, |cipher| cipher.encrypt(nonce, plain)) {
        Ok(sealed) => [nonce.as_slice(), &sealed].concat(),
        Err(_) => Vec::new(),
    }
}

/// Checks and decrypts.
pub(super) fn decrypt_gcm(key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<12>().ok_or(DecodeError::Cipher)?;
    gcm(key, |cipher| cipher.decrypt(*nonce, ciphertext))
}

/// AES-GCM of any key length behind one interface.
trait Gcm {
    fn encrypt(&self, nonce: [u8; 12], plain: &[u8]) -> Result<Vec<u8>, aes_gcm::Error>;
    fn decrypt(&self, nonce: [u8; 12], sealed: &[u8]) -> Result<Vec<u8>, aes_gcm::Error>;
}

impl<C> Gcm for C
where
    C: Aead + aes_gcm::aead::AeadCore<NonceSize = U12>,
{
    fn encrypt(&self, nonce: [u8; 12], plain: &[u8]) -> Result<Vec<u8>, aes_gcm::Error> {
        Aead::encrypt(self, &Nonce::<U12>::from(nonce), plain)
    }

    fn decrypt(&self, nonce: [u8; 12], sealed: &[u8]) -> Result<Vec<u8>, aes_gcm::Error> {
        Aead::decrypt(self, &Nonce::<U12>::from(nonce), sealed)
    }
}

fn gcm(
    key: &[u8],
    run: impl FnOnce(&dyn Gcm) -> Result<Vec<u8>, aes_gcm::Error>,
) -> Result<Vec<u8>, DecodeError> {
    let cipher: Box<dyn Gcm> = match key.len() {
        16 => Box::new(AesGcm::<Aes128, U12>::new_from_slice(key).map_err(|_| DecodeError::Cipher)?),
        24 => Box::new(AesGcm::<Aes192, U12>::new_from_slice(key).map_err(|_| DecodeError::Cipher)?),
        _ => Box::new(AesGcm::<Aes256, U12>::new_from_slice(key).map_err(|_| DecodeError::Cipher)?),
    };
    run(cipher.as_ref()).map_err(|_| DecodeError::Cipher)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{self, bytes, counted};

    #[test]
    fn ciphers_are_those_of_oauth2_proxy() {
        let vectors = vectors::load();
        let case = &vectors["cipher"];
        let key = bytes(&case["key_hex"]);
        let plain = case["plain"].as_str().unwrap().as_bytes();
        let cfb = bytes(&case["cfb_hex_iv_00_0f"]);
        assert_eq!(encrypt_cfb(&key, counted(0), plain), cfb);
        assert_eq!(decrypt_cfb(&key, &cfb).as_deref(), Ok(plain));
        let gcm = bytes(&case["gcm_hex_nonce_00_0b"]);
        assert_eq!(encrypt_gcm(&key, counted(0), plain), gcm);
        assert_eq!(decrypt_gcm(&key, &gcm).as_deref(), Ok(plain));
    }

    #[test]
    fn too_short_ciphertext_is_an_error() {
        let key = [7; 16];
        assert_eq!(decrypt_cfb(&key, &[0; 15]), Err(DecodeError::Cipher));
        // The original panics here.
        assert_eq!(decrypt_gcm(&key, &[0; 3]), Err(DecodeError::Cipher));
        assert_eq!(decrypt_gcm(&key, &[0; 27]), Err(DecodeError::Cipher));
    }

    #[test]
    fn key_of_another_length_is_an_error() {
        assert_eq!(decrypt_cfb(&[7; 17], &[0; 40]), Err(DecodeError::Cipher));
        assert_eq!(decrypt_gcm(&[7; 17], &[0; 40]), Err(DecodeError::Cipher));
        assert!(encrypt_cfb(&[7; 17], [0; 16], b"x").is_empty());
        assert!(encrypt_gcm(&[7; 17], [0; 12], b"x").is_empty());
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![Just(16_usize), Just(24), Just(32)]
            .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length))
    }

    proptest! {
        #[test]
        fn encrypted_bytes_come_back(key in key(), iv: [u8; 16], nonce: [u8; 12], plain: Vec<u8>) {
            prop_assert_eq!(decrypt_cfb(&key, &encrypt_cfb(&key, iv, &plain)), Ok(plain.clone()));
            prop_assert_eq!(decrypt_gcm(&key, &encrypt_gcm(&key, nonce, &plain)), Ok(plain));
        }

        #[test]
        fn gcm_detects_every_changed_byte(key in key(), plain: Vec<u8>, at: prop::sample::Index, flip in 1_u8..) {
            let mut sealed = encrypt_gcm(&key, [9; 12], &plain);
            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert_eq!(decrypt_gcm(&key, &sealed), Err(DecodeError::Cipher));
        }
    }
}
