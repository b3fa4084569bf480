//! `/oauth2/sessions` lists the sessions of a user and ends one of them; `/oauth2/sign_out_everywhere` ends all. Both need
//! `redis_session_index`.
//!
//! ```text
//! GET  /oauth2/sessions                          a page, or JSON for a program
//! POST /oauth2/sessions?end=<name>               ends this one
//! POST /oauth2/sign_out_everywhere               ends all
//! POST /oauth2/sign_out_everywhere?token=…       the same from the signed-out page, see `everywhere_token`
//! …&user=<sub>[&issuer=<iss>]                    of another user, for members of `admin_groups`
//! ```
//!
//! A session is named by a keyed hash of its ticket's id, so no page has the id. A `POST` has to come from a page of this
//! site, see `csrf`.

use std::rc::Rc;

use http::StatusCode;
use log::info;
use serde::Serialize;

use super::{everywhere_token, sign_out, start};
use crate::flow::access_log::AccessLogEntry;
use crate::flow::decision::Decision;
use crate::flow::http::client_kind::ClientKind;
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::encode;
use crate::flow::http::{Header, csrf};
use crate::flow::io::Io;
use crate::flow::load::Usage;
use crate::flow::outcome::{Outcome, Unavailable};
use crate::flow::pages::{ErrorPage, ListedSession, Pages, Sessions, Words};
use crate::flow::principal::Principal;
use crate::flow::store::redis::UserSession;
use crate::flow::user::User;
use crate::flow::{App, access_log};
use crate::session::ticket::TicketId;
use crate::time::Timestamp;

/// The user who asks, by the session of the browser.
struct Caller {
    principal: Rc<Principal>,
    /// The ID token of the session, if the request may end it.
    id_token: String,
    /// The ticket of that session.
    ticket: TicketId,
    /// The user of the session.
    user: User,
    /// The new session cookie, if it was renewed.
    cookies: Vec<Header>,
}

/// Whose sessions a request is about.
struct Target {
    user: User,
    /// Whether it is another user than the caller, or the caller as one of the users.
    is_by_admin: bool,
}

/// A session, in JSON.
#[derive(Serialize)]
struct SessionJson {
    id: String,
    signed_in_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    current: bool,
}

#[derive(Serialize)]
struct SessionsJson {
    user: String,
    sessions: Vec<SessionJson>,
}

#[derive(Serialize)]
struct EndedJson {
    ended: usize,
}

/// `GET /oauth2/sessions`.
pub(in crate::flow) async fn list<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let (caller, target) = match caller_and_target(&app, &head).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let session = Some(&caller.principal.session);
    let mut sessions = match app.store.sessions_of(&target.user).await {
        Ok(sessions) => sessions,
        Err(reason) => return unavailable(&app, &head, |words| words.sessions_not_shown, reason),
    };
    // This session first; the others stay as they are, the newest first.
    sessions.sort_by_key(|session| session.id != caller.ticket);
    let mut answer = if is_program(&app, &head) {
        reply::json(StatusCode::OK, &as_json(&app, &caller, &target, &sessions))
    } else {
        as_page(&app, &head, &caller, &target, &sessions)
    };
    reply::add_headers(&mut answer, caller.cookies.iter());
    AccessLogEntry::on(answer, &app.config, "sessions", session)
}

/// `POST /oauth2/sessions?end=<name>`.
pub(in crate::flow) async fn end<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let (caller, target) = match caller_and_target(&app, &head).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    if let Some(answer) = refuse_forged(&app, &head, &caller) {
        return answer.into();
    }
    let asked = head.query("end").unwrap_or_default();
    match end_named(&app, &target.user, &asked).await {
        Err(reason) => unavailable(&app, &head, |words| words.sessions_not_ended, reason),
        // It has ended already, which is what the user wants.
        Ok(None) => ended(&app, &head, &caller, &target, 0, false).await,
        Ok(Some((id, was_there))) => {
            ended(&app, &head, &caller, &target, usize::from(was_there), id == caller.ticket).await
        }
    }
}

