//! The target that a browser is led back to: from its own address, from headers, and from a callback on another host.

use serde_json::{Value, json};

use super::Site;
use super::browser::Browser;
use crate::flow::Reply;

const APP: (&str, &str) = (":authority", "app1.example.com");
const AUTH: (&str, &str) = (":authority", "auth.example.com");

/// Many hosts, and one callback for all.
fn many_hosts(more: Value) -> Site {
    let mut options = json!({
        "redirect_url": "https://auth.example.com", "cookie_domains": [".example.com"],
        "whitelist_domains": [".example.com", ".example.com:8443"],
    });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Site::new(options)
}

fn location(answer: &Reply) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

/// The decoded `rd` of a redirect to `path`.
fn rd(answer: &Reply, path: &str) -> String {
    let query = location(answer).strip_prefix(path).and_then(|rest| rest.strip_prefix("?rd="));
    let query = query.unwrap_or_else(|| panic!("{} is not {path}", location(answer)));
    percent_encoding::percent_decode_str(query).decode_utf8().unwrap().into_owned()
}

/// The target of a sign-in that a page begins.
fn back(site: &Site, target: &str, headers: &[(&str, &str)]) -> String {
    rd(&site.browser().reply(target, headers), "/oauth2/start")
}

/// The target in the `state` that an endpoint sends to the provider.
fn state_target(site: &Site, target: &str, headers: &[(&str, &str)]) -> String {
    let answer = site.browser().reply(target, headers);
    let (_, query) = location(&answer).split_once('?').unwrap();
    let (_, state) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap();
    state.split_once(':').unwrap().1.to_owned()
}

#[test]
fn callback_on_another_host_leads_back_to_first_host() {
    let site = many_hosts(json!({}));
    let mut browser = site.browser();
    let answer = browser.reply("/x?y=1", &[APP]);
    assert_eq!(rd(&answer, "/oauth2/start"), "https://app1.example.com/x?y=1");
    let answer = browser.reply(location(&answer), &[APP]);
    let (_, query) = location(&answer).split_once('?').unwrap();
    let login: std::collections::BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(login["redirect_uri"], "https://auth.example.com/oauth2/callback");
    site.provider.set_nonce(&login["nonce"]);
    let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
    let answer = browser.reply(&format!("/oauth2/callback?code=code&state={state}"), &[AUTH]);
    assert_eq!((answer.status().as_u16(), location(&answer)), (302, "https://app1.example.com/x?y=1"));
}

#[test]
fn every_sign_in_keeps_host_of_requested_path() {
    let site = many_hosts(json!({}));
    let page = many_hosts(json!({ "skip_provider_button": false }));
    for (query, headers, expected) in [
        ("?rd=/x", [APP, APP], "https://app1.example.com/x"),
        ("", [APP, APP], "https://app1.example.com/"),
        ("", [APP, ("x-auth-request-redirect", "/h")], "https://app1.example.com/h"),
        ("?rd=//evil.example", [APP, ("x-auth-request-redirect", "/h")], "https://app1.example.com/h"),
        ("?rd=/x", [APP, (":scheme", "http")], "http://app1.example.com/x"),
        ("?rd=/x", [APP, (":authority", "app1.example.com:8443")], "https://app1.example.com:8443/x"),
        ("?rd=/x", [APP, (":authority", "APP1.example.com:443")], "https://app1.example.com/x"),
        ("?rd=https://b.example.com/x", [APP, APP], "https://b.example.com/x"),
        // It would begin the next sign-in.
        ("?rd=/oauth2/start?rd=/x", [APP, APP], "https://app1.example.com/"),
        // The callback's own host.
        ("?rd=/x", [AUTH, AUTH], "/x"),
        ("?rd=/x", [AUTH, (":authority", "AUTH.example.com:443")], "/x"),
        // Any name can point at this Envoy.
        ("?rd=/x", [APP, (":authority", "evil.example")], "/x"),
        ("?rd=/x", [APP, (":authority", "app1.example.com:9443")], "/x"),
        ("?rd=/x", [APP, (":authority", "evil.example/.example.com")], "/x"),
        ("?rd=/x", [APP, (":authority", "evil.example@app1.example.com")], "/x"),
        ("?rd=/x", [APP, (":authority", "app1.example.com@evil.example")], "/x"),
        ("?rd=/x", [APP, (":authority", "")], "/x"),
    ] {
        assert_eq!(
            state_target(&site, &format!("/oauth2/start{query}"), &headers),
            expected,
            "{query} {headers:?}"
        );
        assert_eq!(
            state_target(&site, &format!("/oauth2/sign_in{query}"), &headers),
            expected,
            "{query} {headers:?}"
        );
        let html = page.browser().reply(&format!("/oauth2/sign_in{query}"), &headers);
        let link = format!("/oauth2/start?rd={}\"", crate::flow::http::url::encode(expected.as_bytes()));
        assert!(String::from_utf8_lossy(html.body()).contains(&link), "{query} {headers:?}");
    }
    assert_eq!(back(&site, "/x", &[(":authority", "evil.example")]), "/x");
    assert_eq!(back(&site, "/x", &[AUTH]), "/x");
    // The host stays if there is no place for the rest.
    let long = "x".repeat(2040);
    assert_eq!(back(&site, &format!("/{long}"), &[APP]), "https://app1.example.com/");
    assert_eq!(back(&site, &format!("/x?{long}"), &[APP]), "https://app1.example.com/");
}

