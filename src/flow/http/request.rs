//! The head of a request, as bytes that were not checked yet.

use std::str;

use percent_encoding::percent_decode;

use super::url;
use crate::cookie::Jar;
use session_codec::header_block::HeaderBlock;

/// Method, path, authority and headers of one request.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    block: HeaderBlock,
    is_forwarded: bool,
}

impl From<HeaderBlock> for RequestHead {
    fn from(block: HeaderBlock) -> Self {
        Self { block, is_forwarded: false }
    }
}

impl RequestHead {
    /// A head from names and values, pseudo-headers (`:path`) among them. The host has a map instead.
    #[cfg(not(target_family = "wasm"))]
    pub fn from_pairs<'a, N: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, &'a [u8])>) -> Self {
        HeaderBlock::from_pairs(pairs).into()
    }

    /// The head as a proxy in front of Envoy sent it on. That proxy's headers say what the browser asked for
    /// (`reverse_proxy`).
    pub(in crate::flow) fn forwarded(self) -> Self {
        Self { is_forwarded: true, ..self }
    }

    /// Its headers as Envoy handed them over.
    pub(in crate::flow) fn block(&self) -> &HeaderBlock {
        &self.block
    }

    /// All headers in their order, names in lower case as Envoy keeps them.
    #[cfg(not(target_family = "wasm"))]
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.block.headers()
    }

    /// The first header of that name; empty if there is none.
    pub fn header(&self, name: &str) -> &[u8] {
        self.block.header(name)
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.block.all(name)
    }

    /// The cookies of all `cookie` headers.
    pub fn jar(&self) -> Jar<'_> {
        Jar::new(self.all("cookie"))
    }

    /// The same head with these cookies.
    pub fn with_cookies(self, cookies: &[u8]) -> Self {
        Self { block: self.block.replace("cookie", cookies), ..self }
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &[u8] {
        self.header(":method")
    }

    /// Whether the request is for a tunnel: to a host and not to a path.
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

    /// Path and query that the browser asked for, to send it back there. They say nothing about what the upstream gets.
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

    /// Every value of a query parameter, decoded. The other parameters are not decoded: a client can send thousands.
    pub fn queries(&self, name: &str) -> impl Iterator<Item = String> {
        let query = self.target().splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let named = query.split(|byte| *byte == b'&').filter(move |pair| {
            let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            percent_decode(key).eq(name.bytes())
        });
        named.flat_map(form_urlencoded::parse).map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestHead;

    #[test]
    fn query_parameters_are_found_by_decoded_name() {
        let target = b"/a?x=1&rd=%2Fa+b&%72%64=2&rd&=rd&r=d&rdx=3&rd==%26&rd=4?rd=5";
        let head = RequestHead::from_pairs([(":path", target.as_slice())]);
        assert_eq!(head.queries("rd").collect::<Vec<_>>(), ["/a b", "2", "", "=&", "4?rd=5"]);
        assert_eq!(head.query("x").as_deref(), Some("1"));
        assert_eq!(head.query("y"), None);
        assert_eq!(RequestHead::from_pairs([(":path", b"/rd=1".as_slice())]).query("rd"), None);
    }
}