/// Ends the session of this name. Its ticket, and whether there was one.
async fn end_named<I: Io>(
    app: &App<I>,
    user: &User,
    asked: &str,
) -> Result<Option<(TicketId, bool)>, Unavailable> {
    let sessions = app.store.sessions_of(user).await?;
    let Some(session) =
        sessions.into_iter().find(|session| names(app, &session.id).any(|name| name == asked))
    else {
        return Ok(None);
    };
    let was_there = app.store.end_one(user, &session.id).await?;
    Ok(Some((session.id, was_there)))
}

/// `POST /oauth2/sign_out_everywhere`.
pub(in crate::flow) async fn sign_out_everywhere<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    if let Some(token) = head.query("token") {
        return by_token(&app, &head, &token).await;
    }
    let (caller, target) = match caller_and_target(&app, &head).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    if let Some(answer) = refuse_forged(&app, &head, &caller) {
        return answer.into();
    }
    let number = match app.store.end_all(&target.user).await {
        Ok(number) => number,
        Err(reason) => return unavailable(&app, &head, |words| words.sessions_not_ended, reason),
    };
    let is_own = target.user == caller.user;
    // The browser's own sessions may not be in the index yet.
    if is_own && let Err(reason) = app.store.end(&head).await {
        return unavailable(&app, &head, |words| words.sessions_not_ended, reason);
    }
    ended(&app, &head, &caller, &target, number, is_own).await
}

/// The same for the user of the signed-out page's token. The token is in no other page. An access log may
/// have it, so a page of another site is refused all the same.
async fn by_token<I: Io>(app: &App<I>, head: &RequestHead, token: &str) -> Decision {
    if let Some(answer) = csrf::refuse_other_site(head) {
        return answer.into();
    }
    let pages = Pages::new(&app.config, head);
    let Some(user) = everywhere_token::open(&app.secrets.cookie(), token, app.io.now()) else {
        let answer = if is_program(app, head) {
            reply::text(StatusCode::FORBIDDEN, "Forbidden")
        } else {
            pages.error(&ErrorPage {
                status: StatusCode::FORBIDDEN,
                title: pages.words.sessions_not_ended,
                message: pages.words.button_is_too_old,
                reference: None,
                retry_url: Some(&start::start_url(&app.config, &sessions_url(app))),
                retry_label: pages.words.sign_in,
            })
        };
        return reply::because(answer, access_log::FORBIDDEN).into();
    };
    match app.store.end_all(&user).await {
        Ok(number) => {
            let answer = if is_program(app, head) {
                reply::json(StatusCode::OK, &EndedJson { ended: number })
            } else {
                pages.signed_out(&format!("{}/sign_in", app.config.routes.proxy_prefix), None, None)
            };
            reply::because(answer, "sessions_ended").into()
        }
        Err(reason) => unavailable(app, head, |words| words.sessions_not_ended, reason),
    }
}

/// The answer after sessions have ended. If the browser's own is among them, this is a sign-out like any other: the
/// provider is told, and the browser goes on to it.
async fn ended<I: Io>(
    app: &Rc<App<I>>,
    head: &RequestHead,
    caller: &Caller,
    target: &Target,
    number: usize,
    is_own: bool,
) -> Decision {
    if target.is_by_admin {
        info!("sessions: an administrator ended {number} sessions of a user; see `user` in the access log");
    }
    let id_token = caller.id_token.as_str();
    if is_own {
        sign_out::tell_provider(app, id_token);
    }
    let mut answer = match is_program(app, head) {
        true => reply::json(StatusCode::OK, &EndedJson { ended: number }),
        false if is_own => sign_out::go_on(app, Pages::new(&app.config, head), id_token, None).await,
        false => reply::see_other(&format!("{}{}", sessions_url(app), query(target, '?'))),
    };
    let cleared = is_own.then(|| app.cookie.clear(head));
    reply::add_headers(&mut answer, cleared.as_ref().unwrap_or(&caller.cookies).iter());
    AccessLogEntry::on(answer, &app.config, "sessions_ended", Some(&caller.principal.session))
}

