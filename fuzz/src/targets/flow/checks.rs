//! What must be true of every decision.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use oauth2_session_filter::cookie::{Jar, SessionCookies};
use oauth2_session_filter::flow::{Action, Decision, Forward, HandedOver, Header, HeaderBlock, Io, Reply};
use oauth2_session_filter::session::ticket::Ticket;
use oauth2_session_filter::{cookie, session};
use url::Url;

use super::known::{Known, KnownUser, secret};
use super::{HOST, HOUR, NAME, Request, START, Site, WEEK, contains, has_secret};
use crate::targets::sealed::{is_part, unlimited};
use crate::targets::site::ISSUER;

/// Headers that an upstream trusts, since the filter sets them.
const IDENTITY: [&str; 13] = [
    "gap-auth",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-auth-request-access-token",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-id-token",
    "x-auth-request-preferred-username",
    "x-auth-request-user",
    "x-oauth2-session",
];

/// More cookies than any answer sets and deletes.
const MAX_COOKIES: usize = 140;

impl Request {
    /// Its head as Envoy hands it over.
    pub(super) fn block(&self) -> HeaderBlock {
        HeaderBlock::parse(HeaderBlock::serialize(&self.head))
    }

    /// Every header of that name.
    pub(super) fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.head.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    fn first<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        self.all(name).next().unwrap_or_default()
    }

    fn path(&self) -> &[u8] {
        self.first(b":path").split(|byte| *byte == b'?').next().unwrap_or_default()
    }
}

