//! shop-identity
