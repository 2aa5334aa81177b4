//! The rows as sea-orm sees them. They stay below `store`.

pub(crate) mod address;
pub(crate) mod session;
pub(crate) mod signing_key;
pub(crate) mod user;
