//! Secrets that come over the bridge: missing, malformed, changed, and refused by the provider.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::browser::Browser;
use super::provider::Provider;
use super::world::World;
use super::{App, CLIENT, Config, ISSUED, ISSUER, MINUTE};
use crate::flow::io::{CallFailed, Count};
use crate::redis::{Credentials, Servers};
use crate::time::Timestamp;

const FIRST: &str = "0123456789abcdef0123456789abcdef";
const SECOND: &str = "fedcba9876543210fedcba9876543210";

/// What the bridge answers, by option; 404 for all others.
type Files = Rc<RefCell<HashMap<&'static str, (u16, &'static str)>>>;

struct Fleet {
    world: World,
    app: Rc<App<World>>,
    provider: Provider,
    files: Files,
}

impl Fleet {
    fn new(options: &Value) -> Self {
        let mut all = json!({
            "secrets_from": "bridge", "oidc_issuer_url": ISSUER, "client_id": CLIENT, "email_domains": ["*"],
            "skip_provider_button": true, "cookie_refresh": "10m",
        });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let config = Config::parse(all.to_string().as_bytes(), &[]).unwrap();
        let world = World::new(Timestamp::from_secs(ISSUED));
        let provider = Provider::new(&world);
        let files = Files::default();
        let (bridge, answering) = (Rc::clone(&files), provider.clone());
        world.network(move |request| match request.uri().path().strip_prefix("/oauth2_session.Secret/") {
            Some(option) => {
                let answer = bridge.borrow().get(option).copied().unwrap_or((404, ""));
                let response = Response::builder().status(answer.0).body(answer.1.as_bytes().to_vec());
                (Duration::ZERO, if answer.0 == 0 { Err(CallFailed) } else { Ok(response.unwrap()) })
            }
            None => answering.answer(request),
        });
        let app = App::new(config, world.clone());
        Self { world, app, provider, files }
    }

    /// A fleet whose bridge has both secrets.
    fn ready() -> Self {
        let fleet = Self::new(&json!({}));
        fleet.set("cookie_secret", 200, FIRST);
        fleet.set("client_secret", 200, "first");
        fleet
    }

    /// What the bridge answers from now on.
    fn set(&self, option: &'static str, status: u16, body: &'static str) {
        self.files.borrow_mut().insert(option, (status, body));
    }

    /// The same, and the filter has asked.
    fn change(&self, option: &'static str, status: u16, body: &'static str) {
        self.set(option, status, body);
        self.world.repeat();
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.world, &self.app)
    }

    fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        assert_eq!(browser.sign_in(&self.provider, "/").status(), StatusCode::FOUND);
        browser
    }

    fn ready_status(&self) -> StatusCode {
        self.browser().reply("/ready", &[]).status()
    }
}

fn is_alice(browser: &mut Browser) -> bool {
    browser.who().as_deref() == Some("alice@example.com")
}

