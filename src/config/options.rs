//! The table of all options.
//!
//! A row is the option's name, its type, its default, its line in `docs/options.md`, and how it differs from
//! oauth2-proxy's option of that name, where it does. The names are oauth2-proxy's (its TOML, v7.15.3). A row
//! that nobody uses is a compiler warning.

use std::time::Duration;

use serde_json::Value as Json;

use super::choices::{CodeChallengeMethod, ModeName};
use super::errors::ConfigErrors;
use super::given::Given;
use super::provider_name::ProviderName;
use super::secret::Secret;
use super::url::Url;
use super::value::Value;
use crate::cookie::SameSite;
use crate::oidc::ClientAuthMethod;
use crate::session::ticket::Form;

use Presence::{Differs, Needed, Ours, Required, Theirs};

/// What an option is when it is not given.
pub(super) enum Presence {
    /// oauth2-proxy's default.
    Theirs(&'static str),
    /// A default that is not oauth2-proxy's, and oauth2-proxy's.
    Differs(&'static str, &'static str),
    /// The default of an option that oauth2-proxy does not have.
    Ours(&'static str),
    /// There is no default; the text says what to write.
    Required(&'static str),
    /// There is no default; it has to be given where the filter talks to the provider.
    Needed,
}

impl Presence {
    /// The default as text; empty where there is none.
    pub(super) fn default(&self) -> &'static str {
        match self {
            Theirs(text) | Differs(text, _) | Ours(text) => text,
            Required(_) | Needed => "",
        }
    }
}

/// An option, as its documentation and the JSON Schema see it.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// What the value must be, in an error.
    #[cfg(test)]
    pub(super) expected: &'static str,
    pub(super) is_secret: bool,
    pub(super) schema: fn() -> Json,
    pub(super) presence: Presence,
    /// Markdown, without a full stop.
    pub(super) doc: &'static str,
    /// How the option differs from oauth2-proxy's, besides its default; empty where it does not.
    pub(super) difference: &'static str,
}

/// Options that belong together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// base64 of the plain kind (`+`, `/`) is no key for oauth2-proxy, so the characters are replaced.
pub(super) const MAKE_SECRET: &str = "make one with: openssl rand -base64 32 | tr -- '+/' '-_'";

/// Makes the table, a struct with a typed field for each option, and the function that reads it.
macro_rules! options {
    ($($title:literal {
        $($name:ident: $type:ty = $presence:expr, $doc:literal $(, differs: $difference:literal)?;)+
    })+) => {
        /// The names of all options, for the parser: the wasm module has no use for the documentation.
        pub(super) const NAMES: &[&str] = &[$($(stringify!($name),)+)+];

        /// All options, grouped as in their documentation.
        pub(super) const GROUPS: &[Group] = &[$(Group {
            title: $title,
            rows: &[$(Row {
                name: stringify!($name),
                kind: <$type as Value>::KIND,
                #[cfg(test)]
                expected: <$type as Value>::EXPECTED,
                is_secret: <$type as Value>::IS_SECRET,
                schema: <$type as Value>::schema,
                presence: $presence,
                doc: $doc,
                difference: concat!($($difference)?),
            }),+],
        }),+];

        /// The values of all options, each of its type.
        pub(super) struct Options {
            $($(pub(super) $name: $type,)+)+
        }

        impl Options {
            /// Reads every option; one that is wrong has its default.
            pub(super) fn read(given: &Given, errors: &mut ConfigErrors) -> Self {
                Self { $($($name: given.value(stringify!($name), &$presence, errors),)+)+ }
            }
        }
    };
}

options! {
    "Mode" {
        mode: ModeName = Ours("login"),
            "Who signs people in: `login` this filter, `beside` an oauth2-proxy that has the paths under \
             `proxy_prefix`, `app` an app of yours";
        login_app_path: String = Ours(""),
            "With `app`: the path of your sign-in page, such as `/login`. It and what is beneath it need no session";
        login_app_clusters: Vec<String> = Ours(""),
            "With `app`: the clusters of Envoy from which a session is taken";
    }
    "Provider" {
        provider: ProviderName = Differs("oidc", "google"), "Which one it is: see [Providers](#providers)",
            differs: "those that do not speak OpenID Connect are refused by name";
        oidc_issuer_url: Option<Url> = Theirs(""),
            "The provider, needed but for `google` and `gitlab`. Its endpoints and keys are found under this URL";
        client_id: String = Needed,
            "The name of this client at the provider";
        client_secret: Secret = Theirs(""),
            "Its secret; may be missing with PKCE, for a public client. Best given in the environment",
            differs: "a public client needs none";
        token_endpoint_auth_method: Option<ClientAuthMethod> = Ours(""),
            "How the token endpoint is told the secret: `client_secret_basic` in a header, `client_secret_post` in the form; \
             empty for what the provider's metadata lists, and for the other one if that is answered by `invalid_client`";
        scope: String = Theirs(""),
            "What is asked of the provider; else the provider's own, `openid email profile` as a rule, and `groups` \
             with `allowed_groups`";
        code_challenge_method: Option<CodeChallengeMethod> = Differs("S256", ""),
            "PKCE: `S256`, `plain`, or empty for none";
        prompt: String = Theirs(""), "OpenID Connect's `prompt`, such as `login` or `select_account`",
            differs: "without it nothing is sent; there `approval_prompt=force` is";
        resource: String = Theirs(""), "What stands before the scope. Only with `adfs`",
            differs: "with another provider it is refused";
        acr_values: String = Theirs(""), "OpenID Connect's `acr_values`";
        insecure_oidc_skip_nonce: bool = Differs("false", "true"), "Takes an ID token without the nonce of its login";
        insecure_oidc_skip_issuer_verification: bool = Theirs("false"),
            "Takes metadata and ID tokens of another issuer";
        insecure_oidc_allow_unverified_email: bool = Theirs("false"),
            "Takes an email address that the provider says is not verified";
        insecure_oidc_allow_http_endpoints: bool = Ours("false"),
            "Takes endpoints that are `http`, from metadata or options, though the issuer is `https`";
        oidc_email_claim: String = Theirs("email"), "The claim that has the email address";
        oidc_groups_claim: String = Theirs("groups"), "The claim that has the groups";
        oidc_audience_claims: Vec<String> = Theirs("aud"), "The claims that have the audience";
        oidc_extra_audiences: Vec<String> = Theirs(""), "Audiences that are taken, besides `client_id`";
        additional_claims: Vec<String> = Ours(""),
            "More claims for the session and `/oauth2/userinfo` (`additionalClaims` in oauth2-proxy's YAML)";
        skip_claims_from_profile_url: bool = Theirs("false"),
            "Does not ask userinfo for what the ID token lacks";
        skip_oidc_discovery: bool = Theirs("false"),
            "Does not ask for the provider's metadata; the URLs below are given instead";
        login_url: Option<Url> = Theirs(""), "The authorization endpoint",
            differs: "with discovery it is refused; there it is ignored";
        redeem_url: Option<Url> = Theirs(""), "The token endpoint",
            differs: "with discovery it is refused; there it is ignored";
        oidc_jwks_url: Option<Url> = Theirs(""), "The keys",
            differs: "with discovery it is refused; there it is ignored";
        profile_url: Option<Url> = Theirs(""), "The userinfo endpoint, where there is one",
            differs: "with discovery it is refused; there it is ignored";
        oidc_end_session_url: Option<Url> = Ours(""),
            "Where the provider ends its own session; else its metadata says that. Only to this scheme, host and port \
             does a sign-out hand the ID token (`{id_token}` in `rd`)";
        provider_request_timeout: Duration = Ours("5s"), "How long the provider may take for an answer";
        bridge_cluster: String = Ours("oauth2_session_bridge"),
            "The cluster of the bridge in Envoy's configuration; with sessions in cookies, any cluster that reaches the \
             provider";
    }
    "Sign-in" {
        email_domains: Vec<String> =
            Required("write the domains that may come in, or [\"*\"] for everybody"),
            "Who may come in: `example.com`, `.example.com` for its subdomains, `*` for everybody";
        allowed_groups: Vec<String> = Theirs(""),
            "Who may come in: members of one of these groups; empty for all";
        allowed_roles: Vec<String> = Theirs(""),
            "Who may come in: members of one of these roles, or of `allowed_groups`. Only with `keycloak-oidc`",
            differs: "with another provider it is refused; there it is ignored";
        entra_id_allowed_tenants: Vec<String> = Theirs(""),
            "Who may come in: accounts of these tenants. Only with `entra-id`",
            differs: "with another provider it is refused; there it is ignored";
        whitelist_domains: Vec<String> = Theirs(""),
            "Where a sign-in may lead besides this host, and lead back to from a callback on another host: `example.com`, \
             `.example.com`, `example.com:8443`";
        redirect_url: Option<Url> = Theirs(""),
            "The callback, as the provider knows it; its path may be missing. Else `/oauth2/callback` on the host of the \
             request",
            differs: "another path than the callback's is refused, or a warning if a proxy in front of Envoy may rewrite \
                it; there it is taken as it stands";
        backend_logout_url: Option<Url> = Theirs(""),
            "Is called at a sign-out; `{id_token}` in it is replaced";
        encode_state: bool = Theirs("false"), "Encodes the parameter `state` in base64url";
        skip_provider_button: bool = Theirs("false"), "Goes to the provider without the sign-in page";
        provider_display_name: String = Theirs(""),
            "The provider's name on the sign-in page; else its own, or `OpenID Connect`";
        banner: String = Theirs(""), "A text on the sign-in page; `-` for none",
            differs: "plain text, and none by default; there HTML";
        footer: String = Theirs(""), "A text below it; `-` for none",
            differs: "plain text, and none by default; there HTML";
    }
    "Bearer tokens" {
        skip_jwt_bearer_tokens: bool = Theirs("false"),
            "Takes a JWT of the provider for `client_id` in the place of a session: as `Authorization: Bearer`, \
             or as the user or the password of `Basic`";
        bearer_token_login_fallback: bool = Theirs("true"),
            "Somebody with a token that does not hold may have a cookie, or sign in; else it is a 403";
        extra_jwt_issuers: Vec<String> = Theirs(""),
            "More issuers of such tokens: `https://login.example.com=audience`",
            differs: "an issuer has to have a discovery document";
    }
    "Cookie" {
        cookie_secret: Secret =
            Required(MAKE_SECRET),
            "Signs and encrypts: 16, 24 or 32 bytes, or base64url of them. Best given in the environment";
        cookie_name: String = Theirs("_oauth2_proxy"), "The name; may begin with `__Host-` or `__Secure-`";
        cookie_domains: Vec<String> = Theirs(""),
            "The longest that fits the host is the cookie's; empty for the host itself",
            differs: "if a browser would drop the cookie of the one that fits, another one is taken, or the host alone";
        cookie_path: String = Theirs("/"), "The path",
            differs: "one that does not cover the callback is refused";
        cookie_expire: Duration = Theirs("168h"), "How long a session lasts; `0` until the browser is closed";
        cookie_refresh: Duration = Theirs("0s"),
            "The age at which a session is renewed by its refresh token; `0` when it has expired",
            differs: "`0` renews a session whose tokens have expired; there it never does";
        cookie_secure: bool = Theirs("true"), "Only over https";
        cookie_httponly: bool = Theirs("true"), "Not for scripts";
        cookie_samesite: Option<SameSite> = Theirs(""),
            "`lax`, `strict`, `none`, or empty for the browser's own";
        cookie_csrf_expire: Duration = Theirs("15m"), "How long a sign-in may take";
        cookie_csrf_samesite: Option<SameSite> = Theirs(""),
            "The same for the cookies of a sign-in; empty for `cookie_samesite`";
        cookie_csrf_per_request: bool = Theirs("false"),
            "Only a cookie for each sign-in, not also the one that an oauth2-proxy looks for",
            differs: "each sign-in has a cookie of its own in any case";
        cookie_csrf_per_request_limit: usize = Theirs("0"),
            "Sign-ins that a browser can have under way; `0` for 8",
            differs: "there `0` is no limit";
        session_store_type: String = Theirs("cookie"), "Where sessions are: `cookie`, or `redis`";
        session_cookie_minimal: bool = Theirs("false"), "Keeps no tokens in the cookie";
        cookie_max_bytes: usize = Ours("49152"),
            "The most bytes that the cookies of a session may have together; a larger session is not handed out, \
             because a server may refuse each request with it. Set it below `max_request_headers_kb` of Envoy (60 KiB by \
             default, for all headers of a request) and below the limits of proxies in front";
        session_cache_size: usize = Ours("1000"),
            "Verified cookies, and sessions that were decrypted, that a worker remembers; `0` for none";
        enforce_expires_on: bool = Ours("true"),
            "A session ends with its tokens, where they cannot be renewed";
    }
    "Redis" {
        redis_connection_url: Secret = Theirs(""),
            "`redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS";
        redis_use_sentinel: bool = Theirs("false"), "Redis is the master that Sentinels name";
        redis_sentinel_master_name: String = Theirs(""), "The name that the master has there";
        redis_sentinel_connection_urls: Vec<String> = Theirs(""),
            "The Sentinels: `redis://host[:port]`, or `rediss://` for TLS, to the servers as well. \
             The last one may have the servers' user, password and database",
            differs: "the port is 26379 where a URL has none; there 6379";
        redis_sentinel_username: String = Ours(""), "The ACL user of the Sentinels";
        redis_sentinel_password: Secret = Theirs(""),
            "The password of the Sentinels. Best given in the environment";
        redis_use_cluster: bool = Theirs("false"), "Redis is a Cluster";
        redis_cluster_connection_urls: Vec<String> = Theirs(""),
            "Some of its nodes: `redis://host[:port]`, or `rediss://` for TLS, to all nodes. \
             The last one may have the user and the password";
        redis_allowed_hosts: Vec<String> = Ours(""),
            "Which hosts Sentinels and nodes of a Cluster may name, besides those of the URLs: `redis-0.example.com`, \
             `*.example.com`, `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`, each with `:port` or for any port; empty for any host. \
             The filter does not connect to another one";
        redis_username: String = Theirs(""),
            "The ACL user; wins over the URL's. Needs a password, unless it is `default`",
            differs: "any other user without a password is refused at the start; there it is left out";
        redis_password: Secret = Theirs(""), "Its password; wins over the URL's. Best given in the environment";
        redis_insecure_skip_tls_verify: bool = Theirs("false"),
            "TLS, also with `redis://`, to a server whose certificate is not checked";
        redis_tls_server_name: String = Ours(""),
            "With `rediss://`: the host name that the certificate of every server has to be for, and that is sent as SNI. \
             Empty for the host of the server, and for that of the last URL if the server is named by an IP address";
        redis_connection_idle_timeout: usize = Theirs("0"),
            "Seconds after which an idle connection is closed, less than the server's `timeout`; `0` for 1800";
        redis_connect_timeout: Duration = Ours("1s"), "How long it may take to connect and authenticate";
        redis_command_timeout: Duration = Ours("2s"),
            "How long a command may take; an outage that is shorter is waited for";
        redis_session_cache: Duration = Ours("0s"),
            "How long a worker takes a session from memory without asking Redis, `1m` at most; for so long it does not \
             notice a sign-out elsewhere";
        redis_ticket_form: Option<Form> = Ours(""),
            "How tickets are written: `documented`, `v2`, or empty for `v2` only where `cookie_name` has a dot";
    }
    "Routes" {
        proxy_prefix: String = Theirs("/oauth2"), "The path of the filter's own endpoints";
        reverse_proxy: bool = Theirs("false"),
            "The proxy before Envoy sets `X-Forwarded-Host` and `X-Forwarded-Uri`, and removes those of a client: the \
             filter takes the host and the address that the browser asked for from them",
            differs: "`X-Forwarded-Uri` only says where a sign-in and the redirect of `force_https` lead to, and nothing about \
                `skip_auth_routes` and `api_routes`; `X-Forwarded-Proto` is Envoy's in any case";
        ping_path: String = Theirs("/ping"), "Answers 200; empty for none";
        ready_path: String = Theirs("/ready"), "Answers 200 when sessions can be loaded; empty for none";
        force_https: bool = Theirs("false"), "Redirects what comes over http to https, by a 308",
            differs: "`ping_path`, `ready_path` and `skip_auth_routes` are answered over http as well, and the port is that of \
                `redirect_url`, or none; there everything is redirected, to the port of `https_address`";
        skip_auth_routes: Vec<String> = Theirs(""),
            "Patterns of paths that need no session: `^/public/`, `GET=^/public/`, `GET!=^/private/`",
            differs: "every way in which an upstream may read a path has to be covered; a path of more than 2,048 bytes is \
                never; RE2's `\\p` and `\\Q`, and in brackets a bare `[`, `&&`, `--` and `~~`, are refused";
        skip_auth_preflight: bool = Theirs("false"), "Needs no session for `OPTIONS`";
        api_routes: Vec<String> = Theirs(""), "Patterns of paths that get a 401 and no redirect",
            differs: "a path of more than 2,048 bytes has none; RE2's `\\p` and `\\Q`, and in brackets a bare `[`, `&&`, `--` and `~~`, are refused";
        force_json_errors: bool = Theirs("false"), "Every path gets a 401 and no redirect";
    }
    "Headers" {
        pass_user_headers: bool = Theirs("true"),
            "`X-Forwarded-User`, `-Email`, `-Groups` and `-Preferred-Username` for the upstream";
        groups_header_separator: String = Ours(","),
            "What stands between groups in `X-Forwarded-Groups` and `X-Auth-Request-Groups`: one character, such as `|` \
             or `;`. A group that has it in its name is left out there";
        pass_basic_auth: bool = Theirs("true"),
            "The same, and with `basic_auth_password` also `Authorization: Basic`";
        basic_auth_password: Secret = Theirs(""), "The password in it";
        pass_access_token: bool = Theirs("false"), "`X-Forwarded-Access-Token` for the upstream";
        pass_authorization_header: bool = Theirs("false"),
            "`Authorization: Bearer` with the ID token for the upstream";
        prefer_email_to_user: bool = Theirs("false"),
            "The email address in the place of the user; without one the upstream gets no user";
        set_xauthrequest: bool = Theirs("false"), "`X-Auth-Request-*` in the response";
        set_authorization_header: bool = Theirs("false"),
            "`Authorization: Bearer` with the ID token in the response";
        skip_auth_strip_headers: bool = Theirs("true"),
            "Also removes forged headers where `skip_auth_routes` lets a request through",
            differs: "every identity header is removed, in every spelling; off, the client's headers stay only on \
             `skip_auth_routes` and without a session, there on every request";
        strip_session_cookie: bool = Ours("false"), "Keeps the filter's cookies from the upstream";
    }
    "Access log" {
        access_log_fields: Vec<String> = Ours(""),
            "What Envoy's access log can show of a request: some of `user`, `state`, `reason`";
    }
}

/// All rows, in the order of their documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}
