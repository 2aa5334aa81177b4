//! The shop as its users and operators meet it: a whole run of `outrigger up`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

mod crash;
mod instance_lost;
mod order;
mod parallel;
mod refusal;
mod secret;
mod socket;
mod stop;
mod trace;