/// The caller, and whose sessions the request is about; or the answer to a request that may not ask for them.
async fn caller_and_target<I: Io>(
    app: &Rc<App<I>>,
    head: &RequestHead,
) -> Result<(Caller, Target), Decision> {
    let loaded = app
        .store
        .load(head, Usage { may_set_cookie: |_, _| true, is_use: super::is_use, ..Usage::LOOK })
        .get()
        .await;
    let cookies = app.cookie.for_response(head, &loaded, app.io.now());
    let (principal, ticket) = match (loaded.outcome, app.store.ticket(head)) {
        (Outcome::Authenticated(principal), Some(ticket)) => (principal, ticket),
        (Outcome::Unavailable(reason), _) => {
            return Err(unavailable(app, head, |words| words.sessions_not_shown, reason));
        }
        (outcome, _) => {
            let pages = Pages::new(&app.config, head);
            let mut answer = match ClientKind::of(&app.config.routes, head) {
                ClientKind::Program(_) => reply::json(StatusCode::UNAUTHORIZED, &serde_json::Map::new()),
                ClientKind::Browser => pages.error(&ErrorPage {
                    status: StatusCode::UNAUTHORIZED,
                    title: pages.words.not_signed_in,
                    message: pages.words.sign_in_for_sessions,
                    reference: None,
                    retry_url: Some(&start::start_url(&app.config, &sessions_url(app))),
                    retry_label: pages.words.sign_in,
                }),
            };
            reply::add_headers(&mut answer, cookies.iter());
            return Err(AccessLogEntry::on(answer, &app.config, access_log::reason(&outcome), None));
        }
    };
    let Some(user) = principal.owner.as_ref().map(|owner| owner.user.clone()) else {
        return Err(unavailable(app, head, |words| words.sessions_not_shown, Unavailable::NoIndex));
    };
    // A sign-out needs it, and then the session has ended.
    let id_token = if head.method() == b"POST" { app.store.id_token(head).await } else { String::new() };
    let caller = Caller { principal, id_token, ticket, user, cookies };
    let Some(subject) = head.query("user") else {
        let user = caller.user.clone();
        return Ok((caller, Target { user, is_by_admin: false }));
    };
    if !is_admin(app, &caller) {
        let answer = reply::text(StatusCode::FORBIDDEN, "Forbidden");
        let session = Some(&caller.principal.session);
        return Err(AccessLogEntry::on(answer, &app.config, access_log::FORBIDDEN, session));
    }
    let issuer = head.query("issuer").unwrap_or_else(|| caller.user.issuer.clone());
    Ok((caller, Target { user: User { issuer, subject }, is_by_admin: true }))
}

/// Whether the caller may see and end the sessions of other users.
fn is_admin<I: Io>(app: &App<I>, caller: &Caller) -> bool {
    let groups = &caller.principal.session.groups;
    let is_admin = |group: &String| groups.iter().any(|other| other == group.as_bytes());
    caller.principal.allowed && app.config.login.admin_groups.iter().any(is_admin)
}

/// The answer to a request that another site made the browser send.
fn refuse_forged<I: Io>(app: &App<I>, head: &RequestHead, caller: &Caller) -> Option<Reply> {
    let secrets = app.secrets.cookie();
    let is_token = |token: &str| csrf::is_token(&secrets, caller.ticket.redis_key(), token, app.io.now());
    csrf::refuse(head, is_token)
}

fn unavailable<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    what: fn(&Words) -> &str,
    reason: Unavailable,
) -> Decision {
    let pages = Pages::new(&app.config, head);
    let answer = match ClientKind::of(&app.config.routes, head) {
        ClientKind::Program(_) => reply::unavailable_json(reason.explain()),
        ClientKind::Browser => pages.not_now(what(pages.words), reason, None, ""),
    };
    AccessLogEntry::on(answer, &app.config, access_log::unavailable(reason), None)
}

