//! Sessions that end if no request uses them (`session_idle_timeout`), in both stores.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Browser;
use super::world::World;
use super::{MINUTE, Site, in_redis};
use crate::cookie::{CookieSecret, CookieSecrets};
use crate::flow::Action;
use crate::flow::io::{Count, Io};
use crate::flow::tests::fake_redis::Values;
use crate::redis::FailoverEvent;
use crate::time::Timestamp;

const COOKIE: &str = "_oauth2_proxy_idle";
const SECOND: Duration = Duration::from_secs(1);

fn with(mut all: Value, options: Value) -> Value {
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    all
}

/// A site for each store, with a timeout of 20 minutes. So a use is written once a minute.
fn in_both_stores(options: Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|store| {
        let idle = with(store, json!({ "session_idle_timeout": "20m" }));
        Site::new(with(idle, options.clone()))
    })
}

/// A site with sessions in Redis.
fn redis_site(options: Value) -> Site {
    Site::new(with(with(in_redis(), json!({ "session_idle_timeout": "20m" })), options))
}

/// A request for this path, and what it started in the background.
fn ask(site: &Site, browser: &mut Browser, path: &str) -> Action {
    let action = browser.ask(path, &[]);
    site.world.drain();
    action
}

fn gets_through(site: &Site, browser: &mut Browser) -> bool {
    matches!(ask(site, browser, "/"), Action::Forward(_))
}

/// How long the only session in Redis will live.
fn ttl(world: &World) -> Duration {
    let redis = world.fake_redis();
    redis.ttl(&redis.keys()[0], world.now()).unwrap()
}

/// How many times Redis was told to let a key live on, since the last look.
fn writes(site: &Site) -> usize {
    site.world.fake_redis().seen().iter().filter(|name| *name == "expire").count()
}

#[test]
fn session_ends_if_no_request_used_it() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        // The tokens of the provider expire meanwhile, and are renewed.
        for _ in 0..10 {
            site.world.pass(18 * MINUTE);
            assert!(gets_through(&site, &mut browser));
        }
        site.world.pass(20 * MINUTE);
        let answer = browser.reply("/", &[]);
        let reason = if site.config.redis.is_some() { "gone" } else { "idle" };
        assert_eq!((answer.status().as_u16(), answer.details()), (302, reason));
        assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
        browser.sign_in(&site.provider, "/");
        assert!(gets_through(&site, &mut browser));
    }
}

#[test]
fn session_never_ends_much_before_its_timeout() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        for seconds in [59, 1, 59, 1, 30] {
            site.world.pass(seconds * SECOND);
            assert!(gets_through(&site, &mut browser));
        }
        // A twentieth of the timeout may be missing.
        site.world.pass(19 * MINUTE - SECOND);
        assert!(gets_through(&site, &mut browser));
    }
}

#[test]
fn use_is_written_once_in_a_twentieth_of_the_timeout() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        writes(&site);
        let mut written = 0;
        for _ in 0..=600 {
            let action = ask(&site, &mut browser, "/");
            let Action::Forward(forward) = action else { panic!("{action:?}") };
            written += forward.response.iter().filter(|(name, _)| *name == "set-cookie").count();
            site.world.pass(SECOND);
        }
        let is_in_redis = site.config.redis.is_some();
        // In Redis, the first request sets the time to live. A new cookie says by itself when it was used.
        let expected = if is_in_redis { (0, 11) } else { (10, 0) };
        assert_eq!((written, writes(&site)), expected);
    }
}

#[test]
fn worker_does_not_repeat_the_write_of_another_one() {
    let site = redis_site(json!({}));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = site.worker();
    site.world.pass(5 * MINUTE);
    writes(&site);
    for _ in 0..50 {
        assert!(gets_through(&site, &mut browser) && gets_through(&site, &mut other));
        site.world.pass(SECOND);
    }
    assert_eq!(writes(&site), 1);
    // Now it is the turn of the one that comes first.
    site.world.pass(10 * SECOND);
    assert!(gets_through(&site, &mut other) && gets_through(&site, &mut browser));
    assert_eq!(writes(&site), 1);
}

