//! oauth2-proxy's alpha configuration (YAML, v7.15.3's `pkg/apis/options/alpha_options.go`), if the filter
//! has options for it.

use serde_json::{Map, Value, json};

use crate::Found;

/// The members of a provider, and the options that correspond to them.
const PROVIDER: &str = "
    clientID=client_id clientSecret=client_secret clientSecretFile=client_secret_file provider=provider
    name=provider_display_name caFiles=provider_ca_files useSystemTrustStore=use_system_trust_store
    loginURL=login_url authRequestResponseMode=auth_request_response_mode redeemURL=redeem_url
    profileURL=profile_url skipClaimsFromProfileURL=skip_claims_from_profile_url resource=resource
    validateURL=validate_url scope=scope allowedGroups=allowed_groups backendLogoutURL=backend_logout_url
    code_challenge_method=code_challenge_method additionalClaims=additional_claims
    keycloakConfig/roles=allowed_roles keycloakConfig/groups=keycloak_groups
    azureConfig/tenant=azure_tenant azureConfig/graphGroupField=azure_graph_group_field
    microsoftEntraIDConfig/allowedTenants=entra_id_allowed_tenants
    microsoftEntraIDConfig/federatedTokenAuth=entra_id_federated_token_auth
    bitbucketConfig/team=bitbucket_team bitbucketConfig/repository=bitbucket_repository
    githubConfig/org=github_org githubConfig/team=github_team githubConfig/repo=github_repo
    githubConfig/token=github_token githubConfig/users=github_users
    gitlabConfig/group=gitlab_groups gitlabConfig/projects=gitlab_projects
    googleConfig/group=google_groups googleConfig/adminEmail=google_admin_email
    googleConfig/serviceAccountJson=google_service_account_json
    googleConfig/useApplicationDefaultCredentials=google_use_application_default_credentials
    googleConfig/targetPrincipal=google_target_principal
    googleConfig/useOrganizationID=google_use_organization_id
    googleConfig/adminAPIUserScope=google_admin_api_user_scope
    oidcConfig/issuerURL=oidc_issuer_url
    oidcConfig/insecureAllowUnverifiedEmail=insecure_oidc_allow_unverified_email
    oidcConfig/insecureSkipIssuerVerification=insecure_oidc_skip_issuer_verification
    oidcConfig/insecureSkipNonce=insecure_oidc_skip_nonce oidcConfig/skipDiscovery=skip_oidc_discovery
    oidcConfig/jwksURL=oidc_jwks_url oidcConfig/publicKeyFiles=oidc_public_key_files
    oidcConfig/emailClaim=oidc_email_claim oidcConfig/groupsClaim=oidc_groups_claim
    oidcConfig/userIDClaim=user_id_claim oidcConfig/audienceClaims=oidc_audience_claims
    oidcConfig/extraAudiences=oidc_extra_audiences oidcConfig/enabledSigningAlgs=oidc_enabled_signing_algs
    loginGovConfig/jwtKey=jwt_key loginGovConfig/jwtKeyFile=jwt_key_file loginGovConfig/pubjwkURL=pubjwk_url
";

/// Parts that the filter does not have, and the option whose sentence says what to do instead.
const ELSEWHERE: [(&str, &str); 3] =
    [("upstreamConfig", "upstreams"), ("server", "http_address"), ("metricsServer", "metrics_address")];

/// Adds the options of the YAML.
pub(crate) fn read(text: &str, found: &mut Found) -> Result<(), String> {
    // Not the message of the library, because it shows the line, which may have a secret.
    let root: Map<String, Value> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        format!("is not valid YAML: see line {line}")
    })?;
    if let Some(form) = another_form(&root) {
        return Err(format!(
            "is {form}, not oauth2-proxy's alpha configuration; pass the file, the arguments or the variables in it"
        ));
    }
    for (name, value) in &root {
        match name.as_str() {
            "providers" => providers(value, found),
            "injectRequestHeaders" | "injectResponseHeaders" => {}
            name => match ELSEWHERE.iter().find(|(part, _)| *part == name) {
                Some((_, option)) => {
                    found.options.insert((*option).to_owned(), value.clone());
                }
                None => found.unknown.push(format!("{name}: unknown part of the alpha configuration")),
            },
        }
    }
    // The alpha configuration has no default headers.
    let request = root.get("injectRequestHeaders").unwrap_or(&Value::Null);
    let response = root.get("injectResponseHeaders").unwrap_or(&Value::Null);
    request_headers(request, found);
    response_headers(response, found);
    Ok(())
}

/// What the YAML is instead, recognised by a member at the top of such files.
fn another_form(root: &Map<String, Value>) -> Option<&'static str> {
    const FORMS: [(&str, &str); 6] = [
        ("apiVersion", "a manifest of Kubernetes"),
        ("services", "a Compose file"),
        ("extraArgs", "a Helm chart's values"),
        ("alphaConfig", "a Helm chart's values"),
        ("config", "a Helm chart's values"),
        ("image", "a Helm chart's values"),
    ];
    FORMS.iter().find(|(member, _)| root.contains_key(*member)).map(|(_, form)| *form)
}

