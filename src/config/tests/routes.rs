//! `skip_auth_routes` and `api_routes`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn allows(route: &str, method: &str, path: &str) -> bool {
    let routes = config(json!({"skip_auth_routes": [route]})).routes;
    routes.skip_auth.allows(method.as_bytes(), path.as_bytes())
}

#[test]
fn without_routes_nothing_skips_the_sign_in() {
    let routes = config(json!({})).routes;
    assert!(!routes.skip_auth.allows(b"GET", b"/"));
    assert!(!routes.skip_auth.allows(b"", b""));
    assert!(!routes.is_api(b"/"));
}

#[test]
fn a_route_is_a_pattern_for_every_method() {
    assert!(allows("^/public/", "GET", "/public/a.css"));
    assert!(allows("^/public/", "DELETE", "/public/a.css"));
    assert!(!allows("^/public/", "GET", "/private/a.css"));
    assert!(allows("=^/a=b$", "POST", "/a=b"));
}

#[test]
fn a_route_can_be_for_one_method() {
    assert!(allows("GET=^/public/", "GET", "/public/"));
    assert!(allows("get=^/public/", "GET", "/public/"));
    assert!(!allows("GET=^/public/", "POST", "/public/"));
    assert!(!allows("GET=^/public/", "get", "/public/"));
}

#[test]
fn a_route_can_be_all_but_a_pattern() {
    assert!(allows("GET!=^/private/", "GET", "/public/"));
    assert!(!allows("GET!=^/private/", "GET", "/private/a"));
    assert!(!allows("GET!=^/private/", "POST", "/public/"));
    assert!(allows("!=^/private/", "POST", "/public/"));
    assert!(!allows("!=^/private/", "POST", "/private/a"));
}

#[test]
fn one_route_of_many_is_enough() {
    let routes = config(json!({"skip_auth_routes": "GET=^/a$,POST=^/b$"})).routes;
    assert!(routes.skip_auth.allows(b"GET", b"/a"));
    assert!(routes.skip_auth.allows(b"POST", b"/b"));
    assert!(!routes.skip_auth.allows(b"GET", b"/b"));
}

#[test]
fn a_path_is_matched_decoded_as_in_the_original() {
    assert!(allows("^/public/a b$", "GET", "/public/a%20b"));
    assert!(allows("^/\u{e4}$", "GET", "/%C3%A4"));
    assert!(allows("^/public/", "GET", "/%70ublic/"));
    assert!(!allows("!=^/private/", "GET", "/%70rivate/"));
    assert!(!allows("!=^/private/", "GET", "/%70%72ivate/"));
}

#[test]
fn ambiguous_path_must_match_in_every_reading() {
    // An encoded slash ends a segment for one upstream and not for the next.
    assert!(!allows("^/[^/]+/public$", "GET", "/x%2Fpublic"));
    assert!(!allows("^/public/[^/]+$", "GET", "/public/x%2fadmin"));
    assert!(allows("^/projects/", "GET", "/projects/group%2Fname"));
    // What follows is cut off, or is a parameter.
    for path in
        ["/admin;.css", "/admin/;.css", "/admin%3B.css", "/admin%23.css", "/admin%3F.css", "/admin#.css"]
    {
        assert!(!allows(r"\.css$", "GET", path), "{path}");
    }
    assert!(allows("^/public/", "GET", "/public/a;v=1.css"));
    // Slashes and dots are tidied up.
    for path in ["//private/a", "/./private/a", "/.%2Fprivate/a", "\\private\\a", "/;x/private/a"] {
        assert!(!allows("!=^/private/", "GET", path), "{path}");
    }
    assert!(allows("^/public/$", "GET", "/public/"));
    assert!(allows("^/$", "GET", "/"));
}

