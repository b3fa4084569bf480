//! From claims to an identity, by the rules of oauth2-proxy's claim extractor
//! (`pkg/providers/util/claim_extractor.go`, v7.15.3).

use serde_json::{Map, Value};

/// The standard email claim (OpenID Connect Core 5.1), to which `email_verified` refers.
const EMAIL: &str = "email";

/// The names of the claims that identify a user. A name is that of a claim, or a path such as `realm_access.roles`; an
/// empty one means no claim.
pub struct ClaimNames<'a> {
    /// The user; usually `sub`.
    pub user: &'a str,
    /// `oidc_email_claim`.
    pub email: &'a str,
    /// `oidc_groups_claim`.
    pub groups: &'a str,
    /// Additional claims, which are kept unchanged.
    pub additional: &'a [String],
}

/// A user, as a session has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// The user; empty if the claim is missing.
    pub user: String,
    /// The email address; empty if the claim is missing.
    pub email: String,
    /// `email_verified`. `None` if the claim is missing, or `oidc_email_claim` is not `email`: it refers only to the
    /// standard claim.
    pub email_verified: Option<bool>,
    /// `preferred_username`; empty if the claim is missing.
    pub preferred_username: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The additional claims that were found, by their configured names.
    pub additional_claims: Map<String, Value>,
    /// Which claims were present, even if empty.
    pub present: PresentClaims,
    is_incomplete: bool,
}

/// Which claims were present. `null` counts as missing (OpenID Connect Core 5.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as the fields of `Identity`
pub struct PresentClaims {
    pub user: bool,
    pub email: bool,
    pub preferred_username: bool,
    pub groups: bool,
}

impl Identity {
    /// Reads the claims of an ID token.
    pub fn from_claims(claims: &Map<String, Value>, names: &ClaimNames<'_>) -> Self {
        let text = |name: &str| claim_text(claims, name);
        let has = |name: &str| find(claims, name).is_some();
        let verified = find(claims, "email_verified").filter(|_| names.email == EMAIL).map(is_true);
        let groups = find(claims, names.groups);
        let additional = names.additional.iter();
        let mut identity = Self {
            user: text(names.user),
            email: text(names.email),
            email_verified: verified,
            preferred_username: text("preferred_username"),
            groups: groups.map(to_texts).unwrap_or_default(),
            additional_claims: additional
                .filter_map(|name| Some((name.clone(), find(claims, name)?.clone())))
                .collect(),
            present: PresentClaims {
                user: has(names.user),
                email: has(names.email),
                preferred_username: has("preferred_username"),
                groups: groups.is_some(),
            },
            is_incomplete: false,
        };
        identity.is_incomplete = identity.lacks(names);
        identity
    }

    /// Whether userinfo has to be requested: a claim is missing that it may have, or it may say that the email address is
    /// not verified.
    pub fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Adds the missing claims from userinfo. Those of the ID token stay: it is signed.
    pub fn complete(&mut self, more: &Map<String, Value>, names: &ClaimNames<'_>) {
        let more = Self::from_claims(more, names);
        if self.email.is_empty() {
            self.email = more.email;
            // It refers to its own email address.
            self.email_verified = more.email_verified.or(self.email_verified);
        }
        self.email_verified = self.email_verified.or(more.email_verified);
        for (mine, other) in
            [(&mut self.user, more.user), (&mut self.preferred_username, more.preferred_username)]
        {
            if mine.is_empty() {
                *mine = other;
            }
        }
        if !self.present.groups {
            self.groups = more.groups;
        }
        self.present.user |= more.present.user;
        self.present.email |= more.present.email;
        self.present.preferred_username |= more.present.preferred_username;
        self.present.groups |= more.present.groups;
        for (name, value) in more.additional_claims {
            self.additional_claims.entry(name).or_insert(value);
        }
        self.is_incomplete = self.lacks(names);
    }

    /// Drops the standard email claim unless it is verified, also as an additional claim. For when userinfo, which could
    /// have said that it is not verified, does not answer. Another claim than `email` stays.
    pub fn drop_unverified_email(&mut self, names: &ClaimNames<'_>) {
        if names.email != EMAIL || self.email_verified == Some(true) {
            return;
        }
        self.present.email = false;
        self.additional_claims.remove(EMAIL);
    }

    fn lacks(&self, names: &ClaimNames<'_>) -> bool {
        (self.user.is_empty() && !names.user.is_empty())
            || self.email.is_empty()
            || (self.email_verified.is_none() && names.email == EMAIL)
            || (!self.present.groups && !names.groups.is_empty())
            || names.additional.iter().any(|name| !self.additional_claims.contains_key(name))
    }
}

/// A claim as text; empty if it is missing.
pub fn claim_text(claims: &Map<String, Value>, name: &str) -> String {
    find(claims, name).map(to_text).unwrap_or_default()
}

/// The claim of that name, or at that path; `null` counts as missing.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = match claims.get(name) {
        Some(value) => value,
        None => {
            let mut steps = name.split('.');
            let first = claims.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.as_object()?.get(step))?
        }
    };
    Some(value).filter(|value| !value.is_null())
}

/// A string unchanged, any other value as JSON.
fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The entries of an array, or a single value. Empty entries are dropped.
fn to_texts(value: &Value) -> Vec<String> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    values.iter().filter(|value| !value.is_null()).map(to_text).filter(|text| !text.is_empty()).collect()
}