#[test]
fn callback_on_same_host_keeps_target_a_path() {
    for redirect_url in [json!(null), json!("https://app1.example.com/oauth2/callback")] {
        let mut options = json!({ "whitelist_domains": [".example.com"] });
        if !redirect_url.is_null() {
            options["redirect_url"] = redirect_url;
        }
        let site = Site::new(options);
        assert_eq!(back(&site, "/x", &[APP]), "/x");
        assert_eq!(state_target(&site, "/oauth2/start?rd=/x", &[APP]), "/x");
    }
}

#[test]
fn auth_request_redirect_header_sets_target() {
    let site = many_hosts(json!({}));
    let to = |target| ("x-auth-request-redirect", target);
    assert_eq!(back(&site, "/x", &[APP, to("https://b.example.com/y")]), "https://b.example.com/y");
    assert_eq!(back(&site, "/x", &[AUTH, to("/y")]), "/y");
    for refused in ["https://evil.example/", "//evil.example", ""] {
        assert_eq!(back(&site, "/x", &[AUTH, to(refused)]), "/x");
    }
    // Its query is the page's own.
    assert_eq!(back(&site, "/x?rd=/y", &[AUTH]), "/x?rd=/y");
}

/// The rows of oauth2-proxy's own table that have headers (v7.15.3, `pkg/app/redirect/director_test.go`), with a
/// callback on the host of the request and whatever is there whitelisted.
#[test]
fn forwarded_headers_are_read_as_in_oauth2_proxy() {
    let site = |reverse_proxy: bool| {
        many_hosts(json!({ "reverse_proxy": reverse_proxy, "redirect_url": "https://oauth.example.com" }))
    };
    let (on, off) = (site(true), site(false));
    let here = (":authority", "oauth.example.com");
    let proto = ("x-forwarded-proto", "https");
    let host = |host| ("x-forwarded-host", host);
    let uri = |uri| ("x-forwarded-uri", uri);
    let service = "a-service.example.com";

    assert_eq!(
        back(&on, "/foo/bar", &[here, proto, host(service), uri("/foo/bar")]),
        "https://a-service.example.com/foo/bar"
    );
    assert_eq!(back(&off, "/foo?bar", &[here, proto, host(service), uri("/foo/bar")]), "/foo?bar");
    assert_eq!(
        state_target(&on, "/oauth2/start", &[here, proto, host(service), uri("/oauth2/start")]),
        "https://a-service.example.com/"
    );
    assert_eq!(
        state_target(
            &on,
            "/oauth2/start",
            &[here, proto, host("a-service.example.com:8443"), uri("/oauth2/start")]
        ),
        "https://a-service.example.com:8443/"
    );
    assert_eq!(back(&on, "/foo?bar", &[here, proto, host(service)]), "https://a-service.example.com/foo?bar");
    assert_eq!(back(&on, "/foo?bar", &[here]), "/foo?bar");
    assert_eq!(
        back(&on, "/foo/bar", &[here, ("x-auth-request-redirect", "https://a-service.example.com/foo/bar")]),
        "https://a-service.example.com/foo/bar"
    );
    let all = [
        here,
        ("x-forwarded-proto", "http"),
        host("another-service.example.com"),
        uri("/seasons/greetings"),
        ("x-auth-request-redirect", "https://a-service.example.com/foo/baz"),
    ];
    let jazz = "/oauth2/start?rd=https%3A%2F%2Fa%2Dservice%2Eexample%2Ecom%2Ffoo%2Fjazz";
    assert_eq!(state_target(&on, jazz, &all), "https://a-service.example.com/foo/jazz");
    assert_eq!(state_target(&off, jazz, &all), "https://a-service.example.com/foo/jazz");
    assert_eq!(
        state_target(
            &on,
            "/oauth2/start?rd=http%3A%2F%2Fevil.example%2F",
            &[here, proto, host(service), uri("/foo/bar")]
        ),
        "https://a-service.example.com/foo/bar"
    );
}

