//! The same scenarios on the embedded registry and on a real Consul, whose development agent allows everything: we do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

mod mesh;
mod shop;

use outrigger_tests::registry::Backend;

/// One test for each registry.
macro_rules! on_both {
    ($(#[$doc:meta])* $name:ident, $scenario:path) => {
        $(#[$doc])*
        mod $name {
            #[tokio::test]
            async fn on_the_embedded_registry() {
                $scenario(crate::Backend::Embedded).await;
            }

            #[tokio::test]
            async fn on_consul() {
                $scenario(crate::Backend::Consul).await;
            }
        }
    };
}

on_both!(
    a_call_needs_an_intention,
    crate::mesh::a_call_needs_an_intention
);
on_both!(
    a_health_query_blocks_until_something_changes,
    crate::mesh::a_health_query_blocks_until_something_changes
);
on_both!(
    a_chain_follows_resolver_and_splitter,
    crate::mesh::a_chain_follows_resolver_and_splitter
);
on_both!(
    consul_config_write_moves_traffic_within_a_second,
    crate::mesh::consul_config_write_moves_traffic_within_a_second
);
on_both!(
    an_instance_that_fails_its_check_gets_no_call,
    crate::mesh::an_instance_that_fails_its_check_gets_no_call
);
on_both!(
    the_briefs_order_goes_through,
    crate::shop::the_briefs_order_goes_through
);
