//! Some patterns as one automaton, made when the configuration is read: a character costs one step in a table,
//! whatever the patterns are and whatever the text is.
//!
//! ```text
//! text      /    p    u    b    /    x
//! state  1 ──► 2 ──► 3 ──► 4 ──► 5 ──► 6 ──► 0       a row for each state, a column for each symbol
//!                                      └─ found: ^/pub/
//! ```
//!
//! A state is the set of the program's threads (the subset construction). What has been found is known one
//! symbol later, as `$` and `\b` ask for what comes next; the end of the text is a symbol too.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::alphabet::{Alphabet, Side, Symbol};
use super::program::{Program, Step};
use super::{Budget, TooLarge};

/// The cells that a table may have: 256 KiB, which a processor's cache still holds.
const MAX_CELLS: usize = 128 << 10;

/// The threads that all states may have while an automaton is made: 4 MiB, which a VM does not give back.
const MAX_THREADS: usize = 1 << 20;

/// The bit of a cell that says that something has been found. The others are the number of a state.
const FINDS: u16 = 1 << 15;

/// Nothing can be found any more.
const DEAD: u16 = 0;

/// The state before the text.
const START: u16 = 1;

/// An automaton.
#[derive(Clone, Debug)]
pub(super) struct Automaton {
    alphabet: Alphabet,
    /// The column of the end of the text.
    end: u16,
    /// A row has two to the power of so many cells.
    row_bits: u32,
    cells: Vec<u16>,
    /// What each state has found.
    found: Vec<Bits>,
}

/// Numbers of patterns, a bit each.
pub(super) type Bits = Vec<u64>;

impl Automaton {
    /// The automaton of a program, or why there is none: it would take too much memory, or too long to make.
    pub(super) fn new(program: &Program, budget: &mut Budget) -> Result<Self, TooLarge> {
        let (alphabet, symbols) = Alphabet::new(program);
        let end = u16::try_from(symbols.len()).map_err(|_| TooLarge)?;
        let columns = symbols.len().saturating_add(1).next_power_of_two();
        let mut states = States::new(program);
        let mut cells = Vec::new();
        let mut at = 0;
        while let Some(state) = states.all.get(at).cloned() {
            let row = cells.len();
            cells.resize(row.saturating_add(columns), DEAD);
            let row = cells.get_mut(row..).unwrap_or_default();
            states.fill(row, program, &symbols, &state, budget)?;
            if cells.len() > MAX_CELLS {
                return Err(TooLarge);
            }
            at = at.saturating_add(1);
        }
        let found = states.all.iter().map(|state| state.found.clone()).collect();
        Ok(Self { alphabet, end, row_bits: columns.trailing_zeros(), cells, found })
    }

    /// Reads a text, and tells `found` which patterns fit, until that says that it knows enough. What is not UTF-8
    /// is read as Go reads it: each byte of it is a U+FFFD.
    pub(super) fn read(&self, text: &[u8], mut is_enough: impl FnMut(&Bits) -> bool) {
        let mut state = START;
        let mut go_on = |symbol: u16| {
            let cell = self.cell(state, symbol);
            state = cell & !FINDS;
            let found = self.found.get(usize::from(state)).filter(|_| cell & FINDS != 0);
            state != DEAD && !found.is_some_and(&mut is_enough)
        };
        for chunk in text.utf8_chunks() {
            if !chunk.valid().chars().all(|c| go_on(self.alphabet.symbol(c))) {
                return;
            }
            let replacement = self.alphabet.symbol(char::REPLACEMENT_CHARACTER);
            if !chunk.invalid().iter().all(|_| go_on(replacement)) {
                return;
            }
        }
        go_on(self.end);
    }

    fn cell(&self, state: u16, symbol: u16) -> u16 {
        let at = (usize::from(state) << self.row_bits) | usize::from(symbol);
        self.cells.get(at).copied().unwrap_or(DEAD)
    }
}

