//! `/oauth2/backchannel_logout`: the provider says that a user has signed out (OpenID Connect Back-Channel Logout 1.0).
//!
//! ```text
//! POST, logout_token=… ── verify ── used before? ── end the sessions ── remember the token ──► 200
//!                            │           │                │                    │
//!                            └───────────┴────────────────┴────────────────────┴──────────► 400
//!
//! <cookie name>-logout.<32 hex digits>     a token that was used, by its issuer and `jti`: SET NX, 15 minutes
//! ```
//!
//! A token is remembered after the sessions have ended, and not before: if Redis fails between the two, the provider may
//! send the token again. A token that two workers get at the same moment ends the same sessions twice, which changes
//! nothing.

use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use http::StatusCode;
use log::{info, warn};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::flow::access_log::{self, AccessLogEntry};
use crate::flow::decision::{Action, Decision};
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;
use crate::flow::provider::Provider;
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::user::User;
use crate::flow::util::gate::Gate;
use crate::flow::util::lru::BoundedLru;
use crate::flow::{App, MAX_REQUEST_BODY};
use crate::oidc::{self, LogoutScope, LogoutToken};
use crate::redis::{Command, Failure, Reply as RedisReply};
use crate::runtime::rate::{LogLimit, Rate};

/// The header by which the bridge's listener knows requests of the filter to the provider. A client must not send it
/// there.
const OF_THE_BRIDGE: &str = "x-oauth2-session-bridge";

/// How many tokens a worker remembers. It asks Redis for the others.
const REMEMBERED_HERE: usize = 1024;

/// How many invalid signatures are checked at once; after that, one in every period. See `bearer.rs`.
const FORGED_AT_ONCE: u32 = 20;
const FORGED_PERIOD: Duration = Duration::from_micros(2500);

/// How long a logout goes on if Redis is away, and how long it waits between two attempts. Many providers do not send a
/// token again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// The logout tokens of a worker.
pub(in crate::flow) struct BackchannelLogout<I> {
    io: I,
    provider: Rc<Provider<I>>,
    /// What the keys of tokens in Redis begin with.
    prefix: String,
    gate: Gate<I>,
    used: BoundedLru<()>,
    forged: Rate,
    /// The limit of log lines about invalid tokens.
    lines: LogLimit,
    /// The limit of log lines about valid tokens that ended nothing.
    failures: LogLimit,
}

/// Why a logout has failed.
enum Failed {
    /// The request has no logout token, or several.
    NoToken,
    /// The token is invalid.
    Token(SignInError),
    /// The token was used before.
    Used,
    /// Something that a logout needs does not answer.
    Unavailable(Unavailable),
}

/// How far a logout has got. A step that was done is not done again: the reply to the last one may have been lost.
#[derive(PartialEq, Eq)]
enum Progress {
    Begun,
    Unused,
    Ended,
}

impl<I: Io> BackchannelLogout<I> {
    /// None without `backchannel_logout`.
    pub(in crate::flow) fn new(
        config: &Config,
        provider: Option<&Rc<Provider<I>>>,
        io: &I,
    ) -> Option<Rc<Self>> {
        let provider = provider.filter(|_| config.login.backchannel_logout)?;
        Some(Rc::new(Self {
            io: io.clone(),
            provider: Rc::clone(provider),
            prefix: format!("{}-logout.", config.cookie.name),
            gate: Gate::new(io, PATIENCE, Count::LogoutTokensBusy),
            used: BoundedLru::new(REMEMBERED_HERE),
            forged: Rate::new(FORGED_AT_ONCE, FORGED_PERIOD),
            lines: LogLimit::default(),
            failures: LogLimit::default(),
        }))
    }

