//! Logout tokens of the provider: what they end, and what they do not.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{COOKIE, proxy, replicated, site};
use crate::flow::io::Count;
use crate::flow::tests::world::World;
use crate::flow::tests::{MINUTE, Site};
use crate::flow::{Action, App, Io, Ready, Reply, RequestHead};
use crate::oidc::tests::logout::logout_claims;
use crate::oidc::tests::vectors::{encode, sign_claims};

const FORM: &str = "application/x-www-form-urlencoded";

fn with_index(options: Value) -> Value {
    let mut all = json!({ "redis_session_index": true, "backchannel_logout": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    all
}

fn logout_site(options: Value) -> Site {
    site(with_index(options))
}

/// The claims of a logout token for all of Alice's sessions, with these changes; `null` takes one out.
fn token_claims(site: &Site, changes: Value) -> Value {
    let mut claims = logout_claims();
    let now = site.world.now().secs();
    let all = claims.as_object_mut().unwrap();
    all.remove("sid");
    all.extend([("iat".to_owned(), json!(now)), ("exp".to_owned(), json!(now + 120))]);
    all.extend(changes.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    claims
}

fn token(site: &Site, changes: Value) -> String {
    sign_claims(&token_claims(site, changes))
}

/// What the endpoint does with this head.
fn head(app: &Rc<App<World>>, headers: &[(&str, &str)]) -> Action {
    let mut pairs = vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "app.example.com"),
        (":path", "/oauth2/backchannel_logout"),
        ("content-type", FORM),
    ];
    for (name, value) in headers {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    let head = RequestHead::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
    match app.handle(head) {
        Ready::Now(decision) => decision.action,
        Ready::Later(_) => panic!("the head says all that is needed"),
    }
}

/// The endpoint's answer to a form, from this proxy.
fn post_form(site: &Site, app: &Rc<App<World>>, form: &str) -> Reply {
    assert!(matches!(head(app, &[]), Action::ReadBody));
    assert!(app.body_refused(b"oauth2_session_bridge").is_none());
    let decision = site.world.run(vec![app.handle_body(form.as_bytes().to_vec())]).remove(0);
    let Action::Reply(reply) = decision.action else { panic!("it is not answered") };
    assert!(reply.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    reply
}

/// Status and word of the endpoint's answer to a token.
fn post(site: &Site, app: &Rc<App<World>>, token: &str) -> (u16, &'static str) {
    let reply = post_form(site, app, &format!("logout_token={token}"));
    (reply.status().as_u16(), reply.details())
}

const DONE: (u16, &str) = (200, "backchannel_logout");
const INVALID: (u16, &str) = (400, "logout_token");
const USED: (u16, &str) = (400, "logout_token_used");
const NO_REDIS: (u16, &str) = (400, "redis_unavailable");

#[test]
fn token_for_user_ends_all_sessions_at_every_proxy() {
    let site = logout_site(json!({}));
    let (mut first, mut second) = (site.signed_in(), site.signed_in());
    site.provider.set_claim("sub", json!("bob"));
    let mut bob = site.signed_in();
    second.app = proxy(&site);
    assert!(first.who().is_some() && second.who().is_some());
    assert_eq!(post(&site, &proxy(&site), &token(&site, json!({}))), DONE);
    assert_eq!((first.who(), second.who()), (None, None));
    assert!(bob.who().is_some());
    assert_eq!(site.world.counted(Count::BackchannelLogout), 1);
}

#[test]
fn token_for_session_ends_only_that_session() {
    let site = logout_site(json!({}));
    site.provider.set_claim("sid", json!("first"));
    let mut first = site.signed_in();
    site.provider.set_claim("sid", json!("second"));
    let mut second = site.signed_in();
    assert_eq!(post(&site, &site.app, &token(&site, json!({ "sid": "first" }))), DONE);
    assert_eq!(first.who(), None);
    assert!(second.who().is_some());
}

#[test]
fn token_for_unknown_user_is_accepted_and_ends_nothing() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    assert_eq!(post(&site, &site.app, &token(&site, json!({ "sub": "stranger" }))), DONE);
    assert_eq!(post(&site, &site.app, &token(&site, json!({ "sid": "stranger", "jti": "2" }))), DONE);
    assert!(browser.who().is_some());
}

#[test]
fn token_is_used_once_at_all_proxies() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    let logout = token(&site, json!({}));
    assert_eq!(post(&site, &site.app, &logout), DONE);
    assert_eq!(browser.who(), None);
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    assert_eq!(post(&site, &site.app, &logout), USED);
    assert_eq!(site.world.fake_redis().seen(), Vec::<String>::new(), "the worker remembers it");
    assert_eq!(post(&site, &proxy(&site), &logout), USED);
    assert!(browser.who().is_some());
    assert_eq!(site.world.counted(Count::BackchannelLogoutRefused), 2);
    // The next token of the same user.
    assert_eq!(post(&site, &site.app, &token(&site, json!({ "jti": "2" }))), DONE);
    assert_eq!(browser.who(), None);
}

#[test]
fn used_token_is_remembered_until_it_is_too_old() {
    let site = logout_site(json!({}));
    assert_eq!(post(&site, &site.app, &token(&site, json!({ "jti": "a\r\n$1 {}" }))), DONE);
    let [key] = site.world.fake_redis().keys().try_into().unwrap();
    let digits = key.strip_prefix(&format!("{COOKIE}-logout.")).unwrap();
    assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
    assert_eq!(site.world.fake_redis().ttl(&key, site.world.now()), Some(15 * MINUTE));
    // The clock of the provider is as fast as is allowed.
    let late = token(&site, json!({ "jti": "late", "exp": null, "iat": site.world.now().secs() + 300 }));
    assert_eq!(post(&site, &site.app, &late), DONE);
    for minutes in 1..15 {
        site.world.pass(MINUTE);
        assert_eq!(post(&site, &proxy(&site), &late), if minutes < 10 { USED } else { INVALID }, "{minutes}");
    }
}

#[test]
fn invalid_token_ends_nothing() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    let signed = token(&site, json!({}));
    let (content, _) = signed.rsplit_once('.').unwrap();
    let unsigned = encode(&json!({ "alg": "none", "typ": "logout+jwt" }));
    for (why, invalid) in [
        ("signature", format!("{content}.{}", "A".repeat(86))),
        ("alg", format!("{unsigned}.{}.", encode(&token_claims(&site, json!({}))))),
        ("exp", token(&site, json!({ "exp": site.world.now().secs() - 60 }))),
        ("iat", token(&site, json!({ "iat": site.world.now().secs() - 600, "exp": null }))),
        ("aud", token(&site, json!({ "aud": "other" }))),
        ("iss", token(&site, json!({ "iss": "https://evil.example" }))),
        ("nonce", token(&site, json!({ "nonce": "" }))),
        ("jti", token(&site, json!({ "jti": null }))),
        ("events", token(&site, json!({ "events": {} }))),
        ("sub", token(&site, json!({ "sub": null }))),
        ("no JWT", "logout".to_owned()),
    ] {
        assert_eq!(post(&site, &site.app, &invalid), INVALID, "{why}");
    }
    assert!(browser.who().is_some());
    assert_eq!(site.world.counted(Count::BackchannelLogoutRefused), 11);
    assert_eq!(post(&site, &site.app, &signed), DONE, "none of them has used the token up");
}

