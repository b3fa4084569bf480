//! What patterns mean: by RE2's syntax, and by another implementation of it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Pattern, PatternSet, TooComplex};

fn set(patterns: &[&str]) -> Result<PatternSet, TooComplex> {
    let parsed: Vec<Pattern> = patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect();
    PatternSet::new(&parsed)
}

fn is_match(pattern: &str, text: &[u8]) -> bool {
    set(&[pattern]).unwrap().is_match(text)
}

#[test]
fn pattern_matches_anywhere_unless_anchored() {
    assert!(is_match("/public", b"/a/public/b"));
    assert!(!is_match("^/public", b"/a/public/b"));
    assert!(!is_match("^/public$", b"/public/b"));
    assert!(is_match(r"^\/public\/[a-z_\-]+\.(?:css|js)$", b"/public/a-b_c.css"));
}

/// Syntax that differs from other dialects.
#[test]
fn syntax_is_that_of_re2() {
    for (pattern, text, expected) in [
        // ARABIC-INDIC DIGIT THREE
        (r"^\d$", "\u{663}", false),
        (r"^\w$", "\u{e4}", false),
        (r"^.$", "\u{e4}", true),
        ("^\u{e4}$", "\u{e4}", true),
        ("^[\u{e4}-\u{f6}]$", "\u{ef}", true),
        (r"^\s$", "\x0b", false),
        ("^[[:space:]]$", "\x0b", true),
        ("^[[:^alpha:]]$", "a", false),
        ("^[[:alpha:]0-9]+$", "a1", true),
        (r"^\x2f\x{2f}$", "//", true),
        ("a$", "a\n", false),
        ("(?m)a$", "a\n", true),
        ("(?m)^b", "a\nb", true),
        ("^.$", "\n", false),
        ("(?s)^.$", "\n", true),
        ("^[^a]$", "\n", true),
        (r"^[a\&&b]+$", "&b", true),
        (r"^[a\[b]$", "[", true),
        (r"^[\--/]$", ".", true),
        ("^[-a]$", "-", true),
        ("^[]a]$", "]", true),
        ("^[^]a]$", "]", false),
        ("^[a-]$", "-", true),
        (r"^[\d\-z]$", "-", true),
        (r"^[\d\s]$", "\u{663}", false),
        (r"^[^\D]$", "\u{663}", false),
        (r"^[\s]$", "\x0b", false),
        (r"^[^\s]$", "\x0b", true),
        (r"^\W$", "\u{e4}", true),
        (r"^[\]]$", "]", true),
        ("(?i)^/Public$", "/pUBLIC", true),
        ("(?i)^[a-c]$", "B", true),
        ("(?i)^[^a]$", "A", false),
        ("(?i)^\u{e4}$", "\u{c4}", true),
        // KELVIN SIGN
        ("(?i)^k$", "\u{212a}", true),
        ("(?i)a(?-i)b", "AB", false),
        ("(?i:a)b", "Ab", true),
        ("(?i:a)b", "AB", false),
        ("((?i)a)b", "AB", false),
        (r"\bpub\b", "/pub/", true),
        (r"\bpub\b", "/pub_", false),
        (r"\bb", "\u{e4}b", true),
        (r"\Bub", "pub", true),
        // There is no word boundary inside a character.
        (r"\B", "a\u{e4}a", false),
        ("^a\u{e4}\\B", "a\u{e4}/", true),
        (r"^\Aa\z$", "a", true),
        ("^(?P<name>a)(?<other>b)$", "ab", true),
        ("^a{2}$", "aa", true),
        ("^a{2,}?$", "aaaa", true),
        ("^a{1,2}$", "aaa", false),
        ("^(|a)$", "", true),
        ("^(a*)*$", "aaa", true),
        ("", "anything", true),
    ] {
        assert_eq!(is_match(pattern, text.as_bytes()), expected, "{pattern} {text:?}");
    }
}

#[test]
fn unsupported_syntax_is_a_one_line_error() {
    for pattern in [
        "(",
        ")",
        "(?",
        "(?:",
        "(?)",
        "(?-)",
        "(?i-)",
        "(?x)a",
        "(?R)a",
        "(?u)a",
        "(?=a)",
        "(?<=a)",
        "(?P<>a)",
        "[",
        "[a",
        "[]",
        "[^",
        "[z-a]",
        r"[a-\d]",
        // RE2 and `regex-syntax` read these differently.
        "[a&&b]",
        "[a--b]",
        "[a~~b]",
        "[a[b]",
        "[a[b]]",
        "[--/]",
        "[+--]",
        "[]-a]",
        r"[\d-z]",
        r"[\pL]",
        r"[\u0041-z]",
        "[[=a=]]",
        "[[.a.]]",
        r"[\b]",
        "[[:nope:]]",
        "[[:alpha:",
        "*",
        "+a",
        "|?",
        "(*)",
        "a**",
        "a{2}{3}",
        "a{",
        "a{x}",
        "a{ 2}",
        "a{,2}",
        "a{3,2}",
        "a{1001}",
        "{2}",
        r"\",
        r"\p{Greek}",
        r"\pL",
        r"\Qa\E",
        r"\C",
        r"\1",
        r"\07",
        r"\u0041",
        r"\<a",
        r"a\>",
        r"\b{end-half}",
        "(?-u:a)",
        "(?i-x:a)",
        r"\x{41",
        "a{,}",
        r"\b{start}",
        r"\x4",
        r"\xzz",
        r"\x{110000}",
        r"\x{",
        r"\ä",
        r"\Z",
        r"\G",
    ] {
        let mistake = Pattern::parse(pattern).expect_err(pattern);
        assert_eq!(mistake.lines().count(), 1, "{mistake}");
    }
    assert!(Pattern::parse(&"(".repeat(100_000)).is_err());
    assert!(Pattern::parse(&[vec!["("; 50], vec![")"; 50]].concat().concat()).is_ok());
}

