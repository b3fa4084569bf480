//! `provider`: oauth2-proxy's names, and what each of them means.
//!
//! A provider with OpenID Connect is accepted, with what oauth2-proxy adds for it: another scope, a claim of
//! another name, roles among the groups. Other providers are refused, with what to use instead.

use serde_json::{Value as Json, json};

use super::value::{InvalidValue, Value};

/// How a provider differs from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderKind {
    /// Only OpenID Connect.
    #[default]
    Plain,
    /// The access token has roles.
    Keycloak,
    /// Gives a refresh token only if the request asks for one.
    Google,
    /// One provider with many tenants.
    EntraId,
    /// Accounts without an email address have a principal name.
    Adfs,
}

/// The values of a provider, for what the options do not set.
pub(super) struct ProviderPreset {
    pub(super) name: &'static str,
    pub(super) kind: ProviderKind,
    pub(super) display_name: &'static str,
    /// Empty if each customer has an issuer of its own.
    pub(super) issuer: &'static str,
    pub(super) scope: &'static str,
    /// Whether `allowed_groups` adds `groups` to the scope.
    pub(super) has_groups_scope: bool,
    /// The claim of the user. It is no option in oauth2-proxy either.
    pub(super) user_claim: &'static str,
    /// Whether a claim can have groups at all.
    pub(super) has_groups: bool,
}

const PLAIN: ProviderPreset = ProviderPreset {
    name: "oidc",
    kind: ProviderKind::Plain,
    display_name: "OpenID Connect",
    issuer: "",
    scope: "openid email profile",
    has_groups_scope: true,
    user_claim: "sub",
    has_groups: true,
};

pub(super) const PRESETS: &[ProviderPreset] = &[
    PLAIN,
    ProviderPreset {
        name: "keycloak-oidc",
        kind: ProviderKind::Keycloak,
        display_name: "Keycloak OIDC",
        ..PLAIN
    },
    ProviderPreset {
        name: "google",
        kind: ProviderKind::Google,
        display_name: "Google",
        issuer: "https://accounts.google.com",
        has_groups_scope: false,
        has_groups: false,
        ..PLAIN
    },
    ProviderPreset {
        name: "entra-id",
        kind: ProviderKind::EntraId,
        display_name: "Microsoft Entra ID",
        ..PLAIN
    },
    ProviderPreset {
        name: "adfs",
        kind: ProviderKind::Adfs,
        display_name: "ADFS",
        has_groups_scope: false,
        ..PLAIN
    },
    ProviderPreset {
        name: "gitlab",
        display_name: "GitLab",
        issuer: "https://gitlab.com",
        scope: "openid email",
        has_groups_scope: false,
        user_claim: "nickname",
        ..PLAIN
    },
];

/// What is particular about each of them, in Markdown. The parser does not need it.
pub(super) const DOCS: &[(&str, &str)] = &[
    ("oidc", "Any provider with a discovery document, or with its URLs in the options"),
    (
        "keycloak-oidc",
        "`https://<host>/realms/<realm>`. The roles of the access token are groups: `role:<realm role>` and \
         `role:<client>:<role>`; `allowed_roles` has them without `role:`",
    ),
    (
        "google",
        "Asks for a refresh token (`access_type=offline`). Google gives one only when the user consents for the \
         first time; `\"prompt\": \"consent\"` asks for consent at each sign-in. There are no groups, because Google \
         has them only in its Admin API",
    ),
    (
        "entra-id",
        "`https://login.microsoftonline.com/<tenant>/v2.0`. If the tenant is `common` or `organizations`, also set \
         `insecure_oidc_skip_issuer_verification` and `entra_id_allowed_tenants`: without the latter, users of every \
         tenant in the world can sign in, with any email address. Groups are ids. If a user has more than 200 \
         groups, the token has none. Unlike oauth2-proxy, the filter does not ask Microsoft Graph: let the \
         application emit only the groups that are assigned to it, or use its roles with `\"oidc_groups_claim\": \
         \"roles\"`. For the national clouds use `oidc`",
    ),
    (
        "adfs",
        "`https://<host>/adfs`. Without an email claim, `upn` is the email address. `resource` is a prefix of the \
         scope. `encode_state` is always on, because AD FS decodes the state twice",
    ),
    (
        "gitlab",
        "The user is the nickname, and the groups are the paths of groups; `allowed_groups` allows only their \
         members",
    ),
];

const NO_OPENID_CONNECT: &str = "it does not support OpenID Connect; put a provider such as Dex or Keycloak in \
                                 between, and use oidc or keycloak-oidc";

/// Names that the filter refuses, and what to use instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("azure", "it is the old protocol of Entra ID; use entra-id, with the tenant in oidc_issuer_url"),
    ("bitbucket", NO_OPENID_CONNECT),
    ("cidaas", "its groups are objects, which allowed_groups cannot name; use oidc, without allowed_groups"),
    ("digitalocean", NO_OPENID_CONNECT),
    ("facebook", NO_OPENID_CONNECT),
    (
        "github",
        "it does not support OpenID Connect; put a provider such as Dex or Keycloak in between. For Gitea and \
         Forgejo use oidc",
    ),
    ("keycloak", "it is Keycloak's old protocol; use keycloak-oidc"),
    ("linkedin", "it is LinkedIn's old protocol; use oidc with LinkedIn's \"Sign In using OpenID Connect\""),
    (
        "login.gov",
        "it needs requests that are signed with a private key (private_key_jwt), and the filter cannot sign them",
    ),
    (
        "nextcloud",
        "it has no OpenID Connect of its own; with Nextcloud's app \"OIDC Identity Provider\", use oidc",
    ),
    ("sourcehut", NO_OPENID_CONNECT),
];

/// The value of `provider`.
pub(super) enum ProviderName {
    Taken(&'static ProviderPreset),
    Refused(&'static str),
}

impl ProviderName {
    /// The provider's own values; those of plain OpenID Connect if the provider is refused.
    pub(super) fn preset(&self) -> &'static ProviderPreset {
        match self {
            Self::Taken(preset) => preset,
            Self::Refused(_) => &PLAIN,
        }
    }
}

impl Default for ProviderName {
    fn default() -> Self {
        Self::Taken(&PLAIN)
    }
}

impl Value for ProviderName {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "oidc, keycloak-oidc, google, entra-id, adfs or gitlab";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let preset = || PRESETS.iter().find(|preset| preset.name == text).map(Self::Taken);
        let refused = || REFUSED.iter().find(|(name, _)| *name == text);
        preset().or_else(|| refused().map(|(_, instead)| Self::Refused(instead))).ok_or(InvalidValue)
    }

    fn schema() -> Json {
        json!({ "enum": PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>() })
    }
}
