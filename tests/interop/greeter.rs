//! A Python, a Node and a Rust program behind sidecars, none of which knows of a mesh.

use std::path::Path;

use outrigger_tests::greeter::{GreetRequest, Greeter};
use outrigger_tests::{Shop, eventually, external, settings};
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

const PROGRAMS: [&str; 3] = ["python", "node", "rust"];

/// Everybody may call everybody, and `test`, which only calls, all of them.
fn mesh_file(folder: &Path, python: &Path, node: &Path) -> std::path::PathBuf {
    let programs = settings::root().join("tests/programs");
    let rust = env!("CARGO_BIN_EXE_greeter");
    let service = |name: &str, command: Vec<String>, env: serde_json::Value| {
        let upstreams: Vec<_> = PROGRAMS
            .iter()
            .filter(|other| **other != name)
            .enumerate()
            .map(|(index, other)| json!({"name": other, "bind": bind(name, index)}))
            .collect();
        json!({"command": command, "env": env, "listen": "tcp", "protocol": "grpc", "check": {"tcp": true}, "upstreams": upstreams})
    };
    let text = |path: &Path| path.display().to_string();
    let file = json!({
        "version": 1,
        "intentions": "deny",
        "registry": "embedded",
        "services": {
            "python": service("python", vec![text(python), text(&programs.join("greeter.py"))], json!({"PYTHONUNBUFFERED": "1"})),
            "node": service("node", vec![text(node), text(&programs.join("greeter.js"))], json!({})),
            "rust": service("rust", vec![rust.to_owned()], json!({})),
        },
    });
    let path = folder.join("mesh.yaml");
    // JSON is YAML.
    std::fs::write(&path, serde_json::to_string_pretty(&file).unwrap()).unwrap();
    path
}

/// A wish only: a port that is taken moves up.
fn bind(name: &str, index: usize) -> usize {
    15_600 + 10 * PROGRAMS.iter().position(|other| *other == name).unwrap() + index
}

#[tokio::test]
async fn python_node_and_rust_call_each_other_through_the_mesh() {
    let (Some(python), Some(node)) = (external("python"), external("node")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = mesh_file(folder.path(), &python, &node);
    let mut shop = Shop::builder()
        .argument("-f")
        .argument(file.display().to_string())
        .start()
        .await;

    // What a program would dial, the test dials: the ports that the sidecars hold for their own applications.
    let mut wrong = Vec::new();
    for caller in PROGRAMS {
        for (callee, address) in shop.sidecar(&format!("{caller}-v1-0"))["upstreams"]
            .as_object()
            .unwrap()
        {
            let mut greeter = Greeter::connect(address.as_str().unwrap()).await.unwrap();
            // On from there to everybody: each pair of stacks meets in both directions.
            for next in PROGRAMS.iter().filter(|next| *next != callee) {
                let request = GreetRequest {
                    name: "Ada".to_owned(),
                    via: vec![(*next).to_owned()],
                };
                let answer = greeter.greet(Request::new(request)).await;
                let expected = format!("{callee}({next}(hello Ada))");
                match answer {
                    Ok(answer) if answer.get_ref().text == expected => {}
                    other => wrong.push(format!("{caller}: {expected}: {other:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    for (callee, address) in shop.sidecar("rust-v1-0")["upstreams"].as_object().unwrap() {
        chats_and_refuses(callee, address.as_str().unwrap()).await;
    }
    crossed_the_mesh(&shop).await;
    shop.stop().await;
}

async fn chats_and_refuses(callee: &str, address: &str) {
    let mut greeter = Greeter::connect(address).await.unwrap();
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let opening = greeter.chat(ReceiverStream::new(requests));
    let said = |name: &str| GreetRequest {
        name: name.to_owned(),
        via: Vec::new(),
    };
    // Some servers send their headers with the first message only.
    send.send(said("0")).await.unwrap();
    let mut answers = opening.await.unwrap().into_inner();
    for turn in 0..20 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.text, format!("{callee}(hello {turn})"));
        send.send(said(&(turn + 1).to_string())).await.unwrap();
    }
    drop(send);
    while answers.message().await.unwrap().is_some() {}

    let refusal = greeter
        .refuse(Request::new(said("reason")))
        .await
        .unwrap_err();
    assert_eq!(
        refusal.code(),
        Code::FailedPrecondition,
        "{callee}: {refusal:?}"
    );
    assert_eq!(refusal.message(), "not today: é", "{callee}");
    assert_eq!(
        refusal.metadata().get("x-why").unwrap(),
        "reason",
        "{callee}"
    );
}

/// Every program was called over its sidecar's mTLS port.
async fn crossed_the_mesh(shop: &Shop) {
    for name in PROGRAMS {
        let health = shop.sidecar(&format!("{name}-v1-0"))["health"]
            .as_str()
            .unwrap()
            .to_owned();
        let calls = eventually("the sidecar counts", async || {
            let text = reqwest::get(format!("http://{health}/metrics"))
                .await
                .map_err(|error| error.to_string())?;
            let text = text.text().await.map_err(|error| error.to_string())?;
            outrigger_tests::sidecar::metric(&text, "grpc_server_call_started_total", &[])
                .ok_or(text)
        })
        .await;
        assert!(calls >= 4.0, "{name}: {calls}");
    }
}
