//! The mistakes of a configuration: one line for each, with the name of its option.

use std::collections::HashSet;
use std::fmt;

/// How many characters of a name or a pattern are shown.
const SHOWN: usize = 100;

/// All mistakes of a configuration. A value is never shown, because it may be a secret. The exceptions are
/// patterns of routes, issuers of bearer tokens, and the path of the callback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    lines: Vec<String>,
    options: HashSet<String>,
    warnings: Vec<String>,
}

impl ConfigErrors {
    /// A mistake in an option.
    pub(super) fn add(&mut self, option: &str, mistake: impl fmt::Display) {
        self.lines.push(format!("{}: {mistake}", shown(option)));
        self.options.insert(option.to_owned());
    }

    /// A mistake in an option, unless `holds` is true.
    pub(super) fn check(&mut self, holds: bool, option: &str, mistake: impl fmt::Display) {
        if !holds {
            self.add(option, mistake);
        }
    }

    /// A value that is a mistake unless something outside the configuration makes it right.
    pub(super) fn warn(&mut self, option: &str, doubt: impl fmt::Display) {
        self.warnings.push(format!("{option}: {doubt}"));
    }

    /// All warnings.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// A mistake in the JSON as a whole.
    pub(super) fn add_whole(&mut self, mistake: impl fmt::Display) {
        self.lines.push(format!("the filter JSON {mistake}"));
    }

    /// Whether there is a mistake in this option. Then its value is the default and means nothing.
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    /// Whether there are no mistakes.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A part of the configuration, made safe for a line of the log.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
