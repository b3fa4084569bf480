//! `/oauth2/sessions` and `/oauth2/sign_out_everywhere`: what a user and an administrator see and can end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COOKIE, proxy, site};
use crate::flow::tests::browser::Browser;
use crate::flow::tests::{MINUTE, Site};
use crate::flow::{Io, Reply};
use crate::oidc::tests::vectors::ISSUER;

const POST: (&str, &str) = (":method", "POST");
const HERE: (&str, &str) = ("sec-fetch-site", "same-origin");
const JSON: (&str, &str) = ("accept", "application/json");
const PAGE: (&str, &str) = ("accept", "text/html");

fn indexed(options: Value) -> Site {
    let mut all = json!({ "redis_session_index": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    site(all)
}

/// A browser in which this user signs in, with these groups.
fn signed_in(site: &Site, subject: &str, groups: &[&str]) -> Browser {
    site.provider.set_claim("sub", json!(subject));
    site.provider.set_claim("groups", json!(groups));
    site.signed_in()
}

/// An administrator, and two browsers of Alice.
fn with_admin() -> (Site, Browser, [Browser; 2]) {
    let site = indexed(json!({ "admin_groups": ["operators"] }));
    let admin = signed_in(&site, "root", &["staff", "operators"]);
    let alice = [(); 2].map(|()| signed_in(&site, "alice", &["staff"]));
    (site, admin, alice)
}

fn json(reply: &Reply) -> Value {
    assert_eq!(reply.headers()["content-type"], "application/json");
    serde_json::from_slice(reply.body()).unwrap()
}

fn list(browser: &mut Browser, query: &str) -> Vec<Value> {
    let reply = browser.reply(&format!("/oauth2/sessions{query}"), &[JSON]);
    assert_eq!(reply.status(), 200);
    json(&reply)["sessions"].as_array().unwrap().clone()
}

fn body(reply: &Reply) -> String {
    String::from_utf8(reply.body().clone()).unwrap()
}

/// The targets of a page's forms, as a browser reads them.
fn actions(reply: &Reply) -> Vec<String> {
    let html = body(reply);
    let forms = html.split("action=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    forms.map(|target| target.replace("&#38;", "&").replace("&amp;", "&")).collect()
}

#[test]
fn user_sees_own_sessions_this_one_first_then_the_newest() {
    let site = indexed(json!({}));
    let sign_in = || {
        let browser = signed_in(&site, "alice", &[]);
        let began = site.world.now();
        site.world.pass(MINUTE);
        (browser, began)
    };
    let [(_, oldest), (mut browser, own), (_, newest)] = [(); 3].map(|()| sign_in());
    signed_in(&site, "bob", &[]);
    let sessions = list(&mut browser, "");
    let times: Vec<&Value> = sessions.iter().map(|session| &session["signed_in_at"]).collect();
    assert_eq!(times, [own, newest, oldest].map(|began| json!(began.to_string())).each_ref());
    let current: Vec<bool> = sessions.iter().map(|session| session["current"] == true).collect();
    assert_eq!(current, [true, false, false]);
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    assert_eq!(sessions[1]["expires_at"], newest.after(week).to_string());
    let id = sessions[0]["id"].as_str().unwrap();
    assert!(id.len() == 16 && !site.world.fake_redis().keys().iter().any(|key| key.contains(id)));
}

/// A redirect through the provider can take less than a second, and Redis returns a hash in any order.
#[test]
fn sessions_of_the_same_second_are_listed_this_one_first_and_in_the_same_order_each_time() {
    let site = indexed(json!({}));
    for mut browser in [(); 8].map(|()| signed_in(&site, "alice", &[])) {
        let sessions = list(&mut browser, "");
        assert_eq!(sessions[0]["current"], true);
        assert_eq!(sessions, list(&mut browser, ""));
    }
}

#[test]
fn last_use_is_what_the_idle_timeout_has_written() {
    let site = indexed(json!({ "session_idle_timeout": "1h" }));
    let mut other = signed_in(&site, "alice", &[]);
    site.world.pass(10 * MINUTE);
    let mut browser = signed_in(&site, "alice", &[]);
    site.world.pass(10 * MINUTE);
    assert!(other.who().is_some());
    site.world.drain();
    let used = site.world.now().to_string();
    site.world.pass(5 * MINUTE);
    let sessions = list(&mut browser, "");
    assert_eq!(sessions[1]["last_used_at"], used);
    assert_ne!(sessions[1]["signed_in_at"], used);
    let page = browser.reply("/oauth2/sessions", &[PAGE]);
    assert_eq!(body(&page).matches("Last used").count(), 2);
}

#[test]
fn page_has_a_button_for_each_session_and_one_for_all() {
    let site = indexed(json!({}));
    signed_in(&site, "alice", &[]);
    let mut browser = signed_in(&site, "alice", &[]);
    let page = browser.reply("/oauth2/sessions", &[PAGE]);
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("form-action 'self'"));
    let actions = actions(&page);
    assert_eq!(actions.len(), 3, "{actions:?}");
    let ticket = browser.cookies[COOKIE].split('.').next().unwrap().to_owned();
    assert!(!body(&page).contains(&ticket) && !body(&page).contains("_oauth2_proxy-"));
    assert_eq!(body(&page).matches("This session").count(), 1);
}

#[test]
fn session_is_ended_by_its_button() {
    for origin in [HERE, ("origin", "https://app.example.com"), ("origin", "null"), ("x-nothing", "")] {
        let site = indexed(json!({}));
        let mut other = signed_in(&site, "alice", &[]);
        site.world.pass(MINUTE);
        let mut browser = signed_in(&site, "alice", &[]);
        let page = browser.reply("/oauth2/sessions", &[PAGE]);
        let answer = browser.reply(&actions(&page)[1], &[POST, PAGE, origin]);
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["location"]),
            (303, &"/oauth2/sessions".parse().unwrap())
        );
        assert_eq!(other.who(), None, "{origin:?}");
        assert!(browser.who().is_some());
        assert_eq!(list(&mut browser, "").len(), 1);
    }
}

