//! Programs: they get an answer in their own protocol instead of a redirect or a page.
//!
//! Codes: gRPC's statuscodes.md and http-grpc-status-mapping.md, Connect's Protocol Reference ("Error codes").

use http::StatusCode;
use serde_json::{Value, json};

use super::{MINUTE, Site};
use crate::flow::{App, Reply};

/// What Chromium 140 sends with a navigation.
const PAGE: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8";

const GRPC: [&str; 3] = ["application/grpc", "application/grpc+proto", "application/grpc+x"];
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
const CONNECT_STREAMS: [&str; 2] = ["application/connect+json", "application/connect+proto"];

fn site() -> Site {
    Site::new(json!({ "skip_provider_button": false }))
}

fn status(headers: &[(&str, &str)]) -> u16 {
    site().browser().reply("/x.Service/Method", headers).status().as_u16()
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn program_gets_401_instead_of_redirect() {
    for headers in [
        // A form or a script that posts, but says that it shows no pages.
        [(":method", "POST"), ("accept", "*/*")].as_slice(),
        &[(":method", "POST"), ("content-type", "application/x-www-form-urlencoded")],
        &[(":method", "PUT"), ("content-type", "application/json")],
        &[(":method", "POST"), ("content-type", "application/json; charset=utf-8"), ("accept", "*/*")],
        &[(":method", "DELETE")],
        &[(":method", "PATCH"), ("accept", "application/vnd.api+json")],
        &[(":method", "OPTIONS"), ("access-control-request-method", "PUT"), ("accept", "*/*")],
        &[(":method", "PROPFIND"), ("content-type", "application/xml")],
        // No form sends these, whatever the rest says.
        &[(":method", "POST"), ("content-type", "application/json"), ("accept", PAGE)],
        &[(":method", "POST"), ("content-type", "application/soap+xml"), ("accept", PAGE)],
        // EventSource (HTML, "server-sent events") and htmx.
        &[("accept", "text/event-stream")],
        &[("accept", "Text/Event-Stream, */*;q=0.1")],
        &[("hx-request", "true"), ("accept", "*/*")],
        &[("hx-request", "true"), ("accept", PAGE), ("hx-boosted", "true")],
    ] {
        assert_eq!(status(headers), 401, "{headers:?}");
    }
}

#[test]
fn browser_without_session_is_redirected_to_sign_in() {
    for headers in [
        [].as_slice(),
        &[("accept", PAGE)],
        &[(":method", "HEAD"), ("accept", "*/*")],
        &[("accept", "text/html, text/event-stream")],
        &[("hx-request", "false")],
        &[(":method", "POST"), ("accept", PAGE), ("content-type", "application/x-www-form-urlencoded")],
        &[
            (":method", "POST"),
            ("accept", "TEXT/HTML;level=1"),
            ("content-type", "text/plain; charset=utf-8"),
        ],
        &[(":method", "POST"), ("accept", PAGE), ("content-type", "multipart/form-data; boundary=x")],
        &[(":method", "POST"), ("accept", PAGE), ("sec-fetch-mode", "navigate")],
    ] {
        assert_eq!(status(headers), 302, "{headers:?}");
    }
}

/// The answers in this content type: not signed in, not allowed, and unavailable.
fn three(content_type: &str, more: (&str, &str)) -> [Reply; 3] {
    let headers =
        [(":method", "POST"), ("content-type", content_type), ("te", "trailers"), ("accept", PAGE), more];
    let site = site();
    let anonymous = site.browser().reply("/x.Service/Method", &headers);
    let mut browser = site.signed_in();
    let strict = Site::new(json!({ "allowed_groups": ["admins"] }));
    browser.app = App::new(strict.config, site.world.clone());
    let forbidden = browser.reply("/x.Service/Method", &headers);
    let mut browser = site.signed_in();
    site.world.pass(61 * MINUTE);
    site.provider.set_down(true);
    [anonymous, forbidden, browser.reply("/x.Service/Method", &headers)]
}

/// Envoy makes the rest of HTTP's status (Envoy, `Grpc::Utility::httpToGrpcStatus`), and `grpc-message` of the body.
#[test]
fn grpc_client_gets_status_and_short_message() {
    for content_type in GRPC {
        let replies = three(content_type, ("x", "y"));
        assert_eq!(
            replies.each_ref().map(|reply| reply.status().as_u16()),
            [401, 403, 503],
            "{content_type}"
        );
        for reply in &replies {
            assert!(reply.is_grpc());
            assert!(!header(reply, "location").starts_with('/') && (1..=120).contains(&reply.body().len()));
            assert!(reply.body().iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'%'));
        }
        assert_eq!(header(&replies[2], "retry-after"), "5");
    }
}

#[test]
fn grpc_web_client_gets_status_in_headers() {
    for content_type in GRPC_WEB {
        let replies = three(content_type, ("x-grpc-web", "1"));
        for (reply, code) in replies.iter().zip(["16", "7", "14"]) {
            assert_eq!((reply.status(), header(reply, "grpc-status")), (StatusCode::OK, code));
            assert_eq!(header(reply, "content-type"), content_type);
            let message = header(reply, "grpc-message");
            assert!(reply.body().is_empty() && (1..=120).contains(&message.len()) && !message.contains('%'));
        }
    }
    // A form that we do not know is answered in that of the specification.
    let [reply, ..] = three("application/grpc-web-text+thrift", ("x-grpc-web", "1"));
    assert_eq!(header(&reply, "content-type"), "application/grpc-web-text");
}

