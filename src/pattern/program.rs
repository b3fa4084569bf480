//! Patterns as a program of steps: Thompson's construction. A thread waits at a step for the next character.

use super::TooLarge;
use super::alphabet::Side;
use super::syntax::{Look, Node, Range};

/// The steps that all patterns together may have.
const MAX_STEPS: usize = 20_000;

/// One step, and the number of the step after it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Goes on with a character of that class.
    Char(usize, usize),
    /// Goes on both ways.
    Split(usize, usize),
    /// Goes on if this is such a place.
    Look(Look, usize),
    /// The pattern of that number has been found.
    Found(usize),
}

/// The steps of some patterns.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// The first step of each pattern.
    pub(super) entries: Vec<usize>,
    /// The classes that steps name, each once.
    pub(super) classes: Vec<Vec<Range>>,
}

impl Program {
    /// The program of these patterns, each with its number.
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = (usize, &'a Node)>) -> Result<Self, TooLarge> {
        let mut program = Self::default();
        for (number, node) in patterns {
            let found = program.push(Step::Found(number))?;
            let entry = program.add(node, found)?;
            program.entries.push(entry);
        }
        Ok(program)
    }

    /// Goes on from some threads at a place, without a character, and shows each step where they arrive once; gives
    /// how many there were.
    pub(super) fn follow(
        &self,
        threads: &[usize],
        before: Side,
        after: Side,
        mut arrived: impl FnMut(Step),
    ) -> usize {
        let mut is_visited = vec![false; self.steps.len()];
        let mut waiting = threads.to_vec();
        let mut visited = 0_usize;
        while let Some(number) = waiting.pop() {
            let (Some(step), Some(is_visited)) = (self.steps.get(number), is_visited.get_mut(number)) else {
                continue;
            };
            if std::mem::replace(is_visited, true) {
                continue;
            }
            visited = visited.saturating_add(1);
            arrived(*step);
            match *step {
                Step::Split(one, other) => waiting.extend([one, other]),
                Step::Look(look, next) if look.is_between(before, after) => waiting.push(next),
                Step::Look(..) | Step::Char(..) | Step::Found(_) => {}
            }
        }
        visited
    }

    /// Whether a pattern that begins with this step can begin elsewhere than at the start of the text.
    pub(super) fn can_begin_later(&self, entry: usize) -> bool {
        let sides = [Side::Edge, Side::Word, Side::LineFeed, Side::Other];
        let mut begins = false;
        for before in [Side::Word, Side::LineFeed, Side::Other] {
            for after in sides {
                self.follow(&[entry], before, after, |step| {
                    begins |= matches!(step, Step::Char(..) | Step::Found(_));
                });
            }
        }
        begins
    }

    fn push(&mut self, step: Step) -> Result<usize, TooLarge> {
        if self.steps.len() >= MAX_STEPS {
            return Err(TooLarge);
        }
        self.steps.push(step);
        Ok(self.steps.len().saturating_sub(1))
    }

    /// Adds the steps of a node, which go on with `next`; gives the first of them.
    fn add(&mut self, node: &Node, next: usize) -> Result<usize, TooLarge> {
        match node {
            Node::Class(ranges) => {
                let class = self.class(ranges);
                self.push(Step::Char(class, next))
            }
            Node::Look(look) => self.push(Step::Look(*look, next)),
            Node::Concat(nodes) => nodes.iter().rev().try_fold(next, |next, node| self.add(node, next)),
            Node::Alternate(nodes) => {
                let mut entry = None;
                for node in nodes {
                    let other = self.add(node, next)?;
                    entry = Some(match entry {
                        None => other,
                        Some(entry) => self.push(Step::Split(entry, other))?,
                    });
                }
                Ok(entry.unwrap_or(next))
            }
            Node::Repeat(node, least, most) => {
                let mut entry = match most {
                    None => self.add_loop(node, next)?,
                    Some(most) => (*least..*most).try_fold(next, |entry, _| {
                        let once = self.add(node, entry)?;
                        self.push(Step::Split(once, next))
                    })?,
                };
                for _ in 0..*least {
                    entry = self.add(node, entry)?;
                }
                Ok(entry)
            }
        }
    }

    fn add_loop(&mut self, node: &Node, next: usize) -> Result<usize, TooLarge> {
        let split = self.push(Step::Split(next, next))?;
        let body = self.add(node, split)?;
        if let Some(step) = self.steps.get_mut(split) {
            *step = Step::Split(body, next);
        }
        Ok(split)
    }

    fn class(&mut self, ranges: &[Range]) -> usize {
        match self.classes.iter().position(|class| class == ranges) {
            Some(known) => known,
            None => {
                self.classes.push(ranges.to_vec());
                self.classes.len().saturating_sub(1)
            }
        }
    }
}

impl Look {
    /// Whether a place between these two is such a place.
    fn is_between(self, before: Side, after: Side) -> bool {
        match self {
            Self::Start => before == Side::Edge,
            Self::End => after == Side::Edge,
            Self::LineStart => matches!(before, Side::Edge | Side::LineFeed),
            Self::LineEnd => matches!(after, Side::Edge | Side::LineFeed),
            Self::WordBoundary => (before == Side::Word) != (after == Side::Word),
            Self::NoWordBoundary => (before == Side::Word) == (after == Side::Word),
        }
    }
}
