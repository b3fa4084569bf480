//! Sessions in Redis: tickets, outages that end no session, and one refresh for all proxies.

mod backchannel_logout;
mod failovers;
mod index;
mod large;
mod many;
mod my_sessions;
mod outages;
mod readiness;
mod refresh;
mod sessions;
mod shifted;
mod tracked;

use std::rc::Rc;

use serde_json::{Value, json};

use super::Site;
use super::browser::sent;
use super::world::World;
use crate::flow::{Action, App};

const COOKIE: &str = "_oauth2_proxy";

fn site(options: Value) -> Site {
    let mut all = json!({
        "session_store_type": "redis",
        "redis_connection_url": "redis://redis.example.com",
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Site::new(all)
}

/// Redis with replicas, which may become masters.
fn replicated(options: Value) -> Site {
    let mut all = json!({
        "redis_connection_url": "",
        "redis_use_sentinel": true,
        "redis_sentinel_master_name": "main",
        "redis_sentinel_connection_urls": ["redis://sentinel.example.com:26379"],
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    site(all)
}

/// The only key in Redis.
fn only_key(site: &Site) -> String {
    let keys = site.world.fake_redis().keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

/// Another proxy: it uses the same Redis, and shares no memory.
fn proxy(site: &Site) -> Rc<App<World>> {
    App::new(site.config.clone(), site.world.clone())
}

fn access_token(action: &Action) -> String {
    match action {
        Action::Forward(forward) => sent(forward, "x-forwarded-access-token"),
        action => panic!("did not go to the upstream: {action:?}"),
    }
}
