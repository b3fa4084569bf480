//! The table of all options.
//!
//! A row has the option's name, its type, its default, its line in `docs/options.md`, and how it differs from
//! oauth2-proxy's option of that name, if it does. The names are oauth2-proxy's (its TOML, v7.15.3). The compiler
//! warns of a row that no code uses.

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
use crate::session::ticket::TicketForm;

use Presence::{Differs, Needed, Ours, Required, Theirs};

/// The value of an option that is not set.
pub(super) enum Presence {
    /// oauth2-proxy's default.
    Theirs(&'static str),
    /// A default that is not oauth2-proxy's, and oauth2-proxy's.
    Differs(&'static str, &'static str),
    /// The default of an option that oauth2-proxy does not have.
    Ours(&'static str),
    /// There is no default. The text says what to write.
    Required(&'static str),
    /// There is no default. It has to be set if the filter talks to the provider.
    Needed,
}

impl Presence {
    /// The default as text; empty if there is none.
    pub(super) fn default(&self) -> &'static str {
        match self {
            Theirs(text) | Differs(text, _) | Ours(text) => text,
            Required(_) | Needed => "",
        }
    }
}

/// An option, for its documentation and for the JSON Schema.
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
    /// How the option differs from oauth2-proxy's, besides its default; empty if it does not.
    pub(super) difference: &'static str,
}

/// Options that belong together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// oauth2-proxy does not accept standard base64 (`+`, `/`) as a key, so the characters are replaced.
pub(super) const MAKE_SECRET: &str = "make one with: openssl rand -base64 32 | tr -- '+/' '-_'";

/// Makes the table, a struct with a typed field for each option, and the function that reads it.
macro_rules! options {
    ($($title:literal {
        $($name:ident: $type:ty = $presence:expr, $doc:literal $(, differs: $difference:literal)?;)+
    })+) => {
        /// The names of all options, for the parser: the wasm module does not need the documentation.
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
            /// Reads every option. An invalid one gets its default.
            pub(super) fn read(given: &Given, errors: &mut ConfigErrors) -> Self {
                Self { $($($name: given.value(stringify!($name), &$presence, errors),)+)+ }
            }
        }
    };
}

