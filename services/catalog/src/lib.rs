//! shop-catalog
