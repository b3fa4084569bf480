//! The table of all options.
//!
//! A row has the option's name, its type, its default, its line in `docs/options.md`, and how it differs from
//! oauth2-proxy's option of that name, if it does. The names are oauth2-proxy's (its TOML, v7.15.3). The compiler
//! warns of a row that no code uses.

use std::time::Duration;

use serde_json::Value as Json;

use super::choices::{CodeChallengeMethod, ModeName, TrackingChoice};
use super::cookie_secrets::SecretList;
use super::errors::ConfigErrors;
use super::pages::{Language, Logo};
use super::provider_name::ProviderName;
use super::raw_options::RawOptions;
use super::secret::Secret;
use super::secrets::SecretsFrom;
use super::url::Url;
use super::value::Value;
use crate::cookie::SameSite;
use crate::oidc::ClientAuthMethod;
use crate::session::ticket::TicketForm;

use Presence::{Differs, FilterOnly, Needed, Required, Upstream};

/// The value of an option that is not set.
pub(super) enum Presence {
    /// oauth2-proxy's default.
    Upstream(&'static str),
    /// A default that is not oauth2-proxy's, and oauth2-proxy's.
    Differs(&'static str, &'static str),
    /// The default of an option that oauth2-proxy does not have.
    FilterOnly(&'static str),
    /// There is no default. The text says what to write.
    Required(&'static str),
    /// There is no default. It has to be set if the filter talks to the provider.
    Needed,
}

impl Presence {
    /// The default as text; empty if there is none.
    pub(super) fn default(&self) -> &'static str {
        match self {
            Upstream(text) | Differs(text, _) | FilterOnly(text) => text,
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
            pub(super) fn read(raw: &RawOptions, errors: &mut ConfigErrors) -> Self {
                Self { $($($name: raw.value(stringify!($name), &$presence, errors),)+)+ }
            }
        }
    };
}

options! {
    "Mode" {
        mode: ModeName = FilterOnly("login"),
            "Who signs users in: this filter (`login`), an oauth2-proxy that has the paths under `proxy_prefix` \
             (`beside`), or an app of yours (`app`)";
        login_app_path: String = FilterOnly(""),
            "With `app`: the path of your sign-in page, such as `/login`. This path and all paths beneath it need no \
             session";
        login_app_clusters: Vec<String> = FilterOnly(""),
            "With `app`: the clusters of Envoy whose responses may hand a session over";
    }
    "Provider" {
        provider: ProviderName = Differs("oidc", "google"),
            "The kind of provider: see [Providers](#providers)",
            differs: "providers without OpenID Connect are refused by name";
        oidc_issuer_url: Option<Url> = Upstream(""),
            "The issuer URL of the provider; required except for `google` and `gitlab`. The provider's metadata is \
             found under this URL";
        client_id: String = Needed, "The id of this client at the provider";
        client_secret: Secret = Upstream(""),
            "The secret of this client; a public client with PKCE needs none. Set it in the environment",
            differs: "a public client needs none";
        token_endpoint_auth_method: Option<ClientAuthMethod> = FilterOnly(""),
            "How the filter sends the secret to the token endpoint: `client_secret_basic` in a header, \
             `client_secret_post` in the form. Empty for the way that the provider's metadata lists, and the other \
             way if the provider answers `invalid_client`";
        scope: String = Upstream(""),
            "The scope that the filter asks for. Empty for the default of the provider, in most cases `openid email \
             profile`, and `groups` with `allowed_groups` or `admin_groups`";
        code_challenge_method: Option<CodeChallengeMethod> = Differs("S256", ""),
            "PKCE: `S256`, `plain`, or empty for none";
        prompt: String = Upstream(""), "OpenID Connect's `prompt`, such as `login` or `select_account`",
            differs: "if it is empty, the filter sends none; there `approval_prompt=force` is sent";
        resource: String = Upstream(""), "A prefix of the scope. Only with `adfs`",
            differs: "with another provider it is refused";
        acr_values: String = Upstream(""), "OpenID Connect's `acr_values`";
        insecure_oidc_skip_nonce: bool = Differs("false", "true"),
            "Accepts an ID token without the nonce of its sign-in";
        insecure_oidc_skip_issuer_verification: bool = Upstream("false"),
            "Accepts metadata and ID tokens of another issuer";
        insecure_oidc_allow_unverified_email: bool = Upstream("false"),
            "Accepts an email address that the provider calls not verified";
        insecure_oidc_allow_http_endpoints: bool = FilterOnly("false"),
            "Accepts `http` endpoints, from metadata or options, even if the issuer is `https`";
        oidc_email_claim: String = Upstream("email"), "The claim that has the email address";
        oidc_groups_claim: String = Upstream("groups"), "The claim that has the groups";
        oidc_audience_claims: Vec<String> = Upstream("aud"), "The claims that have the audience";
        oidc_extra_audiences: Vec<String> = Upstream(""), "Audiences that are accepted besides `client_id`";
        additional_claims: Vec<String> = FilterOnly(""),
            "More claims for the session and `/oauth2/userinfo` (`additionalClaims` in oauth2-proxy's YAML)";
        skip_claims_from_profile_url: bool = Upstream("false"),
            "Does not request userinfo for claims that the ID token lacks";
        skip_oidc_discovery: bool = Upstream("false"),
            "Does not request the provider's metadata; set the URLs below instead";
        login_url: Option<Url> = Upstream(""), "The authorization endpoint",
            differs: "with discovery it is refused; there it is ignored";
        redeem_url: Option<Url> = Upstream(""), "The token endpoint",
            differs: "with discovery it is refused; there it is ignored";
        oidc_jwks_url: Option<Url> = Upstream(""), "The URL of the keys",
            differs: "with discovery it is refused; there it is ignored";
        profile_url: Option<Url> = Upstream(""), "The userinfo endpoint, if there is one",
            differs: "with discovery it is refused; there it is ignored";
        oidc_end_session_url: Option<Url> = FilterOnly(""),
            "The URL that ends the provider's own session. Empty for the one in its metadata. A sign-out sends the \
             ID token (`{id_token}` in `rd`) only to this scheme, host and port";
        provider_request_timeout: Duration = FilterOnly("5s"),
            "How long the filter waits for an answer of the provider";
        bridge_cluster: String = FilterOnly("oauth2_session_bridge"),
            "The cluster of the bridge in Envoy's configuration; with sessions in cookies, any cluster that reaches \
             the provider";
    }
    "Sign-in" {
        email_domains: Vec<String> =
            Required("write the email domains that are allowed, or [\"*\"] for every user"),
            "The email domains of users who are allowed: `example.com`, `.example.com` for its subdomains, `*` for \
             every user";
        allowed_groups: Vec<String> = Upstream(""),
            "Allows only members of one of these groups; empty for all users";
        allowed_roles: Vec<String> = Upstream(""),
            "Allows only users with one of these roles, or members of `allowed_groups`. Only with `keycloak-oidc`",
            differs: "with another provider it is refused; there it is ignored";
        admin_groups: Vec<String> = FilterOnly(""),
            "Members of one of these groups may see and end the sessions of every user, at \
             `/oauth2/sessions?user=…`. Needs `redis_session_index`";
        entra_id_allowed_tenants: Vec<String> = Upstream(""),
            "Allows only accounts of these tenants. Only with `entra-id`",
            differs: "with another provider it is refused; there it is ignored";
        whitelist_domains: Vec<String> = Upstream(""),
            "Hosts that a sign-in may lead to besides the host of the request, and may lead back to from a callback \
             on another host: `example.com`, `.example.com`, `example.com:8443`";
        redirect_url: Option<Url> = Upstream(""),
            "The URL of the callback that is registered at the provider; its path may be missing. Empty for \
             `/oauth2/callback` on the host of the request",
            differs: "another path than the callback's is refused, or a warning if a proxy in front of Envoy may \
             rewrite it; there it is used as it is";
        backend_logout_url: Option<Url> = Upstream(""),
            "The filter requests this URL at a sign-out; it replaces `{id_token}` in it";
        provider_sign_out: bool = FilterOnly("false"),
            "After a sign-out without `rd`, sends the browser to the provider's `end_session_endpoint`, which ends the \
             session there";
        post_logout_redirect_url: Option<Url> = FilterOnly(""),
            "Where the provider sends the browser after that; it has to be registered there. Empty for the provider's \
             own page. Only with `provider_sign_out`";
        backchannel_logout: bool = FilterOnly("false"),
            "Ends sessions when the provider says so, with a logout token for `/oauth2/backchannel_logout`; needs \
             `redis_session_index`, and a route in Envoy's configuration";
        encode_state: bool = Upstream("false"), "Encodes the parameter `state` in base64url";
        skip_provider_button: bool = Upstream("false"), "Redirects to the provider without the sign-in page";
        provider_display_name: String = Upstream(""),
            "The name of the provider on the sign-in page. Empty for its own name, or `OpenID Connect`";
        banner: String = Upstream(""), "A text on the sign-in page; `-` for none",
            differs: "plain text, and empty by default; there HTML";
        footer: String = Upstream(""), "A text at the bottom of the sign-in page; `-` for none",
            differs: "plain text, and empty by default; there HTML";
    }
    "Pages" {
        pages_title: String = FilterOnly(""), "The name of the service, above each page and in its title";
        pages_logo: Option<Logo> = FilterOnly(""),
            "An image above each page: an `https` URL, or `data:image/png;base64,…` (also `jpeg`, `gif`, `webp` and \
             `svg+xml`) of at most 32 KiB, which no other server sees";
        pages_language: Language = FilterOnly("en"),
            "The language of the pages: `en`, `de`, or `browser` for the one of these that is first in the browser's \
             `Accept-Language`, or else English";
    }
    "Bearer tokens" {
        skip_jwt_bearer_tokens: bool = Upstream("false"),
            "Accepts a JWT of the provider for `client_id` instead of a session: as `Authorization: Bearer`, or as \
             the user or the password of `Basic`";
        bearer_token_login_fallback: bool = Upstream("true"),
            "`true`: if a bearer token is invalid, the filter ignores it and uses the cookie, or the user signs in. \
             `false`: the filter answers 403";
        extra_jwt_issuers: Vec<String> = Upstream(""),
            "More issuers of such tokens: `https://login.example.com=audience`",
            differs: "an issuer has to have a discovery document";
    }
    "Secrets" {
        secrets_from: SecretsFrom = FilterOnly("environment"),
            "Where `cookie_secret`, `client_secret`, `redis_password` and `redis_sentinel_password` come from: \
             `environment` (or this JSON), or `bridge`, which reads them from files and follows their changes: see \
             [Rotate secrets](secrets.md)";
        secrets_refresh: Duration = FilterOnly("5s"),
            "With `bridge`: how often a worker asks for the secrets";
    }
    "Cookie" {
        cookie_secret: SecretList =
            Needed,
            "Signs and encrypts cookies: 16, 24 or 32 bytes, or base64url of that many. Set it in the environment. \
             Several secrets, in a list or with commas between them: the first signs and encrypts, the others only \
             verify and decrypt; see docs/rotation.md",
            differs: "one secret there";
        cookie_name: String = Upstream("_oauth2_proxy"),
            "The name of the session cookie; may begin with `__Host-` or `__Secure-`";
        cookie_domains: Vec<String> = Upstream(""),
            "Domains of the cookie: the filter uses the longest that matches the host. Empty for the host itself",
            differs: "if a browser would drop the cookie with the domain that matches, the filter uses another \
             domain, or the host itself";
        cookie_path: String = Upstream("/"), "The path of the cookie",
            differs: "a path that does not cover the callback is refused";
        cookie_expire: Duration = Upstream("168h"),
            "How long a session lasts; `0`: until the browser is closed";
        cookie_refresh: Duration = Upstream("0s"),
            "The age at which the filter renews a session with its refresh token; `0`: when it has expired",
            differs: "with `0`, the filter renews a session whose tokens have expired; there it never does";
        cookie_secure: bool = Upstream("true"), "The browser sends the cookie only over https";
        cookie_httponly: bool = Upstream("true"), "Scripts cannot read the cookie";
        cookie_samesite: Option<SameSite> = Upstream(""),
            "`lax`, `strict`, `none`, or empty for the default of the browser";
        cookie_csrf_expire: Duration = Upstream("15m"), "How long a sign-in may take";
        cookie_csrf_samesite: Option<SameSite> = Upstream(""),
            "`cookie_samesite` for the cookies of a sign-in; empty for the value of `cookie_samesite`";
        cookie_csrf_per_request: bool = Upstream("false"),
            "Sets only a cookie for each sign-in, and not also the one that oauth2-proxy looks for",
            differs: "each sign-in has a cookie of its own even with `false`";
        cookie_csrf_per_request_limit: usize = Upstream("0"),
            "How many sign-ins of a browser can be under way; `0` for 8",
            differs: "there `0` means no limit";
        session_max_lifetime: Duration = FilterOnly("0s"),
            "How long after the sign-in a session ends, however often the filter renews it; `0` for no such end";
        session_idle_timeout: Duration = FilterOnly("0s"),
            "How long after its last use a session ends; `0` for no such end. It may end a twentieth of that time \
             earlier";
        idle_ignore_routes: Vec<String> = FilterOnly(""),
            "Patterns of paths, as in `skip_auth_routes`, whose requests are no use of a session: those that a page \
             sends by itself";
        session_store_type: String = Upstream("cookie"), "Where sessions are kept: `cookie` or `redis`";
        session_cookie_minimal: bool = Upstream("false"), "Leaves the tokens out of the cookie";
        cookie_max_bytes: usize = FilterOnly("49152"),
            "How many bytes the cookies of a session may have together. The filter does not hand out a larger \
             session, because a server may refuse every request with it. Set it below `max_request_headers_kb` of \
             Envoy (60 KiB by default, for all headers of a request) and below the limits of proxies in front";
        session_cache_bytes: Option<usize> = FilterOnly(""),
            "How many bytes of memory a worker may use to remember the sessions that it has read, at most 512 MiB; `0` \
             for none. Empty for 32 MiB (`33554432`), which is room for about 50,000 sessions in cookies, and 33,000 \
             in Redis";
        session_cache_size: Option<usize> = FilterOnly(""),
            "The older form of `session_cache_bytes`: how many verified cookies, and how many decrypted sessions, a \
             worker remembers; `0` for none. Only one of the two can be set";
        enforce_expires_on: bool = FilterOnly("true"),
            "Ends a session when its tokens have expired and cannot be renewed";
    }
    "Redis" {
        redis_connection_url: Secret = Upstream(""),
            "`redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS";
        redis_service: String = FilterOnly(""),
            "Only in the module for [Higress](install.md#higress): the service of the gateway that is Redis, \
             `redis.dns` or `redis.default.svc.cluster.local:6379`. The default port is 6379, for `.static` it is 80";
        redis_use_sentinel: bool = Upstream("false"), "Redis is the master that Sentinels name";
        redis_sentinel_master_name: String = Upstream(""), "The name of the master that Sentinels know";
        redis_sentinel_connection_urls: Vec<String> = Upstream(""),
            "The Sentinels: `redis://host[:port]`, or `rediss://` for TLS to the Sentinels and the servers. The last \
             URL may have the user, password and database of the servers",
            differs: "the default port is 26379; there 6379";
        redis_sentinel_username: String = FilterOnly(""), "The ACL user of the Sentinels";
        redis_sentinel_password: Secret = Upstream(""),
            "The password of the Sentinels. Set it in the environment";
        redis_use_cluster: bool = Upstream("false"), "Redis is a Cluster";
        redis_cluster_connection_urls: Vec<String> = Upstream(""),
            "Some nodes of the Cluster: `redis://host[:port]`, or `rediss://` for TLS to all nodes. The last URL may \
             have the user and the password";
        redis_allowed_hosts: Vec<String> = FilterOnly(""),
            "Hosts that Sentinels and nodes of a Cluster may name, besides those of the URLs: `redis-0.example.com`, \
             `*.example.com`, `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`, each with `:port` or for any port; empty for any \
             host. The filter does not connect to other hosts";
        redis_username: String = Upstream(""),
            "The ACL user; wins over the user in the URL. Needs a password, except for `default`",
            differs: "another user without a password is refused; there the user is ignored";
        redis_password: Secret = Upstream(""),
            "The password of the user; wins over the password in the URL. Set it in the environment";
        redis_insecure_skip_tls_verify: bool = Upstream("false"),
            "Uses TLS, with `redis://` too, and does not verify the server's certificate";
        redis_tls_server_name: String = FilterOnly(""),
            "With `rediss://`: the host name that the certificate of every server has to be for; it is also sent as \
             SNI. Empty for the host of the server, or for the host of the last URL if the server is named by an IP \
             address";
        redis_connection_idle_timeout: usize = Upstream("0"),
            "Seconds after which the filter closes an idle connection; set it below the server's `timeout`. `0` for \
             1800";
        redis_connect_timeout: Duration = FilterOnly("1s"), "How long it may take to connect and authenticate";
        redis_command_timeout: Duration = FilterOnly("2s"),
            "How long a command may take; requests wait for a shorter outage";
        redis_session_cache: Duration = FilterOnly("0s"),
            "How long a worker uses a session from memory without asking Redis, `1m` at most. During that time it \
             does not notice a sign-out at another worker or proxy. With a connection that tells of changes \
             (`redis_tracking`) it has no effect";
        redis_tracking: TrackingChoice = FilterOnly("auto"),
            "`auto` serves sessions from memory while Redis tells of each change ([tracked \
             sessions](stores.md#tracked-sessions)); if a server cannot do that, each request asks it. `on` does the \
             same, and logs a warning if a server cannot do it. `off` never does it";
        redis_tracking_silence: Duration = FilterOnly("1s"),
            "How long a worker trusts a connection that does not answer to tell of changes";
        redis_session_index: bool = FilterOnly("false"),
            "Keeps an index of sessions by user in Redis, for `/oauth2/sessions`, `/oauth2/sign_out_everywhere` and \
             `admin_groups`. Redis needs [more rights](stores.md#the-sessions-of-a-user)";
        redis_ticket_form: Option<TicketForm> = FilterOnly(""),
            "The format in which tickets are written: `documented`, `v2`, or empty for `v2` only if `cookie_name` \
             has a dot";
    }
    "Routes" {
        proxy_prefix: String = Upstream("/oauth2"), "The path of the filter's own endpoints";
        reverse_proxy: bool = Upstream("false"),
            "Set it if the proxy in front of Envoy sets `X-Forwarded-Host` and `X-Forwarded-Uri`, and removes those \
             of a client. The filter then uses them as the host and the address that the browser asked for",
            differs: "`X-Forwarded-Uri` is only the address that a sign-in and the redirect of `force_https` lead \
             to, and does not affect `skip_auth_routes` and `api_routes`; `X-Forwarded-Proto` is always Envoy's";
        ping_path: String = Upstream("/ping"), "Answers 200; empty for none";
        ready_path: String = Upstream("/ready"), "Answers 200 if sessions can be loaded; empty for none";
        force_https: bool = Upstream("false"), "Redirects requests over http to https, with a 308",
            differs: "`ping_path`, `ready_path` and `skip_auth_routes` are answered over http as well, and the port \
             is that of `redirect_url`, or the default port; there all requests are redirected, to the port of \
             `https_address`";
        skip_auth_routes: Vec<String> = Upstream(""),
            "Patterns of paths that need no session: `^/public/`, `GET=^/public/`, `GET!=^/private/`",
            differs: "a pattern has to match every way in which an upstream may read the path; a path of more than \
             2,048 bytes never matches; RE2's `\\p` and `\\Q`, and in brackets a bare `[`, `&&`, `--` and `~~`, are \
             refused";
        skip_auth_preflight: bool = Upstream("false"), "`OPTIONS` requests need no session";
        api_routes: Vec<String> = Upstream(""), "Patterns of paths that get a 401 instead of a redirect",
            differs: "a path of more than 2,048 bytes never matches; RE2's `\\p` and `\\Q`, and in brackets a bare \
             `[`, `&&`, `--` and `~~`, are refused";
        force_json_errors: bool = Upstream("false"), "Every path gets a 401 instead of a redirect";
    }
    "Headers" {
        pass_user_headers: bool = Upstream("true"),
            "Sends `X-Forwarded-User`, `-Email`, `-Groups` and `-Preferred-Username` to the upstream";
        groups_header_separator: String = FilterOnly(","),
            "The separator of groups in `X-Forwarded-Groups` and `X-Auth-Request-Groups`: one character, such as `|` \
             or `;`. A group with this character in its name is left out of these headers";
        pass_basic_auth: bool = Upstream("true"),
            "Sends the same headers, and with `basic_auth_password` also `Authorization: Basic`";
        basic_auth_password: Secret = Upstream(""), "The password of `Authorization: Basic`";
        pass_access_token: bool = Upstream("false"), "Sends `X-Forwarded-Access-Token` to the upstream";
        pass_authorization_header: bool = Upstream("false"),
            "Sends `Authorization: Bearer` with the ID token to the upstream";
        prefer_email_to_user: bool = Upstream("false"),
            "Sends the email address as the user; without an email address, the upstream gets no user";
        set_xauthrequest: bool = Upstream("false"), "Sets `X-Auth-Request-*` in the response";
        set_authorization_header: bool = Upstream("false"),
            "Sets `Authorization: Bearer` with the ID token in the response";
        skip_auth_strip_headers: bool = Upstream("true"),
            "Removes forged headers also from requests that `skip_auth_routes` lets through",
            differs: "every identity header is removed, in every spelling. If it is off, the client's headers stay \
             only on `skip_auth_routes` and without a session; there they stay on every request";
        strip_session_cookie: bool = FilterOnly("false"), "Keeps the filter's cookies from the upstream";
        pass_guard_header: String = FilterOnly(""),
            "The value of the header `X-OAuth2-Session-Guard`, which every request gets that the filter lets through, so \
             that a policy behind the filter can refuse all others. Choose a value that no client can guess";
    }
    "Access log" {
        access_log_fields: Vec<String> = FilterOnly(""),
            "What Envoy's access log can show of a request: any of `user`, `state`, `reason`";
    }
}

/// All rows, in the order of their documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}
