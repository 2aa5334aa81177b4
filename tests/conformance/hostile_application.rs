//! Applications that break HTTP/2, or stay just within it: the caller hears a status with a reason, its connection lives, and so does its
//! neighbour on the same connection to the application, unless that connection itself was broken; then it hears a status too.

/// The lines.
mod table;

use outrigger_tests::Mesh;
use outrigger_tests::client::{Answer, Call, Client};
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{Application, Heard, Script};
use tonic::Code;

use crate::answers::{UNHURRIED, answer, head, message, ok};
use table::{OK, farewells, table};

/// What becomes of a call that shares the connection to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    /// It is served.
    Served,
    /// Its connection is gone, and it hears so.
    Told,
}

/// One line: what the application says to a call that has begun, and what its caller and its neighbour come to.
struct Hostile {
    does: &'static str,
    application: Script,
    caller: (Code, &'static str),
    neighbour: Neighbour,
}

/// Serves one call after the other, slowly.
const NEIGHBOUR: Script = |heard, stream| match heard {
    Heard::Begun => head(stream),
    Heard::Ended => [message(stream), ok(stream)].concat(),
    _ => Vec::new(),
};

const ECHO: Script = |heard, stream| match heard {
    Heard::Ended => answer(stream),
    _ => Vec::new(),
};

fn call(name: &str) -> Call {
    Call::new("orders", "/test.Wire/Call").message(name.to_owned())
}

/// Enough of them between two failures keep the breaker closed.
async fn succeed(web: &Client) {
    for _ in 0..8 {
        web.call(call("echo")).await.expect_ok();
    }
}

/// What is wrong with the answers, if anything is.
fn differs(line: &Hostile, caller: &Answer, neighbour: &Answer) -> Option<String> {
    let came = (caller.code(), caller.reason());
    let is_told = neighbour.broke.is_none() && neighbour.code() != Code::Ok;
    let fate = match neighbour.code() {
        Code::Ok => Some(Neighbour::Served),
        _ if is_told => Some(Neighbour::Told),
        _ => None,
    };
    let differs = came != line.caller || fate != Some(line.neighbour);
    differs.then(|| {
        let (caller, neighbour) = (caller.summary(), neighbour.summary());
        format!(
            "{}: the caller got {caller}; its neighbour {neighbour}",
            line.does
        )
    })
}

#[tokio::test]
async fn b23_what_an_application_breaks_is_a_status_for_its_caller_and_nobody_elses() {
    let table = table();
    assert!(table.len() >= 30, "{}", table.len());
    let scripts = table.iter().map(|line| (line.does, line.application));
    let scripts = scripts.chain([("neighbour", NEIGHBOUR), ("echo", ECHO)]);
    let application = Application::start(scripts.collect::<Vec<_>>()).await;
    Mesh::builder()
        .service(Service::new("orders").application(&application.address))
        .client("web")
        .settings(UNHURRIED)
        .run(async |mesh| {
            let web = mesh.client("web");
            let mut failures = Vec::new();
            for line in &table {
                succeed(&web).await;
                let mut neighbour = web.open(&call("neighbour")).await.unwrap();
                neighbour.message(b"neighbour").await;
                neighbour.opened().await.unwrap();
                let caller = web.call(call(line.does)).await;
                let neighbour = neighbour.close().await;
                failures.extend(differs(line, &caller, &neighbour));
            }
            succeed(&web).await;
            assert!(failures.is_empty(), "{}", failures.join("\n"));
            // Refused, it is tried again at once, and once more by policy.
            for line in farewells().iter().filter(|line| line.caller != OK) {
                let heard = application.heard(line.does);
                let tries = heard.matches("begun").count();
                assert!((1..=3).contains(&tries), "{}: {heard}", line.does);
            }
        })
        .await;
}
