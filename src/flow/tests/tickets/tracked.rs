//! Sessions that are served from memory while Redis tells of each change.

use std::time::Duration;

use serde_json::json;

use super::{only_key, proxy, site};
use crate::flow::io::Io;
use crate::flow::tests::browser::Browser;
use crate::flow::tests::{MINUTE, Site};
use crate::flow::{Action, App, Ready};
use crate::redis::Changed;
use crate::session::ticket::{Ticket, TicketForm};

const SECOND: Duration = Duration::from_secs(1);

/// A site whose connection to Redis tells of changes, and a browser whose session is in memory.
fn tracked(options: serde_json::Value) -> (Site, Browser) {
    let site = site(options);
    site.world.track(Some(1));
    let mut browser = site.signed_in();
    // A write of its own is read once more before it is remembered.
    assert!(browser.who().is_some());
    site.world.drain();
    site.world.fake_redis().seen();
    (site, browser)
}

/// What Redis was asked since the last look.
fn asked(site: &Site) -> Vec<String> {
    site.world.drain();
    site.world.fake_redis().seen()
}

fn told(site: &Site) {
    site.world.tell(&Changed::Keys(vec![only_key(site).into_bytes()]));
}

#[test]
fn session_is_read_once_and_then_served_from_memory() {
    let site = site(json!({}));
    site.world.track(Some(1));
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    for _ in 0..100 {
        assert!(browser.who().is_some());
    }
    assert_eq!(asked(&site), ["get", "time_to_live"]);
}

#[test]
fn connection_that_does_not_track_is_asked_each_time() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    assert!((0..3).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "get", "get"]);
}

#[test]
fn deletion_elsewhere_is_noticed_by_the_next_request() {
    let (site, mut browser) = tracked(json!({}));
    site.world.fake_redis().restore(Default::default());
    assert!(browser.who().is_some(), "Redis did not tell yet");
    site.world.tell(&Changed::Keys(vec![b"_oauth2_proxy-of-another".to_vec()]));
    assert!(browser.who().is_some(), "another session changed");
    site.world.tell(&Changed::All);
    assert!(browser.who().is_none());
    assert!(browser.has_session(), "its cookie stays, and opens nothing");
}

#[test]
fn sign_out_at_another_worker_is_noticed() {
    let (site, browser) = tracked(json!({}));
    let (mut copy, mut other) = (browser.clone(), browser);
    other.app = proxy(&site);
    other.reply("/oauth2/sign_out", &[]);
    assert!(copy.who().is_none());
}

#[test]
fn sign_out_in_the_same_worker_is_seen_before_redis_tells() {
    let (site, browser) = tracked(json!({}));
    let (mut copy, mut leaving) = (browser.clone(), browser);
    leaving.reply("/oauth2/sign_out", &[]);
    assert!(copy.who().is_none());
    assert!(!asked(&site).is_empty());
}

#[test]
fn change_is_read_again_and_then_remembered() {
    let (site, mut browser) = tracked(json!({}));
    told(&site);
    assert!((0..5).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "time_to_live"]);
}

#[test]
fn silent_connection_is_asked_first() {
    let (site, mut browser) = tracked(json!({}));
    site.world.fall_silent();
    // The fake Redis makes the connection fresh with each answer.
    assert!((0..5).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get"], "the time to live is known");
    site.world.fall_silent();
    site.world.fake_redis().restore(Default::default());
    assert!(browser.who().is_none());
}

#[test]
fn silent_connection_without_an_answer_is_an_outage() {
    let (site, mut browser) = tracked(json!({}));
    site.world.fall_silent();
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    assert!(browser.has_session());
    site.world.fake_redis().set_down(false);
    assert!(browser.who().is_some());
}

#[test]
fn session_that_came_by_another_stream_is_asked_for() {
    let (site, mut browser) = tracked(json!({}));
    site.world.track(Some(2));
    assert!((0..5).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "time_to_live"]);
    site.world.track(None);
    assert!((0..2).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "get"]);
    site.world.track(Some(2));
    assert!(browser.who().is_some(), "nothing was lost on the second stream");
}

#[test]
fn key_s_own_end_is_an_end() {
    let (site, mut browser) = tracked(json!({}));
    let key = only_key(&site);
    let command = crate::redis::Command::expire(key.as_bytes(), 10 * SECOND);
    site.world.run(vec![Box::pin(site.world.clone().redis(command))]).remove(0).unwrap();
    assert!(browser.who().is_some());
    site.world.pass(9 * SECOND);
    site.world.fake_redis().seen();
    assert!(browser.who().is_some());
    assert_eq!(asked(&site), Vec::<String>::new());
    site.world.pass(SECOND);
    assert!(browser.who().is_none(), "Redis tells of it only when it removes the key");
}

