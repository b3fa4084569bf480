//! The JSON Schema and the parser, on the same values.

use jsonschema::Validator;

use super::*;
use crate::config::options;
use crate::config::schema::options_schema;

fn validator() -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(&options_schema()).unwrap()
}

#[test]
fn schema_is_valid_draft_2020_12() {
    jsonschema::draft202012::meta::validate(&options_schema()).unwrap();
}

#[test]
fn schema_and_parser_accept_the_same_types() {
    let schema = validator();
    let texts = [
        "",
        "x",
        "a,b",
        "true",
        "True",
        "yes",
        "0",
        "7",
        "-7",
        "1.5",
        "1h",
        "1h30m",
        ".5s",
        "+1.5h",
        "1 h",
        "-1h",
        "1d",
        "lax",
        "Lax",
        "none",
        "S256",
        "s256",
        "plain",
        "v2",
        "documented",
        "https://login.example.com/x?y=1",
        "http://[::1]:8080",
        "https://user@login.example.com",
        "login.example.com",
        "ftp://login.example.com",
        "oidc",
        "google",
        "keycloak-oidc",
        "github",
        "okta",
    ];
    let values = texts.iter().map(|text| json!(text)).chain([
        json!(true),
        json!(0),
        json!(12),
        json!(-1),
        json!(1.5),
        json!(null),
        json!([]),
        json!(["a", "b"]),
        json!(["a", 1]),
        json!([["a"]]),
        json!({}),
        json!({"a": "b"}),
    ]);
    for value in values {
        for row in options::rows() {
            let json = with(json!({row.name: value}));
            let about = |line: &&str| line.starts_with(&format!("{}: must be ", row.name));
            let parsed = parse(&json).map_err(|errors| errors.to_string());
            let is_type_wrong = match &parsed {
                Ok(_) => false,
                // A refused provider is not among the values either. The other errors are about how options
                // depend on each other.
                Err(errors) if row.name == "provider" => errors.contains("provider: "),
                Err(errors) => errors.lines().find(about).is_some_and(|line| line.contains(row.expected)),
            };
            assert_eq!(schema.is_valid(&json), !is_type_wrong, "{}: {value}: {parsed:?}", row.name);
        }
    }
}

#[test]
fn schema_requires_the_required_options() {
    let schema = validator();
    let complete = json!({"client_id": "my-service", "email_domains": ["example.com"]});
    assert!(schema.is_valid(&complete));
    for option in ["client_id", "email_domains"] {
        let mut json = complete.clone();
        json.as_object_mut().unwrap().remove(option);
        assert!(!schema.is_valid(&json), "{option}");
        json["mode"] = "login".into();
        assert!(!schema.is_valid(&json), "{option}");
    }
    for mode in ["beside", "app"] {
        assert!(schema.is_valid(&json!({"mode": mode, "email_domains": ["*"]})), "others sign people in");
    }
}

#[test]
fn schema_refuses_unknown_and_refused_options() {
    let schema = validator();
    for option in ["cookie_secert", "http_address", "cookie-name"] {
        assert!(!schema.is_valid(&with(json!({option: "x"}))), "{option}");
    }
    let schema = options_schema();
    assert!(
        schema["properties"]["http_address"]["errorMessage"]
            .as_str()
            .unwrap()
            .contains("Envoy is the server")
    );
}

#[test]
fn schema_default_is_valid_for_its_option() {
    let schema = options_schema();
    for row in options::rows() {
        let property = &schema["properties"][row.name];
        if let Some(default) = property.get("default") {
            assert!(jsonschema::draft202012::is_valid(property, default), "{}: {default}", row.name);
            config(json!({"provider": "gitlab", row.name: default}));
        }
    }
}

#[test]
fn parser_ignores_the_schema_member() {
    for name in [json!("envoy-config/filter.schema.json"), json!(5)] {
        config(json!({"$schema": name}));
    }
    assert!(validator().is_valid(&with(json!({"$schema": "./filter.schema.json"}))));
}

#[test]
fn shipped_configurations_match_the_schema() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-config");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("filter") && name.ends_with(".json") && !name.ends_with(".schema.json") {
            let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let errors: Vec<_> = validator().iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            names.push(name);
        }
    }
    assert!(names.len() >= 4, "{names:?}");
}
