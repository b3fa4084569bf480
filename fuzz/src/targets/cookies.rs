//! The `cookie` headers of a request: what is found in them, what is left, and what holds.

use std::sync::LazyLock;

use oauth2_session_filter::cookie::{self, Jar, SessionCookies};

use super::sealed::{NAME, NOW, WEEK, is_part, secret, unlimited};
use super::vectors;

/// All values that were signed with this secret under this name, by oauth2-proxy. No other value can be valid.
static SIGNED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let vectors = vectors::oauth2_proxy();
    let headers =
        ["/cookie_store_full/set_cookie/0", "/cookie_store_minimal/0", "/ticket_store/set_cookie/0"];
    headers
        .iter()
        .map(|path| vectors.pointer(path).and_then(|header| header.as_str()).unwrap())
        .map(|header| header.split_once('=').unwrap().1.split(';').next().unwrap().as_bytes().to_vec())
        .collect()
});

/// The bytes are headers, a line feed between two.
pub(super) fn run(bytes: &[u8]) {
    let jar = Jar::new(bytes.split(|byte| *byte == b'\n'));
    let pairs: Vec<_> = jar.pairs().collect();
    for (name, value) in &pairs {
        assert!(jar.all(name).any(|other| other == *value));
    }
    let secret = secret();
    let sent = SessionCookies::find(&jar, NAME);
    for value in SessionCookies::find(&jar, NAME).into_values() {
        if cookie::verify(&secret.clone().into(), NAME, &value, NOW, WEEK, &mut unlimited()).is_ok() {
            let is_ours = SIGNED.iter().any(|signed| is_same(signed, &value));
            assert!(is_ours, "a signature that nobody made holds");
        }
    }
    let is_unwanted = sent.is_part();
    let rest = jar.without(&is_unwanted);
    let left = Jar::new([rest.as_slice()]);
    let left = SessionCookies::find(&left, NAME);
    for value in left.into_values() {
        let is_signed = cookie::is_signed(&secret.clone().into(), NAME, &value, &mut unlimited());
        assert!(!is_signed, "a session is left");
    }
    let rest: Vec<_> =
        Jar::new([rest.as_slice()]).pairs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let kept = pairs.iter().filter(|(name, _)| !is_unwanted(name));
    assert!(rest.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).eq(kept.copied()));
    let is_ours = |value: &[u8]| cookie::is_signed(&secret.clone().into(), NAME, value, &mut unlimited());
    let names = sent.names(is_ours);
    assert!(names.iter().all(|name| is_unwanted(name) && is_part(name)));
    let (mut numbers, others): (Vec<u32>, Vec<_>) = (
        names
            .iter()
            .filter_map(|name| {
                std::str::from_utf8(name.strip_prefix(NAME)?.strip_prefix(b"_")?).ok()?.parse().ok()
            })
            .collect(),
        names.iter().filter(|name| *name == NAME).collect(),
    );
    numbers.sort_unstable();
    assert!(
        numbers.iter().copied().eq(0..u32::try_from(numbers.len()).unwrap()),
        "a chunk counts behind a gap"
    );
    assert_eq!(numbers.len() + others.len(), names.len());
    assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "a name is there twice");
}

/// The same value; base64 leaves bits of a signature's end open.
fn is_same(signed: &[u8], other: &[u8]) -> bool {
    let end = signed.len().saturating_sub(2);
    signed.len() == other.len() && signed[..end] == other[..end]
}
