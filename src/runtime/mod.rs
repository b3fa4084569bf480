//! What runs the flows of one root context: tasks, and when the host has to call them next. It knows no Envoy.

#[cfg(any(test, target_family = "wasm"))]
pub(crate) mod alarm;
pub(crate) mod rate;
#[cfg(any(test, target_family = "wasm"))]
#[cfg_attr(test, allow(dead_code, reason = "only the host cancels"))]
pub(crate) mod tasks;