#[test]
fn path_with_arbitrary_bytes_is_matched() {
    let routes = config(json!({"skip_auth_routes": ["^/public/"]})).routes;
    assert!(routes.skip_auth.allows(b"GET", b"/public/\xff\xfe"));
    assert!(!routes.skip_auth.allows(b"GET", b"/\xff/public/"));
    assert!(!routes.skip_auth.allows(b"GET", b""));
    assert!(routes.skip_auth.allows(b"GET", b"/public/%"));
    assert!(routes.skip_auth.allows(b"GET", b"/public/%zz%4"));
}

#[test]
fn api_routes_are_patterns_of_paths() {
    let routes = config(json!({"api_routes": ["^/api/", "^/rpc$"]})).routes;
    assert!(routes.is_api(b"/api/users"));
    assert!(routes.is_api(b"/rpc"));
    assert!(!routes.is_api(b"/rpc/x"));
}

#[test]
fn invalid_pattern_is_named_in_the_error() {
    let line = mistake("skip_auth_routes", json!({"skip_auth_routes": ["GET=^/a(b"]}));
    assert!(line.starts_with("skip_auth_routes: in GET=^/a(b: ") && line.contains("group"), "{line}");
    mistake("api_routes", json!({"api_routes": ["^/fine", "["]}));
    mistake("skip_auth_routes", json!({"skip_auth_routes": ["^/a(?=b)"]}));
}

#[test]
fn invalid_method_of_a_route_is_refused() {
    let line = mistake("skip_auth_routes", json!({"skip_auth_routes": ["^/a=b$"]}));
    assert!(line.contains("needs another = in front"), "{line}");
}

#[test]
fn pattern_with_too_large_table_is_refused() {
    for pattern in ["((a{999}){999}){999}", "/.{40}/x"] {
        let line = mistake("api_routes", json!({"api_routes": ["^/fine", pattern]}));
        assert!(
            line.starts_with(&format!("api_routes: in {pattern}: ")) && line.contains("memory"),
            "{line}"
        );
        mistake("skip_auth_routes", json!({"skip_auth_routes": [format!("GET={pattern}")]}));
    }
    let many: Vec<String> = (0..60).map(|number| format!("x{number}.*y{number}.*z{number}")).collect();
    let line = mistake("api_routes", json!({ "api_routes": many }));
    assert!(line.starts_with("api_routes: the patterns together would "), "{line}");
}

/// What a stranger's path costs is bounded by its length.
#[test]
fn too_long_path_matches_no_route() {
    let routes = config(json!({"skip_auth_routes": ["^/", "!=^/private/"], "api_routes": ["^/"]})).routes;
    let path = |length: usize| [b"/".as_slice(), &vec![b'a'; length - 1]].concat();
    let longest = path(2048);
    assert!(routes.skip_auth.allows(b"GET", &longest) && routes.is_api(&longest));
    let longer = path(2049);
    assert!(!routes.skip_auth.allows(b"GET", &longer) && !routes.is_api(&longer));
}

#[test]
fn hundred_routes_match_like_one() {
    let methods = ["GET", "POST"];
    let entries =
        (0..50).flat_map(|number| methods.map(|method| format!("{method}=^/{method}{number}/[^/]+$")));
    let routes = config(json!({"skip_auth_routes": entries.collect::<Vec<_>>()})).routes;
    for number in 0..50 {
        for of_route in methods {
            for method in methods {
                let path = format!("/{of_route}{number}/a");
                let allows = routes.skip_auth.allows(method.as_bytes(), path.as_bytes());
                assert_eq!(allows, method == of_route, "{method} {path}");
            }
        }
    }
    assert!(!routes.skip_auth.allows(b"GET", b"/GET50/a"));
}

proptest! {
    #[test]
    fn any_path_is_covered_by_all_readings_or_none(path in vec(any::<u8>(), 0..64)) {
        let all = config(json!({"skip_auth_routes": ["(?s)^.*$"]})).routes;
        prop_assert!(all.skip_auth.allows(b"GET", &path));
        let none = config(json!({"skip_auth_routes": ["!=(?s)^.*$"]})).routes;
        prop_assert!(!none.skip_auth.allows(b"GET", &path));
    }
}
