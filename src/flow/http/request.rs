//! The head of a request: what Envoy knows when it asks, as bytes that nobody checked yet.

use std::fmt;
use std::ops::Range;
use std::str;

use percent_encoding::percent_decode;

use super::url;
use crate::cookie::Jar;

/// Method, path, authority and headers of one request.
///
/// One buffer holds every byte and each header is two ranges in it, so a request costs two
/// allocations however many headers it has.
#[derive(Clone, Default)]
pub struct RequestHead {
    bytes: Vec<u8>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    is_forwarded: bool,
}

/// Never printed: it holds cookies.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestHead(…)")
    }
}

impl RequestHead {
    /// The head in a header map as the host serializes it (little endian); a part that leaves the buffer is empty:
    ///
    /// ```text
    /// count:u32 | (name_len:u32 value_len:u32) * count | (name NUL value NUL) * count
    /// ```
    pub fn from_map(bytes: Vec<u8>) -> Self {
        let headers = pairs(&bytes);
        Self { bytes, headers, is_forwarded: false }
    }

    /// The head as a proxy in front of Envoy sent it on, which says by headers of its own what the browser asked for
    /// (`reverse_proxy`).
    pub(in crate::flow) fn forwarded(self) -> Self {
        Self { is_forwarded: true, ..self }
    }

    /// A head from names and values, pseudo-headers (`:path`) among them. The host has a map instead.
    #[cfg(not(target_family = "wasm"))]
    pub fn from_pairs<'a, N: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, &'a [u8])>) -> Self {
        let mut head = Self::default();
        for (name, value) in pairs {
            head.push(name.as_ref(), value);
        }
        head
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.headers.push((start..middle, middle..self.bytes.len()));
    }

    /// All headers in their order, names in lower case as Envoy keeps them.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The first header of that name; empty where there is none.
    pub fn header(&self, name: &str) -> &[u8] {
        self.all(name).next().unwrap_or_default()
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers().filter(move |(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// The cookies of all `cookie` headers.
    pub fn jar(&self) -> Jar<'_> {
        Jar::new(self.all("cookie"))
    }

    /// The same head with these cookies.
    pub fn with_cookies(mut self, cookies: &[u8]) -> Self {
        let Self { bytes, headers, .. } = &mut self;
        headers.retain(|(name, _)| bytes.get(name.clone()) != Some(b"cookie"));
        self.push(b"cookie", cookies);
        self
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &[u8] {
        self.header(":method")
    }

    /// Whether a tunnel is asked for, to a host and not to a path.
    pub fn is_connect(&self) -> bool {
        self.method() == b"CONNECT"
    }

    /// Whether it is for a path: `CONNECT` and `OPTIONS *` are not.
    pub fn has_path(&self) -> bool {
        !self.is_connect() && self.target().starts_with(b"/")
    }

    /// The authority that the browser asked for, with its port if it sent one.
    pub fn host(&self) -> &[u8] {
        let is_authority = |host: &&[u8]| str::from_utf8(host).ok().and_then(url::authority).is_some();
        let forwarded = self.is_forwarded.then(|| self.header("x-forwarded-host")).filter(is_authority);
        forwarded.unwrap_or_else(|| self.header(":authority"))
    }

    /// `https` or `http`, as Envoy understood the connection (and the proxies that it trusts).
    pub fn scheme(&self) -> &'static str {
        let forwarded = self.header("x-forwarded-proto");
        let scheme = if forwarded.is_empty() { self.header(":scheme") } else { forwarded };
        if scheme.eq_ignore_ascii_case(b"https") { "https" } else { "http" }
    }

    /// Path and query that the browser asked for, to lead it back there. They say nothing about what the upstream
    /// gets.
    pub(in crate::flow) fn address(&self) -> &[u8] {
        let forwarded = self.header("x-forwarded-uri");
        if self.is_forwarded && forwarded.starts_with(b"/") { forwarded } else { self.target() }
    }

    /// Path and query as they stand in the request line.
    pub fn target(&self) -> &[u8] {
        self.header(":path")
    }

    /// The path without its query.
    pub fn path(&self) -> &[u8] {
        let target = self.target();
        target.split(|byte| *byte == b'?').next().unwrap_or(target)
    }

    /// The first value of a query parameter, decoded (`+` and percent signs).
    pub fn query(&self, name: &str) -> Option<String> {
        self.queries(name).next()
    }

    /// Every value of a query parameter, decoded. Of the others nothing is decoded: a stranger can send thousands.
    pub fn queries(&self, name: &str) -> impl Iterator<Item = String> {
        let query = self.target().splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let named = query.split(|byte| *byte == b'&').filter(move |pair| {
            let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            percent_decode(key).eq(name.bytes())
        });
        named.flat_map(form_urlencoded::parse).map(|(_, value)| value.into_owned())
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Where names and values lie in a serialized map.
fn pairs(bytes: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let Some((count, rest)) = bytes.split_first_chunk::<4>() else {
        return Vec::new();
    };
    let count = usize::try_from(u32::from_le_bytes(*count)).unwrap_or(0);
    let mut at = count.saturating_mul(8).saturating_add(4);
    rest.chunks_exact(8)
        .take(count)
        .map(|lengths| {
            let name = at..at.saturating_add(length(lengths.get(..4)));
            let value_start = name.end.saturating_add(1);
            let value = value_start..value_start.saturating_add(length(lengths.get(4..)));
            at = value.end.saturating_add(1);
            (name, value)
        })
        .collect()
}

fn length(bytes: Option<&[u8]>) -> usize {
    bytes
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .and_then(|bytes| usize::try_from(u32::from_le_bytes(bytes)).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RequestHead;

    #[test]
    fn parameters_are_decoded_and_found_by_their_decoded_name() {
        let target = b"/a?x=1&rd=%2Fa+b&%72%64=2&rd&=rd&r=d&rdx=3&rd==%26&rd=4?rd=5";
        let head = RequestHead::from_pairs([(":path", target.as_slice())]);
        assert_eq!(head.queries("rd").collect::<Vec<_>>(), ["/a b", "2", "", "=&", "4?rd=5"]);
        assert_eq!(head.query("x").as_deref(), Some("1"));
        assert_eq!(head.query("y"), None);
        assert_eq!(RequestHead::from_pairs([(":path", b"/rd=1".as_slice())]).query("rd"), None);
    }

    /// As proxy-wasm's C++ host writes it (`WasmBase::marshalPairs`).
    fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let lengths = pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())]);
        let texts = pairs.iter().flat_map(|(name, value)| [name.as_slice(), b"\0", value, b"\0"]);
        let mut bytes = number(pairs.len()).to_vec();
        lengths.for_each(|length| bytes.extend(length));
        texts.for_each(|text| bytes.extend(text));
        bytes
    }

    #[test]
    fn a_map_that_says_more_than_it_has_is_read_as_far_as_it_goes() {
        for bytes in [b"".as_slice(), b"\x01\0\0", b"\0\0\0\0", b"\xff\xff\xff\xff"] {
            assert_eq!(RequestHead::from_map(bytes.to_vec()).headers().count(), 0, "{bytes:?}");
        }
        let mut cut = map(&[(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
        cut.truncate(cut.len() - 2);
        let head = RequestHead::from_map(cut);
        assert_eq!(head.headers().collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..]), (b"b", b"")]);
    }

    proptest! {
        #[test]
        fn what_the_host_wrote_comes_back(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let head = RequestHead::from_map(map(&pairs));
            let read: Vec<_> = head.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