#[test]
fn ignored_route_is_no_use_although_it_refreshes_the_session() {
    let options = json!({ "idle_ignore_routes": ["^/poll$", "GET=^/count"], "cookie_refresh": "5m" });
    for site in in_both_stores(options) {
        let mut browser = site.signed_in();
        for _ in 0..19 {
            site.world.pass(MINUTE);
            assert!(matches!(ask(&site, &mut browser, "/poll"), Action::Forward(_)));
            assert!(matches!(ask(&site, &mut browser, "/count?1"), Action::Forward(_)));
        }
        assert_eq!(site.provider.grants("refresh_token").len(), 3);
        site.world.pass(MINUTE);
        assert!(browser.who().is_none());
    }
}

#[test]
fn use_after_a_refresh_by_an_ignored_route_counts() {
    for site in in_both_stores(json!({ "idle_ignore_routes": ["^/poll$"], "cookie_refresh": "5m" })) {
        let mut browser = site.signed_in();
        site.world.pass(15 * MINUTE);
        assert!(matches!(ask(&site, &mut browser, "/poll"), Action::Forward(_)));
        site.world.pass(4 * MINUTE);
        assert!(gets_through(&site, &mut browser));
        site.world.pass(19 * MINUTE);
        assert!(gets_through(&site, &mut browser));
    }
}

#[test]
fn route_that_needs_no_session_is_no_use() {
    for site in in_both_stores(json!({ "skip_auth_routes": ["^/public/"] })) {
        let mut browser = site.signed_in();
        for _ in 0..20 {
            site.world.pass(MINUTE);
            let Action::Forward(forward) = ask(&site, &mut browser, "/public/a") else { panic!() };
            assert!(forward.response.iter().all(|(name, _)| *name != "set-cookie"));
        }
        assert!(browser.who().is_none());
    }
}

#[test]
fn userinfo_is_no_use_and_says_the_ends() {
    for site in in_both_stores(json!({ "session_max_lifetime": "12h" })) {
        let mut browser = site.signed_in();
        let began = site.world.now();
        let at = |after: Duration| Timestamp::from_secs(began.after(after).secs()).to_string();
        site.world.pass(10 * MINUTE);
        assert!(gets_through(&site, &mut browser));
        for _ in 0..19 {
            site.world.pass(MINUTE);
            let answer = browser.reply("/oauth2/userinfo", &[]);
            let body: Value = serde_json::from_slice(answer.body()).unwrap();
            // The provider's tokens expire after an hour.
            assert_eq!(body["expiresAt"], at(60 * MINUTE));
            assert_eq!(body["idleExpiresAt"], at(30 * MINUTE));
            assert_eq!(body["absoluteExpiresAt"], at(12 * 60 * MINUTE));
        }
        site.world.pass(MINUTE);
        assert_eq!(browser.reply("/oauth2/userinfo", &[]).status(), 401);
    }
}

#[test]
fn question_of_another_proxy_is_a_use() {
    for site in in_both_stores(json!({ "idle_ignore_routes": ["^/poll"] })) {
        let mut browser = site.signed_in();
        for _ in 0..5 {
            site.world.pass(15 * MINUTE);
            let Action::Reply(reply) = ask(&site, &mut browser, "/oauth2/auth") else { panic!() };
            assert_eq!(reply.status(), 202);
        }
    }
}

#[test]
fn cookie_of_another_session_or_forged_says_nothing() {
    let [site, _] = in_both_stores(json!({}));
    let mut used = site.signed_in();
    let mut idle = site.signed_in();
    site.world.pass(10 * MINUTE);
    assert!(gets_through(&site, &mut used));
    site.world.pass(10 * MINUTE);
    let of_another = used.cookies[COOKIE].clone();
    let later = of_another.replacen("|17", "|18", 1);
    assert_ne!(later, of_another);
    for forged in
        [of_another.as_str(), later.as_str(), "", "x", "|1800000000|", &used.cookies["_oauth2_proxy"]]
    {
        let mut browser = idle.clone();
        browser.cookies.insert(COOKIE.to_owned(), forged.to_owned());
        assert!(browser.who().is_none(), "{forged}");
    }
    assert!(idle.who().is_none());
    // Without its cookie, the time in the session's own signature counts.
    used.cookies.remove(COOKIE);
    assert!(used.who().is_none());
}

