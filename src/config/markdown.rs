//! The tables of `docs/options.md`, from the same rows that the parser uses.

use super::options::{GROUPS, Presence, Row};
use super::provider_name::{DOCS, PRESETS, REFUSED};
use super::refused;

/// All options in Markdown, one table for each group.
pub fn options_markdown() -> String {
    let tables = GROUPS.iter().map(|group| {
        let rows: String = group.rows.iter().map(row).collect();
        format!("### {}\n\n| | type | default | | oauth2-proxy |\n|---|---|---|---|---|\n{rows}", group.title)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The values of `provider`, and what is particular about each of them.
pub fn providers_markdown() -> String {
    let own = PRESETS.iter().zip(DOCS).map(|(own, (name, doc))| {
        let issuer = if own.issuer.is_empty() { String::new() } else { format!("`{}`. ", own.issuer) };
        format!("| `{name}` | {issuer}{doc} |\n")
    });
    let refused = REFUSED.iter().map(|(name, instead)| format!("| `{name}` | Refused: {instead} |\n"));
    own.chain(refused).fold("| `provider` | |\n|---|---|\n".to_owned(), |table, row| table + &row)
}

/// The options of oauth2-proxy that are refused, and what to do instead.
pub fn refused_markdown() -> String {
    let rows = refused::all().map(|(sentence, names)| {
        let names: Vec<_> = names.map(code).collect();
        format!("| {} | {} |\n", names.join(", "), sentence.replace('|', "\\|"))
    });
    rows.fold("| | instead |\n|---|---|\n".to_owned(), |table, row| table + &row)
}

fn row(row: &Row) -> String {
    let (default, difference) = match &row.presence {
        Presence::Upstream(text) | Presence::FilterOnly(text) => (code(text), String::new()),
        Presence::Differs(text, "") => (code(text), "none there".to_owned()),
        Presence::Differs(text, theirs) => (code(text), format!("`{theirs}` there")),
        Presence::Required(_) | Presence::Needed => ("required".to_owned(), String::new()),
    };
    let differences: Vec<_> =
        [difference.as_str(), row.difference].into_iter().filter(|text| !text.is_empty()).collect();
    let comparison = match (&row.presence, differences.as_slice()) {
        (Presence::FilterOnly(_), _) => "ours".to_owned(),
        (_, []) => "same".to_owned(),
        (_, differences) => format!("differs: {}", differences.join("; ")),
    };
    // An anchor, so that a page can link to one option.
    format!(
        "| `{0}`<a id=\"{0}\"></a> | {1} | {default} | {2} | {comparison} |\n",
        row.name, row.kind, row.doc
    )
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
