//! Characters that a program treats alike are one symbol: then a row of an automaton is short.

use std::collections::BTreeMap;

use super::program::{Program, Step};
use super::syntax::{Look, Range, WORD};

/// What stands on one side of a place, as far as a `Look` of the program asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// Nothing: the text begins or ends here.
    Edge,
    Word,
    LineFeed,
    Other,
}

/// A symbol, for the construction of an automaton.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Symbol {
    /// For each class whether the symbol is in it.
    pub(super) is_in: Vec<bool>,
    pub(super) side: Side,
}

/// The number of each character's symbol.
#[derive(Clone, Debug)]
pub(super) struct Alphabet {
    /// The first character of each range, and the symbol of the range; the first range begins with zero.
    ranges: Vec<(u32, u16)>,
    /// The same for ASCII.
    ascii: [u16; 128],
}

impl Alphabet {
    /// The alphabet of a program, and its symbols by their numbers.
    pub(super) fn new(program: &Program) -> (Self, Vec<Symbol>) {
        let asks = |these: [Look; 2]| {
            program.steps.iter().any(|step| matches!(step, Step::Look(look, _) if these.contains(look)))
        };
        let word: &[Range] = if asks([Look::WordBoundary, Look::NoWordBoundary]) { &WORD } else { &[] };
        let line_feed: &[Range] = if asks([Look::LineStart, Look::LineEnd]) { &[(10, 10)] } else { &[] };

        let classes = program.classes.iter().map(Vec::as_slice);
        let all = classes.clone().chain([word, line_feed]).flatten();
        let mut starts: Vec<u32> = all.flat_map(|(from, to)| [*from, to.saturating_add(1)]).collect();
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();

        let mut numbers = BTreeMap::new();
        let mut ranges = Vec::with_capacity(starts.len());
        for start in starts {
            let has = |class: &[Range]| class.iter().any(|(from, to)| (*from..=*to).contains(&start));
            let side = match (has(word), has(line_feed)) {
                (true, _) => Side::Word,
                (_, true) => Side::LineFeed,
                _ => Side::Other,
            };
            let symbol = Symbol { is_in: classes.clone().map(has).collect(), side };
            // Classes have fewer ends than that, or the program is too large.
            let next = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
            ranges.push((start, *numbers.entry(symbol).or_insert(next)));
        }
        let mut symbols: Vec<_> = numbers.into_iter().collect();
        symbols.sort_unstable_by_key(|(_, number)| *number);
        let mut alphabet = Self { ranges, ascii: [0; 128] };
        let ascii = std::array::from_fn(|c| alphabet.search(u32::try_from(c).unwrap_or_default()));
        alphabet.ascii = ascii;
        (alphabet, symbols.into_iter().map(|(symbol, _)| symbol).collect())
    }

    /// The symbol of a character.
    pub(super) fn symbol(&self, c: char) -> u16 {
        let c = u32::from(c);
        let ascii = usize::try_from(c).ok().and_then(|c| self.ascii.get(c));
        ascii.copied().unwrap_or_else(|| self.search(c))
    }

    fn search(&self, c: u32) -> u16 {
        let after = self.ranges.partition_point(|(start, _)| *start <= c);
        let range = after.checked_sub(1).and_then(|range| self.ranges.get(range));
        range.map_or(0, |(_, symbol)| *symbol)
    }
}
