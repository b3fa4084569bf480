//! `mode` `app`: the operator's own login app authenticates users, and the filter keeps the session that it hands over.
//!
//! ```text
//! browser ── POST /login ──► Envoy ──► app                      no session is needed for its path
//!         ◄── set-cookie ── Envoy ◄── x-oauth2-session: {…}     only from its cluster, only on its path
//! ```
//!
//! The header's value is JSON, or base64 of JSON (either alphabet). The header never reaches the browser: not from another
//! upstream, and not as a trailer.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use log::{error, info, warn};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{Config, LoginApp};
use crate::flow::decision::HandedOver;
use crate::flow::http::forged::is_session_header;
use crate::flow::http::reply::Reply;
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::encode;
use crate::flow::http::{Header, headers, reply};
use crate::flow::io::{Count, Io};
use crate::flow::pages::Pages;
use crate::flow::principal::WholeSession;
use crate::flow::skip_auth::is_login_app_path;
use crate::flow::{App, access_log};
use crate::session::{Claims, Session, SessionInfo};
use crate::time::Timestamp;
use session_codec::header_block::HeaderBlock;

/// The longest value of the header, in bytes. Envoy accepts 60 KiB of response headers; a cookie holds less.
const MAX_VALUE: usize = 32 << 10;

/// The `set-cookie` headers of a session that is kept; or a reply instead of the response, if the store does not
/// answer.
pub(crate) type Keeping = Pin<Box<dyn Future<Output = Result<Vec<Header>, Reply>>>>;

/// The members of the JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionHeader {
    user: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    preferred_username: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    id_token: String,
    #[serde(default)]
    refresh_token: String,
    /// Seconds (RFC 6749 section 5.1).
    expires_in: Option<u64>,
    #[serde(default)]
    additional_claims: Map<String, Value>,
}

/// A redirect to the login app, with the target in `rd`.
pub(in crate::flow) fn sign_in(login_app: &LoginApp, target: &str) -> Reply {
    reply::redirect(&format!("{}?rd={}", login_app.path, encode(target.as_bytes())))
}

/// What happens to a session in the response to this request.
pub(in crate::flow) fn handed_over(config: &Config, head: &RequestHead) -> HandedOver {
    match config.mode.login_app() {
        None => HandedOver::Never,
        Some(_) if is_login_app_path(config, head) => HandedOver::Kept(Box::new(head.clone())),
        Some(_) => HandedOver::Dropped,
    }
}

/// The names of the trailers that hold a session. The filter takes no session from a trailer, and the browser must not
/// get it.
pub(in crate::flow) fn drop_trailers<I: Io>(app: &App<I>, trailers: &HeaderBlock) -> Vec<Vec<u8>> {
    let names = trailers.headers().map(|(name, _)| name).filter(|name| is_session_header(name));
    let names: Vec<_> = names.map(<[u8]>::to_vec).collect();
    if !names.is_empty() {
        app.io.count(Count::HandedOverDropped);
        if let Some(left_out) = app.log_limits.handed_over.next(app.io.now()) {
            warn!(
                "login app: a session in the trailers of a response was dropped: send it as a header{left_out}"
            );
        }
    }
    names
}

/// Takes the session from a response with these values of its header, from this cluster of Envoy. If this upstream may
/// not hand sessions over, or the session is invalid, the filter logs that and the response goes on without it.
pub(in crate::flow) fn take_session<I: Io>(
    app: &Rc<App<I>>,
    handed_over: HandedOver,
    cluster: &[u8],
    values: &[&[u8]],
) -> Option<Keeping> {
    let (&value, others) = values.split_first()?;
    let is_trusted = app.config.mode.login_app().is_some_and(|login_app| login_app.is_trusted(cluster));
    let head = match handed_over {
        HandedOver::Kept(head) if is_trusted => head,
        _ => {
            app.io.count(Count::HandedOverDropped);
            if let Some(left_out) = app.log_limits.handed_over.next(app.io.now()) {
                warn!(
                    "login app: dropped a session in the response of another upstream or path; see login_app_clusters \
                     and login_app_path{left_out}"
                );
            }
            return None;
        }
    };
    let session =
        if others.is_empty() { session(value, app.io.now()) } else { Err("there is more than one") };
    let whole = session.map(|session| WholeSession::signed_in(&app.config, session));
    let refused = match whole {
        Ok(whole) if whole.principal.allowed => {
            return Some(Box::pin(keep(Rc::clone(app), head, whole)));
        }
        Ok(_) => "email_domains or allowed_groups does not allow this account",
        Err(reason) => reason,
    };
    app.io.count(Count::HandedOverRefused);
    if let Some(left_out) = app.log_limits.handed_over.next(app.io.now()) {
        error!("login app: the session that it handed over is refused: {refused}{left_out}");
    }
    None
}

async fn keep<I: Io>(
    app: Rc<App<I>>,
    head: Box<RequestHead>,
    whole: Rc<WholeSession>,
) -> Result<Vec<Header>, Reply> {
    match app.store.create(&whole, &head).await {
        Ok(cookie) => {
            app.io.count(Count::HandedOver);
            info!("login app: a session was handed over");
            Ok(reply::private(app.cookie.save(&cookie, &whole.session, &head, app.io.now())))
        }
        Err(reason) => {
            app.io.count(Count::HandedOverRefused);
            error!("login app: could not store the session that it handed over: {reason}");
            let pages = Pages::new(&app.config, &head);
            let page = pages.not_now(pages.words.sign_in_not_finished, reason, None, "");
            Err(reply::because(page, access_log::unavailable(reason)))
        }
    }
}

/// The session in a value of the header, or why there is none.
fn session(value: &[u8], now: Timestamp) -> Result<Session, &'static str> {
    if value.len() > MAX_VALUE {
        return Err("it is larger than 32 KiB");
    }
    let value = value.trim_ascii();
    let json = if value.starts_with(b"{") {
        value.to_vec()
    } else {
        decode(value).ok_or("it is neither JSON nor base64")?
    };
    // The parser's message could quote a token.
    let header: SessionHeader = serde_json::from_slice(&json).map_err(|_| "its JSON is not as documented")?;
    if header.user.is_empty() {
        return Err("it has no user");
    }
    let names = [&header.user, &header.email, &header.preferred_username].into_iter().chain(&header.groups);
    if !names.into_iter().all(|name| is_name(name)) {
        return Err("a user, an email address or a group has a control character, or a blank at an end");
    }
    if header.expires_in == Some(0) {
        return Err("it has expired");
    }
    let lifetime = header.expires_in.map(Duration::from_secs);
    Ok(Session {
        info: SessionInfo {
            created_at: Some(now),
            signed_in_at: None,
            expires_on: lifetime.map(|lifetime| now.after(lifetime)),
            email: header.email.into_bytes(),
            user: header.user.into_bytes(),
            groups: header.groups.into_iter().map(String::into_bytes).collect(),
            preferred_username: header.preferred_username.into_bytes(),
            additional_claims: Claims::from_json(&header.additional_claims),
        },
        access_token: header.access_token.into_bytes(),
        id_token: header.id_token.into_bytes(),
        refresh_token: header.refresh_token.into_bytes(),
        nonce: Vec::new(),
    })
}

/// Whether headers can carry the text exactly. A login app can choose another value, unlike a provider.
fn is_name(text: &str) -> bool {
    headers::is_field_value(text.as_bytes()) && !text.chars().any(char::is_control)
}

/// base64 of either alphabet, padded or not.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = value
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    let unpadded = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(&text);
    URL_SAFE_NO_PAD.decode(unpadded).ok()
}
