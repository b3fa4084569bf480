//! Redirects by `rd`, `X-Auth-Request-Redirect` and `X-Forwarded-*`, read as by a browser (WHATWG URL).

use std::rc::Rc;

use oauth2_session_filter::config::Config;
use oauth2_session_filter::flow::{Action, App, Ready, Reply, RequestHead};
use oauth2_session_filter::time::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::site::{ISSUER, World};

type Site = (World, Rc<App<World>>);
type Header<'a> = (&'static str, &'a [u8]);

/// The bytes are the target, or what a proxy in front says about the request.
pub(super) fn run(bytes: &[u8]) {
    thread_local! {
        static HERE: Site = site(json!({}));
        /// Behind a proxy, and the callback is on another host.
        static ELSEWHERE: Site =
            site(json!({ "reverse_proxy": true, "redirect_url": "https://login.b.example", "skip_provider_button": true }));
    }
    let query: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let path = format!("/oauth2/sign_out?rd={query}");
    HERE.with(|site| {
        for more in
            [[(":path", path.as_bytes())].as_slice(), &[sign_out(), ("x-auth-request-redirect", bytes)]]
        {
            if let Some(location) = location(&ask(site, b"app.example.com", more)) {
                is_ours(&location, "app.example.com");
            }
        }
    });
    let page = (":path", b"/page".as_slice());
    ELSEWHERE.with(|site| {
        for more in [
            [page, ("x-auth-request-redirect", bytes)],
            [page, ("x-forwarded-uri", bytes)],
            [page, ("x-forwarded-host", bytes)],
            [(":path", bytes), ("x-forwarded-host", b"app.b.example".as_slice())],
        ] {
            let answer = ask(site, b"app.example.com", &more);
            let Some(location) = location(&answer) else { continue };
            let start = Url::parse("https://login.b.example/oauth2/x").unwrap().join(&location).unwrap();
            // A path is of the callback's host.
            let target =
                start.query_pairs().find(|(name, _)| name == "rd").map(|(_, target)| target.into_owned());
            is_ours(&target.unwrap_or_default(), "login.b.example");
        }
    });
}

fn sign_out() -> Header<'static> {
    (":path", b"/oauth2/sign_out")
}

fn ask((world, app): &Site, host: &[u8], more: &[Header<'_>]) -> Reply {
    let request = [(":method", b"GET".as_slice()), (":authority", host), (":scheme", b"https")];
    let head = RequestHead::from_pairs(request.into_iter().chain(more.iter().copied()));
    let decision = match app.handle(head) {
        Ready::Now(decision) => decision,
        Ready::Later(flow) => world.finish(&world.start(flow)),
    };
    let Action::Reply(reply) = decision.action else { panic!("it is not for the upstream") };
    reply
}

fn location(reply: &Reply) -> Option<String> {
    reply.headers().get("location").map(|location| location.to_str().expect("ASCII").to_owned())
}

fn site(more: Value) -> Site {
    let mut options = json!({
        "oidc_issuer_url": ISSUER, "client_id": "filter", "client_secret": "secret-client",
        "cookie_secret": "0123456789abcdef", "email_domains": ["*"],
        "whitelist_domains": ["a.example", ".b.example", "*.c.example", "port.example:8443", "any.example:*"],
    });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = Config::parse(options.to_string().as_bytes(), &[]).unwrap();
    let world = World::new(&config, Timestamp::from_secs(1_700_000_000));
    (world.clone(), App::new(config, world))
}

/// The target is a path of `here`, or a host on the list.
fn is_ours(location: &str, here: &str) {
    let base = Url::parse(&format!("https://{here}/oauth2/sign_out")).unwrap();
    // A browser stays on its page if it cannot read the URL.
    let Ok(url) = base.join(location) else { return };
    let host = url.host_str().unwrap_or_default();
    let is_in =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let is_listed = (host == "a.example" || is_in("b.example") || is_in("c.example")) && url.port().is_none()
        || host == "port.example" && url.port() == Some(8443)
        || host == "any.example";
    let is_here = host == here && url.port().is_none() && url.scheme() == "https";
    assert!(
        is_here || (is_listed && matches!(url.scheme(), "http" | "https")),
        "{location:?} leads to {url}"
    );
    assert!(url.username().is_empty() && url.password().is_none(), "{location:?} hides its host");
}
