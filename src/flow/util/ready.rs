//! A value that is there already, or a future that brings it.

use std::future::Future;
use std::pin::Pin;

/// A value that may have to be waited for. If it is there already, there is no future and no allocation: that is the
/// hot path.
pub enum Ready<T> {
    /// It is there.
    Now(T),
    /// It comes with this future.
    Later(Pin<Box<dyn Future<Output = T>>>),
}

impl<T: 'static> Ready<T> {
    /// The value of a future.
    pub(in crate::flow) fn later(future: impl Future<Output = T> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Turns the value into another one, as soon as it is there.
    pub(in crate::flow) fn map<U>(self, then: impl FnOnce(T) -> U + 'static) -> Ready<U> {
        match self {
            Self::Now(value) => Ready::Now(then(value)),
            Self::Later(future) => Ready::Later(Box::pin(async move { then(future.await) })),
        }
    }

    /// Waits for the value.
    pub(in crate::flow) async fn get(self) -> T {
        match self {
            Self::Now(value) => value,
            Self::Later(future) => future.await,
        }
    }
}
