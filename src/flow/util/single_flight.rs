//! Single flight: callers that ask for the same at the same time share one call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use futures_util::FutureExt;
use futures_util::future::WeakShared;

/// With this many calls under way, those that no caller waits for any more are removed.
const SWEEP: usize = 256;

type Call<T> = Pin<Box<dyn Future<Output = T>>>;

/// Calls under way, by key. The callers hold them: if all callers are dropped, the call is dropped too.
pub(in crate::flow) struct SingleFlight<T>(RefCell<HashMap<Vec<u8>, WeakShared<Call<T>>>>);

impl<T: Clone> SingleFlight<T> {
    /// The result of the call that is under way for this key, or else of a new one.
    pub(in crate::flow) async fn get(&self, key: &[u8], start: impl FnOnce() -> Call<T>) -> T {
        let under_way = self.0.borrow().get(key).and_then(WeakShared::upgrade);
        let call = under_way.unwrap_or_else(|| {
            let call = start().shared();
            let mut calls = self.0.borrow_mut();
            if calls.len() >= SWEEP {
                calls.retain(|_, call| call.upgrade().is_some());
            }
            if let Some(weak) = call.downgrade() {
                calls.insert(key.to_vec(), weak);
            }
            call
        });
        let result = call.await;
        // A caller that comes from now on starts a new call. The last of several callers may remove a younger call
        // here: then that call is not shared any more, which does no harm.
        self.0.borrow_mut().remove(key);
        result
    }
}

impl<T> SingleFlight<T> {
    /// A caller that comes from now on starts a new call for this key.
    pub(in crate::flow) fn forget(&self, key: &[u8]) {
        self.0.borrow_mut().remove(key);
    }

    /// The same for all keys.
    pub(in crate::flow) fn forget_all(&self) {
        self.0.borrow_mut().clear();
    }
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}
