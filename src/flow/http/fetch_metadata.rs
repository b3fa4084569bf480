//! Fetch Metadata (W3C): why a browser sends a request; and the purpose of a prefetch.

use super::request::RequestHead;

/// Whether the user did not navigate here: the browser prefetches, or another site makes it load an image, a script or
/// the like. Forms, frames and redirects of other sites are navigations, which users follow. Old browsers and other
/// clients do not send these headers.
pub(in crate::flow) fn is_unasked(head: &RequestHead) -> bool {
    is_prefetch(head)
        || (head.header("sec-fetch-site") == b"cross-site" && head.header("sec-fetch-mode") != b"navigate")
}

/// `Sec-Purpose` (Fetch, section 3.9) may have parameters, such as `;prerender`. The other two names are older.
fn is_prefetch(head: &RequestHead) -> bool {
    ["sec-purpose", "purpose", "x-moz"]
        .into_iter()
        .flat_map(|name| head.all(name))
        .flat_map(|value| value.split(|byte| matches!(byte, b',' | b';')))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unasked(headers: &[(&str, &str)]) -> bool {
        let pairs = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        super::is_unasked(&RequestHead::from_pairs(pairs))
    }

    #[test]
    fn cross_site_load_is_not_a_navigation() {
        for mode in ["no-cors", "cors", "same-origin", "websocket", ""] {
            assert!(is_unasked(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)]), "{mode}");
        }
        assert!(!is_unasked(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        for site in ["same-origin", "same-site", "none"] {
            assert!(!is_unasked(&[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "{site}");
        }
        assert!(!is_unasked(&[]));
    }

    #[test]
    fn prefetch_is_recognised_by_its_headers() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("sec-purpose", " Prefetch ; prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
        ] {
            let navigation =
                [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), (name, value)];
            assert!(is_unasked(&navigation), "{name}: {value}");
        }
        assert!(!is_unasked(&[("purpose", "preview"), ("sec-purpose", "")]));
    }
}
