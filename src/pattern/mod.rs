//! Regular expressions over bytes of strangers: what they cost is known when the configuration is read.
//!
//! ```text
//! pattern ── syntax ──► node ── program ──► steps ── automaton ──► table       once
//! text ─────────────────────────────────────────────────► table ──► Matches    one step a character
//! ```
//!
//! All patterns of a [`Set`] are looked for in one pass, by as few automata as hold them: patterns that would
//! multiply each other's states (`a.*b` and `c.*d`) are in two. A pattern that no automaton holds is refused, so
//! that no text can make one slow. Of the crates, `regex-lite` steps through every thread at every character, and
//! `regex-automata`, whose automata are like these, would add 54 to 74 kB to the module.

mod alphabet;
mod automaton;
mod program;
mod syntax;
#[cfg(test)]
mod tests;

use self::automaton::{Automaton, Bits};
use self::program::Program;
use self::syntax::Node;

/// The automata that a set may have: so many steps a character costs at most.
const MAX_AUTOMATA: usize = 8;

/// The work of making a set: about a second.
const BUDGET: usize = 50_000_000;

/// A pattern, not yet ready for use. It is not anchored: `^` and `$` say where it has to fit.
#[derive(Clone, Debug)]
pub struct Pattern(Node);

/// Patterns that are looked for together.
#[derive(Clone, Debug, Default)]
pub struct Set(Vec<Automaton>);

/// Which patterns of a [`Set`] fit, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Matches(Bits);

/// What no automaton holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooComplex {
    /// This pattern, by itself.
    One(usize),
    /// The patterns, each of which could be.
    Together,
}

/// A program or an automaton that would be too large.
#[derive(Debug)]
struct TooLarge;

/// How much work may still be done.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.0 = self.0.saturating_sub(steps);
        if self.0 == 0 { Err(TooLarge) } else { Ok(()) }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        syntax::parse(pattern).map(Self)
    }
}

impl Set {
    /// Makes patterns ready for use.
    ///
    /// # Errors
    /// [`TooComplex`] if that would take too much memory, or too much time for each text.
    pub fn new(patterns: &[Pattern]) -> Result<Self, TooComplex> {
        let numbered: Vec<_> = patterns.iter().map(|pattern| &pattern.0).enumerate().collect();
        let mut set = Self::default();
        set.add(&numbered, &mut Budget(BUDGET))?;
        Ok(set)
    }

    fn add(&mut self, patterns: &[(usize, &Node)], budget: &mut Budget) -> Result<(), TooComplex> {
        if patterns.is_empty() {
            return Ok(());
        }
        if self.0.len() >= MAX_AUTOMATA {
            return Err(TooComplex::Together);
        }
        let program = Program::new(patterns.iter().copied());
        match (program.and_then(|program| Automaton::new(&program, budget)), patterns) {
            (Ok(automaton), _) => {
                self.0.push(automaton);
                Ok(())
            }
            (Err(TooLarge), _) if budget.0 == 0 => Err(TooComplex::Together),
            (Err(TooLarge), [(number, _)]) => Err(TooComplex::One(*number)),
            (Err(TooLarge), _) => {
                let (some, others) = patterns.split_at(patterns.len() / 2);
                self.add(some, budget)?;
                self.add(others, budget)
            }
        }
    }

    /// The patterns that fit somewhere in a text.
    pub fn matches(&self, text: &[u8]) -> Matches {
        let mut matches = Matches::default();
        for automaton in &self.0 {
            automaton.read(text, |found| {
                matches.add(found);
                false
            });
        }
        matches
    }

    /// Whether one of the patterns fits somewhere in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.iter().any(|automaton| {
            let mut is_found = false;
            automaton.read(text, |_| {
                is_found = true;
                true
            });
            is_found
        })
    }
}

impl Matches {
    /// Whether the pattern of that number fits.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn add(&mut self, found: &Bits) {
        if self.0.len() < found.len() {
            self.0.resize(found.len(), 0);
        }
        for (word, found) in self.0.iter_mut().zip(found) {
            *word |= found;
        }
    }
}
