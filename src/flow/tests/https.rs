//! `force_https`: what comes over http.
//!
//! The 308 is oauth2-proxy's (`pkg/middleware/redirect_to_https.go`); what is answered over http is a difference.

use serde_json::{Value, json};

use super::Site;
use crate::flow::{Action, Reply};

const HTTP: (&str, &str) = (":scheme", "http");

fn site(options: Value) -> Site {
    let mut all = json!({ "force_https": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Site::new(all)
}

fn location(reply: &Reply) -> &str {
    assert_eq!(reply.status(), 308);
    assert!(reply.headers().get("set-cookie").is_none());
    reply.headers()["location"].to_str().unwrap()
}

#[test]
fn http_request_is_redirected_to_same_address_over_https() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    for target in [
        "/",
        "/a%2Fb/?c=d&e",
        "/oauth2/start?rd=%2F",
        "/oauth2/callback?code=x&state=y",
        "/oauth2/auth",
        "//x",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let reply = browser.reply(target, &[HTTP, (":method", method)]);
            assert_eq!(location(&reply), format!("https://app.example.com{target}"));
        }
        assert_ne!(browser.reply("/oauth2/auth", &[]).status(), 308);
    }
    // By default nothing is redirected.
    let reply = Site::new(json!({})).browser().reply("/", &[HTTP]);
    assert_eq!(
        (reply.status().as_u16(), reply.headers()["location"].as_bytes()),
        (302, &b"/oauth2/start?rd=%2F"[..])
    );
}

#[test]
fn scheme_is_the_one_that_envoy_knows() {
    let site = site(json!({}));
    let ask = |headers: &[(&str, &str)]| site.browser().reply("/oauth2/start", headers).status().as_u16();
    assert_eq!(ask(&[HTTP, ("x-forwarded-proto", "https")]), 302);
    assert_eq!(ask(&[(":scheme", "https"), ("x-forwarded-proto", "http")]), 308);
    assert_eq!(ask(&[HTTP, ("x-forwarded-proto", "HTTPS")]), 302);
}

#[test]
fn https_redirect_has_port_of_redirect_url_or_none() {
    let to = |redirect_url: &str, host: &str| {
        let site = site(json!({ "redirect_url": redirect_url }));
        location(&site.browser().reply("/x", &[HTTP, (":authority", host)])).to_owned()
    };
    let callback = |origin: &str| format!("{origin}/oauth2/callback");
    let plain = callback("https://app.example.com");
    assert_eq!(to(&plain, "app.example.com:8080"), "https://app.example.com/x");
    assert_eq!(to(&plain, "[::1]:8080"), "https://[::1]/x");
    let other = callback("https://login.example.com:8443");
    assert_eq!(to(&other, "app.example.com"), "https://app.example.com:8443/x");
    assert_eq!(to(&other, "app.example.com:80"), "https://app.example.com:8443/x");
    assert_eq!(
        to(&callback("https://login.example.com:443"), "app.example.com"),
        "https://app.example.com/x"
    );
    assert_eq!(
        to(&callback("http://login.example.com:8080"), "app.example.com:8080"),
        "https://app.example.com/x"
    );
    let site = site(json!({}));
    assert_eq!(location(&site.browser().reply("/x", &[HTTP, (":authority", "h:8080")])), "https://h/x");
}

#[test]
fn probes_and_skipped_routes_work_over_http() {
    let options = json!({ "skip_auth_routes": ["^/public", "^/oauth2/"], "skip_auth_preflight": true });
    let site = site(options);
    let mut browser = site.browser();
    assert_eq!(browser.reply("/ping", &[HTTP]).status(), 200);
    assert_eq!(browser.reply("/ready", &[HTTP]).status(), 200);
    assert!(matches!(browser.ask("/public/x", &[HTTP]), Action::Forward(_)));
    for target in ["/other", "/public/../other", "/oauth2/start", "/oauth2/other"] {
        location(&browser.reply(target, &[HTTP]));
    }
    location(&browser.reply("/other", &[HTTP, (":method", "OPTIONS")]));
}

