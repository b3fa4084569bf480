//! Requests for the upstream.

use serde_json::json;

use super::browser::sent;
use super::{MINUTE, Site};
use crate::flow::{Action, App, Decision, Forward, Io, Ready, RequestHead};

#[test]
fn program_gets_401_and_page_gets_302() {
    let site = Site::new(json!({ "api_routes": ["^/api/"] }));
    let status =
        |target: &str, headers: &[(&str, &str)]| site.browser().reply(target, headers).status().as_u16();
    assert_eq!(status("/", &[]), 302);
    assert_eq!(status("/", &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")]), 302);
    assert_eq!(status("/", &[("sec-fetch-mode", "navigate")]), 302);
    assert_eq!(status("/api/x", &[]), 401);
    assert_eq!(status("/", &[("accept", "application/json, text/plain")]), 401);
    assert_eq!(status("/", &[("x-requested-with", "XMLHttpRequest")]), 401);
    assert_eq!(status("/", &[("upgrade", "websocket")]), 401);
    assert_eq!(status("/", &[("sec-fetch-mode", "cors")]), 401);
    let strict = Site::new(json!({ "force_json_errors": true }));
    assert_eq!(strict.browser().reply("/", &[]).status(), 401);
}

#[test]
fn only_skip_auth_routes_need_no_session() {
    let site = Site::new(json!({ "skip_auth_routes": ["^/public/", "GET=^/read$", "PATCH!=^/closed"] }));
    let passes = |method: &str, target: &str| {
        matches!(site.browser().ask(target, &[(":method", method)]), Action::Forward(_))
    };
    assert!(passes("GET", "/public/x") && passes("POST", "/public/x"));
    assert!(passes("GET", "/read") && !passes("POST", "/read"));
    assert!(passes("PATCH", "/elsewhere") && !passes("PATCH", "/closed/x"));
    assert!(!passes("GET", "/private"));
    assert!(!passes("GET", "/public/../private"));
    assert!(!passes("GET", "/private?/public/"));
    assert!(!passes("OPTIONS", "/private"));
    let preflight = Site::new(json!({ "skip_auth_preflight": true }));
    assert!(matches!(preflight.browser().ask("/x", &[(":method", "OPTIONS")]), Action::Forward(_)));
}

/// Patterns are not for it, so that its length costs nothing.
#[test]
fn too_long_path_counts_as_a_page() {
    let site = Site::new(json!({ "skip_auth_routes": ["^/api/"], "api_routes": ["^/api/"] }));
    let longest = format!("/api/{}", "a".repeat(2043));
    assert!(matches!(site.browser().ask(&longest, &[]), Action::Forward(_)));
    let longer = format!("{longest}a");
    assert_eq!(site.browser().reply(&longer, &[]).status(), 302);
    assert_eq!(site.browser().reply(&longer, &[("accept", "application/json")]).status(), 401);
    // A query is no part of it.
    assert!(matches!(site.browser().ask(&format!("/api/?{longer}"), &[]), Action::Forward(_)));
}

#[test]
fn skipped_route_clears_no_cookie() {
    let options = json!({ "skip_auth_routes": ["^/public$"], "skip_auth_preflight": true });
    let site = Site::new(options.clone());
    let mut junk = site.browser();
    junk.cookies.insert("_oauth2_proxy".to_owned(), "junk".to_owned());
    let mut expired = site.signed_in();
    site.world.pass(8 * 24 * 60 * MINUTE);
    let stranger = Site::new(json!({ "cookie_secret": "another secret!!" })).signed_in();
    for mut browser in [junk, expired.clone(), stranger] {
        browser.app = site.app.clone();
        let before = browser.cookies.clone();
        assert!(browser.forward("/public", &[]).response.is_empty());
        assert!(browser.forward("/any", &[(":method", "OPTIONS")]).response.is_empty());
        assert_eq!(browser.cookies, before);
    }
    assert_eq!(expired.reply("/", &[]).status(), 302);
    assert!(!expired.has_session());
}

#[test]
fn skipped_route_refreshes_no_cookie_session() {
    let site = Site::new(json!({ "skip_auth_routes": ["^/public$"], "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    let before = browser.cookies.clone();
    for (minutes, known) in [(1, true), (30, true), (30, false)] {
        site.world.pass(minutes * MINUTE);
        let forward = browser.forward("/public", &[]);
        assert_eq!(!sent(&forward, "x-forwarded-email").is_empty(), known, "{minutes}");
        assert!(forward.response.is_empty());
    }
    assert_eq!((site.provider.grants("refresh_token").len(), &browser.cookies), (0, &before));
    // Elsewhere it is, by an endpoint too, whatever the patterns say.
    let site = Site::new(json!({ "skip_auth_routes": ["^/oauth2/", "^/public$"], "cookie_refresh": "30m" }));
    for target in ["/", "/oauth2/auth", "/oauth2/userinfo"] {
        let mut browser = site.signed_in();
        let before = browser.cookies.clone();
        site.world.pass(61 * MINUTE);
        browser.ask(target, &[]);
        assert_ne!(browser.cookies, before, "{target}");
        assert!(!sent(&browser.forward("/public", &[]), "x-forwarded-email").is_empty());
    }
}

#[test]
fn redis_session_is_refreshed_on_skipped_route_and_cookie_follows() {
    let mut options = super::in_redis();
    options["skip_auth_routes"] = json!(["^/public$"]);
    options["cookie_refresh"] = json!("30m");
    let site = Site::new(options);
    let mut browser = site.signed_in();
    let before = browser.cookies.clone();
    site.world.pass(61 * MINUTE);
    let forward = browser.forward("/public", &[]);
    assert_eq!(sent(&forward, "x-forwarded-email"), "alice@example.com");
    assert_eq!((forward.response.len(), &browser.cookies), (0, &before));
    assert!(browser.who().is_some());
    assert_ne!(browser.cookies, before);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn response_with_user_data_is_cache_control_private() {
    let cache_control = |forward: &Forward| -> Vec<Vec<u8>> {
        let headers = forward.response.iter().filter(|(name, _)| *name == "cache-control");
        headers.map(|(_, value)| value.clone()).collect()
    };
    for store in [json!({}), super::in_redis()] {
        let mut options = json!({ "cookie_refresh": "30m" });
        options.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
        let site = Site::new(options);
        let mut browser = site.signed_in();
        assert!(browser.forward("/", &[]).response.is_empty(), "the upstream says what caches may do");
        site.world.pass(31 * MINUTE);
        assert_eq!(cache_control(&browser.forward("/", &[])), [b"private"]);
        assert!(browser.forward("/", &[]).response.is_empty());
    }
    // A token in a response header is as secret as a cookie, also if no session is needed.
    let options = json!({ "set_authorization_header": true, "skip_auth_routes": ["^/public$"] });
    let mut browser = Site::new(options).signed_in();
    for target in ["/", "/public"] {
        assert_eq!(cache_control(&browser.forward(target, &[])), [b"private"], "{target}");
    }
}

#[test]
fn forbidden_user_keeps_session_and_can_switch_account() {
    let site = Site::new(json!({ "skip_provider_button": false, "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    browser.app = App::new(
        Site::new(
            json!({ "skip_provider_button": false, "cookie_refresh": "30m", "allowed_groups": ["admins"] }),
        )
        .config,
        site.world.clone(),
    );
    let first = browser.cookies.clone();
    let answer = browser.reply("/", &[]);
    assert_eq!((answer.status().as_u16(), &browser.cookies), (403, &first));
    assert!(String::from_utf8(answer.body().clone()).unwrap().contains("href=\"/oauth2/sign_in\""));
    // It is renewed as any other.
    site.world.pass(31 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 403);
    assert_ne!(browser.cookies, first);

    let page = browser.reply("/oauth2/sign_in", &[]);
    assert!(page.status() == 200 && !browser.has_session());
    site.provider.set_claim("groups", json!(["admins"]));
    site.provider.set_claim("email", json!("root@example.com"));
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
    assert_eq!(browser.who().as_deref(), Some("root@example.com"));
}

#[test]
fn forged_identity_headers_never_reach_upstream() {
    let forged = [
        ("x-forwarded-user", "root"),
        ("x_forwarded_email", "root@example.com"),
        ("x-forwarded_groups", "admins"),
        ("x-auth-request-user", "root"),
        ("x-forwarded-access-token", "x"),
    ];
    let site = Site::new(json!({ "skip_auth_routes": ["^/public$"] }));
    let mut browser = site.signed_in();
    for target in ["/", "/public"] {
        let forward = browser.forward(target, &forged);
        for (name, _) in forged {
            assert!(forward.remove.iter().any(|removed| removed == name.as_bytes()), "{target} {name}");
        }
    }
    let anonymous = site.browser().forward("/public", &forged);
    assert_eq!(anonymous.remove.len(), forged.len());
    assert!(anonymous.set.is_empty());
}

#[test]
fn identity_headers_follow_options() {
    let site = Site::new(json!({
        "pass_access_token": true, "pass_authorization_header": true, "set_xauthrequest": true,
        "prefer_email_to_user": true,
    }));
    let mut browser = site.signed_in();
    let forward = browser.forward("/", &[("authorization", "Basic cm9vdDo=")]);
    assert_eq!(sent(&forward, "x-forwarded-user"), "alice@example.com");
    assert_eq!(sent(&forward, "x-forwarded-email"), "");
    assert_eq!(sent(&forward, "x-forwarded-access-token"), "access-token-1");
    assert!(sent(&forward, "authorization").starts_with("Bearer ey"));
    assert!(forward.remove.contains(&b"authorization".to_vec()));
    assert!(
        forward
            .response
            .iter()
            .any(|(name, value)| *name == "x-auth-request-email" && value == b"alice@example.com")
    );
}

#[test]
fn allowed_group_matches_whole_name() {
    let name = "CN=admins,DC=example";
    let site = Site::new(json!({ "allowed_groups": [name], "groups_header_separator": "|" }));
    site.provider.set_claim("groups", json!([name, "staff"]));
    assert_eq!(sent(&site.signed_in().forward("/", &[]), "x-forwarded-groups"), format!("{name}|staff"));
    for part in ["CN=admins", "DC=example", "staff,CN=admins,DC=example"] {
        site.provider.set_claim("groups", json!([part]));
        assert_ne!(site.browser().sign_in(&site.provider, "/").status(), 302, "{part}");
    }
}

#[test]
fn invalid_cookie_is_anonymous_and_cleared() {
    let site = Site::new(json!({}));
    let good = site.signed_in().cookies["_oauth2_proxy"].clone();
    let half = good.get(..good.len() / 2).unwrap();
    for cookie in ["", "x", "a|b|c", "|||", half] {
        let mut browser = site.browser();
        browser.cookies.insert("_oauth2_proxy".to_owned(), cookie.to_owned());
        assert_eq!(browser.reply("/", &[]).status(), 302, "{cookie}");
        assert!(!browser.has_session(), "{cookie}");
    }
}

#[test]
fn non_utf8_headers_are_handled() {
    let site = Site::new(json!({}));
    let good = site.signed_in().cookies["_oauth2_proxy"].clone();
    let cookie =
        [b"a=\xff\xfe; _oauth2_proxy=\x80; ", b"_oauth2_proxy=".as_slice(), good.as_bytes()].concat();
    let head = RequestHead::from_pairs([
        (":method", b"GET".as_slice()),
        (":path", b"/\xff"),
        (":authority", b"\xfe"),
        ("x-odd", b"\x00\xff"),
        ("cookie", &cookie),
    ]);
    assert!(matches!(site.app.handle(head), Ready::Now(Decision { action: Action::Forward(_), .. })));
}

#[test]
fn one_valid_cookie_among_several_is_enough() {
    let site = Site::new(json!({}));
    let good = site.signed_in().cookies["_oauth2_proxy"].clone();
    let mut browser = site.browser();
    browser.cookies.insert("_oauth2_proxy".to_owned(), format!("stale|1|x; _oauth2_proxy={good}"));
    assert!(browser.who().is_some());
}

/// A value that looks signed today, newer than values that were signed a minute ago.
fn forged(site: &Site, number: usize) -> String {
    format!("{number:0>8}|{}|{}=", site.world.now().secs(), "a".repeat(43))
}

/// Each check hashes the whole cookie, and a client can send as many as fit into the headers.
#[test]
fn only_a_few_of_many_session_cookies_are_checked() {
    let site = Site::new(json!({ "session_cache_bytes": 0 }));
    let mut browser = site.signed_in();
    let good = browser.cookies["_oauth2_proxy"].clone();
    site.world.pass(MINUTE);
    let mut who_among = |others: Vec<String>| {
        let cookies = [others, vec![good.clone()]].concat().join("; _oauth2_proxy=");
        browser.cookies.insert("_oauth2_proxy".to_owned(), cookies);
        browser.who()
    };
    assert!(who_among((0..15).map(|number| forged(&site, number)).collect()).is_some());
    assert_eq!(who_among((0..16).map(|number| forged(&site, number)).collect()), None);
    // Values that cannot be the filter's do not count: another form, another time, or too long for a browser.
    let time = site.world.now().secs();
    let mac = format!("{}=", "a".repeat(43));
    let junk = [
        "x".to_owned(),
        "a|b|c".to_owned(),
        format!("QUJD|{}|{mac}", time + 3600),
        format!("QUJD|{}|{mac}", time - 30 * 24 * 3600),
        format!("QUJD|{time}|{mac}="),
        format!("{}|{time}|{mac}", "a".repeat(4000)),
    ];
    assert!(who_among(junk.iter().cycle().take(60).cloned().collect()).is_some());
}

#[test]
fn remembered_cookie_is_found_among_any_number() {
    let site = Site::new(json!({}));
    let mut browser = site.signed_in();
    assert!(browser.who().is_some());
    let good = browser.cookies["_oauth2_proxy"].clone();
    site.world.pass(MINUTE);
    let mut cookies: Vec<String> = (0..100).map(|number| forged(&site, number)).collect();
    cookies.push(good);
    browser.cookies.insert("_oauth2_proxy".to_owned(), cookies.join("; _oauth2_proxy="));
    assert!(browser.who().is_some());
}

#[test]
fn expired_cookie_is_not_remembered() {
    let site = Site::new(json!({ "cookie_expire": "2h", "enforce_expires_on": false }));
    let mut browser = site.signed_in();
    assert!(browser.who().is_some());
    site.world.pass(119 * MINUTE);
    assert!(browser.who().is_some());
    site.world.pass(2 * MINUTE);
    assert_eq!(browser.who(), None);
}

#[test]
fn remembered_cookie_is_compared_byte_for_byte() {
    for cache in [json!({}), json!({ "session_cache_bytes": 0 }), json!({ "session_cache_size": 10 })] {
        let site = Site::new(cache);
        let mut browser = site.signed_in();
        assert!(browser.who().is_some());
        let good = browser.cookies["_oauth2_proxy"].clone();
        let first = if good.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{first}{}", good.get(1..).unwrap());
        browser.cookies.insert("_oauth2_proxy".to_owned(), forged);
        assert_eq!(browser.who(), None);
    }
}

/// The signature is in the last part.
#[test]
fn remembered_split_cookie_with_one_changed_part_is_refused() {
    let site = Site::new(json!({}));
    let groups: Vec<String> =
        (0_u64..400).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    site.provider.set_claim("groups", json!(groups));
    let mut browser = site.signed_in();
    let good = browser.cookies.clone();
    let parts: Vec<_> = good.keys().filter(|name| name.starts_with("_oauth2_proxy_")).cloned().collect();
    assert!(parts.len() > 1, "{parts:?}");
    for part in parts {
        browser.cookies.clone_from(&good);
        assert!(browser.who().is_some());
        let value = &good[&part];
        let first = if value.starts_with('A') { "B" } else { "A" };
        browser.cookies.insert(part.clone(), format!("{first}{}", value.get(1..).unwrap()));
        assert_eq!(browser.who(), None, "{part}");
    }
}

#[test]
fn large_session_is_split_and_stale_chunks_expire() {
    let site = Site::new(json!({}));
    // Long and not to be compressed.
    let groups: Vec<String> =
        (0_u64..400).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    site.provider.set_claim("groups", json!(groups));
    let mut browser = site.signed_in();
    let chunks = browser.cookies.len();
    assert!(chunks > 2 && browser.cookies.contains_key("_oauth2_proxy_0"), "{:?}", browser.cookies.keys());
    assert!(browser.who().is_some());

    site.provider.set_claim("groups", json!(groups[..200]));
    browser.sign_in(&site.provider, "/");
    assert!(browser.cookies.len() < chunks && browser.who().is_some());

    site.provider.set_claim("groups", json!(["staff"]));
    browser.sign_in(&site.provider, "/");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["_oauth2_proxy"]);
    assert!(browser.who().is_some());
}

#[test]
fn strip_session_cookie_hides_filter_cookies_from_upstream() {
    let site = Site::new(json!({ "strip_session_cookie": true }));
    let mut browser = site.signed_in();
    browser.start("/other-tab");
    browser.cookies.insert("theme".to_owned(), "dark".to_owned());
    assert_eq!(browser.forward("/", &[]).cookie.as_deref(), Some(b"theme=dark".as_slice()));
    let plain = Site::new(json!({}));
    assert_eq!(plain.signed_in().forward("/", &[]).cookie, None);
}
