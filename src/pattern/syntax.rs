//! RE2's syntax, as Go's `regexp` reads it (<https://github.com/google/re2/wiki/Syntax>), without what has no
//! meaning for a yes or a no: a capture is a group, and which of several matches is the longest is no matter.
//!
//! Refused, so that no pattern covers more than it says: `\p` and `\pN`, for which the module has no tables, `\Q`,
//! `\C`, numbers after a backslash, and what other dialects have and RE2 has not. `(?i)` is about ASCII letters.

use std::str::Chars;

/// Groups in groups: reading goes down as deep as they are.
const MAX_DEPTH: usize = 50;

/// The largest number of a repetition, as in RE2.
const MAX_REPEATED: u32 = 1000;

/// The last character.
const LAST: u32 = 0x10_FFFF;

/// Characters from the first to the last.
pub(super) type Range = (u32, u32);

/// A pattern that was read.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// One character of these.
    Class(Vec<Range>),
    /// No character, but a place.
    Look(Look),
    /// One after the other.
    Concat(Vec<Node>),
    /// One of them.
    Alternate(Vec<Node>),
    /// At least and at most so often.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// A place between two characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Start,
    End,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// What is wrong with a pattern.
type Result<T> = std::result::Result<T, String>;

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Node> {
    let mut parser = Parser { rest: pattern.chars(), flags: Flags::default(), depth: 0 };
    let node = parser.alternatives()?;
    if parser.peek().is_some() {
        return fail("a closing parenthesis has no opening one");
    }
    Ok(node)
}

fn fail<T>(mistake: &str) -> Result<T> {
    Err(mistake.to_owned())
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignores_case: bool,
    is_multi_line: bool,
    dot_is_any: bool,
}

struct Parser<'a> {
    rest: Chars<'a>,
    flags: Flags,
    depth: usize,
}