    /// The token of a form, if it is valid.
    async fn verify(&self, body: &[u8]) -> Result<LogoutToken, Failed> {
        let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
        let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
            return Err(Failed::NoToken);
        };
        // Thousands of requests may have waited for the keys together.
        self.provider.has_keys().await.map_err(Failed::Unavailable)?;
        if !self.forged.allows(self.io.now()) {
            return Err(Failed::Unavailable(Unavailable::Busy));
        }
        self.provider.logout_token(&token).await.map_err(|error| match error {
            SignInError::Unavailable(reason) => Failed::Unavailable(reason),
            error => {
                self.forged.take(error.forged_signatures(), self.io.now());
                Failed::Token(error)
            }
        })
    }

    /// The key of a token in Redis. What the provider writes into it must not shape a key.
    fn key(&self, token: &LogoutToken) -> Vec<u8> {
        let mut key = self.prefix.clone();
        let name = Sha256::new().chain_update(&token.issuer).chain_update([0]).chain_update(&token.id);
        for byte in name.finalize().iter().take(16) {
            let _ = write!(key, "{byte:02x}");
        }
        key.into_bytes()
    }

    /// Fails if the token was used before.
    async fn check_unused(&self, key: &[u8]) -> Result<(), Failed> {
        if self.used.get(key).is_some() {
            return Err(Failed::Used);
        }
        match self.io.redis(Command::get(key)).await {
            // A server that has just taken over may have lost the key. To lose the logout would be worse.
            Ok(RedisReply::Nil) | Err(Failure::PossiblyStale) => Ok(()),
            Ok(RedisReply::Bulk(_)) => Err(Failed::Used),
            _ => Err(Failed::Unavailable(Unavailable::Redis)),
        }
    }

    /// Remembers a token, here and for all proxies.
    async fn remember(&self, key: &[u8]) -> Result<(), Failed> {
        match self.io.redis(Command::restore(key, oidc::REMEMBERED, b"1")).await {
            Ok(RedisReply::Status(_) | RedisReply::Nil) => {
                self.used.insert(key, &Rc::new(()), key.len());
                Ok(())
            }
            _ => Err(Failed::Unavailable(Unavailable::Redis)),
        }
    }
}

/// Decides by the head whether the body is worth reading.
pub(super) fn by_head(head: &RequestHead) -> Decision {
    let media_type = head.header("content-type").split(|byte| *byte == b';').next().unwrap_or_default();
    if !media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return refuse("the body must be application/x-www-form-urlencoded").into();
    }
    if !head.header(OF_THE_BRIDGE).is_empty() {
        return refuse("a header is not allowed").into();
    }
    let length = std::str::from_utf8(head.header("content-length")).unwrap_or_default();
    if length.parse().is_ok_and(|length: usize| length > MAX_REQUEST_BODY) {
        return too_large().into();
    }
    Action::ReadBody.into()
}

/// The answer if Envoy would send the request to another cluster than the bridge's: the route is missing.
pub(in crate::flow) fn no_route<I: Io>(app: &App<I>) -> Reply {
    if let Some(left_out) = app.log_limits.no_route.next(app.io.now()) {
        warn!(
            "back-channel logout: Envoy has no route for {}/backchannel_logout to the cluster {}, so the filter cannot \
             read the token; see docs/back-channel-logout.md{left_out}",
            app.config.routes.proxy_prefix, app.config.bridge_cluster
        );
    }
    let line = "Envoy's configuration has no route for this endpoint";
    reply::because(reply::text(StatusCode::NOT_IMPLEMENTED, line), "no_logout_route")
}

/// The answer to a body that is too long.
pub(in crate::flow) fn too_large() -> Reply {
    let line = "The body is too large for a logout token";
    reply::because(reply::text(StatusCode::PAYLOAD_TOO_LARGE, line), "logout_token")
}

