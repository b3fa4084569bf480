//! Who signs people in: `mode`, and the sign-in app of one's own.

use super::choices::ModeName;
use super::errors::ConfigErrors;
use super::options::Options;
use crate::path_match::{SkipAuth, is_prefix};

/// `mode`: whose work a sign-in is.
#[derive(Clone, Debug)]
pub enum Mode {
    /// This filter's.
    Login,
    /// An oauth2-proxy's, which has the paths under `proxy_prefix`.
    Beside,
    /// An app's behind this Envoy.
    App(LoginApp),
}

impl Mode {
    /// Whether this filter makes sessions and ends them; else it may only read and renew them.
    pub fn owns_sessions(&self) -> bool {
        !matches!(self, Self::Beside)
    }
}

/// The app that signs people in and hands their sessions over.
#[derive(Clone, Debug)]
pub struct LoginApp {
    /// `login_app_path`.
    pub path: String,
    /// The same path and those beneath it, however they are written.
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
                errors.add(name, "is for mode app alone; set mode, or leave it out");
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
        errors.add("login_app_path", "must not be under proxy_prefix, where the filter's own endpoints are");
    }
    LoginApp {
        path: path.to_owned(),
        routes: SkipAuth::beneath(path),
        clusters: options.login_app_clusters.clone(),
    }
}

/// Whether the filter talks to the provider: where it signs people in, renews what others signed in, or
/// takes the provider's tokens.
pub(super) fn needs_provider(options: &Options) -> bool {
    options.mode == ModeName::Login || !options.cookie_refresh.is_zero() || options.skip_jwt_bearer_tokens
}

/// Without a use for the provider, its options are a mistake: whoever gave them expects a sign-in.
pub(super) fn refuse_provider(options: &Options, errors: &mut ConfigErrors) {
    for (name, is_given) in [
        ("oidc_issuer_url", options.oidc_issuer_url.is_some()),
        ("client_id", !options.client_id.is_empty()),
        ("client_secret", !options.client_secret.is_empty()),
    ] {
        if is_given {
            errors.add(
                name,
                "has no use in this mode, where others sign people in; leave it out, or set cookie_refresh to renew sessions with it",
            );
        }
    }
}
