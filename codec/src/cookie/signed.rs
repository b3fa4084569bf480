//! Signed values: the proof that this filter, or an oauth2-proxy with the same secret, made a cookie.
//!
//! ```text
//! base64url(value) "|" time "|" base64url(mac)        base64url with padding; time in Unix seconds
//! mac = HMAC-SHA-256(secret, cookie name ‖ base64url(value) ‖ time)
//! ```

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use hmac::Mac;

use super::{CookieSecret, CookieSecrets};
use crate::base64url::PADDED;
use crate::time::Timestamp;

/// How far in the future a signature may be: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The length of a signature in base64url with padding.
pub(super) const MAC_LENGTH: usize = 44;

/// The longest time, in digits with a sign.
const TIME_LENGTH: usize = 20;

/// How many signatures of one request are still checked. An attacker can fill the headers with values that look signed,
/// and only hashing their bytes shows that they are not. With several secrets, a value is hashed once for each.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    checks: usize,
    longest: usize,
    /// How many bytes may be hashed in all.
    bytes: usize,
}

impl Allowance {
    /// At most `checks` signatures, of values of at most `longest` bytes each. Longer values do not count.
    pub const fn new(checks: usize, longest: usize) -> Self {
        Self { checks, longest, bytes: checks.saturating_mul(longest) }
    }

    /// The same number of values for several secrets: each value may be checked with each of them. The bytes that are
    /// hashed stay the same, so long values are checked less often. They are always enough for one value.
    #[must_use]
    pub fn for_secrets(self, secrets: &CookieSecrets) -> Self {
        let checks = self.checks.saturating_mul(secrets.count());
        let one_value = self.longest.saturating_mul(secrets.count());
        Self { checks, bytes: self.bytes.max(one_value), ..self }
    }

    fn take(&mut self, bytes: usize) -> Result<(), InvalidSignature> {
        if bytes > self.longest {
            return Err(InvalidSignature);
        }
        let checks = self.checks.checked_sub(1).ok_or(InvalidSignature)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(InvalidSignature)?;
        self.checks = checks;
        Ok(())
    }
}

/// A value with a valid signature. Only [`verify`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    value: Vec<u8>,
    timestamp: i64,
    secret: Rc<CookieSecret>,
}

/// The value is not signed by these secrets under this name, has expired, or is from the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSignature;

impl Verified {
    /// The signed value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The time of the signature, in Unix seconds.
    pub const fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The secret that signed it. It is also the one that encrypted the value.
    pub const fn secret(&self) -> &Rc<CookieSecret> {
        &self.secret
    }
}

/// Signs a value for the cookie of that name.
pub fn sign(secret: &CookieSecret, name: &[u8], value: &[u8], secs: i64) -> Vec<u8> {
    let value = PADDED.encode(value);
    let secs = secs.to_string();
    let mac = mac(secret, name, value.as_bytes(), secs.as_bytes()).finalize().into_bytes();
    [value, secs, PADDED.encode(mac)].join("|").into_bytes()
}

/// Checks a cookie's value with all secrets. A malformed or outdated value uses no allowance.
///
/// # Errors
/// [`InvalidSignature`], without a reason: only an attacker could use it.
pub fn verify(
    secrets: &CookieSecrets,
    name: &[u8],
    raw: &[u8],
    now: Timestamp,
    expire: Duration,
    allowance: &mut Allowance,
) -> Result<Verified, InvalidSignature> {
    let parts = Parts::of(raw).ok_or(InvalidSignature)?;
    if !is_current(parts.timestamp, now, expire) {
        return Err(InvalidSignature);
    }
    let secret = parts.signer(secrets, name, raw.len(), allowance)?;
    // `|` is not in the alphabet of base64, so a value of four parts fails here.
    let value = PADDED.decode(parts.value).map_err(|_| InvalidSignature)?;
    Ok(Verified { value, timestamp: parts.timestamp, secret: Rc::clone(secret) })
}

/// Whether one of these secrets signed a value under this name, at any time.
pub fn is_signed(secrets: &CookieSecrets, name: &[u8], raw: &[u8], allowance: &mut Allowance) -> bool {
    Parts::of(raw).is_some_and(|parts| parts.signer(secrets, name, raw.len(), allowance).is_ok())
}

