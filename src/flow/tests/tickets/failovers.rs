//! A replica without the last writes becomes the master.

use std::time::Duration;

use serde_json::json;

use super::{only_key, proxy, replicated, site};
use crate::flow::Io;
use crate::flow::tests::MINUTE;
use crate::flow::tests::fake_redis::Values;
use crate::redis::FailoverEvent;
use crate::time::Timestamp;

#[test]
fn sign_in_lost_by_failover_is_written_again() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    let key = only_key(&site);
    site.world.fail_over(Values::default());
    site.world.drain();
    assert_eq!(only_key(&site), key);
    assert!(other.who().is_some() && browser.who().is_some());
}

#[test]
fn restored_session_stays_if_lock_release_reply_is_lost() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().repeat("release_lock");
    site.world.fail_over(Values::default());
    site.world.drain();
    assert!(site.world.fake_redis().seen().contains(&"release_lock".to_owned()));
    assert!(browser.who().is_some());
}

#[test]
fn refresh_lost_by_failover_is_written_again() {
    let site = replicated(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    let before = site.world.fake_redis().snapshot();
    site.world.pass(31 * MINUTE);
    assert!(browser.who().is_some());
    let after = site.world.fake_redis().snapshot();
    site.world.fail_over(before.clone());
    site.world.drain();
    let now = site.world.fake_redis().snapshot();
    let key = only_key(&site).into_bytes();
    assert!(now[&key] != before[&key]);
    // It is encrypted anew, so the comparison is of what it decrypts to.
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(Duration::from_secs(10));
    assert!(other.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1, "no proxy uses the old token again");
    assert_eq!(after.len(), now.len());
}

#[test]
fn session_that_replica_has_is_not_written_again() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    site.world.fail_over(site.world.fake_redis().snapshot());
    site.world.drain();
    assert_eq!(site.world.fake_redis().seen(), ["get"]);
    assert!(browser.who().is_some());
}

#[test]
fn sign_out_lost_by_failover_is_repeated() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    let mut copy = browser.clone();
    let before = site.world.fake_redis().snapshot();
    browser.reply("/oauth2/sign_out", &[]);
    site.world.fail_over(before);
    assert_eq!(copy.who(), None, "this worker remembers the sign-out");
    site.world.drain();
    let mut other = copy.clone();
    other.app = proxy(&site);
    site.world.pass(MINUTE);
    assert_eq!(other.who(), None);
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
}

/// Whichever of the two workers is first after the failover.
#[test]
fn sign_out_at_another_proxy_wins_over_restore() {
    for is_first in [true, false] {
        for lost in ["nothing", "the sign-out", "both"] {
            let site = replicated(json!({}));
            let other = proxy(&site);
            let mut browser = site.browser();
            if is_first {
                browser.app = other.clone();
            }
            browser.sign_in(&site.provider, "/");
            let signed_in = site.world.fake_redis().snapshot();
            let mut copy = browser.clone();
            copy.app = if is_first { site.app.clone() } else { other };
            let mut third = copy.clone();
            third.app = proxy(&site);
            copy.reply("/oauth2/sign_out", &[]);
            site.world.fail_over(match lost {
                "nothing" => site.world.fake_redis().snapshot(),
                "the sign-out" => signed_in,
                _ => Values::default(),
            });
            site.world.drain();
            site.world.pass(MINUTE);
            assert_eq!(third.who(), None, "{lost} {is_first}");
            assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new(), "{lost} {is_first}");
        }
    }
}

/// The clocks of two proxies differ by a second.
#[test]
fn session_from_proxy_with_fast_clock_is_not_old() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    let signed_in = site.world.fake_redis().snapshot();
    site.world.set_now(Timestamp::from_secs(site.world.now().secs() - 1));
    let mut other = browser.clone();
    other.app = proxy(&site);
    other.reply("/oauth2/sign_out", &[]);
    assert!(
        only_key(&site).ends_with(".lock"),
        "the proxy that wrote it a moment ago must not write it again"
    );
    site.world.fail_over(signed_in);
    site.world.drain();
    assert_eq!(browser.who(), None);
}

#[test]
fn old_write_is_not_repeated_after_failover() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(MINUTE);
    site.world.fail_over(Values::default());
    site.world.drain();
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    assert_eq!(browser.reply("/", &[]).status(), 503);
    site.world.pass(Duration::from_secs(5));
    assert_eq!(browser.who(), None);
}

#[test]
fn restore_is_retried_until_new_master_answers() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    site.world.fail_over(Values::default());
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_secs(20)).await;
        world.fake_redis().set_down(false);
    });
    site.world.drain();
    assert!(browser.who().is_some());
}

/// No replica can become the master: a missing session is lost, and a lock is released at once.
#[test]
fn single_server_without_session_is_believed() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.all_hear(FailoverEvent::Disconnected);
    site.world.fake_redis().restore(Values::default());
    assert_eq!(browser.who(), None);
    browser.sign_in(&site.provider, "/");
    browser.reply("/oauth2/sign_out", &[]);
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
}

#[test]
fn lost_connection_restores_no_session() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().restore(Values::default());
    site.world.all_hear(FailoverEvent::Disconnected);
    site.world.drain();
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    assert_eq!(browser.who(), None);
}

/// Its reply may be that of the old master.
#[test]
fn write_under_way_at_failover_is_repeated() {
    let site = replicated(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    site.world.fake_redis().set_delay(Duration::from_millis(20));
    site.world.fake_redis().seen();
    let world = site.world.clone();
    site.world.spawn(async move {
        while !world.fake_redis().keys().iter().any(|key| key.starts_with("_oauth2_proxy")) {
            world.sleep(Duration::from_millis(15)).await;
            world.all_hear(FailoverEvent::NewMaster);
        }
    });
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert!(site.world.fake_redis().seen().iter().filter(|name| *name == "setex").count() >= 2);
}

#[test]
fn simultaneous_failover_events_are_handled_once() {
    let site = replicated(json!({}));
    site.signed_in();
    site.world.fake_redis().seen();
    for news in [
        FailoverEvent::Disconnected,
        FailoverEvent::NewMaster,
        FailoverEvent::Disconnected,
        FailoverEvent::NewMaster,
    ] {
        site.world.all_hear(news);
    }
    site.world.drain();
    assert_eq!(site.world.fake_redis().seen(), ["get"]);
    site.world.fail_over(Values::default());
    site.world.all_hear(FailoverEvent::Disconnected);
    site.world.drain();
    assert_eq!(
        site.world.fake_redis().seen(),
        ["get", "lock", "set", "release_lock"],
        "the worst of them counts"
    );
}

/// A worker may hear of a new master earlier than another worker of the same Envoy, which still asks the old one.
#[test]
fn failover_seen_by_one_worker_counts_for_all() {
    let site = replicated(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.browser();
    browser.app = proxy(&site);
    browser.sign_in(&site.provider, "/");
    let at_the_new = site.world.fake_redis().snapshot();
    browser.app = proxy(&site);
    site.world.one_hears(0, FailoverEvent::NewMaster);
    site.world.fake_redis().restore(Values::default());
    assert_eq!(browser.reply("/", &[]).status(), 503);
    assert!(browser.has_session());
    site.world.fake_redis().restore(at_the_new);
    assert!(browser.who().is_some());
    // What this worker reads may be outdated, so it does not refresh it.
    site.world.pass(31 * MINUTE);
    site.world.one_hears(0, FailoverEvent::NewMaster);
    assert!(browser.who().is_some());
    assert!(site.provider.grants("refresh_token").is_empty());
    site.world.pass(Duration::from_secs(5));
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}
