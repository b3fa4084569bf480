//! Regular expressions in RE2's syntax, as oauth2-proxy has them from Go.
//!
//! The crate `regex-lite` has the same syntax with few exceptions. A pattern that it does not know is a
//! mistake of the configuration, and so is one that it knows with another meaning: it could cover
//! more paths than the one who wrote it wanted.

use regex_lite::RegexBuilder;

/// The bytes that a compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

/// A pattern, ready for use. It is not anchored: `^` and `$` say where it has to fit.
#[derive(Clone, Debug)]
pub(super) struct Pattern(regex_lite::Regex);

impl Pattern {
    /// Whether it fits somewhere. What is not UTF-8 is read as Go reads it, as U+FFFD.
    pub(super) fn is_match(&self, path: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(path))
    }
}

/// Compiles a pattern, or says what is wrong with it.
pub(super) fn compile(pattern: &str) -> Result<Pattern, String> {
    if has_set_notation(pattern) {
        return Err("in a class, [ && -- ~~ have to be escaped with a backslash".to_owned());
    }
    // \d, \w, \s and \b are those of ASCII, as in RE2.
    let compiled = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
    compiled.map(Pattern).map_err(|error| error.to_string())
}

/// Whether a class has what is plain characters for RE2, and a set of sets for the crate.
fn has_set_notation(pattern: &str) -> bool {
    let mut rest = pattern.as_bytes();
    let mut in_class = false;
    loop {
        rest = match rest {
            [] => return false,
            [b'\\', _, after @ ..] => after,
            // A `]` that comes first is a character of the class.
            [b'[', b'^', b']', after @ ..] | [b'[', b']', after @ ..] if !in_class => {
                in_class = true;
                after
            }
            [b'[', after @ ..] if !in_class => {
                in_class = true;
                after
            }
            // `[:alpha:]` means the same to both.
            [b'[', b':', after @ ..] if in_class => {
                let end = after.windows(2).position(|two| two == b":]").unwrap_or(after.len());
                after.get(end.saturating_add(2)..).unwrap_or_default()
            }
            [b'[', ..] | [b'&', b'&', ..] | [b'-', b'-', ..] | [b'~', b'~', ..] if in_class => {
                return true;
            }
            [b']', after @ ..] => {
                in_class = false;
                after
            }
            [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        compile(pattern).unwrap().is_match(path.as_bytes())
    }

    #[test]
    fn a_pattern_fits_anywhere_unless_it_is_anchored() {
        assert!(matches("/public", "/a/public/b"));
        assert!(!matches("^/public", "/a/public/b"));
        assert!(!matches("^/public$", "/public/b"));
        assert!(matches(r"^\/public\/[a-z_\-]+\.(?:css|js)$", "/public/a-b_c.css"));
    }

    #[test]
    fn classes_are_those_of_ascii_as_in_re2() {
        assert!(matches(r"^/\d+$", "/123"));
        // ARABIC-INDIC DIGIT THREE
        assert!(!matches(r"^/\d+$", "/\u{0663}"));
        assert!(matches("^/[[:alpha:]]+$", "/abc"));
        assert!(matches("^/ä$", "/ä"));
    }

    #[test]
    fn what_the_crate_reads_in_another_way_is_refused() {
        for pattern in ["[a&&b]", "[a-z--b]", "[a~~b]", "[a[b]", "x[^]&&a]", "[[:alpha:]&&a]", r"[\]&&a]"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        for pattern in ["a--b&&c", r"\[a&&b", "[]a]", "[^]a]", r"[\[]", "[a]--[b]", "[a-]"] {
            assert!(compile(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn an_error_is_one_line() {
        for pattern in ["(", "[", "*", r"\p{Greek}", r"\Qa\E", "(?=a)", r"(a)\1", "(((a{999}){999}){999})"] {
            let error = compile(pattern).unwrap_err();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