/// Whether the bytes have the form of a complete signed value.
pub(super) fn is_whole(raw: &[u8]) -> bool {
    Parts::of(raw).is_some_and(|parts| {
        !parts.value.is_empty() && parts.value.len() % 4 == 0 && !parts.value.contains(&b'|')
    })
}

/// The time that a signed value claims, in Unix seconds. Its signature is not checked.
pub fn signed_at(raw: &[u8]) -> Option<i64> {
    Parts::of(raw).map(|parts| parts.timestamp)
}

/// The part of a signed value that the signature covers. The signature itself can be written in several ways: base64url
/// leaves two of its bits open.
pub fn signed_part(raw: &[u8]) -> &[u8] {
    let end = raw.iter().rposition(|byte| *byte == b'|').unwrap_or(raw.len());
    raw.get(..end).unwrap_or(raw)
}

/// The parts of a value that has the form of a signed one.
struct Parts<'a> {
    value: &'a [u8],
    secs: &'a [u8],
    timestamp: i64,
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Parses from the end, so that the cost does not depend on the length of the value.
    fn of(raw: &'a [u8]) -> Option<Self> {
        let (rest, signature) = raw.split_at_checked(raw.len().checked_sub(MAC_LENGTH)?)?;
        let rest = rest.strip_suffix(b"|")?;
        let end = rest.get(rest.len().saturating_sub(TIME_LENGTH + 1)..)?;
        let length = end.iter().rev().position(|byte| *byte == b'|')?;
        let (rest, secs) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
        let timestamp = std::str::from_utf8(secs).ok()?.parse().ok()?;
        Some(Self { value: rest.strip_suffix(b"|")?, secs, timestamp, signature })
    }

    /// The secret that signed these parts. Each check uses up a part of the allowance.
    fn signer<'s>(
        &self,
        secrets: &'s CookieSecrets,
        name: &[u8],
        length: usize,
        allowance: &mut Allowance,
    ) -> Result<&'s Rc<CookieSecret>, InvalidSignature> {
        for secret in secrets.all() {
            allowance.take(length)?;
            if self.check(secret, name).is_ok() {
                return Ok(secret);
            }
        }
        Err(InvalidSignature)
    }

    /// Checks the signature, in constant time.
    fn check(&self, secret: &CookieSecret, name: &[u8]) -> Result<(), InvalidSignature> {
        let signature = PADDED.decode(self.signature).map_err(|_| InvalidSignature)?;
        mac(secret, name, self.value, self.secs).verify_slice(&signature).map_err(|_| InvalidSignature)
    }
}

/// Sorts by the claimed time, which is not verified yet, newest first. Values of equal time keep their order.
pub fn newest_first<T>(values: Vec<T>, raw: impl Fn(&T) -> &[u8]) -> Vec<T> {
    let times = values.iter().map(|value| Reverse(signed_at(raw(value))));
    let mut order: Vec<(Reverse<Option<i64>>, usize)> = times.zip(0..).collect();
    order.sort_unstable();
    let mut values: Vec<Option<T>> = values.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, number)| values.get_mut(number).and_then(Option::take)).collect()
}

/// Whether a signature of that time is valid now. `expire` zero means that it never expires.
pub fn is_current(signed_at: i64, now: Timestamp, expire: Duration) -> bool {
    let signed_at = Timestamp::from_secs(signed_at);
    expire.is_zero() || (signed_at.after(expire) > now && signed_at < now.after(CLOCK_SKEW))
}

