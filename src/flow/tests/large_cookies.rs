//! Sessions that are too large for a browser's cookies: Envoy, or a proxy in front of it, would refuse each request.

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::log::lines_of;
use super::{MINUTE, Site};
use crate::flow::Action;

/// Groups of 16 characters that cannot be compressed.
fn groups(number: u64) -> Vec<String> {
    (0..number).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// The bytes of the `cookie` header.
fn size(browser: &Browser) -> usize {
    browser.head("/", &[]).header("cookie").len()
}

fn with(more: Value) -> Value {
    let mut options = json!({ "cookie_refresh": "10m", "pass_access_token": true });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn access_token(action: &Action) -> String {
    let Action::Forward(forward) = action else { panic!("not let through: {action:?}") };
    sent(forward, "x-forwarded-access-token")
}

#[test]
fn session_over_cookie_limit_is_refused_at_sign_in() {
    let site = Site::new(json!({}));
    site.provider.set_claim("groups", json!(groups(1500)));
    let mut browser = site.browser();
    let mut page = String::new();
    let lines = lines_of(|| {
        let answer = browser.sign_in(&site.provider, "/page");
        assert_eq!(answer.status(), 503);
        page = String::from_utf8(answer.body().clone()).unwrap();
    });
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies.keys());
    let line = lines.iter().find(|line| line.starts_with("sign-in: failed")).unwrap();
    assert!(!lines.iter().any(|line| line.contains("sign-in: done")));
    // What helps is for the operator.
    for said in ["Redis", "session_cookie_minimal"] {
        assert!(line.contains(said), "{said}: {line}");
    }
    assert!(page.contains("the operator has to fix this"), "{page}");
    for text in [&page, line] {
        assert!(text.contains("but at most 49152 are allowed"), "{text}");
    }
    let bytes = line.split("has ").nth(2).unwrap().split(' ').next().unwrap();
    assert!(bytes.parse::<usize>().unwrap() > 49_152 && page.contains(bytes), "{bytes}");
}

#[test]
fn cookie_limit_counts_bytes_that_browser_sends() {
    let probe = Site::new(json!({}));
    probe.provider.set_claim("groups", json!(groups(300)));
    let sent = size(&probe.signed_in());
    // The length of tokens differs a little each time.
    for (limit, is_kept) in [(sent + 100, true), (sent - 100, false)] {
        let site = Site::new(json!({ "cookie_max_bytes": limit }));
        site.provider.set_claim("groups", json!(groups(300)));
        let status = site.browser().sign_in(&site.provider, "/").status();
        assert_eq!(status == 302, is_kept, "{limit}");
    }
}

#[test]
fn session_over_half_of_cookie_limit_is_logged() {
    let lines = |number: u64| {
        let site = Site::new(json!({ "cookie_max_bytes": 30_000 }));
        site.provider.set_claim("groups", json!(groups(number)));
        lines_of(|| {
            site.signed_in();
            // At most once in an hour for a person.
            site.signed_in();
        })
    };
    let warnings = |lines: Vec<String>| {
        lines.into_iter().filter(|line| line.starts_with("cookies: ")).collect::<Vec<_>>()
    };
    assert_eq!(warnings(lines(1)), Vec::<String>::new());
    let found = warnings(lines(400));
    let [line] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        line.contains("30000") && line.contains("Redis") && line.contains("session_cookie_minimal"),
        "{line}"
    );
}

#[test]
fn too_large_refresh_keeps_old_session_and_new_refresh_token() {
    let site = Site::new(with(json!({})));
    let mut browser = site.signed_in();
    site.provider.set_access_token(groups(4000).concat());
    site.world.pass(11 * MINUTE);
    let mut decision = None;
    let lines = lines_of(|| decision = Some(browser.ask("/", &[])));
    assert_eq!(access_token(&decision.unwrap()), "access-token-1");
    assert!(
        lines.iter().any(|line| line.contains("the old one stays until it ends") && line.contains("49152")),
        "{lines:?}"
    );
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    // It is not refreshed again for every request.
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    // The first refresh token is used up; that of the second grant was saved.
    site.provider.set_access_token("small".to_owned());
    site.world.pass(11 * MINUTE);
    assert_eq!(access_token(&browser.ask("/", &[])), "small");
    assert!(site.provider.grants("refresh_token")[1].contains("refresh-token-2"));
}