#[test]
fn refused_time_to_live_means_today_s_way() {
    let site = site(json!({}));
    site.world.track(Some(1));
    let mut browser = site.signed_in();
    site.world.fake_redis().refuse("PTTL", "NOPERM no");
    site.world.fake_redis().seen();
    assert!((0..2).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "time_to_live", "get", "time_to_live"]);
}

#[test]
fn clock_that_was_set_back_asks_redis() {
    let (site, mut browser) = tracked(json!({}));
    let before = crate::time::Timestamp::from_secs(site.world.now().secs() - 60);
    site.world.set_now(before);
    assert!(browser.who().is_some());
    assert_eq!(asked(&site), ["get", "time_to_live"]);
}

/// The reply is there, and Redis has told of a later change, but the task that waits has not gone on yet.
#[test]
fn change_during_a_read_is_not_forgotten() {
    for delay in 0..12 {
        let (site, browser) = tracked(json!({}));
        let mut copy = browser.clone();
        site.world.track(Some(2));
        site.world.fake_redis().set_delay(Duration::from_millis(8));
        let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else { panic!() };
        let world = site.world.clone();
        let change = Box::pin(async move {
            world.sleep(Duration::from_millis(delay)).await;
            let key = world.fake_redis().keys().remove(0);
            world.redis(crate::redis::Command::del(key.as_bytes())).await.unwrap();
            None
        });
        let page = Box::pin(async move { Some(page.await) });
        site.world.run(vec![page, change]);
        assert!(copy.who().is_none(), "{delay} ms");
    }
}

/// Requests that come after Redis has told do not get what an earlier request has read.
#[test]
fn later_request_does_not_join_an_outdated_read() {
    let (site, browser) = tracked(json!({}));
    site.world.track(Some(2));
    site.world.fake_redis().set_delay(Duration::from_millis(8));
    let ask = |app: &std::rc::Rc<App<_>>, head| match app.handle(head) {
        Ready::Later(future) => future,
        Ready::Now(decision) => Box::pin(std::future::ready(decision)),
    };
    let first = ask(&site.app, browser.head("/", &[]));
    let (world, app, head) = (site.world.clone(), site.app.clone(), browser.head("/", &[]));
    let second = Box::pin(async move {
        world.sleep(Duration::from_millis(6)).await;
        let key = world.fake_redis().keys().remove(0);
        world.fake_redis().restore(Default::default());
        world.tell(&Changed::Keys(vec![key.into_bytes()]));
        ask(&app, head).await
    });
    let decisions = site.world.run(vec![first, second]);
    assert!(matches!(decisions[0].action, Action::Forward(_)), "it began before");
    assert!(!matches!(decisions[1].action, Action::Forward(_)));
}

