//! The shape of the workspace: who depends on whom, what every contract states, what the house style can check by itself.

mod contract;
mod dependency;
mod source;