#[test]
fn missing_secret_at_the_start_is_503_until_it_is_there() {
    for (status, body) in [(401, ""), (404, ""), (422, ""), (503, ""), (0, ""), (200, "too short"), (200, "")]
    {
        let fleet = Fleet::ready();
        fleet.set("cookie_secret", status, body);
        for path in ["/", "/ready", "/oauth2/start", "/oauth2/auth"] {
            let status = fleet.browser().reply(path, &[]).status();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        assert_eq!(fleet.browser().reply("/ping", &[]).status(), StatusCode::OK);
        fleet.change("cookie_secret", 200, FIRST);
        assert_eq!(fleet.ready_status(), StatusCode::OK);
        assert!(is_alice(&mut fleet.signed_in()));
    }
}

#[test]
fn missing_client_secret_is_503_but_without_a_route_the_client_is_public() {
    let fleet = Fleet::ready();
    fleet.set("client_secret", 401, "");
    assert_eq!(fleet.ready_status(), StatusCode::SERVICE_UNAVAILABLE);
    fleet.change("client_secret", 404, "");
    assert_eq!(fleet.ready_status(), StatusCode::OK);
    fleet.signed_in();
    assert!(!fleet.provider.grants("authorization_code")[0].contains("client_secret"));
}

#[test]
fn confidential_client_without_a_route_for_its_secret_is_503() {
    let fleet = Fleet::new(&json!({ "code_challenge_method": "" }));
    fleet.set("cookie_secret", 200, FIRST);
    assert_eq!(fleet.ready_status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn missing_or_malformed_secret_after_a_change_keeps_the_last_good_one() {
    for (status, body) in [(401, ""), (404, ""), (422, ""), (0, ""), (200, "too short")] {
        let fleet = Fleet::ready();
        let mut browser = fleet.signed_in();
        fleet.change("cookie_secret", status, body);
        fleet.change("cookie_secret", status, body);
        assert!(is_alice(&mut browser));
        assert_eq!(fleet.ready_status(), StatusCode::OK);
        assert!(is_alice(&mut fleet.signed_in()));
        assert_eq!(fleet.world.counted(Count::SecretUnusable), 2);
        assert_eq!(fleet.world.counted(Count::SecretChanged), 0);
    }
}

#[test]
fn changed_cookie_secret_is_used_from_the_next_question_on() {
    let fleet = Fleet::ready();
    let mut browser = fleet.signed_in();
    fleet.change("cookie_secret", 200, SECOND);
    assert_eq!(fleet.world.counted(Count::SecretChanged), 1);
    // Without the old secret beside the new one, its sessions are over.
    assert!(!is_alice(&mut browser));
    assert!(is_alice(&mut fleet.signed_in()));
}

#[test]
fn refused_client_secret_is_read_anew_before_the_grant_fails() {
    let fleet = Fleet::ready();
    let mut browser = fleet.signed_in();
    fleet.provider.set_client(|request| {
        let header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let credentials = header.and_then(|header| STANDARD.decode(header.strip_prefix("Basic ")?).ok());
        credentials.is_some_and(|credentials| credentials.ends_with(b":second"))
    });
    fleet.set("client_secret", 200, "second");
    fleet.world.pass(11 * MINUTE);
    assert!(is_alice(&mut browser));
    assert_eq!(fleet.world.counted(Count::Refresh), 1);
    assert_eq!(fleet.world.counted(Count::ClientRefused), 0);
    fleet.signed_in();
}

#[test]
fn concurrent_requests_at_the_start_share_one_question() {
    let fleet = Fleet::ready();
    let asked = Rc::new(RefCell::new(0));
    let counter = Rc::clone(&asked);
    fleet.world.network(move |request| {
        *counter.borrow_mut() += usize::from(request.uri().path().ends_with("/cookie_secret"));
        (Duration::from_millis(5), Ok(Response::new(FIRST.as_bytes().to_vec())))
    });
    let requests = (0..20).map(|_| {
        let decision = fleet.app.handle(fleet.browser().head("/ready", &[]));
        let answered: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { drop(decision.get().await) });
        answered
    });
    fleet.world.run(requests.collect());
    assert_eq!(*asked.borrow(), 1);
}

#[test]
fn redis_password_reaches_the_client_with_its_user_and_follows_a_refusal() {
    let fleet = Fleet::new(&json!({
        "session_store_type": "redis",
        "redis_connection_url": "redis://filter@redis.example.com",
    }));
    fleet.set("cookie_secret", 200, FIRST);
    fleet.set("client_secret", 200, "first");
    assert_eq!(fleet.ready_status(), StatusCode::SERVICE_UNAVAILABLE);
    fleet.change("redis_password", 200, "one");
    assert_eq!(fleet.ready_status(), StatusCode::OK);
    fleet.set("redis_password", 200, "two");
    fleet.world.refuse_password();
    let told = |password: &str| {
        (Servers::Data, Credentials { username: Some("filter".to_owned()), password: password.to_owned() })
    };
    assert_eq!(fleet.world.redis_credentials(), [told("one"), told("two")]);
}
