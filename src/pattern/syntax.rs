//! RE2's syntax, as Go's `regexp` reads it (<https://github.com/google/re2/wiki/Syntax>), by way of `regex-syntax`.
//!
//! Classes and assertions such as `\d` and `\b` are limited to ASCII, as in RE2. Refused are: syntax that `regex-syntax`
//! reads differently, syntax that RE2 does not have, and `\p`, which needs tables that the module does not have. So no
//! pattern matches more than it says.

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, ErrorKind, Flag,
    Flags, FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange,
};
use regex_syntax::hir::Hir;
use regex_syntax::hir::translate::TranslatorBuilder;

/// The deepest nesting, for example of groups: the parser recurses as deep.
const MAX_DEPTH: u32 = 100;

/// The largest number of a repetition, as in RE2.
const MAX_REPEATED: u32 = 1000;

/// What is wrong with a pattern.
type Result<T> = std::result::Result<T, String>;

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Hir> {
    let mut ast = read(pattern)?;
    as_re2(&mut ast, pattern)?;
    // Bytes that are not UTF-8 are never read, so patterns need not exclude them.
    let mut translator = TranslatorBuilder::new().utf8(false).build();
    translator.translate(pattern, &ast).map_err(|error| error.kind().to_string())
}

fn read(pattern: &str) -> Result<Ast> {
    let parsed = ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(pattern);
    parsed.map_err(|error| match error.kind() {
        ErrorKind::ClassRangeLiteral => DASH.to_owned(),
        kind => kind.to_string(),
    })
}

fn fail<T>(mistake: &str) -> Result<T> {
    Err(mistake.to_owned())
}

const DASH: &str = "a - within a class that is not between two characters has to be written as \\-";

/// Changes the syntax tree to what RE2 reads.
fn as_re2(ast: &mut Ast, pattern: &str) -> Result<()> {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) => {}
        Ast::Flags(set) => flags(&set.flags)?,
        Ast::Literal(c) => literal(c)?,
        Ast::Assertion(place) => match place.kind {
            AssertionKind::WordBoundary => *ast = read(r"(?-u:\b)")?,
            AssertionKind::NotWordBoundary => *ast = read(r"(?-u:\B)")?,
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText => {}
            _ => return fail("\\b{start}, \\< and the like are not supported; write \\b"),
        },
        Ast::ClassUnicode(_) => return fail(NO_UNICODE_CLASS),
        Ast::ClassPerl(class) => *ast = Ast::ClassBracketed(ascii(class)?),
        Ast::ClassBracketed(class) => class_as_re2(class)?,
        Ast::Repetition(repetition) => {
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return fail("a repetition of a repetition needs parentheses");
            }
            if let RepetitionKind::Range(range) = &repetition.op.kind {
                let span = repetition.op.span;
                let text = pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
                let most = match range {
                    RepetitionRange::Exactly(most)
                    | RepetitionRange::AtLeast(most)
                    | RepetitionRange::Bounded(_, most) => *most,
                };
                // To RE2, `{,2}` and `{ 2}` are characters.
                if most > MAX_REPEATED || text.starts_with("{,") || text.contains(char::is_whitespace) {
                    return fail("a repetition is such as {2}, {2,} or {2,3}, of at most 1000");
                }
            }
            as_re2(&mut repetition.ast, pattern)?;
        }
        Ast::Group(group) => {
            if let GroupKind::NonCapturing(set) = &group.kind {
                flags(set)?;
            }
            as_re2(&mut group.ast, pattern)?;
        }
        Ast::Alternation(alternation) => {
            alternation.asts.iter_mut().try_for_each(|ast| as_re2(ast, pattern))?;
        }
        Ast::Concat(concat) => concat.asts.iter_mut().try_for_each(|ast| as_re2(ast, pattern))?,
    }
    Ok(())
}

fn flags(flags: &Flags) -> Result<()> {
    let is_known = flags.items.iter().all(|item| {
        !matches!(item.kind, FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace))
    });
    if is_known { Ok(()) } else { fail("the flags that follow (? are i, m, s and U") }
}

fn literal(literal: &Literal) -> Result<()> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            fail("\\u and \\U are not supported; write \\x{...}")
        }
        _ => Ok(()),
    }
}

const NO_UNICODE_CLASS: &str = "Unicode classes (\\p) are not supported; write the characters in brackets";

fn class_as_re2(class: &mut ClassBracketed) -> Result<()> {
    const NO_SETS: &str = "classes in classes and operations on them (&&, --, ~~) are not supported; \
                           write \\[, \\&, \\- and \\~ for the characters";
    let items = match &mut class.kind {
        ClassSet::Item(ClassSetItem::Union(union)) => union.items.as_mut_slice(),
        ClassSet::Item(item) => std::slice::from_mut(item),
        ClassSet::BinaryOp(_) => return fail(NO_SETS),
    };
    let last = items.len().saturating_sub(1);
    for (place, item) in items.iter_mut().enumerate() {
        match item {
            ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) => {}
            ClassSetItem::Literal(c) => {
                // To RE2, `[--/]` and `[]-a]` are ranges.
                if c.c == '-' && c.kind == LiteralKind::Verbatim && place != 0 && place != last {
                    return fail(DASH);
                }
                literal(c)?;
            }
            ClassSetItem::Range(range) => {
                literal(&range.start)?;
                literal(&range.end)?;
            }
            ClassSetItem::Unicode(_) => return fail(NO_UNICODE_CLASS),
            ClassSetItem::Perl(class) => *item = ClassSetItem::Bracketed(ascii(class)?),
            ClassSetItem::Bracketed(_) | ClassSetItem::Union(_) => return fail(NO_SETS),
        }
    }
    Ok(())
}

/// `\d`, `\s` and `\w` of ASCII.
fn ascii(class: &ClassPerl) -> Result<Box<ClassBracketed>> {
    let characters = match (&class.kind, class.negated) {
        (ClassPerlKind::Digit, false) => "[0-9]",
        (ClassPerlKind::Digit, true) => "[^0-9]",
        (ClassPerlKind::Space, false) => r"[\t\n\f\r ]",
        (ClassPerlKind::Space, true) => r"[^\t\n\f\r ]",
        (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
        (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
    };
    match &read(characters)? {
        Ast::ClassBracketed(class) => Ok(class.clone()),
        _ => fail("a class is not supported"),
    }
}
