//! The OpenID provider: where it is, how the filter identifies itself there, and what its answers must have.

use std::time::Duration;

use super::choices::CodeChallengeMethod;
use super::errors::ConfigErrors;
use super::options::Options;
use super::provider_name::{ProviderKind, ProviderName, ProviderPreset};
use super::secret::Secret;
use super::secrets::SecretsFrom;
use super::url::Url;
use crate::oidc::{ClientAuthMethod, Metadata, is_unencrypted};

/// The options of the provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// How `provider` differs from the others.
    pub kind: ProviderKind,
    /// `oidc_issuer_url`.
    pub issuer_url: String,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`; empty for a public client.
    pub client_secret: Secret,
    /// `token_endpoint_auth_method`; none for the way that the provider accepts.
    pub token_endpoint_auth_method: Option<ClientAuthMethod>,
    /// `scope`.
    pub scope: String,
    /// `code_challenge_method`.
    pub code_challenge_method: Option<CodeChallengeMethod>,
    /// `prompt`; empty for none.
    pub prompt: String,
    /// `acr_values`; empty for none.
    pub acr_values: String,
    /// The endpoints from the options, with `skip_oidc_discovery`.
    pub metadata: Option<Metadata>,
    /// `insecure_oidc_skip_issuer_verification`.
    pub insecure_skip_issuer_verification: bool,
    /// `insecure_oidc_skip_nonce`.
    pub insecure_skip_nonce: bool,
    /// `insecure_oidc_allow_http_endpoints`.
    pub allow_http_endpoints: bool,
    /// `insecure_oidc_allow_unverified_email`.
    pub allow_unverified_email: bool,
    /// The claim of the user.
    pub user_id_claim: String,
    /// `oidc_email_claim`.
    pub email_claim: String,
    /// `oidc_groups_claim`.
    pub groups_claim: String,
    /// `additional_claims`.
    pub additional_claims: Vec<String>,
    /// `oidc_audience_claims`.
    pub audience_claims: Vec<String>,
    /// `oidc_extra_audiences`.
    pub extra_audiences: Vec<String>,
    /// `skip_claims_from_profile_url`.
    pub skip_claims_from_profile_url: bool,
    /// `entra_id_allowed_tenants`; empty for all.
    pub allowed_tenants: Vec<String>,
    /// `provider_request_timeout`.
    pub request_timeout: Duration,
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> ProviderConfig {
    let preset = options.provider.preset();
    check(options, preset, errors);
    check_encryption(options, preset, errors);
    ProviderConfig {
        kind: preset.kind,
        issuer_url: issuer(options, preset, errors),
        client_id: options.client_id.clone(),
        client_secret: options.client_secret.clone(),
        token_endpoint_auth_method: options.token_endpoint_auth_method,
        scope: scope(options, preset),
        code_challenge_method: options.code_challenge_method,
        prompt: options.prompt.clone(),
        acr_values: options.acr_values.clone(),
        metadata: metadata(options, preset, errors),
        insecure_skip_issuer_verification: options.insecure_oidc_skip_issuer_verification,
        insecure_skip_nonce: options.insecure_oidc_skip_nonce,
        allow_http_endpoints: options.insecure_oidc_allow_http_endpoints,
        allow_unverified_email: options.insecure_oidc_allow_unverified_email,
        user_id_claim: preset.user_claim.to_owned(),
        email_claim: options.oidc_email_claim.clone(),
        groups_claim: if preset.has_groups { options.oidc_groups_claim.clone() } else { String::new() },
        additional_claims: options.additional_claims.clone(),
        audience_claims: options.oidc_audience_claims.clone(),
        extra_audiences: options.oidc_extra_audiences.clone(),
        skip_claims_from_profile_url: options.skip_claims_from_profile_url,
        allowed_tenants: options.entra_id_allowed_tenants.clone(),
        request_timeout: options.provider_request_timeout,
    }
}

fn check(options: &Options, preset: &ProviderPreset, errors: &mut ConfigErrors) {
    if options.client_id.is_empty() && !errors.has("client_id") {
        errors.add("client_id", "is missing; write the client id that the provider has given to this client");
    }
    if let ProviderName::Refused(instead) = options.provider {
        errors.add("provider", instead);
    }
    for (name, is_unused, kind, mistake) in [
        (
            "allowed_roles",
            options.allowed_roles.is_empty(),
            ProviderKind::Keycloak,
            "is for the provider keycloak-oidc",
        ),
        (
            "entra_id_allowed_tenants",
            options.entra_id_allowed_tenants.is_empty(),
            ProviderKind::EntraId,
            "is for the provider entra-id",
        ),
        ("resource", options.resource.is_empty(), ProviderKind::Adfs, "is for the provider adfs"),
    ] {
        errors.check(is_unused || preset.kind == kind, name, mistake);
    }
    for (name, groups) in
        [("allowed_groups", &options.allowed_groups), ("admin_groups", &options.admin_groups)]
    {
        let mistake = "cannot be used with this provider, because its tokens have no groups";
        errors.check(preset.has_groups || groups.is_empty(), name, mistake);
    }
    // A public client has only PKCE to prove that a code is its preset.
    let has_proof = !options.client_secret.is_empty()
        || options.secrets_from == SecretsFrom::Bridge
        || options.code_challenge_method.is_some();
    if !has_proof && !errors.has("client_secret") {
        errors.add(
            "client_secret",
            "is missing; only a public client has no secret, and it needs code_challenge_method",
        );
    }
    // OpenID Connect Discovery 3: an issuer has neither query nor fragment.
    if options.oidc_issuer_url.as_ref().is_some_and(|url| url.as_str().contains('?')) {
        errors.add("oidc_issuer_url", "must not have a query");
    }
    errors.check(!options.oidc_email_claim.is_empty(), "oidc_email_claim", "must not be empty");
    errors.check(!options.oidc_audience_claims.is_empty(), "oidc_audience_claims", "must not be empty");
    // Envoy counts in milliseconds, and 0 means no limit there.
    if options.provider_request_timeout.as_millis() == 0 {
        errors.add("provider_request_timeout", "must be at least 1ms");
    }
}

/// The options may not name an http endpoint if the metadata may not.
fn check_encryption(options: &Options, preset: &ProviderPreset, errors: &mut ConfigErrors) {
    let issuer = options.oidc_issuer_url.as_ref().map_or(preset.issuer, Url::as_str);
    if options.insecure_oidc_allow_http_endpoints || is_unencrypted(issuer) {
        return;
    }
    for (name, url) in [
        ("login_url", &options.login_url),
        ("redeem_url", &options.redeem_url),
        ("oidc_jwks_url", &options.oidc_jwks_url),
        ("profile_url", &options.profile_url),
        ("oidc_end_session_url", &options.oidc_end_session_url),
    ] {
        let is_encrypted = !url.as_ref().is_some_and(|url| is_unencrypted(url.as_str()));
        errors.check(
            is_encrypted,
            name,
            "is http, but the issuer is https; write https, or set insecure_oidc_allow_http_endpoints",
        );
    }
}

/// The issuer URL: from the option, otherwise the provider's preset.
fn issuer(options: &Options, preset: &ProviderPreset, errors: &mut ConfigErrors) -> String {
    if options.oidc_issuer_url.is_none() && preset.issuer.is_empty() && !errors.has("oidc_issuer_url") {
        errors.add(
            "oidc_issuer_url",
            "is missing; write the provider's URL, such as https://login.example.com",
        );
    }
    options.oidc_issuer_url.as_ref().map_or(preset.issuer, Url::as_str).to_owned()
}

/// The scope, built as in oauth2-proxy.
fn scope(options: &Options, preset: &ProviderPreset) -> String {
    let needs_groups = !(options.allowed_groups.is_empty() && options.admin_groups.is_empty());
    let scope = match (options.scope.as_str(), needs_groups) {
        ("", true) if preset.has_groups_scope => format!("{} groups", preset.scope),
        ("", _) => preset.scope.to_owned(),
        (scope, _) => scope.to_owned(),
    };
    let resource = options.resource.strip_suffix('/').unwrap_or(&options.resource);
    if resource.is_empty() || scope.starts_with(&format!("{resource}/")) {
        return scope;
    }
    format!("{resource}/{scope}")
}

/// The endpoints of the options, instead of the provider's own metadata.
fn metadata(options: &Options, preset: &ProviderPreset, errors: &mut ConfigErrors) -> Option<Metadata> {
    let endpoints = [
        ("login_url", &options.login_url),
        ("redeem_url", &options.redeem_url),
        ("oidc_jwks_url", &options.oidc_jwks_url),
    ];
    if !options.skip_oidc_discovery {
        let given = endpoints.into_iter().chain([("profile_url", &options.profile_url)]);
        for (name, _) in given.filter(|(_, url)| url.is_some()) {
            errors.add(name, "the provider's metadata has it; leave it out, or set skip_oidc_discovery");
        }
        return None;
    }
    for (name, url) in endpoints {
        if url.is_none() && !errors.has(name) {
            errors.add(name, "is missing; skip_oidc_discovery needs it");
        }
    }
    Some(Metadata {
        issuer: options.oidc_issuer_url.as_ref().map_or(preset.issuer, Url::as_str).to_owned(),
        authorization_endpoint: text(options.login_url.as_ref()),
        token_endpoint: text(options.redeem_url.as_ref()),
        jwks_uri: text(options.oidc_jwks_url.as_ref()),
        userinfo_endpoint: options.profile_url.as_ref().map(|url| url.as_str().to_owned()),
        ..Metadata::default()
    })
}

/// The text of a URL. It is empty without a URL; the caller has reported that mistake.
fn text(url: Option<&Url>) -> String {
    url.map(Url::as_str).unwrap_or_default().to_owned()
}
