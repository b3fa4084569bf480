//! Forged callbacks: how much one sign-in, and all of them together, may ask of the provider.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::StatusCode;
use serde_json::{Value, json};

use super::Site;
use super::browser::Browser;
use super::log::lines_of;
use super::world::World;
use crate::flow::io::Count;
use crate::flow::{Action, Io, Ready, Reply};

const SECOND: Duration = Duration::from_secs(1);

/// The answer to a callback; `None` if the browser does not wait for it.
type Asked = Pin<Box<dyn Future<Output = Option<Action>>>>;

fn with_redis() -> Value {
    json!({ "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com" })
}

/// The target at which a browser comes back with a code.
fn callback(login: &BTreeMap<String, String>, code: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("/oauth2/callback?code={}&state={}", encode(code), encode(&login["state"]))
}

/// A callback of this browser, which takes the answer or is gone after `patience`.
fn ask(world: &World, browser: &Browser, target: &str, patience: Duration) -> Asked {
    let Ready::Later(flow) = browser.app.handle(browser.head(target, &[])) else {
        panic!("nothing to wait for")
    };
    let world = world.clone();
    Box::pin(async move {
        let gone = pin!(world.sleep(patience));
        match select(flow, gone).await {
            Either::Left((decision, _)) => Some(decision.action),
            Either::Right(_) => None,
        }
    })
}

/// The same, after a delay.
fn ask_later(world: &World, browser: &Browser, target: &str, delay: Duration) -> Asked {
    let (clock, browser, target) = (world.clone(), browser.clone(), target.to_owned());
    Box::pin(async move {
        clock.sleep(delay).await;
        ask(&clock, &browser, &target, 60 * SECOND).await
    })
}

fn reply(decision: Option<Action>) -> Reply {
    match decision {
        Some(Action::Reply(reply)) => reply,
        other => panic!("no answer: {other:?}"),
    }
}

fn statuses(decisions: Vec<Option<Action>>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for decision in decisions {
        *counts.entry(reply(decision).status().as_u16()).or_default() += 1;
    }
    counts
}

fn code_grants(site: &Site) -> usize {
    site.provider.grants("authorization_code").len()
}

fn refuse_codes(site: &Site) {
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
}

#[test]
fn sign_in_may_try_only_a_few_codes() {
    for options in [json!({}), json!({ "cookie_csrf_per_request": true }), with_redis()] {
        let site = Site::new(options);
        refuse_codes(&site);
        let mut stranger = site.browser();
        let login = stranger.start("/");
        let replies: Vec<Reply> = (0..500)
            .map(|number| stranger.clone().reply(&callback(&login, &format!("guess-{number}")), &[]))
            .collect();
        assert_eq!(code_grants(&site), 5);
        assert_eq!(site.world.counted(Count::CallbackRefused), 495);
        // Redis was not asked in vain either.
        assert!(site.world.fake_redis().seen().len() <= 5);
        for reply in &replies {
            assert_eq!(reply.status(), StatusCode::FORBIDDEN);
            let page = String::from_utf8_lossy(reply.body());
            assert!(page.contains("This sign-in is already finished"), "{page}");
            assert!(reply.headers().contains_key("set-cookie"), "the sign-in is over for the browser too");
        }
        // A new sign-in of the same browser has its own attempts.
        site.provider.set_token_answer(None);
        assert_eq!(stranger.sign_in(&site.provider, "/").status(), StatusCode::FOUND);
    }
}

#[test]
fn sign_in_may_try_only_a_few_codes_at_once() {
    let site = Site::new(json!({}));
    refuse_codes(&site);
    let mut stranger = site.browser();
    let login = stranger.start("/");
    site.provider.set_delay(SECOND);
    let asked = (0..500)
        .map(|number| ask(&site.world, &stranger, &callback(&login, &format!("{number}")), 60 * SECOND));
    assert_eq!(statuses(site.world.run(asked.collect())), BTreeMap::from([(403, 500)]));
    assert_eq!(code_grants(&site), 5);
}