#[test]
fn forwarded_host_is_used_but_allows_no_open_redirect() {
    let site = Site::new(json!({ "reverse_proxy": true, "cookie_domains": ["a.example", "b.example"] }));
    let envoy = (":authority", "envoy.internal:8080");
    let answer = site.browser().reply("/oauth2/start?rd=/x", &[envoy, ("x-forwarded-host", "b.example")]);
    assert!(location(&answer).contains("redirect_uri=https%3A%2F%2Fb.example%2Foauth2%2Fcallback"));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Domain=b.example"), "{cookie}");
    // Not on the list, or no host at all.
    let site = many_hosts(json!({ "reverse_proxy": true }));
    for host in [
        "evil.example",
        "evil.example, app1.example.com",
        "app1.example.com@evil.example",
        "evil.example/",
        "",
    ] {
        assert_eq!(back(&site, "/x", &[AUTH, ("x-forwarded-host", host)]), "/x", "{host}");
    }
    for uri in ["//evil.example", "https://evil.example/", "evil", "/\\evil.example", "/\r\n"] {
        let back = back(&site, "/x", &[AUTH, ("x-forwarded-uri", uri)]);
        assert_eq!(back, "/x", "{uri:?}");
    }
}

#[test]
fn forwarded_uri_does_not_skip_authentication() {
    let site = Site::new(
        json!({ "reverse_proxy": true, "skip_auth_routes": ["^/public"], "api_routes": ["^/api"] }),
    );
    assert_eq!(back(&site, "/private", &[("x-forwarded-uri", "/public")]), "/public");
    assert_eq!(back(&site, "/private", &[("x-forwarded-uri", "/api")]), "/api");
    assert_eq!(back(&site, "/private", &[("x-forwarded-uri", "/ping")]), "/ping");
}

#[test]
fn login_app_gets_the_same_target() {
    let options = json!({
        "mode": "app", "login_app_path": "/login", "login_app_clusters": "login-app", "reverse_proxy": true,
        "cookie_secret": "0123456789abcdef0123456789abcdef", "email_domains": ["*"], "whitelist_domains": ["b.example"],
    });
    let config = crate::config::Config::parse(options.to_string().as_bytes(), &[]).unwrap();
    let world = super::World::new(crate::time::Timestamp::from_secs(1));
    let app = crate::flow::App::new(config, world.clone());
    let mut browser = Browser::new(&world, &app);
    assert_eq!(rd(&browser.reply("/a//b", &[("x-forwarded-uri", "/tools/a//b")]), "/login"), "/tools/a//b");
    let there = ("x-auth-request-redirect", "https://b.example/x y");
    assert_eq!(rd(&browser.reply("/page", &[there]), "/login"), "https://b.example/x y");
    assert_eq!(rd(&browser.reply("/oauth2/sign_in", &[there]), "/login"), "https://b.example/x y");
}

#[test]
fn target_may_contain_two_slashes() {
    let site = Site::new(json!({}));
    for page in ["/a//b", "/a/../b?x=//y", "/a/./b", "/a//", "/a\\\\b", "/caf%C3%A9//x", "/caf\u{e9}"] {
        let mut browser = site.browser();
        assert_eq!(rd(&browser.reply(page, &[]), "/oauth2/start"), page);
        let answer = browser.sign_in(&site.provider, page);
        assert_eq!(location(&answer), page.replace('\u{e9}', "%C3%A9"), "{page}");
    }
    // These would be hosts.
    for page in ["//evil.example/x", "/\\evil.example", "/.//evil.example"] {
        assert_eq!(back(&site, page, &[]), "/", "{page}");
    }
}

