//! Config entries: decode, normalise, validate, compare and set.

use serde_json::json;

use crate::api::Api;

pub(crate) async fn entries_are_written_read_listed_and_deleted(api: &Api) {
    let list = "/v1/config/service-defaults";
    api.get(list).await.says(json!([]));
    // Keys in any case, snake_case aliases, weakly typed values.
    api.write(json!({"kind": "service-defaults", "name": "listed", "protocol": "HTTP", "max_inbound_connections": "5"})).await;
    let entry = json!({"Kind": "service-defaults", "Name": "listed", "Protocol": "http", "MaxInboundConnections": 5});
    let one = api.get(&format!("{list}/listed")).await;
    one.holds(entry.clone());
    assert!(one.json()["Hash"].as_u64().is_some() || api.real);
    assert!(
        one.json()["ModifyIndex"].as_u64().unwrap() >= one.json()["CreateIndex"].as_u64().unwrap()
    );
    api.get(list).await.holds(json!([entry]));
    if !api.real {
        // Newer than the Consul that is compared with.
        api.filtered(list, "Protocol == grpc").await.says(json!([]));
        api.filtered(list, "Protocol == http")
            .await
            .holds(json!([entry]));
        api.filtered("/v1/config/mesh", "Name == x")
            .await
            .is(500, "filtering not supported for config entry kind=mesh");
    }
    api.write(json!({"Kind": "proxy-defaults", "Name": "", "Config": {"protocol": "http", "Anything": 1}})).await;
    api.get("/v1/config/proxy-defaults/global").await.holds(json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http", "Anything": 1}}));
    api.write(json!({"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_2"}}}))
        .await;
    let mesh = api.get("/v1/config/mesh/mesh").await;
    mesh.holds(json!({"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_2"}}}));
    assert!(mesh.json().get("Name").is_none());
    for path in [
        "service-defaults/listed",
        "proxy-defaults/global",
        "mesh/mesh",
        "service-defaults/never-was",
    ] {
        api.delete(&format!("/v1/config/{path}"))
            .await
            .says(json!({}));
    }
    api.get(&format!("{list}/listed")).await.is(
        404,
        "Config entry not found for \"service-defaults\" / \"listed\"",
    );
    api.get("/v1/config/bogus")
        .await
        .is(500, "invalid config entry kind: bogus");
    api.get("/v1/config/bogus/x")
        .await
        .is(500, "invalid config entry kind: bogus");
    api.delete("/v1/config/bogus/x")
        .await
        .tells(400, "invalid config entry kind: bogus");
}

pub(crate) async fn compare_and_set_guards_a_write(api: &Api) {
    let entry =
        |protocol: &str| json!({"Kind": "service-defaults", "Name": "cas", "Protocol": protocol});
    api.put("/v1/config?cas=7", entry("http")).await.says(false);
    api.put("/v1/config?cas=0", entry("http")).await.says(true);
    api.put("/v1/config?cas=0", entry("grpc")).await.says(false);
    let read = api.get("/v1/config/service-defaults/cas").await.json();
    let index = read["ModifyIndex"].as_u64().unwrap();
    api.put(&format!("/v1/config?cas={index}"), entry("grpc"))
        .await
        .says(true);
    api.put(&format!("/v1/config?cas={index}"), entry("http2"))
        .await
        .says(false);
    api.get("/v1/config/service-defaults/cas")
        .await
        .holds(json!({"Protocol": "grpc"}));
    api.put("/v1/config?cas=x", entry("http"))
        .await
        .is(500, "strconv.ParseUint: parsing \"x\": invalid syntax");
    let path = "/v1/config/service-defaults/cas";
    api.delete(&format!("{path}?cas={index}")).await.says(false);
    let index = api.get(path).await.json()["ModifyIndex"].as_u64().unwrap();
    api.delete(&format!("{path}?cas={index}")).await.says(true);
    assert_eq!(api.get(path).await.status, 404);
}

