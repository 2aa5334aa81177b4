//! Keys and values.

use serde_json::json;

use crate::api::Api;

pub(crate) async fn keys_are_written_read_listed_and_deleted(api: &Api) {
    api.put_text("/v1/kv/t/a", "hello").await.says(true);
    api.put_text("/v1/kv/t/b?flags=7", "x").await.says(true);
    api.put_text("/v1/kv/t/d/e", "").await.says(true);
    let a = json!({"Key": "t/a", "Flags": 0, "Value": "aGVsbG8=", "LockIndex": 0});
    let e = json!({"Key": "t/d/e", "Value": null});
    api.get("/v1/kv/t/a").await.holds(json!([a]));
    api.get("/v1/kv/t/?recurse")
        .await
        .holds(json!([a, {"Key": "t/b", "Flags": 7}, e]));
    api.get("/v1/kv/t/?keys")
        .await
        .says(json!(["t/a", "t/b", "t/d/e"]));
    api.get("/v1/kv/t/?keys&separator=/")
        .await
        .says(json!(["t/a", "t/b", "t/d/"]));
    api.get("/v1/kv/?keys&separator=/")
        .await
        .says(json!(["t/"]));
    let raw = api.get("/v1/kv/t/a?raw").await;
    raw.is(200, "hello");
    assert_eq!(raw.header("content-type"), Some("text/plain"));
    assert_eq!(raw.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(raw.header("content-security-policy"), Some("sandbox"));
    for path in [
        "/v1/kv/none",
        "/v1/kv/none?raw",
        "/v1/kv/none?recurse",
        "/v1/kv/none?keys",
    ] {
        api.get(path).await.is(404, "");
    }
    api.delete("/v1/kv/t/a").await.says(true);
    api.delete("/v1/kv/t/a").await.says(true);
    api.delete("/v1/kv/t/?recurse").await.says(true);
    api.get("/v1/kv/?keys").await.says(json!([]));
    api.put_text("/v1/kv/%E2%82%AC%20x", "u").await.says(true);
    api.get("/v1/kv/%E2%82%AC%20x")
        .await
        .holds(json!([{"Key": "€ x"}]));
    api.delete("/v1/kv/%E2%82%AC%20x").await.says(true);
}

pub(crate) async fn compare_and_set_guards_a_key(api: &Api) {
    api.put_text("/v1/kv/c?cas=7", "1").await.says(false);
    api.put_text("/v1/kv/c?cas=0", "1").await.says(true);
    api.put_text("/v1/kv/c?cas=0", "2").await.says(false);
    let index = api.get("/v1/kv/c").await.json()[0]["ModifyIndex"]
        .as_u64()
        .unwrap();
    assert_eq!(api.get("/v1/kv/c").await.index(), index);
    api.put_text(&format!("/v1/kv/c?cas={index}"), "2")
        .await
        .says(true);
    api.delete(&format!("/v1/kv/c?cas={index}"))
        .await
        .says(false);
    let newest = api.get("/v1/kv/c").await.json();
    assert_eq!(newest[0]["CreateIndex"].as_u64(), Some(index));
    let index = newest[0]["ModifyIndex"].as_u64().unwrap();
    api.delete(&format!("/v1/kv/c?cas={index}"))
        .await
        .says(true);
    api.delete("/v1/kv/c?cas=5").await.says(true);
}

pub(crate) async fn wrong_requests_are_refused_in_consuls_words(api: &Api) {
    for query in ["cas=x", "flags=x"] {
        api.put_text(&format!("/v1/kv/w?{query}"), "z")
            .await
            .is(500, "strconv.ParseUint: parsing \"x\": invalid syntax");
    }
    api.put_text("/v1/kv/w?cas=1&acquire=x", "z")
        .await
        .tells(400, "Conflicting flags: acquire=x&cas=1");
    api.delete("/v1/kv/w?cas=1&recurse")
        .await
        .tells(400, "Conflicting flags: cas=1&recurse=");
    api.get("/v1/kv/").await.is(400, "Missing key name");
    api.delete("/v1/kv/").await.is(400, "Missing key name");
    let most = 512 * 1024;
    api.put_text("/v1/kv/big", &"x".repeat(most))
        .await
        .says(true);
    api.put_text("/v1/kv/big", &"x".repeat(most + 1))
        .await
        .tells(
            413,
            "Request body(524289 bytes) too large, max size: 524288 bytes.",
        );
    api.delete("/v1/kv/big").await.says(true);
}
