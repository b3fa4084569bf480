//! The head of a request: what Envoy knows when it asks, as bytes that nobody checked yet.

use std::fmt;
use std::ops::Range;

use percent_encoding::percent_decode;

use crate::cookie::Jar;

/// Method, path, authority and headers of one request.
///
/// One buffer holds every byte and each header is two ranges in it, so a request costs two
/// allocations however many headers it has.
#[derive(Clone, Default)]
pub struct RequestHead {
    bytes: Vec<u8>,
    headers: Vec<(Range<usize>, Range<usize>)>,
}

/// Never printed: it holds cookies.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestHead(…)")
    }
}

impl RequestHead {
    /// A head whose headers lie in `bytes`; a range that leaves the buffer is an empty header.
    pub fn new(bytes: Vec<u8>, headers: Vec<(Range<usize>, Range<usize>)>) -> Self {
        Self { bytes, headers }
    }

    /// A head from names and values, pseudo-headers (`:path`) among them.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut head = Self::default();
        for (name, value) in pairs {
            let start = head.bytes.len();
            head.bytes.extend_from_slice(name.as_bytes());
            let middle = head.bytes.len();
            head.bytes.extend_from_slice(value);
            head.headers.push((start..middle, middle..head.bytes.len()));
        }
        head
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

    /// The method, such as `GET`.
    pub fn method(&self) -> &[u8] {
        self.header(":method")
    }

    /// Whether a tunnel is asked for, to a host and not to a path.
    pub fn is_connect(&self) -> bool {
        self.method() == b"CONNECT"
    }

    /// The authority, with its port where the browser sent one.
    pub fn host(&self) -> &[u8] {
        self.header(":authority")
    }

    /// `https` or `http`, as Envoy understood the connection (and the proxies that it trusts).
    pub fn scheme(&self) -> &'static str {
        let forwarded = self.header("x-forwarded-proto");
        let scheme = if forwarded.is_empty() { self.header(":scheme") } else { forwarded };
        if scheme.eq_ignore_ascii_case(b"https") { "https" } else { "http" }
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

#[cfg(test)]
mod tests {
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
}
