//! The generated code, a module a package, nested as packages are.

#![allow(
    clippy::all,
    clippy::use_self,
    clippy::wildcard_imports,
    clippy::too_many_lines,
    clippy::semicolon_if_nothing_returned,
    clippy::str_to_string,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_lifetimes,
    rustdoc::invalid_html_tags,
    reason = "generated"
)]

/// The shop's services.
pub mod shop {
    /// On whose behalf a call is made.
    pub mod auth {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.auth.v1");
        }
    }

    /// Products and their prices.
    pub mod catalog {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.catalog.v1");
        }
    }

    /// Users, addresses and sessions.
    pub mod identity {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.identity.v1");
        }
    }

    /// Stock and reservations.
    pub mod inventory {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.inventory.v1");
        }
    }

    /// What a method promises.
    pub mod options {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.options.v1");
        }
    }

    /// Orders and their events.
    pub mod orders {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.orders.v1");
        }
    }

    /// Payments, means to pay and wallets.
    pub mod payments {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("shop.payments.v1");
        }
    }
}

/// Google's common contracts.
pub mod google {
    /// HTTP rules.
    pub mod api {
        tonic::include_proto!("google.api");
    }

    /// Status and error details.
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }

    /// Money.
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
}

/// Validation rules.
pub mod buf {
    /// Validation rules.
    pub mod validate {
        tonic::include_proto!("buf.validate");
    }
}

/// gRPC's own services.
pub mod grpc {
    /// Health.
    pub mod health {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("grpc.health.v1");
        }
    }
}
