//! Cookies past 4 kB: browsers refuse them, so oauth2-proxy cuts them into chunks.
//!
//! ```text
//! name=ABCDEF…  ->  name_0=ABC…   name_1=DEF…       each header exactly 4000 bytes, the last one less
//! ```
//!
//! The signed value is cut as a whole; a chunk has no signature of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::jar::{Jar, is_value};
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

/// The bytes that a value has in the `cookie` header that a browser sends.
pub fn sent_bytes(name: &[u8], value: &[u8], attributes: &Attributes, max_age: MaxAge) -> usize {
    // A domain makes the headers longer that set it. So there may be one more chunk, which is no matter here.
    let names = split(name, value, attributes, max_age, b"").into_iter().map(|cookie| cookie.name);
    let pairs: usize = names.map(|name| name.len().saturating_add("=; ".len())).sum();
    value.len().saturating_add(pairs).saturating_sub("; ".len())
}

/// What a browser sent of the session cookie of a name, before its signatures were checked.
pub struct Sent<'a> {
    name: &'a [u8],
    /// The cookies of just that name, in their order.
    whole: Vec<&'a [u8]>,
    /// By their number, each in their order.
    chunks: BTreeMap<u32, Vec<&'a [u8]>>,
    sets: Vec<Set>,
}

impl<'a> Sent<'a> {
    /// In one pass, however many cookies there are.
    pub fn find(jar: &Jar<'a>, name: &'a [u8]) -> Self {
        let (mut whole, mut chunks) = (Vec::new(), BTreeMap::<u32, Vec<&'a [u8]>>::new());
        for (other, value) in jar.unchecked() {
            if other == name {
                whole.push(value);
            } else if let Some(number) = chunk_number(name, other).filter(|_| is_value(value)) {
                // What is whole is no beginning: another application may have our name and a number for its name.
                if number > 0 || !signed::is_whole(value) {
                    chunks.entry(number).or_default().push(value);
                }
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

    /// Whether the browser has no more than one session cookie of this name.
    pub fn is_alone(&self) -> bool {
        self.whole.len().saturating_add(self.complete().count()) <= 1
    }

    /// Whether each session cookie `holds`. The rest of one that was cleared in part is none.
    pub fn are_all(&self, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
        self.whole.iter().all(|value| holds(value)) && self.complete().all(|set| holds(&set.value))
    }

    /// The names that the session cookie has in the browser, each once: first those without which there is no session,
    /// then the others.
    pub fn names(&self, holds: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let ends: BTreeSet<u32> = self.complete().map(|set| set.chunks.saturating_sub(1)).collect();
        // From the last to the first: after each, the others are still seen as chunks.
        let numbers = (0..self.chunks(holds)).rev();
        let (ends, others): (Vec<u32>, Vec<u32>) = numbers.partition(|number| ends.contains(number));
        let whole = (!self.whole.is_empty()).then(|| self.name.to_vec());
        let chunks = ends.into_iter().chain(others).map(|number| chunk_name(self.name, number));
        whole.into_iter().chain(chunks).collect()
    }

    /// Tells by its name whether a cookie of this browser is the session cookie or a chunk of it.
    pub fn is_part(&self) -> impl Fn(&[u8]) -> bool + use<'a> {
        let (ours, chunks) = (self.name, self.chunks(|_| true));
        move |name| name == ours || chunk_number(ours, name).is_some_and(|number| number < chunks)
    }

    /// How many chunks there are, from number 0 to the first that is missing. A whole signed value is the session cookie
    /// of another application, unless it is the end of a set that `holds`: an end looks the same.
    fn chunks(&self, mut holds: impl FnMut(&[u8]) -> bool) -> u32 {
        let mut of_sets = None;
        let mut count = 0;
        for ((number, values), expected) in self.chunks.iter().zip(0_u32..) {
            let mut is_chunk = || {
                let sets = self.complete().filter(|set| holds(&set.value)).map(|set| set.chunks);
                *number < *of_sets.get_or_insert_with(|| sets.max().unwrap_or(0))
            };
            if *number != expected || (values.iter().all(|value| signed::is_whole(value)) && !is_chunk()) {
                break;
            }
            count = expected.saturating_add(1);
        }
        count
    }

    fn complete(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|set| set.is_complete())
    }
}

/// Chunks that are joined.
#[derive(PartialEq, Eq)]
struct Set {
    value: Vec<u8>,
    chunks: u32,
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
    fn of(chunks: &BTreeMap<u32, Vec<&[u8]>>) -> Vec<Self> {
        let numbers = chunks.iter().zip(0_u32..).take_while(|((number, _), expected)| *number == expected);
        let numbers: Vec<&[&[u8]]> = numbers.map(|((_, values), _)| values.as_slice()).collect();
        let Some((first, others)) = numbers.split_first() else { return Vec::new() };
        let mut sets = Self::follow(first, others, Order::FromTheFirst);
        if others.iter().any(|values| values.len() > first.len()) {
            let more = Self::follow(first, others, Order::FromTheLast);
            let others = more.into_iter().zip(&sets).filter(|(set, same)| set.is_complete() && set != *same);
            let others: Vec<Self> = others.map(|(set, _)| set).collect();
            sets.extend(others);
        }
        sets
    }

    fn follow(first: &[&[u8]], others: &[&[&[u8]]], order: Order) -> Vec<Self> {
        let mut sets: Vec<Self> = first.iter().map(|chunk| Self::begin(chunk)).collect();
        let all = sets.len();
        // No number looks at a set that has ended: a stranger can begin hundreds, and send as many numbers. So each look
        // uses up a cookie or ends a set.
        let mut open: Vec<(usize, &mut Self)> =
            sets.iter_mut().enumerate().filter(|(_, set)| set.is_open()).collect();
        for values in others {
            if open.is_empty() {
                break;
            }
            // A set that has ended has no chunk of this number, unless there is one for it that is stale.
            let is_one_for_each = values.len() >= all;
            let of = if is_one_for_each { all } else { open.len() };
            for (place, (number, set)) in open.iter_mut().enumerate() {
                set.push(order.pick(values, if is_one_for_each { *number } else { place }, of));
            }
            open.retain(|(_, set)| set.is_open());
        }
        sets
    }

    /// Whether it has the end of a signature.
    fn is_complete(&self) -> bool {
        self.end == Some(self.value.len())
    }

    /// Whether another chunk may belong to it.
    fn is_open(&self) -> bool {
        #[cfg(test)]
        tests::LOOKS.set(tests::LOOKS.get() + 1);
        !self.is_over
    }

    fn begin(chunk: &[u8]) -> Self {
        let mut set = Self { value: Vec::new(), chunks: 0, bars: 0, end: None, is_over: false };
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
        self.chunks = self.chunks.saturating_add(1);
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
    fn pick<'a>(self, values: &[&'a [u8]], place: usize, of: usize) -> Option<&'a [u8]> {
        let at = match self {
            Self::FromTheFirst => place,
            Self::FromTheLast => values.len().checked_add(place)?.checked_sub(of)?,
        };
        values.get(at).copied()
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
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    thread_local! {
        /// How often a set was looked at.
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

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
        for other in ["x", NEIGHBOUR] {
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

    /// Each of a stranger's cookies may begin a set, and the first set need not end.
    #[test]
    fn sets_that_never_end_cost_no_more_than_their_cookies() {
        let end = str::from_utf8(&signed_value("a", 100, 1_700_000_000)).unwrap().to_owned();
        for (begin, others) in [
            (vec![""; 500], 1),
            // Two of each other number, and more of the last: sets are counted from both ends.
            (vec![""; 500], 2),
            // Sets that end at once, and one behind them.
            ([vec![end.trim_end_matches('='); 250], vec!["", "x"]].concat(), 1),
        ] {
            let first = begin.iter().map(|value| format!("n_0={value}"));
            let others = (1..500).flat_map(|number| vec![format!("n_{number}="); others]);
            let last = vec!["n_500=".to_owned(); 501];
            let headers: Vec<_> = first.chain(others).chain(last).map(String::into_bytes).collect();
            LOOKS.set(0);
            joined(b"n", &headers);
            let looks = LOOKS.get();
            assert!(looks > 0 && looks <= 4 * headers.len(), "{looks} for {} cookies", headers.len());
        }
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

    fn names(headers: &[Vec<u8>], holds: impl FnMut(&[u8]) -> bool) -> Vec<String> {
        let jar = Jar::new(headers.iter().map(Vec::as_slice));
        let names = Sent::find(&jar, NAME).names(holds).into_iter();
        names.map(|name| String::from_utf8(name).unwrap().replace("_oauth2_proxy", "n")).collect()
    }

    #[test]
    fn its_names_come_once_and_what_ends_a_session_first() {
        let header = b"_oauth2_proxy_1=a; _oauth2_proxy_2=b; other=c; _oauth2_proxy_2=d; _oauth2_proxy_0=e; \
            _oauth2_proxy_x=f; _oauth2_proxy=g; _oauth2_proxy_02=h";
        assert_eq!(names(&[header.to_vec()], |_| true), ["n", "n_2", "n_1", "n_0"]);
        let short = signed_value("a", 5_000, 1_700_000_000);
        let long = signed_value("b", 17_000, 1_700_000_001);
        assert_eq!(names(&sent_together(&[&short, &long]), |_| true), ["n_4", "n_1", "n_3", "n_2", "n_0"]);
    }

    /// A value of another application, signed with its secret.
    const NEIGHBOUR: &str = "eHh4|1700000005|YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";

    #[test]
    fn a_neighbour_whose_name_is_ours_and_a_number_is_no_chunk() {
        let whole = [NAME, b"=", &signed_value("a", 500, 1_700_000_000)].concat();
        let neighbour = |number: u32| format!("_oauth2_proxy_{number}={NEIGHBOUR}").into_bytes();
        for numbers in [&[0][..], &[1], &[2], &[0, 1, 2]] {
            let mut headers: Vec<_> = numbers.iter().copied().map(neighbour).collect();
            assert!(
                names(&headers, |_| false).is_empty() && joined(NAME, &headers).is_empty(),
                "{numbers:?}"
            );
            headers.push(whole.clone());
            assert_eq!(names(&headers, |_| false), ["n"], "{numbers:?}");
        }
        // Behind the chunks of a session, and of one that is left in part.
        let session = signed_value("a", 9_000, 1_700_000_000);
        let mut headers = sent_back(&split_value(NAME, &session));
        headers.push(neighbour(3));
        assert_eq!(names(&headers, |value| value == session), ["n_2", "n_1", "n_0"]);
        headers[1] = neighbour(1);
        assert_eq!(names(&headers, |_| false), ["n_0"]);
    }

    #[test]
    fn the_end_of_a_session_may_look_like_a_whole_value() {
        let mut whole = 0;
        for value in (4_001..4_009).map(|length| signed_value("a", length, 1_700_000_000)) {
            let headers = sent_back(&split_value(NAME, &value));
            assert_eq!(names(&headers, |other| other == value), ["n_1", "n_0"]);
            let end = headers[1].strip_prefix(b"_oauth2_proxy_1=".as_slice()).unwrap();
            whole += usize::from(signed::is_whole(end));
        }
        assert_eq!(whole, 2);
    }

    #[test]
    fn no_chunk_counts_behind_one_that_is_missing() {
        assert!(names(&[b"_oauth2_proxy_1=a; _oauth2_proxy_2=b".to_vec()], |_| true).is_empty());
        assert_eq!(names(&[b"_oauth2_proxy_0=a; _oauth2_proxy_2=b".to_vec()], |_| true), ["n_0"]);
    }

    #[test]
    fn the_longest_name_is_cut_to_make_room_for_the_number() {
        let name = vec![b'n'; MAX_NAME];
        let cookies = split_value(&name, &vec![b'x'; 50_000]);
        assert!(cookies.len() > 10);
        assert!(cookies.iter().all(|cookie| cookie.name.len() == MAX_NAME && cookie.header.len() <= 4000));
        assert_eq!(joined(&name, &sent_back(&cookies)), [vec![b'x'; 50_000]]);
    }

    #[test]
    fn knows_how_many_bytes_come_back() {
        for length in [0, 100, 3_900, 4_100, 8_000, 50_000] {
            let value = vec![b'x'; length];
            let header = sent_back(&split_value(NAME, &value)).join(b"; ".as_slice());
            assert_eq!(sent_bytes(NAME, &value, &attributes(), WEEK), header.len());
        }
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
