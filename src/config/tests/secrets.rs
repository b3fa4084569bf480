//! A secret is never printed: neither in any error, nor by `Debug`.

use super::*;

const SECRET: &str = "Tr0ub4dor&3-hunter2!";

fn assert_hidden(printed: &str, case: &str) {
    // A part of it must not be printed either.
    for part in ["Tr0ub", "hunter2", "4dor"] {
        assert!(!printed.contains(part), "{case}: {printed}");
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_not_printed() {
    let options: Vec<&str> = crate::config::options::rows().map(|row| row.name).collect();
    // A pattern is shown, so that it can be found among others.
    let shown = ["skip_auth_routes", "api_routes", "extra_jwt_issuers"];
    for option in options.into_iter().filter(|option| !shown.contains(option)) {
        for value in [
            json!(SECRET),
            json!([SECRET]),
            json!([[SECRET]]),
            json!({"value": SECRET}),
            json!({SECRET: 1}),
            json!(format!("https://user:{SECRET}@login.example.com/")),
            json!(format!("{SECRET}\u{0}\n")),
        ] {
            if let Err(errors) = parse(&with(json!({option: value}))) {
                assert_hidden(&errors.to_string(), option);
                assert_hidden(&format!("{errors:?}"), option);
            }
        }
        let variable = format!("OAUTH2_PROXY_{}", option.to_uppercase());
        let parsed = Config::parse(with(json!({})).to_string().as_bytes(), &env(&[(&variable, SECRET)]));
        if let Err(errors) = parsed {
            assert_hidden(&errors.to_string(), &variable);
        }
    }
}

#[test]
fn secret_of_an_unknown_option_is_not_printed() {
    for name in ["cookie_secert", "redis_sentinel_password", "github_token", "nonsense"] {
        assert_hidden(&mistakes(json!({name: SECRET})).join("\n"), name);
        let variable = format!("OAUTH2_PROXY_{}", name.to_uppercase());
        let parsed = Config::parse(with(json!({})).to_string().as_bytes(), &env(&[(&variable, SECRET)]));
        assert_hidden(&parsed.unwrap_err().to_string(), name);
    }
}

#[test]
fn a_secret_in_broken_json_is_not_printed() {
    let json = format!(r#"{{"client_id": "a", "client_secret": "{SECRET}"}}"#);
    for end in 1..json.len() {
        let cut = &json.as_bytes()[..end];
        let errors = Config::parse(cut, &[]).unwrap_err();
        assert_hidden(&errors.to_string(), &format!("cut at {end}"));
    }
    for json in [
        format!(r#"{{"client_secret": {SECRET}}}"#),
        format!(r#"{{"client_secret": '{SECRET}'}}"#),
        format!(r#"{{"client_secret": "{SECRET}\x"}}"#),
        format!("{{\"client_secret\": \"{SECRET}\n\"}}"),
        format!(r#"{{{SECRET}: 1}}"#),
        format!(r#""{SECRET}""#),
        SECRET.to_owned(),
    ] {
        assert_hidden(&Config::parse(json.as_bytes(), &[]).unwrap_err().to_string(), &json);
    }
}

#[test]
fn debug_output_has_no_secrets() {
    let config = config(json!({
        "client_secret": SECRET,
        "cookie_secret": format!("{SECRET}????"),
        "basic_auth_password": SECRET,
    }));
    assert_eq!(config.provider.as_ref().unwrap().client_secret.expose(), SECRET);
    assert_eq!(config.headers.basic_auth(), Some(SECRET.as_bytes()));
    assert_hidden(&format!("{config:?}"), "Debug");
    assert_hidden(&format!("{config:#?}"), "Debug");
}

#[test]
fn secret_with_line_break_is_refused() {
    for (variable, option) in [
        ("OAUTH2_PROXY_CLIENT_SECRET", "client_secret"),
        ("OAUTH2_PROXY_COOKIE_SECRET", "cookie_secret"),
        ("OAUTH2_PROXY_BASIC_AUTH_PASSWORD", "basic_auth_password"),
    ] {
        let mut json = with(json!({}));
        json.as_object_mut().unwrap().remove(option);
        for secret in
            ["0123456789abcdef\n", "0123456789abcdef\r\n", "\u{feff}\t0123456789abcdef", "0123456789\0abcdef"]
        {
            let parsed = Config::parse(json.to_string().as_bytes(), &env(&[(variable, secret)]));
            let errors = parsed.unwrap_err().to_string();
            let expected = format!("{option}: must be a string without control characters");
            assert!(
                errors.lines().any(|line| line.starts_with(&expected) && line.contains(variable)),
                "{errors}"
            );
            assert!(!errors.contains("0123456789"), "{errors}");
        }
    }
}
