//! `/oauth2/sign_out`: ends the session, clears the cookie, tells the provider, and redirects the browser. `end_session.rs`
//! sends it on to the provider.

use std::rc::Rc;

use http::Request;
use log::{info, warn};

use super::{end_session, everywhere_token, redirect};
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::{encode, is_same_origin};
use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;
use crate::flow::pages::Pages;
use crate::flow::user::User;
use crate::flow::{App, access_log};
use crate::session::Session;

/// The placeholder for the session's ID token in `rd` and in `backend_logout_url`, as in oauth2-proxy.
const ID_TOKEN: &str = "{id_token}";

/// Ends the session of the browser. If the store does not answer, the session goes on, and the page says so: a user
/// must not believe that they are signed out while they are not.
pub(in crate::flow) async fn handle<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Reply {
    let pages = Pages::new(&app.config, &head);
    let session = match app.store.end(&head).await {
        Ok(session) => session.inspect(|_| app.io.count(Count::SignOut)),
        Err(reason) => {
            let page = pages.unavailable(pages.words.still_signed_in, reason, "");
            return reply::because(page, access_log::unavailable(reason));
        }
    };
    let everywhere_url = session.as_ref().and_then(|session| everywhere_url(&app, session));
    let id_token = session.map(|session| String::from_utf8_lossy(&session.id_token).into_owned());
    let id_token = id_token.unwrap_or_default();
    tell_provider(&app, &id_token);
    // The target is checked without the placeholder too: `/{id_token}/evil.example` would become `//evil.example`.
    let is_allowed =
        |target: &String| redirect::checked(&app.config, target.replace(ID_TOKEN, "").as_bytes()).is_some();
    let asked = redirect::requested(&app.config, &head).filter(is_allowed);
    let everywhere_url = everywhere_url.as_deref();
    let mut answer = match asked {
        Some(target) => reply::redirect(&with_id_token(&app, &target, &id_token).await),
        None => go_on(&app, pages, &id_token, everywhere_url).await,
    };
    reply::add_headers(&mut answer, app.cookie.clear(&head).iter());
    reply::because(answer, "sign_out")
}

/// The answer to a browser whose session has ended: it goes on to the provider (`provider_sign_out`), or gets the
/// signed-out page.
pub(super) async fn go_on<I: Io>(
    app: &App<I>,
    pages: Pages<'_>,
    id_token: &str,
    everywhere_url: Option<&str>,
) -> Reply {
    match &app.config.login.provider_sign_out {
        Some(options) => end_session::leave(app, options, id_token, pages, everywhere_url).await,
        None => {
            pages.signed_out(&format!("{}/sign_in", app.config.routes.proxy_prefix), None, everywhere_url)
        }
    }
}

/// The URL that signs the user of an ended session out everywhere, if there is an index of sessions.
fn everywhere_url<I: Io>(app: &App<I>, session: &Session) -> Option<String> {
    app.config.redis.as_ref().filter(|redis| redis.session_index)?;
    let (user, _) = User::of(session);
    let token = everywhere_token::seal(&app.secrets.cookie(), &user, app.io.now(), app.io.random().ok()?)?;
    Some(format!("{}/sign_out_everywhere?token={token}", app.config.routes.proxy_prefix))
}

/// Puts the ID token into the target, if the target is at the provider; otherwise removes the placeholder. Any site can
/// make a user follow a link to this endpoint, and a site that learns the ID token could act as that user wherever
/// bearer tokens are accepted.
async fn with_id_token<I: Io>(app: &App<I>, target: &str, id_token: &str) -> String {
    if !target.contains(ID_TOKEN) || id_token.is_empty() {
        return target.replace(ID_TOKEN, "");
    }
    match check_target(app, target).await {
        Ok(()) => target.replace(ID_TOKEN, &encode(id_token.as_bytes())),
        Err(reason) => {
            if let Some(left_out) = app.log_limits.id_tokens.next(app.io.now()) {
                info!("sign-out: rd goes without the ID token: {reason}{left_out}");
            }
            target.replace(ID_TOKEN, "")
        }
    }
}

/// Whether the target has the origin of the provider's end-session endpoint, or why that is unknown.
async fn check_target<I: Io>(app: &App<I>, target: &str) -> Result<(), &'static str> {
    match end_session_endpoint(app).await.map_err(Unavailable::explain)? {
        Some(endpoint) if is_same_origin(target, &endpoint) => Ok(()),
        Some(_) => Err("it leads to another host than the provider's end-session endpoint"),
        None => Err("the provider's end-session endpoint is not known; see oidc_end_session_url"),
    }
}

/// The provider's end-session endpoint, by option or by its metadata; none if the metadata does not name one.
pub(super) async fn end_session_endpoint<I: Io>(app: &App<I>) -> Result<Option<String>, Unavailable> {
    match (&app.config.login.end_session_url, &app.provider) {
        (None, Some(provider)) => Ok(provider.metadata().await?.end_session_endpoint.clone()),
        (configured, _) => Ok(configured.clone()),
    }
}

/// Calls `backend_logout_url`, if there is an ID token for it. The browser does not wait for it.
pub(super) fn tell_provider<I: Io>(app: &Rc<App<I>>, id_token: &str) {
    let Some(url) = app.config.login.backend_logout_url.as_ref().filter(|_| !id_token.is_empty()) else {
        return;
    };
    let url = url.replace(ID_TOKEN, &encode(id_token.as_bytes()));
    let Ok(request) = Request::get(url).body(Vec::new()) else {
        return warn!("sign-out: backend_logout_url is not a valid URL with the ID token in it");
    };
    let app = Rc::clone(app);
    app.io.clone().spawn(async move {
        let Err(failure) = call_logout_url(&app, request).await else { return };
        if let Some(left_out) = app.log_limits.logouts.next(app.io.now()) {
            warn!("sign-out: backend_logout_url: {failure}{left_out}");
        }
    });
}

async fn call_logout_url<I: Io>(app: &App<I>, request: Request<Vec<u8>>) -> Result<(), String> {
    let _permit = app.logouts.enter().await.map_err(|busy| busy.explain().to_owned())?;
    match app.io.call(request, app.config.login.backend_logout_timeout).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status().as_u16())),
        Err(error) => Err(error.to_string()),
    }
}
