//! The case list of h2spec, by its ids, as frames of our own: 44 generic, 95 http2, 8 hpack.

mod exchange;
mod frame;
mod generic;
mod hpack;
mod stream;
mod structure;

use crate::case::Case;
use crate::listeners;

fn cases() -> Vec<Case> {
    [
        generic::cases(),
        structure::cases(),
        stream::cases(),
        frame::cases(),
        exchange::cases(),
        hpack::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn c1_inbound_outbound_and_edge_conform_to_http2_in_all_cases_of_h2spec() {
    let cases = cases();
    let of = |suite: &str| {
        cases
            .iter()
            .filter(|case| case.id.starts_with(suite))
            .count()
    };
    assert_eq!([of("generic/"), of("http2/"), of("hpack/")], [44, 95, 8]);
    listeners::conform(cases).await;
}
