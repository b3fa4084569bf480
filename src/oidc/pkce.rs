//! PKCE (RFC 7636): proof that the code is redeemed by the client that asked for it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A code verifier of random bytes: 128 characters (section 4.1).
pub fn code_verifier(random: &[u8; 96]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// The S256 code challenge (section 4.2).
pub fn code_challenge_s256(code_verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier))
}

#[cfg(test)]
mod tests {
    use super::{code_challenge_s256, code_verifier};
    use crate::vectors::{self, counted};

    #[test]
    fn verifier_and_challenge_are_those_of_oauth2_proxy() {
        let vectors = vectors::load();
        let verifier = code_verifier(&counted(0));
        assert_eq!(verifier, vectors["pkce"]["verifier"].as_str().unwrap());
        assert_eq!(code_challenge_s256(&verifier), vectors["pkce"]["s256"].as_str().unwrap());
    }
}
