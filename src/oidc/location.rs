//! The target of a redirect: a reference, resolved against the URL of the request (RFC 9110 section 10.2.2, RFC 3986
//! section 5).

use super::metadata::is_endpoint;

/// The URL of a `location` header; `None` if it is not http or https.
pub fn redirect_target(from: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let (scheme, rest) = from.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = path.split('?').next()?;
    let here = |path: &str| format!("{scheme}://{authority}{path}");
    let (relative, query) = location.split_at(location.find('?').unwrap_or(location.len()));
    let target = match location.as_bytes() {
        _ if has_scheme(location) => location.to_owned(),
        [b'/', b'/', ..] => format!("{scheme}:{location}"),
        [b'/', ..] => here(&format!("{}{query}", without_dots(relative))),
        [] => from.to_owned(),
        [b'?', ..] => here(&format!("{path}{location}")),
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            here(&format!("{}{query}", without_dots(&format!("{folder}/{relative}"))))
        }
    };
    is_endpoint(&target).then_some(target)
}

fn has_scheme(reference: &str) -> bool {
    reference.split(['/', '?']).next().is_some_and(|first| first.contains(':'))
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut segments = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}{}", segments.join("/"), if is_folder && !segments.is_empty() { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_is_resolved_as_in_rfc_3986() {
        // The examples of section 5.4 that result in an http URL.
        for (location, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://login.example.com:8443/x?y#z", "https://login.example.com:8443/x?y"),
        ] {
            assert_eq!(
                redirect_target("http://a/b/c/d;p?q", location).as_deref(),
                Some(expected),
                "{location}"
            );
        }
        assert_eq!(redirect_target("https://a", "g").as_deref(), Some("https://a/g"));
        assert_eq!(redirect_target("https://a?q", "/g").as_deref(), Some("https://a/g"));
    }

    #[test]
    fn location_other_than_http_leads_nowhere() {
        for location in [
            "ftp://a/x",
            "javascript:alert(1)",
            "g:h",
            "https://user:secret@a/x",
            "https:///x",
            "https://a b/",
            "/x y",
            "/\u{e4}",
            "//",
            "https://a:0/",
        ] {
            assert_eq!(redirect_target("https://a/b", location), None, "{location}");
        }
        assert_eq!(redirect_target("https://a/b", &format!("/{}", "x".repeat(10_000))), None);
    }
}