/// `true`, or the string `"true"` that some providers write. Any other value counts as not verified.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAMES: ClaimNames<'static> =
        ClaimNames { user: "sub", email: "email", groups: "groups", additional: &[] };

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn identity(claims: Value) -> Identity {
        Identity::from_claims(&object(claims), &NAMES)
    }

    fn groups(value: Value) -> Vec<String> {
        identity(json!({ "groups": value })).groups
    }

    #[test]
    fn identity_is_read_from_standard_claims() {
        let identity = identity(json!({
            "sub": "42", "email": "a@example.com", "email_verified": true, "preferred_username": "ann",
            "groups": ["admins", "devs"],
        }));
        assert_eq!(identity.user, "42");
        assert_eq!(identity.email, "a@example.com");
        assert_eq!(identity.email_verified, Some(true));
        assert_eq!(identity.preferred_username, "ann");
        assert_eq!(identity.groups, ["admins", "devs"]);
        assert!(!identity.is_incomplete());
    }

    #[test]
    fn groups_become_text_as_in_oauth2_proxy() {
        assert_eq!(groups(json!("one")), ["one"]);
        assert_eq!(groups(json!(7)), ["7"]);
        assert_eq!(
            groups(json!(["a", 1, true, {"id": 2, "n": "x"}, ["b"]])),
            ["a", "1", "true", r#"{"id":2,"n":"x"}"#, r#"["b"]"#]
        );
        assert_eq!(groups(json!({"id": 2})), [r#"{"id":2}"#]);
        assert_eq!(groups(json!([null, "", "a"])), ["a"]);
        assert!(groups(json!([])).is_empty());
    }

    #[test]
    fn claim_with_dotted_name_precedes_path() {
        let names = ClaimNames { groups: "realm_access.roles", ..NAMES };
        let nested = json!({ "realm_access": { "roles": ["nested"] } });
        let mut both = nested.clone();
        both["realm_access.roles"] = json!(["plain"]);
        assert_eq!(Identity::from_claims(&object(nested), &names).groups, ["nested"]);
        assert_eq!(Identity::from_claims(&object(both), &names).groups, ["plain"]);
        for elsewhere in [json!({ "realm_access": ["roles"] }), json!({ "realm_access": { "roles": null } })]
        {
            let identity = Identity::from_claims(&object(elsewhere), &names);
            assert!(identity.groups.is_empty() && identity.is_incomplete());
        }
    }

    #[test]
    fn email_verified_refers_to_standard_claim_only() {
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!("true"), Some(true)),
            (json!("True"), Some(true)),
            (json!(false), Some(false)),
            (json!("false"), Some(false)),
            (json!("yes"), Some(false)),
            (json!({}), Some(false)),
            (json!(null), None),
        ] {
            let claims = object(json!({ "email": "a@b", "upn": "c@d", "email_verified": value }));
            assert_eq!(Identity::from_claims(&claims, &NAMES).email_verified, expected, "{value}");
            let names = ClaimNames { email: "upn", ..NAMES };
            let identity = Identity::from_claims(&claims, &names);
            assert_eq!((identity.email.as_str(), identity.email_verified), ("c@d", None));
        }
    }

    #[test]
    fn userinfo_is_asked_if_a_claim_is_missing() {
        let additional = ["dept".to_owned()];
        let names = ClaimNames { additional: &additional, ..NAMES };
        let claims = json!({ "sub": "1", "email": "a@b", "email_verified": true, "groups": [], "dept": "x" });
        assert!(!Identity::from_claims(&object(claims.clone()), &names).is_incomplete());
        for name in ["sub", "email", "email_verified", "groups", "dept"] {
            let mut without = object(claims.clone());
            without.remove(name);
            assert!(Identity::from_claims(&without, &names).is_incomplete(), "{name}");
        }
        let names = ClaimNames { email: "sub", groups: "", ..NAMES };
        assert!(!Identity::from_claims(&object(json!({ "sub": "1" })), &names).is_incomplete());
    }

    #[test]
    fn userinfo_overrides_no_claim_of_the_id_token() {
        let additional = ["dept".to_owned(), "org.unit".to_owned()];
        let names = ClaimNames { additional: &additional, ..NAMES };
        let token = json!({ "sub": "1", "email": "a@b", "groups": [], "dept": ["kept"] });
        let more = json!({
            "sub": "2", "email": "evil@b", "email_verified": false, "preferred_username": "ann",
            "groups": ["added"], "dept": "other", "org": { "unit": 7 }, "secret": "s",
        });
        let mut identity = Identity::from_claims(&object(token), &names);
        identity.complete(&object(more), &names);
        assert_eq!(identity.user, "1");
        assert_eq!(identity.email, "a@b");
        assert_eq!(identity.email_verified, Some(false));
        assert_eq!(identity.preferred_username, "ann");
        assert!(identity.groups.is_empty());
        assert_eq!(
            Value::from(identity.additional_claims.clone()),
            json!({ "dept": ["kept"], "org.unit": 7 })
        );
        assert!(!identity.is_incomplete());
    }

    #[test]
    fn empty_claim_counts_as_said_and_null_does_not() {
        let all = PresentClaims { user: true, email: true, preferred_username: true, groups: true };
        let empty = json!({ "sub": "", "email": "", "preferred_username": "", "groups": [] });
        assert_eq!(identity(empty.clone()).present, all);
        let null = json!({ "sub": null, "email": null, "preferred_username": null, "groups": null });
        let mut identity = identity(null);
        assert_eq!(identity.present, PresentClaims::default());
        identity.complete(&object(empty), &NAMES);
        assert_eq!(identity.present, all);
    }

    #[test]
    fn email_of_userinfo_comes_with_its_verification() {
        let mut identity = identity(json!({ "sub": "1", "email_verified": true, "groups": "a" }));
        identity.complete(&object(json!({ "email": "a@b", "email_verified": false })), &NAMES);
        assert_eq!((identity.email.as_str(), identity.email_verified), ("a@b", Some(false)));
    }
}