#[test]
fn own_session_is_ended_like_a_sign_out() {
    let site = indexed(json!({}));
    let mut other = signed_in(&site, "alice", &[]);
    let mut browser = signed_in(&site, "alice", &[]);
    let sessions = list(&mut browser, "");
    let own = sessions.iter().find(|session| session["current"] == true).unwrap()["id"].as_str().unwrap();
    let answer = browser.reply(&format!("/oauth2/sessions?end={own}"), &[POST, PAGE, HERE]);
    assert!(body(&answer).contains("You are signed out"));
    assert!(!browser.has_session() && other.who().is_some());
}

#[test]
fn sign_out_everywhere_ends_all_sessions_of_user() {
    let site = indexed(json!({}));
    let mut bob = signed_in(&site, "bob", &[]);
    let mut others = [(); 3].map(|()| signed_in(&site, "alice", &[]));
    let mut browser = signed_in(&site, "alice", &[]);
    let answer = browser.reply("/oauth2/sign_out_everywhere", &[POST, JSON, HERE]);
    assert_eq!((answer.status().as_u16(), json(&answer)), (200, json!({ "ended": 4 })));
    assert!(!browser.has_session() && others.iter_mut().all(|other| other.who().is_none()));
    assert!(bob.who().is_some());
}

/// A site that tells its provider of a sign-out in both ways.
fn with_provider_sign_out() -> Site {
    let site = indexed(json!({
        "provider_sign_out": true,
        "backend_logout_url": "https://login.example.com/logout?hint={id_token}",
        "admin_groups": ["operators"],
    }));
    site.provider.set_metadata("end_session_endpoint", json!("https://login.example.com/end"));
    site
}

/// How often the provider was told of a sign-out by `backend_logout_url`.
fn told(site: &Site) -> usize {
    site.world.drain();
    site.provider.calls("/logout")
}

#[test]
fn end_of_own_session_goes_on_to_the_provider() {
    for target in ["/oauth2/sign_out_everywhere", "/oauth2/sessions?end="] {
        let site = with_provider_sign_out();
        let mut browser = signed_in(&site, "alice", &[]);
        let id = list(&mut browser, "")[0]["id"].as_str().unwrap().to_owned();
        let target = if target.ends_with('=') { format!("{target}{id}") } else { target.to_owned() };
        let answer = browser.reply(&target, &[POST, PAGE, HERE]);
        let location = answer.headers()["location"].to_str().unwrap();
        assert_eq!((answer.status().as_u16(), answer.details()), (302, "sessions_ended"), "{target}");
        assert!(location.starts_with("https://login.example.com/end?id_token_hint="), "{location}");
        assert!(!browser.has_session());
        assert_eq!(told(&site), 1, "{target}");
    }
}

