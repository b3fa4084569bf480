//! An app of one's own hands sessions over: kept from it alone, and only on its path.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::super::browser::{Browser, sent};
use super::super::{MINUTE, Site};
use crate::flow::io::Count;
use crate::flow::{Action, Forward, HandedOver, HeaderBlock, Reply};

const CLUSTER: &[u8] = b"login-app";

fn app(options: Value) -> Site {
    let mode = json!({ "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"] });
    super::site(mode, options)
}

fn in_redis(options: Value) -> Site {
    let mut all = json!({
        "session_store_type": "redis",
        "redis_connection_url": "redis://redis.example.com",
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    app(all)
}

fn alice() -> Value {
    json!({ "user": "alice", "email": "alice@example.com", "groups": ["staff", "admins"] })
}

/// The cookies after a response with this session; `None` if the session is not kept.
fn respond(
    site: &Site,
    browser: &mut Browser,
    path: &str,
    cluster: &[u8],
    values: &[&[u8]],
) -> Option<Result<(), Reply>> {
    let handed_over = browser.forward(path, &[]).handed_over;
    let keeping = site.app.take_session(handed_over, cluster, values)?;
    Some(site.world.run(vec![keeping]).remove(0).map(|cookies| {
        assert!(cookies.contains(&("cache-control", b"private".to_vec())));
        browser.keep_cookies(&Action::Forward(Forward { response: cookies, ..Forward::default() }));
    }))
}

/// Whether the session is kept.
fn hand_over(site: &Site, browser: &mut Browser, session: &Value) -> bool {
    let value = session.to_string();
    respond(site, browser, "/login", CLUSTER, &[value.as_bytes()]).is_some_and(|kept| kept.is_ok())
}

#[test]
fn session_from_login_app_signs_browser_in() {
    for site in [app(json!({})), in_redis(json!({}))] {
        let mut browser = site.browser();
        assert!(hand_over(&site, &mut browser, &alice()));
        let forward = browser.forward("/", &[]);
        assert_eq!(sent(&forward, "x-forwarded-user"), "alice");
        assert_eq!(sent(&forward, "x-forwarded-email"), "alice@example.com");
        assert_eq!(sent(&forward, "x-forwarded-groups"), "staff,admins");
        assert_eq!(site.world.counted(Count::HandedOver), 1);
    }
}

#[test]
fn tokens_and_claims_from_login_app_are_kept() {
    let site = app(json!({ "pass_access_token": true, "pass_authorization_header": true }));
    let mut browser = site.browser();
    let mut session = alice();
    session["access_token"] = json!("at");
    session["id_token"] = json!("it");
    session["preferred_username"] = json!("Al");
    session["additional_claims"] = json!({ "team": "blue" });
    assert!(hand_over(&site, &mut browser, &session));
    let forward = browser.forward("/", &[]);
    assert_eq!(sent(&forward, "x-forwarded-access-token"), "at");
    assert_eq!(sent(&forward, "authorization"), "Bearer it");
    assert_eq!(sent(&forward, "x-forwarded-preferred-username"), "Al");
    let userinfo: Value = serde_json::from_slice(browser.reply("/oauth2/userinfo", &[]).body()).unwrap();
    assert_eq!(userinfo["additionalClaims"], json!({ "team": "blue" }));
}

#[test]
fn session_header_may_be_either_base64_alphabet() {
    // The two alphabets differ for ">>>" and "???".
    let session = json!({ "user": "a>>>b???c" }).to_string();
    let standard = STANDARD.encode(&session);
    let url_safe = URL_SAFE_NO_PAD.encode(&session);
    assert_ne!(standard.trim_end_matches('='), url_safe);
    for value in [standard, url_safe] {
        let site = app(json!({}));
        let mut browser = site.browser();
        respond(&site, &mut browser, "/login", CLUSTER, &[value.as_bytes()]).unwrap().unwrap();
        assert_eq!(sent(&browser.forward("/", &[]), "x-forwarded-user"), "a>>>b???c");
    }
}

#[test]
fn session_from_another_upstream_is_dropped_and_counted() {
    let site = app(json!({ "skip_auth_routes": ["^/public/"] }));
    let value = alice().to_string();
    let values: &[&[u8]] = &[value.as_bytes()];
    let mut browser = site.browser();
    for (path, cluster) in [
        ("/login", b"another".as_slice()),
        ("/login", b""),
        ("/public/x", CLUSTER),
        ("/public/login", CLUSTER),
    ] {
        assert!(respond(&site, &mut browser, path, cluster, values).is_none(), "{path}");
        assert!(browser.who().is_none());
    }
    assert_eq!(site.world.counted(Count::HandedOverDropped), 4);
    assert_eq!(site.world.counted(Count::HandedOver), 0);
}

#[test]
fn session_header_is_ignored_in_other_modes() {
    let mut browser = Site::new(json!({})).signed_in();
    assert!(matches!(browser.forward("/login", &[]).handed_over, HandedOver::Never));
}

#[test]
fn malformed_session_header_is_refused_and_counted() {
    let site = app(json!({ "email_domains": ["example.com"] }));
    let long = "x".repeat(32 << 10);
    let sessions = [
        json!({}),
        json!({ "user": "", "email": "a@example.com" }),
        json!({ "user": 1, "email": "a@example.com" }),
        json!({ "user": "a", "email": "a@example.com", "expires_in": 0 }),
        json!({ "user": "a", "email": "a@example.com", "expires_in": -1 }),
        json!({ "user": "a", "email": "a@example.com", "groups": "staff" }),
        json!({ "user": "a", "email": "a@example.com", "role": "unknown member" }),
        json!({ "user": "a", "email": "a@example.com", "access_token": long }),
        json!({ "user": "a", "email": "a@elsewhere.com" }),
    ];
    let values = sessions.iter().map(|session| session.to_string().into_bytes());
    let nonsense = ["", "=", "%%%", "[]", "{", "e30"].map(|text| text.as_bytes().to_vec());
    for value in values.chain(nonsense).chain([b"\xff\xfe".to_vec()]) {
        let mut browser = site.browser();
        let kept = respond(&site, &mut browser, "/login", CLUSTER, &[&value]);
        assert!(kept.is_none(), "{}", String::from_utf8_lossy(&value));
        assert!(!browser.has_session());
    }
    assert_eq!(site.world.counted(Count::HandedOverRefused), 16);
}

#[test]
fn session_with_inexact_names_is_refused() {
    let site = app(json!({}));
    for name in ["ali\u{0}ce", "alice\n", "ali\tce", "alice\u{7f}", "ali\u{85}ce", " alice", "alice ", " "] {
        for session in [
            json!({ "user": name }),
            json!({ "user": "alice", "email": name }),
            json!({ "user": "alice", "preferred_username": name }),
            json!({ "user": "alice", "groups": ["staff", name] }),
        ] {
            assert!(!hand_over(&site, &mut site.browser(), &session), "{session}");
        }
    }
    // What only one of the headers cannot say is no reason: `Basic`, and the joined groups.
    for session in [json!({ "user": "ali:ce" }), json!({ "user": "zoë", "groups": ["CN=a,DC=b", ""] })] {
        assert!(hand_over(&site, &mut site.browser(), &session), "{session}");
    }
}

#[test]
fn session_header_is_removed_in_any_spelling_and_from_trailers() {
    for name in ["x-oauth2-session", "x_oauth2_session", "X-OAuth2.Session"] {
        assert!(crate::flow::is_session_header(name.as_bytes()), "{name}");
    }
    assert!(!crate::flow::is_session_header(b"x-oauth2-sessions"));
    let site = app(json!({}));
    let trailers = HeaderBlock::from_pairs([
        ("grpc-status", b"0".as_slice()),
        ("x-oauth2-session", b"{}"),
        ("x_oauth2_session", b"{}"),
    ]);
    assert!(site.app.takes_sessions());
    let dropped = site.app.handed_over_trailers(&trailers);
    assert_eq!(dropped, [b"x-oauth2-session", b"x_oauth2_session"]);
    assert_eq!(site.world.counted(Count::HandedOverDropped), 1);
    let others = HeaderBlock::from_pairs([("grpc-status", b"0".as_slice())]);
    assert!(site.app.handed_over_trailers(&others).is_empty());
    assert_eq!(site.world.counted(Count::HandedOverDropped), 1);
    assert!(!Site::new(json!({})).app.takes_sessions());
}

#[test]
fn two_session_headers_in_one_response_are_refused() {
    let site = app(json!({}));
    let value = alice().to_string();
    let mut browser = site.browser();
    let values: &[&[u8]] = &[value.as_bytes(), value.as_bytes()];
    assert!(respond(&site, &mut browser, "/login", CLUSTER, values).is_none());
}

#[test]
fn session_from_login_app_ends_after_expires_in() {
    let site = app(json!({}));
    let mut browser = site.browser();
    let mut session = alice();
    session["expires_in"] = json!(3600);
    // The filter could not use it in this mode.
    session["refresh_token"] = json!("rt");
    assert!(hand_over(&site, &mut browser, &session));
    site.world.pass(59 * MINUTE);
    assert!(browser.who().is_some());
    site.world.pass(2 * MINUTE);
    assert!(browser.who().is_none());
    assert!(!browser.has_session());
}

#[test]
fn rejected_client_leads_to_login_app_and_ends_nothing() {
    let site = Site::new(json!({
        "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"], "cookie_refresh": "10m",
    }));
    let mut browser = site.browser();
    let mut session = alice();
    session["expires_in"] = json!(3600);
    session["refresh_token"] = json!("rt");
    assert!(hand_over(&site, &mut browser, &session));
    let before = browser.cookies.clone();
    site.provider.set_token_answer(Some((401, json!({ "error": "invalid_client" }))));
    site.world.pass(61 * MINUTE);
    let answer = browser.reply("/", &[]);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"/login?rd=%2F".parse().unwrap())
    );
    assert_eq!(browser.cookies, before);
    site.provider.set_token_answer(None);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some());
}

