//! Which users are allowed, the options of the sign-in page, and where a sign-in may lead to.

use std::time::Duration;

use http::Uri;

use super::backchannel_logout;
use super::callback;
use super::errors::ConfigErrors;
use super::mode::Mode;
use super::options::Options;
use super::provider_name::ProviderKind;
use super::url::Url;

/// The options of sign-in and sign-out.
#[derive(Clone, Debug)]
pub struct Login {
    /// `skip_provider_button`.
    pub skip_provider_button: bool,
    /// `provider_display_name`.
    pub provider_display_name: String,
    /// `banner`, if it is not empty.
    pub banner: Option<String>,
    /// `footer`, if it is not empty.
    pub footer: Option<String>,
    /// `email_domains`, never empty.
    pub email_domains: Vec<String>,
    /// `allowed_groups`, and `allowed_roles` in the format of Keycloak's roles among the groups; empty for
    /// all users.
    pub allowed_groups: Vec<String>,
    /// `admin_groups`; empty for no administrators.
    pub admin_groups: Vec<String>,
    /// `whitelist_domains`.
    pub whitelist_domains: Vec<String>,
    /// `redirect_url`, with the path of the callback.
    pub redirect_url: Option<String>,
    /// `backend_logout_url`.
    pub backend_logout_url: Option<String>,
    /// `oidc_end_session_url`.
    pub end_session_url: Option<String>,
    /// `provider_sign_out`, if it is set.
    pub provider_sign_out: Option<ProviderSignOut>,
    /// `provider_request_timeout`, for `backend_logout_url`.
    pub backend_logout_timeout: Duration,
    /// `backchannel_logout`.
    pub backchannel_logout: bool,
    /// `encode_state`.
    pub encode_state: bool,
}

/// The options of a sign-out that goes on to the provider.
#[derive(Clone, Debug)]
pub struct ProviderSignOut {
    /// `post_logout_redirect_url`.
    pub post_logout_redirect_url: Option<String>,
}

pub(super) fn build(options: &Options, mode: &Mode, errors: &mut ConfigErrors) -> Login {
    // A value that can never match is a mistake: no user would be allowed, or no sign-in would lead back.
    if options.email_domains.iter().any(|domain| domain.contains('@')) {
        errors.add("email_domains", "must be domains such as example.com, without an @");
    }
    if options.whitelist_domains.iter().any(|domain| domain.contains(['/', '@'])) {
        errors.add("whitelist_domains", "must be domains such as example.com, not URLs");
    }
    errors.check(
        options.admin_groups.is_empty() || options.redis_session_index,
        "admin_groups",
        "needs redis_session_index, because only the index knows the sessions of other users",
    );
    let provider = options.provider.preset();
    let roles = options.allowed_roles.iter().map(|role| format!("role:{role}"));
    Login {
        skip_provider_button: options.skip_provider_button,
        provider_display_name: text(&options.provider_display_name)
            .unwrap_or_else(|| provider.display_name.to_owned()),
        banner: text(&options.banner),
        footer: text(&options.footer),
        email_domains: options.email_domains.clone(),
        allowed_groups: options.allowed_groups.iter().cloned().chain(roles).collect(),
        admin_groups: options.admin_groups.clone(),
        whitelist_domains: options.whitelist_domains.clone(),
        redirect_url: callback::build(options, mode, errors),
        backend_logout_url: options.backend_logout_url.as_ref().map(|url| url.as_str().to_owned()),
        end_session_url: options.oidc_end_session_url.as_ref().map(|url| url.as_str().to_owned()),
        provider_sign_out: provider_sign_out(options, mode, errors),
        backend_logout_timeout: options.provider_request_timeout,
        backchannel_logout: backchannel_logout::build(options, errors),
        // AD FS decodes the state twice; only base64url survives that.
        encode_state: options.encode_state || provider.kind == ProviderKind::Adfs,
    }
}

fn provider_sign_out(options: &Options, mode: &Mode, errors: &mut ConfigErrors) -> Option<ProviderSignOut> {
    let url = options.post_logout_redirect_url.as_ref().map(Url::as_str);
    if !options.provider_sign_out {
        errors.check(
            url.is_none(),
            "post_logout_redirect_url",
            "is only for provider_sign_out; set it, or leave this out",
        );
        return None;
    }
    match mode {
        Mode::Beside => errors.add(
            "provider_sign_out",
            "is not for mode beside: oauth2-proxy has the path of the sign-out; leave it out, and let the rd of the \
             sign-out lead to the provider",
        ),
        Mode::App(_) => errors.add(
            "provider_sign_out",
            "is not for mode app: the sign-in app is the client of the provider; leave it out, and let the rd of the \
             sign-out lead to the app, which ends the provider's session",
        ),
        Mode::Login if options.skip_oidc_discovery && options.oidc_end_session_url.is_none() => {
            errors.add("provider_sign_out", "needs oidc_end_session_url, because of skip_oidc_discovery");
        }
        Mode::Login => {}
    }
    // The filter adds the ID token itself, to one of the two.
    for (name, url) in [
        ("oidc_end_session_url", options.oidc_end_session_url.as_ref().map(Url::as_str)),
        ("post_logout_redirect_url", url),
    ] {
        errors.check(
            !url.is_some_and(|url| url.contains("{id_token}")),
            name,
            "must not have {id_token}: with provider_sign_out, the filter adds id_token_hint to the provider's URL",
        );
    }
    // The browser would go from one to the other without end.
    let sign_out = format!("{}/sign_out", options.proxy_prefix);
    let path = url.and_then(|url| url.parse::<Uri>().ok()).map(|url| url.path().to_owned());
    errors.check(
        path.as_ref() != Some(&sign_out),
        "post_logout_redirect_url",
        "must not be a sign-out, which would send the browser to the provider again",
    );
    Some(ProviderSignOut { post_logout_redirect_url: url.map(str::to_owned) })
}

/// A text of the pages, if there is one; `-` means none, as in oauth2-proxy.
pub(super) fn text(text: &str) -> Option<String> {
    Some(text).filter(|text| !matches!(*text, "" | "-")).map(str::to_owned)
}
