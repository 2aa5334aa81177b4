//! The registry over HTTP. What `scenarios!` lists runs against the embedded server and, where it is installed,
//! against a real Consul; the rest is about what only the embedded one has.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::too_many_lines, reason = "a table is as long as it has rows")]
#![expect(
    clippy::print_stderr,
    reason = "a failed run tells where it was, and how fast"
)]

mod api;
mod blocking;
mod chain;
mod check;
mod config_entry;
mod connect;
mod consul;
mod convention;
mod durable;
mod embedded;
mod filter;
mod hash;
mod intention;
mod kv;
mod limit;
mod probe;
mod service;
mod token;
mod unserved;
mod vector;
mod watch;

use api::Api;
use futures::future::LocalBoxFuture;

/// A scenario by name.
type Scenario = (&'static str, for<'a> fn(&'a Api) -> LocalBoxFuture<'a, ()>);

macro_rules! scenarios {
    ($($module:ident::$name:ident)*) => {
        /// Everything both servers must do alike. On Consul they run one after the other on one agent.
        const SCENARIOS: &[Scenario] = &[
            $((concat!(stringify!($module), "::", stringify!($name)), |api| Box::pin($module::$name(api)))),*
        ];

        mod both {
            $(
                #[tokio::test]
                async fn $name() {
                    let server = super::embedded::Embedded::start().await;
                    super::$module::$name(&server.api).await;
                    server.stop().await;
                }
            )*
        }
    };
}

scenarios! {
    convention::a_path_tells_the_methods_it_serves
    convention::parameters_are_checked_in_consuls_words
    convention::reads_carry_index_and_consistency
    convention::pretty_indents_by_four
    convention::unknown_paths_are_404
    service::a_registration_shows_in_every_view
    service::wrong_registrations_are_refused_in_consuls_words
    service::an_update_keeps_the_status_of_its_checks
    service::a_nested_sidecar_comes_and_goes_with_its_service
    service::maintenance_is_a_critical_check
    service::the_status_code_of_agent_health_is_the_health
    service::empty_lists_are_never_null
    check::a_ttl_check_follows_its_reports
    check::wrong_checks_are_refused_in_consuls_words
    check::a_check_can_be_registered_alone
    check::an_alias_follows_its_service
    filter::instances_are_filtered_by_type_and_text
    filter::wrong_filters_are_errors
    blocking::a_parked_read_wakes_on_its_service_only
    blocking::a_parked_read_ends_with_its_wait
    blocking::an_absent_entry_can_be_waited_for
    blocking::an_index_in_the_future_waits_and_then_tells_the_true_one
    blocking::deleting_a_key_resets_its_index
    blocking::a_chain_wakes_on_an_entry_it_consults
    blocking::intentions_wake_on_their_kind
    hash::the_merged_definition_blocks_on_its_hash
    intention::match_answers_by_precedence
    intention::exact_puts_and_deletes_one_source
    intention::wrong_questions_are_refused_in_consuls_words
    config_entry::entries_are_written_read_listed_and_deleted
    config_entry::compare_and_set_guards_a_write
    config_entry::wrong_entries_are_refused_in_consuls_words
    config_entry::a_write_that_changes_nothing_moves_no_index
    chain::a_service_nobody_knows_has_a_default_chain
    chain::a_splitter_leads_to_subsets
    chain::overrides_change_the_chain
    chain::an_entry_that_is_needed_stays
    kv::keys_are_written_read_listed_and_deleted
    kv::compare_and_set_guards_a_key
    kv::wrong_requests_are_refused_in_consuls_words
    connect::roots_and_leaf_make_a_spiffe_identity
}

#[tokio::test]
async fn consul_does_the_same() {
    let Some(consul) = consul::Consul::start().await else {
        return;
    };
    for (name, scenario) in SCENARIOS {
        eprintln!("on Consul: {name}");
        scenario(&consul.api).await;
    }
}
