//! The provider: metadata, keys, tokens that are really signed, and whatever can go wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use serde_json::{Value, json};

use super::world::{Answer, World};
use crate::flow::io::{CallFailed, Io};
use crate::oidc::tests::vectors::{CLIENT, ISSUER, claims, jwks_document, sign_claims};
use crate::time::Timestamp;

/// A handle on the provider that the world's network leads to.
#[derive(Clone)]
pub(super) struct Provider(Rc<RefCell<State>>);

struct State {
    world: World,
    is_down: bool,
    failing: Option<&'static str>,
    instead: HashMap<&'static str, Instead>,
    delay: Duration,
    code_delay: Duration,
    /// The most calls that may be under way. More fail at once, as calls beyond Envoy's limit for a cluster do.
    limit: Option<usize>,
    under_way: Vec<(String, Timestamp, Timestamp)>,
    keys: Value,
    token_answer: Option<(u16, Value)>,
    takes_client: TakesClient,
    access_token: Option<String>,
    expires_in: Value,
    claims: Value,
    userinfo: Value,
    metadata: Value,
    nonce: String,
    grants: Vec<String>,
    calls: Vec<String>,
    urls: Vec<String>,
}

/// Whether a client may ask for tokens, by its request.
pub(super) type TakesClient = fn(&Request<Vec<u8>>) -> bool;

/// A status, a `location`, and a body.
type Instead = (u16, &'static str, &'static str);

impl Provider {
    pub(super) fn new(world: &World) -> Self {
        let provider = Self(Rc::new(RefCell::new(State {
            world: world.clone(),
            is_down: false,
            failing: None,
            instead: HashMap::new(),
            delay: Duration::ZERO,
            code_delay: Duration::ZERO,
            limit: None,
            under_way: Vec::new(),
            keys: jwks_document(),
            token_answer: None,
            takes_client: |_| true,
            access_token: None,
            expires_in: json!(3600),
            claims: json!({ "email": "alice@example.com", "email_verified": true, "groups": ["staff"] }),
            userinfo: json!({ "sub": claims()["sub"] }),
            metadata: metadata(),
            nonce: String::new(),
            grants: Vec::new(),
            calls: Vec::new(),
            urls: Vec::new(),
        })));
        let answering = provider.clone();
        world.network(move |request| answering.answer(request));
        provider
    }

    /// Stops answering from now on, or starts again.
    pub(super) fn set_down(&self, is_down: bool) {
        self.0.borrow_mut().is_down = is_down;
    }

    /// Answers 500 at this path from now on.
    pub(super) fn set_failing(&self, path: Option<&'static str>) {
        self.0.borrow_mut().failing = path;
    }

    /// What is answered at this path from now on, whatever the host.
    pub(super) fn set_instead(
        &self,
        path: &'static str,
        status: u16,
        location: &'static str,
        body: &'static str,
    ) {
        self.0.borrow_mut().instead.insert(path, (status, location, body));
    }

    /// Everything is answered by the provider itself again.
    pub(super) fn set_in_order(&self) {
        self.0.borrow_mut().instead.clear();
    }

    /// How long every answer takes.
    pub(super) fn set_delay(&self, delay: Duration) {
        self.0.borrow_mut().delay = delay;
    }

    /// How much longer the answer to a code takes.
    pub(super) fn set_code_delay(&self, delay: Duration) {
        self.0.borrow_mut().code_delay = delay;
    }

    /// How many calls may be under way at the same time.
    pub(super) fn set_limit(&self, limit: usize) {
        self.0.borrow_mut().limit = Some(limit);
    }

    /// What the provider's `jwks_uri` answers.
    pub(super) fn set_keys(&self, keys: Value) {
        self.0.borrow_mut().keys = keys;
    }

    /// How many calls of a kind were under way at the same time at most: a path, or a type of grant.
    pub(super) fn most_at_once(&self, kind: &str) -> usize {
        let state = self.0.borrow();
        let calls = || state.under_way.iter().filter(|(other, _, _)| other == kind);
        calls()
            .map(|(_, at, _)| calls().filter(|(_, from, to)| from <= at && at < to).count())
            .max()
            .unwrap_or(0)
    }

    /// What the token endpoint answers in the place of tokens.
    pub(super) fn set_token_answer(&self, answer: Option<(u16, Value)>) {
        self.0.borrow_mut().token_answer = answer;
    }

    /// Which clients may ask for tokens. Others get `invalid_client`, and their code or refresh token is not looked at.
    pub(super) fn set_client(&self, takes_client: TakesClient) {
        self.0.borrow_mut().takes_client = takes_client;
    }

    /// Sets a claim of the ID tokens, or takes it out (`null`).
    pub(super) fn set_claim(&self, name: &str, value: Value) {
        self.0.borrow_mut().claims[name] = value;
    }

