//! Options of oauth2-proxy v7.15.3 that the filter refuses, and what to do instead.

/// A sentence, and the names of the options that it is about.
type Refused = (&'static str, &'static str);

const REFUSED: &[Refused] = &[
    // Secrets and other files
    ("the filter cannot read files; give the secret as OAUTH2_PROXY_CLIENT_SECRET", "client_secret_file"),
    ("the filter cannot read files; give the secret as OAUTH2_PROXY_COOKIE_SECRET", "cookie_secret_file"),
    (
        "the filter cannot read files; use email_domains and allowed_groups, or Envoy's RBAC filter after this one, on \
         X-Forwarded-Email",
        "authenticated_emails_file",
    ),
    (
        "the filter cannot read files; it gets the keys from the provider, or with skip_oidc_discovery from \
         oidc_jwks_url",
        "oidc_public_key_files",
    ),
    // What Envoy does
    (
        "Envoy is the server; set this in its listener",
        "http_address https_address tls_cert_file tls_key_file tls_min_version \
         tls_cipher_suites",
    ),
    (
        "Envoy is the proxy; set this in its routes and clusters",
        "upstreams upstream_timeout pass_host_header proxy_websockets \
         disable_keep_alives ssl_upstream_insecure_skip_verify",
    ),
    ("leave it out; Envoy forwards each part of a response when it arrives", "flush_interval"),
    (
        "Envoy finds the client's address; if it is in another header than X-Forwarded-For, set \
         original_ip_detection_extensions instead of use_remote_address",
        "real_client_ip_header",
    ),
    (
        "the filter cannot see the address of a peer, so with reverse_proxy it believes the headers of every peer; \
         let only these proxies connect to Envoy",
        "trusted_proxy_ips",
    ),
    (
        "Envoy knows the addresses; add a filter chain for them (source_prefix_ranges), without this filter, that \
         removes the identity headers",
        "trusted_ips",
    ),
    ("leave it out; Envoy forwards a query as it is", "allow_query_semicolons"),
    (
        "Envoy has the metrics; see /stats/prometheus of its admin interface",
        "metrics_address metrics_secure_address metrics_tls_cert_file metrics_tls_key_file",
    ),
    (
        "Envoy writes the log of requests; set its access_log",
        "request_logging request_logging_format exclude_logging_paths silence_ping_logging \
         request_id_header",
    ),
    (
        "the filter writes to Envoy's log; see Envoy's options --log-path and --component-log-level",
        "auth_logging auth_logging_format standard_logging standard_logging_format \
         errors_to_info_log logging_filename logging_max_size logging_max_age \
         logging_max_backups logging_local_time logging_compress show_debug_on_error",
    ),
    (
        "Envoy verifies the certificate of Redis; set the trusted CA in the cluster oauth2_session_redis_tls",
        "redis_ca_path",
    ),
    (
        "Envoy verifies the provider's certificate; set the trusted CA in the cluster oauth2_session_https",
        "ssl_insecure_skip_verify provider_ca_files use_system_trust_store",
    ),
    // Older names of options
    ("it was replaced; use skip_auth_routes, with a = before a pattern that contains =", "skip_auth_regex"),
    ("it was replaced; use code_challenge_method", "force_code_challenge_method"),
    ("it was replaced; use oidc_email_claim", "user_id_claim"),
    ("it was replaced; use prompt, with consent instead of force", "approval_prompt"),
    (
        "use allowed_groups, and oidc_groups_claim if the claim has another name",
        "keycloak_groups gitlab_groups",
    ),
    ("use ping_path and ready_path", "gcp_healthchecks ping_user_agent"),
    ("leave it out; without redirect_url, the host of the request is used", "relative_redirect_url"),
    // Options that the filter does not need
    (
        "leave it out; the filter checks a session by its signature and expiry, without asking the provider",
        "validate_url",
    ),
    ("leave it out; the provider sends its answer in the query", "auth_request_response_mode"),
    ("leave it out; the provider's keys say which algorithms they are for", "oidc_enabled_signing_algs"),
    (
        "the pages are built in; use pages_title, pages_logo, pages_language, banner and footer, or \
         skip_provider_button for none",
        "custom_templates_dir",
    ),
    ("use pages_logo, with an https URL, or with the image itself as a data URL", "custom_sign_in_logo"),
    ("the filter does not sign requests; let the upstream trust Envoy's client certificate", "signature_key"),
    ("use pass_basic_auth and basic_auth_password, which send it to the upstream", "set_basic_auth"),
    (
        "the filter has no passwords; let Envoy's basic_auth filter check them, with {SHA} entries, on separate \
         routes that skip_auth_routes lets through",
        "htpasswd_file htpasswd_user_groups display_htpasswd_form",
    ),
    // Providers, and how to talk to them
    (
        "it is for the provider azure, which is refused; use entra-id, with the tenant in oidc_issuer_url",
        "azure_tenant azure_graph_group_field",
    ),
    (
        "the filter cannot read the file of a federated token; give the application a client secret",
        "entra_id_federated_token_auth",
    ),
    (
        "it is for a provider without OpenID Connect; put a provider such as Dex or Keycloak in between, and use \
         allowed_groups",
        "bitbucket_team bitbucket_repository github_org github_team github_repo github_token github_users",
    ),
    ("the filter does not ask GitLab about projects; use allowed_groups", "gitlab_projects"),
    (
        "the filter does not use Google's Admin API; put a provider such as Dex in between, and use allowed_groups",
        "google_group google_groups google_admin_email google_service_account_json \
         google_use_application_default_credentials google_target_principal google_use_organization_id \
         google_admin_api_user_scope",
    ),
    (
        "it is for the provider login.gov, which is refused: the filter cannot sign requests with a private key",
        "jwt_key jwt_key_file pubjwk_url",
    ),
];

/// What to do instead of using this option; `None` if it is not refused.
pub(super) fn instead(option: &str) -> Option<&'static str> {
    REFUSED
        .iter()
        .find(|(_, options)| options.split(' ').any(|name| name == option))
        .map(|(sentence, _)| *sentence)
}

/// All sentences with the names that they are about.
pub(super) fn all() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    REFUSED.iter().map(|(sentence, options)| (*sentence, options.split_whitespace()))
}
