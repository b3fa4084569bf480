//! Who signs users in: `mode`, and the options of a sign-in app.

use super::choices::ModeName;
use super::errors::ConfigErrors;
use super::options::Options;
use crate::path_match::{SkipAuth, is_prefix};

/// `mode`: who signs users in.
#[derive(Clone, Debug)]
pub enum Mode {
    /// This filter.
    Login,
    /// An oauth2-proxy, which has the paths under `proxy_prefix`.
    Beside,
    /// An app behind this Envoy.
    App(LoginApp),
}

impl Mode {
    /// Whether this filter creates and ends sessions. Otherwise it may only read and renew them.
    pub fn owns_sessions(&self) -> bool {
        !matches!(self, Self::Beside)
    }

    /// The app that signs people in.
    pub fn login_app(&self) -> Option<&LoginApp> {
        match self {
            Self::App(login_app) => Some(login_app),
            Self::Login | Self::Beside => None,
        }
    }
}

/// The app that signs users in and hands their sessions over.
#[derive(Clone, Debug)]
pub struct LoginApp {
    /// `login_app_path`.
    pub path: String,
    /// The same path and all paths beneath it, in every spelling.
    pub routes: SkipAuth,
    clusters: Vec<String>,
}

impl LoginApp {
    /// Whether `login_app_clusters` has the cluster that a response came from.
    pub fn is_trusted(&self, cluster: &[u8]) -> bool {
        self.clusters.iter().any(|trusted| trusted.as_bytes() == cluster)
    }
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Mode {
    let app_options = [
        ("login_app_path", options.login_app_path.is_empty()),
        ("login_app_clusters", options.login_app_clusters.is_empty()),
    ];
    match options.mode {
        ModeName::App => {
            for (name, _) in app_options.iter().filter(|(_, is_empty)| *is_empty) {
                errors.add(name, "is missing; mode app needs it");
            }
            Mode::App(login_app(options, errors))
        }
        mode => {
            for (name, _) in app_options.iter().filter(|(_, is_empty)| !*is_empty) {
                errors.add(name, "is only for mode app; set mode, or leave it out");
            }
            if mode == ModeName::Beside { Mode::Beside } else { Mode::Login }
        }
    }
}

fn login_app(options: &Options, errors: &mut ConfigErrors) -> LoginApp {
    let path = options.login_app_path.as_str();
    if !is_prefix(path) && !errors.has("login_app_path") {
        errors.add(
            "login_app_path",
            "must be a path such as /login, without a slash at its end; letters, digits and -._~ only",
        );
    }
    let beneath_ours = path.strip_prefix(options.proxy_prefix.as_str());
    if beneath_ours.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        errors.add("login_app_path", "must not be under proxy_prefix, which has the filter's own endpoints");
    }
    LoginApp {
        path: path.to_owned(),
        routes: SkipAuth::beneath(path),
        clusters: options.login_app_clusters.clone(),
    }
}

/// Whether the filter talks to the provider: it does if it signs users in, renews the sessions of others, or
/// accepts the provider's tokens.
pub(super) fn needs_provider(options: &Options) -> bool {
    options.mode == ModeName::Login || !options.cookie_refresh.is_zero() || options.skip_jwt_bearer_tokens
}

/// If the filter does not talk to the provider, the provider's options are a mistake: the operator expects a
/// sign-in.
pub(super) fn refuse_provider(options: &Options, errors: &mut ConfigErrors) {
    for (name, is_given) in [
        ("oidc_issuer_url", options.oidc_issuer_url.is_some()),
        ("client_id", !options.client_id.is_empty()),
        ("client_secret", !options.client_secret.is_empty()),
    ] {
        if is_given {
            errors.add(
                name,
                "is not used in this mode, because the filter does not sign users in; leave it out, or set \
                 cookie_refresh to renew sessions with it",
            );
        }
    }
}