#[test]
fn refreshed_session_is_read_once_more() {
    let (site, mut browser) = tracked(json!({ "cookie_refresh": "10m" }));
    site.world.pass(11 * MINUTE);
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    site.world.drain();
    site.world.fake_redis().seen();
    assert!((0..5).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), ["get", "time_to_live"]);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn refresh_at_another_worker_is_noticed() {
    let (site, mut browser) = tracked(json!({ "cookie_refresh": "10m" }));
    let mut other = browser.clone();
    other.app = proxy(&site);
    assert!(other.who().is_some());
    site.world.pass(11 * MINUTE);
    assert!(other.who().is_some() && browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn session_cache_has_no_effect_on_a_connection_that_tracks() {
    let (site, mut browser) = tracked(json!({ "redis_session_cache": "1m" }));
    told(&site);
    assert!(browser.who().is_some());
    assert_eq!(asked(&site), ["get", "time_to_live"]);
    // It bridges the time until there is such a connection again.
    site.world.track(None);
    assert!((0..3).all(|_| browser.who().is_some()));
    assert_eq!(asked(&site), Vec::<String>::new());
}

#[test]
fn session_cache_does_not_bring_back_a_session_that_changed() {
    for is_flushed in [false, true] {
        let (site, mut browser) = tracked(json!({ "redis_session_cache": "1m" }));
        if is_flushed {
            site.world.tell(&Changed::All);
        } else {
            told(&site);
        }
        site.world.fake_redis().restore(Default::default());
        site.world.track(None);
        assert!(browser.who().is_none(), "{is_flushed}");
    }
}

/// Redis told of the change behind the reply to a read, and the task that waits for the reply goes on after both.
#[test]
fn session_that_changed_while_it_was_read_stays_nowhere_in_memory() {
    for number in 0..8 {
        let (is_known, is_flushed, breaks) = (number & 1 != 0, number & 2 != 0, number & 4 != 0);
        let (site, browser) = tracked(json!({ "redis_session_cache": "1m" }));
        let mut copy = browser.clone();
        if is_known {
            site.world.fall_silent();
        } else {
            site.world.track(Some(2));
        }
        site.world.fake_redis().set_delay(Duration::from_millis(8));
        let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else { panic!() };
        let world = site.world.clone();
        let change = Box::pin(async move {
            world.sleep(Duration::from_millis(6)).await;
            let key = world.fake_redis().keys().remove(0);
            world.fake_redis().restore(Default::default());
            world.tell(&if is_flushed { Changed::All } else { Changed::Keys(vec![key.into_bytes()]) });
            None
        });
        site.world.run(vec![Box::pin(async move { Some(page.await) }), change]);
        if breaks {
            site.world.track(None);
        }
        assert!(copy.who().is_none(), "known: {is_known}, all keys: {is_flushed}, breaks: {breaks}");
    }
}

#[test]
fn sign_out_during_a_read_is_not_forgotten() {
    for delay in 0..12 {
        let (site, browser) = tracked(json!({}));
        let mut copy = browser.clone();
        site.world.track(Some(2));
        site.world.fake_redis().set_delay(Duration::from_millis(8));
        let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else { panic!() };
        let (world, app) = (site.world.clone(), site.app.clone());
        let sign_out = Box::pin(async move {
            world.sleep(Duration::from_millis(delay)).await;
            match app.handle(browser.head("/oauth2/sign_out", &[])) {
                Ready::Later(future) => future.await,
                Ready::Now(decision) => decision,
            }
        });
        site.world.run(vec![page, sign_out]);
        assert!(copy.who().is_none(), "{delay} ms");
    }
}

/// Both are read at the same time, and Redis tells of one of them behind both replies.
#[test]
fn change_of_one_session_leaves_the_other_in_memory() {
    let (site, browser) = tracked(json!({}));
    let [first] = <[_; 1]>::try_from(site.world.fake_redis().keys()).unwrap();
    let (mut changed, mut stays) = (browser, site.signed_in());
    assert!(stays.who().is_some());
    site.world.drain();
    site.world.track(Some(2));
    site.world.fake_redis().set_delay(Duration::from_millis(8));
    let ask = |browser: &Browser| match site.app.handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("it is in memory already"),
    };
    let (one, two) = (ask(&changed), ask(&stays));
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_millis(7)).await;
        world.tell(&Changed::Keys(vec![first.into_bytes()]));
    });
    site.world.run(vec![one, two]);
    site.world.fake_redis().seen();
    assert!(stays.who().is_some());
    assert_eq!(asked(&site), Vec::<String>::new());
    assert!(changed.who().is_some());
    assert_eq!(asked(&site), ["get", "time_to_live"]);
}

/// Both cookies are signed. The secret of a ticket is the key of its session, so only one of them opens it.
#[test]
fn ticket_with_another_secret_opens_nothing_in_memory() {
    let (site, mut browser) = tracked(json!({}));
    let id = only_key(&site).rsplit_once('-').unwrap().1.to_owned();
    let bytes: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(id.get(2 * at..2 * at + 2).unwrap(), 16).unwrap()).collect();
    let ticket = Ticket::new(super::COOKIE.as_bytes(), bytes.try_into().unwrap(), [7; 16]);
    let cookie = site.app.cookie.sign(&ticket.encode(TicketForm::Documented), site.world.now());
    let mut other = browser.clone();
    other.cookies.insert(super::COOKIE.to_owned(), String::from_utf8(cookie).unwrap());
    for _ in 0..3 {
        assert!(other.who().is_none());
        assert!(browser.who().is_some());
    }
}

#[test]
fn idle_session_ends_although_it_is_in_memory() {
    let (site, mut browser) =
        tracked(json!({ "session_idle_timeout": "20m", "idle_ignore_routes": ["^/poll$"] }));
    let polls = |browser: &mut Browser| matches!(browser.ask("/poll", &[]), Action::Forward(_));
    for _ in 0..19 {
        site.world.pass(MINUTE);
        assert!(polls(&mut browser));
    }
    site.world.pass(MINUTE);
    assert!(!polls(&mut browser));
}

#[test]
fn use_of_a_session_in_memory_is_written() {
    let (site, mut browser) = tracked(json!({ "session_idle_timeout": "20m" }));
    for _ in 0..60 {
        site.world.pass(MINUTE / 2);
        assert!(browser.who().is_some());
        site.world.drain();
    }
    let commands = asked(&site);
    assert_eq!(commands.iter().filter(|name| *name == "expire").count(), 30);
    assert_eq!(commands.len(), 90, "each write is followed by one read: {commands:?}");
}
