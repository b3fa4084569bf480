//! Where `rd` and `X-Auth-Request-Redirect` send the browser, as a browser reads it (WHATWG URL).

use std::rc::Rc;

use oauth2_session_filter::config::Config;
use oauth2_session_filter::flow::{App, Decision, RequestHead, Step};
use oauth2_session_filter::time::Timestamp;
use serde_json::json;
use url::Url;

use super::site::{ISSUER, World};

/// The bytes are the target.
pub(super) fn run(bytes: &[u8]) {
    thread_local! {
        static SITE: (World, Rc<App<World>>) = site();
    }
    let query: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let path = format!("/oauth2/sign_out?rd={query}");
    let request = [(":method", b"GET".as_slice()), (":authority", b"app.example.com"), (":scheme", b"https")];
    let by_query = [(":path", path.as_bytes())];
    let by_header = [(":path", b"/oauth2/sign_out".as_slice()), ("x-auth-request-redirect", bytes)];
    for more in [by_query.as_slice(), &by_header] {
        let head = RequestHead::from_pairs(request.into_iter().chain(more.iter().copied()));
        let decision = SITE.with(|(world, app)| match app.handle(head) {
            Step::Done(decision) => decision,
            Step::Wait(flow) => world.finish(&world.start(flow)),
        });
        let Decision::Reply(reply) = decision else { panic!("a sign-out is not for the upstream") };
        if let Some(location) = reply.headers().get("location") {
            is_ours(location.to_str().expect("ASCII"));
        }
    }
}

fn site() -> (World, Rc<App<World>>) {
    let options = json!({
        "oidc_issuer_url": ISSUER, "client_id": "filter", "client_secret": "secret-client",
        "cookie_secret": "0123456789abcdef", "email_domains": ["*"],
        "whitelist_domains": ["a.example", ".b.example", "*.c.example", "port.example:8443", "any.example:*"],
    });
    let config = Config::parse(options.to_string().as_bytes(), &[]).unwrap();
    let world = World::new(&config, Timestamp::from_secs(1_700_000_000));
    (world.clone(), App::new(config, world))
}

fn is_ours(location: &str) {
    let base = Url::parse("https://app.example.com/oauth2/sign_out").unwrap();
    // A browser that cannot read it stays where it is.
    let Ok(url) = base.join(location) else { return };
    let host = url.host_str().unwrap_or_default();
    let is_in =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let is_listed = (host == "a.example" || is_in("b.example") || is_in("c.example")) && url.port().is_none()
        || host == "port.example" && url.port() == Some(8443)
        || host == "any.example";
    let is_here = host == "app.example.com" && url.port().is_none() && url.scheme() == "https";
    assert!(
        is_here || (is_listed && matches!(url.scheme(), "http" | "https")),
        "{location:?} leads to {url}"
    );
    assert!(url.username().is_empty() && url.password().is_none(), "{location:?} hides its host");
}
