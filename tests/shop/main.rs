//! The shop as its users and operators meet it: a whole run of `outrigger up`.

mod crash;
mod instance_lost;
mod order;
mod parallel;
mod refusal;
mod secret;
mod socket;
mod stop;
mod trace;
