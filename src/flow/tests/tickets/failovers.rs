//! A replica takes over that has not got the last writes.

use std::time::Duration;

use serde_json::json;

use super::{only_key, proxy, replicated, site};
use crate::flow::Io;
use crate::flow::tests::MINUTE;
use crate::flow::tests::fake_redis::Values;
use crate::redis::FailoverEvent;
use crate::time::Timestamp;

#[test]
fn a_sign_in_that_a_failover_lost_is_written_again() {
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
fn a_session_that_was_brought_back_stays_if_the_reply_to_the_release_of_its_lock_is_lost() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().repeat("release_lock");
    site.world.fail_over(Values::default());
    site.world.drain();
    assert!(site.world.fake_redis().seen().contains(&"release_lock".to_owned()));
    assert!(browser.who().is_some());
}

#[test]
fn a_refresh_that_a_failover_lost_is_written_again() {
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
    // Sealed anew, so it is told by what it opens to.
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(Duration::from_secs(10));
    assert!(other.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1, "nobody uses a token up that was used");
    assert_eq!(after.len(), now.len());
}

#[test]
fn what_the_replica_has_is_not_written_again() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    site.world.fail_over(site.world.fake_redis().snapshot());
    site.world.drain();
    assert_eq!(site.world.fake_redis().seen(), ["get"]);
    assert!(browser.who().is_some());
}

#[test]
fn a_sign_out_that_a_failover_lost_is_done_again() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    let mut copy = browser.clone();
    let before = site.world.fake_redis().snapshot();
    browser.reply("/oauth2/sign_out", &[]);
    site.world.fail_over(before);
    assert_eq!(copy.who(), None, "this worker knows better");
    site.world.drain();
    let mut other = copy.clone();
    other.app = proxy(&site);
    site.world.pass(MINUTE);
    assert_eq!(other.who(), None);
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
}

/// Whoever of the two workers comes first after the failover.
#[test]
fn who_signed_out_at_another_proxy_is_not_brought_back() {
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

/// The clocks of two proxies differ.
#[test]
fn a_session_from_a_moment_to_come_is_no_old_one() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    let signed_in = site.world.fake_redis().snapshot();
    site.world.set_now(Timestamp::from_secs(site.world.now().secs() - 1));
    let mut other = browser.clone();
    other.app = proxy(&site);
    other.reply("/oauth2/sign_out", &[]);
    assert!(only_key(&site).ends_with(".lock"), "whoever wrote it a moment ago must not write it again");
    site.world.fail_over(signed_in);
    site.world.drain();
    assert_eq!(browser.who(), None);
}

#[test]
fn what_was_written_long_ago_is_left_to_redis() {
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
fn a_new_master_that_does_not_answer_yet_is_asked_again() {
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

/// There is nobody who could take over: what is gone is gone, and a lock is given back at once.
#[test]
fn a_single_server_that_comes_back_is_believed() {
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
fn a_connection_that_ends_brings_nobody_back() {
    let site = replicated(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().restore(Values::default());
    site.world.all_hear(FailoverEvent::Disconnected);
    site.world.drain();
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    assert_eq!(browser.who(), None);
}

/// Its answer may be of the old master.
#[test]
fn a_write_that_was_under_way_is_made_again() {
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
fn news_that_come_at_once_are_looked_after_once() {
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

/// A worker may hear of a new master before another one of the same Envoy does, which still asks the old one.
#[test]
fn what_one_worker_heard_counts_for_all_of_an_envoy() {
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
    // What is read there may be older than what there is, so it is not renewed.
    site.world.pass(31 * MINUTE);
    site.world.one_hears(0, FailoverEvent::NewMaster);
    assert!(browser.who().is_some());
    assert!(site.provider.grants("refresh_token").is_empty());
    site.world.pass(Duration::from_secs(5));
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}
