//! Cookies of one name in several scopes: what happens to them after `cookie_domains` or `cookie_path` was changed.

use std::rc::Rc;

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::world::World;
use super::{MINUTE, Site, configuration, in_redis};
use crate::flow::{Action, App, Ready, RequestHead};

const NAME: &str = "_oauth2_proxy";
const HOST: &str = "app.eu.example.com";
const WEEK: &str = "Max-Age=604800";

/// A cookie as a browser keeps it (RFC 6265bis section 5.7): name, domain, host-only flag and path are what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    /// The host itself if there is none.
    domain: Option<String>,
    path: String,
}

/// A browser at [`HOST`] or at another host.
struct Scoped {
    world: World,
    app: Rc<App<World>>,
    host: String,
    cookies: Vec<Cookie>,
}

impl Scoped {
    fn new(site: &Site) -> Self {
        Self {
            world: site.world.clone(),
            app: Rc::clone(&site.app),
            host: HOST.to_owned(),
            cookies: Vec::new(),
        }
    }

    /// A cookie that the browser has had for long, or its chunks.
    fn keep(&mut self, cookies: &[(String, String)], domain: Option<&str>, path: &str) {
        for (name, value) in cookies {
            self.cookies.push(Cookie {
                name: name.clone(),
                value: value.clone(),
                domain: domain.map(str::to_owned),
                path: path.to_owned(),
            });
        }
    }

    /// The answer to a request for this target.
    fn decide(&self, target: &str) -> Action {
        let mut cookies: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| target.starts_with(cookie.path.trim_end_matches('/')))
            .collect();
        // RFC 6265 section 5.4: the longer paths first, then the older ones.
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let cookies: Vec<String> =
            cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let cookies = cookies.join("; ");
        let pairs = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", self.host.as_str()),
            (":path", target),
            ("cookie", &cookies),
        ];
        let head = RequestHead::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
        let decision = match self.app.handle(head) {
            Ready::Now(decision) => decision,
            Ready::Later(future) => self.world.run(vec![future]).remove(0),
        };
        decision.action
    }

    /// The status and the `set-cookie` headers of the answer. The browser stores the cookies.
    fn ask(&mut self, target: &str) -> (u16, Vec<String>) {
        let (status, headers): (u16, Vec<Vec<u8>>) = match self.decide(target) {
            Action::Reply(reply) => {
                let cookies = reply.headers().get_all("set-cookie").iter();
                (reply.status().as_u16(), cookies.map(|value| value.as_bytes().to_vec()).collect())
            }
            Action::Forward(forward) => {
                let headers = self.app.response_headers(forward.response, forward.renewed.as_deref());
                let cookies = headers.into_iter().filter(|(name, _)| *name == "set-cookie");
                (200, cookies.map(|(_, value)| value).collect())
            }
            Action::ReadBody => panic!("{target} has no body"),
        };
        let headers: Vec<_> = headers.into_iter().map(|header| String::from_utf8(header).unwrap()).collect();
        headers.iter().for_each(|header| self.set(header));
        (status, headers)
    }

    /// The email address that the upstream would get to know.
    fn who(&self) -> Option<String> {
        match self.decide("/app/") {
            Action::Forward(forward) => Some(sent(&forward, "x-forwarded-email")),
            _ => None,
        }
    }

    fn set(&mut self, header: &str) {
        let mut parts = header.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attribute = |wanted: &str| {
            let mut attributes = header.split("; ").skip(1);
            attributes.find_map(|part| part.strip_prefix(wanted)).map(str::to_owned)
        };
        let domain = attribute("Domain=");
        if let Some(domain) = &domain {
            let is_public = matches!(domain.as_str(), "com" | "co.uk");
            assert!(self.host == *domain || self.host.ends_with(&format!(".{domain}")), "{header}");
            if is_public {
                return;
            }
        }
        let path = attribute("Path=").unwrap();
        let is_this =
            |other: &&mut Cookie| other.name == name && other.domain == domain && other.path == path;
        if attribute("Max-Age=").as_deref() == Some("0") {
            self.cookies.retain(|other| other.name != name || other.domain != domain || other.path != path);
        } else if let Some(same) = self.cookies.iter_mut().find(is_this) {
            value.clone_into(&mut same.value);
        } else {
            self.keep(&[(name.to_owned(), value.to_owned())], domain.as_deref(), &path);
        }
    }
}