pub(crate) async fn wrong_entries_are_refused_in_consuls_words(api: &Api) {
    api.write(json!({"Kind": "service-defaults", "Name": "w", "Protocol": "http"}))
        .await;
    let decoding = "Request decoding failed: ";
    for (body, text) in [
        (
            json!({}),
            "Payload does not contain a kind/Kind key at the top level",
        ),
        (
            json!({"Kind": "bogus", "Name": "x"}),
            "invalid config entry kind: bogus",
        ),
        (
            json!({"Kind": "service-defaults", "Name": "w", "Protocl": "http"}),
            "1 error occurred:\n\t* invalid config key \"Protocl\"\n\n",
        ),
        (
            json!({"Kind": "service-defaults", "Name": "w", "Namespace": "x"}),
            "1 error occurred:\n\t* invalid config key \"Namespace\", namespaces are a consul enterprise feature\n\n",
        ),
        (
            json!({"Kind": "mesh", "Name": "x"}),
            "1 error occurred:\n\t* invalid config key \"Name\"\n\n",
        ),
    ] {
        api.put("/v1/config", body)
            .await
            .is(400, &format!("{decoding}{text}"));
    }
    api.put_text("/v1/config", "{")
        .await
        .is(400, &format!("{decoding}unexpected EOF"));
    let of = |kind: &str, rest: serde_json::Value| {
        let mut entry = json!({"Kind": kind, "Name": "w"});
        entry
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        entry
    };
    for (entry, text) in [
        (of("service-splitter", json!({})), "no splits configured"),
        (
            of("service-splitter", json!({"Splits": [{"Weight": 99}]})),
            "the sum of all split weights must be 100, not 99.000000",
        ),
        (
            of(
                "service-splitter",
                json!({"Splits": [{"Weight": 50}, {"Weight": 50}]}),
            ),
            "split destination occurs more than once: service=\"w\", subset=\"\", namespace=\"\", partition=\"\"",
        ),
        (
            of(
                "service-splitter",
                json!({"Splits": [{"Weight": 100, "ServiceSubset": "v1"}]}),
            ),
            "service \"w\" does not have a subset named \"v1\"",
        ),
        (
            of("service-resolver", json!({"Subsets": {"V1!": {}}})),
            "Subset \"V1!\" is invalid: must be 63 characters or fewer, begin or end with lower case alphanumeric characters, and contain lower case alphanumeric characters or '-' in between",
        ),
        (
            of(
                "service-resolver",
                json!({"Subsets": {"v1": {"Filter": "Service.Meta.version =="}}}),
            ),
            "Filter for subset \"v1\" is not a valid expression: ",
        ),
        (
            of("service-resolver", json!({"ConnectTimeout": "-1s"})),
            "Bad ConnectTimeout",
        ),
        (
            of(
                "service-router",
                json!({"Routes": [{"Match": {"HTTP": {"PathExact": "x"}}}]}),
            ),
            "Route[0] PathExact doesn't start with '/'",
        ),
        (of("service-intentions", json!({})), "At least one source"),
        (
            of(
                "service-intentions",
                json!({"Sources": [{"Name": "a", "Action": "allow"}, {"Name": "a", "Action": "deny"}]}),
            ),
            "Sources[1] defines \"a\" more than once",
        ),
        (
            of(
                "service-intentions",
                json!({"Sources": [{"Name": "a", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/", "Header": [{"Name": "x"}]}}]}]}),
            ),
            "Sources[0].Permissions[0].HTTP.Header[0] should only contain one of Present, Exact, Prefix, Suffix",
        ),
        (
            of("service-resolver", json!({"Redirect": {}})),
            "Redirect is empty",
        ),
        (
            of(
                "service-intentions",
                json!({"Sources": [{"Name": "a", "Permissions": [{"Action": "allow"}]}]}),
            ),
            "Sources[0].Permissions[0].HTTP is required",
        ),
        (
            of(
                "service-intentions",
                json!({"Sources": [{"Name": "a", "Permissions": [{"Action": "allow", "HTTP": {}}]}]}),
            ),
            "Sources[0].Permissions[0].HTTP should not be empty",
        ),
        (
            json!({"Kind": "proxy-defaults", "Name": "x"}),
            "invalid name (\"x\"), only \"global\" is supported",
        ),
        (
            json!({"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "bogus"}}}),
            "error in incoming TLS configuration: no matching TLS version found for bogus, please specify one of [TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3]",
        ),
        (
            json!({"Kind": "service-splitter", "Name": "plain", "Splits": [{"Weight": 100}]}),
            "discovery chain \"plain\" uses a protocol \"tcp\" that does not permit advanced routing or splitting behavior",
        ),
        (
            json!({"Kind": "service-intentions", "Name": "plain", "Sources": [{"Name": "a", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]}]}),
            "service \"plain\" has protocol \"tcp\", which is incompatible with L7 intentions permissions",
        ),
    ] {
        api.put("/v1/config", entry).await.tells(500, text);
    }
    api.delete("/v1/config/service-defaults/w")
        .await
        .says(json!({}));
}

pub(crate) async fn a_write_that_changes_nothing_moves_no_index(api: &Api) {
    let entry = json!({"Kind": "service-defaults", "Name": "same", "Protocol": "http"});
    api.write(entry.clone()).await;
    let path = "/v1/config/service-defaults/same";
    let first = api.get(path).await;
    api.write(entry).await;
    let second = api.get(path).await;
    assert_eq!((first.index(), first.body), (second.index(), second.body));
    api.put_text("/v1/kv/same", "x").await.says(true);
    let first = api.get("/v1/kv/same").await;
    api.put_text("/v1/kv/same", "x").await.says(true);
    let second = api.get("/v1/kv/same").await;
    assert_eq!((first.index(), first.body), (second.index(), second.body));
    api.delete("/v1/kv/same").await.says(true);
    api.delete(path).await.says(json!({}));
}
