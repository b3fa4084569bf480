//! Cookies past 4 kB: browsers refuse them, so oauth2-proxy cuts them into chunks.
//!
//! ```text
//! name=ABCDEF…  ->  name_0=ABC…   name_1=DEF…       each header exactly 4000 bytes, the last one less
//! ```
//!
//! The signed value is cut as a whole; a chunk has no signature of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::jar::{Jar, Pair, is_value};
use super::{Attributes, MaxAge, signed};

/// The longest `Set-Cookie` header value, in bytes.
const MAX_HEADER: usize = 4000;

/// The longest name of a chunk, in bytes.
const MAX_NAME: usize = 256;

/// The least that a chunk holds, however long its attributes are.
const MIN_CHUNK: usize = 256;

/// A cookie to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name.
    pub name: Vec<u8>,
    /// The value of its `Set-Cookie` header.
    pub header: Vec<u8>,
}

/// The cookie, or its chunks where it is too long.
pub fn split(
    name: &[u8],
    value: &[u8],
    attributes: &Attributes,
    max_age: MaxAge,
    host: &[u8],
) -> Vec<SetCookie> {
    let suffix = attributes.suffix(max_age, host);
    let capacity = |name: &[u8]| MAX_HEADER.saturating_sub(name.len() + 1 + suffix.len());
    let cookie = |name: Vec<u8>, value: &[u8]| SetCookie {
        header: [&name, b"=".as_slice(), value, suffix.as_bytes()].concat(),
        name,
    };
    if value.len() <= capacity(name) {
        return vec![cookie(name.to_vec(), value)];
    }
    let mut cookies = Vec::new();
    let mut rest = value;
    for number in 0_u32.. {
        let name = chunk_name(name, number);
        let size = capacity(&name).max(MIN_CHUNK).min(rest.len());
        let Some((chunk, others)) = rest.split_at_checked(size) else {
            break;
        };
        cookies.push(cookie(name, chunk));
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    cookies
}

/// The values that the session cookie of this name can have: each cookie of just that name, and its chunks
/// joined. Those that say to be newer come first: oauth2-proxy reads the first of just that name
/// alone, and leaves it where a session has grown into chunks; but it is the old session then, with a refresh
/// token that may be used up. The bytes of a value are not looked at: a signature is. A whole cookie that is longer
/// than [`split`] makes one is none of ours.
pub fn values<'a>(jar: &Jar<'a>, name: &[u8]) -> Vec<Cow<'a, [u8]>> {
    let parts = Parts::find(jar, name);
    let whole = parts.whole.iter().map(|(_, value)| *value).filter(|value| value.len() <= MAX_HEADER);
    let mut values: Vec<Cow<'a, [u8]>> = whole.map(Cow::Borrowed).collect();
    values.extend(join(&parts.chunks).map(Cow::Owned));
    signed::newest_first(values, AsRef::as_ref)
}

/// The names of the session cookie of this name that the browser has, each once: itself, and then its chunks by
/// their number.
pub fn names<'a>(jar: &Jar<'a>, name: &[u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let parts = Parts::find(jar, name);
    let whole = parts.whole.first().copied();
    whole.into_iter().chain(parts.chunks.into_values()).map(|(name, _)| name)
}

/// What a browser has of the session cookie of a name.
struct Parts<'a> {
    whole: Vec<Pair<'a>>,
    /// By their number, the first of each.
    chunks: BTreeMap<u32, Pair<'a>>,
}

impl<'a> Parts<'a> {
    /// In one pass, however many cookies there are.
    fn find(jar: &Jar<'a>, name: &[u8]) -> Self {
        let mut parts = Self { whole: Vec::new(), chunks: BTreeMap::new() };
        for (other, value) in jar.unchecked() {
            if other == name {
                parts.whole.push((other, value));
            } else if let Some(number) = chunk_number(name, other).filter(|_| is_value(value)) {
                parts.chunks.entry(number).or_insert((other, value));
            }
        }
        parts
    }
}

/// The chunks, from number 0 to the first that is missing, or to the end of the signature: oauth2-proxy leaves
/// the chunks that a smaller session does not need any more.
fn join(chunks: &BTreeMap<u32, Pair<'_>>) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = chunks
        .iter()
        .zip(0_u32..)
        .take_while(|((number, _), expected)| *number == expected)
        .map(|((_, (_, value)), _)| *value)
        .collect();
    let mut joined = values.concat();
    if let Some(length) = signed::length(&joined) {
        joined.truncate(length);
    }
    (!values.is_empty()).then_some(joined)
}

