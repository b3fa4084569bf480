//! The cookies of a request, from any number of headers, as unchecked bytes.
//!
//! They are read as by Go's `net/http`, which oauth2-proxy uses: `;` separates the pairs, blanks around a pair are
//! ignored, a value may be in double quotes, and a pair with an invalid byte in its value is skipped.

/// Name and value of a cookie.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// The `cookie` headers of one request. HTTP/2 may send a header for each cookie (RFC 9113 section 8.2.3).
pub struct Jar<'a>(Vec<&'a [u8]>);

impl<'a> Jar<'a> {
    /// The cookies of these headers.
    pub fn new(headers: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(headers.into_iter().collect())
    }

    /// The values of all cookies of that name: a browser has several if their paths or domains differ.
    pub fn all(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let values = self.unchecked().filter(move |(other, _)| *other == name).map(|(_, value)| value);
        values.filter(|value| is_value(value))
    }

    /// All well-formed names and values, in their order. A name can occur more than once.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'a>> {
        self.unchecked().filter(|(_, value)| is_value(value))
    }

    /// The same without checking the bytes of the values, for a caller that checks them later.
    pub(super) fn unchecked(&self) -> impl Iterator<Item = Pair<'a>> {
        self.0.iter().copied().flat_map(parts).filter_map(pair)
    }

    /// A `cookie` header of all cookies except those with an `unwanted` name, otherwise unchanged.
    pub fn without(&self, unwanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.select(|part| !pair(part).is_some_and(|(name, _)| unwanted(name)))
    }

    /// A `cookie` header of the cookies with a `wanted` name.
    pub fn only(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.select(|part| pair(part).is_some_and(|(name, _)| wanted(name)))
    }

    fn select(&self, is_kept: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let kept: Vec<&[u8]> = self.0.iter().copied().flat_map(parts).filter(|part| is_kept(part)).collect();
        kept.join(b"; ".as_slice())
    }
}

fn parts(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    let parts = std::iter::from_fn(move || {
        let header = rest?;
        let end = memchr::memchr(b';', header).unwrap_or(header.len());
        let (part, others) = header.split_at_checked(end)?;
        rest = others.strip_prefix(b";");
        Some(part)
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

/// Name and value, without double quotes around the value.
fn pair(part: &[u8]) -> Option<Pair<'_>> {
    let equals = part.iter().position(|byte| *byte == b'=')?;
    let (name, value) = part.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    Some((name.trim_ascii_end(), unquoted.unwrap_or(value)))
}

/// Whether a value has only valid bytes.
pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| is_value_byte(*byte))
}

fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jar<'a>(headers: &[&'a [u8]]) -> Jar<'a> {
        Jar::new(headers.iter().copied())
    }

    #[test]
    fn cookies_of_all_headers_are_read_in_order() {
        let jar = jar(&[b"a=1; b=2", b"c=3;a=4", b""]);
        assert_eq!(jar.pairs().map(|(name, _)| name).collect::<Vec<_>>(), [b"a", b"b", b"c", b"a"]);
        assert_eq!(jar.all(b"a").next(), Some(b"1".as_slice()));
        assert_eq!(jar.all(b"a").collect::<Vec<_>>(), [b"1", b"4"]);
        assert_eq!(jar.all(b"d").next(), None);
    }

    #[test]
    fn value_keeps_equals_signs_and_bars() {
        assert_eq!(jar(&[b"s=YQ==|17|bQ=="]).all(b"s").next(), Some(b"YQ==|17|bQ==".as_slice()));
    }

    #[test]
    fn double_quotes_around_value_are_removed() {
        let jar = jar(&[b"a=\"1 2\"; b=\"; c=\"x"]);
        assert_eq!(jar.all(b"a").next(), Some(b"1 2".as_slice()));
        assert_eq!(jar.all(b"b").next(), None);
        assert_eq!(jar.all(b"c").next(), None);
    }

    #[test]
    fn malformed_cookie_hides_no_other() {
        let jar = jar(&[b"a=\xff\xfe; a; =; a=\x01; a=1"]);
        assert_eq!(jar.all(b"a").next(), Some(b"1".as_slice()));
    }

    #[test]
    fn only_unwanted_cookies_are_removed() {
        let jar = jar(&[b"a=1;  b=\xff ; junk", b"a=2; c=\"3\""]);
        assert_eq!(jar.without(|name| name == b"a"), b"b=\xff; junk; c=\"3\"");
        assert_eq!(jar.without(|_| true), b"junk");
        assert_eq!(jar.only(|name| name != b"b"), b"a=1; a=2; c=\"3\"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(headers: Vec<Vec<u8>>) {
            let jar = Jar::new(headers.iter().map(Vec::as_slice));
            for (name, value) in jar.pairs() {
                prop_assert!(jar.all(name).any(|other| other == value));
            }
            let _ = jar.without(|name| name.len() > 2);
        }
    }
}