#[test]
fn program_that_signs_out_everywhere_gets_json_and_the_provider_is_told() {
    let site = with_provider_sign_out();
    let mut browser = signed_in(&site, "alice", &[]);
    let answer = browser.reply("/oauth2/sign_out_everywhere", &[POST, JSON, HERE]);
    assert_eq!((answer.status().as_u16(), json(&answer)), (200, json!({ "ended": 1 })));
    assert_eq!(told(&site), 1);
}

#[test]
fn end_of_other_sessions_leaves_the_browser_here() {
    let site = with_provider_sign_out();
    let mut other = signed_in(&site, "alice", &[]);
    site.world.pass(MINUTE);
    let mut browser = signed_in(&site, "alice", &[]);
    let id = list(&mut browser, "")[1]["id"].as_str().unwrap().to_owned();
    let answer = browser.reply(&format!("/oauth2/sessions?end={id}"), &[POST, PAGE, HERE]);
    assert_eq!(answer.headers()["location"], "/oauth2/sessions");
    assert_eq!(other.who(), None);
    let mut admin = signed_in(&site, "root", &["operators"]);
    let answer = admin.reply("/oauth2/sign_out_everywhere?user=alice", &[POST, PAGE, HERE]);
    assert_eq!(answer.status(), 303);
    assert_eq!(browser.who(), None);
    assert_eq!(told(&site), 0);
}

#[test]
fn page_lets_its_forms_leave_only_with_provider_sign_out() {
    for (site, expected) in [
        (indexed(json!({})), "form-action 'self';"),
        (with_provider_sign_out(), "form-action 'self' https: http:;"),
    ] {
        let page = signed_in(&site, "alice", &[]).reply("/oauth2/sessions", &[PAGE]);
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains(expected), "{policy}");
    }
}

#[test]
fn own_session_without_entry_ends_too() {
    let before = site(json!({}));
    let mut browser = before.signed_in();
    let site = Site { config: indexed(json!({})).config, ..before };
    browser.app = proxy(&site);
    let mut copy = browser.clone();
    site.world.fake_redis().refuse("EVAL", "OOM command not allowed when used memory > 'maxmemory'.");
    assert!(copy.who().is_some());
    site.world.drain();
    site.world.fake_redis().refuse_nothing();
    assert_eq!(browser.reply("/oauth2/sign_out_everywhere", &[POST, PAGE, HERE]).status(), 200);
    assert_eq!(copy.who(), None);
}

#[test]
fn administrators_own_session_without_entry_ends_too() {
    let before = site(json!({}));
    let mut admin = signed_in(&before, "root", &["operators"]);
    let site = Site { config: indexed(json!({ "admin_groups": ["operators"] })).config, ..before };
    admin.app = proxy(&site);
    let mut copy = admin.clone();
    site.world.fake_redis().refuse("EVAL", "OOM command not allowed when used memory > 'maxmemory'.");
    assert!(copy.who().is_some());
    site.world.drain();
    site.world.fake_redis().refuse_nothing();
    let answer = admin.reply("/oauth2/sign_out_everywhere?user=root", &[POST, PAGE, HERE]);
    assert_eq!(answer.status(), 200);
    assert_eq!(copy.who(), None);
}

#[test]
fn request_of_another_site_ends_nothing() {
    let site = indexed(json!({}));
    let mut browser = signed_in(&site, "alice", &[]);
    let id = list(&mut browser, "")[0]["id"].as_str().unwrap().to_owned();
    let page = browser.reply("/oauth2/sessions", &[PAGE]);
    let with_token = actions(&page).pop().unwrap();
    for target in [&format!("/oauth2/sessions?end={id}"), "/oauth2/sign_out_everywhere", with_token.as_str()]
    {
        for origin in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
        ] {
            let answer = browser.reply(target, &[POST, PAGE, origin]);
            assert_eq!((answer.status().as_u16(), answer.details()), (403, "csrf"), "{target} {origin:?}");
        }
    }
    for target in [&format!("/oauth2/sessions?end={id}"), "/oauth2/sign_out_everywhere?csrf=1.x"] {
        assert_eq!(browser.reply(target, &[POST, PAGE]).status(), 403, "{target}");
    }
    assert_eq!(browser.reply("/oauth2/sign_out_everywhere", &[PAGE, HERE]).status(), 405);
    assert!(browser.who().is_some());
}

