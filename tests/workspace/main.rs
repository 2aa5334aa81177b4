//! The shape of the workspace: who depends on whom, what every contract states, what the house style can check by itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

mod contract;
mod dependency;
mod docs;
mod source;
