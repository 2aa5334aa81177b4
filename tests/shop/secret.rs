//! Nothing that opens a door is written where many can read.

use std::path::{Path, PathBuf};

use outrigger_tests::Shop;
use outrigger_tests::receiver::Receiver;
use outrigger_tests::shop::order;

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

/// Everything of this run that must stay where it is.
fn secrets(shop: &Shop, access_tokens: &[String]) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    for token in access_tokens {
        // Not even a part: the signature alone would let the rest be guessed from logs.
        let signature = token.rsplit('.').next().unwrap();
        secrets.push((
            "the signature of an access token".to_owned(),
            signature.to_owned(),
        ));
    }
    for path in files(&shop.data.join("tokens")) {
        let token = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        secrets.push((path.display().to_string(), token));
    }
    let demo = std::fs::read_to_string(shop.data.join("demo.json")).unwrap();
    let demo: serde_json::Value = serde_json::from_str(&demo).unwrap();
    for user in demo["users"].as_array().unwrap() {
        secrets.push((
            "a password".to_owned(),
            user["password"].as_str().unwrap().to_owned(),
        ));
    }
    for path in files(&shop.data.join("keys")) {
        if let Ok(text) = std::fs::read_to_string(&path) {
            secrets.push((path.display().to_string(), text.trim().to_owned()));
        }
    }
    for path in files(&shop.data.join("registry")) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        if let Some(key) = text.split("PRIVATE KEY-----").nth(1) {
            let line: String = key
                .replace("\\n", "\n")
                .lines()
                .find(|line| line.len() > 20)
                .unwrap_or_default()
                .to_owned();
            secrets.push((path.display().to_string(), line));
        }
    }
    secrets.retain(|(_, secret)| secret.len() >= 8);
    secrets
}

#[tokio::test]
async fn no_token_password_or_key_is_in_a_log_a_span_or_a_metric() {
    let receiver = Receiver::start().await;
    let mut shop = Shop::builder()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
        .variable("SHOP_LOG", "debug")
        .start()
        .await;
    let alice = shop.token("alice").await;
    let bob = shop.token("bob").await;
    shop.order(&alice, &order("fine")).await.expect(201);
    shop.get("/v1/payments", &bob).await.expect(200);
    let forged = format!("{alice}x");
    shop.order(&forged, &order("refused")).await.expect(401);
    let wrong = r#"{"email":"alice@example.com","password":"correct horse battery"}"#;
    shop.request("POST", "/v1/sessions", None, Some(wrong.to_owned()))
        .await
        .expect(401);

    let mut secrets = secrets(&shop, &[alice, bob]);
    assert!(secrets.len() > 10, "{} secrets", secrets.len());
    secrets.push((
        "a wrong password".to_owned(),
        "correct horse battery".to_owned(),
    ));

    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir(shop.data.join("run")).unwrap() {
        let instance = entry.unwrap().file_name().into_string().unwrap();
        if !shop
            .data
            .join("run")
            .join(&instance)
            .join("addresses.json")
            .exists()
        {
            continue;
        }
        let health = shop.sidecar(&instance)["health"]
            .as_str()
            .unwrap()
            .to_owned();
        let metrics = reqwest::get(format!("http://{health}/metrics"))
            .await
            .unwrap();
        places.push((
            format!("metrics of {instance}"),
            metrics.bytes().await.unwrap().to_vec(),
        ));
    }
    shop.stop().await;
    for path in files(&shop.data.join("logs")) {
        places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    // What `up` itself prints to the person who started it holds the demo's passwords and the registry's token on purpose;
    // what the processes say through it may not.
    let said: Vec<_> = shop
        .output()
        .lines()
        .filter(|line| line.contains(" | "))
        .map(str::to_owned)
        .collect();
    assert!(said.len() > 10, "the processes said {} lines", said.len());
    places.push(("the run's output".to_owned(), said.join("\n").into_bytes()));
    for body in receiver.bodies() {
        places.push(("a span".to_owned(), body.to_vec()));
    }
    assert!(places.len() > 15, "{} places", places.len());
    let mut leaks = Vec::new();
    for (place, content) in &places {
        for (name, secret) in &secrets {
            if contains(content, secret) {
                leaks.push(format!("{name} is in {place}"));
            }
        }
    }
    leaks.dedup();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
