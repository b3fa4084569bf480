//! Tenants and groups of Microsoft Entra ID, as oauth2-proxy sees them (`providers/ms_entra_id.go`).

use serde_json::{Map, Value};

/// The tenant of an ID token, from its issuer.
pub fn entra_tenant(claims: &Map<String, Value>) -> Option<&str> {
    let issuer = claims.get("iss")?.as_str()?;
    let tenant = issuer.strip_prefix("https://login.microsoftonline.com/")?.strip_suffix("/v2.0")?;
    let is_tenant = !tenant.is_empty() && tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_tenant.then_some(tenant)
}

/// Whether the user has too many groups for the token, so that it has a link to them instead.
pub fn has_entra_overage(claims: &Map<String, Value>) -> bool {
    claims.get("_claim_names").is_some_and(|names| names.get("groups").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(issuer: Value) -> Option<String> {
        entra_tenant(json!({ "iss": issuer }).as_object().unwrap()).map(str::to_owned)
    }

    #[test]
    fn tenant_is_read_from_the_issuer() {
        let id = "9188040d-6c67-4c5b-b112-36a304b66dad";
        assert_eq!(
            tenant(json!(format!("https://login.microsoftonline.com/{id}/v2.0"))).as_deref(),
            Some(id)
        );
        for issuer in [
            json!(format!("https://login.microsoftonline.com/{id}/v2.0/")),
            json!(format!("https://login.microsoftonline.com/{id}")),
            json!(format!("https://sts.windows.net/{id}/")),
            json!(format!("https://login.microsoftonline.com/x/{id}/v2.0")),
            json!(format!("http://login.microsoftonline.com/{id}/v2.0")),
            json!("https://login.microsoftonline.com//v2.0"),
            json!([]),
            json!(null),
        ] {
            assert_eq!(tenant(issuer.clone()), None, "{issuer}");
        }
    }

    #[test]
    fn group_overage_is_recognised() {
        // Microsoft's documentation of the overage claim.
        let overage = json!({
            "_claim_names": { "groups": "src1" },
            "_claim_sources": { "src1": { "endpoint": "https://graph.microsoft.com/v1.0/users/1/getMemberObjects" } },
        });
        assert!(has_entra_overage(overage.as_object().unwrap()));
        for claims in [json!({}), json!({ "_claim_names": {} }), json!({ "_claim_names": "groups" })] {
            assert!(!has_entra_overage(claims.as_object().unwrap()), "{claims}");
        }
    }
}
