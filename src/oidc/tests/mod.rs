//! ID tokens and keys against vectors of other implementations, hostile tokens, and properties.

mod hostile;
mod keys;
pub(crate) mod logout;
mod properties;
mod rules;
mod signatures;
pub(crate) mod vectors;
