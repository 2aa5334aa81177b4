//! `outrigger run`: an application and its sidecar as one process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, binary, eventually};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::Code;

use crate::ECHO;

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port nobody has.
async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn run(file: &Path, options: &[&str], command: &[&str]) -> Child {
    Command::new(binary::outrigger())
        .args(["run", "--config"])
        .arg(file)
        .args(options)
        .arg("--")
        .args(command)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn code(mut child: Child) -> Option<i32> {
    let status = timeout(PATIENCE, child.wait())
        .await
        .expect("an end in time");
    status.unwrap().code()
}

fn send(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{signal} {id}")])
        .status();
    assert!(sent.unwrap().success());
}

/// A mesh that knows `orders`, which nobody runs yet.
async fn with_mesh(test: impl AsyncFnOnce(&mut Mesh, PathBuf, String)) {
    Mesh::builder()
        .service(Service::new("orders").instances(0))
        .client("web")
        .run(async |mesh| {
            let address = free_address().await;
            let file = mesh.sidecar_file("orders", &address);
            test(mesh, file, address).await;
        })
        .await;
}

#[tokio::test]
async fn a_job_finds_its_mesh_and_gives_its_own_exit_code() {
    with_mesh(async |_, file, address| {
        let (_, port) = address.rsplit_once(':').unwrap();
        let script = format!(
            "test -n \"$OUTRIGGER_OUTBOUND_ADDR\" && test \"$PORT\" = {port} && test \"$OUTRIGGER_LISTEN\" = {address} && exit 7; exit 1"
        );
        assert_eq!(code(run(&file, &[], &["sh", "-c", &script])).await, Some(7));
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_127() {
    with_mesh(async |_, file, _| {
        let child = run(&file, &[], &["/nowhere/at/all"]);
        assert_eq!(code(child).await, Some(127));
    })
    .await;
}

#[tokio::test]
async fn signals_are_passed_on() {
    with_mesh(async |_, file, address| {
        // A shell alone can wait for what has stopped itself.
        let script = "trap 'kill -9 $!; exit 9' USR1; sh -c 'kill -STOP $$' & : > \"$0\"; wait";
        let mark = file.with_file_name("started");
        let child = run(&file, &[], &["sh", "-c", script, mark.to_str().unwrap()]);
        eventually("the application has begun", async || {
            mark.exists().then_some(()).ok_or("not yet")
        })
        .await;
        send(&child, "USR1");
        assert_eq!(code(child).await, Some(9));
        drop(address);
    })
    .await;
}

#[tokio::test]
async fn an_application_serves_until_it_is_told_to_end_and_is_forgotten() {
    with_mesh(async |mesh, file, _| {
        let child = run(&file, &[], &[env!("CARGO_BIN_EXE_upstream"), "orders"]);
        let web = mesh.client("web");
        eventually("it serves", async || {
            let answer = web.unary("orders", ECHO, "hello").await;
            match answer.code() {
                Code::Ok => Ok(()),
                _ => Err(answer.summary()),
            }
        })
        .await;
        send(&child, "TERM");
        // It has no handler of its own.
        assert_eq!(code(child).await, Some(128 + 15));
        eventually("the registry has forgotten it", async || {
            let found = mesh.registry.get("/v1/health/service/orders").await?;
            let instances = found.as_array().map_or(0, Vec::len);
            match instances {
                0 => Ok(()),
                _ => Err(found.to_string()),
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn without_a_registry_it_gives_up_in_time() {
    with_mesh(async |mesh, file, _| {
        let text = std::fs::read_to_string(&file).unwrap();
        let nobody = format!("http://{}", free_address().await);
        std::fs::write(&file, text.replace(&mesh.registry.address(), &nobody)).unwrap();
        let child = run(&file, &["--start-timeout", "1s"], &["sh", "-c", "exit 7"]);
        assert_eq!(code(child).await, Some(3));
    })
    .await;
}
