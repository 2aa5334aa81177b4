//! The shop's front door.
mod route;