/// The threads that wait for a character, and what was before it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// In their order, each once, without those that begin at every place.
    threads: Vec<usize>,
    before: Side,
    found: Bits,
}

/// The states that were met, by their numbers.
struct States {
    all: Vec<Rc<State>>,
    numbers: BTreeMap<Rc<State>, u16>,
    /// The threads that begin at every place: of patterns without `^`.
    everywhere: Vec<usize>,
    /// How many more threads states may have.
    room: usize,
}

impl States {
    fn new(program: &Program) -> Self {
        let nothing = Rc::new(State { threads: Vec::new(), before: Side::Edge, found: Bits::new() });
        let mut threads = program.entries.clone();
        threads.sort_unstable();
        let start = Rc::new(State { threads, before: Side::Edge, found: Bits::new() });
        let everywhere =
            program.entries.iter().copied().filter(|entry| program.can_begin_later(*entry)).collect();
        let numbers = BTreeMap::from([(Rc::clone(&nothing), DEAD), (Rc::clone(&start), START)]);
        Self { all: vec![nothing, start], numbers, everywhere, room: MAX_THREADS }
    }

    /// Fills the row of a state: where each symbol leads.
    fn fill(
        &mut self,
        row: &mut [u16],
        program: &Program,
        symbols: &[Symbol],
        state: &State,
        budget: &mut Budget,
    ) -> Result<(), TooLarge> {
        let is_start = self.numbers.get(state) == Some(&START);
        // Nothing comes after the end of the text, nor where nothing can be found.
        if state.before == Side::Edge && !is_start {
            return Ok(());
        }
        let everywhere = if is_start { &[] } else { self.everywhere.as_slice() };
        let threads: Vec<usize> = state.threads.iter().chain(everywhere).copied().collect();
        for after in [Side::Edge, Side::Word, Side::LineFeed, Side::Other] {
            let (mut chars, mut found) = (Vec::new(), Bits::new());
            let visited = program.follow(&threads, state.before, after, |step| match step {
                Step::Char(class, next) => chars.push((class, next)),
                Step::Found(pattern) => set(&mut found, pattern),
                _ => {}
            });
            budget.spend(visited)?;
            for (symbol, cell) in symbols.iter().zip(&mut *row).filter(|(symbol, _)| symbol.side == after) {
                let is_in = |class: usize| symbol.is_in.get(class) == Some(&true);
                let next = chars.iter().filter(|(class, _)| is_in(*class)).map(|(_, next)| *next);
                let mut threads: Vec<usize> = next.collect();
                threads.sort_unstable();
                threads.dedup();
                budget.spend(chars.len())?;
                *cell = self.number(State { threads, before: after, found: found.clone() })?;
            }
            if let (Side::Edge, Some(cell)) = (after, row.get_mut(symbols.len())) {
                *cell = self.number(State { threads: Vec::new(), before: after, found })?;
            }
        }
        Ok(())
    }

    /// The cell that leads to a state.
    fn number(&mut self, mut state: State) -> Result<u16, TooLarge> {
        if state.threads.is_empty() && state.found.is_empty() && self.everywhere.is_empty() {
            state.before = Side::Edge;
        }
        let finds = if state.found.is_empty() { 0 } else { FINDS };
        if let Some(known) = self.numbers.get(&state) {
            return Ok(known | finds);
        }
        self.room = self.room.checked_sub(state.threads.len()).ok_or(TooLarge)?;
        let number = u16::try_from(self.all.len()).ok().filter(|number| *number < FINDS).ok_or(TooLarge)?;
        let state = Rc::new(state);
        self.all.push(Rc::clone(&state));
        self.numbers.insert(state, number);
        Ok(number | finds)
    }
}

fn set(bits: &mut Bits, number: usize) {
    let word = number / 64;
    if bits.len() <= word {
        bits.resize(word.saturating_add(1), 0);
    }
    if let Some(word) = bits.get_mut(word) {
        *word |= 1 << (number % 64);
    }
}
