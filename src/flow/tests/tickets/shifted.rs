//! Bytes got lost on the way, and each command has the reply to another one.

use serde_json::json;

use super::site;
use crate::flow::tests::MINUTE;
use crate::redis::Reply;

fn somebody_elses() -> Reply {
    Reply::Bulk(vec![7; 900])
}

#[test]
fn the_value_of_another_session_signs_nobody_out() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    // Also a second time at once: the value of this ticket opened in between.
    for _ in 0..2 {
        site.world.fake_redis().shift(somebody_elses());
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert_eq!(site.world.fake_redis().closed(), 1);
    }
    assert!(browser.who().is_some());
    assert_eq!(site.world.fake_redis().closed(), 0);
}

/// That there is no such session, is said of another one.
#[test]
fn a_nil_for_another_session_signs_nobody_out() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().shift(Reply::Nil);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    assert_eq!(site.world.fake_redis().closed(), 1);
}

#[test]
fn a_session_that_is_gone_costs_nobody_a_connection() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().restore(Default::default());
    site.world.fake_redis().seen();
    assert_eq!(browser.who(), None);
    assert_eq!(site.world.fake_redis().closed(), 0);
    assert_eq!(site.world.fake_redis().seen(), ["get", "echo", "get"]);
}

/// A key that somebody else wrote must not cost all others their connection whenever its browser asks.
#[test]
fn a_value_that_never_opens_closes_the_connection_once_a_minute() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().put(super::only_key(&site).as_bytes(), &[7; 900]);
    for closed in [1, 0, 0] {
        assert_eq!(browser.who(), None);
        assert_eq!(site.world.fake_redis().closed(), closed);
    }
    site.world.pass(MINUTE);
    assert_eq!(browser.who(), None);
    assert_eq!(site.world.fake_redis().closed(), 1);
}

#[test]
fn a_write_is_not_done_by_the_reply_to_something_else() {
    let site = site(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    // The callback asks first whether Redis answers, and has the reply to something before it.
    site.world.fake_redis().shift(Reply::Integer(1));
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert_eq!(site.world.fake_redis().closed(), 1);
    assert!(browser.who().is_some());
}