#[test]
fn token_of_another_session_ends_nothing() {
    let site = indexed(json!({}));
    let mut mallory = signed_in(&site, "mallory", &[]);
    let mut browser = signed_in(&site, "alice", &[]);
    let page = mallory.reply("/oauth2/sessions", &[PAGE]);
    assert_eq!(browser.reply(&actions(&page).pop().unwrap(), &[POST, PAGE]).status(), 403);
    assert!(browser.who().is_some());
}

#[test]
fn name_of_another_users_session_ends_nothing() {
    let site = indexed(json!({}));
    let mut browser = signed_in(&site, "alice", &[]);
    let id = list(&mut browser, "")[0]["id"].as_str().unwrap().to_owned();
    let mut mallory = signed_in(&site, "mallory", &[]);
    for id in [id.as_str(), "", "x", "0000000000000000"] {
        let answer = mallory.reply(&format!("/oauth2/sessions?end={id}"), &[POST, JSON, HERE]);
        assert_eq!((answer.status().as_u16(), json(&answer)), (200, json!({ "ended": 0 })));
    }
    assert!(browser.who().is_some());
}

#[test]
fn signed_out_page_signs_out_everywhere_for_two_minutes() {
    for (after, ends) in [(0, true), (119, true), (121, false)] {
        let site = indexed(json!({}));
        let mut other = signed_in(&site, "alice", &[]);
        let mut browser = signed_in(&site, "alice", &[]);
        let page = browser.reply("/oauth2/sign_out", &[PAGE]);
        assert!(other.who().is_some());
        let [target] = actions(&page).try_into().unwrap();
        assert!(!target.contains("alice"));
        site.world.pass(Duration::from_secs(after));
        assert_eq!(browser.reply(&target, &[PAGE]).status(), 405);
        let answer = browser.reply(&target, &[POST, PAGE]);
        assert_eq!(answer.status(), if ends { 200 } else { 403 });
        assert_eq!(other.who().is_none(), ends, "{after}");
    }
}

#[test]
fn token_of_signed_out_page_is_refused_from_another_site() {
    let site = indexed(json!({}));
    let mut other = signed_in(&site, "alice", &[]);
    let mut browser = signed_in(&site, "alice", &[]);
    let [target] = actions(&browser.reply("/oauth2/sign_out", &[PAGE])).try_into().unwrap();
    for origin in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let answer = browser.reply(&target, &[POST, PAGE, origin]);
        assert_eq!((answer.status().as_u16(), answer.details()), (403, "csrf"), "{origin:?}");
    }
    assert!(other.who().is_some());
    assert_eq!(browser.reply(&target, &[POST, PAGE, HERE]).status(), 200);
    assert!(other.who().is_none());
}

#[test]
fn signed_out_page_without_index_or_session_has_no_button() {
    let plain = site(json!({}));
    assert!(actions(&plain.signed_in().reply("/oauth2/sign_out", &[PAGE])).is_empty());
    let site = indexed(json!({}));
    assert!(actions(&site.browser().reply("/oauth2/sign_out", &[PAGE])).is_empty());
}

