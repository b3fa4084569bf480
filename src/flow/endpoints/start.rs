//! `/oauth2/start` and `/oauth2/sign_in`: a sign-in begins with three random numbers and a redirect to the provider.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::csrf_cookies::CsrfCookies;
use super::redirect;
use crate::config::{CodeChallengeMethod, Config, ProviderKind};
use crate::flow::access_log::AccessLogEntry;
use crate::flow::decision::Decision;
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::encode;
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::pages::{Pages, SignIn};
use crate::flow::{App, access_log};
use crate::oidc;
use crate::oidc::{AuthorizationRequest, authorization_url};
use crate::session::csrf::Csrf;

/// `/oauth2/sign_in`: the page with the button. It ends the session, as in oauth2-proxy.
pub(in crate::flow) async fn sign_in_page<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Reply {
    let pages = Pages::new(&app.config, &head);
    if let Err(reason) = app.store.end(&head).await {
        let page = pages.unavailable(pages.words.sign_in_not_possible, reason, "");
        return reply::because(page, access_log::unavailable(reason));
    }
    let target = redirect::target(&app.config, &head);
    let login = &app.config.login;
    let mut page = pages.sign_in(&SignIn {
        provider_name: &login.provider_display_name,
        start_url: &start_url(&app.config, &target),
        banner: login.banner.as_deref(),
        footer: login.footer.as_deref(),
    });
    reply::add_headers(&mut page, app.cookie.clear(&head).iter());
    reply::because(page, "sign_in")
}

/// The URL that begins a sign-in with this target.
pub(in crate::flow) fn start_url(config: &Config, target: &str) -> String {
    format!("{}/start?rd={}", config.routes.proxy_prefix, encode(target.as_bytes()))
}

/// Sends the browser to the provider (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1).
pub(in crate::flow) async fn handle<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let target = redirect::target(&app.config, &head);
    match begin(&app, &head, &target).await {
        Ok(answer) => reply::because(answer, "start").into(),
        Err(reason) => {
            let pages = Pages::new(&app.config, &head);
            let what = pages.words.sign_in_not_possible;
            let page = pages.not_now(what, reason, None, &start_url(&app.config, &target));
            AccessLogEntry::on(page, &app.config, access_log::unavailable(reason), None)
        }
    }
}

async fn begin<I: Io>(app: &App<I>, head: &RequestHead, target: &str) -> Result<Reply, Unavailable> {
    let provider = app.provider.as_ref().ok_or(Unavailable::Provider)?;
    let metadata = provider.metadata().await?;
    let provider = provider.config();
    let csrf = Csrf {
        state: app.io.random::<32>()?.to_vec(),
        nonce: app.io.random::<32>()?.to_vec(),
        code_verifier: match provider.code_challenge_method {
            Some(_) => oidc::code_verifier(&app.io.random::<96>()?),
            None => String::new(),
        },
    };
    let challenge = provider.code_challenge_method.map(|method| match method {
        CodeChallengeMethod::S256 => ("S256", oidc::code_challenge_s256(&csrf.code_verifier)),
        CodeChallengeMethod::Plain => ("plain", csrf.code_verifier.clone()),
    });
    let url = authorization_url(
        &metadata.authorization_endpoint,
        &AuthorizationRequest {
            client_id: &provider.client_id,
            redirect_uri: &redirect_uri(&app.config, head),
            scope: &provider.scope,
            state: &write_state(&app.config, &csrf, target),
            nonce: Some(&csrf.nonce_hash()).filter(|_| !provider.insecure_skip_nonce).map(String::as_str),
            code_challenge: challenge.as_ref().map(|(method, challenge)| (*method, challenge.as_str())),
            prompt: &provider.prompt,
            acr_values: &provider.acr_values,
            access_type: if provider.kind == ProviderKind::Google { "offline" } else { "" },
        },
    );
    let mut answer = reply::redirect(&url);
    let cookies = CsrfCookies::new(app, head).begin(&csrf, &app.io)?;
    reply::add_headers(&mut answer, cookies.iter());
    Ok(answer)
}

/// `redirect_url`, or the callback on the host that the browser asked for.
pub(in crate::flow) fn redirect_uri(config: &Config, head: &RequestHead) -> String {
    config.login.redirect_url.clone().unwrap_or_else(|| {
        let host = String::from_utf8_lossy(head.host());
        format!("{}://{host}{}/callback", head.scheme(), config.routes.proxy_prefix)
    })
}

/// The `state` parameter: the hash of the CSRF cookie's state, and the target; in base64url if `encode_state` is set.
fn write_state(config: &Config, csrf: &Csrf, target: &str) -> String {
    let state = format!("{}:{target}", csrf.state_hash());
    if config.login.encode_state { URL_SAFE_NO_PAD.encode(state) } else { state }
}

/// The hash and the target of a `state` parameter.
pub(in crate::flow) fn read_state(config: &Config, state: &str) -> Option<(String, String)> {
    let state = if config.login.encode_state {
        String::from_utf8(URL_SAFE_NO_PAD.decode(state).ok()?).ok()?
    } else {
        state.to_owned()
    };
    let (hash, target) = state.split_once(':')?;
    Some((hash.to_owned(), target.to_owned()))
}
