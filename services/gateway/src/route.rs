//! From a request's method and path to the RPC it means: one parse of the path, templates of
//! `google.api.http`, and the table that decides between them.

pub(crate) mod path;
pub(crate) mod table;
pub(crate) mod template;

pub(crate) use path::Path;
pub(crate) use table::{Found, Table};
pub(crate) use template::Template;
