//! Which users are allowed, the options of the pages, and where a sign-in may lead to.

use std::time::Duration;

use super::callback;
use super::errors::ConfigErrors;
use super::mode::Mode;
use super::options::Options;
use super::provider_name::ProviderKind;

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
    /// `whitelist_domains`.
    pub whitelist_domains: Vec<String>,
    /// `redirect_url`, with the path of the callback.
    pub redirect_url: Option<String>,
    /// `backend_logout_url`.
    pub backend_logout_url: Option<String>,
    /// `oidc_end_session_url`.
    pub end_session_url: Option<String>,
    /// `provider_request_timeout`, for `backend_logout_url`.
    pub backend_logout_timeout: Duration,
    /// `encode_state`.
    pub encode_state: bool,
}

pub(super) fn build(options: &Options, mode: &Mode, errors: &mut ConfigErrors) -> Login {
    // A value that can never match is a mistake: no user would be allowed, or no sign-in would lead back.
    if options.email_domains.iter().any(|domain| domain.contains('@')) {
        errors.add("email_domains", "must be domains such as example.com, without an @");
    }
    if options.whitelist_domains.iter().any(|domain| domain.contains(['/', '@'])) {
        errors.add("whitelist_domains", "must be domains such as example.com, not URLs");
    }
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
        whitelist_domains: options.whitelist_domains.clone(),
        redirect_url: callback::build(options, mode, errors),
        backend_logout_url: options.backend_logout_url.as_ref().map(|url| url.as_str().to_owned()),
        end_session_url: options.oidc_end_session_url.as_ref().map(|url| url.as_str().to_owned()),
        backend_logout_timeout: options.provider_request_timeout,
        // AD FS decodes the state twice; only base64url survives that.
        encode_state: options.encode_state || provider.kind == ProviderKind::Adfs,
    }
}

/// A text of the sign-in page, if there is one; `-` means none, as in oauth2-proxy.
fn text(text: &str) -> Option<String> {
    Some(text).filter(|text| !matches!(*text, "" | "-")).map(str::to_owned)
}
