//! Roles in Keycloak's access token, as oauth2-proxy makes groups of them (`providers/keycloak_oidc.go`).
//!
//! ```json
//! { "realm_access": { "roles": ["staff"] }, "resource_access": { "shop": { "roles": ["admin"] } } }
//! ```
//!
//! The signature is not checked: the token came from the provider itself, over TLS.

use serde_json::{Map, Value};

use super::id_token::unverified_claims;

/// The prefix of groups that stand for roles.
pub const KEYCLOAK_ROLE: &str = "role:";

/// The roles as groups: `role:staff`, `role:shop:admin`. None if the token is not a JWT.
pub fn keycloak_roles(access_token: &[u8]) -> Option<Vec<String>> {
    let claims = unverified_claims(access_token)?;
    let mut groups: Vec<_> =
        roles(claims.get("realm_access")).map(|role| format!("{KEYCLOAK_ROLE}{role}")).collect();
    let clients = claims.get("resource_access").and_then(Value::as_object).into_iter().flat_map(Map::iter);
    for (client, access) in clients {
        groups.extend(roles(Some(access)).map(|role| format!("{KEYCLOAK_ROLE}{client}:{role}")));
    }
    Some(groups)
}

/// The strings of the array `roles`.
fn roles(access: Option<&Value>) -> impl Iterator<Item = &str> {
    let roles = access.and_then(|access| access.get("roles")).and_then(Value::as_array);
    roles.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    fn of(claims: Value) -> Vec<String> {
        let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()));
        keycloak_roles(token.as_bytes()).unwrap()
    }

    #[test]
    fn realm_and_client_roles_become_groups() {
        // From oauth2-proxy's documentation and its test.
        let claims = json!({
            "realm_access": { "roles": ["write"] },
            "resource_access": { "default": { "roles": ["read"] }, "shop": { "roles": ["admin", "clerk"] } },
        });
        assert_eq!(of(claims), ["role:write", "role:default:read", "role:shop:admin", "role:shop:clerk"]);
    }

    #[test]
    fn malformed_role_lists_give_no_groups() {
        for claims in [
            json!({}),
            json!({ "realm_access": "staff", "resource_access": ["shop"] }),
            json!({ "realm_access": { "roles": "staff" }, "resource_access": { "shop": null } }),
            json!({ "realm_access": { "roles": [1, null, {}] }, "resource_access": { "shop": { "roles": {} } } }),
        ] {
            assert!(of(claims.clone()).is_empty(), "{claims}");
        }
    }

    #[test]
    fn opaque_access_token_gives_no_roles() {
        for token in ["", "opaque", "a.b.c", "e30.e30", "e30.W10.x", "e30.bnVsbA.x"] {
            assert_eq!(keycloak_roles(token.as_bytes()), None, "{token}");
        }
        assert_eq!(keycloak_roles(b"\xff.\xff.\xff"), None);
    }
}
