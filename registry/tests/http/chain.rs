//! Discovery chains over HTTP. The compiler's own rules are in `vector`.

use serde_json::json;

use crate::api::Api;

pub(crate) async fn a_service_nobody_knows_has_a_default_chain(api: &Api) {
    let answer = api.get("/v1/discovery-chain/nobody").await;
    let id = "nobody.default.default.dc1";
    answer.holds(json!({"Chain": {
        "ServiceName": "nobody", "Namespace": "default", "Partition": "default", "Datacenter": "dc1", "Default": true, "Protocol": "tcp",
        "StartNode": format!("resolver:{id}"),
        "Nodes": {format!("resolver:{id}"): {"Type": "resolver", "Name": id, "Resolver": {"Default": true, "ConnectTimeout": "5s", "Target": id}}},
        "Targets": {id: {"ID": id, "Service": "nobody", "Namespace": "default", "Partition": "default", "Datacenter": "dc1"}},
    }}));
    let roots = api.get("/v1/connect/ca/roots").await.json();
    let sni = format!(
        "nobody.default.dc1.internal.{}",
        roots["TrustDomain"].as_str().unwrap()
    );
    assert_eq!(answer.json()["Chain"]["Targets"][id]["SNI"], sni.as_str());
    api.get("/v1/discovery-chain/nobody?compile-dc=dc2")
        .await
        .holds(json!({"Chain": {"Datacenter": "dc2"}}));
}

async fn versions(api: &Api, name: &str) {
    api.write(json!({"Kind": "service-defaults", "Name": name, "Protocol": "http"}))
        .await;
    api.write(json!({
        "Kind": "service-resolver", "Name": name, "DefaultSubset": "v1", "ConnectTimeout": "3s",
        "Subsets": {"v1": {"Filter": "Service.Meta.version == v1"}, "v2": {"Filter": "Service.Meta.version == v2", "OnlyPassing": true}},
    }))
    .await;
    api.write(json!({"Kind": "service-splitter", "Name": name, "Splits": [
        {"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}]}))
        .await;
}

async fn forget(api: &Api, name: &str) {
    for kind in ["service-splitter", "service-resolver", "service-defaults"] {
        api.delete(&format!("/v1/config/{kind}/{name}"))
            .await
            .says(json!({}));
    }
}

pub(crate) async fn a_splitter_leads_to_subsets(api: &Api) {
    versions(api, "split").await;
    let (v1, v2) = (
        "v1.split.default.default.dc1",
        "v2.split.default.default.dc1",
    );
    api.get("/v1/discovery-chain/split").await.holds(json!({"Chain": {
        "Protocol": "http", "Default": null, "StartNode": "splitter:split.default.default",
        "Nodes": {
            "splitter:split.default.default": {"Type": "splitter", "Name": "split.default.default", "Splits": [
                {"Weight": 90, "Definition": {"Weight": 90, "ServiceSubset": "v1"}, "NextNode": format!("resolver:{v1}")},
                {"Weight": 10, "Definition": {"Weight": 10, "ServiceSubset": "v2"}, "NextNode": format!("resolver:{v2}")},
            ]},
            format!("resolver:{v1}"): {"Type": "resolver", "Resolver": {"ConnectTimeout": "3s", "Target": v1}},
        },
        "Targets": {
            v1: {"ServiceSubset": "v1", "Subset": {"Filter": "Service.Meta.version == v1"}},
            v2: {"ServiceSubset": "v2", "Subset": {"Filter": "Service.Meta.version == v2", "OnlyPassing": true}},
        },
    }}));
    forget(api, "split").await;
}

pub(crate) async fn overrides_change_the_chain(api: &Api) {
    versions(api, "over").await;
    let path = "/v1/discovery-chain/over";
    let v1 = "v1.over.default.default.dc1";
    let plain = api.post(path, json!({})).await;
    assert!(plain.json()["Chain"].get("CustomizationHash").is_none());
    let tcp = api.post(path, json!({"OverrideProtocol": "tcp"})).await;
    tcp.holds(json!({"Chain": {"Protocol": "tcp", "StartNode": format!("resolver:{v1}")}}));
    assert!(
        !tcp.json()["Chain"]["CustomizationHash"]
            .as_str()
            .unwrap()
            .is_empty()
    );
    for timeout in [json!("7s"), json!(7_000_000_000_u64)] {
        let answer = api
            .post(
                path,
                json!({"OverrideConnectTimeout": timeout, "Unknown": 1}),
            )
            .await;
        answer.holds(json!({"Chain": {"Targets": {v1: {"ConnectTimeout": "7s"}}}}));
    }
    api.post(path, json!({"OverrideMeshGateway": {"Mode": "x"}}))
        .await
        .is(400, "Invalid OverrideMeshGateway.Mode parameter");
    api.send("POST", path, &[], "{")
        .await
        .is(400, "Request decoding failed: unexpected EOF");
    forget(api, "over").await;
}

pub(crate) async fn an_entry_that_is_needed_stays(api: &Api) {
    versions(api, "needed").await;
    api.delete("/v1/config/service-resolver/needed")
        .await
        .tells(
            500,
            "service \"needed\" does not have a subset named \"v1\"",
        );
    api.delete("/v1/config/service-defaults/needed")
        .await
        .tells(
            500,
            "that does not permit advanced routing or splitting behavior",
        );
    api.get("/v1/config/service-resolver/needed")
        .await
        .holds(json!({"DefaultSubset": "v1"}));
    forget(api, "needed").await;
}