#[test]
fn force_https_works_in_every_mode() {
    let beside = super::modes::site(json!({ "mode": "beside", "force_https": true }), json!({}));
    for target in ["/", "/oauth2/sign_in", "/oauth2/static/x.css"] {
        location(&beside.browser().reply(target, &[HTTP]));
    }
    let app = json!({ "mode": "app", "force_https": true, "login_app_path": "/login", "login_app_clusters": ["login-app"] });
    let app = super::modes::site(app, json!({}));
    // Users send passwords there.
    location(&app.browser().reply("/login", &[HTTP, (":method", "POST")]));
}

#[test]
fn http_request_without_redirect_target_is_refused() {
    let site = site(json!({ "skip_auth_routes": [".*"] }));
    for (method, target, authority) in [
        ("CONNECT", "", "x:443"),
        ("OPTIONS", "*", "x"),
        ("GET", "/oauth2/auth", "a b"),
        ("GET", "/oauth2/auth", ""),
        // A client that reads this in another way would be led to another host.
        ("GET", "/oauth2/auth", "a@b"),
        ("GET", "/oauth2/auth", "a:b@c:80"),
        ("GET", "/oauth2/auth", "a\u{e4}"),
        ("GET", "/oauth2/auth", "b:1@b:80"),
    ] {
        let headers = [HTTP, (":method", method), (":authority", authority)];
        assert_eq!(site.browser().reply(target, &headers).status(), 400, "{method} {target} {authority}");
    }
    let site = self::site(json!({}));
    let ask = |content_type| {
        site.browser().reply("/x.S/M", &[HTTP, (":method", "POST"), ("content-type", content_type)])
    };
    let grpc = ask("application/grpc");
    assert_eq!((grpc.status().as_u16(), grpc.is_grpc()), (403, true));
    assert_eq!(ask("application/grpc-web").headers()["grpc-status"], "7");
    assert_eq!(ask("application/json").status(), 308);
}

/// A proxy that asks this endpoint passes on the content type of its client, and reads each 2xx as a yes.
#[test]
fn endpoint_refuses_http_with_http_status_for_grpc_request() {
    let site = site(json!({}));
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/connect+json",
        "application/connect+proto",
        "application/proto",
        "application/json",
    ] {
        for target in ["/oauth2/auth", "/oauth2/auth?allowed_groups=x", "/oauth2/auth/", "/oauth2/userinfo"] {
            for mut browser in [site.browser(), site.signed_in()] {
                let reply = browser.reply(target, &[HTTP, ("content-type", content_type)]);
                assert_eq!(location(&reply), format!("https://app.example.com{target}"), "{content_type}");
                assert!(!reply.is_grpc(), "{target} {content_type}");
            }
        }
    }
}

/// A proxy in front that removes a prefix says what the browser asked for.
#[test]
fn https_redirect_behind_proxy_has_address_of_browser() {
    let to = |options: Value, headers: &[(&str, &str)]| {
        let site = site(options);
        location(&site.browser().reply("/page?a=b", &[&[HTTP], headers].concat())).to_owned()
    };
    let in_front = || json!({ "reverse_proxy": true });
    let uri = |uri| ("x-forwarded-uri", uri);
    assert_eq!(to(in_front(), &[uri("/app/page?a=b")]), "https://app.example.com/app/page?a=b");
    let host = ("x-forwarded-host", "other.example.com:8080");
    assert_eq!(to(in_front(), &[uri("/app/page"), host]), "https://other.example.com/app/page");
    for other in ["", "app", "https://evil.example/", "@evil.example"] {
        assert_eq!(to(in_front(), &[uri(other)]), "https://app.example.com/page?a=b", "{other}");
    }
    assert_eq!(to(in_front(), &[uri("//evil.example/\r\n")]), "https://app.example.com//evil.example/%0D%0A");
    assert_eq!(to(json!({}), &[uri("/app/page?a=b")]), "https://app.example.com/page?a=b");
}
