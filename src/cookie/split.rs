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

/// What a browser sent of the session cookie of a name, before its signatures were checked.
pub struct Sent<'a> {
    name: &'a [u8],
    /// The cookies of just that name, in their order.
    whole: Vec<&'a [u8]>,
    /// By their number, each in their order.
    chunks: BTreeMap<u32, Vec<Pair<'a>>>,
    sets: Vec<Set>,
}

impl<'a> Sent<'a> {
    /// In one pass, however many cookies there are.
    pub fn find(jar: &Jar<'a>, name: &'a [u8]) -> Self {
        let (mut whole, mut chunks) = (Vec::new(), BTreeMap::<u32, Vec<Pair<'a>>>::new());
        for (other, value) in jar.unchecked() {
            if other == name {
                whole.push(value);
            } else if let Some(number) = chunk_number(name, other).filter(|_| is_value(value)) {
                chunks.entry(number).or_default().push((other, value));
            }
        }
        let sets = Set::of(&chunks);
        Self { name, whole, chunks, sets }
    }

    /// The values that the session cookie can have: each cookie of just that name, and the chunks of each set
    /// joined. Those that say to be newer come first: oauth2-proxy reads the first of just that name
    /// alone, and leaves it where a session has grown into chunks; but it is the old session then, with a refresh
    /// token that may be used up. The bytes of a value are not looked at: a signature is. A whole cookie that is longer
    /// than [`split`] makes one is none of ours.
    pub fn values(&self) -> Vec<Cow<'_, [u8]>> {
        let whole = self.whole.iter().copied().filter(|value| value.len() <= MAX_HEADER);
        let mut values: Vec<_> = whole.map(Cow::Borrowed).collect();
        values.extend(self.sets.iter().map(|set| Cow::Borrowed(set.value.as_slice())));
        signed::newest_first(values, AsRef::as_ref)
    }

    /// The names that the session cookie has in the browser, each once: itself, and then its chunks by their number.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        let whole = (!self.whole.is_empty()).then_some(self.name);
        let chunks = self.chunks.values().filter_map(|cookies| cookies.first());
        whole.into_iter().chain(chunks.map(|(name, _)| *name))
    }
}

/// Chunks that are joined.
#[derive(PartialEq, Eq)]
struct Set {
    value: Vec<u8>,
    /// How many `|` it has. The second is before the signature, so it tells where the value ends.
    bars: usize,
    end: Option<usize>,
    /// Whether no other chunk belongs to it.
    is_over: bool,
}

impl Set {
    /// The sets of a browser, each from number 0 to the first that is missing, or to the end of its signature:
    /// oauth2-proxy leaves the chunks that a smaller session does not need any more.
    ///
    /// A browser has several sets if their domains or paths differ. It sends the cookies of each name in the same order
    /// (RFC 6265 section 5.4), so the first set has the first chunk of each number, and so on. If there are more of a number
    /// than there are sets, some are of no set; then the last set may as well have the last of each number.
    fn of(chunks: &BTreeMap<u32, Vec<Pair<'_>>>) -> Vec<Self> {
        let numbers = chunks.iter().zip(0_u32..).take_while(|((number, _), expected)| *number == expected);
        let numbers: Vec<&[Pair<'_>]> = numbers.map(|((_, cookies), _)| cookies.as_slice()).collect();
        let Some((first, others)) = numbers.split_first() else { return Vec::new() };
        let mut sets = Self::follow(first, others, Order::FromTheFirst);
        if others.iter().any(|cookies| cookies.len() > first.len()) {
            let more = Self::follow(first, others, Order::FromTheLast);
            let others = more.into_iter().zip(&sets).filter(|(set, same)| set.is_complete() && set != *same);
            let others: Vec<Self> = others.map(|(set, _)| set).collect();
            sets.extend(others);
        }
        sets
    }

    fn follow(first: &[Pair<'_>], others: &[&[Pair<'_>]], order: Order) -> Vec<Self> {
        let mut sets: Vec<Self> = first.iter().map(|(_, chunk)| Self::begin(chunk)).collect();
        let all = sets.len();
        for cookies in others {
            // A set that has ended has no chunk of this number, unless there is one for it that is stale.
            let is_one_for_each = cookies.len() >= all;
            let open = sets.iter().filter(|set| !set.is_over).count();
            let of = if is_one_for_each { all } else { open };
            let mut at = 0_usize;
            for set in &mut sets {
                let number = at;
                at = at.saturating_add(usize::from(is_one_for_each || !set.is_over));
                if !set.is_over {
                    set.push(order.pick(cookies, number, of));
                }
            }
        }
        sets
    }