#[test]
fn outage_does_not_count_as_a_tried_code() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    for answer in
        [(500, json!({})), (503, json!({ "error": "invalid_grant" })), (429, json!({})), (408, json!({}))]
            .into_iter()
            .chain([(400, json!({ "error": "temporarily_unavailable" }))])
    {
        site.provider.set_token_answer(Some(answer));
        for _ in 0..4 {
            assert_eq!(browser.come_back(&site.provider, &login).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    site.provider.set_token_answer(None);
    site.provider.set_delay(6 * SECOND);
    for _ in 0..10 {
        assert_eq!(browser.come_back(&site.provider, &login).status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    site.provider.set_delay(Duration::ZERO);
    site.provider.set_down(true);
    for _ in 0..10 {
        assert_eq!(browser.come_back(&site.provider, &login).status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    site.provider.set_down(false);
    assert_eq!(browser.come_back(&site.provider, &login).status(), StatusCode::FOUND);
}

/// Browsers that have begun a sign-in each, at a site without nonces.
fn begun(site: &Site, count: usize) -> Vec<(Browser, String)> {
    (0..count)
        .map(|number| {
            let mut browser = site.browser();
            let login = browser.start("/");
            (browser, callback(&login, &format!("code-{number}")))
        })
        .collect()
}

#[test]
fn codes_are_redeemed_a_few_at_a_time_in_order() {
    let site = Site::new(json!({ "insecure_oidc_skip_nonce": true }));
    let browsers = begun(&site, 100);
    site.provider.set_code_delay(Duration::from_millis(100));
    let asked = browsers.iter().map(|(browser, target)| ask(&site.world, browser, target, 60 * SECOND));
    assert_eq!(statuses(site.world.run(asked.collect())), BTreeMap::from([(302, 100)]));
    assert_eq!(site.provider.most_at_once("authorization_code"), 8);
    let codes: Vec<String> = site
        .provider
        .grants("authorization_code")
        .iter()
        .map(|body| {
            form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "code").unwrap().1.into_owned()
        })
        .collect();
    assert_eq!(codes, (0..100).map(|number| format!("code-{number}")).collect::<Vec<_>>());
}

#[test]
fn callback_without_a_place_can_be_repeated() {
    let site = Site::new(json!({ "insecure_oidc_skip_nonce": true }));
    let browsers = begun(&site, 600);
    site.provider.set_code_delay(4 * SECOND);
    let asked = browsers.iter().map(|(browser, target)| ask(&site.world, browser, target, 60 * SECOND));
    let decisions = site.world.run(asked.collect());
    let mut turned_away = Vec::new();
    for (decision, (browser, target)) in decisions.into_iter().zip(browsers) {
        let answer = reply(decision);
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer.headers().contains_key("retry-after"));
            assert!(!answer.headers().contains_key("set-cookie"), "the sign-in goes on");
            turned_away.push((browser, target));
        }
    }
    // The first eight, and the next eight after them.
    assert_eq!(turned_away.len(), 600 - 16);
    assert_eq!(site.world.counted(Count::CodesBusy), 600 - 16);
    assert_eq!(code_grants(&site), 16, "no code of a refused browser was used up");
    site.provider.set_code_delay(Duration::ZERO);
    for (mut browser, target) in turned_away {
        assert_eq!(browser.reply(&target, &[]).status(), StatusCode::FOUND);
    }
}

#[test]
fn many_callbacks_do_not_block_refreshes() {
    for store in [json!({}), with_redis()] {
        let mut options = json!({ "cookie_refresh": "10m", "insecure_oidc_skip_nonce": true });
        options.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
        let site = Site::new(options);
        let person = site.signed_in();
        site.world.pass(11 * super::MINUTE);
        // What envoy-config/envoy.yaml lets through to the provider.
        site.provider.set_limit(64);
        site.provider.set_code_delay(60 * SECOND);
        let strangers = begun(&site, 400);
        let asked = strangers.iter().map(|(browser, target)| ask(&site.world, browser, target, 60 * SECOND));
        let mut asked: Vec<Asked> = asked.collect();
        asked.push(ask_later(&site.world, &person, "/", SECOND));
        let person = site.world.run(asked).pop().unwrap();
        assert!(matches!(person, Some(Action::Forward(_))), "{person:?}");
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
        assert_eq!(site.world.counted(Count::Refresh), 1);
        // A moment later the other browsers are gone, and a user signs in.
        site.provider.set_code_delay(Duration::ZERO);
        site.signed_in();
    }
}

#[test]
fn browser_that_leaves_the_line_frees_its_place() {
    let site = Site::new(json!({ "insecure_oidc_skip_nonce": true }));
    let mut browsers = begun(&site, 8 + 1000 + 1);
    site.provider.set_code_delay(4 * SECOND);
    let (person, target) = browsers.pop().unwrap();
    let asked = browsers.iter().enumerate().map(|(number, (browser, target))| {
        ask(&site.world, browser, target, if number < 8 { 60 * SECOND } else { SECOND })
    });
    let mut asked: Vec<Asked> = asked.collect();
    asked.push(ask_later(&site.world, &person, &target, 2 * SECOND));
    let answer = reply(site.world.run(asked).pop().unwrap());
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(code_grants(&site), 9);
}

#[test]
fn repeated_callback_gets_result_of_its_code() {
    for options in [json!({}), json!({ "cookie_csrf_per_request": true }), with_redis()] {
        let site = Site::new(options);
        let mut browser = site.browser();
        let login = browser.start("/page");
        site.provider.set_nonce(&login["nonce"]);
        site.provider.set_code_delay(3 * SECOND);
        let target = callback(&login, "code");
        let reloads = vec![
            ask(&site.world, &browser, &target, SECOND),
            ask_later(&site.world, &browser, &target, SECOND + SECOND / 2),
            ask_later(&site.world, &browser, &target, 2 * SECOND),
        ];
        let mut decisions = site.world.run(reloads);
        assert_eq!(code_grants(&site), 1, "a code works once");
        for decision in decisions.drain(1..) {
            browser.keep_cookies(decision.as_ref().unwrap());
            let answer = reply(decision);
            assert_eq!(
                (answer.status(), &answer.headers()["location"]),
                (StatusCode::FOUND, &"/page".parse().unwrap())
            );
        }
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert!(site.world.fake_redis().keys().len() <= 1, "it is one session");
    }
}

#[test]
fn session_without_waiting_browser_is_not_stored() {
    let site = Site::new(with_redis());
    let mut browser = site.signed_in();
    let before = site.world.fake_redis().keys();
    let login = browser.start("/");
    site.provider.set_nonce(&login["nonce"]);
    site.provider.set_code_delay(3 * SECOND);
    site.world.run(vec![ask(&site.world, &browser, &callback(&login, "code"), SECOND)]);
    assert_eq!(code_grants(&site), 2);
    assert_eq!(site.world.fake_redis().keys(), before);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"), "the session before goes on");
}

#[test]
fn other_browser_gets_no_result_of_the_code() {
    let site = Site::new(json!({}));
    let mut victim = site.browser();
    let login = victim.start("/");
    site.provider.set_nonce(&login["nonce"]);
    site.provider.set_code_delay(3 * SECOND);
    let mut stranger = site.browser();
    stranger.start("/");
    let target = callback(&login, "code");
    let asked = vec![
        ask(&site.world, &victim, &target, 60 * SECOND),
        ask_later(&site.world, &stranger, &target, SECOND),
    ];
    let statuses: Vec<u16> =
        site.world.run(asked).into_iter().map(|decision| reply(decision).status().as_u16()).collect();
    assert_eq!(statuses, [302, 403]);
}

#[test]
fn refreshes_run_a_few_at_a_time() {
    let site = Site::new(json!({ "cookie_refresh": "10m" }));
    let mut people: Vec<Browser> = (0..60)
        .map(|_| {
            site.world.pass(SECOND);
            site.signed_in()
        })
        .collect();
    site.world.pass(11 * super::MINUTE);
    site.provider.set_delay(SECOND);
    let asked = people.iter().map(|browser| ask(&site.world, browser, "/", 60 * SECOND));
    for (decision, browser) in site.world.run(asked.collect()).into_iter().zip(&mut people) {
        let decision = decision.unwrap();
        assert!(matches!(decision, Action::Forward(_)), "{decision:?}");
        browser.keep_cookies(&decision);
    }
    assert_eq!(site.provider.most_at_once("refresh_token"), 8);
    assert_eq!(site.world.counted(Count::RefreshFailed), site.world.counted(Count::RefreshesBusy));
    // A session that was not refreshed is refreshed by a later request.
    site.provider.set_delay(Duration::ZERO);
    site.world.pass(10 * SECOND);
    for browser in &mut people {
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    }
    assert_eq!(site.world.counted(Count::Refresh), 60);
}

#[test]
fn backend_logouts_run_a_few_at_a_time() {
    let issuer = crate::oidc::tests::vectors::ISSUER;
    let site = Site::new(json!({ "backend_logout_url": format!("{issuer}/logout?id_token={{id_token}}") }));
    let browser = site.signed_in();
    site.provider.set_delay(SECOND);
    let asked = (0..500).map(|_| ask(&site.world, &browser, "/oauth2/sign_out", 60 * SECOND));
    let lines = lines_of(|| {
        let answers = statuses(site.world.run(asked.collect()));
        assert_eq!(answers, BTreeMap::from([(200, 500)]));
        site.world.drain();
    });
    assert_eq!(site.provider.most_at_once("/logout"), 8);
    assert!(lines.len() < 50, "{}", lines.len());
}

#[test]
fn failed_callbacks_do_not_fill_the_log() {
    let site = Site::new(json!({}));
    let targets = [
        "/oauth2/callback",
        "/oauth2/callback?state=a:b&code=c",
        "/oauth2/callback?error=access_denied",
        "/oauth2/callback?error=made-up",
    ];
    let references = |replies: &[Reply]| {
        replies.iter().filter(|reply| String::from_utf8_lossy(reply.body()).contains("<code>")).count()
    };
    let mut replies = Vec::new();
    let lines = lines_of(|| {
        for target in targets.iter().cycle().take(1000) {
            replies.push(site.browser().reply(target, &[]));
        }
    });
    assert_eq!(lines.len(), 10);
    assert_eq!(references(&replies), 10, "a reference on a page is one that the log has");
    site.world.pass(SECOND);
    let lines = lines_of(|| {
        site.browser().reply(targets[0], &[]);
    });
    assert!(lines[0].ends_with("(990 similar lines were left out before)"), "{lines:?}");
    site.provider.set_token_answer(Some((503, json!({}))));
    let lines = lines_of(|| {
        for (mut browser, target) in begun(&site, 100) {
            assert_eq!(browser.reply(&target, &[]).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    });
    assert_eq!(lines.len(), 10);
    site.provider.set_token_answer(None);
    // A failure that the operator has to look into is logged all the same.
    site.provider.set_claim("iss", json!("https://evil.example.com"));
    let lines = lines_of(|| {
        assert_eq!(site.browser().sign_in(&site.provider, "/").status(), StatusCode::BAD_GATEWAY);
    });
    assert_eq!(lines.len(), 1);
}
