//! In which order an application and its sidecar are told to end: the sidecar stays for as long as its application may need it.

use std::time::Duration;

use outrigger_tests::client::{Call, Client};
use outrigger_tests::eventually::holds;
use outrigger_tests::{Mesh, eventually, process};
use tokio::time::Instant;

use crate::ECHO;

/// Longer than any of these tests takes: who ends before did not wait for it.
const LONG: &str = "[drain]\npropagation = \"200ms\"\ngrace = \"60s\"\n";
const SHORT: &str = "[drain]\npropagation = \"200ms\"\ngrace = \"2s\"\n";

async fn is_gone(pid: u32) {
    eventually("the sidecar has ended", async || {
        holds(!process::exists(pid), "it runs")
    })
    .await;
}

async fn call(client: &Client) {
    client.unary("orders", ECHO, "").await.expect_ok();
}

#[tokio::test]
async fn d6_told_first_a_sidecar_serves_its_application_until_the_last_connection_is_gone() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(LONG)
        .run(async |mesh| {
            let pid = mesh.client_sidecar("web").pid();
            // A program of its own: the harness's keeps its connection.
            let web = Client::new(mesh.client("web").address().clone());
            let mut stream = web
                .open(&Call::new("orders", "/test.Echo/Bidi"))
                .await
                .unwrap();
            mesh.client_sidecar("web").leaves().await;
            // The time for its callers to move on is over.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                call(&web).await;
            }
            stream.message(b"still").await;
            assert_eq!(stream.next().await.unwrap(), "still");
            // Even a new connection of the application is taken.
            let late = Client::new(mesh.client("web").address().clone());
            call(&late).await;
            drop(late);
            assert!(process::exists(pid), "it left before its application");
            stream.close().await.expect_ok();
            assert!(process::exists(pid), "it left before its application");
            drop(web);
            is_gone(pid).await;
        })
        .await;
}

#[tokio::test]
async fn d6_an_application_that_stays_is_left_at_the_end_of_the_grace() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(SHORT)
        .run(async |mesh| {
            let pid = mesh.client_sidecar("web").pid();
            let web = Client::new(mesh.client("web").address().clone());
            let mut stream = web
                .open(&Call::new("orders", "/test.Echo/Bidi"))
                .await
                .unwrap();
            stream.message(b"here").await;
            assert_eq!(stream.next().await.unwrap(), "here");
            let told = Instant::now();
            mesh.client_sidecar("web").leaves().await;
            is_gone(pid).await;
            let stayed = told.elapsed();
            assert!(stayed > Duration::from_secs(2), "it stayed {stayed:?} only");
            let answer = stream.close().await;
            assert_ne!(answer.code(), tonic::Code::Ok, "{}", answer.summary());
        })
        .await;
}

#[tokio::test]
async fn d6_told_after_its_application_or_with_it_a_sidecar_ends_at_once() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(LONG)
        .run(async |mesh| {
            let pid = mesh.client_sidecar("web").pid();
            let web = Client::new(mesh.client("web").address().clone());
            call(&web).await;
            let begun = Instant::now();
            // At the same moment: whoever is first, nothing is waited for.
            mesh.client_sidecar("web").begin_drain();
            drop(web);
            is_gone(pid).await;
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(20), "it took {took:?}");
        })
        .await;
}