impl Site {
    /// Checks a decision.
    pub(super) fn decided(&mut self, request: &Request, decision: Decision) {
        let calls = self.world.calls();
        assert!(calls <= 10 * self.requests + 10, "{calls} calls for {} requests", self.requests);
        for (_, value) in decision.log {
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()) && !has_secret(value.as_bytes()));
        }
        match decision.action {
            Action::Reply(reply) => self.replied(request, &reply),
            Action::Forward(forward) => self.forwarded(request, forward),
            Action::ReadBody => panic!("only with backchannel_logout"),
        }
    }

    fn forwarded(&mut self, request: &Request, forward: Forward) {
        let is_open = (self.rules.is_open)(request.first(b":method"), request.path());
        let users = self.users(request);
        assert!(is_open || !users.is_empty(), "a request without a session reaches the upstream");
        let sent = |name: &str| {
            let mut values = forward.set.iter().filter(|(other, _)| *other == name);
            let value = values.next().map(|(_, value)| value.clone());
            assert!(values.next().is_none(), "{name} is there twice");
            value.unwrap_or_default()
        };
        let user = KnownUser { user: sent("x-forwarded-user"), email: sent("x-forwarded-email") };
        if !user.user.is_empty() {
            let is_known = users.iter().flatten().any(|known| known.is_said_by(&user));
            assert!(is_known || users.contains(&None), "a request is forwarded as another user");
            let has_our_domain = user.email.to_ascii_lowercase().ends_with(b"@example.com");
            assert!(has_our_domain || user.email.is_empty(), "email_domains lets another domain in");
        }
        let trailers = self.app.forged_trailers(&request.block());
        for (name, _) in request.head.iter().filter(|(name, _)| is_identity(name)) {
            assert!(forward.remove.contains(name), "what a client says about itself arrives");
            assert!(trailers.contains(name), "what a client says about itself arrives in trailers");
        }
        let nominated = match &forward.connection {
            Some(connection) => vec![connection.as_slice()],
            None => request.all(b"connection").collect(),
        };
        let mut nominated = nominated.iter().flat_map(|value| value.split(|byte| *byte == b','));
        assert!(!nominated.any(|name| is_identity(name.trim_ascii())), "the next proxy drops what we say");
        if self.config.headers.strip_session_cookie {
            let left = forward.cookie.as_ref().expect("our cookies are kept from the upstream");
            let jar = Jar::new([left.as_slice()]);
            let sent = SessionCookies::find(&jar, NAME);
            let is_signed = |value: &[u8]| cookie::is_signed(&secret().into(), NAME, value, &mut unlimited());
            // A chunk with a gap before it, or with invalid bytes, belongs to another application.
            let is_left =
                jar.all(NAME).next().is_some() || sent.into_values().iter().any(|value| is_signed(value));
            assert!(!is_left, "a session goes to the upstream");
        }
        forward.set.iter().for_each(is_good);
        let response = self.app.response_headers(forward.response, forward.renewed.as_deref());
        response.iter().for_each(is_good);
        let cookies = cookies(&response);
        // A path that is ambiguous needs a session, and so does a target that is not a path.
        let is_plain = request.path().starts_with(b"/")
            && request.path().iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'/');
        let is_for_everybody = is_open && is_plain;
        assert!(
            !is_for_everybody || cookies.is_empty(),
            "a response that may be for everybody sets a cookie"
        );
        self.sets(request, &cookies);
        self.hand_over(request, forward.handed_over);
    }

    /// Whose request it may be; `None` is any signed-in user.
    fn users(&self, request: &Request) -> Vec<Option<KnownUser>> {
        let has_token = self.has_token(request);
        let has_lied = self.world.with_redis(|redis| redis.has_lied).unwrap_or(false);
        let presented = self.known.iter().filter(|known| known.is_presented(request));
        presented
            .filter(|known| has_lied || known.holds_for(request))
            .map(|known| known.user.clone())
            .chain(has_token.then(|| Some(KnownUser::named("alice"))))
            .collect()
    }

    /// The sign-in app answers a request that got through with a session for the browser.
    fn hand_over(&mut self, request: &Request, handed_over: HandedOver) {
        let Some(value) = self.hands_over.take() else { return };
        let is_open = (self.rules.is_open)(request.first(b":method"), request.path());
        let Some(keeping) = self.app.take_session(handed_over, b"login-app", &[&value]) else {
            return;
        };
        assert!(is_open, "a session of somebody else's response is kept");
        let pending = self.world.start(keeping);
        if let Ok(headers) = self.world.finish(&pending) {
            self.learn(&cookies(&headers));
        }
    }

    fn replied(&mut self, request: &Request, reply: &Reply) {
        let headers = || reply.headers().iter().map(|(_, value)| value.as_bytes());
        assert!(!has_secret(reply.body()) && !headers().any(has_secret), "a secret is in an answer");
        let is_page = reply.headers().contains_key("content-security-policy");
        assert_eq!(
            count(reply.body(), b"<script"),
            usize::from(is_page),
            "a page has a script that is not its own"
        );
        assert!(!reply.details().is_empty(), "an answer does not say why it was given");
        let is_at_endpoint = request.path().starts_with(b"/oauth2/");
        // Envoy would turn a refusal into a 200.
        assert!(!is_at_endpoint || !reply.is_grpc(), "an endpoint speaks gRPC");
        // These two have a page for every client. The others may be request by a proxy, which takes 200 for permission.
        let is_for_everybody = matches!(request.path(), b"/oauth2/sign_in" | b"/oauth2/sign_out");
        let is_yes = is_at_endpoint && !is_for_everybody && reply.status().is_success();
        assert!(!is_yes || !self.users(request).is_empty(), "an endpoint says yes to a stranger");
        let is_tunnel = request.first(b":method") == b"CONNECT";
        assert!(!is_tunnel || !(reply.status().is_success() || reply.is_grpc()), "a refusal opens a tunnel");
        let caching = reply.headers().get("cache-control").expect("every answer says whether it may be kept");
        assert!(contains(caching.as_bytes(), b"no-store"), "an answer may be kept");
        let location = reply.headers().get("location").map(|location| location.as_bytes().to_vec());
        if let Some(location) = location {
            if reply.status() == StatusCode::PERMANENT_REDIRECT {
                self.led_to_https(request, &location);
            } else {
                self.redirected(request, &location);
            }
        }
        let cookies: Vec<_> =
            reply.headers().get_all("set-cookie").iter().map(|value| value.as_bytes().to_vec()).collect();
        self.sets(request, &cookies);
        let is_end = matches!(request.path(), b"/oauth2/sign_out" | b"/oauth2/sign_in");
        if is_end && reply.status() == StatusCode::OK
            || request.path() == b"/oauth2/sign_out" && reply.status() == 302
        {
            self.signed_out(request);
        }
    }

    /// In the cookie store, a copy of a cookie stays valid after a sign-out.
    fn signed_out(&mut self, request: &Request) {
        // If there are several session cookies, the model does not know which one is ended.
        let cookies = request.all(b"cookie").collect::<Vec<_>>().join(b"; ".as_slice());
        let pairs = cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let ours: Vec<&[u8]> = pairs.filter(|pair| contains(pair, NAME)).collect();
        let [pair] = ours.as_slice() else { return };
        let is_this =
            |known: &&Known| known.holds_for(request) && **pair == *[NAME, b"=", &known.value].concat();
        let Some(key) = self.known.iter().find(is_this).and_then(|known| known.key.clone()) else { return };
        let requests = self.requests;
        self.known
            .iter_mut()
            .filter(|known| known.key.as_ref() == Some(&key))
            .for_each(|known| known.end(requests));
    }

    /// The browser goes to the provider, to a page of this host, or to a host on the list.
    fn redirected(&mut self, request: &Request, location: &[u8]) {
        let location = std::str::from_utf8(location).expect("it is percent-encoded");
        let base = Url::parse(&format!("https://{HOST}/oauth2/x")).unwrap();
        let Ok(url) = base.join(location) else { return };
        if location.starts_with(&format!("{ISSUER}/authorize?")) {
            let query = |name: &str| {
                url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
            };
            self.state = query("state").expect("a state");
            self.world.provider(|provider| provider.nonce = query("nonce").expect("a nonce"));
            return;
        }
        let host = url.host_str().unwrap_or_default();
        let is_listed = host == "example.net" || host.ends_with(".example.net");
        let is_ours = (host == HOST && url.scheme() == "https")
            || (is_listed && matches!(url.scheme(), "http" | "https"));
        assert!(
            is_ours && url.username().is_empty(),
            "{:?} leads to {url}",
            String::from_utf8_lossy(request.path())
        );
    }

    /// The browser goes to the host that it request for.
    fn led_to_https(&self, request: &Request, location: &[u8]) {
        assert!(self.config.routes.force_https.is_some(), "a redirect to https that nobody request for");
        let location = std::str::from_utf8(location).expect("it is percent-encoded");
        let host = location.strip_prefix("https://").and_then(|rest| rest.split('/').next()).expect("https");
        let request = String::from_utf8_lossy(request.first(b":authority")).into_owned();
        let rest = request.strip_prefix(host).expect("the host that was request for");
        assert!(
            !host.contains('@') && (rest.is_empty() || rest.starts_with(':')),
            "{request:?} leads to {location}"
        );
    }

    /// An answer sets these cookies.
    fn sets(&mut self, request: &Request, cookies: &[Vec<u8>]) {
        assert!(cookies.len() <= MAX_COOKIES, "{} cookies", cookies.len());
        let before = self.known.len();
        self.learn(cookies);
        if self.known.len() > before && request.path() == b"/oauth2/callback" {
            let sent = request.all(b"cookie").collect::<Vec<_>>().join(b"; ".as_slice());
            assert!(
                self.logins.iter().any(|login| contains(&sent, login)),
                "a login that began elsewhere is finished"
            );
        }
    }

    /// The browser keeps the cookies, and the model learns whose session they are.
    fn learn(&mut self, cookies: &[Vec<u8>]) {
        let mut parts = Vec::new();
        for header in cookies {
            let pair = header.split(|byte| *byte == b';').next().unwrap();
            let equals = pair.iter().position(|byte| *byte == b'=').expect("a name and a value");
            let (name, value) = (&pair[..equals], &pair[equals + 1..]);
            self.jar.retain(|(other, _)| other != name);
            if contains(header, b"Max-Age=0") {
                continue;
            }
            self.jar.push((name.to_vec(), value.to_vec()));
            if is_part(name) {
                parts.push(value.to_vec());
            } else {
                self.logins.push(value.to_vec());
            }
        }
        if !parts.is_empty() {
            let user = self.user(&parts.concat());
            self.know(Known::new(parts, user));
        }
    }

    /// Whose session a cookie is.
    fn user(&self, value: &[u8]) -> Option<KnownUser> {
        let secret = secret();
        let verified =
            cookie::verify(&secret.clone().into(), NAME, value, self.world.now(), WEEK, &mut unlimited())
                .expect("a cookie that is good");
        if self.config.redis.is_none() {
            return Some(session::open_cookie(&verified).expect("a session").into());
        }
        let ticket = Ticket::decode(&verified).expect("a ticket");
        let value = self.world.with_redis(|redis| redis.value(ticket.redis_key()).map(<[u8]>::to_vec))??;
        ticket.open(&value).ok().map(KnownUser::from)
    }

    /// Whether a request has a valid bearer token.
    fn has_token(&self, request: &Request) -> bool {
        let is_taken =
            self.config.bearer.is_some() && request.began <= START.after(HOUR).after(Duration::from_secs(10));
        let decoded = |value: &[u8]| {
            let basic = value.iter().position(|byte| *byte == b' ').map(|space| &value[space + 1..]);
            basic.and_then(|basic| STANDARD.decode(basic).ok()).unwrap_or_default()
        };
        is_taken
            && request.all(b"authorization").any(|value| {
                let has = |bytes: &[u8]| self.tokens.iter().any(|token| contains(bytes, token.as_bytes()));
                has(value) || has(&decoded(value))
            })
    }
}

/// A valid header without secrets.
fn is_good((name, value): &Header) {
    let is_content = value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
    assert!(is_content, "{name} ends too early: {value:?}");
    assert!(!has_secret(value), "a secret is in {name}");
}

/// The cookies that a response of the upstream sets. Such a response is for one user.
fn cookies(response: &[Header]) -> Vec<Vec<u8>> {
    let values = |wanted: &str| {
        let headers = response.iter().filter(|(name, _)| *name == wanted);
        headers.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let cookies = values("set-cookie");
    let is_private = values("cache-control").iter().any(|value| contains(value, b"private"));
    assert!(cookies.is_empty() || is_private, "a cache may keep somebody's cookie");
    cookies
}

/// Whether an upstream could read a name as one of [`IDENTITY`]: a CGI-like server treats all characters alike that are
/// neither letters nor digits.
fn is_identity(name: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    let name: Vec<u8> = name.iter().map(plain).collect();
    IDENTITY.iter().any(|ours| name == ours.as_bytes())
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}
