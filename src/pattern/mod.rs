//! Regular expressions for untrusted bytes. Their cost is known when the configuration is read.
//!
//! ```text
//! pattern ── syntax ──► HIR ── regex-automata ──► DFA           once
//! text ───────────────────────────────────────────► Matches    one step per byte
//! ```
//!
//! All patterns of a [`PatternSet`] are matched in one pass, by as few automata as possible: patterns that would multiply each
//! other's states (`a.*b` and `c.*d`) are in two automata. A pattern that is too large for an automaton is refused, so that
//! no text makes matching slow.

mod syntax;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use regex_automata::MatchKind;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_syntax::hir::Hir;

/// The most automata of a set, and so the most steps per byte.
const MAX_AUTOMATA: usize = 8;

/// The most bytes of an automaton's table, in each worker: it still fits into a processor's cache.
const MAX_TABLE: usize = 512 << 10;

/// The most bytes for building an automaton, besides its table. They also limit the time, and a VM does not return
/// memory.
const MAX_WORK: usize = 2 << 20;

/// A parsed pattern. It is not anchored unless it has `^` or `$`.
#[derive(Clone, Debug)]
pub struct Pattern(Hir);

/// Patterns that are matched together.
#[derive(Clone, Debug, Default)]
pub struct PatternSet(Vec<Table>);

/// Which patterns of a [`PatternSet`] match, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Matches(Vec<bool>);

/// Which patterns are too large for an automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooComplex {
    /// This pattern, by itself.
    One(usize),
    /// The patterns together; each of them alone is small enough.
    Together,
}

/// An automaton for some of the patterns.
#[derive(Clone, Debug)]
struct Table {
    dfa: dense::DFA<Vec<u32>>,
    /// The state before the text.
    start: StateID,
    /// The number of its first pattern.
    first: usize,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The mistake, in one line.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        syntax::parse(pattern).map(Self)
    }
}

impl PatternSet {
    /// Builds the automata of patterns.
    ///
    /// # Errors
    /// [`TooComplex`] if they would take too much memory, or too much time per text.
    pub fn new(patterns: &[Pattern]) -> Result<Self, TooComplex> {
        let patterns: Vec<&Hir> = patterns.iter().map(|pattern| &pattern.0).collect();
        let mut set = Self::default();
        set.add(0, &patterns)?;
        Ok(set)
    }

    fn add(&mut self, first: usize, patterns: &[&Hir]) -> Result<(), TooComplex> {
        if patterns.is_empty() {
            return Ok(());
        }
        if self.0.len() >= MAX_AUTOMATA {
            return Err(TooComplex::Together);
        }
        if let Some(table) = Table::new(first, patterns) {
            self.0.push(table);
            return Ok(());
        }
        if patterns.len() == 1 {
            return Err(TooComplex::One(first));
        }
        let (some, others) = patterns.split_at(patterns.len() / 2);
        self.add(first, some)?;
        self.add(first.saturating_add(some.len()), others)
    }

    /// The patterns that match anywhere in a text.
    pub fn matches(&self, text: &[u8]) -> Matches {
        let patterns = self.0.last().map_or(0, |table| table.first.saturating_add(table.dfa.pattern_len()));
        let mut matches = Matches(vec![false; patterns]);
        for table in &self.0 {
            // The same state twice in a row finds nothing new.
            let mut before = None;
            table.read(text, |state| {
                if before.replace(state) != Some(state) {
                    for number in 0..table.dfa.match_len(state) {
                        let pattern = table.dfa.match_pattern(state, number).as_usize();
                        if let Some(matches) = matches.0.get_mut(table.first.saturating_add(pattern)) {
                            *matches = true;
                        }
                    }
                }
                false
            });
        }
        matches
    }

    /// Whether one of the patterns matches anywhere in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.iter().any(|table| table.read(text, |_| true))
    }
}

impl Matches {
    /// Whether the pattern of that number matches.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number).copied().unwrap_or(false)
    }
}

impl Table {
    /// `None` if the automaton would be too large.
    fn new(first: usize, patterns: &[&Hir]) -> Option<Self> {
        let config =
            thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_WORK));
        let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(patterns).ok()?;
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Unanchored)
            .accelerate(false)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_WORK));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        let start = dfa.start_state(&start::Config::new()).ok()?;
        Some(Self { dfa, start, first })
    }

    /// Reads a text and calls `is_enough` for each matching state until it returns true; returns whether it did. Unlike
    /// the searches of the crate, this cannot fail: a failed search would look like a pattern that does not match. Invalid
    /// UTF-8 is read as by Go: each such byte is a U+FFFD.
    fn read(&self, text: &[u8], mut is_enough: impl FnMut(StateID) -> bool) -> bool {
        let mut state = self.start;
        let mut read = |bytes: &[u8]| {
            for byte in bytes {
                state = self.dfa.next_state(state, *byte);
                // A match ends before this byte, and never inside a character.
                if self.dfa.is_special_state(state) {
                    let is_within = byte & 0xc0 == 0x80;
                    if self.dfa.is_dead_state(state)
                        || self.dfa.is_match_state(state) && !is_within && is_enough(state)
                    {
                        return ControlFlow::Break(self.dfa.is_match_state(state));
                    }
                }
            }
            ControlFlow::Continue(())
        };
        let ended = text.utf8_chunks().try_for_each(|chunk| {
            read(chunk.valid().as_bytes())?;
            chunk.invalid().iter().try_for_each(|_| read("\u{fffd}".as_bytes()))
        });
        if let ControlFlow::Break(is_found) = ended {
            return is_found;
        }
        let state = self.dfa.next_eoi_state(state);
        self.dfa.is_match_state(state) && is_enough(state)
    }
}
