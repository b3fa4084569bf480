//! The options of the pages.

use super::*;

const PIXEL: &str = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";

#[test]
fn page_options_are_off_by_default() {
    let pages = config(json!({})).pages;
    assert_eq!((pages.title, pages.logo), (None, None));
}

#[test]
fn logo_is_allowed_by_url_without_query_or_by_scheme() {
    for (url, source) in [
        ("https://cdn.example.com/logo.svg", "https://cdn.example.com/logo.svg"),
        ("https://cdn.example.com:8443/a%3Bb.png?v=2&x=?", "https://cdn.example.com:8443/a%3Bb.png"),
        (PIXEL, "data:"),
    ] {
        let logo = config(json!({ "pages_logo": url })).pages.logo.unwrap();
        assert_eq!((logo.url(), logo.source()), (url, source));
    }
}

#[test]
fn logo_that_is_not_an_image_url_is_refused() {
    let long = format!("data:image/png;base64,{}", "AAAA".repeat(8_192));
    for url in [
        "http://cdn.example.com/logo.svg",
        "//cdn.example.com/logo.svg",
        "/logo.svg",
        "javascript:alert(1)",
        "https://user:pass@cdn.example.com/logo.svg",
        "https://cdn.example.com/logo.svg; script-src *",
        "https://cdn.example.com/a;b.svg",
        "https://cdn.example.com/a,b.svg",
        "https://cdn.example.com/'unsafe-inline'",
        "https://*.example.com/logo.svg",
        "https://[::1]/logo.svg",
        "https://cdn.example.com/\"onload=alert(1)",
        "https://cdn.example.com/a\nb",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml,<svg/>",
        "data:image/png;base64,\"AAA",
        "data:image/png;base64,AAA",
        "data:image/tiff;base64,AAAA",
        &long,
    ] {
        let line = mistake("pages_logo", json!({ "pages_logo": url }));
        assert!(line.contains("must be an https URL"), "{line}");
    }
}

#[test]
fn unknown_language_is_refused_with_the_list() {
    let line = mistake("pages_language", json!({ "pages_language": "fr" }));
    assert!(line.contains("\"en\", \"de\" or \"browser\""), "{line}");
}

#[test]
fn page_options_without_pages_are_refused() {
    for (name, value) in [
        ("pages_title", "Portal"),
        ("pages_logo", PIXEL),
        ("pages_language", "de"),
        ("pages_language", "browser"),
    ] {
        let mut beside = json!({
            "mode": "beside", "force_json_errors": true,
            "cookie_secret": "0123456789abcdef", "email_domains": ["*"],
        });
        beside[name] = value.into();
        let lines = lines(parse(&beside));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{name}: has no effect")), "{lines:?}");
        // Without it, the filter has pages about errors.
        beside["force_json_errors"] = false.into();
        assert!(parse(&beside).is_ok());
    }
}
