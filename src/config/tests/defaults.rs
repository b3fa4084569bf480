//! The defaults.

use std::time::Duration;

use super::*;
use crate::config::{CodeChallengeMethod, SessionCache};

#[test]
fn defaults_are_those_of_oauth2_proxy() {
    let config = config(json!({}));
    assert_eq!(config.cookie.name, "_oauth2_proxy");
    assert_eq!(config.cookie.attributes.path, "/");
    assert!(config.cookie.attributes.domains.is_empty());
    assert!(config.cookie.attributes.http_only);
    assert!(config.cookie.attributes.secure);
    assert_eq!(config.cookie.attributes.same_site, None);
    assert_eq!(config.cookie.csrf_attributes, config.cookie.attributes);
    assert_eq!(config.cookie.expire, Duration::from_secs(168 * 3600));
    assert_eq!(config.cookie.refresh, Duration::ZERO);
    assert_eq!(config.cookie.csrf_expire, Duration::from_secs(900));
    assert!(!config.cookie.csrf_per_request);
    assert_eq!(config.cookie.csrf_per_request_limit, None);
    assert!(!config.cookie.minimal);
    let provider = config.provider.as_ref().unwrap();
    assert_eq!(provider.scope, "openid email profile");
    assert_eq!(provider.email_claim, "email");
    assert_eq!(provider.groups_claim, "groups");
    assert_eq!(provider.user_id_claim, "sub");
    assert_eq!(provider.audience_claims, ["aud"]);
    assert!(provider.extra_audiences.is_empty());
    assert!(provider.metadata.is_none());
    assert!(!provider.insecure_skip_issuer_verification);
    assert!(!provider.allow_unverified_email);
    assert!(!provider.skip_claims_from_profile_url);
    assert_eq!(config.routes.proxy_prefix, "/oauth2");
    assert_eq!(config.routes.ping_path, "/ping");
    assert_eq!(config.routes.ready_path, "/ready");
    assert!(!config.routes.skip_auth_preflight);
    assert!(!config.routes.force_json_errors);
    assert_eq!(config.login.provider_display_name, "OpenID Connect");
    assert!(!config.login.skip_provider_button);
    assert!(!config.login.encode_state);
    assert!(config.headers.pass_user_headers);
    assert!(config.headers.pass_basic_auth);
    assert!(config.headers.skip_auth_strip_headers);
    assert!(!config.headers.pass_access_token);
    assert!(!config.headers.set_xauthrequest);
}

#[test]
fn pkce_and_nonce_are_on_by_default() {
    let config = config(json!({}));
    assert_eq!(config.provider.as_ref().unwrap().code_challenge_method, Some(CodeChallengeMethod::S256));
    assert!(!config.provider.as_ref().unwrap().insecure_skip_nonce);
}

#[test]
fn own_options_have_documented_defaults() {
    let config = config(json!({}));
    assert_eq!(config.bridge_cluster, "oauth2_session_bridge");
    assert_eq!(config.provider.as_ref().unwrap().request_timeout, Duration::from_secs(5));
    assert!(!config.provider.as_ref().unwrap().allow_http_endpoints);
    assert_eq!(config.cookie.session_cache, SessionCache::Bytes(32 << 20));
    // Below the 60 KiB that Envoy allows for all headers.
    assert_eq!(config.cookie.max_bytes, 48 << 10);
    assert!(config.cookie.enforce_expires_on);
    assert!(!config.headers.strip_session_cookie);
    assert!(config.access_log.is_empty());
}
