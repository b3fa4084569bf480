//! How many codes were tried for one sign-in. The browser has its CSRF cookie and can send it as often as it likes.
//!
//! A worker remembers the states whose codes the provider answered last. A client can make it forget one by many
//! others. It gains nothing by that: the provider has answered each of the others too, and the client could have begun
//! another sign-in in the first place. `gate` limits how many codes are redeemed in all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// How many codes may be tried for one sign-in. A browser tries one, and two or three if its user submits the
/// provider's form twice.
const CODES: usize = 5;

/// How many answers are remembered, about 70 bytes each.
const ANSWERS: usize = 1024;

/// The attempts that a worker has seen.
#[derive(Default)]
pub(super) struct Attempts {
    /// The state of each answer of the provider, the latest at the end.
    answered: RefCell<VecDeque<String>>,
    /// The state of each attempt that is under way. The gate limits their number.
    under_way: RefCell<Vec<String>>,
}

/// One attempt, under way until this is dropped.
pub(super) struct Attempt {
    attempts: Rc<Attempts>,
    state_hash: String,
}

impl Attempts {
    /// One more attempt for the sign-in of this state; none if it has had its attempts, including those under way.
    pub(super) fn begin(self: &Rc<Self>, state_hash: &str) -> Option<Attempt> {
        let mut under_way = self.under_way.borrow_mut();
        let answered = self.answered.borrow();
        if answered.iter().chain(&*under_way).filter(|other| *other == state_hash).count() >= CODES {
            return None;
        }
        under_way.push(state_hash.to_owned());
        Some(Attempt { attempts: Rc::clone(self), state_hash: state_hash.to_owned() })
    }
}

impl Attempt {
    /// The provider has answered, whatever it said.
    pub(super) fn was_answered(&self) {
        let mut answered = self.attempts.answered.borrow_mut();
        answered.push_back(self.state_hash.clone());
        if answered.len() > ANSWERS {
            answered.pop_front();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut under_way = self.attempts.under_way.borrow_mut();
        if let Some(at) = under_way.iter().position(|state| *state == self.state_hash) {
            under_way.swap_remove(at);
        }
    }
}
