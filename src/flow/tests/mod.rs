//! Flows from the first request to the last, with a provider and browsers that are a few lines each.

mod access_log;
mod bearer;
mod browser;
mod callbacks;
mod client_auth;
mod documents;
mod endpoints;
mod fake_redis;
mod forged;
mod https;
mod idle;
mod keys;
mod large_cookies;
mod lifetimes;
mod log;
mod login;
mod modes;
mod on_demand;
mod programs;
mod provider;
mod provider_sign_out;
mod providers;
mod redirects;
mod refresh;
mod refusals;
mod renewed;
mod requests;
mod scopes;
mod secret_rotation;
mod secrets;
mod signed_out;
mod stripped;
mod tickets;
mod userinfo;
mod world;

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use self::browser::Browser;
use self::provider::Provider;
use self::world::World;
use super::App;
use crate::config::Config;
use crate::oidc::tests::vectors::{CLIENT, ISSUED, ISSUER};
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// The options of a site that keeps its sessions in Redis.
fn in_redis() -> Value {
    json!({ "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com" })
}

/// These options, and those that every configuration needs.
fn configuration(options: Value) -> Config {
    let mut all = json!({
        "oidc_issuer_url": ISSUER,
        "client_id": CLIENT,
        "skip_provider_button": true,
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Config::for_tests(&all)
}

/// An Envoy with one worker, and the provider that it knows.
struct Site {
    world: World,
    app: Rc<App<World>>,
    provider: Provider,
    config: Config,
}

impl Site {
    /// A site with these options.
    fn new(options: Value) -> Self {
        let config = configuration(options);
        let world = World::new(Timestamp::from_secs(ISSUED));
        let provider = Provider::new(&world);
        let app = App::new(config.clone(), world.clone());
        Self { world, app, provider, config }
    }

    /// One more worker of the same Envoy: it shares data with the others and nothing else.
    fn worker(&self) -> Rc<App<World>> {
        App::new(self.config.clone(), self.world.clone())
    }

    /// A browser that has no cookies yet.
    fn browser(&self) -> Browser {
        Browser::new(&self.world, &self.app)
    }

    /// A browser that is signed in.
    fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let answer = browser.sign_in(&self.provider, "/");
        assert_eq!(answer.status(), 302, "{:?}", String::from_utf8_lossy(answer.body()));
        browser
    }
}
