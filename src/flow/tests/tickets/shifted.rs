//! Bytes were lost on the connection, so each command gets the reply to another one.

use serde_json::json;

use super::site;
use crate::flow::tests::MINUTE;
use crate::redis::Reply;

fn other_session() -> Reply {
    Reply::Bulk(vec![7; 900])
}

#[test]
fn value_of_another_session_keeps_user_signed_in() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    // Also a second time at once, because this ticket's value did decrypt in between.
    for _ in 0..2 {
        site.world.fake_redis().shift(other_session());
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert_eq!(site.world.fake_redis().closed(), 1);
    }
    assert!(browser.who().is_some());
    assert_eq!(site.world.fake_redis().closed(), 0);
}

/// The nil is the reply for another session.
#[test]
fn nil_for_another_session_keeps_user_signed_in() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().shift(Reply::Nil);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    assert_eq!(site.world.fake_redis().closed(), 1);
}

#[test]
fn missing_session_closes_no_connection() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().restore(Default::default());
    site.world.fake_redis().seen();
    assert_eq!(browser.who(), None);
    assert_eq!(site.world.fake_redis().closed(), 0);
    assert_eq!(site.world.fake_redis().seen(), ["get", "echo", "get"]);
}

/// Each request for a key that another application wrote must not close the connection of all others.
#[test]
fn undecryptable_value_closes_connection_once_a_minute() {
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
fn shifted_reply_does_not_confirm_write() {
    let site = site(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    // The callback sends `PING` first, and gets the reply to an earlier command.
    site.world.fake_redis().shift(Reply::Integer(1));
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert_eq!(site.world.fake_redis().closed(), 1);
    assert!(browser.who().is_some());
}