#[test]
fn form_must_have_exactly_one_token() {
    let site = logout_site(json!({}));
    let logout = token(&site, json!({}));
    for form in [
        String::new(),
        "logout_token=".to_owned(),
        format!("token={logout}"),
        format!("logout_token={logout}&logout_token={logout}"),
    ] {
        let reply = post_form(&site, &site.app, &form);
        assert_eq!((reply.status().as_u16(), reply.details()), INVALID, "{form:.40}");
        let body: Value = serde_json::from_slice(reply.body()).unwrap();
        assert_eq!(body["error"], "invalid_request");
        assert!(!body.to_string().contains(&logout));
    }
    assert_eq!(post_form(&site, &site.app, &format!("a=1&logout_token={logout}&b=2")).status(), 200);
}

#[test]
fn head_alone_is_answered_if_no_body_can_help() {
    let site = logout_site(json!({}));
    let status = |headers: &[(&str, &str)]| match head(&site.app, headers) {
        Action::Reply(reply) => reply.status().as_u16(),
        Action::ReadBody => 0,
        Action::Forward(_) => panic!("it went to the upstream"),
    };
    for kind in [FORM, "application/X-WWW-form-urlencoded; charset=utf-8"] {
        assert_eq!(status(&[("content-type", kind)]), 0, "{kind}");
    }
    for kind in ["", "application/json", "multipart/form-data; boundary=x", "application/jwt"] {
        assert_eq!(status(&[("content-type", kind)]), 400, "{kind}");
    }
    assert_eq!(status(&[("content-length", "65536")]), 0);
    assert_eq!(status(&[("content-length", "65537")]), 413);
    assert_eq!(status(&[(":method", "GET")]), 405);
    assert_eq!(status(&[("x-oauth2-session-bridge", "https")]), 400);
}