/// What stands after a backslash.
enum Escaped {
    Char(char),
    Class(Vec<Range>),
    Look(Look),
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn take(&mut self, expected: &str) -> bool {
        match self.rest.as_str().strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest.chars();
                true
            }
            None => false,
        }
    }

    /// What stands before `end`, which is taken too.
    fn take_until(&mut self, end: &str) -> Option<&str> {
        let (taken, rest) = self.rest.as_str().split_once(end)?;
        self.rest = rest.chars();
        Some(taken)
    }

    /// To the end of a group, or of the pattern.
    fn alternatives(&mut self) -> Result<Node> {
        let (mut branches, mut branch) = (Vec::new(), Vec::new());
        while let Some(next) = self.peek().filter(|next| *next != ')') {
            if next == '|' {
                self.rest.next();
                branches.push(Node::Concat(std::mem::take(&mut branch)));
            } else if let Some(node) = self.item()? {
                branch.push(self.repeated(node)?);
            }
        }
        branches.push(Node::Concat(branch));
        Ok(Node::Alternate(branches))
    }

    /// One item without its repetition; none where it only sets flags.
    fn item(&mut self) -> Result<Option<Node>> {
        let Some(next) = self.rest.next() else { return fail("it ends too early") };
        let node = match next {
            '(' => return self.group(),
            '[' => Node::Class(self.class()?),
            '.' if self.flags.dot_is_any => Node::Class(vec![(0, LAST)]),
            '.' => Node::Class(negate(&[range('\n', '\n')])),
            '^' if self.flags.is_multi_line => Node::Look(Look::LineStart),
            '^' => Node::Look(Look::Start),
            '$' if self.flags.is_multi_line => Node::Look(Look::LineEnd),
            '$' => Node::Look(Look::End),
            '*' | '+' | '?' => return Err(format!("there is nothing that {next} could repeat")),
            '{' => return fail("a { that repeats nothing has to be escaped with a backslash"),
            '\\' => match self.escape()? {
                Escaped::Char(c) => self.literal(c),
                Escaped::Class(ranges) => Node::Class(ranges),
                Escaped::Look(look) => Node::Look(look),
            },
            c => self.literal(c),
        };
        Ok(Some(node))
    }

    fn literal(&self, c: char) -> Node {
        Node::Class(self.folded(vec![range(c, c)]))
    }

    /// Both cases of the letters, where case is no matter.
    fn folded(&self, mut ranges: Vec<Range>) -> Vec<Range> {
        if self.flags.ignores_case {
            for letters in [range('A', 'Z'), range('a', 'z')] {
                for (from, to) in ranges.clone() {
                    let (from, to) = (from.max(letters.0), to.min(letters.1));
                    if from <= to {
                        ranges.push((from ^ 0x20, to ^ 0x20));
                    }
                }
            }
        }
        ranges
    }

    fn repeated(&mut self, node: Node) -> Result<Node> {
        let Some((least, most)) = self.repetition()? else { return Ok(node) };
        if self.repetition()?.is_some() {
            return fail("a repetition of a repetition needs parentheses");
        }
        Ok(Node::Repeat(Box::new(node), least, most))
    }

    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>> {
        let counts = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.rest.next();
                let counts = self.take_until("}").and_then(counts);
                let Some(counts) = counts else {
                    return fail(
                        "a { that is no repetition such as {2}, {2,} or {2,3}, of at most 1000, \
                                 has to be escaped with a backslash",
                    );
                };
                // As if a `}` stood there.
                return self.lazy(counts);
            }
            _ => return Ok(None),
        };
        self.rest.next();
        self.lazy(counts)
    }

    /// Whether the least or the most is preferred is no matter.
    fn lazy(&mut self, counts: (u32, Option<u32>)) -> Result<Option<(u32, Option<u32>)>> {
        self.take("?");
        Ok(Some(counts))
    }

    fn group(&mut self) -> Result<Option<Node>> {
        let outer = self.flags;
        if self.take("?P<") || self.take("?<") {
            let is_name = |name: &str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            if !self.take_until(">").is_some_and(is_name) {
                return fail("a group's name is letters, digits and _; look-around is not supported");
            }
        } else if self.take("?") && !self.flags()? {
            return Ok(None);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fail("it has too many groups in groups");
        }
        let node = self.alternatives()?;
        self.depth -= 1;
        self.flags = outer;
        if self.take(")") { Ok(Some(node)) } else { fail("a group is not closed by a parenthesis") }
    }

    /// Flags, as in `(?i)` and `(?i:…)`; whether a group follows.
    fn flags(&mut self) -> Result<bool> {
        let (mut is_set, mut is_given) = (true, false);
        loop {
            match self.rest.next() {
                Some(':') if is_given || is_set => return Ok(true),
                Some(')') if is_given => return Ok(false),
                Some('-') if is_set => {
                    (is_set, is_given) = (false, false);
                    continue;
                }
                Some('i') => self.flags.ignores_case = is_set,
                Some('m') => self.flags.is_multi_line = is_set,
                Some('s') => self.flags.dot_is_any = is_set,
                Some('U') => {}
                _ => {
                    return fail(
                        "what follows (? is none of RE2's flags i, m, s and U in a group of its own; \
                                  look-around is not supported",
                    );
                }
            }
            is_given = true;
        }
    }

    fn class(&mut self) -> Result<Vec<Range>> {
        let is_negated = self.take("^");
        let mut ranges = Vec::new();
        // A `]` that comes first is a character of the class.
        while ranges.is_empty() || self.peek() != Some(']') {
            if self.take("[:") {
                let Some(named) = self.take_until(":]").and_then(named) else {
                    return fail("[: in a class begins the name of one, such as [:alpha:]");
                };
                ranges.extend(named);
                continue;
            }
            match self.class_item()? {
                Escaped::Class(class) => ranges.extend(class),
                Escaped::Look(_) => return fail("a place such as \\b is no character of a class"),
                Escaped::Char(first) => {
                    let mut last = first;
                    let rest = self.rest.as_str();
                    if rest.starts_with('-') && !rest.starts_with("-]") {
                        self.rest.next();
                        let Escaped::Char(end) = self.class_item()? else {
                            return fail("a range in a class ends with a character");
                        };
                        last = end;
                    }
                    if last < first {
                        return fail("a range in a class ends before it begins");
                    }
                    ranges.push(range(first, last));
                }
            }
        }
        self.rest.next();
        let ranges = self.folded(ranges);
        Ok(if is_negated { negate(&ranges) } else { ranges })
    }

    fn class_item(&mut self) -> Result<Escaped> {
        match self.rest.next() {
            None => fail("a class is not closed by a bracket"),
            Some('\\') => self.escape(),
            Some(c) => Ok(Escaped::Char(c)),
        }
    }

    fn escape(&mut self) -> Result<Escaped> {
        let Some(next) = self.rest.next() else { return fail("a backslash at the end escapes nothing") };
        Ok(match next {
            'd' => Escaped::Class(DIGIT.to_vec()),
            'D' => Escaped::Class(negate(&DIGIT)),
            's' => Escaped::Class(SPACE.to_vec()),
            'S' => Escaped::Class(negate(&SPACE)),
            'w' => Escaped::Class(WORD.to_vec()),
            'W' => Escaped::Class(negate(&WORD)),
            'A' => Escaped::Look(Look::Start),
            'z' => Escaped::Look(Look::End),
            'b' => Escaped::Look(Look::WordBoundary),
            'B' => Escaped::Look(Look::NoWordBoundary),
            'a' => Escaped::Char('\x07'),
            'f' => Escaped::Char('\x0c'),
            'n' => Escaped::Char('\n'),
            'r' => Escaped::Char('\r'),
            't' => Escaped::Char('\t'),
            'v' => Escaped::Char('\x0b'),
            'x' => Escaped::Char(self.hex()?),
            'p' | 'P' => return fail("Unicode classes (\\p) are not supported"),
            '<' | '>' => return fail("\\< and \\> are places in other dialects; write < and > as they are"),
            c if c.is_ascii_punctuation() || c == ' ' => Escaped::Char(c),
            _ => return fail("an escape sequence is not supported"),
        })
    }

    /// `\x2f` or `\x{2f}`.
    fn hex(&mut self) -> Result<char> {
        let digits = if self.take("{") {
            self.take_until("}").map(str::to_owned)
        } else {
            Some(self.rest.by_ref().take(2).collect()).filter(|digits: &String| digits.len() == 2)
        };
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
        number
            .and_then(char::from_u32)
            .ok_or_else(|| "\\x is no character such as \\x2f or \\x{2f}".to_owned())
    }
}