#[test]
fn too_large_cookie_refresh_of_expired_session_ends_it() {
    let site = Site::new(with(json!({})));
    let mut browser = site.signed_in();
    site.provider.set_access_token(groups(4000).concat());
    site.world.pass(24 * 60 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    let answer = browser.sign_in(&site.provider, "/");
    assert_eq!(answer.status(), 503);
    assert!(String::from_utf8_lossy(answer.body()).contains("too many groups"));
}

#[test]
fn session_over_lowered_limit_is_still_refreshed() {
    let site = Site::new(with(json!({ "cookie_max_bytes": 128 << 10 })));
    site.provider.set_claim("groups", json!(groups(1200)));
    let mut browser = site.signed_in();
    let large = size(&browser);
    assert!(large > 49_152);
    let lowered = Site::new(with(json!({})));
    lowered.provider.set_claim("groups", json!(groups(1200)));
    lowered.world.pass(11 * MINUTE);
    browser.app = lowered.app.clone();
    let mut browser = browser.moved_to(&lowered.world);
    assert!(browser.who().is_some());
    assert_eq!(lowered.provider.grants("refresh_token").len(), 1);
    assert!(size(&browser).abs_diff(large) < 200);
}

#[test]
fn session_of_login_app_over_limit_is_refused() {
    let site = Site::new(json!({
        "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"],
        "oidc_issuer_url": "", "client_id": "", "client_secret": "", "cookie_max_bytes": 8192,
    }));
    let handed_over = site.browser().forward("/login", &[]).handed_over;
    let value = serde_json::to_vec(&json!({ "user": "alice", "groups": groups(600) })).unwrap();
    let keeping = site.app.take_session(handed_over, b"login-app", &[&value]).unwrap();
    let page = site.world.run(vec![keeping]).remove(0).unwrap_err();
    assert_eq!(page.status(), 503);
    assert!(String::from_utf8_lossy(page.body()).contains("at most 8192 are allowed"));
}

#[test]
fn too_large_cookie_refresh_ends_session_without_expiry() {
    for (options, expires_in) in
        [(json!({}), Value::Null), (json!({ "enforce_expires_on": false }), json!(3600))]
    {
        let site = Site::new(with(options));
        site.provider.set_expires_in(expires_in);
        let mut browser = site.signed_in();
        site.provider.set_access_token(groups(4000).concat());
        site.world.pass(11 * MINUTE);
        let lines = lines_of(|| assert_eq!(browser.reply("/", &[]).status(), 302));
        assert!(lines.iter().any(|line| line.contains("so the session ends")), "{lines:?}");
        assert!(!browser.has_session());
        assert_eq!(browser.sign_in(&site.provider, "/").status(), 503);
    }
}

/// A browser whose cookie is as large as an older configuration allowed, and eleven minutes old.
fn over_the_limit() -> (Site, Browser) {
    let before = Site::new(with(json!({ "cookie_max_bytes": 128 << 10 })));
    before.provider.set_claim("groups", json!(groups(1200)));
    let mut browser = before.signed_in();
    let lowered = Site::new(with(json!({})));
    lowered.provider.set_claim("groups", json!(groups(1200)));
    lowered.world.pass(11 * MINUTE);
    browser.app = lowered.app.clone();
    let browser = browser.moved_to(&lowered.world);
    (lowered, browser)
}

fn tokens(refresh_token: &str, site: &Site) -> Option<(u16, Value)> {
    let id_token = site.provider.token(json!({}));
    let tokens = json!({
        "access_token": "another", "refresh_token": refresh_token, "id_token": id_token, "expires_in": 3600,
    });
    Some((200, tokens))
}

#[test]
fn slightly_longer_refresh_token_is_kept_over_limit() {
    let (site, mut browser) = over_the_limit();
    let large = size(&browser);
    // Text that the session does not contain: a repetition would be compressed.
    let refresh_token = groups(1230).split_off(1210).concat();
    site.provider.set_token_answer(tokens(&refresh_token, &site));
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert!((large + 100..large + 1000).contains(&size(&browser)));
    site.provider.set_token_answer(None);
    site.world.pass(11 * MINUTE);
    assert!(browser.who().is_some());
    assert!(site.provider.grants("refresh_token")[1].contains(&refresh_token));
}

#[test]
fn much_longer_refresh_token_is_not_kept_over_limit() {
    for (site, mut browser) in [over_the_limit(), {
        let site = Site::new(with(json!({})));
        let browser = site.signed_in();
        site.world.pass(11 * MINUTE);
        (site, browser)
    }] {
        let before = browser.cookies.clone();
        site.provider.set_token_answer(tokens(&groups(4000).concat(), &site));
        assert!(browser.who().is_some());
        assert_eq!(browser.cookies, before);
    }
}

#[test]
fn every_worker_reports_too_large_refresh() {
    let site = Site::new(with(json!({})));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = site.worker();
    site.provider.set_access_token(groups(4000).concat());
    site.world.pass(61 * MINUTE);
    for browser in [&mut browser, &mut other] {
        assert_eq!(browser.reply("/", &[]).details(), "session_too_large");
        assert!(!browser.has_session());
    }
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}
