//! The index of sessions by user: what is written, and how a user's sessions end by it.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{COOKIE, proxy, replicated, site};
use crate::cookie::{CookieSecret, CookieSecrets};
use crate::flow::io::Count;
use crate::flow::tests::browser::Browser;
use crate::flow::tests::{MINUTE, Site, fake_redis::Values, world::World};
use crate::flow::user::User;
use crate::flow::{Action, App, Io, Ready, Unavailable};
use crate::oidc::tests::vectors::{ISSUER, claims};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn indexed(options: Value) -> Site {
    let mut all = json!({ "redis_session_index": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    site(all)
}

fn indexed_with_replicas(options: Value) -> Site {
    let mut all = json!({ "redis_session_index": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    replicated(all)
}

/// The user that the provider signs in.
fn alice() -> User {
    User { issuer: ISSUER.to_owned(), subject: claims()["sub"].as_str().unwrap().to_owned() }
}

fn run<T: 'static>(site: &Site, flow: impl Future<Output = T> + 'static) -> T {
    site.world.run(vec![Box::pin(flow)]).remove(0)
}

/// Ends all of Alice's sessions, at this proxy.
fn end_all(site: &Site, app: &Rc<App<World>>) -> Result<usize, Unavailable> {
    let app = Rc::clone(app);
    run(site, async move { app.store.end_all(&alice()).await })
}

fn end_by_sid(site: &Site, issuer: &'static str, sid: &'static str) -> Result<usize, Unavailable> {
    let app = Rc::clone(&site.app);
    run(site, async move { app.store.end_by_sid(issuer, sid).await })
}

/// When Alice's sessions began, and for how long Redis keeps them.
fn sessions(site: &Site, app: &Rc<App<World>>) -> Result<Vec<(i64, Option<Duration>)>, Unavailable> {
    let app = Rc::clone(app);
    run(site, async move {
        let sessions = app.store.sessions_of(&alice()).await?;
        Ok(sessions.iter().map(|session| (session.began, session.time_to_live)).collect())
    })
}

fn count(site: &Site) -> usize {
    sessions(site, &site.app).unwrap().len()
}

/// The keys of the index.
fn hashes(site: &Site) -> Vec<String> {
    let mut keys = site.world.fake_redis().keys();
    keys.retain(|key| key.contains('.') && !key.ends_with(".lock"));
    keys
}

/// This many browsers in which Alice is signed in, a minute after each other.
fn browsers(site: &Site, number: usize) -> Vec<Browser> {
    let sign_in = |_| {
        site.world.pass(MINUTE);
        site.signed_in()
    };
    (0..number).map(sign_in).collect()
}

#[test]
fn without_option_nothing_is_written() {
    let site = site(json!({}));
    site.signed_in().who();
    assert_eq!(site.world.fake_redis().keys().len(), 1);
    assert_eq!(end_all(&site, &site.app), Err(Unavailable::NoIndex));
    assert_eq!(sessions(&site, &site.app), Err(Unavailable::NoIndex));
}

#[test]
fn sign_in_is_indexed_by_user_and_by_session_at_provider() {
    let site = indexed(json!({ "cookie_expire": "24h" }));
    site.provider.set_claim("sid", json!("provider session"));
    let browser = site.signed_in();
    let hashes = hashes(&site);
    assert_eq!(hashes.len(), 2, "{hashes:?}");
    for (hash, kind) in hashes.iter().zip(["sid", "user"]) {
        let digits = hash.strip_prefix(&format!("{COOKIE}-{kind}.")).unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
        assert_eq!(site.world.fake_redis().ttl(hash, site.world.now()), Some(DAY + Duration::from_secs(1)));
        let values = site.world.fake_redis().snapshot();
        let entry = String::from_utf8(values[hash.as_bytes()].0.clone()).unwrap();
        let secret = browser.cookies[COOKIE].rsplit('.').next().unwrap();
        assert!(entry.starts_with(&format!("{COOKIE}-")) && !entry.contains(secret), "{entry}");
    }
}

#[test]
fn sign_out_everywhere_ends_every_session_of_user() {
    let site = indexed(json!({}));
    site.provider.set_claim("sub", json!("bob"));
    let mut bob = site.signed_in();
    site.provider.set_claim("sub", claims()["sub"].clone());
    let mut browsers = browsers(&site, 3);
    assert_eq!(end_all(&site, &proxy(&site)), Ok(3));
    for browser in &mut browsers {
        assert_eq!(browser.who(), None);
    }
    assert!(bob.who().is_some());
    assert_eq!((end_all(&site, &site.app), count(&site)), (Ok(0), 0));
    assert_eq!(site.world.counted(Count::SessionEnded), 3);
    assert_eq!(hashes(&site).len(), 1, "only Bob's is left");
}

#[test]
fn session_at_provider_ends_the_sessions_it_gave() {
    let site = indexed(json!({}));
    site.provider.set_claim("sid", json!("first"));
    let mut first = browsers(&site, 2);
    site.provider.set_claim("sid", json!("second"));
    let mut second = site.signed_in();
    assert_eq!(end_by_sid(&site, "https://other.example.com", "first"), Ok(0));
    assert_eq!(end_by_sid(&site, ISSUER, "first"), Ok(2));
    assert!(first.iter_mut().all(|browser| browser.who().is_none()));
    assert!(second.who().is_some());
    assert_eq!(count(&site), 1);
}

#[test]
fn same_subject_of_another_issuer_is_another_user() {
    let site = indexed(json!({}));
    let mut browser = site.signed_in();
    let app = Rc::clone(&site.app);
    let mallory = User { issuer: "https://other.example.com".to_owned(), ..alice() };
    assert_eq!(run(&site, async move { app.store.end_all(&mallory).await }), Ok(0));
    assert!(browser.who().is_some());
}

#[test]
fn sessions_are_listed_newest_first_with_their_time() {
    let site = indexed(json!({ "cookie_expire": "24h" }));
    let began = site.world.now().secs();
    browsers(&site, 2);
    site.world.pass(MINUTE);
    let expected = [(began + 120, Some(DAY - MINUTE)), (began + 60, Some(DAY - 2 * MINUTE))];
    assert_eq!(sessions(&site, &site.app), Ok(expected.to_vec()));
}

#[test]
fn sessions_that_ended_are_not_listed() {
    let site = indexed(json!({ "cookie_expire": "24h" }));
    let mut browsers = browsers(&site, 4);
    assert_eq!(browsers[0].reply("/oauth2/sign_out", &[]).status(), 200);
    assert_eq!(browsers[1].sign_in(&site.provider, "/").status(), 302);
    assert_eq!(count(&site), 3);
    // oauth2-proxy knows no index.
    let mut values = site.world.fake_redis().snapshot();
    values.retain(|key, _| key.contains(&b'.'));
    site.world.fake_redis().restore(values);
    assert_eq!(count(&site), 0);
    assert_eq!(hashes(&site), Vec::<String>::new(), "their entries are dropped");
}

#[test]
fn session_without_entry_gets_one_with_its_first_request() {
    let before = site(json!({}));
    let mut browser = before.signed_in();
    let began = before.world.now().secs();
    let site = Site { config: indexed(json!({})).config, ..before };
    browser.app = proxy(&site);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(sessions(&site, &browser.app).unwrap()[0].0, began);
    site.world.fake_redis().seen();
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(site.world.fake_redis().seen(), ["get"], "the entry is written once");
}

#[test]
fn renewed_session_keeps_its_beginning_and_gets_a_later_end() {
    let site = indexed(json!({ "cookie_refresh": "30m", "cookie_expire": "1h" }));
    let mut browser = site.signed_in();
    let began = site.world.now().secs();
    for _ in 0..4 {
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some());
        site.world.drain();
    }
    site.world.pass(20 * MINUTE);
    assert_eq!(sessions(&site, &site.app), Ok(vec![(began, Some(40 * MINUTE))]));
    assert_eq!(end_all(&site, &site.app), Ok(1));
    assert_eq!(browser.who(), None);
}

#[test]
fn sessions_of_an_older_secret_are_found() {
    let site = indexed(json!({}));
    let mut old = site.signed_in();
    let secret = |byte: u8| CookieSecret::new(&[byte; 32]).unwrap();
    let first = CookieSecret::new(b"0123456789abcdef0123456789abcdef").unwrap();
    site.app.secrets().set_cookie(CookieSecrets::new([secret(b'n'), first]).unwrap());
    let mut new = site.signed_in();
    assert_eq!(count(&site), 2);
    assert_eq!(end_all(&site, &site.app), Ok(2));
    assert!(old.who().is_none() && new.who().is_none());
}

#[test]
fn user_has_at_most_256_entries() {
    let site = indexed(json!({}));
    browsers(&site, 260);
    assert_eq!(count(&site), 256);
}

#[test]
fn entries_end_with_their_sessions() {
    let site = indexed(json!({ "cookie_expire": "1h" }));
    browsers(&site, 2);
    site.world.pass(59 * MINUTE);
    site.signed_in();
    assert_eq!(count(&site), 2, "the first one has ended");
    site.world.pass(2 * DAY);
    site.world.fake_redis().put(b"x", b"");
    assert_eq!(count(&site), 0);
    assert_eq!(hashes(&site), Vec::<String>::new());
}

#[test]
fn sign_in_goes_on_if_redis_refuses_index() {
    for verb in ["EVAL", "HGETALL"] {
        let site = indexed(json!({}));
        site.world.fake_redis().refuse(verb, "NOPERM User x has no permissions to run the 'hset' command");
        let mut browsers = browsers(&site, 3);
        assert!(browsers.iter_mut().all(|browser| browser.who().is_some()));
        site.world.drain();
        assert_eq!(end_all(&site, &site.app), Err(Unavailable::NoIndex), "{verb}");
    }
}

#[test]
fn refused_index_is_written_again_after_a_minute() {
    let site = indexed(json!({}));
    site.world.fake_redis().refuse("EVAL", "NOPERM x");
    let mut browser = site.signed_in();
    site.world.fake_redis().refuse_nothing();
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(count(&site), 0);
    assert_eq!(site.world.counted(Count::IndexFailed), 1, "it is not tried for each request");
    site.world.pass(2 * MINUTE);
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(count(&site), 1);
}

#[test]
fn session_served_from_memory_gets_its_missing_entry() {
    let site = indexed(json!({}));
    site.world.track(Some(1));
    site.world.fake_redis().refuse("EVAL", "NOPERM x");
    let mut browser = site.signed_in();
    assert!(browser.who().is_some());
    site.world.drain();
    site.world.fake_redis().refuse_nothing();
    site.world.pass(2 * MINUTE);
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(end_all(&site, &site.app), Ok(1));
}

#[test]
fn session_served_from_memory_is_indexed_by_a_new_secret() {
    let site = indexed(json!({}));
    site.world.track(Some(1));
    let mut browser = site.signed_in();
    assert!(browser.who().is_some());
    site.world.drain();
    let old = CookieSecret::new(b"0123456789abcdef0123456789abcdef").unwrap();
    let new = || CookieSecret::new(&[b'n'; 32]).unwrap();
    site.app.secrets().set_cookie(CookieSecrets::new([new(), old]).unwrap());
    assert!(browser.who().is_some());
    site.world.drain();
    site.app.secrets().set_cookie(CookieSecrets::new([new()]).unwrap());
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(end_all(&site, &site.app), Ok(1));
}

#[test]
fn outage_ends_no_session_and_is_no_success() {
    let site = indexed(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    assert_eq!(end_all(&site, &site.app), Err(Unavailable::Redis));
    site.world.fake_redis().set_down(false);
    site.world.fake_redis().lose("del", false);
    assert_eq!(end_all(&site, &site.app), Err(Unavailable::Redis));
    site.world.fake_redis().lose_nothing();
    site.world.pass(2 * MINUTE);
    assert!(browser.who().is_some());
    assert_eq!(end_all(&site, &site.app), Ok(1), "its entry is still there");
    assert_eq!(browser.who(), None);
}

#[test]
fn refresh_under_way_does_not_undo_end_by_index() {
    for (delay, start) in [(600, 100), (4000, 500)] {
        let site = indexed(json!({ "cookie_refresh": "30m" }));
        let browser = site.signed_in();
        site.world.pass(31 * MINUTE);
        site.provider.set_delay(Duration::from_millis(delay));
        let Ready::Later(refresh) = site.app.handle(browser.head("/", &[])) else {
            panic!("Redis was not asked")
        };
        let (world, other) = (site.world.clone(), proxy(&site));
        let end = Box::pin(async move {
            world.sleep(Duration::from_millis(start)).await;
            assert_eq!(other.store.end_all(&alice()).await, Ok(1));
            Action::Reply(crate::flow::Reply::default()).into()
        });
        site.world.run(vec![refresh, end]);
        for age in [0, 2] {
            site.world.pass(age * MINUTE);
            let mut copy = browser.clone();
            copy.app = proxy(&site);
            assert_eq!(copy.who(), None, "{delay} ms");
        }
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
    }
}

#[test]
fn session_ended_by_index_does_not_come_back_after_failover() {
    let site = indexed_with_replicas(json!({}));
    let mut browser = site.signed_in();
    let before = site.world.fake_redis().snapshot();
    // The proxy that signed the user in remembers the session, and another one ends it.
    let other = proxy(&site);
    assert_eq!(end_all(&site, &other), Ok(1));
    for replica in [before, Values::default()] {
        site.world.fail_over(replica);
        site.world.drain();
        site.world.pass(Duration::from_secs(10));
        assert_eq!(browser.who(), None);
        let mut copy = browser.clone();
        copy.app = Rc::clone(&other);
        assert_eq!(copy.who(), None);
    }
}

#[test]
fn entry_lost_by_failover_is_written_again() {
    let site = indexed_with_replicas(json!({}));
    let mut browser = site.signed_in();
    site.world.fail_over(Values::default());
    site.world.drain();
    assert_eq!(count(&site), 1);

    // Also if only the entry is lost, and the session was made long ago.
    site.world.pass(5 * MINUTE);
    let mut values = site.world.fake_redis().snapshot();
    browser.app = proxy(&site);
    assert!(browser.who().is_some());
    site.world.drain();
    values.retain(|key, _| !key.contains(&b'.'));
    site.world.fail_over(values);
    site.world.drain();
    site.world.pass(Duration::from_secs(10));
    assert!(browser.who().is_some());
    site.world.drain();
    assert_eq!(count(&site), 1);
}

#[test]
fn end_during_failover_waits_for_entries_of_other_proxies() {
    let site = indexed_with_replicas(json!({}));
    let mut browser = site.signed_in();
    let other = proxy(&site);
    site.world.fail_over(Values::default());
    // The worker that signed the user in has not repeated its writes yet.
    assert_eq!(end_all(&site, &other), Ok(1));
    site.world.pass(Duration::from_secs(10));
    assert_eq!(browser.who(), None);
}

#[test]
fn hash_with_other_keys_ends_none_of_them() {
    let site = indexed(json!({}));
    site.signed_in();
    let hash = hashes(&site).remove(0);
    for name in ["other", "_oauth2_proxy-0123", "_oauth2_proxy-user.0123456789abcdef0123456789abcdef"] {
        site.world.fake_redis().put(name.as_bytes(), b"mine 1 1");
        site.world.fake_redis().put(hash.as_bytes(), format!("{name} 1 9999999999").as_bytes());
        assert_eq!((end_all(&site, &site.app), count(&site)), (Ok(0), 0));
        assert!(site.world.fake_redis().keys().contains(&name.to_owned()));
    }
}

#[test]
fn session_of_login_app_is_indexed_by_its_user() {
    let session = crate::session::Session {
        info: crate::session::SessionInfo { user: b"carol".to_vec(), ..Default::default() },
        ..Default::default()
    };
    let (user, sid) = User::of(&session);
    assert_eq!((user.issuer.as_str(), user.subject.as_str(), sid), ("", "carol", None));
}
