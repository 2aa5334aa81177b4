use super::*;

const WHOLE: &str = r#"
service = "orders"
instance = "orders-v1-0"
version = "v1"
port_search = 64
report = "/run/orders-v1-0/addresses.json"
[registry]
address = "http://127.0.0.1:8500"
token_file = "/tokens/orders-v1-0"
[application]
address = "unix:/run/app.sock"
protocol = "grpc"
contract = "/contracts/orders.binpb"
check = { grpc = "" }
[inbound]
bind = "127.0.0.1:21000"
[outbound]
bind = "unix:/run/outbound.sock"
[health]
bind = "127.0.0.1:15020"
[edge]
plain = "127.0.0.1:8080"
tls = "127.0.0.1:8443"
certificate = "/run/edge/tls.crt"
key = "/run/edge/tls.key"
[[upstream]]
name = "payments"
bind = "127.0.0.1:15201"
protocol = "grpc"
contract = "/contracts/payments.binpb"
[[upstream]]
name = "inventory"
[intentions]
default = "deny"
[trace]
sample = 1.0
[drain]
propagation = "0s"
grace = "3s"
[limits.mesh]
max_concurrent_streams = 100
"#;

const LEAST: &str =
    "service = \"web\"\ninstance = \"web-0\"\n[registry]\naddress = \"http://127.0.0.1:8500\"\n";

#[test]
fn every_documented_key_is_read() {
    let config = Config::parse(WHOLE).unwrap();
    let application = config.application.as_ref().unwrap();
    assert_eq!(application.address, Address::Unix("/run/app.sock".into()));
    assert_eq!(application.protocol, AppProtocol::Grpc);
    assert_eq!(application.check, Some(Check::Grpc(String::new())));
    assert_eq!(config.proxy_id(), "orders-v1-0-sidecar-proxy");
    assert_eq!(config.upstreams.len(), 2);
    assert_eq!(config.upstreams[0].protocol, Some(AppProtocol::Grpc));
    assert_eq!(config.drain.grace, Duration::from_secs(3));
    assert_eq!(config.limits.mesh().max_concurrent_streams, 100);
    assert_eq!(config.limits.app_out().max_concurrent_streams, 1000);
    let edge = config.edge.unwrap();
    assert_eq!(edge.tls.unwrap().port(), 8443);
    assert_eq!(edge.key.unwrap(), Path::new("/run/edge/tls.key"));
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = Config::parse(LEAST).unwrap();
    assert!(config.application.is_none());
    assert_eq!(config.version, "v1");
    assert_eq!(config.health.bind.port(), 15020);
    assert_eq!(config.intentions.default, DefaultIntention::Deny);
    assert_eq!(config.drain.grace, Duration::from_secs(30));
}

#[test]
fn errors_name_key_value_and_expectation() {
    let cases = [
        (
            "[drain]\ngrace = \"10\"",
            "sidecar.drain.grace = \"10\": expected a duration such as 10s",
        ),
        (
            "[outbound]\nbind = \"unix:sock\"",
            "sidecar.outbound.bind = \"unix:sock\": expected an absolute path such as unix:/run/app.sock",
        ),
        (
            "[trace]\nsample = 2.0",
            "sidecar.trace.sample = 2: a share from 0 to 1",
        ),
        (
            "[edge]\nplain = \"127.0.0.1:80\"",
            "sidecar.edge.plain = set: an [application] behind the edge listener",
        ),
        (
            "[edge]\ntls = \"127.0.0.1:443\"",
            "sidecar.edge.tls = set: an [application] behind the edge listener",
        ),
        (
            "[edge]",
            "sidecar.edge.tls = unset: an address here or in plain",
        ),
        (
            "[application]\naddress = \"127.0.0.1:1\"\nprotocol = \"grpc\"\n[edge]\ntls = \"127.0.0.1:443\"",
            "sidecar.edge.certificate = unset: the path of a PEM file, for tls",
        ),
        (
            "[application]\naddress = \"127.0.0.1:1\"\nprotocol = \"grpc\"\n[edge]\nplain = \"127.0.0.1:80\"\nkey = \"k\"",
            "sidecar.edge.key = \"k\": an address in sidecar.edge.tls, which it is for",
        ),
        (
            "[[upstream]]\nname = \"a\"\n[[upstream]]\nname = \"a\"",
            "sidecar.upstream.name = \"a\": each upstream once",
        ),
    ];
    for (text, expected) in cases {
        let err = Config::parse(&format!("{LEAST}{text}\n")).unwrap_err();
        assert_eq!(err.to_string(), expected);
    }
    let unknown = Config::parse(&format!("{LEAST}[drain]\ngraze = \"1s\"\n"))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.starts_with("sidecar.drain.graze = \"1s\": unknown field `graze`"),
        "{unknown}"
    );
    let narrow = Config::parse(&format!(
        "{LEAST}[limits.edge]\nconnection_window = 65536\n"
    ))
    .unwrap_err()
    .to_string();
    assert!(
        narrow.contains("sidecar.limits.edge.connection_window = 65536: at least 6553600"),
        "{narrow}"
    );
}
