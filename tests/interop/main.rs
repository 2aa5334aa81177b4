//! Programs and stacks that others wrote.

mod greeter;
mod grpcurl;