/// Handles a request by its body. The logout is a task of its own: a provider that does not wait for the answer must not
/// stop it.
pub(in crate::flow) async fn handle<I: Io>(app: Rc<App<I>>, body: Vec<u8>) -> Decision {
    let (done, result) = oneshot::channel();
    let running = Rc::clone(&app);
    app.io.spawn(async move {
        let answer = logout(&running, &body).await;
        let _ = done.send(answer);
    });
    let answer = result.await.unwrap_or_else(|_| refuse(""));
    let word = answer.details();
    AccessLogEntry::on(answer, &app.config, word, None)
}

async fn logout<I: Io>(app: &App<I>, body: &[u8]) -> Reply {
    let Some(logouts) = &app.backchannel_logout else { return refuse("") };
    match end_sessions(app, logouts, body).await {
        Ok(()) => {
            app.io.count(Count::BackchannelLogout);
            reply::because(reply::empty(StatusCode::OK), "backchannel_logout")
        }
        Err(failed) => {
            let is_unavailable = matches!(failed, Failed::Unavailable(_));
            app.io.count(if is_unavailable {
                Count::BackchannelLogoutFailed
            } else {
                Count::BackchannelLogoutRefused
            });
            let limit = if is_unavailable { &logouts.failures } else { &logouts.lines };
            if let Some(left_out) = limit.next(app.io.now()) {
                match &failed {
                    Failed::Unavailable(_) => warn!(
                        "back-channel logout: {failed}, so the sessions go on; the provider has to send the token \
                         again{left_out}"
                    ),
                    _ => info!("back-channel logout: {failed}{left_out}"),
                }
            }
            reply::because(refuse(&failed.to_string()), failed.word())
        }
    }
}

async fn end_sessions<I: Io>(
    app: &App<I>,
    logouts: &BackchannelLogout<I>,
    body: &[u8],
) -> Result<(), Failed> {
    let _permit = logouts.gate.enter().await.map_err(Failed::Unavailable)?;
    let token = logouts.verify(body).await?;
    let key = logouts.key(&token);
    let (began, mut progress) = (app.io.now(), Progress::Begun);
    loop {
        match attempt(app, logouts, &token, &key, &mut progress).await {
            Err(Failed::Unavailable(Unavailable::Redis)) if began.was_within(PATIENCE, app.io.now()) => {
                app.io.sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn attempt<I: Io>(
    app: &App<I>,
    logouts: &BackchannelLogout<I>,
    token: &LogoutToken,
    key: &[u8],
    progress: &mut Progress,
) -> Result<(), Failed> {
    if *progress == Progress::Begun {
        logouts.check_unused(key).await?;
        *progress = Progress::Unused;
    }
    if *progress == Progress::Unused {
        let issuer = &token.issuer;
        let ended = match &token.scope {
            LogoutScope::Session(sid) => app.store.end_by_sid(issuer, sid).await,
            LogoutScope::User(subject) => {
                let user = User { issuer: issuer.clone(), subject: subject.clone() };
                app.store.end_all(&user).await
            }
        };
        ended.map_err(Failed::Unavailable)?;
        *progress = Progress::Ended;
    }
    logouts.remember(key).await
}

/// 400 as in RFC 6749 section 5.2. With a status of 5xx, section 2.8 of the standard would not be kept.
fn refuse(why: &str) -> Reply {
    let body = json!({ "error": "invalid_request", "error_description": why });
    reply::because(reply::json(StatusCode::BAD_REQUEST, &body), "logout_token")
}

impl Failed {
    /// The word for the access log.
    fn word(&self) -> &'static str {
        match self {
            Self::NoToken | Self::Token(_) => "logout_token",
            Self::Used => "logout_token_used",
            Self::Unavailable(reason) => access_log::unavailable(*reason),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoToken => f.write_str("the form has no logout_token, or more than one"),
            Self::Token(SignInError::IdToken(error)) => write!(f, "logout token: {error}"),
            Self::Token(error) => write!(f, "logout token: {error}"),
            Self::Used => f.write_str("logout token: it was used before (jti)"),
            Self::Unavailable(reason) => f.write_str(reason.explain()),
        }
    }
}
