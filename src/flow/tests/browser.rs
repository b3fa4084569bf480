//! A browser: it keeps cookies and follows nothing by itself.

use std::collections::BTreeMap;
use std::rc::Rc;

use http::Uri;

use super::provider::Provider;
use super::world::World;
use crate::flow::{Action, App, Decision, Forward, Ready, Reply, RequestHead};

#[derive(Clone)]
pub(super) struct Browser {
    world: World,
    pub(super) app: Rc<App<World>>,
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(world: &World, app: &Rc<App<World>>) -> Self {
        Self { world: world.clone(), app: Rc::clone(app), cookies: BTreeMap::new() }
    }

    /// The same browser in another world.
    pub(super) fn moved_to(&self, world: &World) -> Self {
        Self { world: world.clone(), ..self.clone() }
    }

    /// The head of a navigation with this browser's cookies and these headers.
    pub(super) fn head(&self, target: &str, headers: &[(&str, &str)]) -> RequestHead {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut pairs = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "app.example.com"),
            (":path", target),
            ("cookie", cookies.as_str()),
        ];
        for (name, value) in headers {
            pairs.retain(|(other, _)| !(name.starts_with(':') && other == name));
            pairs.push((name, value));
        }
        RequestHead::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    /// What happens to a request.
    pub(super) fn ask(&mut self, target: &str, headers: &[(&str, &str)]) -> Action {
        self.decision(target, headers).action
    }

    /// What happens to a request, and what the access log says about it.
    pub(super) fn decision(&mut self, target: &str, headers: &[(&str, &str)]) -> Decision {
        let decision = match self.app.handle(self.head(target, headers)) {
            Ready::Now(decision) => decision,
            Ready::Later(future) => self.world.run(vec![future]).remove(0),
        };
        self.keep_cookies(&decision.action);
        if let Action::Reply(reply) = &decision.action {
            assert!(!reply.details().is_empty(), "{target}: the answer does not say why");
        }
        decision
    }

    /// The filter's answer.
    pub(super) fn reply(&mut self, target: &str, headers: &[(&str, &str)]) -> Reply {
        match self.ask(target, headers) {
            Action::Reply(reply) => reply,
            action => panic!("{target} was not answered: {action:?}"),
        }
    }

    /// What the upstream gets.
    pub(super) fn forward(&mut self, target: &str, headers: &[(&str, &str)]) -> Forward {
        match self.ask(target, headers) {
            Action::Forward(forward) => forward,
            action => panic!("{target} did not go to the upstream: {action:?}"),
        }
    }

    /// Goes to the provider; gives back the query that it would see.
    pub(super) fn start(&mut self, target: &str) -> BTreeMap<String, String> {
        let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let answer = self.reply(&format!("/oauth2/start?rd={target}"), &[]);
        assert_eq!(answer.status(), 302);
        let location: Uri = answer.headers()["location"].to_str().unwrap().parse().unwrap();
        form_urlencoded::parse(location.query().unwrap().as_bytes()).into_owned().collect()
    }

    /// Comes back from the provider.
    pub(super) fn come_back(&mut self, provider: &Provider, login: &BTreeMap<String, String>) -> Reply {
        provider.set_nonce(login.get("nonce").map_or("", String::as_str));
        let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
        self.reply(&format!("/oauth2/callback?code=code&state={state}"), &[])
    }

    /// A whole login.
    pub(super) fn sign_in(&mut self, provider: &Provider, target: &str) -> Reply {
        let login = self.start(target);
        self.come_back(provider, &login)
    }

    /// The email address for the upstream; `None` if the request does not get there.
    pub(super) fn who(&mut self) -> Option<String> {
        match self.ask("/", &[]) {
            Action::Forward(forward) => Some(sent(&forward, "x-forwarded-email")),
            _ => None,
        }
    }

    /// Whether it has a session cookie.
    pub(super) fn has_session(&self) -> bool {
        self.cookies.contains_key("_oauth2_proxy")
    }

    pub(super) fn keep_cookies(&mut self, action: &Action) {
        let headers: Vec<String> = match action {
            Action::Reply(reply) => reply
                .headers()
                .get_all("set-cookie")
                .iter()
                .map(|value| value.to_str().unwrap().to_owned())
                .collect(),
            Action::Forward(forward) => forward
                .response
                .iter()
                .filter(|(name, _)| *name == "set-cookie")
                .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
                .collect(),
            Action::ReadBody => Vec::new(),
        };
        for header in headers {
            let (pair, attributes) = header.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// The value of a header that the upstream gets.
pub(super) fn sent(forward: &Forward, name: &str) -> String {
    let values: Vec<&[u8]> =
        forward.set.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_slice()).collect();
    String::from_utf8(values.concat()).unwrap()
}
