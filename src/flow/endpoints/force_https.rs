//! `force_https`: redirects requests over http to https.
//!
//! Envoy makes its own redirects (`require_tls`, `https_redirect`) after all filters, so this filter answers first.

use std::str;

use http::StatusCode;
use percent_encoding::percent_encode;

use crate::config::{Config, HTTPS};
use crate::flow::http::client_kind::{ClientKind, Problem, Protocol};
use crate::flow::http::reply::Reply;
use crate::flow::http::request::RequestHead;
use crate::flow::http::{reply, url};
use crate::flow::skip_auth::is_skipped_route;

/// The answer to a request over http; none if the request may go on.
pub(in crate::flow) fn answer(config: &Config, head: &RequestHead) -> Option<Reply> {
    let port = config.routes.force_https?;
    // `skip_auth_routes` does not apply to the filter's endpoints.
    let is_ours = config.routes.is_below_prefix(head.path());
    if head.scheme() == "https" || (!is_ours && is_skipped_route(config, head)) {
        return None;
    }
    Some(match ClientKind::of(&config.routes, head) {
        // Clients of these protocols follow no redirect, and show the user no body.
        ClientKind::Program(protocol) if protocol != Protocol::Http => protocol.answer(Problem::NeedsHttps),
        _ => redirect(head, port),
    })
}

/// A redirect to the address that the browser asked for.
fn redirect(head: &RequestHead, port: u16) -> Reply {
    let authority = str::from_utf8(head.host()).ok().and_then(url::authority).filter(|_| head.has_path());
    let Some(authority) = authority else {
        return reply::text(StatusCode::BAD_REQUEST, "This address needs https");
    };
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    reply::permanent_redirect(&format!(
        "https://{}{port}{}",
        authority.host(),
        percent_encode(head.address(), reply::NOT_IN_URI)
    ))
}