/// `2`, `2,` or `2,3`.
fn counts(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_number && *number <= MAX_REPEATED)
    };
    match text.split_once(',') {
        None => number(text).map(|exactly| (exactly, Some(exactly))),
        Some((least, "")) => number(least).map(|least| (least, None)),
        Some((least, most)) => {
            Some((number(least)?, Some(number(most)?))).filter(|(least, most)| *most >= Some(*least))
        }
    }
}

const DIGIT: [Range; 1] = [range('0', '9')];
const SPACE: [Range; 3] = [range('\t', '\n'), range('\x0c', '\r'), range(' ', ' ')];
/// What `\w` has, and what `\b` is about.
pub(super) const WORD: [Range; 4] = [range('0', '9'), range('A', 'Z'), range('_', '_'), range('a', 'z')];

#[allow(clippy::as_conversions, reason = "u32::from is not const, and a char is one")]
const fn range(from: char, to: char) -> Range {
    (from as u32, to as u32)
}

/// The ranges of `[:name:]` or `[:^name:]`.
fn named(name: &str) -> Option<Vec<Range>> {
    if let Some(name) = name.strip_prefix('^') {
        return named(name).map(|ranges| negate(&ranges));
    }
    let ranges: &[Range] = match name {
        "alnum" => &[range('0', '9'), range('A', 'Z'), range('a', 'z')],
        "alpha" => &[range('A', 'Z'), range('a', 'z')],
        "ascii" => &[range('\0', '\x7f')],
        "blank" => &[range('\t', '\t'), range(' ', ' ')],
        "cntrl" => &[range('\0', '\x1f'), range('\x7f', '\x7f')],
        "digit" => &DIGIT,
        "graph" => &[range('!', '~')],
        "lower" => &[range('a', 'z')],
        "print" => &[range(' ', '~')],
        "punct" => &[range('!', '/'), range(':', '@'), range('[', '`'), range('{', '~')],
        "space" => &[range('\t', '\r'), range(' ', ' ')],
        "upper" => &[range('A', 'Z')],
        "word" => &WORD,
        "xdigit" => &[range('0', '9'), range('A', 'F'), range('a', 'f')],
        _ => return None,
    };
    Some(ranges.to_vec())
}

/// All other characters.
fn negate(ranges: &[Range]) -> Vec<Range> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let (mut negated, mut next) = (Vec::new(), 0);
    for (from, to) in sorted {
        if from > next {
            negated.push((next, from.saturating_sub(1)));
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= LAST {
        negated.push((next, LAST));
    }
    negated
}