options! {
    "Mode" {
        mode: ModeName = Ours("login"),
            "Who signs users in: this filter (`login`), an oauth2-proxy that has the paths under `proxy_prefix` \
             (`beside`), or an app of yours (`app`)";
        login_app_path: String = Ours(""),
            "With `app`: the path of your sign-in page, such as `/login`. This path and all paths beneath it need no \
             session";
        login_app_clusters: Vec<String> = Ours(""),
            "With `app`: the clusters of Envoy whose responses may hand a session over";
    }
    "Provider" {
        provider: ProviderName = Differs("oidc", "google"),
            "The kind of provider: see [Providers](#providers)",
            differs: "providers without OpenID Connect are refused by name";
        oidc_issuer_url: Option<Url> = Theirs(""),
            "The issuer URL of the provider; required except for `google` and `gitlab`. The provider's metadata is \
             found under this URL";
        client_id: String = Needed, "The id of this client at the provider";
        client_secret: Secret = Theirs(""),
            "The secret of this client; a public client with PKCE needs none. Set it in the environment",
            differs: "a public client needs none";
        token_endpoint_auth_method: Option<ClientAuthMethod> = Ours(""),
            "How the filter sends the secret to the token endpoint: `client_secret_basic` in a header, \
             `client_secret_post` in the form. Empty for the way that the provider's metadata lists, and the other \
             way if the provider answers `invalid_client`";
        scope: String = Theirs(""),
            "The scope that the filter asks for. Empty for the default of the provider, in most cases `openid email \
             profile`, and `groups` with `allowed_groups`";
        code_challenge_method: Option<CodeChallengeMethod> = Differs("S256", ""),
            "PKCE: `S256`, `plain`, or empty for none";
        prompt: String = Theirs(""), "OpenID Connect's `prompt`, such as `login` or `select_account`",
            differs: "if it is empty, the filter sends none; there `approval_prompt=force` is sent";
        resource: String = Theirs(""), "A prefix of the scope. Only with `adfs`",
            differs: "with another provider it is refused";
        acr_values: String = Theirs(""), "OpenID Connect's `acr_values`";
        insecure_oidc_skip_nonce: bool = Differs("false", "true"),
            "Accepts an ID token without the nonce of its sign-in";
        insecure_oidc_skip_issuer_verification: bool = Theirs("false"),
            "Accepts metadata and ID tokens of another issuer";
        insecure_oidc_allow_unverified_email: bool = Theirs("false"),
            "Accepts an email address that the provider calls not verified";
        insecure_oidc_allow_http_endpoints: bool = Ours("false"),
            "Accepts `http` endpoints, from metadata or options, even if the issuer is `https`";
        oidc_email_claim: String = Theirs("email"), "The claim that has the email address";
        oidc_groups_claim: String = Theirs("groups"), "The claim that has the groups";
        oidc_audience_claims: Vec<String> = Theirs("aud"), "The claims that have the audience";
        oidc_extra_audiences: Vec<String> = Theirs(""), "Audiences that are accepted besides `client_id`";
        additional_claims: Vec<String> = Ours(""),
            "More claims for the session and `/oauth2/userinfo` (`additionalClaims` in oauth2-proxy's YAML)";
        skip_claims_from_profile_url: bool = Theirs("false"),
            "Does not request userinfo for claims that the ID token lacks";
        skip_oidc_discovery: bool = Theirs("false"),
            "Does not request the provider's metadata; set the URLs below instead";
        login_url: Option<Url> = Theirs(""), "The authorization endpoint",
            differs: "with discovery it is refused; there it is ignored";
        redeem_url: Option<Url> = Theirs(""), "The token endpoint",
            differs: "with discovery it is refused; there it is ignored";
        oidc_jwks_url: Option<Url> = Theirs(""), "The URL of the keys",
            differs: "with discovery it is refused; there it is ignored";
        profile_url: Option<Url> = Theirs(""), "The userinfo endpoint, if there is one",
            differs: "with discovery it is refused; there it is ignored";
        oidc_end_session_url: Option<Url> = Ours(""),
            "The URL that ends the provider's own session. Empty for the one in its metadata. A sign-out sends the \
             ID token (`{id_token}` in `rd`) only to this scheme, host and port";
        provider_request_timeout: Duration = Ours("5s"),
            "How long the filter waits for an answer of the provider";
        bridge_cluster: String = Ours("oauth2_session_bridge"),
            "The cluster of the bridge in Envoy's configuration; with sessions in cookies, any cluster that reaches \
             the provider";
    }
    "Sign-in" {
        email_domains: Vec<String> =
            Required("write the email domains that are allowed, or [\"*\"] for every user"),
            "The email domains of users who are allowed: `example.com`, `.example.com` for its subdomains, `*` for \
             every user";
        allowed_groups: Vec<String> = Theirs(""),
            "Allows only members of one of these groups; empty for all users";
        allowed_roles: Vec<String> = Theirs(""),
            "Allows only users with one of these roles, or members of `allowed_groups`. Only with `keycloak-oidc`",
            differs: "with another provider it is refused; there it is ignored";
        entra_id_allowed_tenants: Vec<String> = Theirs(""),
            "Allows only accounts of these tenants. Only with `entra-id`",
            differs: "with another provider it is refused; there it is ignored";
        whitelist_domains: Vec<String> = Theirs(""),
            "Hosts that a sign-in may lead to besides the host of the request, and may lead back to from a callback \
             on another host: `example.com`, `.example.com`, `example.com:8443`";
        redirect_url: Option<Url> = Theirs(""),
            "The URL of the callback that is registered at the provider; its path may be missing. Empty for \
             `/oauth2/callback` on the host of the request",
            differs: "another path than the callback's is refused, or a warning if a proxy in front of Envoy may \
             rewrite it; there it is used as it is";
        backend_logout_url: Option<Url> = Theirs(""),
            "The filter requests this URL at a sign-out; it replaces `{id_token}` in it";
        encode_state: bool = Theirs("false"), "Encodes the parameter `state` in base64url";
        skip_provider_button: bool = Theirs("false"), "Redirects to the provider without the sign-in page";
        provider_display_name: String = Theirs(""),
            "The name of the provider on the sign-in page. Empty for its own name, or `OpenID Connect`";
        banner: String = Theirs(""), "A text on the sign-in page; `-` for none",
            differs: "plain text, and empty by default; there HTML";
        footer: String = Theirs(""), "A text at the bottom of the sign-in page; `-` for none",
            differs: "plain text, and empty by default; there HTML";
    }
    "Bearer tokens" {
        skip_jwt_bearer_tokens: bool = Theirs("false"),
            "Accepts a JWT of the provider for `client_id` instead of a session: as `Authorization: Bearer`, or as \
             the user or the password of `Basic`";
        bearer_token_login_fallback: bool = Theirs("true"),
            "`true`: if a bearer token is invalid, the filter ignores it and uses the cookie, or the user signs in. \
             `false`: the filter answers 403";
        extra_jwt_issuers: Vec<String> = Theirs(""),
            "More issuers of such tokens: `https://login.example.com=audience`",
            differs: "an issuer has to have a discovery document";
    }
    "Cookie" {
        cookie_secret: Secret =
            Required(MAKE_SECRET),
            "Signs and encrypts cookies: 16, 24 or 32 bytes, or base64url of that many. Set it in the environment";
        cookie_name: String = Theirs("_oauth2_proxy"),
            "The name of the session cookie; may begin with `__Host-` or `__Secure-`";
        cookie_domains: Vec<String> = Theirs(""),
            "Domains of the cookie: the filter uses the longest that matches the host. Empty for the host itself",
            differs: "if a browser would drop the cookie with the domain that matches, the filter uses another \
             domain, or the host itself";
        cookie_path: String = Theirs("/"), "The path of the cookie",
            differs: "a path that does not cover the callback is refused";
        cookie_expire: Duration = Theirs("168h"),
            "How long a session lasts; `0`: until the browser is closed";
        cookie_refresh: Duration = Theirs("0s"),
            "The age at which the filter renews a session with its refresh token; `0`: when it has expired",
            differs: "with `0`, the filter renews a session whose tokens have expired; there it never does";
        cookie_secure: bool = Theirs("true"), "The browser sends the cookie only over https";
        cookie_httponly: bool = Theirs("true"), "Scripts cannot read the cookie";
        cookie_samesite: Option<SameSite> = Theirs(""),
            "`lax`, `strict`, `none`, or empty for the default of the browser";
        cookie_csrf_expire: Duration = Theirs("15m"), "How long a sign-in may take";
        cookie_csrf_samesite: Option<SameSite> = Theirs(""),
            "`cookie_samesite` for the cookies of a sign-in; empty for the value of `cookie_samesite`";
        cookie_csrf_per_request: bool = Theirs("false"),
            "Sets only a cookie for each sign-in, and not also the one that oauth2-proxy looks for",
            differs: "each sign-in has a cookie of its own even with `false`";
        cookie_csrf_per_request_limit: usize = Theirs("0"),
            "How many sign-ins of a browser can be under way; `0` for 8",
            differs: "there `0` means no limit";
        session_store_type: String = Theirs("cookie"), "Where sessions are kept: `cookie` or `redis`";
        session_cookie_minimal: bool = Theirs("false"), "Leaves the tokens out of the cookie";
        cookie_max_bytes: usize = Ours("49152"),
            "How many bytes the cookies of a session may have together. The filter does not hand out a larger \
             session, because a server may refuse every request with it. Set it below `max_request_headers_kb` of \
             Envoy (60 KiB by default, for all headers of a request) and below the limits of proxies in front";
        session_cache_size: usize = Ours("1000"),
            "How many verified cookies, and how many decrypted sessions, a worker keeps in memory; `0` for none";
        enforce_expires_on: bool = Ours("true"),
            "Ends a session when its tokens have expired and cannot be renewed";
    }
    "Redis" {
        redis_connection_url: Secret = Theirs(""),
            "`redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS";
        redis_use_sentinel: bool = Theirs("false"), "Redis is the master that Sentinels name";
        redis_sentinel_master_name: String = Theirs(""), "The name of the master that Sentinels know";
        redis_sentinel_connection_urls: Vec<String> = Theirs(""),
            "The Sentinels: `redis://host[:port]`, or `rediss://` for TLS to the Sentinels and the servers. The last \
             URL may have the user, password and database of the servers",
            differs: "the default port is 26379; there 6379";
        redis_sentinel_username: String = Ours(""), "The ACL user of the Sentinels";
        redis_sentinel_password: Secret = Theirs(""),
            "The password of the Sentinels. Set it in the environment";
        redis_use_cluster: bool = Theirs("false"), "Redis is a Cluster";
        redis_cluster_connection_urls: Vec<String> = Theirs(""),
            "Some nodes of the Cluster: `redis://host[:port]`, or `rediss://` for TLS to all nodes. The last URL may \
             have the user and the password";
        redis_allowed_hosts: Vec<String> = Ours(""),
            "Hosts that Sentinels and nodes of a Cluster may name, besides those of the URLs: `redis-0.example.com`, \
             `*.example.com`, `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`, each with `:port` or for any port; empty for any \
             host. The filter does not connect to other hosts";
        redis_username: String = Theirs(""),
            "The ACL user; wins over the user in the URL. Needs a password, except for `default`",
            differs: "another user without a password is refused; there the user is ignored";
        redis_password: Secret = Theirs(""),
            "The password of the user; wins over the password in the URL. Set it in the environment";
        redis_insecure_skip_tls_verify: bool = Theirs("false"),
            "Uses TLS, with `redis://` too, and does not verify the server's certificate";
        redis_tls_server_name: String = Ours(""),
            "With `rediss://`: the host name that the certificate of every server has to be for; it is also sent as \
             SNI. Empty for the host of the server, or for the host of the last URL if the server is named by an IP \
             address";
        redis_connection_idle_timeout: usize = Theirs("0"),
            "Seconds after which the filter closes an idle connection; set it below the server's `timeout`. `0` for \
             1800";
        redis_connect_timeout: Duration = Ours("1s"), "How long it may take to connect and authenticate";
        redis_command_timeout: Duration = Ours("2s"),
            "How long a command may take; requests wait for a shorter outage";
        redis_session_cache: Duration = Ours("0s"),
            "How long a worker uses a session from memory without asking Redis, `1m` at most. During that time it \
             does not notice a sign-out at another worker or proxy";
        redis_ticket_form: Option<TicketForm> = Ours(""),
            "The format in which tickets are written: `documented`, `v2`, or empty for `v2` only if `cookie_name` \
             has a dot";
    }
    "Routes" {
        proxy_prefix: String = Theirs("/oauth2"), "The path of the filter's own endpoints";
        reverse_proxy: bool = Theirs("false"),
            "Set it if the proxy in front of Envoy sets `X-Forwarded-Host` and `X-Forwarded-Uri`, and removes those \
             of a client. The filter then uses them as the host and the address that the browser asked for",
            differs: "`X-Forwarded-Uri` is only the address that a sign-in and the redirect of `force_https` lead \
             to, and does not affect `skip_auth_routes` and `api_routes`; `X-Forwarded-Proto` is always Envoy's";
        ping_path: String = Theirs("/ping"), "Answers 200; empty for none";
        ready_path: String = Theirs("/ready"), "Answers 200 if sessions can be loaded; empty for none";
        force_https: bool = Theirs("false"), "Redirects requests over http to https, with a 308",
            differs: "`ping_path`, `ready_path` and `skip_auth_routes` are answered over http as well, and the port \
             is that of `redirect_url`, or the default port; there all requests are redirected, to the port of \
             `https_address`";
        skip_auth_routes: Vec<String> = Theirs(""),
            "Patterns of paths that need no session: `^/public/`, `GET=^/public/`, `GET!=^/private/`",
            differs: "a pattern has to match every way in which an upstream may read the path; a path of more than \
             2,048 bytes never matches; RE2's `\\p` and `\\Q`, and in brackets a bare `[`, `&&`, `--` and `~~`, are \
             refused";
        skip_auth_preflight: bool = Theirs("false"), "`OPTIONS` requests need no session";
        api_routes: Vec<String> = Theirs(""), "Patterns of paths that get a 401 instead of a redirect",
            differs: "a path of more than 2,048 bytes never matches; RE2's `\\p` and `\\Q`, and in brackets a bare \
             `[`, `&&`, `--` and `~~`, are refused";
        force_json_errors: bool = Theirs("false"), "Every path gets a 401 instead of a redirect";
    }
    "Headers" {
        pass_user_headers: bool = Theirs("true"),
            "Sends `X-Forwarded-User`, `-Email`, `-Groups` and `-Preferred-Username` to the upstream";
        groups_header_separator: String = Ours(","),
            "The separator of groups in `X-Forwarded-Groups` and `X-Auth-Request-Groups`: one character, such as `|` \
             or `;`. A group with this character in its name is left out of these headers";
        pass_basic_auth: bool = Theirs("true"),
            "Sends the same headers, and with `basic_auth_password` also `Authorization: Basic`";
        basic_auth_password: Secret = Theirs(""), "The password of `Authorization: Basic`";
        pass_access_token: bool = Theirs("false"), "Sends `X-Forwarded-Access-Token` to the upstream";
        pass_authorization_header: bool = Theirs("false"),
            "Sends `Authorization: Bearer` with the ID token to the upstream";
        prefer_email_to_user: bool = Theirs("false"),
            "Sends the email address as the user; without an email address, the upstream gets no user";
        set_xauthrequest: bool = Theirs("false"), "Sets `X-Auth-Request-*` in the response";
        set_authorization_header: bool = Theirs("false"),
            "Sets `Authorization: Bearer` with the ID token in the response";
        skip_auth_strip_headers: bool = Theirs("true"),
            "Removes forged headers also from requests that `skip_auth_routes` lets through",
            differs: "every identity header is removed, in every spelling. If it is off, the client's headers stay \
             only on `skip_auth_routes` and without a session; there they stay on every request";
        strip_session_cookie: bool = Ours("false"), "Keeps the filter's cookies from the upstream";
    }
    "Access log" {
        access_log_fields: Vec<String> = Ours(""),
            "What Envoy's access log can show of a request: any of `user`, `state`, `reason`";
    }
}

/// All rows, in the order of their documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}