fn is_program<I: Io>(app: &App<I>, head: &RequestHead) -> bool {
    ClientKind::of(&app.config.routes, head) != ClientKind::Browser
}

fn sessions_url<I: Io>(app: &App<I>) -> String {
    format!("{}/sessions", app.config.routes.proxy_prefix)
}

/// The parameters of a target that is not the caller.
fn query(target: &Target, separator: char) -> String {
    if !target.is_by_admin {
        return String::new();
    }
    let User { issuer, subject } = &target.user;
    format!("{separator}user={}&issuer={}", encode(subject.as_bytes()), encode(issuer.as_bytes()))
}

/// The name of a session in pages and JSON.
fn name<I: Io>(app: &App<I>, id: &TicketId) -> String {
    names(app, id).next().unwrap_or_default()
}

/// The names of a session by each cookie secret: the page may be from before a change of the secret.
fn names<I: Io>(app: &App<I>, id: &TicketId) -> impl Iterator<Item = String> {
    let hashes = app.cookie.fingerprints(&["session", &String::from_utf8_lossy(id.redis_key())]);
    hashes.into_iter().map(|hash| hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn as_json<I: Io>(app: &App<I>, caller: &Caller, target: &Target, sessions: &[UserSession]) -> SessionsJson {
    let now = app.io.now();
    let as_json = |session: &UserSession| SessionJson {
        id: name(app, &session.id),
        signed_in_at: Timestamp::from_secs(session.began).to_string(),
        last_used_at: last_use(app, session).map(|at| at.to_string()),
        expires_at: session.time_to_live.map(|life| whole_secs(now.after(life)).to_string()),
        current: session.id == caller.ticket,
    };
    SessionsJson { user: target.user.subject.clone(), sessions: sessions.iter().map(as_json).collect() }
}

/// When the session was last used, if `session_idle_timeout` has written that: Redis keeps a session for the timeout from
/// then on. The last use may be later by what `session_idle_timeout` does not write, or if an absolute end comes first. A
/// session that lives for longer was not used since oauth2-proxy saved it.
fn last_use<I: Io>(app: &App<I>, session: &UserSession) -> Option<Timestamp> {
    let (idle, now) = (app.config.lifetimes.idle?, app.io.now());
    let unused = idle.checked_sub(session.time_to_live?)?;
    let unused = i64::try_from(unused.as_secs()).ok()?;
    Some(Timestamp::from_secs(now.secs().saturating_sub(unused).max(session.began)))
}

fn whole_secs(time: Timestamp) -> Timestamp {
    Timestamp::from_secs(time.secs())
}

fn as_page<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    caller: &Caller,
    target: &Target,
    sessions: &[UserSession],
) -> Reply {
    let url = sessions_url(app);
    let token = csrf::query(&app.secrets.cookie(), caller.ticket.redis_key(), app.io.now());
    let whose = query(target, '&');
    let listed: Vec<ListedSession> = sessions
        .iter()
        .map(|session| ListedSession {
            began: Timestamp::from_secs(session.began).to_string(),
            last_used: last_use(app, session).map(|at| at.to_string()),
            is_current: session.id == caller.ticket,
            end_url: format!("{url}?end={}&{token}{whose}", name(app, &session.id)),
        })
        .collect();
    Pages::new(&app.config, head).sessions(&Sessions {
        user: target.is_by_admin.then_some(target.user.subject.as_str()),
        sessions: &listed,
        everywhere_url: &format!("{}/sign_out_everywhere?{token}{whose}", app.config.routes.proxy_prefix),
        search_url: is_admin(app, caller).then_some(url.as_str()),
        forms_leave: app.config.login.provider_sign_out.is_some(),
    })
}