const CONNECT_CODES: [(u16, &str); 3] =
    [(401, "unauthenticated"), (403, "permission_denied"), (503, "unavailable")];

#[test]
fn connect_client_gets_json_error_with_code() {
    for (content_type, more) in [
        ("application/json", ("connect-protocol-version", "1")),
        ("application/proto", ("connect-protocol-version", "1")),
        ("application/proto", ("x", "y")),
    ] {
        for (reply, (status, code)) in three(content_type, more).iter().zip(CONNECT_CODES) {
            let error: Value = serde_json::from_slice(reply.body()).unwrap();
            assert_eq!((reply.status().as_u16(), error["code"].as_str()), (status, Some(code)));
            assert_eq!(header(reply, "content-type"), "application/json");
            assert!(error["message"].is_string());
        }
    }
}

#[test]
fn connect_get_request_is_recognised_by_query() {
    let query = "/x.Service/Method?connect=v1&encoding=json&message=%7B%7D";
    let reply = site().browser().reply(query, &[]);
    let error: Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!((reply.status().as_u16(), error["code"].as_str()), (401, Some("unauthenticated")));
    assert_eq!(site().browser().reply(query, &[("accept", PAGE)]).status(), 302);
}

/// The envelope: flags with the second bit, a length of four bytes, JSON.
#[test]
fn connect_stream_ends_with_error() {
    for content_type in CONNECT_STREAMS {
        for (reply, (_, code)) in
            three(content_type, ("connect-protocol-version", "1")).iter().zip(CONNECT_CODES)
        {
            assert_eq!((reply.status(), header(reply, "content-type")), (StatusCode::OK, content_type));
            let (envelope, message) = reply.body().split_at(5);
            assert_eq!(
                (envelope[0], &envelope[1..]),
                (2, u32::try_from(message.len()).unwrap().to_be_bytes().as_slice())
            );
            let end: Value = serde_json::from_slice(message).unwrap();
            assert_eq!(end["error"]["code"], json!(code));
        }
    }
}

#[test]
fn invalid_token_is_refused_in_protocol_of_client() {
    let site = Site::new(json!({ "skip_jwt_bearer_tokens": true, "bearer_token_login_fallback": false }));
    let token = ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.");
    let ask = |target: &str, content_type: &str| {
        site.browser().reply(target, &[(":method", "POST"), ("content-type", content_type), token])
    };
    let grpc = ask("/x.Service/Method", "application/grpc");
    assert_eq!((grpc.status().as_u16(), grpc.is_grpc()), (403, true));
    assert_eq!(header(&ask("/x.Service/Method", "application/grpc-web"), "grpc-status"), "7");
    assert_eq!(ask("/x", "application/json").body(), b"Forbidden");
}

/// A proxy that asks an endpoint passes on the headers of its client, and reads the HTTP status. No other protocol has
/// a service there.
#[test]
fn endpoint_answers_grpc_request_with_http_status() {
    let strict = json!({ "skip_jwt_bearer_tokens": true, "bearer_token_login_fallback": false });
    let bad_token = ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.");
    for (site, more, status) in [
        (site(), ("x", "y"), StatusCode::UNAUTHORIZED),
        (Site::new(strict), bad_token, StatusCode::FORBIDDEN),
    ] {
        for content_type in GRPC.into_iter().chain(GRPC_WEB).chain(CONNECT_STREAMS) {
            for target in ["/oauth2/auth", "/oauth2/userinfo", "/oauth2/auth/", "/oauth2//auth", "/oauth2/x"]
            {
                let reply = site.browser().reply(target, &[("content-type", content_type), more]);
                assert_eq!((reply.status(), reply.is_grpc()), (status, false), "{target} {content_type}");
            }
        }
    }
}

/// A 2xx would open a tunnel for the proxy in front (RFC 9110 section 9.3.6).
#[test]
fn connect_tunnel_is_refused_with_http_status() {
    let types = GRPC.into_iter().chain(GRPC_WEB).chain(CONNECT_STREAMS).chain(["application/proto"]);
    for content_type in types {
        let headers = [(":method", "CONNECT"), (":authority", "x:443"), ("content-type", content_type)];
        let site = site();
        let anonymous = site.browser().reply("", &headers);
        let mut browser = site.signed_in();
        let strict = Site::new(json!({ "allowed_groups": ["admins"] }));
        browser.app = App::new(strict.config, site.world.clone());
        let forbidden = browser.reply("", &headers);
        let https = Site::new(json!({ "force_https": true }));
        let over_http = [headers.as_slice(), &[(":scheme", "http")]].concat();
        let insecure = https.browser().reply("", &over_http);
        for (reply, status) in [(anonymous, 401), (forbidden, 403), (insecure, 400)] {
            assert_eq!((reply.status().as_u16(), reply.is_grpc()), (status, false), "{content_type}");
        }
    }
}