#[test]
fn invalid_utf8_byte_is_one_replacement_character() {
    for (text, count) in [
        (b"\xff".as_slice(), 1),
        (b"\xe2\x82", 2),
        (b"\xe2\x82\xac", 1),
        (b"\xed\xa0\x80", 3),
        (b"a\xf0\x90\x80b", 5),
    ] {
        assert!(is_match(&format!("^.{{{count}}}$"), text), "{text:?}");
        assert!(!is_match(&format!("^.{{{}}}$", count - 1), text), "{text:?}");
    }
    assert!(is_match("^\u{fffd}a", b"\xffa"));
}

#[test]
fn matches_name_the_patterns_of_a_set() {
    let patterns = ["^/a", "b$", "c", "^/a", "^$", r"\.css$"];
    let matches = set(&patterns).unwrap().matches(b"/ab");
    assert_eq!((0..6).filter(|number| matches.has(*number)).collect::<Vec<_>>(), [0, 1, 3]);
    assert!(!matches.has(6) && !matches.has(1000));
    let many: Vec<String> = (0..300).map(|number| format!("^/{number}/")).collect();
    let many = set(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    for number in 0..300 {
        let matches = many.matches(format!("/{number}/x").as_bytes());
        assert_eq!((0..300).filter(|other| matches.has(*other)).collect::<Vec<_>>(), [number]);
    }
    assert!(!many.is_match(b"/300/x") && !PatternSet::default().is_match(b""));
}

#[test]
fn large_combinations_are_split_into_automata() {
    let many: Vec<String> =
        ('a'..='t').map(|letter| format!("{letter}.*{}", letter.to_uppercase())).collect();
    let many = set(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(many.0.len() > 1);
    for (number, letter) in ('a'..='t').enumerate() {
        let matches = many.matches(format!("/{letter}/{}", letter.to_uppercase()).as_bytes());
        assert_eq!((0..20).filter(|other| matches.has(*other)).collect::<Vec<_>>(), [number]);
    }
}

#[test]
fn too_complex_pattern_is_named() {
    // One state for each combination of `a`s in the last 30 characters.
    assert_eq!(set(&["^/a", "a.{30}b", "c"]).unwrap_err(), TooComplex::One(1));
    assert_eq!(set(&["((a{999}){999}){999}"]).unwrap_err(), TooComplex::One(0));
    // Few states, each of many threads.
    assert_eq!(set(&["[a-z]{1000}[a-z]{1000}[a-z]{1000}x"]).unwrap_err(), TooComplex::One(0));
    assert!(
        set(&[
            "^[a-z]{1000}[a-z]{1000}[a-z]{1000}x",
            "^a.{30}b",
            "[a-z]{1,50}/[0-9]{1,50}x",
            "(a|aa)+$",
            ".*x.*y.*z"
        ])
        .is_ok()
    );
    let many: Vec<String> = (0..60).map(|number| format!("x{number}.*y{number}.*z{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(set(&many).unwrap_err(), TooComplex::Together);
}

/// A pattern of the syntax that RE2 and `regex-lite` share.
fn pattern() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        8 => "[abAB_/ä ]",
        1 => Just(".".to_owned()),
        2 => r"\[\^?(a|b|A|/|ä|\\d|\\w|a-b|A-_|\[:upper:\]|\[:\^punct:\]){1,3}\]",
        1 => r"\\[dDwWsS]",
        1 => r"\\[bBAz]",
        2 => "[$^]",
        1 => r"\(\?(i|m|s|U|im|-i|i-m)\)",
    ];
    one.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => vec(inner.clone(), 0..5).prop_map(|parts| parts.concat()),
            2 => vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
            2 => (inner.clone(), "(\\*|\\+|\\?|\\{2\\}|\\{0,2\\}|\\{1,\\})\\??")
                .prop_map(|(part, often)| format!("(?:{part}){often}")),
            1 => (inner, "[ims]").prop_map(|(part, flag)| format!("(?{flag}:{part})")),
        ]
    })
}

proptest! {
    #[test]
    fn matches_are_those_of_regex_lite(patterns in vec(pattern(), 1..6), texts in vec("[abAB_/ä €\n]{0,12}", 1..6)) {
        let ours = set(&patterns.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let theirs: Vec<_> = patterns.iter().map(|pattern| regex_lite::Regex::new(pattern).unwrap()).collect();
        for text in &texts {
            let matches = ours.matches(text.as_bytes());
            for (number, theirs) in theirs.iter().enumerate() {
                prop_assert_eq!(matches.has(number), theirs.is_match(text), "{:?} {:?}", &patterns[number], text);
            }
            prop_assert_eq!(ours.is_match(text.as_bytes()), theirs.iter().any(|theirs| theirs.is_match(text)));
        }
    }

    #[test]
    fn any_pattern_and_text_run_without_panic(pattern: String, near in r"[\\()\[\]{}*+?|^$.,:a2<>Pi-]{0,12}", text: Vec<u8>) {
        for pattern in [pattern, near] {
            if let Ok(pattern) = Pattern::parse(&pattern)
                && let Ok(set) = PatternSet::new(&[pattern])
            {
                prop_assert_eq!(set.is_match(&text), set.matches(&text).has(0));
            }
        }
    }
}
