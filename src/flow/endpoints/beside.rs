//! Beside an oauth2-proxy: what is asked of it goes on to it, as the browser sent it.

use crate::flow::decision::Forward;
use crate::flow::http::forged::Names;
use crate::flow::http::request::RequestHead;
use crate::path_match::is_unambiguous;

/// The endpoints under `proxy_prefix` that oauth2-proxy v7 answers itself. Anything else under the
/// prefix it would protect, so it needs a session here too.
const ENDPOINTS: [&[u8]; 6] = [b"/sign_in", b"/sign_out", b"/start", b"/callback", b"/auth", b"/userinfo"];

/// The files of its pages.
const STATIC: &[u8] = b"/static/";

/// Whether oauth2-proxy answers this path, by what follows `proxy_prefix` in it.
pub(in crate::flow) fn is_of_oauth2_proxy(endpoint: &[u8]) -> bool {
    ENDPOINTS.contains(&endpoint) || (endpoint.starts_with(STATIC) && is_unambiguous(endpoint))
}

/// On to it, with its cookies and `authorization`; only nobody may say who they are.
pub(in crate::flow) fn forward(head: &RequestHead) -> Forward {
    Forward::without(Names::Identity, head)
}