fn providers(value: &Value, found: &mut Found) {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.len() > 1 {
        found.remarks.push("providers: the filter has one provider; the first is used".to_owned());
    }
    for (path, value) in all.first().map(leaves).unwrap_or_default() {
        let option = PROVIDER.split_whitespace().filter_map(|pair| pair.split_once('='));
        match option.into_iter().find(|(other, _)| *other == path) {
            Some((_, option)) => {
                found.options.insert(option.to_owned(), value);
            }
            None if path == "id" => {}
            None if path == "loginURLParameters" => parameters(&value, found),
            None if value.is_null() => {}
            None => found.unknown.push(format!("providers[0].{path}: the filter has no option for it")),
        }
    }
}

/// The members, and the members of objects among them.
fn leaves(provider: &Value) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    for (name, value) in provider.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(inner) => {
                leaves.extend(inner.iter().map(|(key, value)| (format!("{name}/{key}"), value.clone())));
            }
            None => leaves.push((name.clone(), value.clone())),
        }
    }
    leaves
}

/// `loginURLParameters`: parameters with one fixed value are options.
fn parameters(value: &Value, found: &mut Found) {
    for parameter in value.as_array().into_iter().flatten() {
        let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
        let fixed = parameter.get("default").and_then(Value::as_array).map(Vec::as_slice);
        match (name, fixed, parameter.get("allow")) {
            ("prompt" | "acr_values" | "approval_prompt", Some([value]), None) => {
                found.options.insert(name.to_owned(), value.clone());
            }
            _ => found.remarks.push(format!(
                "loginURLParameters: {name}: only prompt and acr_values are options, each with one fixed value"
            )),
        }
    }
}

/// A header that is made from one claim: its name in lower case, the claim, the prefix, the password. Before v7.14 the
/// claim was in the value itself and not in its `claimSource`.
fn from_claim(header: &Value) -> Option<(String, &str, &str, Option<&Value>)> {
    let name = header.get("name")?.as_str()?.to_ascii_lowercase();
    let [value] = header.get("values")?.as_array()?.as_slice() else { return None };
    let source = value.get("claimSource").unwrap_or(value);
    let prefix = source.get("prefix").and_then(Value::as_str).unwrap_or_default();
    Some((name, source.get("claim")?.as_str()?, prefix, source.get("basicAuthPassword")))
}

fn request_headers(headers: &Value, found: &mut Found) {
    const ALL: [&str; 4] =
        ["x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username"];
    let mut people = Vec::new();
    let mut set = |name: &str, value: Value| found.options.insert(name.to_owned(), value);
    let (mut remarks, mut has_basic) = (Vec::new(), false);
    for header in headers.as_array().into_iter().flatten() {
        let claim = from_claim(header);
        match claim
            .as_ref()
            .map(|(name, claim, prefix, password)| (name.as_str(), *claim, *prefix, *password))
        {
            Some((name @ "x-forwarded-user", "user", "", None))
            | Some((name @ "x-forwarded-email", "email", "", None))
            | Some((name @ "x-forwarded-groups", "groups", "", None))
            | Some((name @ "x-forwarded-preferred-username", "preferred_username", "", None)) => {
                people.push(name.to_owned());
            }
            Some((name @ "x-forwarded-user", "email", "", None)) => {
                people.extend([name.to_owned(), "x-forwarded-email".to_owned()]);
                set("prefer_email_to_user", json!(true));
            }
            Some(("x-forwarded-access-token", "access_token", "", None)) => {
                set("pass_access_token", json!(true));
            }
            Some(("authorization", "id_token", "Bearer ", None)) => {
                set("pass_authorization_header", json!(true));
            }
            Some(("authorization", claim @ ("user" | "email"), _, Some(password))) => {
                has_basic = true;
                if claim == "email" {
                    set("prefer_email_to_user", json!(true));
                }
                match password.get("value") {
                    Some(value) => {
                        set("basic_auth_password", value.clone());
                    }
                    None => remarks.push(
                        "basicAuthPassword: set OAUTH2_PROXY_BASIC_AUTH_PASSWORD to what its source has"
                            .to_owned(),
                    ),
                }
            }
            _ => remarks.push(no_option("injectRequestHeaders", header)),
        }
    }
    set("pass_user_headers", json!(!people.is_empty()));
    set("pass_basic_auth", json!(has_basic));
    let missing: Vec<_> = ALL.into_iter().filter(|name| !people.iter().any(|other| other == name)).collect();
    if (!people.is_empty() || has_basic) && !missing.is_empty() {
        remarks.push(format!("injectRequestHeaders: the filter also sends {}", missing.join(", ")));
    }
    found.remarks.extend(remarks);
}

fn response_headers(headers: &Value, found: &mut Found) {
    for header in headers.as_array().into_iter().flatten() {
        let claim = from_claim(header);
        let option = match claim.as_ref().map(|(name, claim, prefix, _)| (name.as_str(), *claim, *prefix)) {
            Some(("x-auth-request-user", "user", ""))
            | Some(("x-auth-request-email", "email", ""))
            | Some(("x-auth-request-groups", "groups", ""))
            | Some(("x-auth-request-preferred-username", "preferred_username", "")) => "set_xauthrequest",
            Some(("authorization", "id_token", "Bearer ")) => "set_authorization_header",
            _ => {
                found.remarks.push(no_option("injectResponseHeaders", header));
                continue;
            }
        };
        found.options.insert(option.to_owned(), json!(true));
    }
}

fn no_option(list: &str, header: &Value) -> String {
    let name = header.get("name").and_then(Value::as_str).unwrap_or("a header");
    format!("{list}: {name}: the filter has no option for it; let Envoy set what is the same for everybody")
}