#[test]
fn request_goes_to_no_other_cluster_than_the_bridge() {
    let site = logout_site(json!({ "bridge_cluster": "bridge" }));
    assert!(site.app.body_refused(b"bridge").is_none());
    for other in ["", "upstream", "oauth2_session_bridge"] {
        let reply = site.app.body_refused(other.as_bytes()).unwrap();
        assert_eq!((reply.status().as_u16(), reply.details()), (501, "no_logout_route"), "{other}");
    }
}

#[test]
fn without_option_path_is_as_any_other() {
    let site = site(json!({ "redis_session_index": true }));
    let mut browser = site.browser();
    let reply = browser.reply("/oauth2/backchannel_logout", &[]);
    assert_eq!(reply.status(), 302, "a sign-in begins");
}

#[test]
fn outage_is_no_success_and_the_same_token_works_after_it() {
    for command in ["get", "del", "set"] {
        let site = logout_site(json!({}));
        let mut browser = site.signed_in();
        let logout = token(&site, json!({}));
        site.world.fake_redis().lose(command, false);
        assert_eq!(post(&site, &site.app, &logout), NO_REDIS, "{command}");
        assert_eq!(site.world.counted(Count::BackchannelLogoutFailed), 1);
        site.world.fake_redis().lose_nothing();
        assert_eq!(post(&site, &proxy(&site), &logout), DONE, "{command}");
        assert_eq!(browser.who(), None, "{command}");
    }
}

#[test]
fn short_outage_delays_the_logout() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    let redis_is_back = {
        let world = site.world.clone();
        async move {
            world.sleep(Duration::from_secs(5)).await;
            world.fake_redis().set_down(false);
        }
    };
    site.world.spawn(redis_is_back);
    assert_eq!(post(&site, &site.app, &token(&site, json!({}))), DONE);
    assert_eq!(browser.who(), None);
}

#[test]
fn lost_reply_to_the_last_command_is_no_second_use() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().lose("set", true);
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_secs(5)).await;
        world.fake_redis().lose_nothing();
    });
    assert_eq!(post(&site, &site.app, &token(&site, json!({}))), DONE);
    assert_eq!(browser.who(), None);
}

#[test]
fn provider_that_hangs_up_does_not_stop_the_logout() {
    let site = logout_site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_delay(Duration::from_secs(1));
    let form = format!("logout_token={}", token(&site, json!({})));
    let mut answer = site.app.handle_body(form.into_bytes());
    let waker = std::task::Waker::noop();
    assert!(answer.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(answer);
    site.world.drain();
    assert_eq!(browser.who(), None);
}

#[test]
fn failover_that_lost_the_tokens_loses_no_logout() {
    let site = replicated(with_index(json!({})));
    let mut browser = site.signed_in();
    let values = site.world.fake_redis().snapshot();
    site.world.pass(2 * MINUTE);
    site.world.fail_over(values);
    assert_eq!(post(&site, &site.app, &token(&site, json!({}))), DONE);
    assert_eq!(browser.who(), None);
}

#[test]
fn refresh_under_way_does_not_bring_the_session_back() {
    let site = logout_site(json!({ "cookie_refresh": "1m" }));
    let browser = site.signed_in();
    site.world.pass(2 * MINUTE);
    site.provider.set_delay(Duration::from_secs(2));
    let request = match browser.app.handle(browser.head("/", &[])) {
        Ready::Later(request) => request,
        Ready::Now(_) => panic!("the session is due"),
    };
    let logout = proxy(&site).handle_body(format!("logout_token={}", token(&site, json!({}))).into_bytes());
    let answers = site.world.run(vec![request, logout]);
    assert!(matches!(&answers[1].action, Action::Reply(reply) if reply.status() == 200));
    assert_eq!(browser.clone().who(), None);
    assert!(!site.world.fake_redis().keys().iter().any(|key| key.len() == COOKIE.len() + 33));
}

#[test]
fn forged_signatures_are_checked_at_a_limited_rate() {
    let site = logout_site(json!({}));
    let (content, _) =
        token(&site, json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let forged = format!("{content}.{}", "A".repeat(86));
    let words: Vec<_> = (0..30).map(|_| post(&site, &site.app, &forged).1).collect();
    assert!(words[..20].iter().all(|word| *word == "logout_token"), "{words:?}");
    assert!(words[25..].iter().all(|word| *word == "busy"), "{words:?}");
    site.world.pass(MINUTE);
    assert_eq!(post(&site, &site.app, &token(&site, json!({}))), DONE);
}
