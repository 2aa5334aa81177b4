//! When streams that nobody wants any more are reset.

use super::super::abandoned::PATIENCE;
use super::*;
use crate::http2::script::{OK, head};

/// A client of an application that takes many streams, and has said so.
fn client() -> Side {
    let config = Config {
        max_concurrent_streams: 100,
        asks_before_resets: true,
        ..CONFIG
    };
    let mut side = Side::new(Role::Client, config);
    side.hear(&frame(kind::SETTINGS, 0, 0, &[])).unwrap();
    acknowledge(&mut side);
    side.written();
    side
}

fn acknowledge(side: &mut Side) {
    side.hear(&frame(kind::SETTINGS, flag::ACK, 0, &[]))
        .unwrap();
}

/// Kinds of the frames it wrote.
fn kinds(side: &mut Side) -> Vec<u8> {
    let (written, mut rest) = (side.written(), 0);
    let mut kinds = Vec::new();
    while let Some([a, b, c, kind, ..]) = written.get(rest..) {
        kinds.push(*kind);
        rest += 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
    }
    kinds
}

fn abandon(side: &mut Side, count: usize) {
    for _ in 0..count {
        let stream = side.connection.open(post(), false, true, side.now).unwrap();
        side.connection.abandon(stream, side.now);
    }
}

#[test]
fn what_was_read_is_reset_a_few_at_a_time() {
    let mut client = client();
    abandon(&mut client, 40);
    assert_eq!(
        kinds(&mut client)[..3],
        [kind::HEADERS, kind::SETTINGS, kind::HEADERS]
    );
    let mut resets = Vec::new();
    for _ in 0..5 {
        acknowledge(&mut client);
        let written = kinds(&mut client);
        let count = written
            .iter()
            .filter(|kind| **kind == kind::RST_STREAM)
            .count();
        let asked = written.last() == Some(&kind::SETTINGS);
        resets.push((count, asked));
    }
    // The first question went out behind the first stream.
    let expected = [(1, true), (16, true), (16, true), (7, false), (0, false)];
    assert_eq!(resets, expected);
    assert_eq!(client.connection.open_streams(), 0);
}

#[test]
fn what_came_before_an_answered_stream_is_reset_at_once() {
    let mut client = client();
    let [first, second, third] = [(); 3].map(|()| client.open(true).unwrap());
    client.written();
    client.hear(&head(second, 0, OK)).unwrap();
    client.connection.abandon(first, client.now);
    assert_eq!(kinds(&mut client), [kind::RST_STREAM]);
    client.connection.abandon(third, client.now);
    assert_eq!(kinds(&mut client), [kind::SETTINGS]);
}

/// One that is answered itself, and those before it.
#[test]
fn an_answer_has_all_reset_that_were_abandoned_before() {
    let mut client = client();
    abandon(&mut client, 20);
    client.written();
    client.hear(&head(25, 0, OK)).unwrap();
    assert_eq!(kinds(&mut client), [kind::RST_STREAM; 13]);
    client.hear(&head(39, 0, OK)).unwrap();
    assert_eq!(kinds(&mut client), [kind::RST_STREAM; 7]);
    assert_eq!(client.connection.open_streams(), 0);
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_them_in_the_end() {
    let mut client = client();
    abandon(&mut client, 20);
    client.written();
    let due = client.now + PATIENCE;
    assert_eq!(client.connection.reset_abandoned(client.now), Some(due));
    assert_eq!(client.connection.reset_abandoned(due), None);
    assert_eq!(kinds(&mut client), [kind::RST_STREAM; 20]);
    assert_eq!(client.connection.reset_abandoned(due), None);
}

/// However many were asked for, and no more than that.
#[test]
fn only_acknowledgements_that_nobody_asked_for_count_as_a_flood() {
    let mut client = client();
    for _ in 0..3 * CONFIG.tolerance.settings_frames {
        abandon(&mut client, 1);
        acknowledge(&mut client);
    }
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[]);
    let more = (0..).find(|_| client.hear(&ack).is_err());
    // Its own SETTINGS came before.
    assert_eq!(more, Some(CONFIG.tolerance.settings_frames - 1));
}
