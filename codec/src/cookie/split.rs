//! Cookies of more than 4 kB: browsers refuse them, so oauth2-proxy splits them into chunks.
//!
//! ```text
//! name=ABCDEF…  ->  name_0=ABC…   name_1=DEF…       each header has exactly 4000 bytes, the last one fewer
//! ```
//!
//! The signed value is split; a chunk has no signature of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::jar::{Jar, is_value};
use super::{Attributes, MaxAge, signed};

/// The longest `Set-Cookie` header value, in bytes.
const MAX_HEADER: usize = 4000;

/// The longest name of a chunk, in bytes.
const MAX_NAME: usize = 256;

/// The least that a chunk holds, even if its attributes are very long.
const MIN_CHUNK: usize = 256;

/// A cookie to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name.
    pub name: Vec<u8>,
    /// The value of its `Set-Cookie` header.
    pub header: Vec<u8>,
}

/// The cookie, or its chunks if it is too long.
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

/// The bytes that a value takes in the `cookie` header of a browser.
pub fn sent_bytes(name: &[u8], value: &[u8], attributes: &Attributes, max_age: MaxAge) -> usize {
    // A domain would make the `Set-Cookie` headers longer, which can add one chunk. That does not matter here.
    let names = split(name, value, attributes, max_age, b"").into_iter().map(|cookie| cookie.name);
    let pairs: usize = names.map(|name| name.len().saturating_add("=; ".len())).sum();
    value.len().saturating_add(pairs).saturating_sub("; ".len())
}

/// The cookies of a request that may be the session cookie of a name, with unchecked signatures.
pub struct SessionCookies<'a> {
    name: &'a [u8],
    /// The cookies of exactly that name, in their order.
    whole: Vec<&'a [u8]>,
    /// The chunks by number; those of one number in their order.
    chunks: BTreeMap<u32, Vec<&'a [u8]>>,
    sets: Vec<Set>,
}

impl<'a> SessionCookies<'a> {
    /// Reads the cookies in one pass.
    pub fn find(jar: &Jar<'a>, name: &'a [u8]) -> Self {
        let (mut whole, mut chunks) = (Vec::new(), BTreeMap::<u32, Vec<&'a [u8]>>::new());
        for (other, value) in jar.unchecked() {
            if other == name {
                whole.push(value);
            } else if let Some(number) = chunk_number(name, other).filter(|_| is_value(value)) {
                // A whole signed value is not a first chunk: another application may use our name and a number as its name.
                if number > 0 || !signed::is_whole(value) {
                    chunks.entry(number).or_default().push(value);
                }
            }
        }
        let sets = Set::of(&chunks);
        Self { name, whole, chunks, sets }
    }

    /// The candidates for the session cookie: each cookie of exactly that name, and each set of chunks, joined. They are
    /// ordered by claimed time, newest first: oauth2-proxy does not delete the single cookie when a session grows into
    /// chunks, so that one may be stale and its refresh token used up. Only the form is checked here, not the signature. A
    /// single cookie that is longer than [`split`] makes them is skipped.
    pub fn into_values(self) -> Vec<Cow<'a, [u8]>> {
        let whole = self.whole.into_iter().filter(|value| value.len() <= MAX_HEADER);
        let mut values: Vec<_> = whole.map(Cow::Borrowed).collect();
        values.extend(self.sets.into_iter().map(|set| Cow::Owned(set.value)));
        signed::newest_first(values, AsRef::as_ref)
    }

    /// Whether the browser has at most one session cookie of this name.
    pub fn is_alone(&self) -> bool {
        self.whole.len().saturating_add(self.complete().count()) <= 1
    }

    /// Whether each session cookie `holds`. The remaining chunks of a partly deleted one do not count.
    pub fn are_all(&self, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
        self.whole.iter().all(|value| holds(value)) && self.complete().all(|set| holds(&set.value))
    }

