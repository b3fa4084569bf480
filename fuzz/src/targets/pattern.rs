//! Patterns of routes: they mean what they mean to another implementation, each by itself and all together.

use oauth2_session_filter::pattern::{Pattern, PatternSet};

/// A longer one takes long, and says nothing that a shorter one does not.
const MAX_PATTERN: usize = 60;

/// Patterns, each in a line, and in the last line the text.
pub(super) fn run(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(5).collect();
    let Some((text, patterns)) = lines.split_last() else { return };
    let sources: Vec<&str> = patterns
        .iter()
        .filter_map(|pattern| std::str::from_utf8(pattern).ok())
        .filter(|pattern| pattern.len() <= MAX_PATTERN && Pattern::parse(pattern).is_ok())
        .collect();
    let patterns: Vec<Pattern> = sources.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect();
    let Ok(set) = PatternSet::new(&patterns) else { return };
    let matches = set.matches(text);
    let mut is_any = false;
    for (number, source) in sources.iter().enumerate() {
        let alone = PatternSet::new(&[patterns[number].clone()]).expect("it is in a set already");
        let fits = alone.is_match(text);
        assert_eq!(matches.has(number), fits, "{source:?} means something else beside other patterns");
        is_any |= fits;
        if let Some(expected) = by_another(source, text) {
            assert_eq!(fits, expected, "{source:?} {:?}", String::from_utf8_lossy(text));
        }
    }
    assert_eq!(set.is_match(text), is_any);
}

/// What another implementation says, if it reads the pattern alike.
fn by_another(pattern: &str, text: &[u8]) -> Option<bool> {
    // A vertical tab is a blank to one of them, which also knows the case of ASCII letters alone.
    let is_ascii = pattern.is_ascii() && text.is_ascii();
    let is_read_alike = (is_ascii || !pattern.contains("(?")) && !text.contains(&b'\x0b');
    let text = std::str::from_utf8(text).ok().filter(|_| is_read_alike)?;
    regex_lite::Regex::new(pattern).ok().map(|theirs| theirs.is_match(text))
}