    /// Whether it has the end of a signature.
    fn is_complete(&self) -> bool {
        self.end == Some(self.value.len())
    }

    fn begin(chunk: &[u8]) -> Self {
        let mut set = Self { value: Vec::new(), bars: 0, end: None, is_over: false };
        set.push(Some(chunk));
        set
    }

    fn push(&mut self, chunk: Option<&[u8]>) {
        let Some(chunk) = chunk else {
            self.is_over = true;
            return;
        };
        for at in memchr::memchr_iter(b'|', chunk) {
            self.bars = self.bars.saturating_add(1);
            if self.bars == 2 {
                self.end = Some(self.value.len().saturating_add(at).saturating_add(1 + signed::MAC_LENGTH));
            }
        }
        self.value.extend_from_slice(chunk);
        if let Some(end) = self.end.filter(|end| *end <= self.value.len()) {
            self.value.truncate(end);
            self.is_over = true;
        }
    }
}

/// From where the cookies of a number are counted.
#[derive(Clone, Copy)]
enum Order {
    FromTheFirst,
    FromTheLast,
}

impl Order {
    /// The chunk for the set that is at this place of so many.
    fn pick<'a>(self, cookies: &[Pair<'a>], place: usize, of: usize) -> Option<&'a [u8]> {
        let at = match self {
            Self::FromTheFirst => place,
            Self::FromTheLast => cookies.len().checked_add(place)?.checked_sub(of)?,
        };
        cookies.get(at).map(|(_, value)| *value)
    }
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
        Sent::find(&jar, name).values().into_iter().map(Cow::into_owned).collect()
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

    /// The `cookie` headers of these values, those of each name in this order as RFC 6265 section 5.4 says.
    fn sent_together(values: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut cookies: Vec<_> = values
            .iter()
            .flat_map(|value| split_value(NAME, value).into_iter().enumerate())
            .map(|(number, cookie)| (number, sent_back(&[cookie]).concat()))
            .collect();
        cookies.sort_by_key(|(number, _)| *number);
        cookies.into_iter().map(|(_, cookie)| cookie).collect()
    }

    #[test]
    fn each_of_several_sets_is_joined_of_its_own_chunks() {
        let secs = [1_700_000_003, 1_700_000_002, 1_700_000_001];
        // Of sizes in any order, two chunks and more, also beside a whole one: each is found.
        for lengths in
            [[9_000, 9_000, 9_000], [5_000, 9_000, 13_000], [13_000, 9_000, 5_000], [5_000, 13_000, 500]]
        {
            let values: Vec<_> = lengths
                .iter()
                .zip(secs)
                .zip(["a", "b", "c"])
                .map(|((length, secs), byte)| signed_value(byte, *length, secs))
                .collect();
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            assert_eq!(joined(NAME, &sent_together(&values)), values, "{lengths:?}");
            // Cookies of one name in one order, whatever stands between them.
            let mut headers = sent_together(&values);
            headers.reverse();
            let mut all = joined(NAME, &headers);
            all.sort();
            assert_eq!(all, values, "{lengths:?}");
        }
    }

    #[test]
    fn the_chunks_that_a_smaller_session_of_oauth2_proxy_leaves_are_of_no_other_set() {
        let larger = split_value(NAME, &signed_value("a", 9_000, 1_700_000_000));
        let smaller = signed_value("b", 5_000, 1_700_000_002);
        let other = signed_value("c", 9_500, 1_700_000_001);
        let (smaller_cookies, others) = (split_value(NAME, &smaller), split_value(NAME, &other));
        assert_eq!((smaller_cookies.len(), larger.len(), others.len()), (2, 3, 3));
        let first = sent_back(&smaller_cookies).into_iter().chain(sent_back(&larger[2..]));
        let headers: Vec<_> = first.chain(sent_back(&others)).collect();
        assert_eq!(joined(NAME, &headers), [smaller, other]);
    }

    #[test]
    fn a_cookie_of_a_chunks_name_that_is_of_no_set_hides_none() {
        let value = signed_value("a", 9_000, 1_700_000_000);
        let [first, second, third] = sent_back(&split_value(NAME, &value)).try_into().unwrap();
        for other in ["x", "eHh4|1700000005|YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="] {
            for number in [1, 2] {
                let other = format!("_oauth2_proxy_{number}={other}").into_bytes();
                let before = [other.clone(), first.clone(), second.clone(), third.clone()];
                let after = [first.clone(), second.clone(), third.clone(), other];
                assert!(joined(NAME, &before).contains(&value) && joined(NAME, &after).contains(&value));
            }
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
        let found: Vec<_> = Sent::find(&Jar::new([header]), b"n").names().collect();
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