    /// The names of the session cookie in the browser, each once. First come the names without which a session is
    /// incomplete, then the others.
    pub fn names(&self, holds: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let ends: BTreeSet<u32> = self.complete().map(|set| set.chunks.saturating_sub(1)).collect();
        // From the last to the first: after deleting one, the others are still recognised as chunks.
        let numbers = (0..self.chunks(holds)).rev();
        let (ends, others): (Vec<u32>, Vec<u32>) = numbers.partition(|number| ends.contains(number));
        let whole = (!self.whole.is_empty()).then(|| self.name.to_vec());
        let chunks = ends.into_iter().chain(others).map(|number| chunk_name(self.name, number));
        whole.into_iter().chain(chunks).collect()
    }

    /// Decides by its name whether a cookie of this browser is the session cookie or a chunk of it.
    pub fn is_part(&self) -> impl Fn(&[u8]) -> bool + use<'a> {
        let (ours, chunks) = (self.name, self.chunks(|_| true));
        move |name| name == ours || chunk_number(ours, name).is_some_and(|number| number < chunks)
    }

    /// The number of chunks, up to the first missing number. A whole signed value is the session cookie of another
    /// application, unless it is the last chunk of a set that `holds`: a last chunk can look the same.
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

/// A set of chunks, joined.
#[derive(PartialEq, Eq)]
struct Set {
    value: Vec<u8>,
    chunks: u32,
    /// How many `|` it has. The second one precedes the signature, so it determines the end of the value.
    bars: usize,
    end: Option<usize>,
    /// Whether no further chunk belongs to it.
    is_over: bool,
}

impl Set {
    /// The sets of a browser. Each begins at number 0, and ends at a missing number or at the end of its signature:
    /// oauth2-proxy does not delete the chunks that a smaller session no longer needs.
    ///
    /// A browser has several sets if their domains or paths differ. It sends the cookies of each name in the same order
    /// (RFC 6265 section 5.4), so the first set has the first chunk of each number, and so on. If a number has more chunks
    /// than there are sets, some belong to no set. Then the chunks are also counted from the last one.
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
        // Only open sets are looked at: an attacker can begin hundreds of sets and send as many numbers. So each look uses
        // up a cookie or ends a set.
        let mut open: Vec<(usize, &mut Self)> =
            sets.iter_mut().enumerate().filter(|(_, set)| set.is_open()).collect();
        for values in others {
            if open.is_empty() {
                break;
            }
            // A set that has ended has no chunk of this number, except for a stale one.
            let is_one_for_each = values.len() >= all;
            let of = if is_one_for_each { all } else { open.len() };
            for (place, (number, set)) in open.iter_mut().enumerate() {
                set.push(order.pick(values, if is_one_for_each { *number } else { place }, of));
            }
            open.retain(|(_, set)| set.is_open());
        }
        sets
    }

    /// Whether it ends with a whole signature.
    fn is_complete(&self) -> bool {
        self.end == Some(self.value.len())
    }

    /// Whether a further chunk may belong to it.
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

/// From which end the chunks of a number are counted.
#[derive(Clone, Copy)]
enum Order {
    FromTheFirst,
    FromTheLast,
}

impl Order {
    /// The chunk for the set at position `place` of `of`.
    fn pick<'a>(self, values: &[&'a [u8]], place: usize, of: usize) -> Option<&'a [u8]> {
        let at = match self {
            Self::FromTheFirst => place,
            Self::FromTheLast => values.len().checked_add(place)?.checked_sub(of)?,
        };
        values.get(at).copied()
    }
}

/// `name_number`; a long name is truncated, so that the result has at most [`MAX_NAME`] bytes.
fn chunk_name(name: &[u8], number: u32) -> Vec<u8> {
    let suffix = format!("_{number}");
    [cut(name, suffix.len()), suffix.as_bytes()].concat()
}

/// The number in a name that [`chunk_name`] made; `None` for other names.
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
mod tests;