/// The cookies of a session of this user, which a filter with these options keeps.
fn session(site: &Site, options: &Value, email: &str) -> Vec<(String, String)> {
    site.provider.set_claim("email", json!(email));
    // Signatures have whole seconds.
    site.world.pass(MINUTE);
    let app = App::new(configuration(options.clone()), site.world.clone());
    let mut browser = Browser::new(&site.world, &app);
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
    browser.cookies.into_iter().collect()
}

fn with(options: &Value, more: Value) -> Value {
    let mut all = options.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// The scopes that a cookie of [`HOST`] can have.
const DOMAINS: [Option<&str>; 4] =
    [None, Some("app.eu.example.com"), Some("eu.example.com"), Some("example.com")];

#[test]
fn sign_out_clears_session_in_every_scope() {
    for store in [json!({}), in_redis()] {
        for (domains, path) in
            [(json!([]), "/"), (json!([".example.com"]), "/"), (json!(["eu.example.com", "com"]), "/app")]
        {
            let options =
                json!({ "cookie_domains": domains, "cookie_path": path, "proxy_prefix": "/app/oauth2" });
            let site = Site::new(with(&store, options));
            // One of an older `cookie_path` below the one that is set now stays: the filter cannot know it.
            for paths in [&["/"][..], &["/", path]] {
                let mut browser = Scoped::new(&site);
                for path in paths {
                    for domain in DOMAINS {
                        browser
                            .cookies
                            .retain(|other| other.domain.as_deref() != domain || other.path != **path);
                        browser.keep(&session(&site, &store, "alice@example.com"), domain, path);
                    }
                }
                let before = browser.cookies.clone();
                let (status, _) = browser.ask("/app/oauth2/sign_out");
                assert_eq!(
                    (status, browser.cookies.as_slice()),
                    (200, [].as_slice()),
                    "{domains} {path} {paths:?}"
                );
                // With Redis, the sessions are gone and not only out of the browser's sight.
                if !store.as_object().unwrap().is_empty() {
                    browser.cookies = before;
                    assert_ne!(browser.ask("/app/").0, 200);
                }
            }
        }
    }
}

#[test]
fn earlier_user_in_another_scope_does_not_come_back() {
    let site = Site::new(json!({ "cookie_domains": ["example.com"] }));
    for (old, new) in
        [(None, Some("example.com")), (Some("eu.example.com"), None), (Some("example.com"), None)]
    {
        let bob = session(&site, &json!({}), "bob@example.com");
        let alice = session(&site, &json!({}), "alice@example.com");
        let mut browser = Scoped::new(&site);
        browser.keep(&bob, old, "/");
        browser.keep(&alice, new, "/");
        // The next response leaves the one that counts, in the scope that is in use.
        let (status, headers) = browser.ask("/");
        assert_eq!(status, 200);
        let kept = Cookie {
            name: NAME.to_owned(),
            value: alice[0].1.clone(),
            domain: Some("example.com".to_owned()),
            path: "/".to_owned(),
        };
        assert_eq!(browser.cookies, [kept]);
        // To a browser for which a cookie of the host and one of the host's domain are the same, the last one counts.
        assert!(headers.last().unwrap().contains(WEEK), "{headers:?}");
        assert_eq!(headers.iter().filter(|header| header.contains(WEEK)).count(), 1);
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert_eq!(browser.ask("/").1.len(), 0);
        assert_eq!(browser.ask("/oauth2/sign_out").0, 200);
        assert_eq!(browser.who(), None);
    }
}

#[test]
fn cookie_signed_by_another_secret_is_not_cleared() {
    for store in [json!({}), in_redis()] {
        let site = Site::new(store.clone());
        let stranger = Site::new(with(&store, json!({ "cookie_secret": "another secret!!" })));
        let theirs = session(
            &stranger,
            &with(&store, json!({ "cookie_secret": "another secret!!" })),
            "carol@example.com",
        );
        for other in [theirs[0].1.clone(), "junk".to_owned()] {
            let mut browser = Scoped::new(&site);
            browser.keep(&session(&site, &store, "alice@example.com"), None, "/");
            browser.keep(&session(&site, &store, "bob@example.com"), Some("eu.example.com"), "/");
            browser.keep(&[(NAME.to_owned(), other)], Some("example.com"), "/");
            assert_eq!(browser.ask("/"), (200, vec![]));
            let (status, headers) = browser.ask("/oauth2/sign_out");
            assert_eq!(status, 200);
            let [header] = headers.as_slice() else { panic!("{headers:?}") };
            assert!(!header.contains("Domain"), "{header}");
        }
    }
}

#[test]
fn chunks_in_several_scopes_are_cleared_in_bounded_answers() {
    let groups: Vec<String> =
        (0_u64..1500).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for name in [NAME.to_owned(), "n".repeat(200)] {
        let named = json!({ "cookie_name": name, "cookie_max_bytes": 128 << 10 });
        let site = Site::new(with(&named, json!({ "cookie_path": "/app", "proxy_prefix": "/app/oauth2" })));
        site.provider.set_claim("groups", json!(groups));
        let large = session(&site, &named, "alice@example.com");
        site.provider.set_claim("groups", json!(groups[..300]));
        let small = session(&site, &named, "bob@example.com");
        assert!(large.len() > 8 && small.len() > 1 && small.len() < large.len(), "{}", large.len());
        for sessions in [[&large, &large, &large], [&large, &small, &large], [&small, &large, &large]] {
            let mut browser = Scoped::new(&site);
            browser.host = "a.b.c.d.example.com".to_owned();
            browser.keep(sessions[0], None, "/app");
            browser.keep(sessions[1], Some("example.com"), "/");
            browser.keep(sessions[2], Some("d.example.com"), "/");
            let mut answers = 0;
            loop {
                let (status, headers) = browser.ask("/app/oauth2/sign_out");
                let bytes: usize = headers.iter().map(|header| "set-cookie".len() + header.len()).sum();
                assert!(
                    status == 200 && headers.len() <= 64 && bytes <= 8 << 10,
                    "{} {bytes}",
                    headers.len()
                );
                if headers.is_empty() {
                    break;
                }
                assert_eq!(browser.who(), None, "after {answers}");
                answers += 1;
                assert!(answers < 40);
            }
            assert!(answers > 1);
            // What ends a shorter session leaves a gap in a longer one, whose rest is no chunk then.
            assert!(browser.cookies.is_empty() || sessions.contains(&&small), "{answers}");
        }
    }
}

#[test]
fn other_cookie_named_like_a_chunk_is_kept() {
    let site = Site::new(json!({ "strip_session_cookie": true }));
    let neighbour =
        Site::new(json!({ "cookie_name": "_oauth2_proxy_1", "cookie_secret": "another secret!!" }));
    let theirs: Vec<_> = neighbour.signed_in().cookies.into_iter().collect();
    let mut browser = site.browser();
    browser.cookies.extend(theirs.clone());
    // A sign-in, a request and a sign-out.
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
    let left = browser.forward("/", &[]).cookie.unwrap();
    assert_eq!(String::from_utf8(left).unwrap(), format!("{}={}", theirs[0].0, theirs[0].1));
    assert_eq!(browser.reply("/oauth2/sign_out", &[]).status(), 200);
    assert_eq!(browser.cookies.into_iter().collect::<Vec<_>>(), theirs);
}

#[test]
fn mode_beside_clears_no_cookie() {
    let options = json!({ "mode": "beside", "oidc_issuer_url": "", "client_id": "", "client_secret": "" });
    let (site, maker) = (Site::new(options), Site::new(json!({})));
    let mut browser = Scoped::new(&site);
    browser.keep(&session(&maker, &json!({}), "bob@example.com"), Some("example.com"), "/");
    browser.keep(&session(&maker, &json!({}), "alice@example.com"), None, "/");
    assert_eq!(browser.ask("/"), (200, vec![]));
}