#[test]
fn invalid_url_characters_are_encoded_in_redirects() {
    let site = Site::new(json!({ "whitelist_domains": ["b.example"] }));
    for (target, expected) in [
        ("https://b.example/a b?q=\"c\" <d>#e f", "https://b.example/a%20b?q=%22c%22%20%3Cd%3E#e%20f"),
        ("https://b.example/b\u{fc}cher", "https://b.example/b%C3%BCcher"),
        ("/a b?q=\"c\"", "/a%20b?q=%22c%22"),
    ] {
        let query: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let answer = site.signed_in().reply(&format!("/oauth2/sign_out?rd={query}"), &[]);
        assert_eq!((answer.status().as_u16(), location(&answer)), (302, expected));
        assert_eq!(location(&site.browser().sign_in(&site.provider, target)), expected);
    }
    // The ID token goes to the provider, whatever else is in the query.
    let query = "https%3A%2F%2Flogin.example.com%2Fend%3Fx%3Da+b%26id_token_hint%3D%7Bid_token%7D";
    let site = Site::new(json!({ "whitelist_domains": ["login.example.com"] }));
    site.provider.set_metadata("end_session_endpoint", json!("https://login.example.com/end"));
    let answer = site.signed_in().reply(&format!("/oauth2/sign_out?rd={query}"), &[]);
    assert!(location(&answer).starts_with("https://login.example.com/end?x=a%20b&id_token_hint=ey"));
}

/// A callback with this state, whose cookie this browser does not have.
fn come_back_late(browser: &mut Browser, target: &str) -> Reply {
    let state: String =
        form_urlencoded::byte_serialize(format!("{}:{target}", "a".repeat(43)).as_bytes()).collect();
    browser.reply(&format!("/oauth2/callback?code=code&state={state}"), &[])
}

fn link(answer: &Reply) -> String {
    let html = String::from_utf8(answer.body().clone()).unwrap();
    html.split_once("href=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[test]
fn finished_callback_offers_target_to_signed_in_browser() {
    for options in [json!({}), super::in_redis()] {
        let mut options = options.clone();
        options["whitelist_domains"] = json!(["b.example"]);
        options["cookie_refresh"] = json!("30m");
        let site = Site::new(options);
        let mut browser = site.signed_in();
        let cookies = browser.cookies.clone();
        for (target, expected) in [
            ("/page?x=1", "/page?x=1"),
            ("https://b.example/x", "/oauth2/start?rd=https%3A%2F%2Fb%2Eexample%2Fx"),
            ("https://evil.example/", "/"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("\"><script>", "/"),
        ] {
            let answer = come_back_late(&mut browser, target);
            assert_eq!((answer.status().as_u16(), link(&answer).as_str()), (200, expected), "{target}");
            assert!(!answer.headers().contains_key("location"));
        }
        assert_eq!(browser.cookies, cookies, "the session is the one of before");
        // Also if it is due for a refresh.
        site.world.pass(31 * super::MINUTE);
        assert_eq!(link(&come_back_late(&mut browser, "/page")), "/page");
        assert_eq!(browser.cookies, cookies);
        assert_eq!(site.provider.grants("authorization_code").len(), 1, "no code of these was tried");
    }
}

#[test]
fn finished_callback_without_session_is_an_error() {
    let site = Site::new(json!({}));
    assert_eq!(come_back_late(&mut site.browser(), "/page").status(), 403);
    // A session that may not come in here.
    let strict = Site::new(json!({ "email_domains": ["example.org"] }));
    let mut browser = strict.browser();
    browser.cookies = site.signed_in().cookies;
    assert_eq!(come_back_late(&mut browser, "/page").status(), 403);
    // The filter cannot tell.
    let redis = Site::new(super::in_redis());
    let mut browser = redis.signed_in();
    browser.app = redis.worker();
    redis.world.fake_redis().set_down(true);
    assert_eq!(come_back_late(&mut browser, "/page").status(), 403);
}