#[test]
fn administrator_sees_and_ends_sessions_of_a_user() {
    let (_site, mut admin, mut alice) = with_admin();
    let sessions = list(&mut admin, "?user=alice");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().all(|session| session["current"] == false));
    assert_eq!(list(&mut admin, "?user=alice&issuer=https%3A%2F%2Fother.example").len(), 0);
    let issuer: String = form_urlencoded::byte_serialize(ISSUER.as_bytes()).collect();
    assert_eq!(list(&mut admin, &format!("?user=alice&issuer={issuer}")).len(), 2);
    let page = admin.reply("/oauth2/sessions?user=alice", &[PAGE]);
    let actions = actions(&page);
    let answer = admin.reply(&actions[0], &[POST, PAGE]);
    assert_eq!(answer.status(), 303);
    assert!(
        answer.headers()["location"].to_str().unwrap().starts_with("/oauth2/sessions?user=alice&issuer=")
    );
    assert_eq!(alice.iter_mut().filter_map(Browser::who).count(), 1);
    assert_eq!(admin.reply(&actions[2], &[POST, JSON, HERE]).status(), 200);
    assert!(alice.iter_mut().all(|browser| browser.who().is_none()));
    assert!(admin.who().is_some());
}

#[test]
fn administrator_signs_user_out_everywhere() {
    let (_site, mut admin, mut alice) = with_admin();
    let answer = admin.reply("/oauth2/sign_out_everywhere?user=alice", &[POST, JSON, HERE]);
    assert_eq!(json(&answer), json!({ "ended": 2 }));
    assert!(alice.iter_mut().all(|browser| browser.who().is_none()) && admin.who().is_some());
}

#[test]
fn other_users_are_no_administrators() {
    let (_site, mut admin, mut alice) = with_admin();
    let [browser, other] = &mut alice;
    for subject in ["root", "alice", ""] {
        for (target, headers) in [
            (format!("/oauth2/sessions?user={subject}"), vec![JSON]),
            (format!("/oauth2/sessions?user={subject}&end=x"), vec![POST, JSON, HERE]),
            (format!("/oauth2/sign_out_everywhere?user={subject}"), vec![POST, JSON, HERE]),
        ] {
            let answer = browser.reply(&target, &headers);
            assert_eq!((answer.status().as_u16(), answer.details()), (403, "forbidden"), "{target}");
        }
    }
    assert!(browser.who().is_some() && other.who().is_some() && admin.who().is_some());
    assert_eq!(body(&browser.reply("/oauth2/sessions", &[PAGE])).matches("<input").count(), 0);
    assert_eq!(body(&admin.reply("/oauth2/sessions", &[PAGE])).matches("<input").count(), 1);
}

#[test]
fn visitor_without_session_is_asked_to_sign_in() {
    let site = indexed(json!({}));
    let mut browser = site.browser();
    let page = browser.reply("/oauth2/sessions", &[PAGE]);
    assert_eq!(page.status(), 401);
    assert!(body(&page).contains("/oauth2/start?rd=%2Foauth2%2Fsessions"));
    for (target, headers) in [
        ("/oauth2/sessions", vec![JSON]),
        ("/oauth2/sessions?user=alice", vec![JSON]),
        ("/oauth2/sessions?end=x", vec![POST, JSON, HERE]),
        ("/oauth2/sign_out_everywhere", vec![POST, JSON, HERE]),
    ] {
        assert_eq!(browser.reply(target, &headers).status(), 401, "{target}");
    }
    assert_eq!(browser.reply("/oauth2/sign_out_everywhere?token=x", &[POST, JSON]).status(), 403);
}

#[test]
fn without_option_there_are_no_such_endpoints() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    for (target, method) in [("/oauth2/sessions", "GET"), ("/oauth2/sign_out_everywhere", "POST")] {
        browser.forward(target, &[(":method", method)]);
    }
}

#[test]
fn outage_is_503_and_leaves_user_signed_in() {
    let site = indexed(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    for (target, headers) in
        [("/oauth2/sessions", vec![JSON]), ("/oauth2/sign_out_everywhere", vec![POST, PAGE, HERE])]
    {
        let answer = browser.reply(target, &headers);
        assert_eq!((answer.status().as_u16(), answer.details()), (503, "redis_unavailable"), "{target}");
    }
    site.world.fake_redis().set_down(false);
    site.world.fake_redis().refuse("HGETALL", "NOPERM x");
    let answer = browser.reply("/oauth2/sessions", &[PAGE]);
    assert_eq!((answer.status().as_u16(), answer.details()), (503, "no_session_index"));
    let answer = browser.reply("/oauth2/sign_out_everywhere", &[POST, JSON, HERE]);
    assert_eq!((answer.status().as_u16(), answer.details()), (503, "no_session_index"));
    assert!(browser.has_session() && browser.who().is_some());
}
