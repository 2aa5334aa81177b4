//! A row of the table of bounds without a test that exceeds it is a promise that nobody keeps.

use std::collections::BTreeSet;

use outrigger_sidecar::config::{PROCESS_ROWS, ROWS};
use outrigger_tests::settings::root;

use super::exceeded;

/// A row, where else its test stands, that test's name, and what of it meets the bound.
type Elsewhere = (&'static str, &'static str, &'static str, &'static str);

const ADMISSION: &str = "tests/mesh/admission.rs";
const MEMORY: &str = "tests/mesh/memory.rs";
const CLIENT: &str = "sidecar/src/http2/client/tests.rs";
const CONNECTION: &str = "sidecar/src/http2/connection/tests.rs";

const ELSEWHERE: [Elsewhere; 19] = [
    (
        "connections",
        ADMISSION,
        "past_the_connections_of_a_listener_the_next_one_waits_for_an_end",
        "connections = 3",
    ),
    (
        "connections_per_peer",
        ADMISSION,
        "past_the_connections_of_a_peer_the_new_one_is_closed",
        "connections_per_peer = 2",
    ),
    (
        "tls_handshakes_per_second",
        ADMISSION,
        "handshakes_past_their_rate_wait_and_half_a_hello_is_let_go_at_its_time",
        "tls_handshakes_per_second = 2",
    ),
    (
        "tls_handshakes_at_once",
        ADMISSION,
        "handshakes_past_their_rate_wait_and_half_a_hello_is_let_go_at_its_time",
        "tls_handshakes_at_once = 1",
    ),
    (
        "dials_per_second",
        ADMISSION,
        "dials_past_their_rate_wait_for_their_turn",
        "dials_per_second = 1",
    ),
    (
        "queued",
        ADMISSION,
        "past_the_calls_that_may_wait_for_an_instance_others_are_refused",
        "queued = 1",
    ),
    (
        "stranger_calls",
        ADMISSION,
        "past_the_calls_that_a_callee_has_of_strangers_the_next_one_waits",
        "stranger_calls = 1",
    ),
    (
        "stream_window",
        CONNECTION,
        "what_nobody_forwards_stops_its_sender_and_no_other",
        "Ok(65_535)",
    ),
    (
        "connection_window",
        CONNECTION,
        "all_streams_together_stop_at_the_window_of_the_connection",
        "CONFIG.connection_window",
    ),
    (
        "connection_buffered",
        CLIENT,
        "past_what_a_connection_may_hold_the_largest_holder_goes",
        "connection_buffered: 3000",
    ),
    (
        "informational",
        CLIENT,
        "b23_a_mean_answer_ends_its_call_and_not_the_connection",
        "endless 1xx",
    ),
    (
        "reset_memory",
        CONNECTION,
        "late_frames_of_streams_that_we_reset_are_no_fault",
        "Some(CLOSED)",
    ),
    (
        "memory",
        MEMORY,
        "f21_at_twice_the_load_it_can_carry_it_refuses_calls_and_lives",
        "Cgroup::memory",
    ),
    (
        "memory_guard",
        MEMORY,
        "short_of_memory_calls_hear_overloaded_and_when_to_come_back",
        "\"memory_guard\"",
    ),
    (
        "memory_guard_leave",
        MEMORY,
        "short_of_memory_the_newest_connection_is_sent_away_after_it_was_answered",
        "goodbye()",
    ),
    (
        "memory_guard_reset",
        "sidecar/src/memory.rs",
        "new_calls_then_new_connections_then_large_streams_are_given_up",
        "6 * MIB",
    ),
    (
        "header_memory",
        MEMORY,
        "heads_of_calls_that_may_be_sent_again_have_a_bound_together",
        "header_memory = 25000",
    ),
    (
        "buffered_bytes",
        MEMORY,
        "while_too_much_waits_nobody_gets_credit_and_small_calls_pass",
        "buffered_bytes = 20000",
    ),
    (
        "access_log",
        "tests/mesh/limit.rs",
        "what_the_access_log_has_no_line_for_is_counted",
        "access_log = 1",
    ),
];

/// The text of a test, from its attribute to the end of its function; `None` if there is no such test.
fn body(source: &str, test: &str) -> Option<String> {
    let (before, behind) = source.split_once(&format!("fn {test}()"))?;
    let attribute = before
        .trim_end_matches("async ")
        .trim_end()
        .lines()
        .last()?;
    let is_test = ["#[test]", "#[tokio::test"]
        .iter()
        .any(|is| attribute.trim().starts_with(is));
    let indent = before
        .rsplit('\n')
        .next()?
        .chars()
        .take_while(|letter| *letter == ' ');
    let end = format!("\n{}}}\n", indent.collect::<String>());
    let (body, _) = behind.split_once(&end)?;
    is_test.then(|| body.to_owned())
}

#[test]
fn every_bound_has_a_test_that_exceeds_it() {
    let rows = ROWS.iter().map(|row| row.name);
    let rows: BTreeSet<_> = rows
        .chain(PROCESS_ROWS.iter().map(|row| row.name))
        .collect();
    let mut tested: BTreeSet<_> = exceeded().into_iter().collect();
    for (row, file, test, proof) in ELSEWHERE {
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        let body = body(&source, test).unwrap_or_else(|| panic!("{row}: no test {test} in {file}"));
        assert!(
            body.contains(proof),
            "{row}: {test} says nothing of {proof}"
        );
        assert!(tested.insert(row), "{row} is here and elsewhere");
    }
    let untested: Vec<_> = rows.difference(&tested).collect();
    assert!(untested.is_empty(), "bounds without a test: {untested:?}");
    let unknown: Vec<_> = tested.difference(&rows).collect();
    assert!(unknown.is_empty(), "tests of no bound: {unknown:?}");
}