    pub(super) fn set_userinfo(&self, userinfo: Value) {
        self.0.borrow_mut().userinfo = userinfo;
    }

    /// Sets a member of the metadata, or takes it out (`null`).
    pub(super) fn set_metadata(&self, name: &str, value: Value) {
        self.0.borrow_mut().metadata[name] = value;
    }

    /// An ID token that a program has got, with these claims besides.
    pub(super) fn token(&self, more: Value) -> String {
        let state = self.0.borrow();
        let mut claims = state.claims_now();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign_claims(&claims)
    }

    /// The access token of every grant.
    pub(super) fn set_access_token(&self, token: String) {
        self.0.borrow_mut().access_token = Some(token);
    }

    /// How many seconds every access token is valid; `null` if the provider does not say.
    pub(super) fn set_expires_in(&self, expires_in: Value) {
        self.0.borrow_mut().expires_in = expires_in;
    }

    /// The nonce of the login that comes next.
    pub(super) fn set_nonce(&self, nonce: &str) {
        nonce.clone_into(&mut self.0.borrow_mut().nonce);
    }

    /// The bodies of the grants of that type.
    pub(super) fn grants(&self, grant_type: &str) -> Vec<String> {
        let wanted = format!("grant_type={grant_type}");
        self.0.borrow().grants.iter().filter(|body| body.contains(&wanted)).cloned().collect()
    }

    /// How often a path was asked for.
    pub(super) fn calls(&self, path: &str) -> usize {
        self.0.borrow().calls.iter().filter(|call| *call == path).count()
    }

    /// What was asked for, by its URL.
    pub(super) fn urls(&self) -> Vec<String> {
        self.0.borrow().urls.clone()
    }

    pub(super) fn answer(&self, request: &Request<Vec<u8>>) -> Answer {
        let mut state = self.0.borrow_mut();
        let path = request.uri().path().to_owned();
        state.calls.push(path.clone());
        state.urls.push(request.uri().to_string());
        if state.is_down {
            return (state.delay, Err(CallFailed));
        }
        let grant_type = form_urlencoded::parse(request.body()).find(|(name, _)| name == "grant_type");
        let kind = grant_type.map_or_else(|| path.clone(), |(_, value)| value.into_owned());
        let mut delay = state.delay;
        if kind == "authorization_code" {
            delay += state.code_delay;
        }
        let now = state.world.now();
        let running = state.under_way.iter().filter(|(_, from, to)| *from <= now && now < *to).count();
        if state.limit.is_some_and(|limit| running >= limit) {
            return (Duration::ZERO, Err(CallFailed));
        }
        state.under_way.push((kind, now, now.after(delay)));
        if let Some((status, location, body)) = state.instead.get(path.as_str()) {
            let answer = Response::builder().status(*status);
            let answer = if location.is_empty() { answer } else { answer.header("location", *location) };
            return (delay, Ok(answer.body(body.as_bytes().to_vec()).unwrap()));
        }
        let path = path.strip_prefix("/moved").unwrap_or(&path);
        let (status, body) = match path {
            _ if state.failing == Some(path) => (500, json!({})),
            "/.well-known/openid-configuration" => (200, state.metadata.clone()),
            "/jwks" => (200, state.keys.clone()),
            "/userinfo" => (200, state.userinfo.clone()),
            "/token" => {
                state.grants.push(String::from_utf8(request.body().clone()).unwrap());
                if !(state.takes_client)(request) {
                    let refused =
                        Response::builder().status(401).body(br#"{"error":"invalid_client"}"#.to_vec());
                    return (delay, Ok(refused.unwrap()));
                }
                state.token_answer.clone().unwrap_or_else(|| (200, state.tokens()))
            }
            _ => (404, json!({})),
        };
        // What is no JSON is a JWT, which goes out as it is.
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let answer = Response::builder().status(status).body(body.into_bytes()).unwrap();
        (delay, Ok(answer))
    }
}

impl State {
    fn tokens(&self) -> Value {
        let number = self.grants.len();
        json!({
            "token_type": "Bearer",
            "access_token": self.access_token.clone().unwrap_or_else(|| format!("access-token-{number}")),
            "refresh_token": format!("refresh-token-{number}"),
            "id_token": self.id_token(),
            "expires_in": self.expires_in,
        })
    }

    fn id_token(&self) -> String {
        sign_claims(&self.claims_now())
    }

    fn claims_now(&self) -> Value {
        let now = self.world.now().secs();
        let mut all = claims();
        let all_claims = all.as_object_mut().unwrap();
        all_claims.extend(self.claims.as_object().unwrap().clone());
        all_claims.retain(|_, value| !value.is_null());
        all["iat"] = now.into();
        all["exp"] = (now + 3600).into();
        all["nonce"] = self.nonce.clone().into();
        all
    }
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "client_id": CLIENT,
    })
}