#[test]
fn new_session_from_login_app_replaces_old_ticket() {
    let site = in_redis(json!({}));
    let mut browser = site.browser();
    assert!(hand_over(&site, &mut browser, &alice()));
    let before = (site.world.fake_redis().keys(), browser.cookies.clone());
    assert!(hand_over(&site, &mut browser, &alice()));
    let after = (site.world.fake_redis().keys(), browser.cookies.clone());
    assert_eq!((before.0.len(), after.0.len()), (1, 1));
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn login_app_session_without_store_is_an_error_page() {
    let site = in_redis(json!({}));
    site.world.fake_redis().set_down(true);
    let mut browser = site.browser();
    let value = alice().to_string();
    let answer = respond(&site, &mut browser, "/login", CLUSTER, &[value.as_bytes()]).unwrap().unwrap_err();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(site.world.counted(Count::HandedOverRefused), 1);
}

#[test]
fn browser_without_session_is_sent_to_login_app() {
    let site = app(json!({}));
    let long = "x".repeat(60_000);
    for (target, location) in [
        ("/a?b=c", "/login?rd=%2Fa%3Fb%3Dc"),
        (&format!("/a?{long}"), "/login?rd=%2Fa"),
        (&format!("/oauth2/start?rd=/a?{long}"), "/login?rd=%2Fa"),
        ("/oauth2/start?rd=/a", "/login?rd=%2Fa"),
        ("/oauth2/sign_in?rd=//evil.example", "/login?rd=%2F"),
        ("/login/../admin", "/login?rd=%2Flogin%2F%2E%2E%2Fadmin"),
    ] {
        let answer = site.browser().reply(target, &[]);
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
            (302, location)
        );
    }
    assert_eq!(site.browser().reply("/oauth2/callback?code=x&state=y", &[]).status(), 404);
}

#[test]
fn mode_app_has_the_filters_sign_out() {
    let site = in_redis(json!({}));
    let mut browser = site.browser();
    assert!(hand_over(&site, &mut browser, &alice()));
    assert_eq!(browser.reply("/oauth2/sign_out", &[]).status(), 200);
    assert!(!browser.has_session());
    assert!(site.world.fake_redis().keys().is_empty());
}
