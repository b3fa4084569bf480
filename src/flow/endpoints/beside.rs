//! `mode` `beside`: requests for the endpoints of an oauth2-proxy go on to it, as the browser sent them.

use crate::flow::decision::Forward;
use crate::flow::http::forged::ProtectedNames;
use crate::flow::http::request::RequestHead;
use crate::path_match::is_unambiguous;

/// The endpoints under `proxy_prefix` that oauth2-proxy v7 answers itself. It would protect anything else under the
/// prefix, so that needs a session here too.
const ENDPOINTS: [&[u8]; 6] = [b"/sign_in", b"/sign_out", b"/start", b"/callback", b"/auth", b"/userinfo"];

/// The files of its pages.
const STATIC: &[u8] = b"/static/";

/// Whether oauth2-proxy answers this path, by what follows `proxy_prefix` in it.
pub(in crate::flow) fn is_of_oauth2_proxy(endpoint: &[u8]) -> bool {
    ENDPOINTS.contains(&endpoint) || (endpoint.starts_with(STATIC) && is_unambiguous(endpoint))
}

/// The request goes on to oauth2-proxy with its cookies and its `authorization`, but without identity headers.
pub(in crate::flow) fn forward(head: &RequestHead) -> Forward {
    Forward::without(ProtectedNames::Identity, head)
}
