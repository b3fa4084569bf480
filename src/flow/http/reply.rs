//! Answers of the filter itself: status, body and the headers that browsers and caches need.

use std::ops::{Deref, DerefMut};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::Header;

/// What is percent-encoded in a URI besides what is not ASCII.
pub(in crate::flow) const NOT_IN_URI: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// The seconds after which a client should try again (`Retry-After`).
pub(in crate::flow) const RETRY_SECONDS: u32 = 5;

/// The filter's own answer, and what the host has to know about it besides HTTP.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    response: Response<Vec<u8>>,
    details: &'static str,
    is_grpc: bool,
}

impl Reply {
    /// Why it was given, as a word for the access log. Every answer has one. See [`because`].
    pub fn details(&self) -> &'static str {
        self.details
    }

    /// Whether Envoy may turn it into a gRPC answer. See [`as_grpc`].
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }
}

impl Deref for Reply {
    type Target = Response<Vec<u8>>;

    fn deref(&self) -> &Self::Target {
        &self.response
    }
}

impl DerefMut for Reply {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.response
    }
}

/// An answer without a body, not to be cached.
pub(in crate::flow) fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    no_cache(&mut reply);
    reply
}

/// A line of text.
pub(in crate::flow) fn text(status: StatusCode, line: &str) -> Reply {
    let mut reply = empty(status);
    *reply.body_mut() = line.as_bytes().to_vec();
    set(&mut reply, CONTENT_TYPE, "text/plain; charset=utf-8");
    reply
}

/// JSON and a newline.
pub(in crate::flow) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut reply = empty(status);
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    *reply.body_mut() = body;
    set(&mut reply, CONTENT_TYPE, "application/json");
    reply
}

/// If the content type of the request is `application/grpc`, Envoy answers with status 200 and puts everything else
/// into `grpc-status`. Only the answer to a gRPC client may be changed like this: a proxy that asks `/oauth2/auth`
/// reads the HTTP status.
pub(in crate::flow) fn as_grpc(mut reply: Reply) -> Reply {
    reply.is_grpc = true;
    reply
}

/// The host gives Envoy this word, and its access log has it in `%RESPONSE_CODE_DETAILS%`. docs/operations.md has them all.
pub(in crate::flow) fn because(mut reply: Reply, word: &'static str) -> Reply {
    reply.details = word;
    reply
}

/// 503 for a program.
pub(in crate::flow) fn unavailable_json(reason: &str) -> Reply {
    let mut reply = json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": reason }));
    retry_later(&mut reply);
    reply
}

/// 308 to a URL: with the same method and body (RFC 9110 section 15.4.9).
pub(in crate::flow) fn permanent_redirect(location: &str) -> Reply {
    let mut reply = redirect(location);
    *reply.status_mut() = StatusCode::PERMANENT_REDIRECT;
    reply
}

/// 302 to a URL or path that was checked or made by the filter. Characters that no URI can have are percent-encoded.
pub(in crate::flow) fn redirect(location: &str) -> Reply {
    let mut reply = empty(StatusCode::FOUND);
    set(&mut reply, LOCATION, &utf8_percent_encode(location, NOT_IN_URI).to_string());
    reply
}

/// 303 to a path of this site, after a form was sent: the browser loads it with `GET` (RFC 9110 section 15.4.4).
pub(in crate::flow) fn see_other(location: &str) -> Reply {
    let mut reply = redirect(location);
    *reply.status_mut() = StatusCode::SEE_OTHER;
    reply
}

/// 405 with the methods that work.
pub(in crate::flow) fn method_not_allowed(allowed: &[&[u8]]) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(value) = HeaderValue::from_bytes(&allowed.join(b", ".as_slice())) {
        reply.headers_mut().insert(ALLOW, value);
    }
    reply
}

/// Adds `Retry-After`.
pub(in crate::flow) fn retry_later(reply: &mut Reply) {
    set(reply, RETRY_AFTER, &RETRY_SECONDS.to_string());
}

/// Adds headers that the filter made. A header that no response can carry is left out.
pub(in crate::flow) fn add_headers<'a>(reply: &mut Reply, headers: impl Iterator<Item = &'a Header>) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            reply.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
}

/// Headers that are added to a response of the upstream for one user: a shared cache must not keep that response (RFC
/// 9111 section 5.2.2.7). The upstream's own `cache-control` stays beside it; the stricter one counts (section 4.2.1).
pub(in crate::flow) fn private(mut headers: Vec<Header>) -> Vec<Header> {
    if !headers.is_empty() {
        headers.push(("cache-control", b"private".to_vec()));
    }
    headers
}

fn no_cache(reply: &mut Reply) {
    set(reply, CACHE_CONTROL, "no-cache, no-store, must-revalidate, max-age=0");
}

fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