fn mac(secret: &CookieSecret, name: &[u8], value: &[u8], secs: &[u8]) -> hmac::Hmac<sha2::Sha256> {
    let mut mac = secret.mac();
    mac.update(name);
    mac.update(value);
    mac.update(secs);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    const NOW: i64 = 1_700_000_000;
    const HOUR: Duration = Duration::from_secs(3600);
    const PLENTY: Allowance = Allowance::new(1, 1 << 20);

    #[test]
    fn claimed_time_is_read_before_any_check() {
        let signed = sign(&secret(), b"n", b"value", NOW);
        assert_eq!(signed_at(&signed), Some(NOW));
        assert_eq!((signed_at(b"a"), signed_at(b"a|b|c")), (None, None));
    }

    fn secret() -> CookieSecret {
        CookieSecret::new(b"0123456789abcdef").unwrap()
    }

    fn secrets() -> CookieSecrets {
        secret().into()
    }

    fn check(raw: &[u8], expire: Duration) -> Result<Verified, InvalidSignature> {
        verify(&secrets(), b"name", raw, Timestamp::from_secs(NOW), expire, &mut PLENTY.clone())
    }

    #[test]
    fn signature_is_that_of_oauth2_proxy() {
        for case in vectors::load()["signed_value"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let secret = CookieSecret::new(text("seed").as_bytes()).unwrap();
            let signed = sign(
                &secret,
                text("name").as_bytes(),
                text("value_utf8").as_bytes(),
                case["unix"].as_i64().unwrap(),
            );
            assert_eq!(signed, text("signed").as_bytes());
        }
    }

    /// The cases and their outcomes are those of oauth2-proxy.
    #[test]
    fn age_is_judged_as_by_oauth2_proxy() {
        let vectors = vectors::load();
        let signed = |age: i64| sign(&secret(), b"name", b"x", NOW - age);
        let four_parts = [signed(0).as_slice(), b"|x"].concat();
        let unpadded = String::from_utf8(signed(0)).unwrap().trim_end_matches('=').to_owned();
        let cases: [(&str, Vec<u8>, Duration); 9] = [
            ("now", signed(0), HOUR),
            ("old59m", signed(59 * 60), HOUR),
            ("old61m", signed(61 * 60), HOUR),
            ("old_exp0", signed(61 * 60), Duration::ZERO),
            ("future4m", signed(-4 * 60), HOUR),
            ("future6m", signed(-6 * 60), HOUR),
            ("future6m_exp0", signed(-6 * 60), Duration::ZERO),
            ("four_parts", four_parts, HOUR),
            ("sig_unpadded", unpadded.into_bytes(), HOUR),
        ];
        for (name, raw, expire) in cases {
            let expected = vectors["validate_edge"][name].as_str().unwrap();
            let checked = match check(&raw, expire) {
                Ok(verified) => format!("true {:?}", String::from_utf8_lossy(verified.value())),
                Err(InvalidSignature) => "false \"\"".to_owned(),
            };
            assert_eq!(checked, expected, "{name}");
        }
    }

    #[test]
    fn value_of_another_name_or_secret_is_invalid() {
        let signed = sign(&secret(), b"name", b"x", NOW);
        let now = Timestamp::from_secs(NOW);
        assert!(verify(&secrets(), b"other", &signed, now, HOUR, &mut PLENTY.clone()).is_err());
        let other = CookieSecret::new(b"fedcba9876543210").unwrap();
        assert!(verify(&other.into(), b"name", &signed, now, HOUR, &mut PLENTY.clone()).is_err());
    }

    #[test]
    fn value_of_an_older_secret_is_verified_by_it() {
        let (old, now) = (CookieSecret::new(b"fedcba9876543210").unwrap(), Timestamp::from_secs(NOW));
        let signed = sign(&old, b"name", b"x", NOW);
        let both = CookieSecrets::new([secret(), old.clone()]).unwrap();
        let mut two = PLENTY.for_secrets(&both);
        assert_eq!(**verify(&both, b"name", &signed, now, HOUR, &mut two).unwrap().secret(), old);
        assert!(super::is_signed(&both, b"name", &signed, &mut PLENTY.for_secrets(&both)));
        assert!(verify(&secrets(), b"name", &signed, now, HOUR, &mut PLENTY.clone()).is_err());
    }

    /// A stranger can make the filter hash as many bytes as with one secret.
    #[test]
    fn several_secrets_hash_no_more_bytes_than_one() {
        let (old, now) = (CookieSecret::new(b"fedcba9876543210").unwrap(), Timestamp::from_secs(NOW));
        let both = CookieSecrets::new([secret(), old.clone()]).unwrap();
        let long = sign(&old, b"name", &[b'x'; 600], NOW);
        let check =
            |allowance: &mut Allowance, raw: &[u8]| verify(&both, b"name", raw, now, HOUR, allowance).is_ok();
        let mut two_values = Allowance::new(2, long.len()).for_secrets(&both);
        assert!(check(&mut two_values, &long) && !check(&mut two_values, &long));
        let mut one_value = Allowance::new(1, long.len()).for_secrets(&both);
        assert!(check(&mut one_value, &long) && !check(&mut one_value, &long));
        let short = sign(&old, b"name", b"x", NOW);
        let mut two_values = Allowance::new(2, 1000).for_secrets(&both);
        assert!(check(&mut two_values, &short) && check(&mut two_values, &short));
        assert!(!check(&mut two_values, &short));
    }

    #[test]
    fn allowance_limits_checked_signatures() {
        let signed = sign(&secret(), b"name", b"x", NOW);
        let now = Timestamp::from_secs(NOW);
        let check = |allowance: &mut Allowance, raw: &[u8]| {
            verify(&secrets(), b"name", raw, now, HOUR, allowance).is_ok()
        };
        let mut two = Allowance::new(2, 1000);
        assert!(check(&mut two, &signed) && check(&mut two, &signed) && !check(&mut two, &signed));
        let mut as_long = Allowance::new(1, signed.len());
        assert!(!check(&mut as_long, &sign(&secret(), b"name", b"long", NOW)));
        assert!(check(&mut as_long, &signed) && !check(&mut as_long, &signed));
    }

    #[test]
    fn malformed_or_outdated_value_uses_no_allowance() {
        let signed = sign(&secret(), b"name", b"x", NOW);
        let now = Timestamp::from_secs(NOW);
        let mut one = Allowance::new(1, 1000);
        let old = sign(&secret(), b"name", b"x", NOW - 3601);
        let future = sign(&secret(), b"name", b"x", NOW + 600);
        let short = &signed[..signed.len() - 1];
        let no_time = [b"eA==|1x|".as_slice(), &[b'a'; 43], b"="].concat();
        let long_time = [b"eA==|".as_slice(), &[b'0'; 30], b"|", &[b'a'; 43], b"="].concat();
        for raw in
            [&old, &future, short, &no_time, &long_time, &signed[5..], b"".as_slice(), b"||", &[b'|'; 46]]
        {
            assert!(verify(&secrets(), b"name", raw, now, HOUR, &mut one).is_err());
        }
        assert!(verify(&secrets(), b"name", &signed, now, HOUR, &mut one).is_ok());
    }

    #[test]
    fn expired_value_is_still_recognised_as_signed() {
        let old = sign(&secret(), b"name", b"x", 1);
        let is_signed =
            |raw: &[u8], name: &[u8]| super::is_signed(&secrets(), name, raw, &mut PLENTY.clone());
        assert!(check(&old, HOUR).is_err() && is_signed(&old, b"name"));
        assert!(!is_signed(&old, b"other") && !is_signed(&old[1..], b"name"));
        let other = CookieSecret::new(b"fedcba9876543210").unwrap();
        assert!(!super::is_signed(&other.into(), b"name", &old, &mut PLENTY.clone()));
        assert!(!super::is_signed(&secrets(), b"name", &old, &mut Allowance::new(0, 1000)));
    }

    #[test]
    fn overflowing_time_is_invalid() {
        for secs in [i64::MIN, i64::MAX] {
            assert!(check(&sign(&secret(), b"name", b"x", secs), HOUR).is_err());
        }
    }

    proptest! {
        #[test]
        fn signed_value_comes_back(value: Vec<u8>, age in 0_i64..3600) {
            let verified = check(&sign(&secret(), b"name", &value, NOW - age), HOUR);
            prop_assert_eq!(verified.map(|verified| verified.value), Ok(value));
        }

        #[test]
        fn flipped_byte_never_verifies_as_another_value(value: Vec<u8>, position: prop::sample::Index, flip in 1_u8..) {
            let mut signed = sign(&secret(), b"name", &value, NOW);
            let position = position.index(signed.len());
            signed[position] ^= flip;
            // A flip in the unused bits at the end of a base64 part does not change the signed bytes.
            if let Ok(verified) = check(&signed, HOUR) {
                prop_assert_eq!(verified.value, value);
            }
        }

        #[test]
        fn garbage_has_no_valid_signature(raw: Vec<u8>) {
            prop_assert!(check(&raw, HOUR).is_err());
        }
    }
}
