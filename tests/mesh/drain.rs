//! Leaving takes nobody's call along.

use std::time::Duration;

use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, eventually};
use tokio::task::JoinSet;

use crate::ECHO;

#[tokio::test]
async fn a_call_in_progress_is_finished() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            web.unary("orders", ECHO, "").await.expect_ok();
            mesh.upstream("orders").hang();
            let mut calls = JoinSet::new();
            calls.spawn(async move { web.unary("orders", ECHO, "last").await });
            eventually("the call has arrived", async || {
                holds(
                    mesh.upstream("orders").handled() == 2,
                    mesh.upstream("orders").handled(),
                )
            })
            .await;
            let sidecar = mesh.instance("orders", 0).sidecar.take().unwrap();
            sidecar.leaves().await;
            mesh.upstream("orders").resume();
            let answer = calls.join_next().await.unwrap().unwrap();
            assert_eq!(answer.expect_ok().text(), "last");
            sidecar.end().await;
        })
        .await;
}

#[tokio::test]
async fn an_instance_leaves_and_another_comes_without_a_failed_call() {
    Mesh::builder()
        .service(Service::new("orders").instances(2))
        .client("web")
        .settings("[drain]\npropagation = \"1s\"\ngrace = \"3s\"")
        .run(async |mesh| {
            let web = mesh.client("web");
            let load = Load::start(200, move |_| (web.clone(), Call::new("orders", ECHO)));
            for round in 0..2 {
                mesh.start(&Service::new("orders")).await;
                let sidecar = mesh.instance("orders", round).sidecar.take().unwrap();
                let begun = tokio::time::Instant::now();
                sidecar.stop().await;
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "{:?}",
                    begun.elapsed()
                );
            }
            load.stop().await.expect_no_failures();
        })
        .await;
}