#[test]
fn cookie_with_last_use_is_no_session_cookie() {
    let [site, _] = in_both_stores(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(MINUTE);
    assert!(gets_through(&site, &mut browser));
    let mut other = site.browser();
    other.cookies.insert("_oauth2_proxy".to_owned(), browser.cookies[COOKIE].clone());
    assert_eq!(other.reply("/", &[]).details(), "bad_cookie");
}

#[test]
fn sign_out_and_strip_take_the_cookie_with_the_session() {
    let [site, _] = in_both_stores(json!({ "strip_session_cookie": true }));
    let mut browser = site.signed_in();
    site.world.pass(MINUTE);
    assert!(gets_through(&site, &mut browser));
    assert!(browser.cookies.contains_key(COOKIE));
    browser.cookies.insert("other".to_owned(), "1".to_owned());
    let forward = browser.forward("/", &[]);
    assert_eq!(forward.cookie.as_deref(), Some(b"other=1".as_slice()));
    browser.reply("/oauth2/sign_out", &[]);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn idle_session_loses_both_cookies() {
    let [site, _] = in_both_stores(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(MINUTE);
    assert!(gets_through(&site, &mut browser));
    site.world.pass(20 * MINUTE);
    assert_eq!(browser.reply("/", &[]).details(), "idle");
    assert!(browser.cookies.is_empty());
    assert_eq!(site.world.counted(Count::SessionIdle), 1);
}

#[test]
fn first_roll_out_ends_sessions_that_are_older_than_the_timeout() {
    let before = Site::new(json!({}));
    let (mut old, world) = (before.signed_in(), &before.world);
    world.pass(20 * MINUTE);
    let mut young = before.signed_in();
    let [site, _] = in_both_stores(json!({}));
    site.world.pass(25 * MINUTE);
    for browser in [&mut old, &mut young] {
        *browser = browser.moved_to(&site.world);
        browser.app = site.worker();
    }
    assert_eq!(old.reply("/", &[]).details(), "idle");
    assert!(gets_through(&site, &mut young));
}

#[test]
fn full_time_to_live_of_oauth2_proxy_is_shortened_by_the_next_use() {
    let site = redis_site(json!({}));
    let mut browser = site.signed_in();
    let key = site.world.fake_redis().keys()[0].clone();
    assert_eq!(ttl(&site.world), 20 * MINUTE);
    // As oauth2-proxy saves it.
    let value = site.world.fake_redis().snapshot()[key.as_bytes()].0.clone();
    let command = crate::redis::Command::setex(key.as_bytes(), 7 * 24 * 60 * MINUTE, &value);
    site.world.run(vec![Box::pin(site.world.clone().redis(command))]).remove(0).unwrap();
    assert!(gets_through(&site, &mut browser));
    assert_eq!(ttl(&site.world), 20 * MINUTE);
}

#[test]
fn outage_of_the_write_ends_no_session() {
    for is_done in [false, true] {
        let site = redis_site(json!({}));
        let mut browser = site.signed_in();
        site.world.pass(5 * MINUTE);
        writes(&site);
        site.world.fake_redis().lose("expire", is_done);
        for _ in 0..3 {
            assert!(gets_through(&site, &mut browser));
            site.world.pass(SECOND / 4);
        }
        assert_eq!(writes(&site), 1, "not with every request");
        site.world.pass(SECOND);
        site.world.fake_redis().lose_nothing();
        assert!(gets_through(&site, &mut browser));
        assert_eq!((writes(&site), ttl(&site.world)), (1, 20 * MINUTE));
    }
}

#[test]
fn write_that_redis_refuses_stops_no_request() {
    let site = redis_site(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(5 * MINUTE);
    site.world.fake_redis().refuse("PEXPIRE", "NOPERM this user has no permissions");
    assert!(gets_through(&site, &mut browser));
    assert_eq!(ttl(&site.world), 15 * MINUTE);
}

#[test]
fn write_that_a_failover_lost_is_repeated() {
    let site = redis_site(json!({
        "redis_connection_url": "",
        "redis_use_sentinel": true,
        "redis_sentinel_master_name": "main",
        "redis_sentinel_connection_urls": ["redis://sentinel.example.com:26379"],
    }));
    let mut browser = site.signed_in();
    site.world.pass(19 * MINUTE);
    let before = site.world.fake_redis().snapshot();
    assert!(gets_through(&site, &mut browser));
    site.world.fail_over(before);
    site.world.drain();
    site.world.pass(10 * MINUTE);
    assert!(gets_through(&site, &mut browser));
}

#[test]
fn failover_brings_no_idle_session_back() {
    let site = Site::new(json!({
        "session_store_type": "redis",
        "session_idle_timeout": "30s",
        "redis_use_sentinel": true,
        "redis_sentinel_master_name": "main",
        "redis_sentinel_connection_urls": ["redis://sentinel.example.com:26379"],
    }));
    for (failover, later, is_there) in [(31, 6, false), (20, 6, true), (20, 11, false)] {
        let mut browser = site.signed_in();
        site.world.pass(failover * SECOND);
        site.world.fail_over(Values::default());
        site.world.drain();
        site.world.pass(later * SECOND);
        assert_eq!(gets_through(&site, &mut browser), is_there, "{failover} {later}");
    }
}

#[test]
fn session_from_memory_is_used_too_and_ends_in_time() {
    let site = redis_site(json!({ "redis_session_cache": "1m", "idle_ignore_routes": ["^/poll$"] }));
    let mut browser = site.signed_in();
    for _ in 0..100 {
        assert!(gets_through(&site, &mut browser));
        site.world.pass(30 * SECOND);
    }
    // Polls keep it in memory, but do not use it.
    site.world.pass(18 * MINUTE + 15 * SECOND);
    for _ in 0..3 {
        assert!(matches!(ask(&site, &mut browser, "/poll"), Action::Forward(_)));
        site.world.pass(15 * SECOND);
    }
    site.world.pass(15 * SECOND);
    assert!(!gets_through(&site, &mut browser));
}

#[test]
fn sign_in_during_an_outage_of_redis_keeps_its_cookie() {
    let site = redis_site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    site.world.all_hear(FailoverEvent::Disconnected);
    site.world.pass(MINUTE);
    let answer = browser.reply("/", &[]);
    assert_eq!(answer.status(), 503);
    assert!(browser.has_session());
    site.world.fake_redis().set_down(false);
    assert!(gets_through(&site, &mut browser));
}

#[test]
fn clock_that_was_set_back_ends_no_session() {
    for site in in_both_stores(json!({})) {
        site.world.pass(60 * MINUTE);
        let mut browser = site.signed_in();
        site.world.pass(5 * MINUTE);
        assert!(gets_through(&site, &mut browser));
        let before = Timestamp::from_secs(site.world.now().secs() - 120);
        site.world.set_now(before);
        for _ in 0..3 {
            assert!(gets_through(&site, &mut browser));
            site.world.pass(15 * MINUTE);
        }
        site.world.pass(6 * MINUTE);
        assert!(!gets_through(&site, &mut browser));
    }
}

#[test]
fn change_of_the_cookie_secret_is_no_use_of_the_session() {
    let [site, _] = in_both_stores(json!({ "idle_ignore_routes": ["^/poll$"] }));
    let mut browser = site.signed_in();
    site.world.pass(10 * MINUTE);
    assert!(gets_through(&site, &mut browser));
    let secrets = ["Rm9vQmFyQmF6UXV4X18tLUZvb0JhckJhelF1eDAxMjM=", "0123456789abcdef0123456789abcdef"];
    let secrets = secrets.map(|secret| CookieSecret::new(secret.as_bytes()).unwrap());
    site.app.secrets().set_cookie(CookieSecrets::new(secrets).unwrap());
    site.world.pass(10 * MINUTE);
    let before = browser.cookies.clone();
    assert!(matches!(ask(&site, &mut browser, "/poll"), Action::Forward(_)));
    // Both are signed anew, and say what they said.
    assert!(before.iter().all(|(name, value)| browser.cookies[name] != *value));
    site.world.pass(9 * MINUTE);
    assert!(gets_through(&site, &mut browser.clone()));
    site.world.pass(MINUTE);
    assert_eq!(browser.reply("/", &[]).details(), "idle");
}

#[test]
fn idle_sessions_end_beside_oauth2_proxy_too() {
    for site in in_both_stores(json!({
        "mode": "beside", "skip_provider_button": false,
        "oidc_issuer_url": "", "client_id": "", "client_secret": "",
    })) {
        let login = Site::new(if site.config.redis.is_some() { in_redis() } else { json!({}) });
        let signed_in = login.signed_in();
        site.world.fake_redis().restore(login.world.fake_redis().snapshot());
        let mut browser = signed_in.moved_to(&site.world);
        browser.app = site.worker();
        for _ in 0..3 {
            site.world.pass(15 * MINUTE);
            assert!(gets_through(&site, &mut browser));
        }
        site.world.pass(20 * MINUTE);
        assert!(!gets_through(&site, &mut browser));
        // Its cookie is oauth2-proxy's to clear.
        assert!(browser.has_session());
    }
}
