//! Sessions that end after `session_max_lifetime`, in both stores.

use std::time::Duration;

use serde_json::{Value, json};

use super::{MINUTE, Site, in_redis};
use crate::flow::io::{Count, Io};
use crate::flow::tests::browser::Browser;
use crate::session::{Session, SessionInfo};

const COOKIE: &str = "_oauth2_proxy";

/// A site for each store.
fn in_both_stores(options: Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Site::new(all)
    })
}

/// The answer to a request with a session that is over, as the access log has it.
fn why_not(browser: &mut Browser) -> String {
    let answer = browser.reply("/", &[]);
    assert_eq!(answer.status(), 302);
    answer.details().to_owned()
}

/// The seconds for which the browser keeps the session cookie of this answer.
fn max_age(headers: &[String]) -> Option<u64> {
    let header = headers.iter().find(|header| header.starts_with("_oauth2_proxy=")).unwrap();
    let (_, rest) = header.split_once("Max-Age=")?;
    rest.split(';').next().unwrap().parse().ok()
}

fn cookies_of(site: &Site, browser: &mut Browser) -> Vec<String> {
    let forward = browser.forward("/", &[]);
    site.world.drain();
    let cookies = forward.response.into_iter().filter(|(name, _)| *name == "set-cookie");
    cookies.map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

#[test]
fn session_ends_after_its_lifetime_although_it_was_renewed() {
    for site in in_both_stores(json!({ "session_max_lifetime": "2h", "cookie_refresh": "40m" })) {
        let mut browser = site.signed_in();
        for _ in 0..11 {
            site.world.pass(10 * MINUTE);
            assert!(browser.who().is_some());
        }
        assert_eq!(site.provider.grants("refresh_token").len(), 2);
        site.world.pass(9 * MINUTE);
        assert!(browser.who().is_some());
        site.world.pass(MINUTE);
        // Redis has deleted the session by then.
        let reason = if site.config.redis.is_some() { "gone" } else { "too_old" };
        assert_eq!(why_not(&mut browser), reason);
        assert_eq!(site.provider.grants("refresh_token").len(), 2, "the provider is not asked any more");
        // A new sign-in has a new lifetime.
        browser.sign_in(&site.provider, "/");
        assert!(browser.who().is_some());
    }
}

#[test]
fn expired_session_that_is_too_old_is_not_renewed() {
    for site in in_both_stores(json!({ "session_max_lifetime": "90m", "enforce_expires_on": true })) {
        let mut browser = site.signed_in();
        let ended = browser.clone();
        site.world.pass(91 * MINUTE);
        assert!(browser.who().is_none());
        assert_eq!(site.provider.grants("refresh_token").len(), 0);
        // Requests that need no session, and other workers, see the same.
        let mut other = ended;
        other.app = site.worker();
        assert!(other.who().is_none());
    }
}

#[test]
fn provider_outage_does_not_lengthen_the_lifetime() {
    for site in in_both_stores(json!({ "session_max_lifetime": "1h", "cookie_refresh": "30m" })) {
        let mut browser = site.signed_in();
        site.provider.set_down(true);
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some());
        site.world.pass(30 * MINUTE);
        assert_eq!(browser.reply("/", &[]).status(), 302);
    }
}

#[test]
fn without_the_option_no_time_of_sign_in_is_written() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let plain = site.signed_in().cookies[COOKIE].len();
    let limited = Site::new(json!({ "session_max_lifetime": "2h", "cookie_refresh": "30m" }));
    assert!(limited.signed_in().cookies[COOKIE].len() > plain);
}

#[test]
fn session_from_before_the_option_counts_from_its_last_refresh() {
    // As one that an oauth2-proxy made and renewed: it does not say when its user signed in.
    let before = Site::new(json!({ "cookie_refresh": "30m" }));
    let mut browser = before.signed_in();
    before.world.pass(31 * MINUTE);
    assert!(browser.who().is_some());
    let site = Site::new(json!({ "session_max_lifetime": "1h", "cookie_refresh": "30m" }));
    let mut browser = browser.moved_to(&site.world);
    browser.app = site.worker();
    site.world.pass(31 * MINUTE);
    // From here on, the time is in the session.
    for _ in 0..5 {
        site.world.pass(10 * MINUTE);
        assert!(browser.who().is_some());
    }
    site.world.pass(10 * MINUTE);
    assert_eq!(why_not(&mut browser), "too_old");
    assert_eq!(site.world.counted(Count::SessionTooOld), 1);
}

#[test]
fn cookie_and_redis_keep_no_session_beyond_its_lifetime() {
    for site in in_both_stores(json!({ "session_max_lifetime": "2h", "cookie_refresh": "50m" })) {
        let is_in_redis = site.config.redis.is_some();
        let ttl = || {
            let redis = site.world.fake_redis();
            is_in_redis.then(|| redis.ttl(&redis.keys()[0], site.world.now()).unwrap())
        };
        let mut browser = site.browser();
        let answer = browser.sign_in(&site.provider, "/");
        let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
        let cookies: Vec<_> = cookies.iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(max_age(&cookies), Some(7200));
        assert_eq!(ttl(), is_in_redis.then_some(120 * MINUTE));
        site.world.pass(51 * MINUTE);
        // The refresh took a moment of the 69 minutes that were left.
        let left = 69 * 60 - 5..=69 * 60;
        assert!(left.contains(&max_age(&cookies_of(&site, &mut browser)).unwrap()));
        assert!(ttl().is_none_or(|ttl| left.contains(&ttl.as_secs())));
    }
    // `cookie_expire` ends first.
    for site in in_both_stores(json!({ "session_max_lifetime": "2h", "cookie_expire": "1h" })) {
        let answer = site.browser().sign_in(&site.provider, "/");
        let cookies = answer.headers().get_all("set-cookie").iter();
        let cookies: Vec<_> = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(max_age(&cookies), Some(3600));
    }
}

#[test]
fn session_without_any_time_is_too_old() {
    let site = Site::new(json!({ "session_max_lifetime": "1h" }));
    let lifetimes = &site.config.lifetimes;
    assert!(lifetimes.is_too_old(&Session::default(), site.world.now()));
    let session = Session {
        info: SessionInfo { created_at: Some(site.world.now()), ..Default::default() },
        ..Session::default()
    };
    assert!(!lifetimes.is_too_old(&session, site.world.now()));
}

#[test]
fn clock_that_was_set_back_ends_no_session() {
    for site in in_both_stores(json!({ "session_max_lifetime": "1h" })) {
        site.world.pass(10 * MINUTE);
        let mut browser = site.signed_in();
        let now = site.world.now();
        site.world.set_now(crate::time::Timestamp::from_secs(now.secs() - 60));
        assert!(browser.who().is_some());
        site.world.set_now(now);
        site.world.pass(Duration::from_secs(3599));
        assert!(browser.who().is_some());
        site.world.pass(Duration::from_secs(1));
        assert!(browser.who().is_none());
    }
}
