//! Bearer tokens instead of a session: which issuers are accepted.

use super::errors::{ConfigErrors, shown};
use super::options::Options;
use super::provider::ProviderConfig;
use super::provider_name::ProviderKind;
use super::url::Url;

/// The options of bearer tokens.
#[derive(Clone, Debug)]
pub struct BearerConfig {
    /// `bearer_token_login_fallback`.
    pub login_fallback: bool,
    /// `extra_jwt_issuers`, each as a provider that is only used for tokens, not for sign-ins.
    pub issuers: Vec<ProviderConfig>,
}

/// The options; `None` if no tokens are accepted.
pub(super) fn build(
    options: &Options,
    provider: Option<&ProviderConfig>,
    errors: &mut ConfigErrors,
) -> Option<BearerConfig> {
    if !options.skip_jwt_bearer_tokens {
        let mistake = "is for bearer tokens; set skip_jwt_bearer_tokens, or leave this out";
        errors.check(options.extra_jwt_issuers.is_empty(), "extra_jwt_issuers", mistake);
        return None;
    }
    let provider = provider?;
    let mut issuers = Vec::new();
    for entry in &options.extra_jwt_issuers {
        match issuer(entry, provider) {
            Some(issuer) => issuers.push(issuer),
            None => errors.add(
                "extra_jwt_issuers",
                format!(
                    "in {}: must be issuer=audience, such as https://login.example.com=api",
                    shown(entry)
                ),
            ),
        }
    }
    Some(BearerConfig { login_fallback: options.bearer_token_login_fallback, issuers })
}

/// The claims are the standard ones, even if the options set others for the provider; oauth2-proxy does the
/// same.
fn issuer(entry: &str, provider: &ProviderConfig) -> Option<ProviderConfig> {
    let (issuer, audience) = entry.rsplit_once('=')?;
    let issuer = Url::parse(issuer).filter(|url| !url.as_str().contains('?'))?;
    let is_complete = !audience.is_empty();
    is_complete.then(|| ProviderConfig {
        kind: ProviderKind::Plain,
        issuer_url: issuer.as_str().to_owned(),
        client_id: audience.to_owned(),
        metadata: None,
        insecure_skip_issuer_verification: false,
        allow_unverified_email: false,
        user_id_claim: "sub".to_owned(),
        email_claim: "email".to_owned(),
        groups_claim: "groups".to_owned(),
        additional_claims: Vec::new(),
        ..provider.clone()
    })
}