/// Whether a cookie is the session cookie of this name or a chunk of it.
pub fn is_part_of(name: &[u8], candidate: &[u8]) -> bool {
    candidate == name || chunk_number(name, candidate).is_some()
}

/// `name_number`; a long name is cut so that the whole fits.
fn chunk_name(name: &[u8], number: u32) -> Vec<u8> {
    let suffix = format!("_{number}");
    [cut(name, suffix.len()), suffix.as_bytes()].concat()
}

/// The number of a chunk's name; none where it is not one that [`chunk_name`] makes.
fn chunk_number(name: &[u8], candidate: &[u8]) -> Option<u32> {
    let digits = candidate.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (start, digits) = candidate.split_at_checked(candidate.len().checked_sub(digits)?)?;
    let start = start.strip_suffix(b"_")?;
    let has_leading_zero = digits.len() > 1 && digits.starts_with(b"0");
    if has_leading_zero || start != cut(name, digits.len() + 1) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn cut(name: &[u8], suffix: usize) -> &[u8] {
    name.get(..MAX_NAME.saturating_sub(suffix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    const NAME: &[u8] = b"_oauth2_proxy";
    const WEEK: MaxAge = MaxAge::Seconds(604_800);

    fn attributes() -> Attributes {
        Attributes {
            path: "/".to_owned(),
            domains: Vec::new(),
            http_only: true,
            secure: true,
            same_site: None,
        }
    }

    fn split_value(name: &[u8], value: &[u8]) -> Vec<SetCookie> {
        split(name, value, &attributes(), WEEK, b"example.com")
    }

    /// The `cookie` headers that a browser would send back.
    fn sent_back(cookies: &[SetCookie]) -> Vec<Vec<u8>> {
        let pair = |cookie: &SetCookie| cookie.header.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
        cookies.iter().filter_map(pair).collect()
    }

    fn joined(name: &[u8], headers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let jar = Jar::new(headers.iter().map(Vec::as_slice));
        values(&jar, name).into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn cuts_where_the_original_cuts() {
        let expected = vectors::load()["split"]["cookies"].clone();
        let expected = expected.as_array().unwrap();
        let number =
            |case: &serde_json::Value, key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
        let length = expected.iter().map(|case| number(case, "value_len")).sum();
        let cookies = split_value(NAME, &vec![b'x'; length]);
        assert_eq!(cookies.len(), expected.len());
        for (cookie, case) in cookies.iter().zip(expected) {
            assert_eq!(cookie.name, case["name"].as_str().unwrap().as_bytes());
            assert_eq!(cookie.header.len(), number(case, "set_cookie_len"));
        }
    }

    #[test]
    fn exactly_4000_bytes_are_one_cookie() {
        let overhead = split_value(NAME, b"").first().unwrap().header.len();
        assert_eq!(split_value(NAME, &vec![b'x'; 4000 - overhead]).len(), 1);
        assert_eq!(split_value(NAME, &vec![b'x'; 4001 - overhead]).len(), 2);
    }

    #[test]
    fn a_gap_ends_the_chunks() {
        let headers = [b"n_0=a; n_2=c; n_1=b; n_4=e; n_1=x".to_vec()];
        assert_eq!(joined(b"n", &headers), [b"abc"]);
        assert!(joined(b"n", &[b"n_1=b; n_2=c".to_vec()]).is_empty());
    }

    /// Go's `net/http` drops such a pair, so for oauth2-proxy it is not there.
    #[test]
    fn a_chunk_with_a_byte_that_no_value_has_hides_no_other() {
        assert_eq!(joined(b"n", &[b"n_0=a; n_1=\xff; n_1=b; n_2=\x01".to_vec()]), [b"ab"]);
    }

    #[test]
    fn a_whole_cookie_comes_before_chunks() {
        let headers = [b"n_0=a; n_1=b; n=whole; n=other".to_vec()];
        assert_eq!(joined(b"n", &headers), [b"whole".as_slice(), b"other", b"ab"]);
    }

    /// A value as it is signed, `length` bytes long.
    fn signed_value(byte: &str, length: usize, secs: i64) -> Vec<u8> {
        let rest = format!("|{secs}|{}=", byte.repeat(43));
        [byte.repeat(length - rest.len()), rest].concat().into_bytes()
    }

    #[test]
    fn chunks_of_a_larger_session_before_it_are_no_part_of_a_smaller_one() {
        let larger = split_value(NAME, &signed_value("a", 20_000, 1_700_000_000));
        for length in 4_000..4_100 {
            let value = signed_value("b", length, 1_700_000_001);
            let smaller = split_value(NAME, &value);
            assert_eq!((smaller.len(), larger.len()), (2, 6));
            let headers = sent_back(&smaller).into_iter().chain(sent_back(&larger[smaller.len()..]));
            assert_eq!(joined(NAME, &headers.collect::<Vec<_>>()), [value]);
        }
    }

    #[test]
    fn the_newest_comes_first_whichever_is_in_chunks() {
        let (old, new) = (signed_value("a", 500, 1_700_000_000), signed_value("b", 5_000, 1_700_000_001));
        let headers = |values: [&[u8]; 2]| -> Vec<_> {
            values.into_iter().flat_map(|value| sent_back(&split_value(NAME, value))).collect()
        };
        assert_eq!(joined(NAME, &headers([&old, &new])), [new.clone(), old.clone()]);
        let (old, new) = (signed_value("a", 5_000, 1_700_000_000), signed_value("b", 500, 1_700_000_001));
        assert_eq!(joined(NAME, &headers([&old, &new])), [new.clone(), old]);
        let as_new = signed_value("c", 500, 1_700_000_001);
        assert_eq!(joined(NAME, &headers([&new, &as_new])), [new, as_new]);
    }

    #[test]
    fn of_many_the_newest_come_first_in_their_order() {
        let value = |secs: i64, byte| signed_value(byte, 100, 1_700_000_000 + secs);
        let values = [value(1, "a"), b"junk".to_vec(), value(3, "b"), value(2, "c"), value(3, "d")];
        let headers = values.each_ref().map(|value| [b"n=".as_slice(), value].concat());
        let [a, junk, b, c, d] = values;
        assert_eq!(joined(b"n", &headers), [b, d, c, a, junk]);
    }

    #[test]
    fn a_cookie_that_no_browser_keeps_is_none() {
        let headers = [b"n=".to_vec(), vec![b'x'; 4001]].concat();
        assert!(joined(b"n", &[headers]).is_empty());
    }

    #[test]
    fn knows_its_parts_by_name() {
        for part in ["n", "n_0", "n_7", "n_12"] {
            assert!(is_part_of(b"n", part.as_bytes()), "{part}");
        }
        for other in ["", "m", "n_", "n_x", "n_csrf", "n_01", "n_0_0", "n0", "xn_0", "n_99999999999"] {
            assert!(!is_part_of(b"n", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn its_names_come_by_number_and_once() {
        let header = b"n_10=a; n_2=b; other=c; n_2=d; n_0=e; n_x=f; n=g; n_02=h".as_slice();
        let found: Vec<_> = names(&Jar::new([header]), b"n").collect();
        assert_eq!(found, [b"n".as_slice(), b"n_0", b"n_2", b"n_10"]);
    }

    #[test]
    fn the_longest_name_is_cut_to_make_room_for_the_number() {
        let name = vec![b'n'; MAX_NAME];
        let cookies = split_value(&name, &vec![b'x'; 50_000]);
        assert!(cookies.len() > 10);
        assert!(cookies.iter().all(|cookie| cookie.name.len() == MAX_NAME && cookie.header.len() <= 4000));
        assert_eq!(joined(&name, &sent_back(&cookies)), [vec![b'x'; 50_000]]);
    }

    proptest! {
        #[test]
        fn what_was_split_comes_back(value in prop::collection::vec(b'!'..b'"', 0..20_000), name in "[a-z_0-9]{1,20}") {
            let cookies = split_value(name.as_bytes(), &value);
            prop_assert!(cookies.iter().all(|cookie| is_part_of(name.as_bytes(), &cookie.name)));
            prop_assert_eq!(joined(name.as_bytes(), &sent_back(&cookies)), [value]);
        }
    }
}
